//! Promise: what the system refuses the service is told with who may not do what, whose it is, and the command that grants it; `check`
//! tries a layout as the service will use it, and leaves nothing behind.
//!
//! Services and senders are users of their own here; where the tests do not run as root they say so and pass.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::{Ran, World, without_our_variables};

/// Neither has a name on a usual machine.
const SERVICE: u32 = 4001;
const PARTNER: u32 = 4002;

/// A world whose service is a user without privileges, in a group of his own. None, loudly, where that cannot be.
fn zone(rule: &str) -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: a service and a sender of different users need root");
        return None;
    }
    let world = World::new(rule);
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    // A build folder may be closed to other users.
    fs::copy(env!("CARGO_BIN_EXE_landfall"), world.path("landfall")).expect("the binary can be copied");
    world.sh(&format!(
        "mkdir -p data out archive; chown {SERVICE}:{SERVICE} data out archive; chmod 700 data; chmod 755 in"
    ));
    Some(world)
}

/// Runs `landfall ARGUMENTS` as the service's user, who has no capability.
fn as_service(world: &World, arguments: &[&str]) -> Ran {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={SERVICE}"), format!("--regid={SERVICE}"), "--clear-groups".to_owned()]);
    command.arg(world.path("landfall")).args(arguments).current_dir(world.folder());
    without_our_variables(&mut command);
    Ran::new(&command.output().expect("the binary runs"))
}

#[test]
fn a_file_that_may_not_be_read_waits_and_its_reason_has_the_command_that_lets_it_go_on() {
    let Some(world) = zone("") else { return };
    world.sh(&format!(
        "chown {SERVICE}:{SERVICE} in; echo 1 > in/a; chown {PARTNER}:{PARTNER} in/a; chmod 600 in/a"
    ));
    let mut service = world.start_as(SERVICE);
    let file = world.path("in/a").display().to_string();
    let command = format!("setfacl -m u:{SERVICE}:r {file}");
    service.wait_until("`explain` says it", || {
        let said = as_service(&world, &["explain", "in/a"]);
        let said = format!("{}{}", said.stdout, said.stderr);
        let who = format!("user {SERVICE} may not read {file} ({PARTNER}:{PARTNER}, mode 0600)");
        (said.contains(&who) && said.contains(&format!("`{command}`"))).then_some(())
    });
    assert!(service.log().contains(&command), "{}", service.log());
    world.sh(&command);
    service.wait_for(&world, "out/a.main");
    service.stop();
}

#[test]
fn the_first_folder_on_the_way_that_refuses_is_named_by_the_job_that_waits_for_it() {
    let Some(world) = zone("output = { main = { path = \"closed/out/{stem}.main\" } }") else { return };
    world.sh(&format!(
        "chown {SERVICE}:{SERVICE} in; mkdir -p closed/out; chmod 700 closed; chown {SERVICE} closed/out"
    ));
    let mut service = world.start_as(SERVICE);
    world.move_in("in/a", "1\n");
    let closed = world.path("closed").display().to_string();
    let command = format!("setfacl -m u:{SERVICE}:x {closed}");
    let hint = service.wait_until("it waits", || {
        let jobs = as_service(&world, &["jobs", "--json"]).stdout;
        let jobs: serde_json::Value = serde_json::from_str(&jobs).ok()?;
        jobs["jobs"][0]["error"]["hint"].as_str().map(str::to_owned)
    });
    assert!(
        hint.contains(&format!("user {SERVICE} may not go into {closed} (root:root, mode 0700)")),
        "{hint}"
    );
    assert!(hint.contains(&format!("`{command}`")), "{hint}");
    world.sh(&command);
    service.wait_for(&world, "closed/out/a.main");
    service.stop();
}
