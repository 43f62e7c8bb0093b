//! Promise: whatever became of a service's configuration, commands find the service that runs by it, and never say that none does.
#![cfg(target_os = "linux")]

mod support;

use support::rules::{assert_works, config, config_of, in_rules_dir, reload, rule, started};
use support::{Service, World, wait_until};

/// Every command that asks, of a service with one completed job.
#[track_caller]
fn assert_found(world: &World) {
    let listed = world.json(&["jobs", "--json"]);
    assert_eq!(listed["service"], "running", "{listed:#}");
    let id = listed["jobs"][0]["id"].as_str().expect("its job is listed").to_owned();
    let rules = world.json(&["rules", "--json"]);
    assert_eq!(
        (&rules["service"], &rules["rules"][0]["name"]),
        (&"running".into(), &"first".into()),
        "{rules:#}"
    );
    world.landfall(&["show", &id]).done().says(&["completed"]);
    world.landfall(&["records", &id]).done();
    world.landfall(&["explain", "first-in/new.txt"]).done().says(&["rule \"first\": takes it"]);
    for said in [world.landfall(&["jobs"]), world.landfall(&["explain", "first-in/new.txt"])] {
        let said = format!("{}{}", said.stdout, said.stderr);
        assert!(!said.contains("no service") && !said.contains("not running"), "{said}");
    }
    let refused = world.landfall(&["retry", &id]).ends_with(1);
    assert!(refused.stderr.contains("completed") && !refused.stderr.contains("not running"), "{refused:#?}");
    world.write("by-hand", "by hand\n");
    world.landfall(&["ingest", "by-hand", "--rule", "first"]).done();
    assert!(world.has("first-out/by-hand.main"));
    support::remove(&world.path("first-out/by-hand.main"));
}

/// A service of these rules with one completed job.
fn with_a_job(world: &World) -> Service {
    let mut service = started(world);
    assert_works(&mut service, world, "first");
    service.wait_until("its job is done", || (world.jobs().first()?["state"] == "completed").then_some(()));
    service
}

#[test]
fn a_service_whose_main_file_is_away_or_no_toml_is_found_by_every_command() {
    let world = World::with_config(&config_of(&["first"]));
    let service = with_a_job(&world);
    let good = world.text("landfall.toml");
    support::remove(&world.path("landfall.toml"));
    reload(&world).ends_with(2).says(&["this file cannot be read"]);
    assert_found(&world);
    world
        .landfall(&["show", "--config", "landfall.toml", "zzzz"])
        .ends_with(1)
        .says(&["goes by what it read before"]);
    // Not even `data_dir` can be told.
    world.write("landfall.toml", "[service\n");
    reload(&world).ends_with(2).says(&["this is not TOML"]);
    assert_found(&world);
    world.write("landfall.toml", good);
    reload(&world).done().says(&["nothing changed"]);
    service.stop();
    world.write("landfall.toml", "[service\n");
    world.landfall(&["jobs"]).ends_with(2).says(&["this is not TOML"]);
}

#[test]
fn a_service_whose_data_folder_was_changed_in_its_file_is_found_until_it_is_restarted() {
    let world = World::with_config(&config_of(&["first"]));
    let service = with_a_job(&world);
    let moved = config_of(&["first"]).replace("data_dir = \"data\"", "data_dir = \"moved\"");
    world.write("landfall.toml", moved);
    reload(&world).done().says(&["service.data_dir"]);
    assert_found(&world);
    world.landfall(&["jobs"]).done().says(&["`service.data_dir` was changed", "restart"]);
    assert!(!world.has("moved"), "nothing is made beside the running service");
    service.stop();
    reload(&world).ends_with(1).says(&["the service is not running", "/moved"]);
    world.landfall(&["jobs"]).done().says(&["/moved", "no service is running"]);
}

/// One file for several services is no changed file.
#[test]
fn services_of_one_file_that_have_their_data_folders_from_the_environment_are_told_apart() {
    let world = World::with_config(&config_of(&["first"]));
    let service = with_a_job(&world);
    let asked = |data_dir: Option<&str>| {
        let mut command = world.command();
        command.args(["jobs", "--json"]);
        if let Some(data_dir) = data_dir {
            command.env("LANDFALL_SERVICE__DATA_DIR", data_dir);
        }
        let output = command.output().expect("the binary runs");
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
        listed["service"].clone()
    };
    assert_eq!(
        (asked(Some("other")), asked(Some("data")), asked(None)),
        ("stopped".into(), "running".into(), "running".into())
    );
    service.stop();
    let mut command = world.command();
    command.arg("run").env("LANDFALL_SERVICE__DATA_DIR", "other");
    let mut other = command.stderr(std::process::Stdio::null()).spawn().expect("the binary runs");
    wait_until("it listens", || world.has("other/control.json").then_some(()));
    wait_until("it answers", || (asked(Some("other")) == "running").then_some(()));
    assert_eq!(asked(None), "stopped", "the one of the environment is not meant");
    other.kill().expect("it is our child");
    other.wait().expect("it is our child");
}

