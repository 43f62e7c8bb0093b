//! Promise: what a service takes of the machine grows with the files that wait, not with their square; and a flood holds up nobody.
#![cfg(target_os = "linux")]

mod support;

use std::time::{Duration, Instant};

use support::{Service, World, lines};

const SERVICE: &str = "workers = 2\nscan_every = \"1h\"\nstop_timeout = \"2s\"";

/// Files wait in `flood` for markers that never come.
const FLOOD: &str = "name = \"flood\"
    paths = [\"flood/*\"]
    ready = { strategy = \"marker\" }
    output = { main = { path = \"out/{stem}\" } }";
const OTHER: &str = "name = \"other\"
    paths = [\"other/*\"]
    ready = { linger = \"0s\", trust_close = \"always\" }
    output = { main = { path = \"out/{stem}.other\" } }";

fn flooded(files: usize) -> (World, Service) {
    let world = World::bare();
    world.configure(SERVICE, &[FLOOD, OTHER]);
    world.sh(&format!("mkdir flood other; cd flood; seq {files} | xargs touch"));
    let mut service = world.start();
    service.wait_until("all were seen", || {
        let seen = world.json(&["rules", "--json"])["watch"]["scans"].as_u64()?;
        (seen > 0).then_some(())
    });
    (world, service)
}

#[test]
fn ten_times_as_many_waiting_files_cost_ten_times_as_much_and_little_memory() {
    const FEW: usize = 3_000;
    let costs = |files: usize| {
        let (_world, service) = flooded(files);
        let cost = (service.cpu_seconds(), service.peak_memory_bytes());
        service.kill();
        cost
    };
    let ((few, little), (many, much)) = (costs(FEW), costs(10 * FEW));
    // A start has its own cost, so that a linear one grows by less.
    assert!(many < 20.0 * few.max(0.2), "{many} s of the processor, and {few} s for a tenth");
    let of_each = much.saturating_sub(little) / (9 * FEW as u64);
    assert!(of_each < 4_096, "{of_each} bytes for each file");
}

#[test]
fn beside_a_flood_that_waits_another_rules_file_is_published_soon() {
    /// A debug build, on a machine that tests beside it.
    const AT_MOST: Duration = Duration::from_secs(3);
    let (world, mut service) = flooded(20_000);
    let mut slowest = Duration::ZERO;
    for number in 0..10 {
        let begun = Instant::now();
        world.move_in(&format!("other/{number}"), lines(3));
        service.wait_for(&world, &format!("out/{number}.other"));
        slowest = slowest.max(begun.elapsed());
    }
    service.kill();
    assert!(slowest < AT_MOST, "{slowest:?}");
}

#[test]
fn a_service_that_watches_2000_folders_rests_while_nothing_comes() {
    let world = World::bare();
    world.configure(SERVICE, &[&OTHER.replace("other/*", "other/{sender}/*")]);
    world.sh("mkdir other; cd other; seq 2000 | xargs mkdir");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("other/1999/first", lines(3));
    service.wait_for(&world, "out/first.other");
    let (begun, used) = (Instant::now(), service.cpu_seconds());
    world.move_in("other/7/second", lines(3));
    service.wait_for(&world, "out/second.other");
    std::thread::sleep(Duration::from_secs(1)); // it is what is measured
    let (used, time) = (service.cpu_seconds() - used, begun.elapsed());
    service.kill();
    assert!(used < 0.3 * time.as_secs_f64(), "{used} s of the processor in {time:?}");
}
