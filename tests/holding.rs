//! Promise: a job that waits for its failed records (`on_record_error = "hold"`) publishes nothing before each is decided on, and then all of
//! its records once, in their order, whatever is decided and whatever is killed.
#![cfg(unix)]

mod support;

use std::time::Duration;

use serde_json::Value;

use support::random::Random;
use support::{Service, World, assert_balanced, wait_until};

const RULE: &str = r#"
    ready = { stable_for = "0s" }
    records = { format = "csv", slice_records = 3 }
    pipeline = [{ step = "exec", confine = false, protocol = "jsonl", command = ["./tool"] }]
    output = { main = { path = "out/{stem}.csv.gz" } }
    publish = { manifest = "out/{stem}.json", marker = "out/{stem}.done" }
    errors = { on_record_error = "hold", failed_max = "100%" }
"#;

/// Fails every record whose second column is a line of the file `bad`.
const TOOL: &str = r#"#!/usr/bin/env python3
import json, os, sys
bad = set(open('bad').read().split()) if os.path.exists('bad') else set()
for line in sys.stdin:
    data = json.loads(line)["data"]
    answer = {"fail": "not today"} if data["kind"] in bad else {"data": data}
    print(json.dumps(answer), flush=True)
"#;

/// Ten records, the even ones of which fail: a job that waits for five.
fn held() -> (World, Service, String) {
    held_under("")
}

/// The same under a rule that says more.
fn held_under(more: &str) -> (World, Service, String) {
    let world = World::new(&format!("{RULE}\n{more}"));
    world.write("tool", TOOL);
    world.sh("chmod +x tool");
    world.write("bad", "even");
    let mut service = world.start();
    world.move_in("in/pay.csv", source());
    let id = wait_until_it_waits(&mut service, &world);
    (world, service, id)
}

fn source() -> String {
    let rows = (1..=10).map(|n| format!("{n},{}\n", if n % 2 == 0 { "even" } else { "odd" }));
    format!("id,kind\n{}", rows.collect::<String>())
}

#[track_caller]
fn wait_until_it_waits(service: &mut Service, world: &World) -> String {
    let job = service.wait_until("it waits for its records", || {
        let job = world.jobs().pop()?;
        (job["state"] == "held" && job["waiting"]["for"] == "settling").then_some(job)
    });
    job["id"].as_str().expect("an id is text").to_owned()
}

#[track_caller]
fn wait_until_completed(service: &mut Service, world: &World) -> Value {
    let job = service.wait_until("it is completed", || {
        let job = world.jobs().pop()?;
        (job["state"] == "completed").then_some(job)
    });
    assert_balanced(&job);
    job
}

fn published(world: &World) -> String {
    world.sh("gzip -dc out/pay.csv.gz")
}

fn history(job: &Value) -> String {
    let moments = job["timeline"].as_array().expect("a list").iter();
    moments.flat_map(|moment| [moment["detail"].as_str().unwrap_or_default(), "\n"]).collect()
}

