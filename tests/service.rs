//! Promise: the service stops when asked, goes on where it was, shares its folders with nobody, and idles quietly.
#![cfg(unix)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Service, World, lines, wait_until};

/// A step that waits for `go` keeps a job running until the test lets it end.
const GATED: &str = r#"
records = { format = "lines", slice_records = 100 }
pipeline = [{ step = "exec", confine = false, command = ["./gate"], protocol = "line", timeout = "60s" }]
"#;

fn gated(service: &str) -> World {
    let world = World::with_service(service, GATED);
    world.write_gate();
    world
}

#[test]
fn sigterm_and_sigint_stop_an_idle_service_cleanly() {
    let world = World::new("");
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = world.start();
        world.move_in("in/pay.txt", "one\n");
        service.wait_until("it works", || (!world.has("in/pay.txt")).then_some(()));
        service.signal(signal);
        let status = wait_until("it stops", || service.exited());
        assert!(status.success(), "{signal:?}: {status}\n{}", service.log());
    }
}

#[test]
fn a_service_that_was_started_to_outlive_its_terminal_does() {
    let world = World::new("");
    let mut service = world.start_ignoring_hang_up();
    service.wait_until_it_watches();
    service.signal(Signal::HUP);
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
}

#[test]
fn a_stop_while_the_service_is_starting_is_clean_too() {
    for _ in 0..5 {
        let world = World::new("");
        let mut service = world.start();
        service.wait_for(&world, "data/landfall.lock");
        service.stop();
    }
}

#[test]
fn a_stop_ends_within_its_timeout_and_the_next_start_goes_on() {
    let world = gated("stop_timeout = \"2s\"");
    let text = lines(3000);
    let mut service = world.start();
    world.move_in("in/pay.txt", &text);
    service.wait_for(&world, "reached");
    let asked = Instant::now();
    service.stop();
    assert!(asked.elapsed() < Duration::from_secs(15), "it took {:?}", asked.elapsed());
    assert_eq!(
        world.files("out").iter().filter(|name| !name.starts_with('.')).count(),
        0,
        "half an output is visible"
    );

    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert!(world.text("out/pay.main") == text, "records were lost or doubled");
    assert_eq!(world.files("out"), ["pay.main"]);
    assert_eq!(world.completed()["records_in"], 3000);
}

#[test]
fn a_clean_stop_is_no_failed_attempt() {
    // The last sync has an eighth of it, on a disk that may be busy.
    let world = gated("stop_timeout = \"2s\"");
    world.write("in/pay.txt", lines(3000));
    for _ in 0..3 {
        let mut service = world.start();
        service.wait_for(&world, "reached");
        service.stop();
        support::remove(&world.path("reached"));
    }
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    let job = world.completed();
    assert_eq!(job["records_failed"], 0);
    assert_eq!(job["attempts"], 1, "{job:#}");
}

/// A port of 127.0.0.1 is anybody's once the service is dead.
#[test]
fn who_takes_a_killed_services_port_is_not_taken_for_the_service() {
    let world = World::new("");
    world.sh("printf 'x\\0y\\n' > in/bad");
    let mut service = world.start();
    let is_failed = || world.jobs().first().is_some_and(|job| job["state"] == "failed").then_some(());
    service.wait_until("it fails", is_failed);
    let id = world.job()["id"].as_str().expect("an id").to_owned();
    service.kill();
    let address = || serde_json::from_str::<serde_json::Value>(&world.text("data/control.json"));
    let address = address().expect("a killed service leaves its address");
    let port = u16::try_from(address["port"].as_u64().expect("a port")).expect("a port");
    let impostor = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    let (heard, requests) = std::sync::mpsc::sync_channel(16);
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in impostor.incoming() {
            let mut stream = stream.expect("is accepted");
            writeln!(stream, "{{\"nonce\":\"{}\"}}", "0".repeat(64)).ok();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).ok();
            stream.write_all(b"{\"item\":null}\n\"end\"\n").ok();
            heard.send(request).ok();
        }
    });
    world.landfall(&["jobs"]).done().says(&["failed", "in/bad"]);
    world.landfall(&["retry", &id]).done().says(&[&id, "`landfall run` takes it"]);
    assert_eq!(world.job()["state"], "queued");
    let token = address["token"].as_str().expect("a token");
    let heard: Vec<String> = requests.try_iter().collect();
    assert!(heard.len() >= 2 && heard.iter().all(|request| !request.contains(token)), "{heard:?}");
}

