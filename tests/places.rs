//! Promise: what went to a mount before is never begun anew in the bare mount point: it waits, says so, and goes on by itself.
#![cfg(target_os = "linux")]

mod support;

use serde_json::Value;
use support::disk::{Disk, can_mount};
use support::{RULE, Service, World, lines};

const ARCHIVE: &str = "source = { on_success = \"archive\", archive_dir = \"ar/x\" }";

/// Why the first file waits, once it is for that.
#[track_caller]
fn waits(service: &mut Service, world: &World, wanted: &str) -> String {
    service.wait_until("the file says what it waits for", || {
        let listed = world.json(&["jobs", "--json"]);
        let files = listed["files_waiting"].as_array().expect("a list").clone();
        let mut reasons = files.iter().filter_map(|file| file["reason"].as_str());
        reasons.find(|why| why.contains(wanted)).map(str::to_owned)
    })
}

#[test]
fn an_archive_whose_mount_is_away_is_waited_for_over_restarts_and_not_begun_below_it() {
    if !can_mount() {
        return;
    }
    let world = World::with_service("scan_every = \"300ms\"", ARCHIVE);
    let mut disk = Disk::mount(&world.path("ar"), "4m");
    let mut service = world.start();
    world.move_in("in/one.txt", "1\n");
    service.wait_for(&world, "ar/x/one.txt");
    service.wait_until("its job is done", || (world.jobs().first()?["state"] == "completed").then_some(()));
    drop(disk);
    world.move_in("in/two.txt", "2\n");
    let why = waits(&mut service, &world, "went before");
    assert!(why.contains("no file system is mounted at") && why.contains("/ar"), "{why}");
    world.landfall(&["status"]).ends_with(1).says(&["/ar: no file system is mounted here"]);
    service.stop();
    service = world.start();
    waits(&mut service, &world, "went before");
    assert_eq!(world.files("ar"), [""; 0], "nothing is made in the bare mount point");
    disk = Disk::mount(&world.path("ar"), "4m");
    service.wait_for(&world, "ar/x/two.txt");
    world.landfall(&["status"]).done();
    service.stop();
    drop(disk);
}

#[test]
fn a_job_that_is_to_be_archived_waits_for_the_mount_and_an_operator_can_say_that_it_is_right_as_it_is() {
    if !can_mount() {
        return;
    }
    let rule =
        format!("{ARCHIVE}\npipeline = [{{ step = \"exec\", confine = false, command = [\"./gate\"] }}]");
    let world = World::with_service("scan_every = \"300ms\"", &rule);
    world.write_gate();
    let disk = Disk::mount(&world.path("ar"), "4m");
    let mut service = world.start();
    world.move_in("in/one.txt", "1\n");
    service.wait_for(&world, "ar/x/one.txt");
    service.wait_until("its job is done", || (world.jobs().first()?["state"] == "completed").then_some(()));
    world.move_in("in/two.txt", lines(3000));
    service.wait_for(&world, "reached");
    drop(disk);
    world.write("go", "");
    let is_waiting = |job: Value| (job["waiting"]["for"] == "mount").then_some(job);
    let job = service.wait_until("it waits for the mount", || world.jobs().into_iter().find_map(is_waiting));
    let told = job["waiting"]["detail"].as_str().expect("text");
    assert!(told.contains("went before") && told.contains("landfall resume --rule"), "{told}");
    world.landfall(&["status"]).ends_with(1).says(&["went before"]);
    assert_eq!(world.files("ar"), [""; 0]);
    world.landfall(&["resume", "--rule", RULE]).done().says(&["goes on"]);
    service.wait_for(&world, "ar/x/two.txt");
    service.wait_until("both are done", || {
        world.jobs().iter().all(|job| job["state"] == "completed").then_some(())
    });
    world.landfall(&["resume", "--rule", RULE]).done().says(&["was not paused"]);
    service.stop();
}

/// Whether all jobs are done.
#[track_caller]
fn wait_until_done(service: &mut Service, world: &World, count: usize) {
    service.wait_until("the jobs are done", || {
        let jobs = world.jobs();
        (jobs.len() == count && jobs.iter().all(|job| job["state"] == "completed")).then_some(())
    });
}

