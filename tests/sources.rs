//! Promise: a source ends where the rule says, is never lost or overwritten, and a fault that is not its own never takes it away.
#![cfg(unix)]

mod support;

use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;
use support::{World, lines};

#[test]
fn the_archive_has_the_source_byte_for_byte() {
    let world = World::new("");
    world.sh("printf 'one\n' | gzip > in/pay.txt.gz; cp in/pay.txt.gz kept");
    world.ingest_and_retire("in/pay.txt.gz").done();
    assert_eq!(world.bytes("archive/pay.txt.gz"), world.bytes("kept"));
    assert!(!world.has("in/pay.txt.gz"));
    let job = world.completed();
    assert!(job["retired_to"].as_str().is_some_and(|path| path.ends_with("archive/pay.txt.gz")), "{job:#}");
}

#[test]
fn an_archived_file_is_never_overwritten() {
    let world = World::new("");
    for text in ["one\n", "two\n", "three\n"] {
        world.write("in/pay.txt", text);
        world.ingest_and_retire("in/pay.txt").done();
    }
    let mut archived: Vec<_> =
        world.files("archive").iter().map(|name| world.text(format!("archive/{name}"))).collect();
    archived.sort();
    assert_eq!(archived, ["one\n", "three\n", "two\n"]);
    assert_eq!(world.text("archive/pay.txt"), "one\n");
}

#[test]
fn an_archive_on_another_file_system_is_a_verified_copy() {
    let Ok(other) = tempfile::TempDir::with_prefix_in("landfall-test-", "/dev/shm") else { return };
    let archive = other.path().join("archive");
    let world = World::new(&format!(
        "source = {{ on_success = \"archive\", archive_dir = \"{}\" }}",
        archive.display()
    ));
    let device = |path: &std::path::Path| path.metadata().expect("it is there").dev();
    if device(other.path()) == device(&world.path("in")) {
        return;
    }
    let text = lines(50_000);
    world.write("in/pay.txt", &text);
    world.ingest_and_retire("in/pay.txt").done();
    assert!(std::fs::read_to_string(archive.join("pay.txt")).is_ok_and(|copy| copy == text));
    let listed: Vec<_> =
        std::fs::read_dir(&archive).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(listed, ["pay.txt"]);
    assert_eq!(world.files("in"), [""; 0]);
}

/// A crash between the copy's appearance under the claimed name and the unlink in quarantine.
#[test]
fn a_retry_over_file_systems_that_was_cut_short_leaves_nothing_in_quarantine() {
    let Ok(other) = tempfile::TempDir::with_prefix_in("landfall-test-", "/dev/shm") else { return };
    let rule = |record_max: &str| {
        format!(
            "source = {{ on_success = \"archive\", archive_dir = \"archive\", quarantine_dir = \"{}\" }}
             errors = {{ failed_max = 0 }}\nrecords = {{ format = \"lines\", record_max = \"{record_max}\" }}",
            other.path().display()
        )
    };
    let world = World::new(&rule("5"));
    let device = |path: &std::path::Path| path.metadata().expect("it is there").dev();
    if device(other.path()) == device(&world.path("in")) {
        return;
    }
    world.write("in/pay.txt", "too long a line\n");
    world.ingest_and_retire("in/pay.txt").ends_with(1);
    let quarantined = other.path().join("pay.txt");
    assert!(quarantined.is_file());
    world.configure("", &[&rule("1KiB")]);
    let job = world.job();
    let id = job["id"].as_str().expect("an id is text");
    world.landfall(&["retry", id]).done();
    world.sh(&format!("cp -p {} in/.landfall/{id}.pay.txt", quarantined.display()));
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), "too long a line\n");
    let left: Vec<_> = std::fs::read_dir(other.path()).expect("it is there").flatten().collect();
    assert!(left.is_empty(), "it is told as refused for ever: {left:?}");
}

#[test]
fn an_archive_out_of_reach_holds_up_no_output_and_loses_no_source() {
    let world = World::new("");
    // A file where the folder should be: nobody, not even root, can write below it.
    world.write("archive", "");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "out/pay.main");
    service.wait_until("the job says what it waits for", || {
        world.jobs().iter().any(|job| job["state"] == "retiring" && !job["waiting"].is_null()).then_some(())
    });
    assert_eq!(world.files("in").len(), 1, "the source waits beside its folder: {:?}", world.files("in"));
    support::remove(&world.path("archive"));
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.text("archive/pay.txt"), "one\n");
    assert_eq!(world.completed()["records_in"], 1);
}

#[test]
fn outputs_on_another_file_system_appear_whole_too() {
    let Ok(other) = tempfile::TempDir::with_prefix_in("landfall-test-", "/dev/shm") else { return };
    let world = World::new(&format!(
        "output = {{ main = {{ path = \"{}/{{stem}}.out\" }} }}",
        other.path().display()
    ));
    let text = lines(1000);
    world.write("in/pay.txt", &text);
    world.ingest_and_retire("in/pay.txt").done();
    assert!(std::fs::read_to_string(other.path().join("pay.out")).is_ok_and(|out| out == text));
}

#[test]
fn delete_removes_the_source_once_the_outputs_are_there() {
    let world = World::new("source = { on_success = \"delete\" }");
    world.write("in/pay.txt", "one\n");
    world.ingest_and_retire("in/pay.txt").done();
    assert_eq!(world.text("out/pay.main"), "one\n");
    assert_eq!(world.files("in"), [""; 0]);
}

