//! Promise: a failed record is among the failed ones, dropped with a reason, or in a job of its own: in one of them, whoever does what, and
//! whatever is killed.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use support::random::Random;
use support::{World, assert_balanced, wait_until};

const RULE: &str = r#"
    ready = { stable_for = "0s" }
    records = { format = "csv" }
    pipeline = [{ step = "exec", confine = false, protocol = "jsonl", command = ["./tool"] }]
    output = { main = { path = "out/{stem}.csv.gz" } }
    publish = { manifest = "out/{stem}.json", marker = "out/{stem}.done" }
    errors = { failed_max = "100%" }
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

/// A completed job of ten records, of which the even ones failed.
fn with_failed() -> (World, String) {
    with_failed_of(RULE, 10)
}

fn with_failed_of(rule: &str, records: u64) -> (World, String) {
    let world = World::new(rule);
    world.write("tool", TOOL);
    world.sh("chmod +x tool");
    world.write("bad", "even");
    let rows = (1..=records).map(|n| format!("{n},{}\n", if n % 2 == 0 { "even" } else { "odd" }));
    world.write("pay.csv", format!("id,kind\n{}", rows.collect::<String>()));
    world.ingest(&["pay.csv"]);
    let job = world.completed();
    assert_eq!(job["records_failed"], records / 2, "{job:#}");
    let id = job["id"].as_str().expect("an id is text").to_owned();
    (world, id)
}

fn shown(world: &World, id: &str) -> Value {
    let job = world.json(&["show", id, "--json"]);
    assert_balanced_with_retries(&job);
    job
}

fn assert_balanced_with_retries(job: &Value) {
    let count = |key: &str| job[key].as_u64().expect("a count");
    let out: u64 =
        job["records_out"].as_object().expect("an object").values().filter_map(Value::as_u64).sum();
    let all = out + count("records_dropped") + count("records_failed") + count("records_retried");
    assert_eq!(count("records_in"), all, "{job:#}");
}

fn text(world: &World, gz: &str) -> String {
    world.sh(&format!("gzip -dc {gz}"))
}

fn history(job: &Value) -> String {
    let moments = job["timeline"].as_array().expect("a list").iter();
    moments.flat_map(|moment| [moment["detail"].as_str().unwrap_or_default(), "\n"]).collect()
}

fn user(world: &World) -> String {
    world.sh("id -un").trim().to_owned()
}

#[test]
fn failed_records_are_dropped_with_a_reason_that_account_and_history_keep() {
    let (world, id) = with_failed();
    let ran = world.landfall(&["records", &id, "drop", "2", "4-5", "--reason", "test data"]).done();
    let which =
        "  2: record 4, line 5: 4,even\n  4: record 8, line 9: 8,even\n  5: record 10, line 11: 10,even\n";
    let left = format!("2 left: `landfall records {id}` lists them\n");
    assert_eq!(ran.stdout, format!("3 failed records dropped\n{which}{left}"));
    let job = shown(&world, &id);
    assert_eq!(job["dropped_by"]["failed records: test data"], 3, "{job:#}");
    assert_eq!((&job["records_failed"], &job["records_dropped"]), (&2.into(), &3.into()), "{job:#}");
    let told = format!("failed records 2, 4-5: dropped by {}: test data\n", user(&world));
    assert!(history(&job).contains(&told), "{}", history(&job));
    let left: Vec<_> = world.failed_records(&job).iter().map(|record| record["number"].clone()).collect();
    assert_eq!(left, [1, 3], "numbers stay");
    let listed = world.json(&["records", &id, "list", "--settled", "--json"]);
    let settled = |at: usize| listed["records"][at]["settled"].as_str().map(str::to_owned);
    assert!(settled(1).is_some_and(|told| told.contains("test data")) && settled(0).is_none(), "{listed:#}");
    assert_eq!(world.files("out"), ["pay.csv.gz", "pay.done", "pay.json"], "nothing else came");
}