#[test]
fn a_second_process_on_the_same_data_folder_refuses_and_names_the_first() {
    let world = World::new("");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    let second = world.landfall(&["run"]);
    assert_ne!(second.code, Some(0), "{second:#?}");
    second.says(&["data", &service.id().to_string()]);
    // The first is none the worse for it.
    world.move_in("in/next.txt", "two\n");
    service.wait_for(&world, "archive/next.txt");
    service.stop();
}

#[test]
fn a_killed_service_blocks_nothing() {
    let world = World::new("");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    service.kill();
    let mut service = world.start();
    world.move_in("in/next.txt", "two\n");
    service.wait_for(&world, "archive/next.txt");
    service.stop();
}

#[test]
fn a_second_service_on_the_same_watched_folder_refuses_and_names_the_first() {
    let world = World::new("");
    let mut first = world.start();
    world.move_in("in/pay.txt", "one\n");
    first.wait_for(&world, "archive/pay.txt");
    world.write(
        "other.toml",
        world.text("landfall.toml").replace("data_dir = \"data\"", "data_dir = \"other\""),
    );
    let second = world.landfall(&["run", "--config", "other.toml"]);
    assert_ne!(second.code, Some(0), "{second:#?}");
    second.says(&["in", &first.id().to_string()]);
    first.stop();
}

/// What is locked cannot be unmounted.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_service_locks_no_claim_folder_and_a_second_one_is_refused_all_the_same_until_it_ends() {
    let world = World::new("");
    let mut first = world.start();
    world.move_in("in/pay.txt", "one\n");
    first.wait_for(&world, "archive/pay.txt");
    let is_locked = || {
        let lock = std::fs::File::open(world.path("in/.landfall/landfall.lock")).expect("is there");
        lock.try_lock().is_err()
    };
    first.wait_until("its lock is let go", || (!is_locked()).then_some(()));
    world.write(
        "other.toml",
        world.text("landfall.toml").replace("data_dir = \"data\"", "data_dir = \"other\""),
    );
    let id = first.id().to_string();
    let second = world.landfall(&["run", "--config", "other.toml"]);
    assert_ne!(second.code, Some(0), "{second:#?}");
    second.says(&["in", &id]);
    world.landfall(&["recover", "in/.landfall"]).ends_with(1).says(&["in use by", &id]);
    // The first is none the worse for it.
    world.move_in("in/next.txt", "two\n");
    first.wait_for(&world, "archive/next.txt");
    first.kill();
    world.landfall(&["recover", "in/.landfall"]).done();
    world.sh("cp other.toml landfall.toml");
    let mut second = world.start();
    world.move_in("in/last.txt", "three\n");
    second.wait_for(&world, "archive/last.txt");
    second.stop();
}

