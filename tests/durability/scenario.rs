//! The scenarios: each a rule, its sources, and how the service is run on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{World, without_our_variables};

/// What is run again and again, undisturbed first.
pub struct Scenario {
    /// How it is called in the table.
    pub name: &'static str,
    /// Keys of `[service]`.
    service: &'static str,
    rule: &'static str,
    /// Who is told what, beside the rule; `RECEIVER` stands for a folder that no power cut touches.
    hooks: &'static str,
    /// What is told, by the names of the receiver's files.
    pub told: &'static [&'static str],
    samples: fn(&World),
    /// What has happened before the first step that counts.
    before: fn(&World),
    /// A script that becomes the service.
    script: &'static str,
    /// The states in which jobs end.
    pub ends: &'static [&'static str],
    /// How many jobs there are in the end, at least.
    pub jobs: usize,
    /// Which files there are in the end, where jobs alone do not tell it.
    pub over: fn(&BTreeMap<String, PathBuf>) -> bool,
    /// A consumer takes each output the moment it appears.
    pub consumer: bool,
    elsewhere: bool,
    /// Its rule is a shadow: nothing but the data folder may be touched.
    shadow: bool,
}

/// A copy of a scenario, ready to be run.
pub struct Stage {
    pub world: World,
    /// A folder on another file system, where the scenario has one.
    elsewhere: Option<TempDir>,
    consumed: TempDir,
    script: &'static str,
    /// Each job has its lines in the trail.
    pub is_audited: bool,
    /// The folder beside is a receiver's: each file has the numbers of what it was told.
    pub is_told: bool,
    /// All that is told of files that nothing may touch, as they were before the first run.
    untouched: Option<String>,
}

const SERVICE: &str = "scan_every = \"100ms\"";

/// Where the machine has a second file system that anyone may write to.
const ELSEWHERE: &str = "/dev/shm";

const PLAIN: Scenario = Scenario {
    name: "",
    service: SERVICE,
    rule: "",
    hooks: "",
    told: &[],
    samples: |_| {},
    before: |_| {},
    script: "exec \"$LANDFALL\" run",
    ends: &["completed"],
    jobs: 1,
    over: |_| true,
    consumer: false,
    elsewhere: false,
    shadow: false,
};

pub const ENCRYPTED_GZIP: Scenario = Scenario {
    name: "gzip in age, two categories, a checkpoint, marker and manifest",
    rule: r#"
        ready = { stable_for = "0s" }
        decode = { identities = ["key.txt"] }
        publish = { marker = "out/{stem}.done", manifest = "out/{stem}.manifest.json" }
        [[pipeline]]
        step = "route"
        when = [{ if = { matches = "^0*[0-9]*7x" }, to = "sevens" }]
        [output.main]
        path = "out/{stem}.txt.gz"
        [output.sevens]
        path = "out/{stem}.sevens.txt"
    "#,
    samples: |world| {
        let recipient = world.age_key();
        // Records so long that few of them make a checkpoint.
        world.sh(&format!(
            "python3 -c \"for i in range(4700): print(('%07dx' % i) * 560)\" | gzip -1 | age -r {recipient} -o in/pay.txt.gz.age"
        ));
    },
    ..PLAIN
};