#[test]
fn who_decides_second_on_a_record_is_told_what_the_first_did_and_nothing_is_done() {
    let (world, id) = with_failed();
    world.landfall(&["records", &id, "drop", "2", "--reason", "mine"]).done();
    let again: [&[&str]; 3] = [
        &["records", &id, "drop", "1-3", "--reason", "theirs"],
        &["records", &id, "retry", "2,5"],
        &["records", &id, "drop", "6", "--reason", "theirs"],
    ];
    for (again, told) in again.iter().zip(["dropped by", "dropped by", "has no failed record 6"]) {
        let ran = world.landfall(again).ends_with(1);
        assert!(ran.stderr.contains(told) && ran.stderr.contains("nothing was done"), "{}", ran.stderr);
    }
    assert_eq!(shown(&world, &id)["records_failed"], 4);
    world.landfall(&["records", &id, "drop", "--all", "--reason", "mine"]).done();
    world.landfall(&["records", &id, "drop", "--all", "--reason", "mine"]).ends_with(1).says(&["left"]);
}

#[test]
fn failed_records_are_retried_by_a_job_of_their_own_whose_outputs_lie_beside_those_of_the_first() {
    let (world, id) = with_failed();
    world.write("bad", "");
    let mut service = world.start();
    let ran = world.landfall(&["records", &id, "retry", "1", "3-5"]).done();
    assert!(ran.stdout.starts_with("4 failed records retried as job "), "{}", ran.stdout);
    let child = service.wait_until("it is done", || {
        let job = world.jobs().pop()?;
        (job["parent"] == *id && job["state"] == "completed").then_some(job)
    });
    assert_balanced(&child);
    assert_eq!((&child["records_in"], &child["source"]), (&4.into(), &shown(&world, &id)["source"]));
    assert_eq!(text(&world, "out/pay-retry1.csv.gz"), "id,kind\n2,even\n6,even\n8,even\n10,even\n");
    assert!(world.has("out/pay-retry1.done"));
    let manifest: Value = serde_json::from_str(&world.text("out/pay-retry1.json")).expect("is JSON");
    assert_eq!(manifest["parent"], *id);
    let first = shown(&world, &id);
    assert_eq!((&first["records_retried"], &first["records_failed"]), (&4.into(), &1.into()), "{first:#}");
    assert!(history(&first).contains(&format!("retried by {}", user(&world))), "{}", history(&first));
    assert!(history(&child).contains("failed records 1, 3-5 of job"), "{}", history(&child));
    service.stop();
    world.landfall(&["rerun", child["id"].as_str().expect("text")]).ends_with(1).says(&["no source"]);
}

#[test]
fn what_fails_again_is_a_failed_record_of_the_retry_and_can_be_retried_there() {
    let (world, id) = with_failed();
    world.landfall(&["records", &id, "retry", "2"]).done();
    let mut service = world.start();
    let done = |count: usize| {
        let jobs = world.jobs();
        (jobs.len() == count && jobs.iter().all(|job| job["state"] == "completed")).then_some(jobs)
    };
    let jobs = service.wait_until("it is done", || done(2));
    let child = jobs[1]["id"].as_str().expect("text").to_owned();
    assert_eq!(jobs[1]["records_failed"], 1);
    let record = &world.failed_records(&jobs[1])[0];
    assert_eq!((&record["record"], &record["line"]), (&4.into(), &5.into()), "where it stood: {record:#}");
    world.write("bad", "");
    world.landfall(&["records", &child, "retry", "--all"]).done();
    service.wait_until("it is done", || done(3));
    assert_eq!(text(&world, "out/pay-retry1-retry1.csv.gz"), "id,kind\n4,even\n");
    service.stop();
}

#[test]
fn a_retry_that_is_aborted_gives_its_records_back() {
    let (world, id) = with_failed();
    world.landfall(&["records", &id, "retry", "2-3"]).done();
    let child = world.job()["id"].as_str().expect("text").to_owned();
    assert_eq!(shown(&world, &id)["records_failed"], 3);
    let mut service = {
        world.landfall(&["abort", &child]).done();
        world.start()
    };
    service.wait_until("it is ended", || (world.job()["state"] == "aborted").then_some(()));
    service.stop();
    let first = shown(&world, &id);
    assert_eq!((&first["records_failed"], &first["records_retried"]), (&5.into(), &0.into()), "{first:#}");
    assert!(history(&first).contains("they came back"), "{}", history(&first));
    world.landfall(&["retry", &child]).ends_with(1).says(&["failed records of job", "retry"]);
    assert_eq!(world.files("out"), ["pay.csv.gz", "pay.done", "pay.json"], "nothing of it is left");
}

