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

/// Whoever has just installed it is to edit the first configuration.
#[test]
fn where_every_rule_is_off_check_status_and_the_log_say_so_until_one_is_on() {
    let world = World::new("mode = \"off\"");
    world.landfall(&["check"]).done().says(&["every rule is off"]);
    let mut service = world.start();
    service.wait_for_log("no rule watches anything");
    world.landfall(&["status"]).done().says(&["1 rule, off: nothing is watched"]);
    assert_eq!(json(&world, 0)["rules_off"], 1);
    let toml = world.text("landfall.toml");
    assert!(toml.contains("mode = \"off\""), "{toml}");
    world.write("landfall.toml", toml.replace("mode = \"off\"", ""));
    world.move_in("in/a.txt", lines(3));
    service.wait_for(&world, "out/a.main");
    let said = world.landfall(&["status"]).done();
    assert!(!said.stdout.contains("off"), "{said:?}");
    service.stop();
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

/// The commands that `--help` tells.
fn commands(world: &World) -> Vec<String> {
    let help = world.landfall(&["--help"]).done().stdout;
    let lines = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    let names = lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let commands: Vec<_> = names.map(str::to_owned).collect();
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

/// What a shell offers for the last of these words, one a line: bash by its script, others by what theirs ask.
fn offered(world: &World, shell: &str, words: &[&str]) -> String {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_landfall"));
    let folder = binary.parent().expect("it lies in a folder").display();
    let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, at, words) = (words.last().expect("there is one"), words.len() - 1, words.join(" "));
    let ask = match shell {
        "bash" => format!(
            "landfall completions bash > script; . ./script; COMP_WORDS=({words}) COMP_CWORD={at} COMP_TYPE=9
             _clap_complete_landfall landfall {last}; [ -z \"${{COMPREPLY-}}\" ] || printf '%s\n' \"${{COMPREPLY[@]}}\""
        ),
        _ => format!("export LANDFALL_COMPLETE={shell} _CLAP_COMPLETE_INDEX={at} _CLAP_IFS=$'\\n'; landfall -- {words}"),
    };
    world.sh(&format!("export PATH='{folder}':$PATH; {ask}"))
}

#[test]
fn a_shell_completes_every_command_and_the_names_of_rules_and_jobs_as_they_are() {
    let world = World::new("");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.landfall(&["completions", shell]).done().stdout;
        assert!(script.contains("LANDFALL_COMPLETE"), "{shell}: {script}");
        let told = offered(&world, shell, &["landfall", ""]);
        for command in commands(&world) {
            assert!(told.lines().any(|line| line.trim().starts_with(&command)), "{shell}, {command}: {told}");
        }
        let rules = offered(&world, shell, &["landfall", "set", "--rule", "pay"]);
        assert!(rules.starts_with(support::RULE), "{shell}: {rules}");
        let pages = offered(&world, shell, &["landfall", "help", "resen"]);
        assert!(pages.trim().starts_with("resends"), "{shell}: {pages}");
        assert_eq!(offered(&world, shell, &["landfall", "show", "0"]).trim(), "", "{shell}: no service runs");
    }
    assert_eq!(offered(&world, "bash", &["landfall", "stat"]).trim(), "status");
    let mut service = world.start();
    world.move_in("in/pay.txt", "a\n");
    service.wait_for(&world, "archive/pay.txt");
    let id = world.job()["id"].as_str().expect("an id is text").to_owned();
    for command in ["show", "records", "retry", "pause", "rerun"] {
        for typed in ["", &id[..9], &id[id.len() - 4..]] {
            let told = offered(&world, "bash", &["landfall", command, typed]);
            assert!(told.lines().any(|line| line.trim() == id), "{command} {typed}: {told}");
        }
    }
    let elsewhere = World::bare();
    let config = world.path("landfall.toml").display().to_string();
    let told = offered(&elsewhere, "bash", &["landfall", "--config", &config, "show", &id[..9]]);
    assert_eq!(told.trim(), id);
    service.stop();
}

#[test]
fn each_command_has_a_manual_page_and_that_of_the_program_says_more_than_its_help() {
    let world = World::new("");
    world.landfall(&["man", "--dir", "man"]).done();
    let commands = commands(&world);
    for command in &commands {
        let page = world.text(format!("man/landfall-{command}.1"));
        assert!(page.contains(".TH") && page.contains("EXIT STATUS"), "{command}");
    }
    let page = world.landfall(&["man"]).done().stdout;
    for section in ["EXIT STATUS", "FILES", "ENVIRONMENT", "EXAMPLES"] {
        let is_it =
            |line: &&str| line.strip_prefix(".SH ").is_some_and(|title| title.trim_matches('"') == section);
        assert_eq!(page.lines().filter(is_it).count(), 1, "{section}: {page}");
    }
    let examples = page.split("EXAMPLES").nth(1).expect("it has some");
    let name = |rest: &str| rest.chars().take_while(char::is_ascii_lowercase).collect::<String>();
    let called: Vec<_> = examples.split("landfall ").skip(1).map(name).collect();
    assert!(
        called.len() > 5 && called.iter().all(|name| commands.iter().any(|known| known == name)),
        "{called:?}"
    );
}
