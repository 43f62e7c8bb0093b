//! Promise: where a rule has a `sequence`, its jobs go one after another in the rule's order, over kills, and stop behind one that failed
//! until it is retried with success or given up; what waits says behind which job.
#![cfg(unix)]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Service, World, lines};

fn rule(name: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\npaths = [\"{name}/*\", \"{name}/{{sender}}/*\"]\nerrors = {{ on_record_error = \"fail\" }}
output = {{ main = {{ path = \"out/{name}-{{stem}}.main\" }} }}
pipeline = [{{ step = \"exec\", confine = false, command = [\"./judge\"], protocol = \"jsonl\" }}]\n{more}"
    )
}

/// A step that waits at `hold` until the file `go` is there, and fails `bad` until the file `mended` is.
fn world(rules: &[&str]) -> World {
    let world = World::bare();
    world.configure("workers = 4", rules);
    world.sh("mkdir -p a/one a/two");
    world.write(
        "judge",
        format!(
            "#!/usr/bin/env python3
import json, os, sys, time
os.chdir('{}')
for line in sys.stdin:
    data = json.loads(line)['data']
    if 'hold' in data:
        open('reached', 'w').close()
        while not os.path.exists('go'): time.sleep(0.02)
    if 'bad' in data and not os.path.exists('mended'):
        print(json.dumps({{'fail': 'it is bad'}}), flush=True)
    else:
        print(json.dumps({{'data': data}}), flush=True)
",
            world.folder().display()
        ),
    );
    world.sh("chmod +x judge");
    world
}

fn job_of(world: &World, name: &str) -> Option<Value> {
    let jobs = world.jobs();
    jobs.into_iter().find(|job| job["source"].as_str().is_some_and(|path| path.ends_with(name)))
}

fn id_of(job: &Value) -> String {
    job["id"].as_str().expect("an id is text").to_owned()
}

/// Waits until the job of a file is in this state.
#[track_caller]
fn wait_until(service: &mut Service, world: &World, name: &str, state: &str) -> Value {
    let what = format!("{name} is {state}");
    service.wait_until(&what, || job_of(world, name).filter(|job| job["state"] == state))
}

/// Waits until the job of a file says that it is behind that of another one.
#[track_caller]
fn wait_until_behind(service: &mut Service, world: &World, name: &str, other: &str, has: &str) {
    service.wait_until(&format!("{name} is behind {other}, which {has}"), || {
        let job = job_of(world, name)?;
        let told = job["waiting"]["detail"].as_str()?;
        let is_it = job["waiting"]["for"] == "sequence" && told.contains(other) && told.contains(has);
        is_it.then_some(())
    });
}

fn started_in_order(world: &World, rule: &str) -> Vec<String> {
    let mut jobs: Vec<_> = world.jobs().into_iter().filter(|job| job["rule"] == rule).collect();
    jobs.sort_by_key(|job| job["started_at"].as_str().expect("has begun").to_owned());
    for pair in jobs.windows(2) {
        let (ended, began) = (pair[0]["finished_at"].as_str(), pair[1]["started_at"].as_str());
        assert!(ended <= began, "one at a time: {pair:#?}");
    }
    let name =
        |job: &Value| job["source"].as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    jobs.iter().map(|job| name(job).expect("a name")).collect()
}

#[test]
fn jobs_go_one_after_another_in_the_rules_order_over_a_kill_while_another_rule_goes_on() {
    let world = world(&[&rule("a", "sequence = \"rule\"\norder = \"name\""), &rule("b", "")]);
    world.sh("mkdir b");
    let mut service = world.start();
    world.move_in("a/m.txt", "hold\n");
    service.wait_for(&world, "reached");
    for name in ["z", "one/c", "d", "two/a"] {
        world.move_in(&format!("a/{name}.txt"), lines(3));
    }
    for number in 100..103 {
        world.move_in(&format!("a/n{number}.txt"), lines(2));
    }
    wait_until_behind(&mut service, &world, "z.txt", "m.txt", "has begun");
    wait_until_behind(&mut service, &world, "n102.txt", "m.txt", "has begun");
    world.move_in("b/other.txt", lines(2));
    service.wait_for(&world, "out/b-other.main");
    service.kill();
    let mut service = world.start();
    wait_until_behind(&mut service, &world, "a.txt", "m.txt", "has begun");
    world.write("go", "");
    // Each has a program of its own to start.
    service.wait_until_within(Duration::from_mins(3), "the last one is done", || {
        job_of(&world, "z.txt").filter(|job| job["state"] == "completed")
    });
    service.stop();
    let numbered = (100..103).map(|number| format!("n{number}.txt"));
    let begun_before = ["m.txt", "a.txt", "c.txt", "d.txt"].map(str::to_owned).into_iter();
    let expected: Vec<_> = begun_before.chain(numbered).chain(["z.txt".to_owned()]).collect();
    assert_eq!(started_in_order(&world, "a"), expected);
}

#[test]
fn a_sequence_stops_behind_a_failed_job_over_a_kill_until_it_is_retried_with_success() {
    let world = world(&[&rule("a", "sequence = \"rule\"")]);
    let mut service = world.start();
    world.move_in("a/1.txt", "bad\n");
    let failed = id_of(&wait_until(&mut service, &world, "1.txt", "failed"));
    for name in ["2.txt", "3.txt"] {
        world.move_in(&format!("a/{name}"), lines(2));
        wait_until_behind(&mut service, &world, name, &failed, "failed");
    }
    service.kill();
    world.landfall(&["show", &id_of(&job_of(&world, "2.txt").expect("is claimed"))]).done().says(&[
        "waiting    for sequence",
        &failed,
        "landfall retry",
    ]);
    let mut service = world.start();
    wait_until_behind(&mut service, &world, "2.txt", &failed, "failed");
    world.landfall(&["jobs"]).done().says(&["sequence of rule \"a\" stopped behind job", "1.txt"]);
    world
        .landfall(&["status"])
        .ends_with(1)
        .says(&["the sequence of rule \"a\" stopped behind job", &failed]);
    world.landfall(&["show", &failed]).done().says(&["the sequence of rule \"a\" stopped behind"]);
    // It is retried: nothing is left for an operator to do.
    world.landfall(&["pause", "--rule", "a"]).done();
    world.landfall(&["retry", &failed]).done();
    let says_so = || {
        let status = world.landfall(&["status"]);
        assert!(!status.stdout.contains("stopped behind"), "{}", status.stdout);
        let waits = format!("waits for job {failed}");
        world.landfall(&["jobs"]).done().says(&[&waits, "which failed and is retried"]);
    };
    says_so();
    service.kill();
    says_so();
    let mut service = world.start();
    // It fails again, and nobody passes it.
    world.landfall(&["resume", "--rule", "a"]).done();
    service.wait_until("it failed again", || {
        let job = job_of(&world, "1.txt").filter(|job| job["state"] == "failed")?;
        (job["attempts"].as_u64() > Some(1)).then_some(())
    });
    wait_until_behind(&mut service, &world, "2.txt", &failed, "failed");
    world.landfall(&["status"]).ends_with(1).says(&["the sequence of rule \"a\" stopped behind job"]);
    assert!(!world.has("out/a-2.main"));
    world.write("mended", "");
    world.landfall(&["retry", &failed]).done();
    wait_until(&mut service, &world, "3.txt", "completed");
    world.landfall(&["status"]).done();
    service.stop();
    assert_eq!(started_in_order(&world, "a").len(), 3);
    assert_eq!(world.text("out/a-1.main"), "bad\n");
}

#[test]
fn who_gives_a_failed_job_up_has_those_behind_it_go_on_and_may_retry_it_later() {
    for runs in [true, false] {
        let world = world(&[&rule("a", "sequence = \"rule\"")]);
        let mut service = world.start();
        world.move_in("a/1.txt", "bad\n");
        let failed = id_of(&wait_until(&mut service, &world, "1.txt", "failed"));
        world.move_in("a/2.txt", lines(2));
        wait_until_behind(&mut service, &world, "2.txt", &failed, "failed");
        let mut service = Some(service);
        if !runs {
            service.take().expect("it runs").stop();
        }
        let abandon = |more: &[&str]| {
            let words = ["abandon", failed.as_str(), "--reason", "sent by mail"];
            world.landfall(&[&words[..], more].concat())
        };
        abandon(&["--dry-run"]).done().says(&["would be abandoned"]);
        abandon(&[]).done().says(&["abandoned by root: sent by mail"]);
        abandon(&[]).ends_with(1).says(&["it has ended"]);
        let mut service = service.unwrap_or_else(|| world.start());
        wait_until(&mut service, &world, "2.txt", "completed");
        let job = wait_until(&mut service, &world, "1.txt", "aborted");
        assert!(job["retired_to"].as_str().is_some_and(|place| place.contains("quarantine")), "{job:#}");
        world.write("mended", "");
        world.landfall(&["retry", &failed]).done();
        wait_until(&mut service, &world, "1.txt", "completed");
        service.stop();
    }
}

#[test]
fn a_folder_has_a_sequence_of_its_own_and_who_takes_the_sequence_out_of_the_rule_has_its_jobs_go_on() {
    let of_folders = rule("a", "sequence = \"folder\"");
    let world = world(&[&of_folders]);
    let mut service = world.start();
    world.move_in("a/one/1.txt", "bad\n");
    let failed = id_of(&wait_until(&mut service, &world, "1.txt", "failed"));
    world.move_in("a/one/2.txt", lines(2));
    world.move_in("a/two/3.txt", lines(2));
    wait_until(&mut service, &world, "3.txt", "completed");
    wait_until_behind(&mut service, &world, "2.txt", &failed, "failed");
    world.configure("workers = 4", &[&rule("a", "")]);
    world.landfall(&["reload"]).done().says(&["changed: a"]);
    wait_until(&mut service, &world, "2.txt", "completed");
    world.configure("workers = 4", &[&of_folders]);
    world.landfall(&["reload"]).done();
    world.move_in("a/one/4.txt", lines(2));
    wait_until_behind(&mut service, &world, "4.txt", &failed, "failed");
    service.stop();
}

#[test]
fn a_job_that_is_aborted_or_paused_in_its_place_lets_others_pass_or_holds_them_up() {
    let world = world(&[&rule("a", "sequence = \"rule\"")]);
    let mut service = world.start();
    world.move_in("a/1.txt", "hold\n");
    service.wait_for(&world, "reached");
    for name in ["2.txt", "3.txt"] {
        world.move_in(&format!("a/{name}"), lines(2));
        wait_until_behind(&mut service, &world, name, "1.txt", "has begun");
    }
    let id = |name: &str| id_of(&job_of(&world, name).expect("is claimed"));
    world.landfall(&["pause", &id("2.txt")]).done();
    world.landfall(&["abort", &id("1.txt")]).done();
    world.write("go", "");
    wait_until_behind(&mut service, &world, "3.txt", "2.txt", "comes first");
    assert!(!world.has("out/a-3.main"));
    world.landfall(&["resume", &id("2.txt")]).done();
    wait_until(&mut service, &world, "3.txt", "completed");
    service.stop();
}

/// Whoever was paused in its place has begun nothing that a restart would go on with.
#[test]
fn paused_jobs_keep_their_places_over_a_kill_and_go_one_after_another_when_they_are_resumed() {
    let world = world(&[&rule("a", "sequence = \"rule\"")]);
    let mut service = world.start();
    world.move_in("a/1.txt", "hold\n");
    service.wait_for(&world, "reached");
    for name in ["2.txt", "3.txt", "4.txt"] {
        world.move_in(&format!("a/{name}"), "hold\n");
        wait_until_behind(&mut service, &world, name, "1.txt", "has begun");
    }
    let id = |name: &str| id_of(&job_of(&world, name).expect("is claimed"));
    world.landfall(&["pause", &id("3.txt"), &id("4.txt")]).done();
    service.kill();
    let mut service = world.start();
    wait_until_behind(&mut service, &world, "2.txt", "1.txt", "has begun");
    world.write("go", "");
    wait_until(&mut service, &world, "2.txt", "completed");
    world.landfall(&["resume", &id("4.txt")]).done().says(&["no longer paused; it waits", &id("3.txt")]);
    wait_until_behind(&mut service, &world, "4.txt", "3.txt", "comes first");
    world.landfall(&["resume", "--state", "paused"]).done();
    wait_until(&mut service, &world, "4.txt", "completed");
    service.stop();
    assert_eq!(started_in_order(&world, "a"), ["1.txt", "2.txt", "3.txt", "4.txt"]);
}

#[test]
fn jobs_that_had_failed_before_their_rule_had_a_sequence_are_retried_one_after_another_over_a_kill() {
    let world = world(&[&rule("a", "")]);
    let mut service = world.start();
    world.write("go", "");
    for name in ["1.txt", "2.txt", "3.txt"] {
        world.move_in(&format!("a/{name}"), "bad hold\n");
        wait_until(&mut service, &world, name, "failed");
    }
    world.sh("rm go reached; touch mended");
    world.configure("workers = 4", &[&rule("a", "sequence = \"rule\"")]);
    world.landfall(&["reload"]).done().says(&["changed: a"]);
    world.landfall(&["pause", "--rule", "a"]).done();
    world.landfall(&["retry", "--rule", "a"]).done();
    service.kill();
    let mut service = world.start();
    world.landfall(&["resume", "--rule", "a"]).done();
    service.wait_for(&world, "reached");
    for name in ["2.txt", "3.txt"] {
        wait_until_behind(&mut service, &world, name, "1.txt", "has begun");
    }
    world.write("go", "");
    wait_until(&mut service, &world, "3.txt", "completed");
    service.stop();
}

/// The one that is retried comes first by its sequence and by its key: neither waits for the other.
#[test]
fn a_job_that_is_retried_and_a_later_delivery_of_its_key_both_come_to_their_end() {
    for word in ["fails", "is aborted"] {
        let keyed = "sequence = \"rule\"\ndelivery = { key = \"{stem}\", same_key = \"correction\" }";
        let world = world(&[&rule("a", keyed)]);
        let mut service = world.start();
        world.move_in("a/0.txt", "hold\n");
        service.wait_for(&world, "reached");
        world.move_in("a/pay.txt", "bad\n");
        wait_until_behind(&mut service, &world, "a/pay.txt", "0.txt", "has begun");
        let first = id_of(&job_of(&world, "a/pay.txt").expect("is claimed"));
        if word == "is aborted" {
            world.landfall(&["abort", &first]).done();
        } else {
            world.write("go", "");
        }
        let is_over = |job: &Value| job["state"] == "failed" || job["state"] == "aborted";
        service.wait_until("it is over", || job_of(&world, "a/pay.txt").filter(is_over));
        world.move_in("a/one/pay.txt", "later\n");
        wait_until_it_is_in_the_sequence(&mut service, &world, "one/pay.txt");
        world.sh("touch mended");
        world.landfall(&["retry", &first]).done();
        world.write("go", "");
        for name in ["a/pay.txt", "one/pay.txt"] {
            let job = wait_until(&mut service, &world, name, "completed");
            assert_eq!(job["revision"], if name == "a/pay.txt" { 1 } else { 2 }, "{job:#}");
        }
        service.stop();
    }
}

fn wait_until_it_is_in_the_sequence(service: &mut Service, world: &World, name: &str) {
    service.wait_until(&format!("{name} is behind another one"), || {
        job_of(world, name).filter(|job| job["waiting"]["for"] == "sequence").map(drop)
    });
}

#[test]
fn a_file_that_comes_before_a_failed_one_by_its_name_goes_on_and_those_behind_that_do_not() {
    let world = world(&[&rule("a", "sequence = \"rule\"\norder = \"name\"")]);
    let mut service = world.start();
    world.move_in("a/m.txt", "bad\n");
    let failed = id_of(&wait_until(&mut service, &world, "m.txt", "failed"));
    world.move_in("a/n.txt", lines(2));
    wait_until_behind(&mut service, &world, "n.txt", &failed, "failed");
    world.move_in("a/d.txt", lines(2));
    wait_until(&mut service, &world, "d.txt", "completed");
    wait_until_behind(&mut service, &world, "n.txt", &failed, "failed");
    service.stop();
}

#[test]
fn a_sequence_that_could_wait_for_itself_or_is_of_one_sender_alone_is_refused() {
    let world =
        world(&[&rule("a", "sequence = \"rule\"\norder = \"name\"\ndelivery = { key = \"{stem}\" }")]);
    world.landfall(&["check"]).ends_with(2).says(&["sequence", "deliveries of a key", "order = \"arrival\""]);
    let of_sender = "override = [{ if = { sender = \"one\" }, sequence = \"rule\" }]";
    world.configure("workers = 4", &[&rule("a", of_sender)]);
    world.landfall(&["check"]).ends_with(2).says(&["sequence", "one for all files of the rule"]);
}
