//! Promise: a program with steps of its own has every command of `landfall`, rules can name its steps, and `landfall` itself answers
//! beside it.
#![cfg(unix)]

mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use landfall::Registry;
use rustix::process::{Pid, Signal, kill_process};
use support::{RULE, World, wait_until};

/// `examples/own_step.rs`, which registers `mask`.
fn example(world: &World) -> Command {
    let landfall = PathBuf::from(env!("CARGO_BIN_EXE_landfall"));
    let program = landfall.with_file_name("examples").join("own_step");
    assert!(program.is_file(), "{} is not built: cargo build --examples", program.display());
    let mut command = Command::new(program);
    command.current_dir(world.folder()).stdin(Stdio::null());
    command
}

const MASK: &str = "records = { format = \"csv\" }
                    pipeline = [{ step = \"mask\", column = \"account\", keep = 2 }]";
const SAMPLE: &str = "id,account\n1,AC0012345\n2,\"AC,7\"\n3,9\n4,AC7,surplus\n5\n";
const MASKED: &str = "id,account\n1,*******45\n2,\"**,7\"\n3,9\n4,*C7,surplus\n5\n";

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

fn ran(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        example(world).args(arguments).output().expect("the example runs");
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

fn start(world: &World) -> Running {
    let log = std::fs::File::create(world.path("log")).expect("the log can be made");
    Running(example(world).arg("run").stderr(log).spawn().expect("the example runs"))
}

#[test]
fn a_step_of_its_own_is_worked_by_the_service() {
    let world = World::new(MASK);
    world.move_in("in/sample.txt", SAMPLE);
    let running = start(&world);
    wait_until("the source is archived", || world.has("archive/sample.txt").then_some(()));
    assert_eq!(world.text("out/sample.main"), MASKED);
    assert_eq!(running.stop(), Some(0), "{}", world.text("log"));
}

#[test]
fn the_program_has_every_command_under_its_own_name() {
    let world = World::new(MASK);
    world.write("sample.txt", SAMPLE);
    let (code, said) = ran(&world, &["check"]);
    assert_eq!((code, said.contains("ok")), (Some(0), true), "{said}");
    let (code, said) = ran(&world, &["ingest", "sample.txt", "--rule", RULE]);
    assert_eq!((code, said.contains("completed")), (Some(0), true), "{said}");
    assert_eq!(world.text("out/sample.main"), MASKED);
    assert!(ran(&world, &["jobs"]).1.contains("sample.txt"));
    let (code, said) = ran(&world, &["--help"]);
    assert_eq!((code, said.contains("Usage: own_step ")), (Some(0), true), "{said}");
    assert_eq!(ran(&world, &["jbs"]).0, Some(2));
}

#[test]
fn landfall_itself_answers_beside_it_and_hands_it_files() {
    let world = World::new(MASK);
    world.move_in("in/bad.txt", "id,number\n1,2\n");
    let running = start(&world);
    let failed = wait_until("the job fails", || {
        let failed = world.json(&["jobs", "--state", "failed", "--json"]);
        failed["jobs"][0]["id"].as_str().map(str::to_owned)
    });
    world.landfall(&["show", &failed]).done().says(&["bad.txt", "account"]);
    world.landfall(&["records", &failed]).done();
    world.landfall(&["retry", &failed]).done().says(&["running service"]);
    world.write("sample.txt", SAMPLE);
    world.ingest(&["sample.txt"]).done().says(&["completed"]);
    assert_eq!(world.text("out/sample.main"), MASKED);
    assert_eq!(running.stop(), Some(0), "{}", world.text("log"));
    // Without it: who only asks needs no steps, who works does.
    world.landfall(&["jobs"]).done().says(&["bad.txt"]);
    world.landfall(&["recover", "in/.landfall"]).done();
    world.ingest(&["sample.txt"]).ends_with(2).says(&["unknown step `mask`"]);
    world.landfall(&["check"]).ends_with(2).says(&["unknown step `mask`"]);
}

#[test]
fn wrong_parameters_of_a_step_of_its_own_are_told_by_their_place() {
    let world =
        World::new("records = { format = \"csv\" }\npipeline = [{ step = \"mask\", colum = \"id\" }]");
    let (code, said) = ran(&world, &["run"]);
    assert_eq!(code, Some(2), "{said}");
    for word in ["colum", "name the column to hide", "landfall.toml"] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

#[test]
fn a_service_within_a_program_is_stopped_by_its_handle_and_can_be_started_again() {
    let world = World::new("");
    for name in ["first", "second"] {
        let config = world.path("landfall.toml");
        let service = landfall::serve(Some(&config), Registry::with_builtin_steps()).expect("it starts");
        world.move_in(&format!("in/{name}"), "1\n");
        wait_until("the file is taken", || world.has(format!("archive/{name}")).then_some(()));
        let stopper = service.stopper();
        let waiting = std::thread::spawn(move || service.wait());
        stopper.stop();
        waiting.join().expect("no panic").expect("it stops cleanly");
        assert!(!world.has("data/control.json"));
    }
    world.write("landfall.toml", "config_version = 1\nservic = 2\n");
    let wrong = landfall::serve(Some(&world.path("landfall.toml")), Registry::with_builtin_steps());
    assert!(matches!(wrong, Err(landfall::ServiceError::Config(_))));
}
