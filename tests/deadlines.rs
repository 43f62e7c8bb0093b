//! Promise: whether a job will be done by its `deadline` is told from its own pace while it runs, and that it is late once that has passed,
//! over a kill; and of a job that is done whether it was in time.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "a test reads the wall clock as its user does")]

mod support;

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _, Zoned};
use serde_json::Value;
use support::{Service, World, lines};

const ZONE: &str = "Asia/Kathmandu";
/// So many lines take many minutes.
const SLOW: &str = "#!/bin/sh\nwhile read -r line; do sleep 0.2; echo \"$line\"; done\n";
/// A deadline is told to the minute, and is looked at every ten seconds.
const WITHIN: Duration = Duration::from_secs(150);

fn rule(name: &str, deadline: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\npaths = [\"{name}/*\"]\noutput = {{ main = {{ path = \"out/{name}-{{stem}}.main\" }} }}\n\
         deadline = \"{deadline}\"\n{more}"
    )
}

fn now() -> Zoned {
    Timestamp::now().in_tz(ZONE).expect("is known")
}

/// So many minutes from now, as a rule says it.
fn in_minutes(minutes: i64) -> String {
    now().checked_add(minutes.minutes()).expect("there is a calendar").strftime("%H:%M").to_string()
}

fn job_of(world: &World, name: &str) -> Option<Value> {
    let jobs = world.jobs();
    jobs.into_iter().find(|job| job["source"].as_str().is_some_and(|path| path.ends_with(name)))
}

#[track_caller]
fn wait_until(service: &mut Service, world: &World, name: &str, state: &str) -> Value {
    service.wait_until_within(WITHIN, state, || {
        job_of(world, name).filter(|job| job["deadline"]["state"] == state)
    })
}

fn time(job: &Value, key: &str) -> Timestamp {
    job["deadline"][key].as_str().expect("a time").parse().expect("a time")
}

