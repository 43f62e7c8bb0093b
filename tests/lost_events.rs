//! Promise: where the kernel tells nothing of files, or not all, each is found by a scan, and the operator learns which limit to raise.
#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use support::{Service, World};

/// What comes only by a scan of its own time comes after the test.
const NO_SCAN: &str = "scan_every = \"1h\"";

/// False, loudly, where limits cannot be lowered for one service.
fn may_lower() -> bool {
    let script = "echo 0 > /proc/sys/user/max_inotify_watches";
    let status = Command::new("unshare").args(["--map-root-user", "sh", "-c", script]).status();
    let may = status.is_ok_and(|status| status.success());
    if !may {
        eprintln!("NOT TESTED: this user may make no user namespace");
    }
    may
}

fn watch(world: &World, of: &str) -> Value {
    world.json(&[of, "--json"])["watch"].clone()
}

#[track_caller]
fn is_told_once(service: &mut Service, limit: &str) {
    service.wait_for_log(limit);
    let log = service.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(limit)).collect();
    let now = fs::read_to_string(format!("/proc/sys/fs/inotify/{limit}")).expect("there is a limit");
    let [line] = lines.as_slice() else { panic!("{limit} is told {} times in\n{log}", lines.len()) };
    let says = [format!("which is {} now", now.trim()), format!("`sysctl -w fs.inotify.{limit}=")];
    assert!(says.iter().all(|words| line.contains(words)), "{says:?} are not in {line}");
}

#[test]
fn where_the_kernel_watches_no_folder_the_scan_finds_the_files_and_the_limit_is_named() {
    for (limit, key) in
        [("max_inotify_watches", "max_user_watches"), ("max_inotify_instances", "max_user_instances")]
    {
        if !may_lower() {
            return;
        }
        let world = World::new("");
        let mut service = world.start_with_limit(limit, 0);
        service.wait_for_log(key);
        world.move_in("in/pay.txt", "one\n");
        service.wait_for(&world, "archive/pay.txt");
        let watch = watch(&world, "jobs");
        assert_eq!(
            (&watch["folders"], &watch["folders_without_events"]),
            (&1.into(), &1.into()),
            "{watch:#}"
        );
        assert!(watch["scans"].as_u64() > Some(0), "{watch:#}");
        world.landfall(&["rules"]).done().says(&["folders without events", "only scans"]);
        is_told_once(&mut service, key);
        service.stop();
    }
}

#[test]
fn folders_beyond_the_limit_are_scanned_and_have_events_once_it_was_raised() {
    if !may_lower() {
        return;
    }
    let world = World::new("paths = [\"in/*/*.txt\"]\noutput = { main = { path = \"out/{parent}\" } }");
    let folders: Vec<_> = (0..8).map(|number| format!("{number}")).collect();
    for folder in &folders {
        world.write(format!("in/{folder}/there.txt"), "one\n");
    }
    let mut service = world.start_with_limit("max_inotify_watches", 4);
    let come = |service: &mut Service, name: &str| {
        for folder in &folders {
            service.wait_for(&world, &format!("archive/{name}-{folder}.txt"));
        }
    };
    for folder in &folders {
        service.wait_until(folder, || world.has(format!("out/{folder}")).then_some(()));
        world.move_in(&format!("in/{folder}/later-{folder}.txt"), "one\n");
    }
    come(&mut service, "later");
    let counted = watch(&world, "rules");
    let without = counted["folders_without_events"].as_u64().expect("a number");
    assert!(counted["folders"] == 9 && (1..9).contains(&without), "{counted:#}");
    is_told_once(&mut service, "max_user_watches");
    service.raise_limit("max_inotify_watches", 100);
    service.wait_until("all have events", || {
        (watch(&world, "jobs")["folders_without_events"] == 0).then_some(())
    });
    service.stop();
}

/// The queue of the kernel really overflows: nobody reads it meanwhile.
#[test]
fn what_came_while_the_queue_of_events_overflowed_is_found_at_once() {
    let max = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("there is a limit");
    let max: usize = max.trim().parse().expect("a number");
    if max > 200_000 {
        eprintln!("NOT TESTED: the queue holds {max} events");
        return;
    }
    let world = World::with_service(NO_SCAN, "");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/before.txt", "one\n");
    service.wait_for(&world, "archive/before.txt");
    for round in 1..=2 {
        service.signal(Signal::STOP);
        // Two by turns: events that are the same as the last one take no room. Nobody takes these.
        let names = ["in/a.tmp", "in/b.tmp"].map(|name| world.path(name));
        for _ in 0..=max / 4 {
            for name in &names {
                drop(File::create(name).expect("it can be made"));
            }
        }
        world.move_in(&format!("in/{round}.txt"), "one\n");
        service.signal(Signal::CONT);
        service.wait_for(&world, &format!("archive/{round}.txt"));
        service.wait_until("it is counted", || {
            (watch(&world, "jobs")["events_lost"].as_u64() >= Some(round)).then_some(())
        });
    }
    world.landfall(&["jobs"]).done().says(&["times that events were lost"]);
    is_told_once(&mut service, "max_queued_events");
    // Events tell of files as before.
    world.move_in("in/after.txt", "one\n");
    service.wait_for(&world, "archive/after.txt");
    service.stop();
}