pub const ZIP_BY_ENTRY: Scenario = Scenario {
    name: "a zip of three entries, an output for each",
    rule: r#"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done" }
        [output.main]
        path = "out/{stem}-{entry_stem}.txt"
    "#,
    samples: |world| {
        world.sh("mkdir zipped; for n in 1 2 3; do seq $((n * 1000)) > zipped/part-$n.txt; done
            cd zipped; zip -q ../in/pay.zip part-*.txt");
    },
    ..PLAIN
};

pub const TEN_SMALL_FILES: Scenario = Scenario {
    name: "ten small files at once",
    rule: r#"ready = { stable_for = "0s" }"#,
    samples: |world| {
        for number in 0..10 {
            world.write(format!("in/small-{number}.txt"), format!("one of {number}\ntwo of {number}\n"));
        }
    },
    ..PLAIN
};

pub const ARCHIVE_ELSEWHERE: Scenario = Scenario {
    name: "archive on another file system",
    rule: r#"
        ready = { stable_for = "0s" }
        source = { on_success = "archive", archive_dir = "ELSEWHERE/archive" }
    "#,
    samples: |world| {
        world.sh("seq 20000 > in/pay.txt");
    },
    elsewhere: true,
    ..PLAIN
};

pub const QUARANTINED: Scenario = Scenario {
    name: "a source that ends in quarantine",
    rule: r#"ready = { stable_for = "0s" }"#,
    samples: |world| {
        // Whole, but for its checksum.
        world.sh(r"seq 5000 | gzip > pay.gz; head -c -8 pay.gz > in/pay.txt.gz; printf '\0\1\2\3\4\5\6\7' >> in/pay.txt.gz");
    },
    ends: &["failed"],
    ..PLAIN
};

pub const DELETED: Scenario = Scenario {
    name: "a source that is deleted",
    rule: r#"
        ready = { stable_for = "0s" }
        source = { on_success = "delete" }
        publish = { marker = "out/{stem}.done" }
        output = { main = { path = "out/{stem}.txt.gz" } }
    "#,
    samples: |world| {
        world.sh("seq 20000 | gzip > in/pay.txt.gz");
    },
    ..PLAIN
};

pub const KEPT: Scenario = Scenario {
    name: "a source that is kept",
    rule: r#"
        ready = { stable_for = "0s" }
        source = { on_success = "keep" }
        publish = { marker = "out/{stem}.done" }
        output = { main = { path = "out/{stem}.txt.gz" } }
    "#,
    samples: |world| {
        world.sh("seq 20000 | gzip > in/pay.txt.gz");
    },
    ..PLAIN
};

pub const RETRIED: Scenario = Scenario {
    name: "a failed job that is retried",
    rule: r#"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done" }
        errors = { failed_max = 0 }
        records = { format = "lines", record_max = "RECORD_MAX" }
    "#,
    samples: |world| {
        world.sh("seq 2000 > pay.txt; printf '%0200d\\n' 7 >> pay.txt; mv pay.txt in/pay.txt");
    },
    before: |world| {
        let rule = world.text("landfall.toml");
        world.write("landfall.toml", rule.replace("RECORD_MAX", "100"));
        let mut service = world.start();
        service.wait_for(world, "in/.landfall/quarantine/pay.txt.error.json");
        service.stop();
        world.write("landfall.toml", rule.replace("RECORD_MAX", "1KiB"));
        // What is told from here on is told by those who are disturbed.
        crate::support::remove(&world.path("landfall.log"));
        world.write("job", world.job()["id"].as_str().expect("an id is text"));
    },
    // It may have been taken up again before the crash; and who reads an error tries once more.
    script: "\"$LANDFALL\" retry \"$(cat job)\" || { sleep 0.3; \"$LANDFALL\" retry \"$(cat job)\"; }; exec \"$LANDFALL\" run",
    ..PLAIN
};

pub const ABORTED: Scenario = Scenario {
    name: "a job that is paused, then aborted",
    rule: r#"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done" }
        pipeline = [{ step = "exec", confine = false, command = ["./tool"] }]
    "#,
    samples: |world| {
        world.sh("seq 2000 > in/pay.txt; printf '#!/bin/sh\\nexec cat\\n' > tool"); // it cannot be started
    },
    before: |world| {
        let mut service = world.start();
        service.wait_until("it is held", || {
            let job = world.jobs().pop()?;
            (job["state"] == "held").then_some(())
        });
        service.stop();
        crate::support::remove(&world.path("landfall.log"));
        world.write("job", world.job()["id"].as_str().expect("an id is text"));
    },
    ends: &["aborted"],
    // Either word may have been taken before the crash; and who reads an error tries once more.
    script: "\"$LANDFALL\" pause \"$(cat job)\"
        \"$LANDFALL\" abort \"$(cat job)\" || { sleep 0.3; \"$LANDFALL\" abort \"$(cat job)\"; }; exec \"$LANDFALL\" run",
    ..PLAIN
};

pub const GIVEN_UP: Scenario = Scenario {
    name: "a failed job of a sequence that is abandoned",
    rule: r#"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done" }
        sequence = "rule"
        order = "name"
    "#,
    samples: |world| {
        // The first one is whole, but for its checksum.
        world.sh(r"seq 5000 | gzip > a.gz; head -c -8 a.gz > in/a.txt.gz; printf '\0\1\2\3\4\5\6\7' >> in/a.txt.gz; rm a.gz");
        world.sh("seq 2000 > in/b.txt");
    },
    before: |world| {
        let mut service = world.start();
        let failed = service.wait_until("one has failed, and the other one waits behind it", || {
            let jobs = world.jobs();
            let waits = jobs.iter().any(|job| job["waiting"]["for"] == "sequence");
            jobs.into_iter().find(|job| waits && job["state"] == "failed")
        });
        service.stop();
        crate::support::remove(&world.path("landfall.log"));
        world.write("job", failed["id"].as_str().expect("an id is text"));
    },
    ends: &["aborted", "completed"],
    jobs: 2,
    // It may have been taken before the crash; and who reads an error tries once more.
    script: "give_up() { \"$LANDFALL\" abandon \"$(cat job)\" --reason late; }
        give_up || { sleep 0.3; give_up; }; exec \"$LANDFALL\" run",
    ..PLAIN
};

pub const RUN_AGAIN: Scenario = Scenario {
    name: "a completed job that is run again",
    rule: r#"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done" }
        output = { main = { path = "out/{stem}.txt.gz" } }
    "#,
    samples: |world| {
        world.sh("seq 20000 | gzip > in/pay.txt.gz");
    },
    before: |world| {
        let mut service = world.start();
        service.wait_until("it is done", || (world.jobs().pop()?["state"] == "completed").then_some(()));
        service.stop();
        crate::support::remove(&world.path("landfall.log"));
        world.write("job", world.job()["id"].as_str().expect("an id is text"));
    },
    jobs: 2,
    // It may be made already: who runs it again looks first, and tries once more where he reads an error.
    script: "again() { \"$LANDFALL\" jobs --json | grep -q \"\\\"parent\\\":\\\"$(cat job)\" || \"$LANDFALL\" rerun \"$(cat job)\"; }
        again || { sleep 0.3; again; }; exec \"$LANDFALL\" run",
    ..PLAIN
};

pub const RECORDS_RETRIED: Scenario = Scenario {
    name: "failed records that are retried, and some dropped",
    rule: r#"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done" }
        errors = { failed_max = "100%" }
        pipeline = [{ step = "exec", confine = false, protocol = "jsonl", command = ["./tool"] }]
    "#,
    samples: write_records_that_fail,
    before: |world| {
        let mut service = world.start();
        service.wait_until("it is done", || (world.jobs().pop()?["state"] == "completed").then_some(()));
        service.stop();
        world.write("mended", "");
        crate::support::remove(&world.path("landfall.log"));
        world.write("job", world.job()["id"].as_str().expect("an id is text"));
    },
    jobs: 2,
    // Either may be done already: who does it looks first, and tries once more where he reads an error.
    script: "records() { \"$LANDFALL\" records \"$(cat job)\" list --settled --json; }
        given_up() { records | grep -q dropped || \"$LANDFALL\" records \"$(cat job)\" drop 1-3 --reason late; }
        again() { records | grep -q retried || \"$LANDFALL\" records \"$(cat job)\" retry --all; }
        given_up || { sleep 0.3; given_up; }; again || { sleep 0.3; again; }; exec \"$LANDFALL\" run",
    ..PLAIN
};

/// Each that ends in a 7, until the file `mended` is there.
fn write_records_that_fail(world: &World) {
    world.write(
        "tool",
        r#"#!/usr/bin/env python3
import json, os, sys
mended = os.path.exists('mended')
for line in sys.stdin:
    asked = json.loads(line)
    bad = asked["data"].endswith("7") and not mended
    print(json.dumps({"fail": "not today"} if bad else {"data": asked["data"]}), flush=True)
"#,
    );
    world.sh("chmod +x tool; seq 400 > in/pay.txt");
}

pub const HELD: Scenario = Scenario {
    name: "a job that is held for its failed records, which are dropped and retried",
    rule: r#"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done" }
        errors = { failed_max = "100%", on_record_error = "hold" }
        pipeline = [{ step = "exec", confine = false, protocol = "jsonl", command = ["./tool"] }]
    "#,
    samples: write_records_that_fail,
    before: |world| {
        let mut service = world.start();
        service.wait_until("it is held", || (world.jobs().pop()?["state"] == "held").then_some(()));
        service.stop();
        world.write("mended", "");
        crate::support::remove(&world.path("landfall.log"));
        world.write("job", world.job()["id"].as_str().expect("an id is text"));
    },
    script: RECORDS_RETRIED.script,
    ..PLAIN
};

/// One output goes to a folder, the other one to the store.
macro_rules! stored {
    ($source:literal) => {
        concat!(
            r#"
    ready = { stable_for = "0s" }
    publish = { marker = "out/{stem}.done" }
    [[pipeline]]
    step = "route"
    when = [{ if = { matches = "7$" }, to = "sevens" }]
    [output.main]
    path = "out/{stem}.txt.gz"
    [output.sevens]
    keep_output = "store"
    [source]
    on_success = "archive"
    archive_dir = "archive"
"#,
            $source
        )
    };
}

const SOON_FORGOTTEN: &str = "scan_every = \"100ms\"\nretention = \"1s\"";

fn write_many(world: &World) {
    world.sh("seq 20000 | gzip > in/pay.txt.gz");
}

fn has_none_stored(files: &BTreeMap<String, PathBuf>) -> bool {
    files.contains_key("archive/pay.txt.gz") && !files.keys().any(|name| name.starts_with("stored/"))
}

pub const STORED: Scenario =
    Scenario { name: "an output that is kept in the store", rule: stored!(""), samples: write_many, ..PLAIN };

pub const DESTROYED: Scenario = Scenario {
    name: "a job that is destroyed when it is done, with its output in the store",
    service: SOON_FORGOTTEN,
    rule: stored!("on_complete = \"destroy\""),
    samples: write_many,
    jobs: 0,
    over: has_none_stored,
    ..PLAIN
};

pub const FORGOTTEN: Scenario = Scenario {
    name: "a job that is forgotten with its output in the store",
    service: SOON_FORGOTTEN,
    rule: stored!(""),
    samples: write_many,
    before: |world| {
        let mut service = world.start();
        service.wait_until("it is done", || (world.jobs().pop()?["state"] == "completed").then_some(()));
        service.stop();
        crate::support::remove(&world.path("landfall.log"));
        std::thread::sleep(std::time::Duration::from_secs(1)); // it is to be that old
    },
    jobs: 0,
    over: has_none_stored,
    ..PLAIN
};

/// Two files, one of them done before the store is written anew, with a failed record in it.
const REWRITTEN: Scenario = Scenario {
    rule: r#"
        ready = { stable_for = "0s" }
        records = { format = "lines", record_max = "100" }
        errors = { failed_max = "100%" }
    "#,
    samples: |world| {
        world.sh("seq 2000 > pay.txt; printf '%0200d\\n' 7 >> pay.txt; mv pay.txt in/pay.txt
            for key in old new; do age-keygen -o $key.key 2>/dev/null; done; cat new.key old.key > both.key; chmod 600 *.key");
    },
    jobs: 2,
    // Who reads an error tries once more.
    script: "\"$LANDFALL\" rekey || { sleep 0.3; \"$LANDFALL\" rekey; }; exec \"$LANDFALL\" run",
    ..PLAIN
};

fn run_then_keep_by(world: &World, at_rest: (&str, &str)) {
    let mut service = world.start();
    service.wait_until("it is done", || (world.jobs().pop()?["state"] == "completed").then_some(()));
    service.stop();
    crate::support::remove(&world.path("landfall.log"));
    let config = world.text("landfall.toml");
    assert!(config.contains(at_rest.0), "{config}");
    world.write("landfall.toml", config.replace(at_rest.0, at_rest.1));
    world.sh("seq 300 > in/more.txt");
}

pub const ENCRYPTED_LATER: Scenario = Scenario {
    name: "a store that was in clear and is encrypted",
    service: "scan_every = \"100ms\"\nat_rest = { encrypt = false }",
    before: |world| {
        let now = "encrypt = true\nkey_file = \"new.key\"";
        run_then_keep_by(world, ("encrypt = false", now));
    },
    ..REWRITTEN
};

pub const ANOTHER_KEY: Scenario = Scenario {
    name: "an encrypted store that gets another key",
    service: "scan_every = \"100ms\"\nat_rest = { encrypt = true, key_file = \"old.key\" }",
    before: |world| run_then_keep_by(world, ("old.key", "both.key")),
    ..REWRITTEN
};

pub const TOLD: Scenario = Scenario {
    name: "hooks that are told of an end, of failed records and of a failed job",
    rule: r#"
        ready = { stable_for = "0s" }
        records = { format = "lines", record_max = "100" }
        errors = { failed_max = "1%" }
    "#,
    hooks: r#"
        [[hook]]
        name = "operators"
        events = ["completed", "set_aside", "failed"]
        command = ["./note", "RECEIVER"]
    "#,
    told: &["completed-pay.txt", "failed-bad.txt", "set_aside-pay.txt"],
    samples: |world| {
        world.sh("seq 2000 > pay.txt; printf '%0200d\\n' 7 >> pay.txt; mv pay.txt in/pay.txt
            printf '%0200d\\n' 7 > in/bad.txt");
        world.write(
            "note",
            "#!/bin/sh\necho \"$LANDFALL_EVENT_ID\" >> \"$1/$LANDFALL_EVENT-${LANDFALL_PATH##*/}\"\n",
        );
        world.sh("chmod +x note");
    },
    ends: &["completed", "failed"],
    jobs: 2,
    ..PLAIN
};

pub const AUDITED: Scenario = Scenario {
    name: "an audit trail beside three files",
    service: "scan_every = \"100ms\"\naudit = true",
    rule: r#"ready = { stable_for = "0s" }"#,
    samples: |world| {
        for number in 0..3 {
            world.write(format!("in/pay-{number}.txt"), format!("one of {number}\ntwo of {number}\n"));
        }
    },
    jobs: 3,
    ..PLAIN
};

pub const CONSUMED: Scenario = Scenario {
    name: "a consumer that takes each output as it appears",
    rule: r#"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done", manifest = "out/{stem}.manifest.json" }
        [[pipeline]]
        step = "route"
        when = [{ if = { matches = "7$" }, to = "sevens" }]
        [output.main]
        path = "out/{stem}.txt.gz"
        [output.sevens]
        path = "out/{stem}.sevens.txt"
    "#,
    samples: |world| {
        world.sh("seq 20000 | gzip > in/pay.txt.gz");
    },
    consumer: true,
    ..PLAIN
};

pub const SHADOWED: Scenario = Scenario {
    name: "a shadow whose outputs are compared",
    rule: r#"
        mode = "shadow"
        compare = "old"
        ready = { stable_for = "0s" }
        publish = { marker = "out/{stem}.done" }
        [[pipeline]]
        step = "route"
        when = [{ if = { matches = "7$" }, to = "sevens" }]
        [output.main]
        path = "out/{stem}.txt.gz"
        [output.sevens]
        path = "out/{stem}.sevens.txt"
    "#,
    samples: |world| {
        world.sh("seq 20000 | gzip > in/pay.txt.gz; seq 500 > in/other.txt; mkdir old
            seq 20000 | grep -v '7$' > old/pay.txt; seq 20000 | grep '7$' | sed 's/^17$/18/' > old/pay.sevens.txt
            seq 500 | grep -v '7$' > old/other.txt; seq 500 | grep '7$' > old/other.sevens.txt");
    },
    shadow: true,
    ..PLAIN
};

impl Scenario {
    /// The scenario's world as it is before the service is run; none where this machine cannot have it.
    pub fn template(&self) -> Option<World> {
        if self.elsewhere && !is_another_file_system(Path::new(ELSEWHERE)) {
            return None;
        }
        let world = World::with_service(self.service, self.rule);
        world.write("landfall.toml", world.text("landfall.toml") + self.hooks);
        (self.samples)(&world);
        Some(world)
    }

    /// A copy of the template, with what happened before.
    pub fn stage(&self, template: &World) -> Stage {
        let world = World::bare();
        template.sh(&format!("cp -a . {}", world.folder().display()));
        let elsewhere = self.elsewhere.then(|| {
            TempDir::with_prefix_in("landfall-test-", ELSEWHERE).expect("a folder can be made there")
        });
        if let Some(folder) = &elsewhere {
            let config = world.text("landfall.toml");
            world.write("landfall.toml", config.replace("ELSEWHERE", &folder.path().display().to_string()));
        }
        let consumed = TempDir::with_prefix("landfall-test-").expect("a temporary folder can be made");
        let config = world.text("landfall.toml");
        world.write("landfall.toml", config.replace("RECEIVER", &consumed.path().display().to_string()));
        (self.before)(&world);
        let untouched = self.shadow.then(|| all_but_data(&world));
        let is_told = !self.told.is_empty();
        let is_audited = self.service.contains("audit = true");
        Stage { world, elsewhere, consumed, script: self.script, is_told, is_audited, untouched }
    }
}

impl Stage {
    /// Runs the service.
    pub fn command(&self) -> Command {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.world.path("landfall.log"))
            .expect("the log can be opened");
        let mut command = Command::new("bash");
        command
            .args(["-c", self.script])
            .env("LANDFALL", env!("CARGO_BIN_EXE_landfall"))
            .current_dir(self.world.folder())
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be doubled"))
            .stderr(log);
        without_our_variables(&mut command);
        command
    }

    /// The folders in which changes are steps.
    pub fn roots(&self) -> Vec<PathBuf> {
        let elsewhere = self.elsewhere.iter().map(|folder| folder.path().to_owned());
        std::iter::once(self.world.folder().to_owned()).chain(elsewhere).collect()
    }

    /// The folders, each with one beside it for second names.
    pub fn roots_with_morgues(&self) -> Vec<(PathBuf, PathBuf)> {
        let morgue = |root: PathBuf| {
            let mut beside = root.clone().into_os_string();
            beside.push("-morgue");
            (root, PathBuf::from(beside))
        };
        self.roots().into_iter().map(morgue).collect()
    }

    /// The jobs with all that is told of them; of a shadow, what it tells of its files.
    pub fn listed(&self) -> (Vec<&'static str>, &'static str) {
        match self.untouched {
            Some(_) => (vec!["shadow", "payments", "--json"], "files"),
            None => (vec!["jobs", "--json"], "jobs"),
        }
    }

    /// What was touched though it is a shadow's.
    pub fn touched(&self) -> Option<String> {
        let before = self.untouched.as_ref()?;
        let now = all_but_data(&self.world);
        (now != *before).then(|| format!("touched:\n{before}\nis now\n{now}"))
    }

    /// Where the consumer takes outputs from, and where to.
    pub fn consumer(&self) -> (PathBuf, PathBuf) {
        (self.world.path("out"), self.consumed.path().to_owned())
    }

    /// A folder of the scenario by the name under which it is compared.
    pub fn folder(&self, name: &str) -> Option<PathBuf> {
        match name {
            "consumed" => Some(self.consumed.path().to_owned()),
            "stored" => Some(self.world.path("data/outputs")),
            "elsewhere" => self.elsewhere.as_ref().map(|folder| folder.path().to_owned()),
            _ => Some(self.world.path(name)),
        }
    }

    /// What a command or a file says, without what is different in every copy.
    pub fn without_places(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for root in self.roots() {
            let root = root.display().to_string();
            text = text.replace(&root, "WORLD");
        }
        text
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (_, morgue) in self.roots_with_morgues() {
            // Most runs have none.
            std::fs::remove_dir_all(morgue).ok();
        }
    }
}

/// Everything but the data folder and the log: inode, size, mode, and all times but that of the last look.
fn all_but_data(world: &World) -> String {
    world.sh("find . -mindepth 1 \\( -path ./data -o -name landfall.log \\) -prune -o -printf '%p %i %s %m %n %T@ %C@\\n' | sort")
}

fn is_another_file_system(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let there = device(folder);
    there.is_some() && there != device(&std::env::temp_dir())
}
