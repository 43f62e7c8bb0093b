//! Promise: what a command puts beside the outputs, with records in it, is for its user alone, and goes when it is done with; what a user
//! wrote is not lost.
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{World, wait_until};

/// Fails each record, and tells of what lies among the temporary files meanwhile.
const TOOL: &str = r#"#!/usr/bin/env python3
import json, os, sys
os.chdir('FOLDER')
for line in sys.stdin:
    with open('seen', 'a') as seen:
        for name in os.listdir('tmp'):
            seen.write('%o\n' % (os.stat('tmp/' + name).st_mode & 0o777))
    print(json.dumps({"fail": "not today"}), flush=True)
"#;

const RULE: &str = r#"
    pipeline = [{ step = "exec", confine = false, protocol = "jsonl", command = ["./tool"] }]
    errors = { failed_max = "100%" }
    test = [{ name = "none fits", path = "in/pay.txt", input = "a\n", failed = [{ record = 1, error = "not today" }] }]
"#;

/// With a folder of its own for temporary files, and a tool that fails each record.
fn world() -> World {
    let world = World::new(RULE);
    world.sh("mkdir tmp");
    world.write("tool", TOOL.replace("FOLDER", &world.folder().display().to_string()));
    world.sh("chmod +x tool");
    world.write("pay.txt", "secret\n".repeat(3));
    world
}

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command();
    command.args(arguments).env("TMPDIR", world.path("tmp")).env_remove("VISUAL");
    command
}

/// What an editor that does this says, and whether it was taken.
fn edited(world: &World, id: &str, script: &str) -> (bool, String) {
    let mut command = command(world, &["records", id, "edit", "1"]);
    let output = command.env("EDITOR", format!("sh -c '{script}' sh")).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn failed(world: &World) -> String {
    world.ingest(&["pay.txt"]);
    world.completed()["id"].as_str().expect("an id is text").to_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("is there").permissions().mode() & 0o777
}

fn left(world: &World) -> Vec<fs::DirEntry> {
    fs::read_dir(world.path("tmp")).expect("lists").map(|entry| entry.expect("lists")).collect()
}

#[test]
fn a_record_in_an_editor_is_for_its_user_alone_and_gone_afterwards() {
    let world = world();
    let id = failed(&world);
    let look = "stat -c %a $1 $(dirname $1) > seen";
    for (more, taken) in [("true", true), ("exit 3", false), ("echo better > $1", true)] {
        let (done, said) = edited(&world, &id, &format!("{look}; {more}"));
        assert_eq!(done, taken, "{more}: {said}");
        assert_eq!(world.text("seen"), "600\n700\n", "{more}");
        assert!(left(&world).is_empty(), "{more}");
    }
}

#[test]
fn what_an_editor_wrote_before_it_ended_with_an_error_is_kept_for_its_user_alone() {
    let world = world();
    let id = failed(&world);
    let (done, said) = edited(&world, &id, "echo better > $1; exit 3");
    assert!(!done && said.contains("nothing was done"), "{said}");
    let kept = said.lines().find_map(|line| line.split_once("is kept in ")).expect("it says where").1;
    let kept = Path::new(kept.trim());
    assert_eq!(fs::read_to_string(kept).expect("is there"), "better\n");
    assert_eq!((mode(kept), mode(kept.parent().expect("a folder"))), (0o600, 0o700));
    assert_eq!(world.jobs().len(), 1);
}

/// The terminal sends it to the editor, for which it has a meaning, and to this process.
#[test]
fn an_interrupt_while_the_editor_runs_is_for_the_editor_and_what_is_written_after_it_is_taken() {
    let world = world();
    let id = failed(&world);
    for (number, signal) in [("1", "INT"), ("2", "QUIT"), ("3", "HUP")] {
        let script =
            "trap true INT QUIT HUP; touch open; until [ -e go ]; do sleep 0.02; done; echo better > $1";
        let mut command = command(&world, &["records", &id, "edit", number]);
        command.env("EDITOR", format!("sh -c '{script}' sh")).process_group(0).stdout(Stdio::piped());
        let child = command.spawn().expect("it runs");
        wait_until("the editor is open", || world.has("open").then_some(()));
        world.sh(&format!("kill -{signal} -- -{}; rm open; touch go", child.id()));
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("edited, and retried as job"), "{signal}: {said}");
        assert!(left(&world).is_empty(), "{signal}");
        world.sh("rm go");
    }
}

#[test]
fn a_dry_run_and_a_test_work_in_a_folder_that_is_for_their_user_alone_and_gone_afterwards() {
    let world = world();
    for arguments in [&["ingest", "pay.txt", "--rule", "payments", "--dry-run"][..], &["test"]] {
        let output = command(&world, arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let seen = world.text("seen");
        assert!(seen.lines().all(|mode| mode == "700") && !seen.is_empty(), "{arguments:?}: {seen} {said}");
        assert!(left(&world).is_empty(), "{arguments:?}: {said}");
        world.sh("rm seen");
    }
}

#[test]
fn a_demo_and_an_export_of_records_are_for_their_user_alone() {
    let world = world();
    let output = command(&world, &["demo"]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [folder] = &left(&world)[..] else { panic!("the demo is one folder") };
    assert_eq!(mode(&folder.path()), 0o700);
    let id = failed(&world);
    world.landfall(&["records", &id, "export", "--all", "--to", "some.txt"]).done();
    assert_eq!(mode(&world.path("some.txt")), 0o600);
    assert_eq!(world.text("some.txt"), world.text("pay.txt"));
}
