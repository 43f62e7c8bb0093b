//! Promise: a program with steps of its own runs the service like `landfall` does, and rules can name its steps.
#![cfg(unix)]

mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::{World, wait_until};

/// `examples/own_step.rs`, which registers `mask`.
fn example(world: &World) -> Command {
    let landfall = PathBuf::from(env!("CARGO_BIN_EXE_landfall"));
    let program = landfall.with_file_name("examples").join("own_step");
    assert!(program.is_file(), "{} is not built: cargo build --examples", program.display());
    let mut command = Command::new(program);
    command.arg(world.path("landfall.toml")).stdin(Stdio::null());
    command
}

/// Killed when a test gives up on it.
struct Running(Child);

impl Running {
    fn stop(mut self) -> Option<i32> {
        let id = Pid::from_raw(self.0.id().cast_signed()).expect("a process has an id");
        kill_process(id, Signal::TERM).expect("it runs");
        let status = wait_until("it stops", || self.0.try_wait().expect("it is our child"));
        status.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok(); // it has ended, or is ended now
        self.0.wait().ok();
    }
}

fn refused(world: &World) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = example(world).output().expect("the example runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_step_of_its_own_is_worked_by_the_service() {
    let world = World::new(
        "records = { format = \"csv\" }
         pipeline = [{ step = \"mask\", column = \"account\", keep = 2 }]",
    );
    world.move_in("in/sample.txt", "id,account\n1,AC0012345\n2,\"AC,7\"\n3,9\n");
    let log = std::fs::File::create(world.path("log")).expect("the log can be made");
    let running = Running(example(&world).stderr(log).spawn().expect("the example runs"));
    wait_until("the source is archived", || world.has("archive/sample.txt").then_some(()));
    assert_eq!(world.text("out/sample.main"), "id,account\n1,*******45\n2,\"**,7\"\n3,9\n");
    assert_eq!(running.stop(), Some(0), "{}", world.text("log"));
}

#[test]
fn wrong_parameters_of_a_step_of_its_own_are_told_by_their_place() {
    let world =
        World::new("records = { format = \"csv\" }\npipeline = [{ step = \"mask\", colum = \"id\" }]");
    let (code, said) = refused(&world);
    assert_eq!(code, Some(1), "{said}");
    for word in ["colum", "name the column to hide", "landfall.toml"] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}