fn edit(world: &World, arguments: &[&str], script: &str) -> String {
    let mut command = world.command();
    command.arg("records").args(arguments).env_remove("VISUAL").env("EDITOR", format!("sh -c '{script}' sh"));
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn it_publishes_by_itself_once_the_last_record_is_decided_on_in_order_over_kills() {
    let (world, service, id) = held();
    assert!(world.files("out").is_empty() && !world.has("in/pay.csv"), "{:?}", world.files("out"));
    world.landfall(&["status"]).ends_with(1).says(&["5 records failed, and nothing is published", &id]);
    world.landfall(&["show", &id]).done().says(&["waiting    for settling", "landfall records"]);
    world.landfall(&["pause", &id]).ends_with(1).says(&["waits for an operator's word"]);
    world.landfall(&["records", &id, "drop", "2", "--reason", "test data"]).done().says(&["4 left"]);
    service.kill();
    // By itself a command decides, too.
    world.landfall(&["records", &id, "retry", "1", "3"]).done().says(&["with their job"]);
    world.landfall(&["records", &id, "retry", "3"]).ends_with(1).says(&["nothing was done"]);
    let mut service = world.start();
    assert_eq!(wait_until_it_waits(&mut service, &world), id);
    world.landfall(&["show", &id]).done().says(&["5 records failed, of which 2 are not decided on yet"]);
    let said = edit(&world, &[&id, "edit", "4"], "sed -i s/even/edited/ $1");
    assert!(said.contains("with their job") && said.contains("1 left"), "{said}");
    assert!(world.files("out").is_empty());
    world.write("bad", "");
    world.landfall(&["records", &id, "retry", "--all"]).done();
    let job = wait_until_completed(&mut service, &world);
    let expected = "id,kind\n1,odd\n2,even\n3,odd\n5,odd\n6,even\n7,odd\n8,edited\n9,odd\n10,even\n";
    assert_eq!(published(&world), expected);
    assert_eq!(world.files("out"), ["pay.csv.gz", "pay.done", "pay.json"]);
    assert_eq!(job["dropped_by"]["failed records: test data"], 1, "{job:#}");
    assert_eq!((&job["records_in"], &job["records_failed"]), (&10.into(), &0.into()), "{job:#}");
    for told in ["failed records 2: dropped by", "failed records 4: edited and retried by"] {
        assert!(history(&job).contains(told), "{}", history(&job));
    }
    let listed = world.landfall(&["records", &id, "list", "--settled"]).done();
    assert!(
        listed.stdout.contains("test data") && listed.stdout.contains("with their job"),
        "{}",
        listed.stdout
    );
    world.landfall(&["status"]).done();
    let traced = |record: &str| world.json(&["trace", &id, "--json", "--record", record]);
    assert_eq!(traced("2")["end"]["became"], "written");
    assert_eq!(traced("4")["end"]["step"], "failed records: test data");
    let edited = traced("8");
    let operator = &edited["steps"][0];
    assert_eq!(
        (&operator["step"], &operator["changed_to"]["data"]),
        (&"an operator".into(), &"8,edited".into())
    );
    assert_eq!(
        (&edited["data"], &edited["end"]["became"]),
        (&"8,even".into(), &"written".into()),
        "{edited:#}"
    );
    service.stop();
}

#[test]
fn what_fails_again_is_waited_for_again_with_a_number_of_its_own_and_stays_as_it_was_edited() {
    let (world, mut service, id) = held();
    edit(&world, &[&id, "edit", "1"], "sed -i s/even/worse/ $1");
    world.write("bad", "worse");
    world.landfall(&["records", &id, "retry", "--all"]).done();
    let waits = service.wait_until("it waits for that one", || {
        let left = world.failed_records(&world.jobs().pop()?);
        (left.len() == 1 && left[0]["number"] == 6).then_some(left)
    });
    assert_eq!((&waits[0]["record"], &waits[0]["data"]), (&2.into(), &"2,worse".into()), "{waits:#?}");
    wait_until_it_waits(&mut service, &world);
    assert!(world.files("out").is_empty());
    service.kill();
    let mut service = world.start();
    wait_until_it_waits(&mut service, &world);
    world.write("bad", "");
    world.landfall(&["records", &id, "retry", "6"]).done();
    wait_until_completed(&mut service, &world);
    let expected = "id,kind\n1,odd\n2,worse\n3,odd\n4,even\n5,odd\n6,even\n7,odd\n8,even\n9,odd\n10,even\n";
    assert_eq!(published(&world), expected);
    service.stop();
}

/// The job of this id, in this state.
#[track_caller]
fn wait_for_state(service: &mut Service, world: &World, id: &str, state: &str) -> Value {
    service
        .wait_until(state, || world.jobs().into_iter().find(|job| job["id"] == id && job["state"] == state))
}

#[test]
fn what_was_decided_counts_when_a_later_delivery_took_its_place_meanwhile_and_it_is_retried() {
    for (delivery, state) in [
        ("{ key = \"{rule}\", same_key = \"correction\" }", "held"),
        ("{ same_content = \"refuse\" }", "refused"),
    ] {
        let (world, mut service, id) = held_under(&format!("delivery = {delivery}"));
        world.write("bad", "");
        let sent = if state == "held" { "id,kind\n1,new\n" } else { &source() };
        world.move_in("in/later.csv", sent);
        service.wait_for(&world, "out/later.done");
        edit(&world, &[&id, "edit", "4"], "sed -i s/even/edited/ $1");
        world.landfall(&["records", &id, "drop", "1-3", "--reason", "test data"]).done();
        world.landfall(&["records", &id, "retry", "--all"]).done();
        let overtaken = service.wait_until("what was published meanwhile is in its way", || {
            let job = world.jobs().into_iter().find(|job| job["id"] == *id)?;
            let told = job["error"]["message"].as_str().unwrap_or_default();
            (job["state"] == state && (told.contains("is published already") || told.contains("before")))
                .then_some(job)
        });
        assert!(history(&overtaken).contains("failed records 4: edited and retried"), "{overtaken:#}");
        service.kill();
        // By the rule that cut its records, whatever became of that.
        world.configure("", &[&RULE.replace("slice_records = 3", "slice_records = 4")]);
        let said = world.landfall(&["retry", &id]).done();
        assert!(said.stdout.contains("by what was decided on its failed records"), "{}", said.stdout);
        let mut service = world.start();
        let job = wait_for_state(&mut service, &world, &id, "completed");
        assert_balanced(&job);
        let expected = "id,kind\n1,odd\n3,odd\n5,odd\n7,odd\n8,edited\n9,odd\n10,even\n";
        assert_eq!(published(&world), expected, "{state}");
        assert_eq!(job["dropped_by"]["failed records: test data"], 3, "{job:#}");
        assert!(history(&job).contains("by what was decided"), "{}", history(&job));
        service.stop();
    }
}

#[test]
fn a_retry_of_the_whole_job_that_would_forget_what_was_decided_is_asked_for_by_a_word_of_its_own() {
    let (world, mut service, id) = held();
    world.landfall(&["records", &id, "drop", "1", "--reason", "old"]).done();
    let says =
        ["1 of which are decided on", "--forget-decisions", &format!("landfall records {id} retry --all")];
    world.landfall(&["retry", &id, "--dry-run"]).ends_with(1).says(&says);
    world.landfall(&["retry", &id]).ends_with(1).says(&says);
    world.landfall(&["retry", &id, "--forget-decisions"]).done();
    let left = service.wait_until("it waits for all of them again", || {
        let job = world.jobs().pop()?;
        let left = world.failed_records(&job);
        (job["state"] == "held" && left.len() == 5).then_some(left)
    });
    assert_eq!(left[0]["number"], 1, "{left:#?}");
    assert!(history(&world.job()).contains("failed records 1: dropped"), "what was done stays told");
    service.stop();
}

#[test]
fn one_that_was_aborted_is_retried_by_what_was_decided_before_and_the_others_with_it() {
    for forgets in [false, true] {
        let (world, mut service, id) = held();
        world.landfall(&["records", &id, "drop", "1-4", "--reason", "old"]).done();
        world.landfall(&["abort", &id]).done();
        service.wait_until("it is ended", || (world.jobs().pop()?["state"] == "aborted").then_some(()));
        assert!(world.has("in/.landfall/quarantine/pay.csv") && world.files("out").is_empty());
        world.landfall(&["records", &id, "drop", "5", "--reason", "x"]).ends_with(1);
        world.write("bad", "");
        let forget: &[&str] = if forgets { &["--forget-decisions"] } else { &[] };
        world.landfall(&[&["retry", &id], forget].concat()).done();
        let job = wait_until_completed(&mut service, &world);
        let dropped = if forgets { 0 } else { 4 };
        assert_eq!((&job["records_in"], &job["records_dropped"]), (&10.into(), &dropped.into()), "{job:#}");
        assert!(history(&job).contains("failed records 1-4: dropped"), "what was done stays told: {job:#}");
        assert_eq!(history(&job).contains("failed records 5: retried"), !forgets, "{}", history(&job));
        assert_eq!(published(&world).lines().count(), 11 - dropped);
        world.landfall(&["records", &id, "list"]).done();
        service.stop();
    }
}

#[test]
fn too_many_failed_records_fail_the_job_and_one_that_is_not_all_there_can_only_be_dropped() {
    let rule = "records = { format = \"lines\", record_max = 20 }\n\
                errors = { on_record_error = \"hold\", failed_max = 1 }";
    let world = World::new(rule);
    let mut service = world.start();
    let long = "x".repeat(40);
    world.move_in("in/bad.txt", format!("{long}\n{long}\n"));
    service.wait_until("it fails", || (world.jobs().pop()?["state"] == "failed").then_some(()));
    world.move_in("in/pay.txt", format!("1\n{long}\n3\n"));
    let id = wait_until_it_waits(&mut service, &world);
    world.landfall(&["records", &id, "retry", "1"]).ends_with(1).says(&["record_max", "nothing was done"]);
    world.landfall(&["records", &id, "drop", "1", "--reason", "too long"]).done();
    service.wait_for(&world, "out/pay.main");
    wait_until_completed(&mut service, &world);
    assert_eq!(world.text("out/pay.main"), "1\n3\n");
    service.stop();
}

/// Each round of waiting is one of its own, however alike they are.
#[test]
fn each_time_that_it_waits_for_records_again_is_told_to_hooks_in_the_log_and_in_its_history() {
    let world = World::new(RULE);
    world.write("tool", TOOL);
    world.write("bad", "even");
    world.sh("chmod +x tool; printf '#!/bin/sh\\ncat >> told\\n' > tell; chmod +x tell");
    let hook = "[[hook]]\nname = \"ops\"\nevents = [\"held\"]\ncommand = [\"./tell\"]\n";
    world.write("landfall.toml", world.text("landfall.toml") + hook);
    let mut service = world.start();
    world.move_in("in/pay.csv", source());
    let id = wait_until_it_waits(&mut service, &world);
    let rounds = |told: &str| told.matches("5 records failed, and nothing is published").count();
    for round in 1..=3 {
        // Each event is a line.
        service.wait_until("the hook is told", || {
            let told = if world.has("told") { world.text("told") } else { String::new() };
            (told.lines().count() == round).then_some(())
        });
        let log = service.wait_for_log_times("waiting to be settled", round);
        assert_eq!(rounds(&log), round, "{log}");
        let job = world.job();
        assert_eq!(rounds(&history(&job)), round, "{}", history(&job));
        world.landfall(&["records", &id, "retry", "--all"]).done();
        service.wait_until("it is worked again", || {
            let left = world.failed_records(&world.job());
            (left.len() == 5 && left[0]["number"] == 5 * round + 1).then_some(())
        });
    }
    assert!(history(&world.job()).contains("each failed record is decided on"));
    service.stop();
}

/// Whatever becomes of a job that waits: its counts add up, and what is listed as failed is what is counted so.
#[test]
fn the_account_of_one_that_ends_without_being_published_says_what_became_of_each_record() {
    let keep = "source = { on_success = \"keep\" }";
    for is_changed in [false, true] {
        let (world, mut service, id) = held_under(keep);
        world.landfall(&["records", &id, "drop", "1", "--reason", "old"]).done();
        world.landfall(&["records", &id, "retry", "2", "3"]).done();
        if is_changed {
            world.write("bad", "");
            world.sh("echo 11,odd >> in/pay.csv");
            world.landfall(&["records", &id, "retry", "--all"]).done();
        } else {
            world.landfall(&["abort", &id]).done();
        }
        let job = wait_for_state(&mut service, &world, &id, "aborted");
        assert_balanced(&job);
        let told = history(&job);
        for act in ["failed records 1: dropped by", "failed records 2-3: retried by"] {
            assert!(told.contains(act), "{told}");
        }
        let left = world.failed_records(&job).len() as u64;
        assert_eq!(job["records_failed"], left, "{job:#}");
        let shown = world.landfall(&["show", &id]).done();
        let jobs = world.landfall(&["jobs"]).done();
        if is_changed {
            assert!(shown.stdout.contains("account: nothing counts"), "{}", shown.stdout);
            assert!(jobs.stdout.contains("the file was changed"), "{}", jobs.stdout);
        } else {
            assert_eq!((left, &job["records_in"]), (2, &10.into()), "{job:#}");
            assert!(shown.stdout.contains("2  to be taken again, before the job ended"), "{}", shown.stdout);
            assert!(jobs.stdout.contains("aborted by"), "{}", jobs.stdout);
        }
        service.stop();
    }
}

/// While it is worked again its counts are those of that work.
#[test]
fn the_account_of_one_that_is_aborted_while_it_is_worked_again_counts_no_record_as_failed_that_was_decided_on()
 {
    let (world, mut service, id) = held();
    world.write("bad", "");
    world.write(
        "tool",
        TOOL.replace(
            "for line in sys.stdin:",
            "for line in sys.stdin:\n    while not os.path.exists('go'): pass",
        ),
    );
    world.landfall(&["records", &id, "retry", "--all"]).done();
    wait_for_state(&mut service, &world, &id, "running");
    world.landfall(&["abort", &id]).done();
    world.write("go", "");
    let job = wait_for_state(&mut service, &world, &id, "aborted");
    assert_balanced(&job);
    assert_eq!((&job["records_failed"], world.failed_records(&job).len()), (&0.into(), 0), "{job:#}");
    service.stop();
}

/// What cannot be cut is one failed record, with its number, and what comes behind it is cut as ever.
#[test]
fn a_stretch_that_is_no_record_is_waited_for_and_can_be_dropped_or_written_anew_where_all_of_it_is_kept() {
    let rule = "records = { format = \"csv\", record_max = 40 }\n\
                ready = { stable_for = \"0s\" }\n\
                errors = { on_record_error = \"hold\", failed_max = \"100%\" }";
    for drops in [true, false] {
        let world = World::new(rule);
        let mut service = world.start();
        world.move_in("in/pay.txt", "id,kind\n1,odd\n2,\"open\n3,odd\n4,odd\n");
        let id = wait_until_it_waits(&mut service, &world);
        let left = world.failed_records(&world.job());
        assert_eq!((left.len(), &left[0]["record"]), (1, &2.into()), "{left:#?}");
        world.landfall(&["records", &id, "retry", "1"]).ends_with(1).says(&["nothing was done"]);
        if drops {
            world.landfall(&["records", &id, "drop", "1", "--reason", "open quote"]).done();
        } else {
            edit(&world, &[&id, "edit", "1"], "echo 2,mended > $1");
        }
        wait_until_completed(&mut service, &world);
        let mended = if drops { "" } else { "2,mended\n" };
        assert_eq!(world.text("out/pay.main"), format!("id,kind\n1,odd\n{mended}3,odd\n4,odd\n"));
        service.stop();
    }
}

/// Behind what cannot be told apart there is nothing to wait for.
#[test]
fn a_file_of_fixed_records_that_ends_within_one_fails_and_is_not_held() {
    let rule = "records = { format = \"fixed\", record_length = 9, \
                fields = [{ name = \"id\", width = 3 }, { name = \"text\", width = 6 }] }\n\
                ready = { stable_for = \"0s\" }\n\
                errors = { on_record_error = \"hold\", failed_max = \"100%\" }";
    let world = World::new(rule);
    let mut service = world.start();
    world.move_in("in/pay.txt", " 1 ab     2 cd     3");
    let job = service.wait_until("it fails", || {
        world.jobs().pop().filter(|job| job["state"] == "failed" || job["state"] == "held")
    });
    assert_eq!(job["state"], "failed", "{job:#}");
    assert!(
        job["error"]["message"].as_str().is_some_and(|told| told.contains("has only 2 bytes")),
        "{job:#}"
    );
    service.stop();
}

/// Goal: whatever is decided in whatever order, and whenever the service or a command is killed, each record that was not dropped is published
/// once, in its place, and none before all are decided on.
/// Method: acts at random, kills at random moments also while the job is worked by what was decided; in the end all are retried with success.
#[test]
fn no_kill_while_records_are_decided_on_or_taken_again_loses_or_doubles_one_or_changes_their_order() {
    let mut random = Random::seeded();
    for _ in 0..3 {
        let (world, service, id) = held();
        service.kill();
        for round in 0..8 {
            world.write("bad", if random.once_in(2) { "even" } else { "" });
            let service = (round % 2 == 0).then(|| world.start());
            let number = (1 + random.below(7)).to_string();
            let mut command = world.command();
            match random.below(3) {
                0 => command.args(["records", &id, "drop", &number, "--reason", "x"]),
                1 => command.args(["records", &id, "retry", &number]),
                _ => command.args(["records", &id, "retry", "--all"]),
            };
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut act = command.spawn().expect("it is started");
            std::thread::sleep(Duration::from_millis(random.below(250)));
            match service {
                Some(service) => service.kill(),
                None => act.kill().expect("it is killed"),
            }
            act.wait().expect("it ends");
            assert_whole_or_nothing(&world, &id);
        }
        world.write("bad", "");
        let mut service = world.start();
        wait_until("all is decided on, and published", || {
            if world.jobs().pop()?["state"] == "completed" {
                return Some(());
            }
            world.landfall(&["records", &id, "retry", "--all"]);
            None
        });
        wait_until_completed(&mut service, &world);
        assert_whole_or_nothing(&world, &id);
        assert_eq!(world.files("out"), ["pay.csv.gz", "pay.done", "pay.json"]);
        service.stop();
    }
}

/// Either no output is there, or one with every record that was not dropped, once, in order.
fn assert_whole_or_nothing(world: &World, id: &str) {
    if !world.has("out/pay.csv.gz") {
        return;
    }
    let listed = world.json(&["records", id, "list", "--settled", "--json"]);
    let records = listed["records"].as_array().expect("a list").clone();
    let is_dropped = |number: u64| {
        records.iter().any(|record| {
            record["record"] == number
                && record["settled"].as_str().is_some_and(|told| told.contains("dropped"))
        })
    };
    let expected: Vec<String> = (1..=10)
        .filter(|number| !is_dropped(*number))
        .map(|n| format!("{n},{}", if n % 2 == 0 { "even" } else { "odd" }))
        .collect();
    let found = published(world);
    assert_eq!(found.lines().skip(1).collect::<Vec<_>>(), expected, "{records:#?}");
}
