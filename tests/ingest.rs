//! Promise: what `landfall ingest` says of a file is true of that file and of this asking, whoever else was or is at it.
#![cfg(unix)]

mod support;

use std::process::Stdio;

use support::{Ran, World, lines};

/// Files of whole lines, which the service leaves where they lie for as long as a test lasts.
const WHOLE_LINES: &str = "ready = { stable_for = \"1h\", last_line = \"complete\" }";

/// A rule whose program ends each job.
const FAILS: &str = "pipeline = [{ step = \"exec\", command = [\"false\"], protocol = \"line\" }]\n\
    errors = { failed_max = 0, attempts = 1 }\n";

/// A script that then removes the file would lose it.
#[test]
fn a_file_that_is_given_back_is_not_called_what_an_earlier_one_of_its_name_became() {
    let world = World::new(WHOLE_LINES);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.write("by-hand.txt", "a\nb\n");
    world.ingest(&["by-hand.txt"]).done();
    world.write("by-hand.txt", "a\nb\nc");
    world.ingest_and_retire("by-hand.txt").says(&["aborted"]).ends_with(1);
    assert_eq!(world.text("by-hand.txt"), "a\nb\nc");
    service.stop();
}

/// Else nothing would be left of the time in which its sender could write the rest.
#[test]
fn a_file_of_a_watched_folder_that_is_given_back_waits_there() {
    let world = World::new(WHOLE_LINES);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.write("in/early.txt", "a\nb\nc");
    world.ingest_and_retire("in/early.txt").says(&["aborted"]).ends_with(1);
    service.wait_until("it waits", || world.landfall(&["jobs"]).stdout.contains("stood still").then_some(()));
    assert_eq!(world.jobs().len(), 1);
    assert_eq!(world.text("in/early.txt"), "a\nb\nc");
    service.stop();
}

/// And who follows that job hears what became of the service.
#[test]
fn retire_is_not_dropped_where_another_job_is_at_the_file_already() {
    let hangs =
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./hangs\"], timeout = \"1h\" }]";
    let world = World::new(&format!("{WHOLE_LINES}\n{hangs}"));
    world.sh("printf '#!/bin/sh\\nexec sleep 3600\\n' > hangs; chmod +x hangs");
    world.write("by-hand.txt", lines(3));
    let mut service = world.start();
    service.wait_until_it_watches();
    let mut first = world.command();
    let first = first.args(["ingest", "by-hand.txt", "--rule", "payments"]).stdout(Stdio::piped());
    let first = first.stderr(Stdio::piped()).spawn().expect("starts");
    service.wait_until("the first is at it", || {
        world.jobs().iter().any(|job| job["state"] == "running").then_some(())
    });
    let second = world.ingest_and_retire("by-hand.txt");
    second.says(&["was asked to leave it as it is", "--retire"]).ends_with(1);
    service.kill();
    let told = Ran::new(&first.wait_with_output().expect("ends"));
    told.says(&["is with the running service", "go on at its next start"]).ends_with(1);
}

#[test]
fn a_file_that_a_rule_watches_is_told_as_one_that_comes_again() {
    let world = World::new(WHOLE_LINES);
    world.write("in/a.txt", lines(3));
    world.ingest(&["in/a.txt"]).says(&["lies where rule \"payments\" watches", "--retire"]).done();
    world.write("in/b.txt", lines(3));
    let retired = world.ingest_and_retire("in/b.txt").done();
    assert!(!retired.stderr.contains("watches"), "{}", retired.stderr);
}

