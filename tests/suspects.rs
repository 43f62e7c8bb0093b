//! Promise: a job that ends the process again and again is found out, and costs no other its way.
#![cfg(unix)]

mod support;

use rustix::process::Signal;
use support::{Service, World, wait_until};

/// A step whose record `poison` kills the service, as running out of memory does.
const STEP: &str = "#!/bin/bash
while read -r line; do [ \"$line\" = poison ] && kill -KILL $PPID; echo \"$line\"; done
";

fn world() -> World {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"] }]");
    world.write("step", STEP);
    world.sh("chmod +x step");
    world
}

fn state_of(world: &World, name: &str) -> Option<serde_json::Value> {
    world.jobs().into_iter().find(|job| job["source"].as_str().is_some_and(|path| path.ends_with(name)))
}

/// Waits until it has ended.
fn dies(mut service: Service) {
    wait_until("the service dies", || service.exited());
}

#[test]
fn a_job_that_ends_the_process_again_and_again_goes_to_quarantine_and_others_complete() {
    let world = world();
    world.move_in("in/bad.txt", "one\npoison\n");
    for start in 0..5 {
        let mut service = world.start();
        if start >= 3 {
            // It waits; others do not.
            world.move_in(&format!("in/good-{start}.txt"), "one\n");
            service.wait_for(&world, &format!("archive/good-{start}.txt"));
            assert_eq!(state_of(&world, "bad.txt").expect("it is listed")["waiting"]["for"], "retry");
        }
        dies(service);
    }
    let mut service = world.start();
    service.wait_for(&world, "in/.landfall/quarantine/bad.txt.error.json");
    world.move_in("in/last.txt", "one\n");
    service.wait_for(&world, "archive/last.txt");
    let job = state_of(&world, "bad.txt").expect("it is listed");
    assert_eq!((&job["state"], &job["error"]["kind"]), (&"failed".into(), &"bug".into()), "{job:#}");
    assert!(job["error"]["message"].as_str().is_some_and(|said| said.contains("died 5 times")), "{job:#}");
    assert_eq!(job["attempts"], 5);
    assert_eq!(world.files("out"), ["good-3.main", "good-4.main", "last.main"]);

    // The step is mended, and the job starts with a clean sheet.
    world.write("step", "#!/bin/bash\nexec cat\n");
    world.landfall(&["retry", job["id"].as_str().expect("an id is text")]).done();
    service.wait_for(&world, "archive/bad.txt");
    service.stop();
    assert_eq!(world.text("out/bad.main"), "one\npoison\n");
    assert_eq!(state_of(&world, "bad.txt").expect("it is listed")["deaths"], 0);
}

fn service_log(world: &World) -> String {
    world.text("landfall.log")
}

/// Goal: those that were only there when it happened are not blamed.
#[test]
fn jobs_beside_a_poisonous_one_complete_and_are_not_held_to_blame() {
    let world = world();
    for number in 0..4 {
        world.move_in(&format!("in/good-{number}.txt"), "one\n");
    }
    world.move_in("in/bad.txt", "poison\n");
    // Each start ends by the poisonous job, or is ended once nothing else is left to do.
    let archived = || (0..4).all(|number| world.has(format!("archive/good-{number}.txt")));
    let mut starts = 0;
    while !(archived() && all_rows_ended(&world)) {
        starts += 1;
        assert!(starts <= 8, "others do not get their turn: {:#?}", world.jobs());
        let mut service = world.start();
        wait_until("it dies, or all others are archived", || {
            (service.exited().is_some() || archived()).then_some(())
        });
        if service.exited().is_none() {
            service.signal(Signal::TERM);
        }
        dies(service);
    }
    for number in 0..4 {
        let job = state_of(&world, &format!("good-{number}.txt")).expect("it is listed");
        assert_eq!((&job["state"], &job["deaths"]), (&"completed".into(), &0.into()), "{job:#}");
    }
}

/// A file is archived before the last row of its job.
fn all_rows_ended(world: &World) -> bool {
    let good = |number| {
        state_of(world, &format!("good-{number}.txt")).is_some_and(|job| job["state"] == "completed")
    };
    (0..4).all(good)
}

/// A service that is killed over and over from outside meets its jobs waiting, and blames none in the end.
#[test]
fn a_service_that_is_killed_over_and_over_gives_up_no_job() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./slow\"] }]");
    world.write("slow", "#!/bin/bash\nread -r line; touch reached; until [ -e go ]; do sleep 0.02; done; echo \"$line\"; exec cat\n");
    world.sh("chmod +x slow");
    world.move_in("in/pay.txt", "one\n");
    for _ in 0..3 {
        let mut service = world.start();
        service.wait_for(&world, "reached");
        service.kill();
        support::remove(&world.path("reached"));
    }
    for start in 1..=4 {
        let mut service = world.start();
        service.wait_until("its job waits", || {
            (service_log(&world).matches("taken up again after a pause").count() == start).then_some(())
        });
        service.kill();
    }
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.completed()["records_in"], 1);
}
