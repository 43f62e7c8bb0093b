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
    pipeline = [{ step = "exec", protocol = "jsonl", command = ["./tool"] }]
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
    let world = World::new(RULE);
    world.write("tool", TOOL);
    world.sh("chmod +x tool");
    world.write("bad", "even");
    let mut service = world.start();
    let rows = (1..=10).map(|n| format!("{n},{}\n", if n % 2 == 0 { "even" } else { "odd" }));
    world.move_in("in/pay.csv", format!("id,kind\n{}", rows.collect::<String>()));
    let id = wait_until_it_waits(&mut service, &world);
    (world, service, id)
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

#[test]
fn it_can_be_aborted_and_a_retry_of_the_whole_job_forgets_what_was_decided() {
    let (world, mut service, id) = held();
    world.landfall(&["records", &id, "drop", "1", "--reason", "old"]).done();
    world.landfall(&["retry", &id]).done();
    let left = service.wait_until("it waits for all of them again", || {
        let job = world.jobs().pop()?;
        let left = world.failed_records(&job);
        (job["state"] == "held" && left.len() == 5).then_some(left)
    });
    assert_eq!(left[0]["number"], 1, "{left:#?}");
    world.landfall(&["records", &id, "drop", "1-4", "--reason", "old"]).done();
    world.landfall(&["abort", &id]).done();
    service.wait_until("it is ended", || (world.jobs().pop()?["state"] == "aborted").then_some(()));
    assert!(world.has("in/.landfall/quarantine/pay.csv") && world.files("out").is_empty());
    world.landfall(&["records", &id, "drop", "5", "--reason", "x"]).ends_with(1);
    world.write("bad", "");
    world.landfall(&["retry", &id]).done();
    let job = wait_until_completed(&mut service, &world);
    assert_eq!((&job["records_in"], &job["records_dropped"]), (&10.into(), &0.into()), "{job:#}");
    assert!(history(&job).contains("failed records 1: dropped"), "what was done stays told: {job:#}");
    assert_eq!(published(&world).lines().count(), 11);
    service.stop();
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
