//! Promise: no job, rule or group of rules works faster than users allow, a change counts at once, over kills and reloads, and `show` says
//! what holds a job back; a step that hangs leaves a worker to other rules.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Service, World, lines};

fn rule(name: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\npaths = [\"{name}/*\"]\noutput = {{ main = {{ path = \"out/{name}-{{stem}}.main\" }} }}\n{more}"
    )
}

/// A step that holds each of its children until the file `go` is there: each makes a file in `held`.
const HELD: &str = "records = { format = \"lines\", slice_records = 1 }\npipeline = [{ step = \"exec\", confine = false, command = [\"./hold\"] }]\n";

fn world(rules: &[&str]) -> World {
    let world = World::bare();
    configure(&world, rules, "");
    world.sh("mkdir a b held");
    world.write(
        "hold",
        format!(
            "#!/usr/bin/env python3
import os, sys, time
for line in sys.stdin:
    open('{0}/held/%d' % os.getpid(), 'w').close()
    while not os.path.exists('{0}/go'): time.sleep(0.02)
    print(line, end='', flush=True)
",
            world.folder().display()
        ),
    );
    world.sh("chmod +x hold");
    world
}

fn configure(world: &World, rules: &[&str], throttles: &str) {
    world.configure("workers = 4", rules);
    let toml = world.text("landfall.toml");
    world.write("landfall.toml", format!("{toml}\n{throttles}"));
}

fn held(world: &World) -> usize {
    std::fs::read_dir(world.path("held")).expect("it is there").count()
}

#[track_caller]
fn wait_until_held(service: &mut Service, world: &World, count: usize) {
    service.wait_until("so many are at work", || (held(world) == count).then_some(()));
}

/// What is said of the jobs that a limit holds back.
fn throttled(world: &World) -> Vec<String> {
    let of = |job: &Value| {
        let waiting = &job["waiting"];
        (waiting["for"] == "throttle").then(|| waiting["detail"].as_str().expect("a text").to_owned())
    };
    world.jobs().iter().filter_map(of).collect()
}

#[track_caller]
fn wait_until_told(service: &mut Service, world: &World, what: &str) {
    service.wait_until(what, || throttled(world).iter().any(|told| told.contains(what)).then_some(()));
}

#[test]
fn rules_of_a_throttle_have_no_more_workers_together_than_is_set_over_a_kill_and_a_reload() {
    let of = format!("{HELD}throttle = \"third\"\nworkers_max = 0\n");
    let rules = [rule("a", &of), rule("b", &of)];
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    let world = world(&rules);
    let throttles = "[throttle.third]\nworkers_max = 1\n";
    configure(&world, &rules, throttles);
    let mut service = world.start();
    for name in ["a/1", "a/2", "b/1", "b/2"] {
        world.move_in(name, lines(6));
    }
    wait_until_held(&mut service, &world, 1);
    wait_until_told(&mut service, &world, "the rules of throttle \"third\" have the 1 worker");
    let set = |to: &str| world.landfall(&["set", "--throttle", "third", "--workers-max", to]);
    set("2").done().says(&["throttle \"third\": workers_max 2", "was set by root", "default"]);
    wait_until_held(&mut service, &world, 2);
    wait_until_told(&mut service, &world, "have the 2 workers");
    set("2").done().says(&["as it was"]);
    configure(&world, &rules, &format!("{throttles}records_per_second = 1000000\n"));
    world.landfall(&["reload"]).done().says(&["changed: a, b"]);
    service.kill();
    assert_eq!(held(&world), 2, "what is set goes before what is configured");
    world.sh("rm held/*");
    // Jobs that a process died of are tried one at a time: it has them all.
    let mut service = world.start();
    wait_until_held(&mut service, &world, 2);
    wait_until_told(&mut service, &world, "have the 2 workers");
    world.landfall(&["jobs"]).done().says(&["landfall set --throttle third --workers-max default"]);
    set("0").done().says(&["no limit"]);
    wait_until_held(&mut service, &world, 4);
    set("default").done().says(&["as configured"]);
    world.write("go", "");
    let done = service.wait_until("one is done", || {
        let done = |job: &Value| job["state"] == "completed";
        world.jobs().into_iter().find(done)
    });
    let published = done["outputs"][0]["path"].as_str().expect("a path").to_owned();
    assert_eq!(world.text(published), lines(6));
    service.kill();
    let said = world.landfall(&["set", "--throttle", "fourth", "--workers-max", "1"]);
    said.ends_with(2).says(&["no rule names a throttle \"fourth\"", "rules name: third"]);
}

