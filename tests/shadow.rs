//! Promise: a shadow rule touches nothing, and tells what it would publish and how that compares with what the old system published.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Service, World, lines, rename, wait_until};

const SHADOW: &str = "mode = \"shadow\"\ncompare = \"old\"\n";

fn shadow(more: &str) -> World {
    let world = World::new(&format!("{SHADOW}{more}"));
    fs::create_dir(world.path("old")).expect("a folder");
    world
}

/// What `landfall shadow` tells; its exit code besides.
#[track_caller]
fn report(world: &World) -> (Value, i32) {
    let ran = world.landfall(&["shadow", "payments", "--json"]);
    let told = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    (told, ran.code.expect("it ended by itself"))
}

#[track_caller]
fn wait_for(service: &mut Service, world: &World, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    service.wait_until(what, || Some(report(world).0).filter(|told| is_so(told)))
}

fn sum(told: &Value, of: &str) -> u64 {
    told["sum"][of].as_u64().unwrap_or_else(|| panic!("no {of}: {told:#}"))
}

/// So many files, and nothing is under way.
fn are_read(told: &Value, count: u64) -> bool {
    sum(told, "files") == count && sum(told, "unfinished") == 0
}

fn file<'v>(told: &'v Value, name: &str) -> &'v Value {
    let files = told["files"].as_array().expect("a list");
    let is_it = |file: &&Value| file["source"].as_str().is_some_and(|source| source.ends_with(name));
    files.iter().find(is_it).unwrap_or_else(|| panic!("no {name}: {told:#}"))
}

fn verdict(told: &Value, name: &str) -> String {
    file(told, name)["outputs"][0]["verdict"].as_str().unwrap_or("none").to_owned()
}

/// All that tells whether something at or below a folder was touched.
type Snapshot = BTreeMap<PathBuf, (u64, u64, u32, u32, i64, i64, i64, i64, u64)>;

fn snapshot(folder: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let it = path.symlink_metadata().expect("is there");
        let (mtime, ctime) = ((it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec()));
        let told = (it.ino(), it.size(), it.mode(), it.uid(), mtime.0, mtime.1, ctime.0, ctime.1, it.nlink());
        found.insert(path.clone(), told);
        if it.is_dir() {
            left.extend(
                fs::read_dir(&path).expect("can be listed").map(|entry| entry.expect("is read").path()),
            );
        }
    }
    found
}

#[test]
fn nothing_is_touched_and_nothing_stays_of_what_was_read() {
    let more = "publish = { marker = \"signals/{stem}.done\", manifest = \"signals/{stem}.json\" }\n\
        ready = { strategy = \"marker\", totals = \"{name}.ctl\" }\n";
    let world = shadow(more);
    world.write("in/a.csv", lines(5_000));
    world.write("in/a.csv.ctl", "{\"records\": 5000}");
    world.write("in/a.csv.done", "");
    world.write("in/b.csv", "1\n2\n");
    world.write("in/b.csv.ctl", "{\"records\": 3}");
    world.write("in/b.csv.done", "");
    let before = snapshot(&world.path("in"));
    let mut service = world.start();
    let told = wait_for(&mut service, &world, "both are read", |told| are_read(told, 2));
    assert_eq!(file(&told, "a.csv")["records_in"], 5_000, "{told:#}");
    assert_eq!(file(&told, "a.csv")["outputs"][0]["path"], world.path("out/a.main").display().to_string());
    assert_eq!(file(&told, "a.csv")["outputs"][0]["content_lines"], 5_000);
    assert_eq!(file(&told, "b.csv")["status"], "would fail", "{told:#}");
    assert_eq!(snapshot(&world.path("in")), before, "the landing folder was touched");
    for folder in ["out", "archive", "signals", "in/.landfall"] {
        assert!(!world.has(folder), "{folder}");
    }
    service.wait_until("what was written aside is gone", || {
        fs::read_dir(world.path("data/shadow/out")).is_ok_and(|mut it| it.next().is_none()).then_some(())
    });
    assert!(world.jobs().is_empty(), "they are no jobs of what is published");
    service.stop();
    assert_eq!(report(&world).0["files"], told["files"], "without the service the same is told");
}

