//! Promise: in whatever order files get names, lose some, get other rights, fail, are retried and ingested by hand, their jobs are paused,
//! ended and run again, and the service is killed, no record comes out twice that nobody asked for twice, and each comes out, or it is told
//! what it waits for.
//!
//! `LANDFALL_TEST_STEPS` makes it longer, `LANDFALL_TEST_SEED` repeats a run.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::random::{Random, seed};
use support::{Service, World, remove};

const STEPS: usize = 60;
const RULES: [(&str, &str); 3] = [
    ("archived", "{ on_success = \"archive\", archive_dir = \"archive\" }"),
    ("deleted", "{ on_success = \"delete\" }"),
    ("kept", "{ on_success = \"keep\" }"),
];
/// Where names are given and taken at random; nobody watches the last one.
const FOLDERS: [&str; 4] = ["archived", "deleted", "kept", "elsewhere"];

struct Test {
    world: World,
    random: Random,
    /// Which file was given each name.
    named: BTreeMap<String, usize>,
    /// Its files, by their numbers.
    files: Vec<u64>,
    /// How often an operator asked for each file, beyond what rules do by themselves.
    asked: BTreeMap<usize, usize>,
    names: usize,
}

impl Test {
    fn new(steps: usize) -> Self {
        let world = World::bare();
        let rule = |(name, source): &(&str, &str)| {
            format!(
                "name = \"{name}\"\npaths = [\"{name}/*\"]\noutput = {{ main = {{ path = \"out/{name}-{{stem}}.main\" }} }}\n\
                 source = {source}\npipeline = [{{ step = \"exec\", confine = false, command = [\"./step\"] }}]\n"
            )
        };
        world.configure("stop_timeout = \"2s\"", &RULES.each_ref().map(rule).each_ref().map(String::as_str));
        world.write(
            "step",
            format!(
                "#!/bin/sh\n[ ! -e {}/failing ] || exit 1\nsleep 0.1\nexec cat\n",
                world.folder().display()
            ),
        );
        world.sh("chmod +x step; mkdir archived deleted kept elsewhere");
        eprintln!("LANDFALL_TEST_SEED={} LANDFALL_TEST_STEPS={steps}", seed());
        Self {
            world,
            random: Random::new(seed()),
            named: BTreeMap::new(),
            files: Vec::new(),
            asked: BTreeMap::new(),
            names: 0,
        }
    }

    /// A file's content says which one it is.
    fn make(&mut self) {
        let number = self.files.len();
        let path = self
            .world
            .write(format!("elsewhere/{number}"), format!("file {number} one\nfile {number} two\n"));
        self.files.push(fs::metadata(path).expect("it was made").ino());
        self.named.insert(number.to_string(), number);
    }