/// What `status` says needs attention, in a word each.
fn attention(world: &World) -> Vec<String> {
    let ran = world.landfall(&["status", "--json"]).ends_with(1);
    let status: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let all = status["attention"].as_array().expect("a list").clone();
    all.iter().filter_map(|one| one["about"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_job_that_is_too_slow_is_at_risk_before_its_deadline_and_late_after_it_over_a_kill() {
    let world = World::bare();
    let slow = "records = { format = \"lines\", slice_records = 1 }\npipeline = [{ step = \"exec\", confine = false, command = [\"./slow\"] }]";
    // Half a minute is left to it at least.
    let (soon, later) = (in_minutes(if now().second() > 30 { 2 } else { 1 }), in_minutes(600));
    let rules = [rule("a", &soon, slow), rule("b", &later, slow), rule("c", &later, "")];
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    world.configure(&format!("workers = 3\ntimezone = \"{ZONE}\""), &rules);
    world.write("slow", SLOW);
    world.sh("chmod +x slow; mkdir a b c");
    let mut service = world.start();
    world.move_in("a/slow.txt", lines(5000));
    world.move_in("b/long.txt", lines(500));
    let at_risk = wait_until(&mut service, &world, "slow.txt", "at_risk");
    assert!(time(&at_risk, "expected_at") > time(&at_risk, "at"), "{at_risk:#}");
    assert!(at_risk["deadline"]["detail"].as_str().is_some_and(|told| told.contains("are left, at")));
    let on_time = wait_until(&mut service, &world, "long.txt", "on_time");
    assert!(time(&on_time, "expected_at") <= time(&on_time, "at"), "{on_time:#}");
    let id = at_risk["id"].as_str().expect("an id");
    world.landfall(&["show", id]).done().says(&["deadline   ", "at risk, expected at"]);
    world.landfall(&["jobs"]).done().says(&["[deadline: at risk]"]);
    world.landfall(&["status"]).ends_with(1).says(&["a job will not be done by its deadline", id]);
    assert_eq!(attention(&world), ["deadline_at_risk"]);
    service.wait_for_log("at risk: as it goes now");
    world.move_in("c/quick.txt", lines(3));
    let met = wait_until(&mut service, &world, "quick.txt", "met");
    assert_eq!(met["deadline"]["expected_at"], Value::Null, "{met:#}");
    service.kill();

    let mut service = world.start();
    let late = wait_until(&mut service, &world, "slow.txt", "late");
    assert!(Timestamp::now() >= time(&late, "at"), "{late:#}");
    assert_eq!(time(&late, "at"), time(&at_risk, "at"), "what was promised stays");
    service.wait_for_log("late: the deadline of this job has passed");
    assert_eq!(attention(&world), ["deadline_passed"]);
    // To give it up ends that.
    world.landfall(&["abort", id]).done();
    service
        .wait_until("nobody need look at it", || (world.landfall(&["status"]).code == Some(0)).then_some(()));
    assert_eq!(job_of(&world, "slow.txt").expect("is listed")["deadline"], Value::Null);
    assert_eq!(wait_until(&mut service, &world, "quick.txt", "met")["deadline"], met["deadline"]);
    service.kill();
}

#[test]
fn a_job_that_waits_is_late_once_its_deadline_has_passed_over_a_kill() {
    let world = World::bare();
    let gated = "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]";
    let soon = in_minutes(if now().second() > 30 { 2 } else { 1 });
    world.configure(&format!("timezone = \"{ZONE}\"\nlisten = \"socket\""), &[&rule("a", &soon, gated)]);
    world.write_gate();
    world.sh("mkdir a");
    let mut service = world.start();
    world.move_in("a/begun.txt", lines(3000));
    service.wait_for(&world, "reached");
    world.landfall(&["pause", "--rule", "a"]).done();
    world.write("go", "");
    let waits = wait_until(&mut service, &world, "begun.txt", "unknown");
    assert_eq!(waits["state"], "queued", "{waits:#}");
    service.kill();
    let mut service = world.start();
    let late = wait_until(&mut service, &world, "begun.txt", "late");
    assert_eq!((&late["state"], &late["waiting"]["for"]), (&"queued".into(), &"pause".into()), "{late:#}");
    service.wait_for_log("late: the deadline of this job has passed");
    service.wait_until("the metrics say so", || {
        let told = world.sh("curl -s --unix-socket data/api.sock http://landfall/metrics");
        told.contains("landfall_jobs_with_deadline{rule=\"a\",state=\"late\"} 1").then_some(())
    });
    world.landfall(&["resume", "--rule", "a"]).done();
    let missed = wait_until(&mut service, &world, "begun.txt", "missed");
    assert_eq!(missed["state"], "completed", "{missed:#}");
    service.stop();
    assert_eq!(world.text("out/a-begun.main"), lines(3000));
}

#[test]
fn what_is_no_time_of_the_day_is_refused_and_none_takes_back_that_of_the_defaults() {
    let of = |deadline: &str| {
        let world = World::bare();
        world.configure("", &[&rule("a", deadline, "")]);
        world.landfall(&["check"])
    };
    for wrong in ["6:00", "25:00", "noon", ""] {
        of(wrong).ends_with(2).says(&["deadline", "is no time of the day", "like \"06:00\""]);
    }
    let world = World::bare();
    let other = "name = \"b\"\npaths = [\"b/*\"]\noutput = { main = { path = \"out/b-{stem}.main\" } }";
    world.configure("", &[&rule("a", "none", ""), other]);
    let toml = world.text("landfall.toml");
    world.write("landfall.toml", format!("{toml}\n[defaults]\ndeadline = \"06:00\"\n"));
    world.sh("mkdir a b");
    let mut service = world.start();
    world.move_in("a/pay.txt", lines(2));
    world.move_in("b/pay.txt", lines(2));
    service.wait_for(&world, "out/a-pay.main");
    service.wait_for(&world, "out/b-pay.main");
    service.stop();
    assert_eq!(job_of(&world, "a/pay.txt").expect("is listed")["deadline"], Value::Null);
    assert_eq!(job_of(&world, "b/pay.txt").expect("is listed")["deadline"]["state"], "met");
}