/// Goal: who tries a file by hand under a rule that touches nothing by itself knows before what this does.
#[test]
fn under_a_rule_that_is_a_shadow_or_off_it_is_said_first_that_files_are_ingested_for_real() {
    const SAID: &str = "`landfall ingest` is done for real all the same";
    let world = World::new("");
    world.write("in/a.txt", "1\n");
    for (mode, what) in [("shadow", "rule \"payments\" is a shadow"), ("off", "rule \"payments\" is off")] {
        world.configure(
            "",
            &[&format!("mode = \"{mode}\"\noutput = {{ main = {{ path = \"{mode}/{{name}}\" }} }}\n")],
        );
        let dry = world.landfall(&["ingest", "--rule", "payments", "--dry-run", "in/a.txt"]).done();
        assert!(!dry.stderr.contains(SAID), "{}", dry.stderr);
        world.ingest(&["in/a.txt"]).done().says(&[what, SAID, "--dry-run"]);
        assert_eq!(world.files(mode), ["a.txt"]);
    }
    world.write("in/c.txt", "1\n");
    world.ingest_and_retire("in/c.txt").done().says(&["rule \"payments\" is off", SAID, "source is retired"]);
    assert!(world.has("archive/c.txt"));
    // An override can be one, and its rule live.
    world.configure(
        "",
        &["paths = [\"in/{sender}/*\"]\noutput = { main = { path = \"out/{sender}-{name}\" } }\n\
            override = [{ if = { sender = \"globex\" }, mode = \"shadow\" }]\n"],
    );
    for file in ["acme/b", "acme/c", "globex/b", "initech/b"] {
        world.write(format!("in/{file}.txt"), "1\n");
    }
    let live = world.ingest(&["in/acme/b.txt", "in/initech/b.txt"]).done();
    assert!(!live.stderr.contains(SAID), "{}", live.stderr);
    let of_globex = world.ingest(&["in/acme/c.txt", "in/globex/b.txt"]).done();
    of_globex.says(&[
        "the override of rule \"payments\" for sender = \"globex\" is a shadow",
        "in/globex/b.txt is published",
    ]);
}

/// Else it would be said to be queued, or to wait, and nobody would ever take it.
#[test]
fn a_file_that_no_rule_watches_and_that_is_another_by_now_is_told_so_and_what_takes_it() {
    let world = World::new(FAILS);
    world.write("by-hand.txt", lines(3));
    let failed = world.ingest(&["by-hand.txt"]).ends_with(1).stdout;
    let job = world.job();
    let id = job["id"].as_str().expect("an id is text");
    world.write("by-hand.txt", lines(4));
    let way = ["it was changed since", "no rule watches it there", "landfall ingest", "--rule payments"];
    let mut service = world.start();
    service.wait_until_it_watches();
    let told = world.landfall(&["retry", id]).ends_with(1).says(&way);
    assert!(!told.stdout.contains("queued again"), "{told:#?}\n{failed}");
    service.stop();
    world.landfall(&["retry", id]).ends_with(1).says(&way);
    world.configure("", &[""]);
    world.ingest(&["by-hand.txt"]).done();
}

#[test]
fn a_kept_file_that_another_job_has_as_it_is_now_is_not_queued_again() {
    let world = World::new(&format!("{FAILS}source = {{ on_success = \"keep\" }}\n"));
    let mut service = world.start();
    service.wait_until_it_watches();
    let failed = |count: usize| (world.jobs().len() == count).then(|| world.jobs());
    let is_failed = |jobs: &Vec<serde_json::Value>| jobs.iter().all(|job| job["state"] == "failed");
    world.move_in("in/a.txt", "1\n");
    let first = service.wait_until("it fails", || failed(1).filter(is_failed));
    world.move_in("in/a.txt", "2\n");
    let both = service.wait_until("it fails as it is now", || failed(2).filter(is_failed));
    let id = |job: &serde_json::Value| job["id"].as_str().expect("an id is text").to_owned();
    let newer = both.iter().find(|job| job["id"] != first[0]["id"]).map(id).expect("another job");
    let told = world.landfall(&["retry", &id(&first[0])]).ends_with(1);
    assert!(!told.stdout.contains("queued again"), "{told:#?}");
    told.says(&["it was changed since", &format!("job {newer} has it as it is now")]);
    service.stop();
}

