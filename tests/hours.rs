//! Promise: outside its `window` a rule claims files and runs no job, over kills and reloads, and says until when; what runs when it closes
//! finishes, or is put down with a checkpoint and goes on when it opens.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "a test reads the wall clock as its user does")]

mod support;

use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};
use serde_json::Value;
use support::{Service, World, lines};

const ZONE: &str = "Asia/Kathmandu";

fn rule(more: &str) -> String {
    format!(
        "name = \"a\"\npaths = [\"a/*\"]\noutput = {{ main = {{ path = \"out/a-{{stem}}.main\" }} }}\n{more}"
    )
}

fn now() -> Zoned {
    Timestamp::now().in_tz(ZONE).expect("is known")
}

/// A window that opens and closes so many minutes from now.
fn window(opens: i64, closes: i64) -> String {
    let at = |minutes: i64| {
        now().checked_add(minutes.minutes()).expect("there is a calendar").strftime("%H:%M").to_string()
    };
    format!("window = \"{}-{}\"", at(opens), at(closes))
}

fn configure(world: &World, more: &str) {
    let other = "name = \"b\"\npaths = [\"b/*\"]\noutput = { main = { path = \"out/b-{stem}.main\" } }";
    world.configure(&format!("timezone = \"{ZONE}\""), &[&rule(more), other]);
}

fn world(more: &str) -> World {
    let world = World::bare();
    configure(&world, more);
    world.sh("mkdir a b");
    world
}

fn job_of(world: &World, name: &str) -> Option<Value> {
    let jobs = world.jobs();
    jobs.into_iter().find(|job| job["source"].as_str().is_some_and(|path| path.ends_with(name)))
}

#[track_caller]
fn wait_until_it_waits(service: &mut Service, world: &World, name: &str) -> Value {
    service.wait_until("it waits for its window", || {
        job_of(world, name).filter(|job| job["state"] == "queued" && job["waiting"]["for"] == "window")
    })
}

#[test]
fn a_file_is_claimed_outside_its_window_and_its_job_waits_until_it_opens_over_a_kill_and_a_reload() {
    let world = world(&window(60, 120));
    let mut service = world.start();
    world.move_in("a/pay.txt", lines(3));
    let job = wait_until_it_waits(&mut service, &world, "pay.txt");
    assert!(!world.has("a/pay.txt"), "its sender sees it taken");
    let until: Timestamp = job["waiting"]["until"].as_str().expect("a time").parse().expect("a time");
    let left = until.duration_since(Timestamp::now());
    assert!(left > SignedDuration::from_mins(55) && left <= SignedDuration::from_mins(60), "{job:#}");
    assert!(job["waiting"]["detail"].as_str().is_some_and(|told| told.contains(ZONE)), "{job:#}");
    world.move_in("b/other.txt", lines(2));
    service.wait_for(&world, "out/b-other.main");
    service.kill();
    world
        .landfall(&["show", job["id"].as_str().expect("an id")])
        .done()
        .says(&["waiting    for window, until", ZONE]);
    let mut service = world.start();
    wait_until_it_waits(&mut service, &world, "pay.txt");
    world.landfall(&["explain", "a/pay.txt"]).done().says(&["it waits: rule \"a\" works from"]);
    // What an operator names is taken at once.
    world.write("elsewhere/now.txt", lines(4));
    world.landfall(&["ingest", "elsewhere/now.txt", "--rule", "a"]).done();
    assert_eq!(world.text("out/a-now.main"), lines(4));
    assert!(!world.has("out/a-pay.main"));
    configure(&world, &window(-60, 60));
    world.landfall(&["reload"]).done().says(&["changed: a"]);
    service.wait_for(&world, "out/a-pay.main");
    service.stop();
    assert_eq!(world.text("out/a-pay.main"), lines(3));
}

/// A job at work in a step that waits for the file `go`.
fn at_work(end: &str) -> (World, Service, String) {
    let gated = format!(
        "pipeline = [{{ step = \"exec\", confine = false, command = [\"./gate\"] }}]\nwindow_end = \"{end}\"\n"
    );
    let world = world(&format!("{gated}{}", window(-60, 60)));
    world.write_gate();
    let mut service = world.start();
    world.move_in("a/begun.txt", lines(3000));
    service.wait_for(&world, "reached");
    configure(&world, &format!("{gated}{}", window(60, 120)));
    world.landfall(&["reload"]).done().says(&["changed: a"]);
    (world, service, gated)
}

