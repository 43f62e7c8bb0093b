//! Promise: under each habit of network file systems every file is taken exactly once, whatever is killed.
//!
//! Neither NFS nor CIFS can be mounted everywhere: a real local folder gets their habits (`support/habits.rs`).
#![cfg(target_os = "linux")]

mod support;

use std::time::{Duration, Instant};

use support::habits::{Habits, Shim};
use support::{Service, World, assert_balanced};

const RULE: &str = "paths = [\"mnt/in/*\"]\nready = { stable_for = \"500ms\", linger = \"200ms\" }\n\
    output = { main = { path = \"mnt/out/{name}\" } }\n\
    source = { on_success = \"archive\", archive_dir = \"mnt/archive\" }";

fn started(world: &World) -> Service {
    let mut service = world.start();
    service.wait_until_it_watches();
    service
}

/// Goal: what this client and others bring comes out once each as it was sent, through a kill, a restart of the server and a remount.
fn comes_out_once(habits: Habits) {
    let world = World::new(RULE);
    let Some(shim) = Shim::mount(&world, habits) else { return };
    world.sh("mkdir mnt/in sent stage
        for n in $(seq 8); do seq $((n * n * 1500)) > sent/own-$n; seq $((n * 10)) > sent/other-$n; seq $n > sent/moved-$n; done");
    let mut service = started(&world);
    world.sh("cp sent/own-* mnt/in/; cp sent/other-* behind/in/; mkdir behind/stage; cp sent/moved-* behind/stage/; mv behind/stage/* behind/in/");
    let archived = || world.files("mnt/archive").len();
    service.wait_until("some are published", || (world.files("mnt/out").len() > 3).then_some(()));
    service.kill();
    shim.restart_server();
    let mut service = started(&world);
    service.wait_until("more are published", || (archived() > 12).then_some(()));
    shim.restart_server();
    let begun = Instant::now();
    support::wait_until("all are archived", || {
        assert!(begun.elapsed() < Duration::from_secs(25), "{:#?}\n{}", world.jobs(), service.log());
        if service.exited().is_some() {
            // A file that it was to sync was stale: it begins anew from what is durable, as systemd has it.
            assert!(service.log().contains("the next start recovers"), "{}", service.log());
            service = started(&world);
        }
        (archived() == 24).then_some(())
    });
    shim.unmount();
    world.sh("seq 7 > sent/after; cp sent/after behind/in/");
    shim.mount_again().expect("mounts");
    service.wait_for(&world, "mnt/archive/after");
    service.wait_until("all jobs are done", || {
        world.jobs().iter().all(|job| job["state"] == "completed").then_some(())
    });
    service.stop();
    world.sh("{ diff -rq sent mnt/out; diff -rq sent mnt/archive; } > different || true");
    assert_eq!(world.text("different"), "");
    let jobs = world.jobs();
    jobs.iter().for_each(assert_balanced);
    assert_eq!(jobs.len(), 25, "{jobs:#?}");
    assert_eq!(world.files("mnt/in"), [""; 0]);
}

#[test]
fn without_a_rename_that_keeps_what_is_there_each_file_comes_out_once() {
    comes_out_once(Habits { no_rename_without_replace: Some(libc::EINVAL), ..Habits::default() });
}

#[test]
fn without_such_a_rename_and_hard_links_each_file_comes_out_once() {
    let no_rename_without_replace = Some(libc::EOPNOTSUPP);
    comes_out_once(Habits { no_rename_without_replace, no_hard_links: true, ..Habits::default() });
}

#[test]
fn without_locks_each_file_comes_out_once() {
    comes_out_once(Habits { no_locks: Some(libc::ENOLCK), ..Habits::default() });
}

#[test]
fn with_times_of_two_seconds_each_file_comes_out_once() {
    comes_out_once(Habits { time_step: 2, ..Habits::default() });
}

/// As over NFS 3 and over SMB without extensions, all together.
#[test]
fn with_all_habits_of_a_kind_each_file_comes_out_once() {
    let no_rename_without_replace = Some(libc::EINVAL);
    comes_out_once(Habits {
        no_rename_without_replace,
        no_locks: Some(libc::ENOLCK),
        time_step: 1,
        silly_renames: true,
        ..Habits::default()
    });
    comes_out_once(Habits {
        no_rename_without_replace,
        no_hard_links: true,
        time_step: 2,
        ignores_case: true,
        ..Habits::default()
    });
}

/// A name that stands for a file which somebody has open is nobody's upload, and goes when it is closed.
#[test]
fn a_removed_file_that_is_still_open_is_not_taken() {
    let world = World::new(RULE);
    let habits = Habits { silly_renames: true, ..Habits::default() };
    let Some(_shim) = Shim::mount(&world, habits) else { return };
    world.sh("mkdir mnt/in; seq 5 > mnt/in/.upload");
    let mut service = started(&world);
    let open = std::fs::File::open(world.path("mnt/in/.upload")).expect("it is there");
    world.sh("mv mnt/in/.upload mnt/in/a; rm mnt/in/a");
    let stays = world.files("mnt/in");
    assert!(stays.iter().any(|name| name.starts_with(".nfs")), "{stays:?}");
    for name in ["b", "c"] {
        world.sh(&format!("seq 7 > mnt/in/{name}"));
        service.wait_for(&world, &format!("mnt/archive/{name}"));
    }
    drop(open);
    service.stop();
    assert_eq!(world.files("mnt/out"), ["b", "c"]);
}

/// Another file whose name differs by case alone is the same name there: nothing is written over.
#[test]
fn where_case_is_ignored_outputs_of_names_that_differ_by_it_are_both_kept() {
    let world = World::new(&RULE.replace("mnt/in/*", "in/*"));
    let habits = Habits { ignores_case: true, time_step: 2, ..Habits::default() };
    let Some(_shim) = Shim::mount(&world, habits) else { return };
    world.sh("mkdir -p in; seq 5 > in/Pay; seq 7 > in/pay");
    let mut service = started(&world);
    service.wait_until("both are archived", || (world.files("mnt/archive").len() == 2).then_some(()));
    service.stop();
    let lengths: std::collections::BTreeSet<_> =
        world.files("mnt/out").iter().map(|name| world.text(format!("mnt/out/{name}")).len()).collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [10, 14]);
}

#[test]
fn check_names_the_file_system_that_has_no_events_and_says_how_its_files_are_found() {
    let world = World::new(RULE);
    let Some(_shim) = Shim::mount(&world, Habits::default()) else { return };
    world.sh("mkdir mnt/in");
    world.landfall(&["check"]).done().says(&["mnt/in", "fuse.bindfs", "without events", "scan_every"]);
}
