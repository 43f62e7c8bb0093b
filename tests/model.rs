//! Promise: whatever senders do with their files and whenever the service dies, each file that was completely delivered comes out once.
//!
//! A sender delivers, grows, renames, replaces, mends and deletes files at random while the service is killed and started again. A
//! model follows what must come of each version of a file. It can be exact, because a claim is a rename: what a sender could still
//! reach under its name was not claimed then. Only a plain rename over a file tells nobody whether that was still there.
//!
//! `LANDFALL_TEST_STEPS` makes it longer, `LANDFALL_TEST_SEED` repeats a run.
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::Value;

use support::random::Random;
use support::{Service, World, assert_balanced};

const STEPS: u64 = 80;
/// So few names that they are used again and again.
const NAMES: [&str; 6] = ["a.txt", "b.txt", "c.txt", "x.gz", "y.gz", "z.gz"];

const RULE: &str = r#"
ready = { stable_for = "100ms" }
[output.main]
path = "out/{job}.txt"
"#;

/// What must come of one version of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Somebody still writes it: nothing yet.
    Open,
    /// Delivered and left alone: published once, archived once.
    Once,
    /// Delivered, then renamed over: at most once.
    AtMostOnce,
    /// Taken away, or grown into another version, before it was claimed: never.
    Never,
    /// A gzip cut short and left so: never published, quarantined once.
    Quarantined,
    /// Likewise, then renamed over: at most once.
    QuarantinedAtMostOnce,
}

/// One content that a file had.
#[derive(Debug)]
struct Version {
    text: String,
    /// What the sender has written of it so far.
    stored: Vec<u8>,
    fate: Fate,
}

/// A file that somebody writes, and what is still to come.
struct Writer {
    file: File,
    name: String,
    version: usize,
    rest: Vec<u8>,
}

/// The sender, who knows what he did, and what must come of it.
struct Sender<'w> {
    world: &'w World,
    random: Random,
    versions: Vec<Version>,
    /// What was last put under each name; it may be claimed meanwhile.
    at: BTreeMap<String, usize>,
    writers: Vec<Writer>,
    renamed: u32,
    kills: u32,
}

#[test]
fn each_version_that_was_delivered_comes_out_once_whatever_senders_and_kills_do() {
    let steps = std::env::var("LANDFALL_TEST_STEPS").map_or(STEPS, |text| text.parse().expect("a number"));
    let world = World::new(RULE);
    fs::create_dir(world.path("staged")).expect("the world is new");
    let mut sender = Sender {
        world: &world,
        random: Random::seeded(),
        versions: Vec::new(),
        at: BTreeMap::new(),
        writers: Vec::new(),
        renamed: 0,
        kills: 0,
    };
    let mut service = Some(world.start());
    for step in 0..steps {
        sender.act(step);
        sender.disturb(&mut service);
        let pause = if sender.random.once_in(12) { 400 } else { 25 };
        std::thread::sleep(Duration::from_millis(sender.random.below(pause)));
    }
    while !sender.writers.is_empty() {
        sender.close();
    }
    let mut service = service.unwrap_or_else(|| world.start());
    service.wait_until("every candidate is taken and every source is at its end", || {
        is_drained(&world).then_some(())
    });
    stop(service);
    // Nothing is left over that another start would find.
    stop(world.start());
    assert!(is_drained(&world), "{:?}", world.files("in"));
    check(&world, &sender.versions, sender.kills);
    println!("{steps} steps, {} kills", sender.kills);
}

/// A clean stop, which needs a service that is up.
fn stop(mut service: Service) {
    service.wait_for_log(&format!("pid={}", service.id()));
    service.stop();
}

/// Nothing waits and nothing is claimed.
fn is_drained(world: &World) -> bool {
    world.files("in").iter().all(|name| name.starts_with(".landfall/quarantine/"))
}

