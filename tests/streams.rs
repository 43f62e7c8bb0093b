//! Promise: whoever stops listening (a closed pipe, a closed terminal) ends no work, and no command with an error.
#![cfg(unix)]

mod support;

use std::fs::File;
use std::io::{BufRead as _, BufReader, pipe};

use rustix::process::{Pid, Signal, kill_process};
use support::{Ran, World, wait_until};

#[test]
fn a_reader_who_has_seen_enough_ends_no_command_with_an_error() {
    let world = World::new("");
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["check", "--files"],
        &["test"],
        &["ingest", "--rule", "payments", "--dry-run", "in/a.txt"],
        &["ingest", "--rule", "payments", "a.txt", "b.txt"],
        &["check", "--store"],
        &["jobs"],
        &["retry", "--state", "failed", "--rule", "payments"],
    ] {
        for name in ["in/a.txt", "in/b.txt", "a.txt", "b.txt"] {
            world.write(name, "one\n");
        }
        let (reader, writer) = pipe().expect("a pipe can be made");
        drop(reader);
        let ran = world.command().args(arguments).stdout(writer).output().expect("it runs");
        assert!(ran.status.success() && ran.stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
    assert_eq!(world.jobs().len(), 2, "each file of the one that ingests");
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let world = World::new("");
    world.ingest(&[world.write("in/a.txt", "one\n").to_str().expect("is text")]).done();
    for arguments in [&["check"][..], &["test"], &["jobs"], &["ingest", "--rule", "payments", "in/a.txt"]] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let ran = world.command().args(arguments).stdout(full).output().expect("it runs");
        Ran::new(&ran).ends_with(1).says(&["cannot write to standard output", "No space left"]);
    }
}

/// The macros of the standard library panic where standard error is closed: each thread that logs would be gone.
#[test]
fn a_service_whose_log_nobody_reads_works_on_and_stops_cleanly() {
    let world = World::new("");
    let (log, stderr) = pipe().expect("a pipe can be made");
    let mut command = world.command();
    let mut service = command.arg("run").stderr(stderr).spawn().expect("it runs");
    drop(command); // it holds the pipe's other end
    let mut log = BufReader::new(log);
    let mut line = String::new();
    while !line.contains("watching") {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("can be read"), 0, "it ended");
    }
    drop(log);
    for name in ["a.txt", "b.txt"] {
        world.move_in(&format!("in/{name}"), "one\n");
        wait_until("it works on", || world.has(format!("archive/{name}")).then_some(()));
    }
    let id = Pid::from_child(&service);
    kill_process(id, Signal::TERM).expect("it runs");
    let status = wait_until("it stops", || service.try_wait().expect("can be asked"));
    assert!(status.success(), "{status}");
}
