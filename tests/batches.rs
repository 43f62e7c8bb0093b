//! Promise: files that are taken on together are as safe as alone: what hinders one holds up none of the others, and ends with its cause.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{World, assert_balanced, remove};

const FILES: usize = 60;

fn name(number: usize) -> String {
    format!("pay-{number}")
}

/// `FILES` files at once, of which `pay-7` meets an obstacle; how far it came, once all others are done. Then the obstacle goes, and the
/// job must come to its end by itself.
fn one_of_many_is_hindered(rule: &str, obstacle: &str) -> Value {
    let world = World::new(rule);
    for number in 0..FILES {
        world.write(format!("in/{}", name(number)), format!("{number}\n"));
    }
    world.write(obstacle, "a file where a folder is wanted");
    let mut service = world.start();
    let ended = |state: &str| world.jobs().into_iter().filter(|job| job["state"] == state).count();
    service.wait_until("the others are completed", || (ended("completed") == FILES - 1).then_some(()));
    let hindered = service.wait_until("the job says what it waits for", || {
        world.jobs().into_iter().find(|job| job["state"] != "completed" && !job["error"].is_null())
    });
    assert!(hindered["source"].as_str().is_some_and(|path| path.ends_with("/pay-7")), "{hindered:#}");
    remove(&world.path(obstacle));
    service.wait_until("the last is completed", || (ended("completed") == FILES).then_some(()));
    service.stop();
    for number in 0..FILES {
        let of = |folder: &str| world.text(format!("{folder}/{0}/{0}", name(number)));
        assert_eq!(
            [of("out"), of("archive"), of("mark")],
            [format!("{number}\n"), format!("{number}\n"), String::new()]
        );
    }
    let names = ["out", "archive", "mark"].map(|folder| world.files(folder).len());
    assert_eq!(names, [FILES; 3], "nothing doubled, no hidden partial left");
    assert_eq!(world.files("in"), [""; 0]);
    world.jobs().iter().for_each(assert_balanced);
    hindered
}

const EACH_IN_ITS_FOLDER: &str = "output = { main = { path = \"out/{stem}/{stem}\" } }
    publish = { marker = \"mark/{stem}/{stem}\" }
    source = { on_success = \"archive\", archive_dir = \"archive/{stem}\" }";

#[test]
fn an_output_that_cannot_be_made_holds_up_none_of_those_taken_on_with_it() {
    let hindered = one_of_many_is_hindered(EACH_IN_ITS_FOLDER, "out/pay-7");
    assert_eq!(hindered["state"], "held", "{hindered:#}");
}

#[test]
fn a_marker_that_cannot_be_made_holds_up_none_of_those_taken_on_with_it() {
    let hindered = one_of_many_is_hindered(EACH_IN_ITS_FOLDER, "mark/pay-7");
    assert_eq!(hindered["state"], "held", "{hindered:#}");
}

#[test]
fn a_source_that_cannot_be_archived_holds_up_none_of_those_taken_on_with_it() {
    let hindered = one_of_many_is_hindered(EACH_IN_ITS_FOLDER, "archive/pay-7");
    assert_eq!(hindered["state"], "retiring", "it is published: {hindered:#}");
}