/// Goal: what a retry published, and was then given up, is not published once more.
#[test]
fn a_retry_that_is_abandoned_when_some_of_it_is_published_gives_nothing_back() {
    let two = r#"
        ready = { stable_for = "0s" }
        records = { format = "csv" }
        pipeline = [
            { step = "exec", confine = false, protocol = "jsonl", command = ["./tool"] },
            { step = "route", when = [{ if = { column = "id", equals = "2" }, to = "twos" }] },
        ]
        output = { main = { path = "out/{stem}.csv", on_exists = "replace" }, twos = { path = "out/{stem}.twos", on_exists = "replace" } }
        errors = { failed_max = "100%" }
    "#;
    let (world, id) = with_failed_of(two, 10);
    world.write("bad", "");
    std::fs::create_dir_all(world.path("out/pay-retry1.twos")).expect("it refuses the rename");
    let mut service = world.start();
    world.landfall(&["records", &id, "retry", "1-2"]).done();
    let child = service.wait_until("it waits in the middle of publishing", || {
        let job = world.jobs().pop()?;
        (job["state"] == "publishing" && job["waiting"].is_object())
            .then(|| job["id"].as_str().map(str::to_owned))
    });
    let child = child.expect("text");
    world.landfall(&["abandon", &child, "--reason", "nobody reads them"]).done();
    let first = shown(&world, &id);
    assert_eq!((&first["records_failed"], &first["records_retried"]), (&3.into(), &2.into()), "{first:#}");
    assert!(history(&first).contains("which was abandoned"), "{}", history(&first));
    world.landfall(&["records", &id, "retry", "1"]).ends_with(1).says(&["which was abandoned", &child]);
    world.landfall(&["records", &id, "retry", "--all"]).done();
    service.wait_until("it is done", || (world.jobs().pop()?["state"] == "completed").then_some(()));
    service.stop();
    assert_eq!(world.sh("tail -qn +2 out/*.csv | sort -n | uniq -d"), "", "nothing came twice");
}

/// Goal: those of a large file that fail here and there are packed as any other output.
#[test]
fn scattered_records_are_packed_together() {
    let (world, id) = with_failed_of(RULE, 2000);
    world.write("bad", "");
    world.landfall(&["records", &id, "retry", "--all"]).done();
    let mut service = world.start();
    service.wait_for(&world, "out/pay-retry1.done");
    service.stop();
    let published = text(&world, "out/pay-retry1.csv.gz");
    let expected: Vec<_> = (1..=1000).map(|n| format!("{},even", 2 * n)).collect();
    assert_eq!(published.lines().skip(1).collect::<Vec<_>>(), expected);
    let packed = world.bytes("out/pay-retry1.csv.gz").len();
    assert!(packed * 2 < published.len(), "{packed} bytes of {}", published.len());
    assert_eq!(world.job()["slices"]["total"], 1, "{:#}", world.job());
}

/// Goal: what the rule as it was did not take, and the rule as it is now does, need not be sent again.
#[test]
fn a_record_that_no_step_saw_is_retried_once_the_rule_takes_it_and_one_that_is_not_all_there_is_not() {
    let rule = |on_misfit: &str| {
        format!(
            "records = {{ format = \"fixed\", record_max = 20, on_misfit = \"{on_misfit}\", fields = [{{ name = \"id\", width = 4 }}] }}\nerrors = {{ failed_max = 10 }}"
        )
    };
    let world = World::new(&rule("fail"));
    world.write("pay.txt", "0001\n2\n0000000000000000000000003\n");
    world.ingest(&["pay.txt"]);
    let id = world.completed()["id"].as_str().expect("text").to_owned();
    assert_eq!(shown(&world, &id)["records_failed"], 2);
    let configured = world.text("landfall.toml");
    world.write("landfall.toml", configured.replace("on_misfit = \"fail\"", "on_misfit = \"allow\""));
    world.landfall(&["records", &id, "retry", "2"]).ends_with(1).says(&["record_max", "nothing was done"]);
    world.landfall(&["records", &id, "retry", "--all"]).done().says(&["1 failed record retried", "1 left"]);
    let mut service = world.start();
    service.wait_for(&world, "out/pay-retry1.main");
    service.stop();
    assert_eq!(world.text("out/pay-retry1.main"), "2\n");
}