#[test]
fn a_file_that_is_given_back_where_no_rule_watches_is_not_said_to_wait() {
    let world = World::new(WHOLE_LINES);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.write("by-hand.txt", "a\nb\nc");
    let told = world.ingest_and_retire("by-hand.txt").ends_with(1);
    told.says(&["aborted", "no rule watches it there", "--rule payments` takes it as it is now"]);
    service.wait_for_log("no rule watches it there");
    assert!(!service.log().contains("given back to wait"), "{}", service.log());
    service.stop();
}

/// Nothing is published of it, and its rule takes it.
#[test]
fn a_watched_file_whose_job_fails_is_not_said_to_be_published() {
    let world = World::new(FAILS);
    world.write("in/a.txt", lines(3));
    let told = world.ingest(&["in/a.txt"]).ends_with(1);
    for false_of_it in ["is published", "not taken again"] {
        assert!(!told.stderr.contains(false_of_it), "{}", told.stderr);
    }
    told.says(&["lies where rule \"payments\" watches, which takes it by itself"]);
    let mut service = world.start();
    service.wait_until("its rule takes it", || (!world.has("in/a.txt")).then_some(()));
    service.stop();
}

/// Ctrl-C on the command, once its job stands at the gate; what it said, and the job's id.
fn interrupted(world: &World, files: &str) -> (String, String) {
    let binary = env!("CARGO_BIN_EXE_landfall");
    let told = world.sh(&format!(
        "{binary} ingest --rule payments {files} 2>&1 & id=$!
         until test -e reached; do sleep 0.02; done
         kill -INT $id; wait $id || echo \"exit $?\""
    ));
    let job = world.jobs().remove(0);
    (told, job["id"].as_str().expect("an id is text").to_owned())
}

#[test]
fn who_interrupts_an_ingest_beside_a_service_is_told_that_the_job_goes_on_there_and_what_was_not_begun() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    world.write_gate();
    for name in ["a.txt", "b.txt", "c.txt"] {
        world.write(name, lines(3000));
    }
    let mut service = world.start();
    service.wait_until_it_watches();
    let (told, id) = interrupted(&world, "a.txt b.txt c.txt");
    let folder = world.folder().display();
    for words in [
        format!("job {id} goes on in the running service"),
        format!("`landfall show {id}`"),
        format!("`landfall abort {id}` ends it"),
        format!("not begun: {folder}/b.txt and 1 more file"),
        "exit 1".to_owned(),
    ] {
        assert!(told.contains(&words), "`{words}` is not in:\n{told}");
    }
    world.write("go", "");
    service.wait_for(&world, "out/a.main");
    assert_eq!(world.jobs().len(), 1, "b.txt and c.txt were not begun");
    service.stop();
}

#[test]
fn who_interrupts_an_ingest_by_itself_is_told_what_became_of_the_job_and_what_goes_on_with_it() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    world.write_gate();
    for name in ["a.txt", "b.txt"] {
        world.write(name, lines(3000));
    }
    let (told, id) = interrupted(&world, "a.txt b.txt");
    let not_done = format!("job {id} is not done");
    for words in [not_done.as_str(), "goes on with it", "not begun: ", "b.txt", "exit 1"] {
        assert!(told.contains(words), "`{words}` is not in:\n{told}");
    }
    assert!(!told.contains("running service"), "{told}");
    world.write("go", "");
    world.ingest(&["a.txt"]).done().says(&[&id, "completed"]);
}

/// Nothing of it goes on: there is no job.
#[test]
fn who_interrupts_a_dry_run_is_told_that_nothing_was_written() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    world.write_gate();
    world.write("a.txt", lines(3000));
    let binary = env!("CARGO_BIN_EXE_landfall");
    let told = world.sh(&format!(
        "{binary} ingest --dry-run --rule payments a.txt 2>&1 & id=$!
         until test -e reached; do sleep 0.02; done
         kill -INT $id; wait $id || echo \"exit $?\""
    ));
    assert!(told.contains("nothing was written") && !told.contains("goes on with it"), "{told}");
    assert!(told.contains("exit 1") && world.jobs().is_empty(), "{told}");
}
