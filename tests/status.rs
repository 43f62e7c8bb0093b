//! Promise: `landfall status` tells a monitor by its exit code, and people by its words, whether anything needs them.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{World, lines};

fn json(world: &World, code: i32) -> Value {
    serde_json::from_str(&world.landfall(&["status", "--json"]).ends_with(code).stdout).expect("JSON")
}

fn about(status: &Value) -> Vec<&str> {
    let items = status["attention"].as_array().expect("a list");
    items.iter().map(|item| item["about"].as_str().expect("a word")).collect()
}

#[test]
fn a_service_that_is_well_needs_nobody_and_one_that_does_not_run_does() {
    let world = World::new("");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a.txt", lines(3));
    service.wait_for(&world, "out/a.main");
    let said =
        world.landfall(&["status"]).done().says(&["service    running, 1 rule", "nothing needs attention"]);
    assert!(said.stdout.contains("free ("), "{said:?}");
    assert_eq!(about(&json(&world, 0)), [""; 0]);
    service.stop();
    world.landfall(&["status"]).ends_with(1).says(&["no service is running", "landfall run"]);
    assert_eq!(about(&json(&world, 1)), ["service"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_inodes_is_told_by_their_number_and_files_go_on_once_there_are_some() {
    if !support::disk::can_mount() {
        return;
    }
    let world = World::new("output = { main = { path = \"mnt/out/{stem}.main\" } }");
    let toml = world.text("landfall.toml").replace("free_min = \"0\"", "free_min = \"1KiB\"");
    world.write("landfall.toml", toml);
    let disk = support::disk::Disk::mount(&world.path("mnt"), "8m");
    disk.change("nr_inodes=12");
    world.sh("mkdir mnt/out; i=0; while touch mnt/taken-$i 2> taken; do i=$((i + 1)); done");
    let mut service = world.start();
    world.move_in("in/a.txt", lines(3));
    service.wait_for_log("too little room");
    world.landfall(&["status"]).ends_with(1).says(&["0 of 12 inodes", "df -i"]);
    let listed = service.wait_until("the file says so", || {
        let listed = world.json(&["jobs", "--json"])["files_waiting"].to_string();
        listed.contains("inodes free").then_some(listed)
    });
    assert!(listed.contains("0 inodes free") && listed.contains("asks for 1"), "{listed}");
    disk.change("nr_inodes=100");
    service.wait_for(&world, "mnt/out/a.main");
    service.stop();
}

#[test]
fn jobs_that_failed_a_disk_without_room_and_a_wrong_configuration_are_told_with_what_to_do() {
    let world = World::new(
        "errors = { failed_max = '0%' }\npipeline = [{ step = 'exec', command = ['./no'], protocol = 'jsonl' }]",
    );
    world.write("no", "#!/bin/sh\nwhile read -r line; do echo '{\"fail\":\"no\"}'; done\n");
    world.sh("chmod +x no");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a.txt", lines(3));
    service.wait_for_log("failed; nothing was published");
    let status = json(&world, 1);
    assert_eq!(about(&status), ["failed"]);
    assert_eq!(status["jobs"]["failed"], 1, "{status:#}");
    world.landfall(&["status"]).ends_with(1).says(&[
        "one job is failed",
        "landfall show",
        "errors.failed_max",
    ]);
    world.landfall(&["status", "--since", "2099-01-01"]).done().says(&["nothing needs attention"]);
    let right = world.text("landfall.toml");
    world.write("landfall.toml", right.replace("jsonl", "jsonll"));
    service.wait_for_log("is wrong: the service goes on as it is");
    assert_eq!(about(&json(&world, 1)), ["configuration", "failed"]);
    service.stop();
    world.write("landfall.toml", right.replace("free_min = \"0\"", "free_min = \"1000000GiB\""));
    let status = json(&world, 1);
    assert_eq!(about(&status)[..2], ["service", "disk"]);
    let disk = &status["disks"][0];
    assert!(disk["free"].as_u64() < disk["free_min"].as_u64(), "{disk:#}");
}

#[test]
fn a_pause_is_told_with_what_ends_it_and_a_late_file_needs_somebody() {
    let world = World::new("ready = { strategy = 'marker', marker = '{name}.done', late_after = '1s' }");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.landfall(&["pause", "--all"]).done();
    assert_eq!(about(&json(&world, 0)), [""; 0], "it was asked for");
    world
        .landfall(&["status"])
        .done()
        .says(&["paused     everything was paused by", "landfall resume --all"]);
    world.move_in("in/a.txt", lines(3));
    service.wait_for_log("waits longer than `ready.late_after`");
    assert_eq!(about(&json(&world, 1)), ["late"]);
    world.landfall(&["status"]).ends_with(1).says(&["a file is late", "in/a.txt", "landfall explain"]);
    world.landfall(&["resume", "--all"]).done();
    world.write("in/a.txt.done", "");
    service.wait_for(&world, "out/a.main");
    let status = json(&world, 0);
    assert_eq!((about(&status), status["paused"].as_array().map(Vec::len)), (vec![], Some(0)));
    service.stop();
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let world = World::new("");
    let help = world.landfall(&["--help"]).done().stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.landfall(&["completions", shell]).done().stdout;
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    world.sh(&format!(
        "'{}' completions bash > script; . ./script; COMP_WORDS=(landfall stat) COMP_CWORD=1; _landfall landfall stat landfall; [ \"${{COMPREPLY[*]}}\" = status ]",
        env!("CARGO_BIN_EXE_landfall")
    ));
    world.landfall(&["man", "--dir", "man"]).done();
    for command in commands {
        let page = world.text(format!("man/landfall-{command}.1"));
        assert!(page.contains(".TH"), "{command}");
    }
    assert!(world.landfall(&["man"]).done().stdout.contains(".TH"));
}