#[test]
fn a_reason_that_says_nothing_or_has_no_end_is_refused() {
    let (world, id) = with_failed();
    for (reason, told) in [("", "say why"), (" \t", "say why"), (&*"x".repeat(501), "at most 500 characters")]
    {
        world.landfall(&["records", &id, "drop", "--all", "--reason", reason]).ends_with(2).says(&[told]);
    }
    assert_eq!(shown(&world, &id)["records_failed"], 5);
}

/// An editor that does this to the record; in the environment of whoever runs it.
fn edit(world: &World, arguments: &[&str], script: &str) -> (bool, String) {
    let mut command = world.command();
    command.arg("records").args(arguments).env_remove("VISUAL").env("EDITOR", format!("sh -c '{script}' sh"));
    let output = command.output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn no_editor_opens_for_a_record_that_could_not_be_taken_again() {
    let world = World::new(&RULE.replace("100%", "0"));
    world.write("tool", TOOL);
    world.sh("chmod +x tool");
    world.write("bad", "even");
    world.write("pay.csv", "id,kind\n1,odd\n2,even\n");
    world.ingest(&["pay.csv"]).ends_with(1);
    let id = world.job()["id"].as_str().expect("an id is text").to_owned();
    let (done, said) = edit(&world, &[&id, "edit", "1"], "touch never");
    assert!(!done && said.contains("nothing of it was published") && !world.has("never"), "{said}");
    let (world, id) = with_failed();
    world.configure("", &["name = \"others\"\npaths = [\"others/*\"]"]);
    let (done, said) = edit(&world, &[&id, "edit", "1"], "touch never");
    assert!(!done && !world.has("never") && said.contains("payments"), "{said}");
}

#[test]
fn a_record_is_edited_and_taken_again_so_and_both_are_kept() {
    for has_service in [false, true] {
        let (world, id) = with_failed();
        let mut service = has_service.then(|| world.start());
        let (done, said) = edit(&world, &[&id, "edit", "2"], "sed -i s/even/odd/ $1");
        assert!(done && said.contains("1 failed record edited, and retried as job"), "{said}");
        assert!(said.contains("  2: record 4, line 5: 4,even"), "{said}");
        let mut service = service.take().unwrap_or_else(|| world.start());
        service.wait_for(&world, "out/pay-retry1.done");
        assert_eq!(text(&world, "out/pay-retry1.csv.gz"), "id,kind\n4,odd\n");
        let first = shown(&world, &id);
        assert_eq!(
            (&first["records_retried"], &first["records_failed"]),
            (&1.into(), &4.into()),
            "{first:#}"
        );
        let told = format!("failed records 2: edited and retried by {}", user(&world));
        assert!(history(&first).contains(&told), "{}", history(&first));
        let record = world.json(&["records", &id, "show", "2", "--json"]);
        assert_eq!((&record["data"], &record["edited"]), (&"4,even".into(), &"4,odd".into()), "{record:#}");
        world.landfall(&["records", &id, "show", "2"]).done().says(&["4,even", "edited to", "4,odd"]);
        let (done, said) = edit(&world, &[&id, "edit", "2"], "touch never");
        assert!(!done && said.contains("edited and retried by") && !world.has("never"), "{said}");
        service.stop();
    }
}

#[test]
fn what_is_edited_to_no_record_or_not_at_all_changes_nothing_and_its_text_is_not_lost() {
    let (world, id) = with_failed();
    let (done, said) = edit(&world, &[&id, "edit", "1"], "true");
    assert!(done && said.contains("not changed"), "{said}");
    let (done, said) = edit(&world, &[&id, "edit", "1"], "exit 3");
    assert!(!done && said.contains("ended with an error"), "{said}");
    let (done, said) = edit(&world, &[&id, "edit", "1"], "echo > $1");
    assert!(done && said.contains("nothing was done: failed record 1 would be empty"), "{said}");
    for (script, why) in [
        ("echo 3,odd >> $1", "more than one record"),
        ("echo 2,\\\"odd > $1", "never closed"),
        ("head -c 40000 /dev/zero | tr \\\\0 x > $1", "32768 bytes"),
    ] {
        let (done, said) = edit(&world, &[&id, "edit", "1"], script);
        assert!(!done && said.contains(why) && said.contains("nothing was done"), "{why}: {said}");
        let kept = said.lines().find_map(|line| line.split_once("is kept in ")).expect("it says where").1;
        let folder = std::path::Path::new(kept.trim()).parent().expect("a folder").to_owned();
        assert!(std::fs::read(kept.trim()).is_ok_and(|kept| !kept.is_empty()), "{said}");
        world.sh(&format!("rm -r {}", folder.display()));
    }
    let job = shown(&world, &id);
    assert_eq!((&job["records_failed"], world.jobs().len()), (&5.into(), 1));
}

/// Goal: what an operator wrote is there for another try.
#[test]
fn an_edited_record_that_comes_back_is_edited_on() {
    let (world, id) = with_failed();
    let (done, said) = edit(&world, &[&id, "edit", "1"], "sed -i s/even/odd/ $1");
    assert!(done, "{said}");
    let child = world.job()["id"].as_str().expect("text").to_owned();
    world.landfall(&["abort", &child]).done();
    let mut service = world.start();
    service.wait_until("it is ended", || (world.job()["state"] == "aborted").then_some(()));
    let (done, said) = edit(&world, &[&id, "edit", "1"], "sed -i s/odd/odder/ $1");
    assert!(done, "{said}");
    service.wait_for(&world, "out/pay-retry2.done");
    assert_eq!(text(&world, "out/pay-retry2.csv.gz"), "id,kind\n2,odder\n");
    service.stop();
}

#[test]
fn failed_records_are_exported_as_they_were_read_or_with_all_that_is_known() {
    let (world, id) = with_failed();
    let raw = world.landfall(&["records", &id, "export", "--all"]).done();
    assert_eq!(raw.stdout, "2,even\n4,even\n6,even\n8,even\n10,even\n");
    world.landfall(&["records", &id, "export", "2,4", "--format", "jsonl", "--to", "some.jsonl"]).done();
    let lines: Vec<Value> =
        world.text("some.jsonl").lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    let data: Vec<_> = lines.iter().map(|line| line["data"].as_str().unwrap_or_default()).collect();
    assert_eq!(data, ["4,even", "8,even"]);
    world.landfall(&["records", &id, "export", "--all", "--to", "some.jsonl"]).ends_with(1);
    assert_eq!(world.text("some.jsonl").lines().count(), 2, "a file that is there stays as it is");
    world.landfall(&["records", &id, "export", "9"]).ends_with(1);
}

#[test]
fn of_a_job_that_published_nothing_no_record_is_decided_on() {
    let world = World::new(
        "records = { format = \"lines\", record_max = \"10\" }\nerrors = { on_record_error = \"fail\" }",
    );
    world.write("pay.txt", "short\na much longer one\n");
    world.ingest(&["pay.txt"]).ends_with(1);
    let id = world.job()["id"].as_str().expect("text").to_owned();
    world
        .landfall(&["records", &id, "drop", "--all", "--reason", "x"])
        .ends_with(1)
        .says(&["nothing of it was published", "landfall retry"]);
}

/// Goal: whatever is decided in whatever order, and whenever the service is killed, each record ends in one place.
/// Method: acts at random on all jobs, the service killed in between; in the end all are retried with success.
#[test]
fn no_order_of_decisions_and_kills_loses_or_doubles_a_record() {
    let (world, _) = with_failed();
    let mut random = Random::seeded();
    let mut service = Some(world.start());
    for _ in 0..10 {
        let jobs = world.jobs();
        let job = random.one_of(&jobs).expect("there is one")["id"].as_str().expect("text").to_owned();
        let numbers = format!("{}", 1 + random.below(5));
        world.write("bad", if random.once_in(2) { "even" } else { "" });
        // Any of them may be refused: what is asked at random may be done already, or not be there.
        match random.below(5) {
            0 => drop(world.landfall(&["records", &job, "drop", &numbers, "--reason", "x"])),
            1 | 2 => drop(world.landfall(&["records", &job, "retry", &numbers])),
            3 => drop(world.landfall(&["abort", &job])),
            _ => match service.take() {
                Some(running) => running.kill(),
                None => service = Some(world.start()),
            },
        }
    }
    let _service = service.unwrap_or_else(|| world.start());
    retry_all(&world);
    assert_each_is_in_one_place(&world, 10);
}

/// Goal: whatever is killed while acts are under way, each record ends in one place, and both accounts say so.
/// Method: commands on any job at once; then the service is killed, or a command that does it by itself, at a random moment.
#[test]
fn no_kill_while_records_are_decided_on_loses_or_doubles_one() {
    const RECORDS: u64 = 40;
    let (world, _) = with_failed_of(RULE, RECORDS);
    let mut random = Random::seeded();
    for round in 0..24 {
        world.write("bad", if random.once_in(2) { "even" } else { "" });
        let service = (round % 2 == 0).then(|| world.start());
        let jobs = world.jobs();
        let acts: Vec<_> = (0..3)
            .map(|_| {
                let job = random.one_of(&jobs).expect("there is one")["id"].as_str().expect("text");
                let first = 1 + random.below(RECORDS / 2);
                let numbers = format!("{first}-{}", first + random.below(4));
                let mut command = world.command();
                match random.below(3) {
                    0 => command.args(["records", job, "drop", &numbers, "--reason", "x"]),
                    1 => command.args(["records", job, "retry", &numbers]),
                    _ => command.args(["abort", job]),
                };
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is started")
            })
            .collect();
        std::thread::sleep(Duration::from_millis(random.below(120)));
        let is_by_itself = service.is_none();
        if let Some(service) = service {
            service.kill();
        }
        for mut act in acts {
            if is_by_itself {
                act.kill().expect("it is killed");
            }
            act.wait().expect("it ends");
        }
        for job in world.jobs() {
            shown(&world, job["id"].as_str().expect("text"));
        }
    }
    let _service = world.start();
    retry_all(&world);
    assert_each_is_in_one_place(&world, RECORDS as usize);
}

/// Until nothing is left to be decided on.
fn retry_all(world: &World) {
    world.write("bad", "");
    wait_until("all is settled", || {
        let jobs = world.jobs();
        if jobs.iter().any(|job| job["state"] != "completed" && job["state"] != "aborted") {
            return None;
        }
        let left: Vec<_> =
            jobs.iter().filter(|job| job["state"] == "completed" && job["records_failed"] != 0).collect();
        for job in &left {
            let id = job["id"].as_str().expect("text");
            world.landfall(&["records", id, "retry", "--all"]);
        }
        left.is_empty().then_some(())
    });
}

fn assert_each_is_in_one_place(world: &World, count: usize) {
    let mut places = BTreeMap::<String, u64>::new();
    let published = world.sh("for file in out/*.gz; do gzip -dc $file | tail -n +2; done");
    let mut records: Vec<String> = published.lines().map(str::to_owned).collect();
    for job in world.jobs() {
        shown(world, job["id"].as_str().expect("text"));
        if job["state"] != "completed" {
            continue;
        }
        let id = job["id"].as_str().expect("text");
        let listed = world.json(&["records", id, "list", "--settled", "--json"]);
        for record in listed["records"].as_array().expect("a list") {
            if record["settled"].as_str().is_some_and(|told| told.starts_with("dropped")) {
                records.push(record["data"].as_str().expect("text").to_owned());
            }
        }
    }
    for record in records {
        *places.entry(record).or_default() += 1;
    }
    assert_eq!(places.len(), count, "none is lost: {places:?}");
    assert!(places.values().all(|count| *count == 1), "none is there twice: {places:?}");
}
