//! Promise: deliveries of one key are judged in the order of their claims: no correction overtakes what it corrects.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{Service, World};

/// Deliveries are known by their folder; each goes through `step`, where a record `slow` waits until the gate is opened.
fn world() -> World {
    let world = World::new(
        r#"paths = ["in/{sender}/*"]
        delivery = { key = "{sender}", same_key = "correction" }
        pipeline = [{ step = "exec", confine = false, command = ["./step"], timeout = "1m" }]
        errors = { failed_max = "0", attempts = 1 }
        output = { main = { path = "out/{sender}-r{revision}.csv" } }"#,
    );
    world.write(
        "step",
        "#!/bin/bash
while IFS= read -r line; do
    case $line in slow) cat gate > /dev/null ;; bad) exit 1 ;; esac
    printf '%s\\n' \"$line\"
done
",
    );
    world.sh("chmod +x step; mkfifo gate; mkdir in/acme in/ubs");
    world
}

/// Lets go whoever waits at the gate. Whoever comes from then on finds it open: a pipe that is taken away last would hold him for ever.
fn open_the_gate(world: &World) {
    world.sh("ln gate pipe; : > open; mv open gate; timeout 60 bash -c ': > pipe'; rm pipe");
}

fn by_source(world: &World, name: &str) -> Value {
    let is_it = |job: &Value| job["source"].as_str().is_some_and(|source| source.ends_with(name));
    world.jobs().into_iter().find(is_it).unwrap_or(Value::Null)
}

fn wait_for_job(service: &mut Service, world: &World, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    service.wait_until(name, || Some(by_source(world, name)).filter(|job| is_so(job)))
}

fn waits_for_an_earlier_one(job: &Value) -> bool {
    job["waiting"]["for"] == "delivery"
}

fn is(state: &'static str) -> impl Fn(&Value) -> bool {
    move |job| job["state"] == state
}

/// A slow original at work, and a quick correction that waits for it.
fn overtaken(world: &World, service: &mut Service) -> [Value; 2] {
    world.move_in("in/acme/1.csv", "slow\n");
    let original = wait_for_job(service, world, "1.csv", is("running"));
    world.move_in("in/acme/2.csv", "two\n");
    [original, wait_for_job(service, world, "2.csv", waits_for_an_earlier_one)]
}

fn assert_in_order(world: &World) {
    let (original, correction) = (by_source(world, "1.csv"), by_source(world, "2.csv"));
    assert_eq!((&original["revision"], &original["corrects"]), (&1.into(), &Value::Null), "{original:#}");
    assert_eq!(
        (&correction["revision"], &correction["corrects"]),
        (&2.into(), &original["id"]),
        "{correction:#}"
    );
    assert_eq!([world.text("out/acme-r1.csv"), world.text("out/acme-r2.csv")], ["slow\n", "two\n"]);
}

#[test]
fn a_small_correction_waits_for_its_large_original_and_no_other_delivery_does() {
    let world = world();
    let mut service = world.start();
    let [original, waiting] = overtaken(&world, &mut service);
    let detail = waiting["waiting"]["detail"].as_str().expect("a text");
    assert!(
        detail.contains(original["id"].as_str().expect("a text")) && detail.contains("1.csv"),
        "{detail}"
    );
    world
        .landfall(&["show", waiting["id"].as_str().expect("a text")])
        .done()
        .says(&["delivery", "earlier", "1.csv"]);
    world.move_in("in/ubs/3.csv", "three\n");
    wait_for_job(&mut service, &world, "3.csv", is("completed"));
    assert_eq!(world.files("out"), ["ubs-r1.csv"]);
    open_the_gate(&world);
    wait_for_job(&mut service, &world, "2.csv", is("completed"));
    service.stop();
    assert_in_order(&world);
}

#[test]
fn a_kill_does_not_let_a_correction_go_first() {
    let world = world();
    let mut service = world.start();
    overtaken(&world, &mut service);
    service.kill();
    let mut service = world.start();
    wait_for_job(&mut service, &world, "1.csv", |job| job["attempts"] == 2);
    wait_for_job(&mut service, &world, "2.csv", waits_for_an_earlier_one);
    open_the_gate(&world);
    wait_for_job(&mut service, &world, "2.csv", is("completed"));
    service.stop();
    assert_in_order(&world);
}

#[test]
fn what_fails_is_no_original_and_lets_the_next_one_go_on() {
    let world = world();
    let mut service = world.start();
    world.move_in("in/acme/1.csv", "slow\nbad\n");
    wait_for_job(&mut service, &world, "1.csv", is("running"));
    world.move_in("in/acme/2.csv", "two\n");
    wait_for_job(&mut service, &world, "2.csv", waits_for_an_earlier_one);
    open_the_gate(&world);
    wait_for_job(&mut service, &world, "1.csv", is("failed"));
    let next = wait_for_job(&mut service, &world, "2.csv", is("completed"));
    service.stop();
    assert_eq!((&next["revision"], &next["corrects"]), (&1.into(), &Value::Null), "{next:#}");
}