#[test]
fn a_claim_in_a_folder_that_a_service_watches_is_refused_and_names_the_service() {
    // The service leaves a file without its marker alone: it lies there for the command to claim.
    let world = World::new("ready = { strategy = \"marker\", marker = \"{name}.done\" }");
    let mut service = world.start();
    world.move_in("in/first.txt", "one\n");
    world.move_in("in/first.txt.done", "");
    service.wait_for(&world, "archive/first.txt");
    world.write("in/pay.txt", "two\n");
    world.write(
        "other.toml",
        world.text("landfall.toml").replace("data_dir = \"data\"", "data_dir = \"other\""),
    );
    let arguments = ["ingest", "--config", "other.toml", "--rule", support::RULE, "in/pay.txt"];
    let retiring = world.landfall(&[&arguments[..], &["--retire"]].concat());
    retiring.ends_with(1).says(&["in", &service.id().to_string()]);
    assert_eq!(world.text("in/pay.txt"), "two\n", "the refused file stays where it lies");
    // Reading it takes nothing from anybody.
    world.landfall(&arguments).done();
    service.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_service_uses_next_to_no_processor_time() {
    let world = World::new("");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    let (before, from) = (service.cpu_seconds(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let share = (service.cpu_seconds() - before) / from.elapsed().as_secs_f64();
    assert!(share < 0.05, "{:.1}% of a core while idle", share * 100.0);
    service.stop();
}

/// A terminal with Ctrl-S, a pager, a log driver that hangs: somebody has the other end, and does not read.
#[test]
fn a_log_that_nobody_reads_holds_up_no_file_no_answer_and_no_stop() {
    // What is logged of them fills the pipe, and what may wait.
    const FILES: usize = 800;
    let world = World::new("");
    let script = format!("mkfifo log && exec 3<>log && exec {} run 2>&3", env!("CARGO_BIN_EXE_landfall"));
    let mut service = Service::start_by(&world, &script);
    let name = |number: usize| format!("{}-{number:04}.txt", "n".repeat(200));
    for number in 0..FILES {
        world.move_in(&format!("in/{}", name(number)), "one\n");
    }
    service.wait_until_within(3 * support::DEADLINE, "all are archived", || {
        (0..FILES).all(|number| world.has(format!("archive/{}", name(number)))).then_some(())
    });
    assert_eq!(world.landfall(&["status"]).code, Some(0));
    let asked = Instant::now();
    service.signal(Signal::TERM);
    let status = wait_until("it stops", || service.exited());
    assert!(status.success(), "{status}");
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "it waited for who reads its log: {:?}",
        asked.elapsed()
    );
}

#[test]
fn every_event_of_a_json_log_is_one_json_line_with_the_job_and_the_rule() {
    let world = World::new("");
    let ran = world.landfall(&["--log-format", "json", "run", "--help"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    world.write("pay.txt", "one\n");
    let ran = world
        .landfall(&[
            "ingest",
            "pay.txt",
            "--rule",
            support::RULE,
            "--log-format",
            "json",
            "--log-level",
            "info",
        ])
        .done();
    let events: Vec<serde_json::Value> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(events.iter().any(|event| event.to_string().contains("\"rule\":\"payments\"")), "{}", ran.stderr);
}

/// The work stands still while loading goes on: past `memory_max` slices wait in the store, and come back in order.
#[test]
fn loading_runs_ahead_through_the_store_and_loses_nothing() {
    let world = gated("memory_max = \"1MiB\"\nload_ahead = \"64MiB\"");
    let text = lines(150_000);
    let mut service = world.start();
    world.move_in("in/pay.txt", &text);
    service.wait_for(&world, "reached");
    world.write("go", "");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert!(world.text("out/pay.main") == text, "records were lost, doubled or out of order");
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_file_takes_no_more_memory_than_a_small_one() {
    let world = World::with_service("memory_max = \"16MiB\"", "");
    let mut service = world.start();
    let mut peak_after = |name: &str, count: usize| {
        world.move_in(&format!("in/{name}"), lines(count));
        service.wait_for(&world, &format!("archive/{name}"));
        service.peak_memory_bytes()
    };
    let small = peak_after("small.txt", 100_000);
    let large = peak_after("large.txt", 1_000_000);
    assert!(large < small + (64 << 20), "{} MB after {} MB", large >> 20, small >> 20);
    service.stop();
}

#[test]
fn who_asks_is_told_whether_a_service_runs() {
    let world = World::new("");
    let asked = |arguments: &[&str]| world.landfall(arguments).stdout;
    assert!(asked(&["jobs"]).contains("no service is running"));
    assert_eq!(world.json(&["jobs", "--json"])["service"], "stopped");
    let mut service = world.start();
    service.wait_until_it_watches();
    assert_eq!(asked(&["jobs"]).trim(), "no jobs");
    assert_eq!(world.json(&["jobs", "--json"])["service"], "running");
    service.stop();
    assert!(asked(&["jobs"]).contains("no service is running"));
}

#[test]
fn a_retry_without_a_choice_shows_the_choices_and_a_refusal_among_many_names_its_job() {
    let world = World::new("");
    let ran = world.landfall(&["retry"]).ends_with(2);
    assert!(
        ran.stderr.contains("<JOB|--state <STATE>|--rule <NAME>|--sender <NAME>|--since <TIME>>"),
        "{}",
        ran.stderr
    );
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_folder_that_takes_no_file_is_the_one_that_is_named() {
    if !are_we_root() {
        return;
    }
    let world = World::new("");
    world.sh("mkdir -p in data archive; chown -R 2001 .; chown 0 archive; chmod 755 . archive; chmod 644 landfall.toml");
    let mut service = world.start_as(2001);
    world.write("in/pay.txt", "one\n");
    service.wait_for_log("/archive/pay.txt");
    service.wait_for_log("write in");
    let log = service.log();
    assert!(
        log.contains("/archive (root:root, mode 0755): `chgrp 2001 ") && !log.contains("that folder"),
        "{log}"
    );
    service.stop();
}

fn are_we_root() -> bool {
    let is_root = std::process::Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
    if !is_root {
        eprintln!("skipped: a service of another user needs root");
    }
    is_root
}

#[test]
fn check_tells_each_folder_and_key_for_which_the_one_who_asks_has_no_rights() {
    use std::os::unix::process::CommandExt as _;
    if !are_we_root() {
        return;
    }
    let world = World::new(
        "paths = ['in/{sender}/in/*']\ndecode.identities = ['key']\nsource = { on_success = 'archive', archive_dir = 'archive/{date}' }",
    );
    world.age_key_in("key");
    world.sh("chmod 755 . in; chmod 644 landfall.toml; chmod 600 key; mkdir -p data/open; chmod 700 data");
    let check = || {
        let ran = world.command().arg("check").uid(2001).gid(2001).output().expect("starts");
        String::from_utf8(ran.stdout).expect("is text")
    };
    let of_roots = check();
    assert!(of_roots.contains("this user may not open the data folder"), "{of_roots}");
    assert!(of_roots.contains("no folder below") && !of_roots.contains("may not make"), "{of_roots}");
    world.sh("chown -R 2001 data; mkdir -p in/a/in in/b/in; chmod 755 in/a in/a/in in/b; chmod 700 in/b/in");
    let told = check();
    for words in [
        "/key cannot be read",
        "setfacl -m u:2001:r ",
        "/archive cannot be made: user 2001 may not write in",
        "/out cannot be made: user 2001 may not write in",
        "2 of 2 folders: user 2001 may not list and write in",
    ] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
    assert!(!told.contains("may not open the data folder") && !told.contains("no folder below"), "{told}");
    world.sh("chown -R 2001 .");
    assert!(!check().contains("warning"), "{}", check());
}

#[test]
fn what_is_refused_is_told_with_what_is_probably_meant_and_where_the_file_went() {
    let rule = "paths = ['in/*.csv']\nrecords = { format = 'csv' }\npipeline = [{ step = 'validate', columns = { amount = { required = true } } }]\noutput = { main = { path = 'out/{stem}.main' }, invalid = { path = 'out/{stem}.invalid' } }\nerrors = { failed_max = 0 }";
    let world = World::new(rule);
    world.write("in/other.txt", "");
    world
        .landfall(&["check", "--files"])
        .done()
        .says(&["1 file in watched folders that no rule takes", "in/other.txt"]);
    for delimiter in [";", "\t", "|"] {
        world.write("in/a.csv", format!("id{delimiter}amount\n1{delimiter}2\n"));
        let told = world.landfall(&["ingest", "--rule", support::RULE, "in/a.csv"]).ends_with(1).stdout;
        let shown = delimiter.replace('\t', "\\t");
        assert!(told.contains(&format!("`records.delimiter = \"{shown}\"` meant?")), "{told}");
    }
    world.write("in/b.csv", "amount,x\n1,\"a\n");
    let told =
        world.landfall(&["ingest", "--rule", support::RULE, "--dry-run", "in/b.csv"]).ends_with(1).stdout;
    assert!(told.contains("hint: raise the limit") && !told.contains("landfall records"), "{told}");
    world.write("in/c.csv", "amount,x\n1,2\n");
    world.ingest_and_retire("in/c.csv").done().says(&["retired ", "/archive/c.csv"]);

    let world = World::new("decode = { require = ['encrypted'] }");
    world.write("in/empty.txt", "");
    world
        .landfall(&["ingest", "--rule", support::RULE, "in/empty.txt"])
        .ends_with(1)
        .says(&["the file is empty"]);
}