    fn names_in(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.world.path(folder)) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        names.sort();
        names
    }

    /// A name of a file that has not ended: of an archived one, a link is a file of its own.
    fn a_name(&mut self) -> Option<PathBuf> {
        let hidden = ["archived", "deleted"].map(|folder| format!("{folder}/.landfall/quarantine"));
        let folders = FOLDERS.iter().copied().chain(hidden.iter().map(String::as_str));
        let names: Vec<_> = folders.flat_map(|folder| self.names_in(folder)).collect();
        self.random.one_of(&names).cloned().filter(|name| self.which(name).is_some())
    }

    /// Which of the files a name has.
    fn which(&self, name: &Path) -> Option<usize> {
        let inode = fs::metadata(name).ok()?.ino();
        self.files.iter().position(|file| *file == inode)
    }

    fn step(&mut self) {
        let choice = self.random.below(100);
        match choice {
            0..15 => self.make(),
            15..50 => {
                let folder = self.random.one_of(&FOLDERS).copied().expect("there are some");
                self.names += 1;
                let link = self.world.path(format!("{folder}/name-{}", self.names));
                if let Some(name) = self.a_name()
                    && let Some(file) = self.which(&name)
                {
                    self.named.insert(format!("name-{}", self.names), file);
                    fs::hard_link(name, link).ok(); // it may be gone by now
                }
            }
            50..62 => {
                // One that is left keeps its number from other files.
                if let Some(name) =
                    self.a_name().filter(|name| !name.starts_with(self.world.path("elsewhere")))
                    && fs::metadata(&name).is_ok_and(|file| file.nlink() > 1)
                    && !name.to_string_lossy().contains(".landfall")
                {
                    remove(&name);
                }
            }
            62..72 => {
                if let Some(name) = self.a_name() {
                    let mode = if self.random.once_in(2) { 0o644 } else { 0o640 };
                    fs::set_permissions(name, fs::Permissions::from_mode(mode)).unwrap_or(());
                }
            }
            72..80 => {
                let failing = self.world.path("failing");
                if failing.is_file() { remove(&failing) } else { drop(self.world.write("failing", "")) }
            }
            80..86 => self.retry(),
            86..92 => self.order(),
            _ => {
                let names = self.names_in("elsewhere");
                if let Some(name) = self.random.one_of(&names).cloned() {
                    self.asked_for(self.which(&name));
                    let name = name.to_string_lossy();
                    let rule = RULES[usize::try_from(self.random.below(3)).expect("below three")].0;
                    self.world.landfall(&["ingest", &name, "--rule", rule]);
                }
            }
        }
    }

    /// Even where it is refused, or fails: its job may be retried.
    fn asked_for(&mut self, file: Option<usize>) {
        if let Some(file) = file {
            *self.asked.entry(file).or_default() += 1;
        }
    }

    /// Which file a job is of.
    fn file_of(&self, job: &Value) -> Option<usize> {
        let name = Path::new(job["source"].as_str().expect("a path")).file_name();
        name.and_then(|name| self.named.get(name.to_str()?)).copied()
    }

    fn jobs_that(&self, state: &str) -> Vec<Value> {
        self.world.jobs().into_iter().filter(|job| job["state"] == state).collect()
    }

    fn retry(&mut self) {
        let failed = self.jobs_that("failed");
        if let Some(job) = self.random.one_of(&failed) {
            self.world.landfall(&["retry", job["id"].as_str().expect("a job has an id")]);
        }
    }

    /// An operator's word to a job.
    fn order(&mut self) {
        let jobs = self.world.jobs();
        let Some(job) = self.random.one_of(&jobs) else { return };
        let order = ["pause", "resume", "abort", "rerun"];
        let order = self.random.one_of(&order).copied().expect("there are some");
        if order == "rerun" {
            self.asked_for(self.file_of(job));
        }
        self.world.landfall(&[order, job["id"].as_str().expect("a job has an id")]);
    }

    fn jobs_of(&self, file: usize) -> Vec<Value> {
        let is_of = |job: &Value| self.file_of(job) == Some(file);
        self.world.jobs().into_iter().filter(is_of).collect()
    }

    /// How often each file's records came out; never one of them without the other.
    fn came_out(&self) -> BTreeMap<usize, usize> {
        let mut times = BTreeMap::<usize, [usize; 2]>::new();
        for name in self.world.files("out").iter().filter(|name| !name.starts_with('.')) {
            for line in self.world.text(format!("out/{name}")).lines() {
                let mut words = line.split(' ').skip(1);
                let Some(file) = words.next().and_then(|word| word.parse().ok()) else { continue };
                times.entry(file).or_default()[usize::from(words.next() == Some("two"))] += 1;
            }
        }
        let whole = |(file, [one, two]): (usize, [usize; 2])| {
            assert_eq!(one, two, "file {file}");
            (file, one)
        };
        times.into_iter().map(whole).collect()
    }

    fn settle(&mut self, service: &mut Service, round: usize) {
        // What comes now is judged after all that came before; with it each rule has had its turn.
        for (rule, _) in RULES {
            self.world.write(format!("elsewhere/.last-{round}"), "last\n");
            support::rename(
                &self.world.path(format!("elsewhere/.last-{round}")),
                &self.world.path(format!("{rule}/last-{round}")),
            );
            service.wait_for(&self.world, &format!("out/{rule}-last-{round}.main"));
        }
        let unfinished = ["queued", "running", "publishing", "retiring"];
        service.wait_until("all jobs have ended", || {
            let is_at_rest =
                |job: &Value| job["state"].as_str().is_some_and(|state| !unfinished.contains(&state));
            self.world.jobs().iter().all(is_at_rest).then_some(())
        });
    }

    /// Of each watched name it is told what it waits for, unless its file came out, or a job of it ended otherwise.
    fn judge(&self, service: &mut Service) {
        for (rule, _) in RULES {
            for name in self.names_in(rule) {
                let Some(file) = self.which(&name) else { continue };
                let name = name.to_string_lossy();
                let what = format!("file {file} came out, failed, or is told to wait as {name}");
                service.wait_until(&what, || {
                    let told = self.world.json(&["explain", &name, "--json"]);
                    let ended = |job: &Value| job["state"] == "failed" || job["state"] == "aborted";
                    let is_told = !told["waits"].is_null() || self.jobs_of(file).iter().any(ended);
                    (is_told || self.came_out().contains_key(&file)).then_some(())
                });
            }
        }
        self.assert_accounted();
    }

    /// What a job completed came out, and by rules one job at most completed each file; the others were asked for by hand.
    fn assert_accounted(&self) {
        let came_out = self.came_out();
        for file in 0..self.files.len() {
            let jobs = self.jobs_of(file);
            let completed: Vec<_> = jobs.iter().filter(|job| job["state"] == "completed").collect();
            assert_eq!(came_out.get(&file).copied().unwrap_or(0), completed.len(), "file {file}: {jobs:#?}");
            let by_rules = completed.iter().filter(|job| job["complete_by"] != "command").count();
            assert!(by_rules <= 1, "file {file} came out {by_rules} times by itself: {jobs:#?}");
            // A retry asks for nothing: whatever job it is of, what was asked for comes out once.
            let asked = 1 + self.asked.get(&file).copied().unwrap_or(0);
            assert!(completed.len() <= asked, "file {file} was asked for {asked} times: {jobs:#?}");
        }
    }
}

#[test]
fn no_order_of_names_rights_failures_retries_and_kills_doubles_or_loses_a_record() {
    let steps = std::env::var("LANDFALL_TEST_STEPS").map_or(STEPS, |text| text.parse().expect("a number"));
    let mut test = Test::new(steps);
    let mut service = test.world.start();
    service.wait_until_it_watches();
    for _ in 0..4 {
        test.make();
    }
    for step in 0..steps {
        test.step();
        if step % 20 == 19 {
            service.kill();
            service = test.world.start();
            service.wait_until_it_watches();
        }
    }
    let failing = test.world.path("failing");
    if failing.is_file() {
        remove(&failing);
    }
    for job in test.jobs_that("paused") {
        test.world.landfall(&["resume", job["id"].as_str().expect("a job has an id")]);
    }
    test.settle(&mut service, 1);
    for job in test.jobs_that("failed") {
        test.world.landfall(&["retry", job["id"].as_str().expect("a job has an id")]);
    }
    test.settle(&mut service, 2);
    test.judge(&mut service);
    service.stop();
    test.assert_accounted();
}
