//! Promise: systemd is told how the service is: ready, what it is at, reloads, its end; and that it lives as long as its engine gets on. A
//! standby waits for the data folder, says so, and takes over by itself.
#![cfg(target_os = "linux")]

mod support;

use std::time::Duration;

use nix::sys::ptrace;
use nix::unistd::Pid;
use rustix::process::Signal;
use support::systemd::Systemd;
use support::{Service, World, lines, wait_until};

#[test]
fn a_service_is_ready_when_it_looked_through_its_folders_and_says_what_it_is_at_and_that_it_stops() {
    let world = World::new("ready = { stable_for = \"1h\" }");
    world.write("in/pay.txt", "one\n");
    let mut systemd = Systemd::new(&world);
    let mut service = systemd.start(&world, 0, "");
    let before = systemd.wait_for("READY=1", &service);
    assert!(before.contains(&"STATUS=starting".to_owned()), "{before:?}");
    systemd.wait_for("STATUS=no jobs, 1 file waiting", &service);
    service.signal(Signal::TERM);
    systemd.wait_for("STOPPING=1\nSTATUS=stopping", &service);
    let status = wait_until("it stops", || service.exited());
    assert!(status.success() && !systemd.told.iter().any(|text| text.contains("WATCHDOG")), "nobody asked");
}

#[test]
fn an_idle_service_says_nothing_twice() {
    let world = World::new("");
    let mut systemd = Systemd::new(&world);
    let service = systemd.start(&world, 0, "");
    systemd.wait_for("READY=1", &service);
    systemd.wait_for("STATUS=no jobs, no files waiting", &service);
    assert_eq!(systemd.next_within(Duration::from_millis(2500)), None);
    service.stop();
}

#[test]
fn a_reload_by_sighup_is_told_from_its_beginning_to_its_end() {
    let world = World::new("");
    let mut systemd = Systemd::new(&world);
    let service = systemd.start(&world, 0, "");
    systemd.wait_for("READY=1", &service);
    for _ in 0..2 {
        service.signal(Signal::HUP);
        systemd.wait_for("RELOADING=1\nMONOTONIC_USEC=", &service);
        systemd.wait_for("READY=1", &service);
    }
    world.write("landfall.toml", "config_version = 1\nnonsense = 1\n");
    service.signal(Signal::HUP);
    systemd.wait_for("RELOADING=1", &service);
    systemd.wait_for("READY=1", &service); // it goes by what it had
    service.stop();
}

/// A step may take as long as it likes: it is no proof that the engine hangs.
#[test]
fn a_watchdog_is_fed_while_a_step_takes_long() {
    let world = World::new(
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], protocol = \"line\", timeout = \"60s\" }]",
    );
    world.write_gate();
    let mut systemd = Systemd::new(&world);
    let mut service = systemd.start(&world, 400, "");
    world.move_in("in/pay.txt", lines(2000));
    service.wait_for(&world, "reached");
    systemd.forget();
    // Several of its times.
    for _ in 0..20 {
        systemd.wait_for("WATCHDOG=1", &service);
    }
    world.write("go", "");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
}

/// Goal: an engine that hangs is started anew. Method: one of its threads is held, as a debugger does, and let go.
#[test]
fn a_watchdog_is_not_fed_while_a_loop_of_the_engine_stands_still() {
    let world = World::new("");
    let mut systemd = Systemd::new(&world);
    let mut service = systemd.start(&world, 400, "");
    systemd.wait_for("READY=1", &service);
    let thread = thread_of(&service, "disk-space");
    ptrace::seize(thread, ptrace::Options::empty()).expect("it is our child's");
    ptrace::interrupt(thread).expect("it runs");
    service.wait_for_log("a loop of the engine stands still");
    assert!(service.log().contains("disk-space"), "{}", service.log());
    systemd.forget();
    assert_eq!(systemd.next_within(Duration::from_secs(1)), None, "it is not fed");
    nix::sys::wait::waitpid(thread, Some(nix::sys::wait::WaitPidFlag::__WALL)).expect("it stands");
    ptrace::detach(thread, None).expect("lets it go");
    systemd.wait_for("WATCHDOG=1", &service);
    service.wait_for_log("the engine gets on again");
    service.stop();
}

fn thread_of(service: &Service, name: &str) -> Pid {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.id())).expect("it runs");
    let is_it = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let task = tasks.flatten().find(is_it).expect("it has such a thread");
    Pid::from_raw(task.file_name().to_string_lossy().parse().expect("a number"))
}

#[test]
fn a_standby_waits_for_the_data_folder_and_takes_over_when_its_holder_dies() {
    let world = World::new("");
    let mut active = world.start();
    active.wait_until_it_watches();
    let mut systemd = Systemd::new(&world);
    let mut standby = systemd.start(&world, 0, "--standby");
    systemd.wait_for(&format!("is in use by process {}", active.id()), &standby);
    systemd.wait_for("EXTEND_TIMEOUT_USEC=", &standby);
    assert!(!systemd.told.iter().any(|text| text.contains("READY=1")), "{:?}", systemd.told);
    active.kill();
    systemd.wait_for("READY=1", &standby);
    assert!(standby.log().contains("taking over"), "{}", standby.log());
    world.move_in("in/pay.txt", "one\n");
    standby.wait_for(&world, "archive/pay.txt");
    standby.stop();
}

#[test]
fn a_standby_that_is_stopped_ends_cleanly() {
    let world = World::new("");
    let mut active = world.start();
    active.wait_until_it_watches();
    let mut systemd = Systemd::new(&world);
    let mut standby = systemd.start(&world, 0, "--standby");
    systemd.wait_for("standing by", &standby);
    standby.signal(Signal::TERM);
    systemd.wait_for("STOPPING=1", &standby);
    let status = wait_until("it stops", || standby.exited());
    assert!(status.success(), "{status}\n{}", standby.log());
    world.move_in("in/pay.txt", "one\n");
    active.wait_for(&world, "archive/pay.txt");
    active.stop();
}

/// Else a machine whose shared storage is not mounted would begin a store of its own.
#[test]
fn a_standby_begins_no_store_where_there_is_no_data_folder() {
    let world = World::new("");
    let mut systemd = Systemd::new(&world);
    let standby = systemd.start(&world, 0, "--standby");
    systemd.wait_for("is not there: is its file system mounted?", &standby);
    assert!(!world.has("data"));
    std::fs::create_dir(world.path("data")).expect("it is mounted");
    systemd.wait_for("READY=1", &standby);
    standby.stop();
}