/// Goal: a disk of one sender's own, below where its rule's folders are spelled out, is known by what went there.
#[test]
fn a_mount_that_a_variable_leads_to_is_waited_for_by_the_files_that_go_there_and_by_no_others() {
    if !can_mount() {
        return;
    }
    let rule = "paths = [\"in/{sender}/*\"]\noutput = { main = { path = \"out/{sender}/{name}\" } }\n\
                source = { on_success = \"archive\", archive_dir = \"ar/{sender}/kept\" }";
    for mount in ["out/acme", "ar/acme"] {
        let world = World::with_service("scan_every = \"300ms\"", rule);
        let mut disk = Disk::mount(&world.path(mount), "4m");
        let mut service = world.start();
        for sender in ["acme", "globex"] {
            world.move_in(&format!("in/{sender}/one.txt"), "1\n");
            service.wait_for(&world, &format!("ar/{sender}/kept/one.txt"));
        }
        wait_until_done(&mut service, &world, 2);
        drop(disk);
        for sender in ["acme", "globex"] {
            world.move_in(&format!("in/{sender}/two.txt"), "2\n");
        }
        let why = waits(&mut service, &world, "went before");
        assert!(why.contains(mount) && why.contains("landfall resume --rule"), "{why}");
        service.wait_for(&world, "ar/globex/kept/two.txt");
        world.landfall(&["explain", "in/acme/two.txt"]).says(&["went before"]);
        world.landfall(&["status"]).ends_with(1).says(&[mount, "no file system is mounted here"]);
        service.stop();
        service = world.start();
        waits(&mut service, &world, "went before");
        assert_eq!(world.files(mount), [""; 0], "nothing is made in the bare mount point");
        disk = Disk::mount(&world.path(mount), "4m");
        service.wait_for(&world, "ar/acme/kept/two.txt");
        wait_until_done(&mut service, &world, 4);
        assert!(world.has("out/acme/two.txt"));
        world.landfall(&["status"]).done();
        service.stop();
        drop(disk);
    }
}

#[test]
fn a_rule_that_is_let_go_on_without_its_mount_lets_no_other_rule_go_on() {
    if !can_mount() {
        return;
    }
    let rule = |name: &str| {
        format!(
            "name = \"{name}\"\npaths = [\"in/{name}/*\"]\noutput = {{ main = {{ path = \"out/{name}/{{name}}\" }} }}\n{ARCHIVE}"
        )
    };
    let world = World::with_service("scan_every = \"300ms\"", &rule("one"));
    world.configure("scan_every = \"300ms\"", &[&rule("one"), &rule("other")]);
    let disk = Disk::mount(&world.path("ar"), "4m");
    let mut service = world.start();
    for name in ["one", "other"] {
        world.move_in(&format!("in/{name}/{name}.txt"), "1\n");
    }
    wait_until_done(&mut service, &world, 2);
    drop(disk);
    for name in ["one", "other"] {
        world.move_in(&format!("in/{name}/{name}-2.txt"), "2\n");
        waits(&mut service, &world, &format!("landfall resume --rule {name}`"));
    }
    world.landfall(&["resume", "--rule", "one", "--sender", "one"]).done().says(&["was not paused"]);
    world.landfall(&["pause", "--rule", "one"]).done();
    let resumed = world.landfall(&["resume", "--rule", "one"]).done();
    assert!(!resumed.stdout.contains("goes on"), "{resumed:#?}");
    resumed.says(&[
        "what needs a mount that is away waits",
        "/ar: files that go there wait",
        "`landfall resume --rule one` once more",
    ]);
    let foretold = ["is not paused", "/ar: files of rule \"one\" would go there as it is"];
    world.landfall(&["resume", "--rule", "one", "--dry-run"]).done().says(&foretold);
    world.landfall(&["resume", "--rule", "one"]).done().says(&["rule \"one\": goes on"]);
    service.wait_for(&world, "ar/x/one-2.txt");
    wait_until_done(&mut service, &world, 3);
    waits(&mut service, &world, "landfall resume --rule other`");
    service.stop();
    service = world.start();
    world.move_in("in/one/one-3.txt", "3\n");
    service.wait_for(&world, "ar/x/one-3.txt");
    waits(&mut service, &world, "landfall resume --rule other`");
    service.stop();
    assert_eq!(world.files("ar/x"), ["one-2.txt", "one-3.txt"]);
}

