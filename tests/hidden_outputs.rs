//! Promise: an output counts as published only where it was, or where nobody alive can know better. A hidden file that somebody removed
//! while its job waited is missed, told, and waits for an operator's word, across restarts too.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{Service, World, lines};

/// A folder under the output's name refuses the rename whoever runs the service.
const REPLACES: &str = r#"output = { main = { path = "out/{stem}.main", on_exists = "replace" } }"#;
const TWO: &str = r#"
    pipeline = [{ step = "route", when = [{ if = { matches = "2$" }, to = "twos" }] }]
    output = { main = { path = "out/{stem}.main", on_exists = "replace" }, twos = { path = "out/{stem}.twos", on_exists = "replace" } }
"#;

fn is_hidden(name: &str) -> bool {
    name.starts_with(".landfall-")
}

fn hidden(world: &World) -> Vec<String> {
    let listed = std::fs::read_dir(world.path("out")).expect("it can be listed");
    let names = listed.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| is_hidden(name)).collect()
}

fn remove_hidden(world: &World) {
    for name in hidden(world) {
        support::remove(&world.path("out").join(name));
    }
}

#[track_caller]
fn wait_for(service: &mut Service, world: &World, what: &str) -> Value {
    service.wait_until(what, || {
        let job = world.jobs().into_iter().next()?;
        (job["state"] == "publishing" && job["waiting"]["for"] == what).then_some(job)
    })
}

/// A job that is publishing, and cannot rename the output that is blocked.
fn held_in_publishing(world: &World, blocked: &str) -> Service {
    std::fs::create_dir_all(world.path(blocked)).expect("made");
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(3));
    service.wait_until("it waits in the middle of publishing", || {
        let job = world.jobs().into_iter().next()?;
        (job["state"] == "publishing" && job["waiting"].is_object()).then_some(())
    });
    service
}

fn unblock(world: &World, blocked: &str) {
    std::fs::remove_dir(world.path(blocked)).expect("removed");
}

#[test]
fn a_hidden_output_that_was_removed_is_missed_and_a_retry_makes_it_again() {
    for restarts in [false, true] {
        let world = World::new(REPLACES);
        let take_away = || {
            remove_hidden(&world);
            unblock(&world, "out/pay.main");
        };
        let mut service = held_in_publishing(&world, "out/pay.main");
        if restarts {
            service.kill();
            take_away();
            service = world.start();
        } else {
            take_away();
        }
        let job = wait_for(&mut service, &world, "settling");
        assert!(job["error"]["message"].as_str().is_some_and(|text| text.contains("was removed")), "{job:#}");
        assert!(job["error"]["hint"].as_str().is_some_and(|text| text.contains("landfall retry")), "{job:#}");
        assert!(!world.has("out/pay.main") && !world.has("archive/pay.txt"));
        world.landfall(&["retry", job["id"].as_str().expect("an id")]).done();
        service.wait_for(&world, "archive/pay.txt");
        service.stop();
        assert_eq!(world.text("out/pay.main"), lines(3));
        assert_eq!(hidden(&world), [""; 0]);
        world.completed();
    }
}

#[test]
fn a_hidden_output_that_comes_back_is_published() {
    let world = World::new(REPLACES);
    let mut service = held_in_publishing(&world, "out/pay.main");
    let name = hidden(&world).pop().expect("a hidden file");
    support::rename(&world.path("out").join(&name), &world.path("elsewhere"));
    unblock(&world, "out/pay.main");
    wait_for(&mut service, &world, "settling");
    support::rename(&world.path("elsewhere"), &world.path("out").join(&name));
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), lines(3));
}

#[test]
fn another_file_in_the_place_of_a_hidden_output_is_not_published() {
    let world = World::new(REPLACES);
    let mut service = held_in_publishing(&world, "out/pay.main");
    let name = hidden(&world).pop().expect("a hidden file");
    world.write("planted", lines(3));
    support::rename(&world.path("planted"), &world.path("out").join(&name));
    unblock(&world, "out/pay.main");
    wait_for(&mut service, &world, "settling");
    service.stop();
    assert!(!world.has("out/pay.main"));
}