/// What is read once cannot be read again.
#[test]
fn a_service_that_reads_its_configuration_once_says_so_to_who_asks_for_a_reload() {
    let world = World::with_config(&config_of(&["first"]));
    let binary = env!("CARGO_BIN_EXE_landfall");
    let absolute = config("", &[rule("first")])
        .replace("data_dir = \"data\"", &format!("data_dir = \"{}\"", world.path("data").display()));
    let in_world = format!("\"{}/first-", world.folder().display());
    world.write("piped", absolute.replace("\"first-", &in_world));
    let script = format!("exec {binary} run --config <(cat piped)");
    let mut service = Service::start_by(&world, &script);
    service.wait_until_it_watches();
    service.wait_for_log("no file that could be read again");
    let told = reload(&world).ends_with(1).says(&["no file that could be read again", "restart the service"]);
    assert!(!told.stderr.contains("not running"), "{told:#?}");
    service.signal(rustix::process::Signal::HUP);
    service.wait_for_log("the configuration is not read anew");
    support::remove(&world.path("data/control.json"));
    assert_answers(&world);
    service.stop();
}

/// Whether the running service answers, as `jobs` says.
#[track_caller]
fn assert_answers(world: &World) {
    assert_eq!(world.json(&["jobs", "--json"])["service"], "running");
}

#[test]
fn a_service_whose_address_somebody_removed_or_replaced_is_found_by_every_command() {
    let world = World::with_config(&config_of(&["first"]));
    let service = with_a_job(&world);
    let address = world.text("data/control.json");
    support::remove(&world.path("data/control.json"));
    assert_found(&world);
    world.write("data/control.json", address.replace("token", "nekot"));
    assert_answers(&world);
    assert_eq!(world.text("data/control.json"), address);
    let mode = world.sh("stat -c %a data/control.json");
    assert_eq!(mode.trim(), "600", "whoever can read it may ask");
    service.stop();
    assert!(!world.has("data/control.json"));
}

/// Somebody makes the place anew, and forgets the service that ran there.
#[test]
fn a_service_that_ends_leaves_the_one_that_came_after_it_to_be_found() {
    let world = World::with_config(&config_of(&["first"]));
    let mut first = with_a_job(&world);
    world.sh("rm -rf data first-in first-out; mkdir first-in first-out");
    let second = started(&world);
    let address = world.text("data/control.json");
    wait_until("the first one ends, with its store gone", || first.exited());
    assert_eq!(world.text("data/control.json"), address);
    assert_answers(&world);
    second.stop();
}

/// No thread of a process that is stopped answers, or writes its address anew.
#[test]
fn a_service_that_does_not_answer_is_told_as_one_that_runs_with_what_to_do() {
    use rustix::process::Signal;
    let world = World::with_config(&config_of(&["first"]));
    let service = with_a_job(&world);
    service.signal(Signal::STOP);
    support::remove(&world.path("data/control.json"));
    let kill = format!("kill -CONT {}", service.id());
    let words =
        ["in use by process", "answers no command", "`control.json` is not there", "stands still", &kill];
    world.landfall(&["jobs"]).says(&words);
    world.landfall(&["status"]).says(&words);
    service.signal(Signal::CONT);
    assert_answers(&world);
    service.stop();
}

#[test]
fn who_asks_a_running_service_reads_no_folder_of_rules() {
    let world = World::with_config(&config_of(&["first"]));
    world.write("rules.d/second.toml", in_rules_dir("second"));
    let service = with_a_job(&world);
    let opened = |command: &str| {
        world.sh(&format!(
            "strace -f -e trace=openat,open -o opened {} {command} >/dev/null 2>&1",
            env!("CARGO_BIN_EXE_landfall")
        ));
        world.text("opened")
    };
    for command in ["jobs", "rules", "explain first-in/a.txt"] {
        let opened = opened(command);
        assert!(opened.contains("landfall.toml") && !opened.contains("rules.d"), "{command}: {opened}");
    }
    service.stop();
}