#[test]
fn ingest_leaves_the_file_as_it_is_unless_told_to_retire_it() {
    let world = World::new("source = { on_success = \"delete\" }");
    world.write("in/pay.txt", "one\n");
    world.ingest(&["in/pay.txt"]).done();
    assert_eq!(world.files("in"), ["pay.txt"]);
    assert_eq!(world.files("archive"), [""; 0]);
}

#[test]
fn a_kept_file_stays_and_is_taken_once() {
    let world = World::new(
        "source = { on_success = \"keep\" }\noutput = { main = { path = \"out/{stem}.main\", on_exists = \"number\" } }",
    );
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "out/pay.main");
    // The next file's coming out shows that the scans in between have left the kept one alone.
    world.move_in("in/next.txt", "two\n");
    service.wait_for(&world, "out/next.main");
    service.stop();
    let mut service = world.start();
    world.move_in("in/last.txt", "three\n");
    service.wait_for(&world, "out/last.main");
    assert_eq!(world.files("out"), ["last.main", "next.main", "pay.main"]);
    assert_eq!(world.files("in").iter().filter(|name| !name.starts_with('.')).count(), 3);

    // A changed file is a new source.
    world.move_in("in/pay.txt", "four\n");
    service.wait_for(&world, "out/pay-1.main");
    assert_eq!(world.text("out/pay-1.main"), "four\n");
}

#[test]
fn an_input_error_quarantines_the_source_with_its_reason_and_the_service_goes_on() {
    let world = World::new("");
    world.sh("printf 'one\n' | gzip > good.gz; { cat good.gz; printf garbage; } > bad.gz");
    let mut service = world.start();
    world.move_in("in/bad.gz", world.bytes("bad.gz"));
    service.wait_for(&world, "in/.landfall/quarantine/bad.gz.error.json");
    world.move_in("in/good.gz", world.bytes("good.gz"));
    service.wait_for(&world, "archive/good.gz");
    service.stop();
    assert_eq!(world.bytes("in/.landfall/quarantine/bad.gz"), world.bytes("bad.gz"));
    let reason: Value =
        serde_json::from_str(&world.text("in/.landfall/quarantine/bad.gz.error.json")).expect("JSON");
    assert_eq!(reason["state"], "failed");
    assert_eq!(reason["error"]["kind"], "input");
    assert_eq!(world.files("out"), ["good.main"]);
}

#[test]
fn a_failed_job_can_be_retried_from_quarantine_under_a_mended_rule() {
    let rule = |entries: &str| format!("decode = {{ entries = [\"{entries}\"] }}");
    let world = World::new(&rule("*.csv"));
    world.sh("printf 'one\n' > a.txt; zip -q in/pay.zip a.txt");
    world.ingest_and_retire("in/pay.zip").ends_with(1);
    let job = world.job();
    assert_eq!(job["state"], "failed");
    assert!(world.has("in/.landfall/quarantine/pay.zip"), "{:?}", world.files("in"));

    world.configure("", &[&rule("*.txt")]);
    world.landfall(&["retry", job["id"].as_str().expect("an id is text")]);
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.zip");
    service.stop();
    assert_eq!(world.text("out/pay.main"), "one\n");
    assert_eq!(world.completed()["state"], "completed");
    assert!(!world.has("in/.landfall/quarantine/pay.zip"));
    assert!(!world.has("in/.landfall/quarantine/pay.zip.error.json"));
}

#[test]
fn a_missing_key_holds_the_job_which_goes_on_by_itself_when_the_key_is_there() {
    let world = World::new("decode = { identities = [\"key.txt\"] }");
    let recipient = world.age_key();
    world.age_key_in("other.txt");
    world.sh(&format!(
        "printf 'one\n' | age -r {recipient} -o staged.age; mv key.txt key.right; cp other.txt key.txt"
    ));
    let mut service = world.start();
    world.move_in("in/pay.txt.age", world.bytes("staged.age"));
    service.wait_for_log("key");
    service.wait_for_log("pay.txt.age");
    // Another rule's key being wrong is no reason for others to wait.
    world.move_in("in/plain.txt", "two\n");
    service.wait_for(&world, "archive/plain.txt");
    assert!(!world.has("in/.landfall/quarantine"), "an innocent file went to quarantine");
    assert_eq!(world.files("out"), ["plain.main"]);

    world.sh("mv key.right key.txt");
    service.wait_for(&world, "archive/pay.txt.age");
    service.stop();
    assert_eq!(world.text("out/pay.main"), "one\n");
}

#[test]
fn a_held_job_says_what_it_waits_for() {
    let world = World::new("decode = { identities = [\"key.txt\"] }");
    let recipient = world.age_key();
    world.sh(&format!(
        "printf 'one\n' | age -r {recipient} -o pay.age; age-keygen -o new 2>/dev/null; mv new key.txt"
    ));
    world.ingest(&["pay.age"]).ends_with(1).says(&["pay.age"]);
    let job = world.job();
    assert_eq!(job["state"], "held", "{job:#}");
    assert_eq!(job["waiting"]["for"], "key", "{job:#}");
    assert_eq!(job["error"]["kind"], "config", "{job:#}");
    assert!(job["error"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{job:#}");
    assert!(world.has("pay.age"));
}

#[test]
fn a_marker_is_retired_with_its_file() {
    let world = World::new("ready = { strategy = \"marker\", marker = \"{name}.done\" }");
    let mut service = world.start();
    world.write("in/pay.txt", "one\n");
    world.write("in/pay.txt.done", "");
    service.wait_for(&world, "archive/pay.txt");
    service.wait_until("the marker is retired", || (!world.has("in/pay.txt.done")).then_some(()));
    service.stop();
    assert_eq!(world.files("out"), ["pay.main"]);
}
