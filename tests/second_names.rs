//! Promise: however many names a file has, and whenever they are made, its records are published once; every name that waits says for what.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use support::{Service, World, lines};

use serde_json::Value;

const LONG: Duration = Duration::from_secs(30);

const GATED: &str = "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], protocol = \"line\", timeout = \"60s\" }]\n";

fn is_completed(world: &World, id: &str) -> bool {
    world.jobs().iter().any(|job| job["id"] == id && job["state"] == "completed")
}

fn wait_for_reason(service: &mut Service, world: &World, name: &str, words: &[&str]) {
    service.wait_until(&format!("{name} waits for {words:?}"), || {
        let said = world.json(&["explain", name, "--json"])["waits"].to_string();
        words.iter().all(|word| said.contains(word)).then_some(())
    });
}

/// A job in its middle, of a file that has these names.
fn in_the_middle(source: &str, links: &str) -> (World, Service, Value) {
    let world = World::new(&format!("{GATED}source = {source}"));
    world.write_gate();
    world.write("staging/x", lines(3000));
    let mut service = world.start();
    service.wait_until_it_watches();
    world.sh(links);
    service.wait_for(&world, "reached");
    let job = world.job();
    (world, service, job)
}

/// Once this file is published, all that came before it was seen, by events and by a scan.
fn settle(service: &mut Service, world: &World, name: &str) {
    world.move_in(&format!("in/{name}.txt"), "one\n");
    service.wait_for(world, &format!("out/{name}.main"));
}

/// Goal: a name that is made while the job of its file is unfinished, and outlives it, publishes nothing, now or after a restart.
fn is_published_once(source: &str, links: &str, second: &str) {
    let (world, mut service, job) = in_the_middle(source, links);
    let id = job["id"].as_str().expect("a job has an id");
    world.sh(second);
    wait_for_reason(&mut service, &world, "in/second.txt", &["another name of", "pay.txt", id, "has taken"]);
    settle(&mut service, &world, "durable"); // that it runs, too
    service.kill();
    let mut service = world.start();
    wait_for_reason(&mut service, &world, "in/second.txt", &["another name of", "pay.txt", id, "has taken"]);
    world.write("go", "");
    service.wait_until("it is done", || is_completed(&world, id).then_some(()));
    let published = ["another name of", "pay.txt", id, "has published"];
    wait_for_reason(&mut service, &world, "in/second.txt", &published);
    settle(&mut service, &world, "other");
    service.stop();
    let mut service = world.start();
    wait_for_reason(&mut service, &world, "in/second.txt", &published);
    settle(&mut service, &world, "later");
    assert_eq!(world.files("out"), ["durable.main", "later.main", "other.main", "pay.main"]);
    assert_eq!(world.text("out/pay.main"), lines(3000));
    // Whoever means to have it once more copies it.
    world.sh("cp in/second.txt .copy; mv .copy in/copy.txt");
    service.wait_for(&world, "out/copy.main");
    // What is written anew is another file.
    world.sh("echo new >> in/second.txt");
    service.wait_for(&world, "out/second.main");
    service.stop();
}

#[test]
fn a_link_from_elsewhere_that_is_made_while_its_file_is_worked_doubles_nothing_where_sources_are_archived() {
    is_published_once(
        "{ on_success = \"archive\", archive_dir = \"archive\" }",
        "ln staging/x in/pay.txt",
        "ln staging/x in/second.txt",
    );
}

#[test]
fn a_link_to_a_claimed_file_doubles_nothing_where_sources_are_deleted() {
    is_published_once(
        "{ on_success = \"delete\" }",
        "mv staging/x in/pay.txt",
        "ln in/.landfall/*.pay.txt in/second.txt",
    );
}

#[test]
fn a_name_of_a_file_whose_job_failed_waits_and_a_retry_publishes_it_once() {
    let world = World::new(
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], protocol = \"line\" }]",
    );
    world.write("gate", "#!/bin/sh\n[ -e go ] || { touch reached; while [ ! -e fail ]; do sleep 0.02; done; exit 1; }\nexec cat\n");
    world.sh(&format!(
        "sed -i 's#-e #-e {}/#g; s#touch #touch {0}/#' gate; chmod +x gate",
        world.folder().display()
    ));
    world.write("staging/x", "one\n");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.sh("ln staging/x in/pay.txt");
    service.wait_for(&world, "reached");
    world.sh("ln staging/x in/second.txt; touch fail");
    let job = service.wait_until("it fails", || Some(world.job()).filter(|job| job["state"] == "failed"));
    let id = job["id"].as_str().expect("a job has an id");
    wait_for_reason(&mut service, &world, "in/second.txt", &["another name of", id, "failed"]);
    world.write("go", "");
    world.landfall(&["retry", id]).done();
    service.wait_for(&world, "out/pay.main");
    wait_for_reason(&mut service, &world, "in/second.txt", &["another name of", id, "has published"]);
    service.stop();
    assert_eq!(world.files("out"), ["pay.main"]);
}

