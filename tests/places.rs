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
    let rule = format!("{ARCHIVE}\npipeline = [{{ step = \"exec\", command = [\"./gate\"] }}]");
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