/// Goal: a user who may only read is enough, and no call of the service could change anything there.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_may_only_be_read_is_enough_and_no_lease_is_taken() {
    const OTHER: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = shadow("");
    world.write("in/a.csv", lines(10));
    fs::set_permissions(world.path("in"), fs::Permissions::from_mode(0o555)).expect("is set");
    fs::create_dir(world.path("data")).expect("a folder");
    chown(world.path("data"), Some(OTHER), Some(OTHER)).expect("is given");
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).expect("is set");
    let binary = world.path("landfall");
    fs::copy(env!("CARGO_BIN_EXE_landfall"), &binary).expect("is copied");
    let before = snapshot(&world.path("in"));
    let script = format!(
        "exec setpriv --reuid={OTHER} --regid={OTHER} --clear-groups timeout 60 strace -f -qq -y -o data/trace \
         -e trace=fcntl,rename,renameat,renameat2,unlink,unlinkat,link,linkat,openat,openat2,chmod,fchmod,utimensat \
         ./landfall run"
    );
    let mut running = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(world.folder())
        .stderr(fs::File::create(world.path("landfall.log")).expect("a log"))
        .spawn()
        .expect("runs");
    let told = wait_until("it is read", || {
        let ran = world.sh(&format!(
            "setpriv --reuid={OTHER} --regid={OTHER} --clear-groups ./landfall shadow payments --json || true"
        ));
        let told: Value = serde_json::from_str(&ran).ok()?;
        are_read(&told, 1).then_some(told)
    });
    assert_eq!(file(&told, "a.csv")["status"], "read", "{told:#}");
    let address: Value = serde_json::from_str(&world.text("data/control.json")).expect("is JSON");
    world.sh(&format!("kill -TERM {}", address["pid"]));
    running.wait().expect("it ends");
    assert_eq!(snapshot(&world.path("in")), before);
    let trace = world.text("data/trace");
    let inside = format!("{}/", world.path("in").display());
    let leases = |line: &&str| line.contains(&inside) && line.contains("F_SETLEASE");
    assert_eq!(trace.lines().find(leases), None);
    assert!(trace.lines().any(|line| line.contains("F_SETLEASE")), "leases are seen: of the configuration");
    let changes = |line: &&str| line.contains(&inside) && !line.contains("openat") && !line.contains("fcntl");
    assert_eq!(trace.lines().find(changes), None);
    let writes =
        |line: &&str| line.contains(&inside) && (line.contains("O_RDWR") || line.contains("O_WRONLY"));
    assert_eq!(trace.lines().find(writes), None);
}

