//! Promise: one rule does not wait for another, whatever its jobs do, and a sender of many files does not keep another of the same rule waiting.
#![cfg(unix)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{Service, World, lines};

/// Files that are timed.
const FILES: usize = 25;
/// None of them may take longer. The promise is a second; a machine that builds and tests beside it is given one more.
const AT_MOST: Duration = Duration::from_secs(2);

/// A rule whose files lie in a folder of its name.
fn rule(name: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"
         paths = [\"{name}/**/*\"]
         output = {{ main = {{ path = \"out/{name}/{{stem}}.main\" }} }}
         {more}"
    )
}

/// A step whose child answers nothing for as long as the test lasts.
const HANGS: &str =
    "pipeline = [{ step = \"exec\", confine = false, command = [\"./hangs\"], timeout = \"1h\" }]";
/// One that answers all that it is asked, and then takes its time, or for ever.
const ENDS_LATE: &str = "pipeline = [{ step = \"exec\", confine = false, command = [\"./ends-late\"] }]";
const NEVER_ENDS: &str =
    "pipeline = [{ step = \"exec\", confine = false, command = [\"./never-ends\"], timeout = \"1h\" }]";

fn world(rules: &[String]) -> World {
    let world = World::bare();
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    world.configure("workers = 2\nscan_every = \"100ms\"\nstop_timeout = \"2s\"", &rules);
    world.write("hangs", "#!/bin/sh\nexec sleep 3600\n");
    let answers = "#!/bin/sh\nwhile IFS= read -r line; do echo \"$line\"; done\ntouch answered-$$\n";
    world.write("ends-late", format!("{answers}exec sleep 20\n"));
    world.write("never-ends", format!("{answers}exec sleep 3600\n"));
    world.sh("chmod +x hangs ends-late never-ends; mkdir small");
    world
}

/// Small files, one after another: each must be published soon.
#[track_caller]
fn assert_served(service: &mut Service, world: &World, folder: &str, rule: &str) {
    let mut slowest = Duration::ZERO;
    for number in 0..FILES {
        let begun = Instant::now();
        world.move_in(&format!("{folder}/{number}.txt"), lines(3));
        service.wait_for(world, &format!("out/{rule}/{number}.main"));
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < AT_MOST, "{slowest:?}\n{}", service.log());
}

/// Its jobs run for the whole test, so that nobody waits for the service to stop by itself.
fn end(service: Service) {
    service.kill();
}

#[test]
fn rules_whose_children_hang_hold_up_no_other() {
    let hanging: Vec<_> = (0..5).map(|number| rule(&format!("hangs-{number}"), HANGS)).collect();
    let world = world(&[hanging, vec![rule("small", "")]].concat());
    for number in 0..5 {
        world.sh(&format!("mkdir hangs-{number}"));
        for file in 0..30 {
            world.write(format!("hangs-{number}/{file}.txt"), lines(5));
        }
    }
    let mut service = world.start();
    service.wait_until("every hanging rule is at work", || {
        let running = world.landfall(&["jobs", "--state", "running", "--json"]).stdout;
        (0..5).all(|number| running.contains(&format!("hangs-{number}"))).then_some(())
    });
    assert_served(&mut service, &world, "small", "small");
    end(service);
}

/// Their outputs lie on the same file system, whose finishers are the same.
#[test]
fn rules_whose_children_have_answered_and_do_not_end_hold_up_no_other() {
    for pipeline in [ENDS_LATE, NEVER_ENDS] {
        let world = world(&[rule("slow", pipeline), rule("as-slow", pipeline), rule("small", "")]);
        for folder in ["slow", "as-slow"] {
            world.sh(&format!("mkdir {folder}"));
            for file in 0..30 {
                world.write(format!("{folder}/{file}.txt"), lines(5));
            }
        }
        let mut service = world.start();
        let answered = || world.files(".").iter().filter(|name| name.starts_with("answered-")).count();
        service.wait_until("children of both have answered", || (answered() >= 2).then_some(()));
        assert_served(&mut service, &world, "small", "small");
        let published = world
            .files("out")
            .into_iter()
            .filter(|name| Path::new(name).extension().is_some_and(|it| it == "main"));
        let is_any_slow = published.into_iter().any(|name| !name.starts_with("small"));
        assert!(pipeline == ENDS_LATE || !is_any_slow, "none has had its last word");
        end(service);
    }
}

#[test]
fn large_files_of_one_rule_hold_up_no_other() {
    let world = world(&[rule("large", ""), rule("small", "")]);
    world.sh("mkdir large; seq 1 2000000 | sed 's/$/,some text of a payment/' > large/1.txt; for n in 2 3 4; do ln large/1.txt large/$n.txt; done");
    world.sh("for n in 2 3 4; do cp large/$n.txt copy; mv copy large/$n.txt; done");
    let mut service = world.start();
    service.wait_for_log("claimed");
    assert_served(&mut service, &world, "small", "small");
    end(service);
}

#[test]
fn a_sender_of_many_files_that_hang_holds_up_no_other_sender_of_its_rule() {
    let step = "#!/bin/sh\nread -r line\ncase $line in hang*) exec sleep 3600;; *) echo \"$line\"; exec cat;; esac\n";
    let world = world(&[rule(
        "shared",
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./some\"], timeout = \"1h\" }]",
    )]);
    world.write("some", step);
    world.sh("chmod +x some; mkdir -p shared/one shared/other");
    for file in 0..40 {
        world.write(format!("shared/one/hangs-{file}.txt"), "hang\n");
    }
    let mut service = world.start();
    service.wait_until("it hangs", || {
        let running = world.landfall(&["jobs", "--state", "running", "--json"]).stdout;
        running.contains("hangs-").then_some(())
    });
    assert_served(&mut service, &world, "shared/other", "shared");
    end(service);
}