/// What has appeared cannot be taken back: only the operator can say that the rest is to be gone without.
#[test]
fn where_a_part_is_published_a_retry_is_refused_and_the_operator_can_go_on_without_the_rest() {
    let world = World::new(TWO);
    let service = held_in_publishing(&world, "out/pay.twos");
    assert!(world.has("out/pay.main"), "it comes first");
    service.kill();
    // A consumer took what was published; the other one was removed while it was hidden.
    support::remove(&world.path("out/pay.main"));
    remove_hidden(&world);
    unblock(&world, "out/pay.twos");
    let mut service = world.start();
    let job = wait_for(&mut service, &world, "settling");
    let id = job["id"].as_str().expect("an id");
    world.landfall(&["retry", id]).ends_with(1).says(&["published already", "--accept-missing"]);
    world.landfall(&["retry", "--accept-missing", id]).done();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.files("out"), [""; 0], "what a consumer took does not come again");
    world.landfall(&["show", id]).done().says(&["counts as published, and is not there", "pay.twos"]);
    world.landfall(&["retry", "--accept-missing", id]).ends_with(1).says(&["misses no hidden output"]);
}

#[test]
fn the_word_can_be_given_while_no_service_runs() {
    for arguments in [&["retry"][..], &["retry", "--accept-missing"]] {
        let world = World::new(REPLACES);
        let mut service = held_in_publishing(&world, "out/pay.main");
        remove_hidden(&world);
        unblock(&world, "out/pay.main");
        let job = wait_for(&mut service, &world, "settling");
        service.stop();
        world.landfall(&[arguments, &[job["id"].as_str().expect("an id")]].concat()).done();
        let mut service = world.start();
        service.wait_for(&world, "archive/pay.txt");
        service.stop();
        assert_eq!(world.has("out/pay.main"), arguments.len() == 1);
    }
}

/// An output folder that is removed for good takes the hidden outputs with it: `show` says how the job ends.
#[test]
fn where_the_folder_itself_is_removed_a_retry_makes_it_again() {
    let world = World::new(REPLACES);
    let mut service = held_in_publishing(&world, "out/pay.main");
    std::fs::remove_dir_all(world.path("out")).expect("removed");
    let job = wait_for_folder(&mut service, &world);
    let id = job["id"].as_str().expect("an id");
    world.landfall(&["show", id]).done().says(&["landfall retry", "as planned: not all of them are there"]);
    world.landfall(&["retry", id]).done();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), lines(3));
    world.completed();
}

/// After a kill nobody knows what was published before the folder went.
#[test]
fn where_the_folder_is_removed_and_nobody_knows_more_the_operator_can_go_on_without_it() {
    for marker in ["", "publish = { marker = \"out/{stem}.done\", manifest = \"out/{stem}.json\" }"] {
        let world = World::new(&format!("{REPLACES}\n{marker}"));
        let service = held_in_publishing(&world, "out/pay.main");
        service.kill();
        std::fs::remove_dir_all(world.path("out")).expect("removed");
        let mut service = world.start();
        let job = wait_for_folder(&mut service, &world);
        let id = job["id"].as_str().expect("an id");
        world.landfall(&["retry", "--accept-missing", id]).done();
        service.wait_for(&world, "archive/pay.txt");
        service.stop();
        assert_eq!(world.files("out"), [""; 0]);
        world.landfall(&["show", id]).done().says(&["completed", "counts as published, and is not there"]);
    }
}

#[track_caller]
fn wait_for_folder(service: &mut Service, world: &World) -> Value {
    service.wait_until("it misses the folder", || {
        let job = world.jobs().into_iter().next()?;
        let error = job["error"]["message"].as_str().unwrap_or_default();
        error.contains("is not the one the outputs were written to").then_some(job)
    })
}
