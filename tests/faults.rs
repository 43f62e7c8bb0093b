//! Promise: whatever the system refuses, nothing is lost or half published, the operator sees why, and the job goes on by itself.
#![cfg(target_os = "linux")]

mod support;

use serde_json::Value;
use support::disk::{Disk, can_mount};
use support::{Service, World, lines};

/// Outputs under `mnt/`, the rest as ever.
const OUT_ON_MNT: &str = r#"output = { main = { path = "mnt/out/{stem}.main" } }"#;

/// The only job, once it waits for this.
#[track_caller]
fn wait_for_waiting(service: &mut Service, world: &World, what: &str) -> Value {
    service.wait_until("the job says what it waits for", || {
        world.jobs().into_iter().find(|job| job["waiting"]["for"] == what)
    })
}

/// The reason for which a file waits, once the service shows one that has this word.
#[track_caller]
fn wait_for_file_waiting(service: &mut Service, world: &World, word: &str) -> String {
    service.wait_until("the file is shown with why it waits", || {
        let listed = world.json(&["jobs", "--json"]);
        let files = listed["files_waiting"].as_array().expect("a list").clone();
        files
            .iter()
            .filter_map(|file| file["reason"].as_str())
            .find(|why| why.contains(word))
            .map(str::to_owned)
    })
}

fn count(service: &Service, word: &str) -> usize {
    service.log().matches(word).count()
}

#[test]
fn below_free_min_nothing_is_claimed_and_files_go_on_by_themselves_when_there_is_room() {
    if !can_mount() {
        return;
    }
    let world = World::with_service("free_min = \"4MiB\"", OUT_ON_MNT);
    let disk = Disk::mount(&world.path("mnt"), "8m");
    disk.fill(2 << 20);
    let mut service = world.start();
    world.move_in("in/one.txt", "1\n");
    let reason = wait_for_file_waiting(&mut service, &world, "free_min");
    assert!(reason.contains("2.0 MiB free") && reason.contains("4.0 MiB"), "{reason}");
    world.move_in("in/two.txt", "2\n");
    world.landfall(&["jobs"]).done().says(&["no jobs", "waiting files", "in/one.txt: ", "free_min"]);
    world.ingest_and_retire("in/two.txt").ends_with(1).says(&["too little room", "mnt", "make room there"]);
    assert_eq!((world.jobs().len(), world.files("mnt/out").len()), (0, 0));
    disk.empty();
    service.wait_for(&world, "archive/one.txt");
    service.wait_for(&world, "archive/two.txt");
    assert_eq!(
        (world.text("mnt/out/one.main"), world.text("mnt/out/two.main")),
        ("1\n".into(), "2\n".into())
    );
    assert_eq!(
        (count(&service, "too little room"), count(&service, "room again")),
        (1, 1),
        "{}",
        service.log()
    );
}