#[test]
fn what_runs_when_its_window_closes_is_put_down_and_goes_on_when_it_opens_over_a_kill() {
    let (world, mut service, gated) = at_work("pause");
    let job = wait_until_it_waits(&mut service, &world, "begun.txt");
    assert_eq!(job["attempts"], 0, "it is put down, and was not tried in vain: {job:#}");
    world.write("go", "");
    service.kill();
    let mut service = world.start();
    service.wait_until_it_watches(); // who asks before it answers is told by the store
    wait_until_it_waits(&mut service, &world, "begun.txt");
    assert!(!world.has("out/a-begun.main"));
    configure(&world, &format!("{gated}{}", window(-60, 60)));
    world.landfall(&["reload"]).done();
    service.wait_for(&world, "out/a-begun.main");
    service.stop();
    assert_eq!(world.text("out/a-begun.main"), lines(3000));
}

#[test]
fn who_lets_a_job_go_on_outside_its_window_is_told_that_it_waits() {
    let world = world(&window(60, 120));
    let mut service = world.start();
    world.move_in("a/pay.txt", lines(3));
    let job = wait_until_it_waits(&mut service, &world, "pay.txt");
    let id = job["id"].as_str().expect("an id is text");
    world.landfall(&["pause", id]).done();
    let told = world.landfall(&["resume", id]).done();
    assert!(!told.stdout.contains("takes it"), "{}", told.stdout);
    told.says(&["no longer paused; it waits", "its `window` is closed"]);
    world.landfall(&["abort", id]).done();
    let told = world.landfall(&["retry", id]).done();
    assert!(!told.stdout.contains("takes it"), "{}", told.stdout);
    told.says(&["queued again; it waits", "its `window` is closed"]);
    service.stop();
}

#[test]
fn what_has_begun_finishes_after_its_window_over_a_kill_and_what_has_not_waits() {
    let (world, mut service, _) = at_work("finish");
    world.move_in("a/later.txt", lines(2));
    wait_until_it_waits(&mut service, &world, "later.txt");
    service.kill();
    let mut service = world.start();
    world.write("go", "");
    service.wait_for(&world, "out/a-begun.main");
    wait_until_it_waits(&mut service, &world, "later.txt");
    service.stop();
    assert_eq!(world.text("out/a-begun.main"), lines(3000));
    assert!(!world.has("out/a-later.main"));
}

/// The longest of these tests: windows are told to the minute.
#[test]
fn a_window_opens_and_closes_by_the_clock() {
    // Some seconds before a minute is over the next one may be too near.
    let second = now().second();
    let opens = if second > 50 { 2 } else { 1 };
    let world = world(&format!("{}\nwindow_end = \"pause\"", window(opens, opens + 30)));
    let mut service = world.start();
    world.move_in("a/pay.txt", lines(3));
    let job = wait_until_it_waits(&mut service, &world, "pay.txt");
    let until: Timestamp = job["waiting"]["until"].as_str().expect("a time").parse().expect("a time");
    let left = until.duration_since(Timestamp::now());
    assert!(left > SignedDuration::ZERO && left < SignedDuration::from_secs(75), "{left}");
    let done = service.wait_until_within(
        left.unsigned_abs() + std::time::Duration::from_secs(20),
        "it is done",
        || job_of(&world, "pay.txt").filter(|job| job["state"] == "completed"),
    );
    let started: Timestamp = done["started_at"].as_str().expect("a time").parse().expect("a time");
    let late = started.duration_since(until);
    assert!(late >= SignedDuration::ZERO && late < SignedDuration::from_secs(5), "{late}");
    service.stop();
}

#[test]
fn what_is_no_window_is_refused_and_always_takes_back_that_of_the_defaults() {
    let of = |more: &str| world(more).landfall(&["check"]);
    of("window = \"22-06\"").ends_with(2).says(&["window", "like \"22:00-06:00\""]);
    of("window = \"06:00-06:00\"").ends_with(2).says(&["open all day, or never"]);
    of("window_end = \"pause\"").ends_with(2).says(&["window_end", "there is no window"]);
    of("window = \"22:00-06:00\"\nwindow_end = \"stop\"").ends_with(2).says(&["finish, pause"]);
    let world = world("window = \"always\"");
    let toml = world.text("landfall.toml");
    world.write(
        "landfall.toml",
        format!("{toml}\n[defaults]\nwindow = \"{}\"\n", window(60, 120).split('"').nth(1).expect("a text")),
    );
    world.landfall(&["check"]).done();
    let mut service = world.start();
    world.move_in("b/waits.txt", lines(2));
    wait_until_it_waits(&mut service, &world, "waits.txt");
    world.move_in("a/pay.txt", lines(2));
    service.wait_for(&world, "out/a-pay.main");
    service.stop();
}