#[test]
fn what_an_operator_names_is_not_taken_while_the_job_of_its_other_name_is_unfinished() {
    let (world, service, job) = in_the_middle("{ on_success = \"delete\" }", "ln staging/x in/pay.txt");
    let id = job["id"].as_str().expect("a job has an id");
    let is_refused = || {
        let ingest = world.landfall(&["ingest", "staging/x", "--rule", "payments"]);
        ingest.ends_with(1).says(&["another name of", id]);
        assert_eq!(world.jobs().len(), 1);
    };
    is_refused();
    service.kill();
    is_refused(); // nor where no service runs
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "out/pay.main"); // by the same job, or another if that had not begun durably
    service.stop();
    assert_eq!(world.files("out"), ["pay.main"]);
}

#[test]
fn links_that_a_backup_makes_elsewhere_hold_up_nothing() {
    let world = World::new("");
    let mut service = world.start();
    service.wait_until_it_watches();
    for number in 0..20 {
        world.write(format!("staging/{number}.txt"), format!("{number}\n"));
        world.sh(&format!("cp -al staging backup-{number}; [ $(stat -c %h staging/{number}.txt) = 2 ]"));
        world.sh(&format!("mv staging/{number}.txt in/; cp -al in later-{number} || true"));
    }
    service.wait_until("all are archived", || (world.files("archive").len() == 20).then_some(()));
    service.stop();
    assert_eq!(world.files("out").len(), 20);
    for number in 0..20 {
        assert_eq!(world.text(format!("backup-{number}/{number}.txt")), format!("{number}\n"));
    }
}

/// Goal: a link that is made at the moment of the claim doubles nothing.
/// Method: a sender who has another name of each file links it as soon as he sees that it is claimed, and the next one just before that.
/// `LANDFALL_TEST_RACE_FILES` makes it longer.
#[test]
fn a_second_name_that_is_aimed_at_the_moment_of_the_claim_doubles_nothing() {
    let files =
        std::env::var("LANDFALL_TEST_RACE_FILES").map_or(60, |count| count.parse().expect("a number"));
    let world = World::new("ready = { stable_for = \"50ms\", linger = \"0s\" }");
    let mut service = world.start();
    service.wait_until_it_watches();
    let staged = |number: usize| world.path(format!("staging/{number}"));
    for number in 0..files {
        world.write(format!("staging/{number}"), format!("{number}\n"));
    }
    let watched = |name: &str, number: usize| world.path(format!("in/{name}-{number:05}"));
    for number in 0..files {
        std::fs::hard_link(staged(number), watched("a", number)).expect("links");
    }
    let link = |number: usize| std::fs::hard_link(staged(number), watched("b", number)).unwrap_or(());
    let begun = Instant::now();
    for number in 0..files {
        let has = |name: &str| world.has(format!("in/{name}-{number:05}"));
        while has("a") && !has("b") && begun.elapsed() < LONG {
            std::hint::spin_loop();
        }
        link(number);
        if number % 2 == 0 && number + 1 < files {
            link(number + 1);
        }
    }
    let names = |folder: &str, beginning: &str| {
        world.files(folder).into_iter().filter(|name| name.starts_with(beginning)).collect::<Vec<_>>()
    };
    service.wait_until("all are archived", || {
        for first in names("in", "a-") {
            let second = world.path(format!("in/b{}", &first[1..]));
            if second.try_exists().unwrap_or(false) {
                support::remove(&second); // it was given back
            }
        }
        (names("archive", "a-").len() == files).then_some(())
    });
    settle(&mut service, &world, "settled");
    eprintln!("{} of {files} got their second name behind their claim", names("in", "b-").len());
    service.stop();
    assert_eq!((names("out", "a-").len(), names("out", "b-").len()), (files, 0));
}

/// Goal: what is said of names that wait is true also where the file came to stay by another one of its names meanwhile.
#[test]
fn names_of_a_file_that_an_operator_had_kept_by_another_one_wait_for_that_and_not_for_each_other() {
    let world = World::bare();
    let kept = "name = \"kept\"\npaths = [\"kept/*\"]\nsource = { on_success = \"keep\" }\n\
                ready = { strategy = \"marker\", marker = \"{name}.done\" }\n\
                output = { main = { path = \"out/kept-{stem}.main\" } }";
    world.configure("", &["", kept]);
    world.sh("mkdir in kept");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.write("x", "one\n");
    world.sh("ln x kept/x.txt");
    wait_for_reason(&mut service, &world, "kept/x.txt", &["marker"]);
    world.sh("ln x in/first.txt; ln x in/second.txt");
    wait_for_reason(&mut service, &world, "in/first.txt", &["another name that is watched"]);
    world.landfall(&["ingest", "kept/x.txt", "--rule", "kept", "--retire"]).done();
    for name in ["in/first.txt", "in/second.txt"] {
        wait_for_reason(&mut service, &world, name, &["took it as ", "kept/x.txt"]);
        assert!(!world.json(&["explain", name, "--json"])["kept"].is_null());
    }
    settle(&mut service, &world, "settled");
    service.stop();
    assert_eq!(world.files("out"), ["kept-x.main", "settled.main"]);
}