#[test]
fn where_nothing_is_told_yet_or_files_still_wait_the_exit_code_says_so_and_where_theirs_is_sought() {
    let world = shadow("ready = { checksum = \"{name}.sum\", linger = \"0s\", stable_for = \"50ms\" }");
    world.landfall(&["shadow", "payments"]).ends_with(1).says(&["none has come"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.write("in/first.csv", "1\n");
    wait_for(&mut service, &world, "it is seen", |told| sum(told, "waiting") == 1);
    world.landfall(&["shadow", "payments"]).ends_with(1).says(&["none is complete yet", "1 file more"]);
    world
        .landfall(&["adopt", "in/first.csv"])
        .done()
        .says(&["once rule \"payments\" is live", "reads it all"]);
    world.sh("cd in && sha256sum first.csv >first.csv.sum");
    let told = wait_for(&mut service, &world, "an adopted file is read too", |told| are_read(told, 1));
    let theirs = world.path("old/first.main").display().to_string();
    assert_eq!(file(&told, "first.csv")["outputs"][0]["sought"], serde_json::json!([theirs]), "{told:#}");
    let said = format!("theirs is looked for as {theirs}");
    world.landfall(&["shadow", "payments"]).done().says(&["main: not there yet", &said]);
    world.write("in/second.csv", "2\n");
    wait_for(&mut service, &world, "another one waits", |told| sum(told, "waiting") == 1);
    assert_eq!(report(&world).1, 1);
    service.stop();
}

#[test]
fn each_output_is_told_to_match_to_differ_or_to_be_of_one_side_alone() {
    let world = shadow("");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/same.csv", lines(100));
    world.move_in("in/packed.csv", lines(100));
    world.move_in("in/other.csv", "1\n2\n3\n4\n");
    world.move_in("in/late.csv", "1\n");
    let told = wait_for(&mut service, &world, "all are read", |told| {
        sum(told, "files") == 4 && sum(told, "not_there_yet") == 4
    });
    assert_eq!(verdict(&told, "late.csv"), "not_there_yet");
    assert_eq!(report(&world).1, 0, "nothing that was compared differs");
    world.write("old/same.main", lines(100));
    world.write("old/plain", lines(100));
    world.sh("gzip -1 <old/plain >old/packed.main.gz; rm old/plain");
    world.write("old/other.main", "1\n2\nthree\n4\n");
    let told = wait_for(&mut service, &world, "those that are there are compared", |told| {
        sum(told, "not_there_yet") == 1
    });
    assert_eq!(verdict(&told, "same.csv"), "match", "{told:#}");
    assert_eq!(verdict(&told, "packed.csv"), "match", "{told:#}");
    assert_eq!(verdict(&told, "other.csv"), "differs", "{told:#}");
    let other = &file(&told, "other.csv")["outputs"][0];
    assert_eq!(other["detail"], "first at line 3, from byte 4 on", "{other:#}");
    assert_eq!((&other["content_bytes"], &other["their_bytes"]), (&8.into(), &12.into()));
    assert_eq!(report(&world).1, 1);
    // It was not written to its end.
    world.write("old/other.main", "1\n2\n3\n4\n");
    world.write("old/late.main", "1\n");
    wait_for(&mut service, &world, "all match", |told| sum(told, "match") == 4);
    assert_eq!(report(&world).1, 0);
    world.write("old/nobody.main", "1\n");
    world.write("old/of-another-feed.txt", "1\n");
    let (told, code) = report(&world);
    assert_eq!(told["theirs_only"], serde_json::json!([world.path("old/nobody.main").display().to_string()]));
    assert_eq!((sum(&told, "theirs_only"), code), (1, 1));
    let text = world.landfall(&["shadow", "payments"]).ends_with(1);
    text.says(&["same.csv: read", "main: match", "theirs only: ", "4 files, 205 records; outputs: 4 match"]);
    service.stop();
}

#[test]
fn an_encrypted_output_is_named_as_it_would_be_and_its_content_compared_where_theirs_is_open() {
    let world = World::bare();
    let recipient = world.age_key();
    let more = format!(
        "output = {{ main = {{ path = \"out/{{stem}}.csv.gz.age\", recipients = [\"{recipient}\"] }} }}\n"
    );
    world.configure("", &[&format!("{SHADOW}{more}")]);
    world.write("old/a.csv", lines(3));
    world.write("old/b.csv.gz.age", "age-encryption.org/v1\n");
    world.write("in/a.csv", lines(3));
    world.write("in/b.csv", lines(3));
    let mut service = world.start();
    let told = wait_for(&mut service, &world, "both are compared", |told| {
        sum(told, "match") + sum(told, "not_compared") == 2
    });
    assert_eq!(verdict(&told, "a.csv"), "match", "{told:#}");
    assert_eq!(verdict(&told, "b.csv"), "not_compared", "{told:#}");
    let path = file(&told, "a.csv")["outputs"][0]["path"].as_str().expect("a path").to_owned();
    assert!(path.ends_with("/out/a.csv.gz.age"), "{path}");
    service.stop();
}

#[test]
fn a_file_that_is_taken_away_is_told_as_gone_and_is_no_failure() {
    let world = shadow("ready = { strategy = \"stable\", stable_for = \"1h\" }\n");
    let mut service = world.start();
    service.wait_until_it_watches();
    let path = world.write("in/a.csv", lines(10));
    service.wait_until("it waits", || {
        let told = world.landfall(&["explain", "in/a.csv"]).done().says(&["is a shadow: it reads the file"]);
        told.stdout.contains("as a shadow: waits: ").then_some(())
    });
    rename(&path, &world.path("a.csv"));
    let told = wait_for(&mut service, &world, "it is told", |told| sum(told, "gone") == 1);
    assert_eq!(file(&told, "a.csv")["detail"], "it was gone before it was complete", "{told:#}");
    assert_eq!(report(&world).1, 0, "{told:#}");
    service.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_taken_away_while_it_is_read_is_read_to_its_end() {
    const RECORDS: usize = 400_000;
    let world = shadow("");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a.csv", lines(RECORDS));
    let descriptors = format!("/proc/{}/fd", service.id());
    let has_open = || {
        let open = fs::read_dir(&descriptors).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| path == world.path("in/a.csv"))
    };
    let is_running = || report(&world).0["files"][0]["state"] == "running";
    service.wait_until("it is being read", || (is_running() && has_open()).then_some(()));
    support::remove(&world.path("in/a.csv"));
    let told = wait_for(&mut service, &world, "it is read", |told| are_read(told, 1));
    let file = file(&told, "a.csv");
    assert_eq!((&file["status"], &file["records_in"]), (&"read".into(), &RECORDS.into()), "{told:#}");
    service.stop();
}

/// An override that is a shadow keeps its files from its rule, and from no other.
#[test]
fn an_override_may_be_a_shadow_and_its_rule_live() {
    let world = World::bare();
    let over = "paths = [\"in/{sender}/*\"]\n[[override]]\nif = { sender = \"globex\" }\nmode = \"shadow\"\n";
    world.configure("", &[over]);
    for sender in ["acme", "globex"] {
        fs::create_dir_all(world.path("in").join(sender)).expect("a folder");
    }
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/globex/b.csv", "2\n");
    world.move_in("in/acme/a.csv", "1\n");
    service.wait_for(&world, "out/a.main");
    let told = wait_for(&mut service, &world, "it is read", |told| are_read(told, 1));
    assert_eq!(file(&told, "globex/b.csv")["status"], "read", "{told:#}");
    assert!(world.has("in/globex/b.csv") && !world.has("out/b.main"));
    service.stop();
}

#[test]
fn a_content_is_read_once_also_after_a_kill_and_a_file_that_is_written_again_is_another() {
    let world = shadow("");
    world.write("in/a.csv", lines(200_000));
    let mut service = world.start();
    // Killed at random moments, until it is done in spite of it.
    for _ in 0..4 {
        service.wait_until("it is at it", || world.has("data/shadow/store").then_some(()));
        service.kill();
        service = world.start();
    }
    let told = wait_for(&mut service, &world, "it is read", |told| are_read(told, 1));
    assert_eq!(file(&told, "a.csv")["records_in"], 200_000);
    service.kill();
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/b.csv", "1\n");
    wait_for(&mut service, &world, "the second is read", |told| are_read(told, 2));
    world.move_in("in/b.csv", "2\n");
    wait_for(&mut service, &world, "it is another", |told| sum(told, "files") == 3);
    service.stop();
}

#[test]
fn what_a_program_would_do_is_not_done_and_what_follows_is_said_to_be_unknown() {
    let world = shadow(
        "pipeline = [ { step = \"filter\", drop = { equals = \"2\" } }, \
         { step = \"exec\", command = [\"./touch\"], protocol = \"line\" }, \
         { step = \"route\", when = [{ if = { equals = \"3\" }, to = \"threes\" }] } ]\n\
         output = { main = { path = \"out/{stem}.main\" }, threes = { path = \"out/{stem}.threes\" } }\n",
    );
    world.write("touch", "#!/bin/sh\ntouch touched\nexec cat\n");
    fs::set_permissions(world.path("touch"), fs::Permissions::from_mode(0o755)).expect("is set");
    world.landfall(&["check"]).done().says(&["shadow", "step 2, exec, is not run"]);
    world.write("in/a.csv", "1\n2\n3\n");
    let mut service = world.start();
    let told = wait_for(&mut service, &world, "it is read", |told| are_read(told, 1));
    let file = file(&told, "a.csv");
    assert_eq!((&file["records_in"], &file["records_dropped"]), (&3.into(), &1.into()));
    assert_eq!((&file["not_run"], &file["outputs"]), (&"step 2, exec".into(), &serde_json::json!([])));
    world
        .landfall(&["shadow", "payments"])
        .done()
        .says(&["outputs: not known, for step 2, exec, is not run"]);
    assert!(!world.has("touched"));
    service.stop();
}

#[test]
fn a_shadow_that_becomes_live_takes_what_lies_there_and_a_live_one_that_becomes_a_shadow_takes_no_more() {
    let world = shadow("");
    world.write("in/a.csv", "1\n");
    let mut service = world.start();
    wait_for(&mut service, &world, "it is read", |told| are_read(told, 1));
    world.landfall(&["rules"]).done().says(&["shadow"]);
    world.write("in/left.csv", "0\n");
    world.landfall(&["adopt", "in/left.csv"]).done().says(&["adopted"]);
    world.configure("", &[""]);
    world.landfall(&["reload"]).done().says(&["changed: payments"]);
    service.wait_for(&world, "out/a.main");
    service.wait_until("it is archived", || world.has("archive/a.csv").then_some(()));
    assert_eq!(world.completed()["delivery_key"], Value::Null);
    assert!(world.has("in/left.csv"), "it was adopted before");
    world.configure("", &[SHADOW]);
    world.landfall(&["reload"]).done();
    world.move_in("in/b.csv", "2\n");
    // What was adopted is read, too: nothing is done to it.
    let told = wait_for(&mut service, &world, "it is read", |told| are_read(told, 3));
    assert_eq!(file(&told, "b.csv")["status"], "read", "{told:#}");
    assert!(world.has("in/b.csv") && !world.has("out/b.main"));
    service.stop();
}

/// Goal: neither keeps a file from the other, whoever is faster.
#[test]
fn a_live_rule_and_a_shadow_both_have_the_files_that_both_match() {
    const FILES: usize = 60;
    let world = World::bare();
    let live = "name = \"live\"\npaths = [\"in/*.csv\"]\noutput = { main = { path = \"live/{stem}.main\" } }\n\
        source = { on_success = \"delete\" }\n";
    // Either order: the first match is among rules that take files, and among shadows.
    for (round, rules) in [[SHADOW, live], [live, SHADOW]].iter().enumerate() {
        world.configure("", rules);
        fs::create_dir_all(world.path("in")).expect("a folder");
        let mut service = world.start();
        service.wait_until_it_watches();
        for number in 0..FILES {
            world.move_in(&format!("in/{round}-{number}.csv"), lines(number + 1));
        }
        service.wait_until("all are published", || {
            (world.files("live").len() == FILES * (round + 1) && world.files("in").is_empty()).then_some(())
        });
        let told = wait_for(&mut service, &world, "all are read", |told| {
            are_read(told, (FILES * (round + 1)) as u64) && sum(told, "gone") == 0
        });
        let read = told["files"].as_array().expect("a list").iter();
        assert!(read.clone().all(|file| file["status"] == "read"), "{told:#}");
        let explained = world.landfall(&["explain", "in/x.csv"]).done();
        explained.says(&["rule \"live\": takes it", "rule \"payments\": is a shadow"]);
        service.stop();
    }
    let jobs = world.jobs();
    assert!(jobs.len() == 2 * FILES && jobs.iter().all(|job| job["rule"] == "live"), "{}", jobs.len());
}

/// Goal: more files at once than can be held open; the shadow's own watch sees none of them.
#[test]
fn each_file_of_a_flood_that_a_live_rule_takes_away_is_told_as_read_or_as_gone() {
    const FILES: u64 = 300;
    let world = World::bare();
    let live = "name = \"live\"\npaths = [\"in/*.csv\"]\noutput = { main = { path = \"live/{stem}.main\" } }\n\
        source = { on_success = \"delete\" }\n";
    let unseen = format!("{SHADOW}ready = {{ events = false }}\n");
    world.configure("scan_every = \"1h\"", &[&unseen, live]);
    fs::create_dir_all(world.path("in")).expect("a folder");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.sh(&format!(
        "mkdir staged; for n in $(seq {FILES}); do echo $n > staged/$n.csv; done; mv staged/* in"
    ));
    service.wait_until("all are published", || {
        (world.files("live").len() as u64 == FILES && world.files("in").is_empty()).then_some(())
    });
    let told = wait_for(&mut service, &world, "each is told", |told| are_read(told, FILES));
    let read = sum(&told, "records");
    assert_eq!(read + sum(&told, "gone"), FILES, "one record in each that is read: {}", told["sum"]);
    service.stop();
}

#[test]
fn only_a_shadow_has_something_to_be_compared_with() {
    let world = World::new("compare = \"old\"\n");
    world.landfall(&["check"]).ends_with(2).says(&["compare: the old system's folder is named"]);
    let world = World::new("");
    world.landfall(&["shadow", "payments"]).ends_with(1).says(&["is live, and was no shadow"]);
    world.landfall(&["shadow", "payrol"]).ends_with(2).says(&["no rule is named"]);
}