#[test]
fn who_lets_a_rule_go_on_whose_publish_mount_is_away_is_told_that_it_waits_for_that() {
    if !can_mount() {
        return;
    }
    let world = World::with_service("scan_every = \"300ms\"", "publish = { mount = \"out\" }");
    let disk = Disk::mount(&world.path("out"), "4m");
    let mut service = world.start();
    world.move_in("in/one.txt", "1\n");
    wait_until_done(&mut service, &world, 1);
    drop(disk);
    world.move_in("in/two.txt", "2\n");
    waits(&mut service, &world, "(`publish.mount`)");
    let away = ["no file system is mounted at", "/out (`publish.mount`)"];
    world.landfall(&["resume", "--rule", RULE]).done().says(&["was not paused"]).says(&away);
    world.landfall(&["pause", "--rule", RULE]).done();
    let resumed = world
        .landfall(&["resume", "--rule", RULE])
        .done()
        .says(&["what needs a mount that is away waits"])
        .says(&away);
    assert!(!resumed.stdout.contains("goes on"), "{resumed:#?}");
    waits(&mut service, &world, "(`publish.mount`)");
    let disk = Disk::mount(&world.path("out"), "4m");
    wait_until_done(&mut service, &world, 2);
    service.stop();
    drop(disk);
}

/// Goal: what an operator lets go on goes on, also where what it has hidden so far went with the mount.
#[test]
fn a_job_that_had_begun_on_a_mount_that_goes_waits_and_starts_anew_when_its_rule_is_let_go_on_without_it() {
    if !can_mount() {
        return;
    }
    let rule = "paths = [\"in/{sender}/*\"]\noutput = { main = { path = \"out/{sender}/x/{name}\" } }\n\
                pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]";
    let world = World::with_service("scan_every = \"300ms\"", rule);
    world.write_gate();
    let disk = Disk::mount(&world.path("out/acme"), "4m");
    let mut service = world.start();
    world.move_in("in/acme/one.txt", "1\n");
    wait_until_done(&mut service, &world, 1);
    world.move_in("in/acme/two.txt", lines(3000));
    service.wait_for(&world, "reached");
    service.stop(); // with a checkpoint
    drop(disk);
    service = world.start();
    let waits = |job: Value| (job["waiting"]["for"] == "mount").then_some(job);
    let job = service.wait_until("it waits for the mount", || world.jobs().into_iter().find_map(waits));
    assert!(job["waiting"]["detail"].as_str().expect("text").contains("went before"), "{job:#}");
    world.write("go", "");
    let id = job["id"].as_str().expect("an id");
    world.landfall(&["retry", id]).ends_with(1).says(&["goes on by itself"]);
    assert_eq!(world.files("out/acme"), [""; 0], "nothing is made in the bare mount point");
    world.landfall(&["resume", "--rule", RULE]).done().says(&["goes on"]);
    service.wait_for_log("the job starts from its first record: its rule goes on without the mount");
    wait_until_done(&mut service, &world, 2);
    service.stop();
    assert_eq!(world.files("out/acme"), ["x/two.txt"]);
    assert_eq!(world.text("out/acme/x/two.txt"), lines(3000));
}

#[test]
fn who_retries_or_resumes_a_job_whose_mount_is_away_is_told_that_it_waits_for_that() {
    if !can_mount() {
        return;
    }
    let rule = "publish = { mount = \"out\" }\npipeline = [{ step = \"exec\", confine = false, command = [\"./step\"] }]";
    let world = World::with_service("scan_every = \"300ms\"", rule);
    let failing = world.write("failing", "");
    world.write("step", format!("#!/bin/sh\n[ ! -e {} ] || exit 1\nexec cat\n", failing.display()));
    world.sh("chmod +x step");
    let disk = Disk::mount(&world.path("out"), "4m");
    let mut service = world.start();
    world.move_in("in/one.txt", "1\n");
    service.wait_until("it fails", || (world.jobs().first()?["state"] == "failed").then_some(()));
    world.sh("rm failing");
    drop(disk);
    let job = world.job();
    let id = job["id"].as_str().expect("an id");
    let told = ["it waits: no file system is mounted at", "(`publish.mount`)"];
    world.landfall(&["retry", id]).done().says(&told);
    world.landfall(&["pause", id]).done();
    world.landfall(&["resume", id]).done().says(&told);
    let disk = Disk::mount(&world.path("out"), "4m");
    wait_until_done(&mut service, &world, 1);
    service.stop();
    drop(disk);
}