#[test]
fn a_job_and_a_rule_have_no_more_workers_than_is_set_while_they_run() {
    let world = world(&[&rule("a", &format!("{HELD}workers_max = 3\njob_workers_max = 1\n"))]);
    let mut service = world.start();
    world.move_in("a/1", lines(9));
    wait_until_held(&mut service, &world, 1);
    wait_until_told(&mut service, &world, "the job has the 1 worker");
    let id = world.job()["id"].as_str().expect("an id").to_owned();
    assert_eq!(world.job()["workers_max"], 1);
    world.landfall(&["set", &id, "--workers-max", "2"]).done().says(&["workers_max 2 (was 1)"]);
    wait_until_held(&mut service, &world, 2);
    service.kill();
    world.sh("rm held/*");
    let mut service = world.start();
    wait_until_held(&mut service, &world, 2);
    world.landfall(&["set", &id, "--workers-max", "0"]).done();
    wait_until_held(&mut service, &world, 3);
    wait_until_told(&mut service, &world, "rule \"a\" has the 3 workers");
    world.landfall(&["set", "--rule", "a", "--workers-max", "4"]).done();
    wait_until_held(&mut service, &world, 4);
    world.write("go", "");
    service.wait_for(&world, "out/a-1.main");
    service.stop();
    assert_eq!(world.text("out/a-1.main"), lines(9));
    let job = world.json(&["show", &id, "--json"]);
    let told = job["timeline"].to_string();
    assert!(told.contains("workers_max 1 -> 2 by root"), "{job:#}");
    world.landfall(&["set", &id, "--workers-max", "1"]).ends_with(1).says(&["completed"]);
    for wrong in [
        &["set", &id, "--records-per-second", "1"][..],
        &["set", &id],
        &["set", "--rule", "a", "--workers-max", "-1"],
        &["set", "--throttle", "x", "--priority", "1"],
        &["set", "--rule", "none", "--workers-max", "1"],
    ] {
        world.landfall(wrong).ends_with(2);
    }
}

#[test]
fn no_more_records_are_taken_in_a_second_than_the_rule_may_and_a_change_counts_at_once() {
    const A_SECOND: usize = 1000;
    let paced =
        format!("records = {{ format = \"lines\", slice_records = 100 }}\nrecords_per_second = {A_SECOND}\n");
    let world = world(&[&rule("a", &paced)]);
    let mut service = world.start();
    service.wait_until_it_watches();
    let begun = Instant::now();
    world.move_in("a/1", lines(A_SECOND + 300));
    service.wait_for(&world, "archive/1");
    let taken = begun.elapsed();
    // A slice goes at once, and a tenth of a second may be made up for.
    assert!(taken >= Duration::from_millis(1100), "{taken:?}");
    world.landfall(&["set", "--rule", "a", "--records-per-second", "1"]).done();
    world.move_in("a/2", lines(A_SECOND));
    wait_until_told(&mut service, &world, "rule \"a\" may take 1 records a second");
    // It would take a quarter of an hour.
    world.landfall(&["set", "--rule", "a", "--records-per-second", "0"]).done();
    service.wait_for(&world, "archive/2");
    service.stop();
    assert_eq!(world.text("out/a-2.main"), lines(A_SECOND));
}

/// Goal: a command that follows a job does not take a limit for an end.
#[test]
fn a_file_that_is_ingested_under_a_limit_is_followed_to_its_end() {
    let world = world(&[&rule(
        "a",
        "records = { format = \"lines\", slice_records = 100 }\nrecords_per_second = 1000\njob_workers_max = 1\n",
    )]);
    world.write("pay.txt", lines(900));
    world.landfall(&["ingest", "pay.txt", "--rule", "a"]).done().says(&["completed", "900 records in"]);
    assert_eq!(world.text("out/a-pay.main"), lines(900));
}

#[test]
fn a_step_that_never_answers_leaves_a_worker_to_other_rules_which_go_on() {
    let world = world(&[&rule("a", HELD), &rule("b", "")]);
    let mut service = world.start();
    for name in ["a/1", "a/2", "a/3", "a/4", "a/5"] {
        world.move_in(name, lines(2));
    }
    wait_until_held(&mut service, &world, 3);
    wait_until_told(&mut service, &world, "one is left to other rules");
    for number in 0..20 {
        world.move_in(&format!("b/{number}"), lines(2));
        service.wait_for(&world, &format!("out/b-{number}.main"));
    }
    assert_eq!(held(&world), 3);
    world.write("go", "");
    for number in 1..=5 {
        service.wait_for(&world, &format!("out/a-{number}.main"));
    }
    service.stop();
}

#[test]
fn a_throttle_that_is_not_there_and_one_of_an_override_are_told_with_what_to_do() {
    let world = world(&[&rule("a", "throttle = \"thrid\"\n"), &rule("b", "throttle = \"third\"\n")]);
    let rules = [rule("a", "throttle = \"thrid\"\n"), rule("b", "throttle = \"third\"\nworkers_max = -1\n")];
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    configure(&world, &rules, "[throttle.third]\nworkers_max = 1\nrecords = 1\n[throttle.none]\n");
    world.landfall(&["check"]).ends_with(2).says(&[
        "rule \"a\": throttle: no throttle is named \"thrid\"",
        "third",
        "throttle.third.records: this key does not belong here",
        "throttle.none: it limits nothing",
        "workers_max: -1 is out of range",
    ]);
}
