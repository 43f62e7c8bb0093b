//! Promise: what is more urgent goes first, at once, whatever else runs or waits; an operator can say so while it waits, and it holds.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{World, lines};

/// One slice of its records takes so long that those behind it wait.
const SLOW: &str = "#!/bin/sh\nwhile read -r line; do sleep 0.3; echo \"$line\"; done\n";

fn world(rules: &[&str]) -> World {
    let world = World::bare();
    world.configure("workers = 1\nscan_every = \"100ms\"\nstop_timeout = \"2s\"", rules);
    world.write("slow", SLOW);
    world.sh("chmod +x slow");
    world
}

const SLOW_RULE: &str = "name = \"slow\"
    paths = [\"in/*\"]
    order = \"name\"
    pipeline = [{ step = \"exec\", confine = false, command = [\"./slow\"] }]
    output = { main = { path = \"out/{stem}.main\" } }";

/// The names of the sources, as their jobs ended.
fn ended(world: &World) -> Vec<String> {
    let mut jobs = world.jobs();
    jobs.sort_by_key(|job| job["finished_at"].as_str().map(str::to_owned));
    let name =
        |job: &Value| job["source"].as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    jobs.iter().filter_map(name).collect()
}

fn id_of(world: &World, name: &str) -> String {
    let jobs = world.jobs();
    let job = jobs.iter().find(|job| job["source"].as_str().is_some_and(|path| path.ends_with(name)));
    job.expect("it is claimed")["id"].as_str().expect("an id is text").to_owned()
}

#[test]
fn what_an_operator_sets_goes_before_what_came_first_with_and_without_a_running_service() {
    let world = world(&[SLOW_RULE]);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        world.write(format!("in/{name}"), "1\n");
    }
    let mut service = world.start();
    service.wait_until("all are claimed", || (world.jobs().len() == 8).then_some(()));
    let set = world.landfall(&["set", &id_of(&world, "/h"), "--priority", "1"]).done();
    set.says(&["priority 1 (was 50)"]);
    service.wait_for(&world, "out/h.main");
    service.kill();
    assert!(!world.has("out/g.main"), "the last one came before the others");
    world.landfall(&["set", &id_of(&world, "/g"), "--priority", "2"]).done();
    // One that was worked goes on, and one that was on its way out.
    let before_it = world.files("out").len() + 2;
    let mut service = world.start();
    service.wait_for(&world, "out/g.main");
    service.wait_until("all are done", || (world.files("out").len() == 8).then_some(()));
    service.stop();
    let order = ended(&world);
    let place = |name: &str| order.iter().position(|ended| ended == name).expect("it ended");
    assert!(place("h") < place("g") && place("g") <= before_it && before_it < 6, "{before_it}: {order:?}");
    let shown = world.landfall(&["show", &id_of(&world, "/h")]).done();
    shown.says(&["priority 50 -> 1"]);
    world
        .landfall(&["set", &id_of(&world, "/h"), "--priority", "9"])
        .ends_with(1)
        .says(&["waits for its turn no more"]);
}

#[test]
fn a_small_file_goes_before_larger_ones_that_came_first_where_its_rule_says_so() {
    let by_size =
        "priority_when = [{ smaller_than = 3, priority = 1 }, { larger_than = \"1KiB\", priority = 90 }]";
    let world = world(&[&format!("{SLOW_RULE}\n{by_size}")]);
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        world.write(format!("in/{name}"), "11\n22\n");
    }
    let mut service = world.start();
    service.wait_until("all are claimed", || (world.jobs().len() == 7).then_some(()));
    world.write("in/h", "1\n");
    service.wait_for(&world, "out/h.main");
    assert!(!world.has("out/g.main"), "the last one came before the others");
    let of = |name: &str| {
        let jobs = world.jobs();
        let is_it = |job: &&Value| job["source"].as_str().is_some_and(|path| path.ends_with(name));
        jobs.iter().find(is_it).map(|job| job["priority"].clone())
    };
    world.write("in/i", "1\n".repeat(1000));
    service.wait_until("it is claimed", || of("/i").filter(|priority| *priority == 90));
    assert_eq!((of("/h"), of("/a")), (Some(1.into()), Some(50.into())));
    service.kill();
}

/// Where rules share fairly, the second one's only file goes before the first one's last.
#[test]
fn by_arrival_a_rules_only_file_waits_behind_those_that_another_had_before() {
    let world = World::bare();
    let other = SLOW_RULE.replace("\"slow\"", "\"other\"").replace("in/*", "other/*");
    world.configure(
        "workers = 1\nsharing = \"fifo\"\nscan_every = \"100ms\"\nstop_timeout = \"2s\"",
        &[SLOW_RULE, &other],
    );
    world.write("slow", SLOW);
    world.sh("chmod +x slow; mkdir other");
    for name in ["a", "b", "c", "d", "e", "f"] {
        world.write(format!("in/{name}"), "1\n");
    }
    let mut service = world.start();
    service.wait_until("all are claimed", || (world.jobs().len() == 6).then_some(()));
    world.move_in("other/z", "1\n");
    service.wait_for(&world, "out/z.main");
    service.stop();
    let order = ended(&world);
    assert_eq!((order.last().map(String::as_str), order.len()), (Some("z"), 7), "{order:?}");
}

#[test]
fn all_jobs_of_a_rule_can_be_set_and_what_is_no_priority_is_refused() {
    let world = world(&[SLOW_RULE]);
    for name in ["a", "b", "c"] {
        world.write(format!("in/{name}"), "1\n");
    }
    let mut service = world.start();
    service.wait_until("all are claimed", || (world.jobs().len() == 3).then_some(()));
    world
        .landfall(&["set", "--rule", "slow", "--priority", "70"])
        .done()
        .says(&["files that come under rule \"slow\""]);
    let waiting = |job: &&Value| job["state"] == "queued";
    assert!(world.jobs().iter().filter(waiting).all(|job| job["priority"] == 70), "{:#?}", world.jobs());
    for wrong in ["0", "101", "first"] {
        world.landfall(&["set", "--rule", "slow", "--priority", wrong]).ends_with(2).says(&["from 1 to 100"]);
    }
    world.landfall(&["set", "--rule", "none", "--priority", "1"]).ends_with(2).says(&["no rule is named"]);
    service.kill();
}

/// Beside two files of two million records each, that one worker is at for many seconds.
#[test]
fn an_urgent_rule_is_served_at_once_beside_large_files() {
    const FILES: usize = 20;
    /// The figure is 100 ms, on a machine that does nothing else: this one builds and tests beside it.
    const AT_MOST: Duration = Duration::from_secs(1);
    let rule = |name: &str, more: &str| {
        format!(
            "name = \"{name}\"\npaths = [\"{name}/*\"]\noutput = {{ main = {{ path = \"out/{name}/{{stem}}.main\" }} }}\n{more}"
        )
    };
    let world = world(&[
        &rule("large", ""),
        &rule("urgent", "priority = 1\nready = { linger = \"0s\", trust_close = \"always\" }"),
    ]);
    world.sh(
        "mkdir large urgent; seq 2000000 | sed 's/$/,some text of a payment/' > large/1; cp large/1 large/2",
    );
    let mut service = world.start();
    service.wait_until("both are at work", || {
        let jobs = world.jobs();
        (jobs.iter().filter(|job| job["state"] == "running").count() == 2).then_some(())
    });
    let mut slowest = Duration::ZERO;
    for number in 0..FILES {
        let begun = Instant::now();
        world.move_in(&format!("urgent/{number}"), lines(3));
        service.wait_for(&world, &format!("out/urgent/{number}.main"));
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < AT_MOST, "{slowest:?}");
    let jobs = world.jobs();
    assert!(jobs.iter().filter(|job| job["rule"] == "urgent").all(|job| job["priority"] == 1), "{jobs:#?}");
    service.kill();
}