impl Sender<'_> {
    fn act(&mut self, step: u64) {
        match self.random.below(15) {
            0..=3 => self.move_in(step),
            4 | 5 => self.write(step, true),
            6 => self.write(step, false),
            7 => self.open(step),
            8 => self.grow(step, true),
            9 => self.grow(step, false),
            10 => self.mend(),
            11 | 12 => self.rename(),
            13 => self.delete(),
            _ => self.close(),
        }
    }

    /// Kills, stops or starts the service now and then.
    fn disturb(&mut self, service: &mut Option<Service>) {
        match service.take() {
            Some(running) if self.random.once_in(8) => {
                running.kill();
                self.kills += 1;
            }
            Some(running) if self.random.once_in(20) => stop(running),
            None if !self.random.once_in(4) => *service = Some(self.world.start()),
            unchanged => *service = unchanged,
        }
    }

    /// A file appears whole; what lay under its name is replaced.
    fn move_in(&mut self, step: u64) {
        let Some(name) = self.free_name() else { return };
        let version = self.new_version(step, &name, Fate::Once);
        let staged = self.world.write(format!("staged/{version}"), &self.versions[version].stored);
        let target = self.path(&name);
        loop {
            match renameat_with(CWD, &staged, CWD, &target, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                moved => break moved.expect("both folders are there"),
            }
            let old = self.at[&name];
            if self.random.once_in(2) {
                support::rename(&staged, &target);
                let fate = &mut self.versions[old].fate;
                let was_cut = *fate == Fate::Quarantined;
                *fate = if was_cut { Fate::QuarantinedAtMostOnce } else { Fate::AtMostOnce };
                break;
            }
            // An exchange brings back what lay there: then it was not claimed.
            match renameat_with(CWD, &staged, CWD, &target, RenameFlags::EXCHANGE) {
                Err(Errno::NOENT) => continue,
                exchanged => exchanged.expect("both are there"),
            }
            support::remove(&staged);
            self.versions[old].fate = Fate::Never;
            break;
        }
        println!("moves version {version} to {name}");
        self.at.insert(name, version);
    }

    /// A file is written under its name and closed; or, as a session that breaks off does, only its first half is.
    fn write(&mut self, step: u64, is_whole: bool) {
        let Some(name) = self.free_name().filter(|name| is_whole || is_gzip(name)) else { return };
        let Some(mut file) = self.create(&name) else { return };
        let fate = if is_whole { Fate::Once } else { Fate::Quarantined };
        let version = self.new_version(step, &name, fate);
        let stored = &mut self.versions[version].stored;
        let length = if is_whole { stored.len() } else { 20 + (stored.len() - 20) / 2 };
        let (now, _) = stored.split_at(length);
        file.write_all(now).expect("it can be written");
        if !is_whole {
            *stored = now.to_vec();
        }
        drop(file);
        println!("writes {length} bytes of version {version} to {name}");
        self.at.insert(name, version);
    }

    /// A file is begun and stays open.
    fn open(&mut self, step: u64) {
        let Some(name) = self.free_name() else { return };
        let Some(mut file) = self.create(&name) else { return };
        let version = self.new_version(step, &name, Fate::Open);
        let stored = &self.versions[version].stored;
        let (now, rest) = stored.split_at(stored.len() / 2);
        file.write_all(now).expect("it can be written");
        let writer = Writer { file, name: name.clone(), version, rest: rest.to_vec() };
        self.writers.push(writer);
        println!("begins version {version} in {name}");
        self.at.insert(name, version);
    }

    /// A sender resumes a text that was taken for complete by nobody yet.
    fn grow(&mut self, step: u64, stays_open: bool) {
        let Some((name, old)) = self.candidate(|name, version| !is_gzip(name) && version.fate == Fate::Once)
        else {
            return;
        };
        let Some(file) = self.reopen(&name) else { return };
        self.versions[old].fate = Fate::Never;
        let more = self.text(step);
        let text = self.versions[old].text.clone() + &more;
        self.versions.push(Version { stored: text.clone().into_bytes(), text, fate: Fate::Open });
        let version = self.versions.len() - 1;
        println!("grows version {old} in {name} to version {version}");
        self.at.insert(name.clone(), version);
        self.writers.push(Writer { file, name, version, rest: more.into_bytes() });
        if !stays_open {
            self.close_writer(self.writers.len() - 1);
        }
    }

    /// A sender resumes a gzip that was cut short.
    fn mend(&mut self) {
        let Some((name, version)) = self.candidate(|_, version| version.fate == Fate::Quarantined) else {
            return;
        };
        let Some(file) = self.reopen(&name) else { return };
        let whole = gzip(&self.versions[version].text);
        let rest = whole[self.versions[version].stored.len()..].to_vec();
        self.versions[version].stored = whole;
        println!("mends version {version} in {name}");
        self.writers.push(Writer { file, name, version, rest });
        self.close_writer(self.writers.len() - 1);
    }

    fn rename(&mut self) {
        let Some((name, version)) = self.candidate(|_, version| version.fate != Fate::Open) else { return };
        self.renamed += 1;
        let suffix = Path::new(&name).extension().expect("names have one").display();
        let new = format!("renamed-{}.{suffix}", self.renamed);
        match renameat_with(CWD, self.path(&name), CWD, self.path(&new), RenameFlags::NOREPLACE) {
            Ok(()) => {
                println!("renames version {version} from {name} to {new}");
                self.at.remove(&name);
                self.at.insert(new, version);
            }
            // Claimed; a gzip that is cut comes back under its name.
            Err(error) => assert_eq!(error, Errno::NOENT, "{name} cannot be renamed"),
        }
    }

    fn delete(&mut self) {
        let Some((name, version)) = self.candidate(|_, version| version.fate != Fate::Open) else { return };
        match rustix::fs::unlink(self.path(&name)) {
            Ok(()) => {
                println!("deletes version {version} at {name}");
                self.at.remove(&name);
                self.versions[version].fate = Fate::Never;
            }
            Err(error) => assert_eq!(error, Errno::NOENT, "{name} cannot be deleted"),
        }
    }

    /// Somebody who has a file open finishes it.
    fn close(&mut self) {
        let writers = self.writers.len() as u64;
        if writers > 0 {
            let which = self.random.below(writers);
            self.close_writer(which as usize);
        }
    }

    fn close_writer(&mut self, which: usize) {
        let Writer { mut file, name, version, rest } = self.writers.swap_remove(which);
        file.write_all(&rest).expect("it can be written");
        drop(file);
        println!("closes version {version} in {name}");
        self.versions[version].fate = Fate::Once;
    }

    /// One of the names that nobody writes to.
    fn free_name(&mut self) -> Option<String> {
        let names: Vec<&str> =
            NAMES.into_iter().filter(|name| self.writers.iter().all(|writer| writer.name != *name)).collect();
        self.random.one_of(&names).map(|name| (*name).to_owned())
    }

    /// One of the files that were put somewhere and may still be there, of those that are wanted.
    fn candidate(&mut self, is_wanted: impl Fn(&str, &Version) -> bool) -> Option<(String, usize)> {
        let wanted = |(name, version): &(&String, &usize)| is_wanted(name, &self.versions[**version]);
        let names: Vec<(String, usize)> =
            self.at.iter().filter(wanted).map(|(name, version)| (name.clone(), *version)).collect();
        self.random.one_of(&names).cloned()
    }

    /// Makes a file, unless there is one.
    fn create(&self, name: &str) -> Option<File> {
        match File::options().write(true).create_new(true).open(self.path(name)) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    /// Opens a file behind its end, if it is still there.
    fn reopen(&self, name: &str) -> Option<File> {
        match File::options().append(true).open(self.path(name)) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    fn new_version(&mut self, step: u64, name: &str, fate: Fate) -> usize {
        let text = self.text(step);
        let stored = if is_gzip(name) { gzip(&text) } else { text.clone().into_bytes() };
        self.versions.push(Version { text, stored, fate });
        self.versions.len() - 1
    }

    /// Lines that no other version has; now and then so many that a kill meets them half worked.
    fn text(&mut self, step: u64) -> String {
        let lines = if self.random.once_in(6) { 20_000 } else { 1 + self.random.below(40) };
        let lines = (0..lines)
            .map(|line| format!("step {step}, line {line}, {:016x}\n", self.random.below(u64::MAX)));
        lines.collect()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.world.path("in").join(name)
    }
}

fn check(world: &World, versions: &[Version], kills: u32) {
    let published = texts(world, "out");
    let archived = texts(world, "archive");
    let quarantined = quarantined(world);
    let mut displaced = 0;
    for (number, version) in versions.iter().enumerate() {
        let times = published.iter().filter(|(_, text)| *text == version.text).count();
        let aside = quarantined.iter().filter(|stored| **stored == version.stored).count();
        let fits = match version.fate {
            Fate::Once => times + aside == 1,
            Fate::AtMostOnce => times + aside <= 1,
            Fate::Quarantined => times == 0 && aside == 1,
            Fate::QuarantinedAtMostOnce => times == 0 && aside <= 1,
            Fate::Open | Fate::Never => times + aside == 0,
        };
        let fate = version.fate;
        assert!(fits, "version {number} is {fate:?}, published {times} times, {aside} times in quarantine");
        let sources = archived.iter().filter(|(_, text)| *text == version.text).count();
        assert_eq!(
            sources, times,
            "version {number} was published {times} times, and archived {sources} times"
        );
        displaced += if matches!(fate, Fate::Once | Fate::AtMostOnce) { aside } else { 0 };
    }
    let whole = |text: &String| versions.iter().any(|version| version.text == *text);
    let strange: Vec<&String> =
        published.iter().chain(&archived).filter(|(_, text)| !whole(text)).map(|(name, _)| name).collect();
    assert!(strange.is_empty(), "these were never whole: {strange:?}");
    let known = |stored: &&Vec<u8>| versions.iter().any(|version| version.stored == **stored);
    assert_eq!(
        quarantined.iter().filter(known).count(),
        quarantined.len(),
        "in quarantine lies what nobody sent"
    );
    check_jobs(world, published.len(), displaced, kills);
    println!("{} versions, {} published, {displaced} displaced", versions.len(), published.len());
}

/// Every source in quarantine; each has its reason beside it.
fn quarantined(world: &World) -> Vec<Vec<u8>> {
    let folder = "in/.landfall/quarantine";
    let names = world.files(folder);
    let sources: Vec<_> = names.iter().filter(|name| !name.ends_with(".error.json")).collect();
    assert_eq!(names.len(), 2 * sources.len(), "each has its reason beside it: {names:?}");
    sources.iter().map(|name| world.bytes(format!("{folder}/{name}"))).collect()
}

/// The jobs tell the same as the folders.
fn check_jobs(world: &World, published: usize, displaced: usize, kills: u32) {
    let jobs = world.jobs();
    let of = |state: &str| jobs.iter().filter(|job| job["state"] == state).collect::<Vec<_>>();
    let (completed, failed, given_back) = (of("completed"), of("failed"), of("aborted"));
    assert_eq!(completed.len() + failed.len() + given_back.len(), jobs.len(), "{jobs:#?}");
    assert_eq!(completed.len(), published);
    // Replaced in the moment of its claim, and then its name was taken again: what was claimed is not what was judged, and cannot go
    // back. Such a file is set aside with a reason, never published unjudged, and never often.
    let changed = |job: &&&Value| job["error"]["message"].to_string().contains("changed while");
    assert_eq!(failed.iter().filter(changed).count(), displaced, "{failed:#?}");
    assert!(displaced <= 3 + jobs.len() / 50, "{displaced} files were set aside");
    for job in completed {
        assert_balanced(job);
        let output = &job["outputs"][0]["path"];
        for path in [output, &job["retired_to"]] {
            assert!(Path::new(path.as_str().expect("a path")).is_file(), "{path} is not there: {job:#}");
        }
    }
    for job in failed {
        // A kill between a claim's row and its rename, and a sender who took the file away meanwhile: nobody can tell later whether it
        // was claimed, so that is said. What was delivered is accounted for above.
        let is_unclaimed = job["error"]["kind"] == "storage" && job["attempts"] == 0 && kills > 0;
        assert!(job["error"]["kind"] == "input" || is_unclaimed, "{job:#}");
    }
}

/// Every file below a folder with its text, unpacked.
fn texts(world: &World, folder: &str) -> Vec<(String, String)> {
    let text = |name: &String| {
        let bytes = world.bytes(format!("{folder}/{name}"));
        let mut text = String::new();
        let read = if bytes.starts_with(b"\x1f\x8b") {
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text)
        } else {
            (&bytes[..]).read_to_string(&mut text)
        };
        read.unwrap_or_else(|error| panic!("{folder}/{name}: {error}"));
        text
    };
    world.files(folder).into_iter().map(|name| (format!("{folder}/{name}"), text(&name))).collect()
}

fn is_gzip(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|suffix| suffix == "gz")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