#[test]
fn what_a_later_delivery_was_taken_ahead_of_waits_for_a_word() {
    let world = world();
    let mut service = world.start();
    let [original, waiting] = overtaken(&world, &mut service);
    world.landfall(&["retry", waiting["id"].as_str().expect("a text")]).done();
    let first = wait_for_job(&mut service, &world, "2.csv", is("completed"));
    assert_eq!(first["revision"], 1, "{first:#}");
    open_the_gate(&world);
    assert_outdated_until_retried(&world, &mut service, &original, &first);
}

/// It was mended after its correction came: nothing that is older takes the place of what is newer unasked.
#[test]
fn a_failed_original_that_is_retried_does_not_replace_its_correction_unasked() {
    let world = world();
    let mut service = world.start();
    world.move_in("in/acme/1.csv", "bad\n");
    let original = wait_for_job(&mut service, &world, "1.csv", is("failed"));
    world.move_in("in/acme/2.csv", "two\n");
    let correction = wait_for_job(&mut service, &world, "2.csv", is("completed"));
    world.sh("sed -i 's/bad) exit 1/never) exit 1/' step");
    world.landfall(&["retry", original["id"].as_str().expect("a text")]).done();
    assert_outdated_until_retried(&world, &mut service, &original, &correction);
}

fn assert_outdated_until_retried(world: &World, service: &mut Service, old: &Value, newer: &Value) {
    let id = old["id"].as_str().expect("a text");
    let held = wait_for_job(service, world, "1.csv", is("held"));
    assert_eq!(held["waiting"]["for"], "settling", "{held:#}");
    let why = held["error"]["message"].as_str().expect("a text");
    assert!(why.contains("later delivery") && why.contains(newer["id"].as_str().expect("a text")), "{why}");
    assert_eq!(world.files("out"), ["acme-r1.csv"]);
    world.landfall(&["retry", id]).done();
    let taken = wait_for_job(service, world, "1.csv", is("completed"));
    assert_eq!((&taken["revision"], &taken["corrects"]), (&2.into(), &newer["id"]), "{taken:#}");
}

#[test]
fn one_that_an_operator_has_to_settle_holds_up_none_that_comes_later() {
    let world = World::new(
        r#"delivery = { key = "{rule}-{ext}", same_key = "hold" }
        output = { main = { path = "out/r{revision}.main" } }"#,
    );
    let mut service = world.start();
    world.move_in("in/1.txt", "one\n");
    wait_for_job(&mut service, &world, "1.txt", is("completed"));
    for name in ["2.txt", "3.txt"] {
        world.move_in(&format!("in/{name}"), name);
        let held = wait_for_job(&mut service, &world, name, is("held"));
        assert_eq!(held["waiting"]["for"], "settling", "{held:#}");
    }
    for (name, revision) in [("3.txt", 2), ("2.txt", 3)] {
        world.landfall(&["retry", by_source(&world, name)["id"].as_str().expect("a text")]).done();
        let taken = wait_for_job(&mut service, &world, name, is("completed"));
        assert_eq!(taken["revision"], revision, "{taken:#}");
    }
    service.stop();
}

/// Whatever their sizes, and however many are worked at once.
#[test]
fn revisions_count_in_the_order_of_claims() {
    let world = World::new(
        r#"delivery = { key = "{rule}-{ext}" }
        records = { format = "lines", slice_records = 20 }
        ready = { strategy = "marker", marker = "{name}.ok", stable_for = "100ms" }
        output = { main = { path = "out/r{revision}.main", on_exists = "fail" } }"#,
    );
    let mut random = support::random::Random::new(7);
    for number in 0..60 {
        let size = if random.once_in(4) { 4_000 } else { 1 + random.below(3) };
        world.write(format!("in/pay-{number}.txt"), support::lines(size as usize));
        world.write(format!("in/pay-{number}.txt.ok"), "");
    }
    let mut service = world.start();
    service.wait_until("all are published", || {
        (world.jobs().iter().filter(|job| job["state"] == "completed").count() == 60).then_some(())
    });
    service.stop();
    let mut jobs = world.jobs();
    jobs.sort_by_key(|job| job["id"].to_string());
    let revisions: Vec<_> = jobs.iter().map(|job| job["revision"].as_u64().expect("a number")).collect();
    assert_eq!(revisions, (1..=60).collect::<Vec<_>>());
}
