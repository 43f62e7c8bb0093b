//! Promise: with `service.audit` each thing that happened to a file, and each act of an operator, has one line in a trail in which nothing
//! can be changed, left out or cut off unseen; whatever is killed.

mod support;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use support::{World, lines, wait_until};

fn world() -> World {
    World::with_service("audit = true", "")
}

fn files(world: &World) -> Vec<PathBuf> {
    let mut files: Vec<_> = match fs::read_dir(world.path("data/audit")) {
        Ok(entries) => entries.map(|entry| entry.expect("is there").path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    files
}

/// What `landfall audit --json` prints, a line each.
fn trail(world: &World) -> Vec<Value> {
    let ran = world.landfall(&["audit", "--json"]).done();
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn events(trail: &[Value]) -> Vec<String> {
    trail.iter().map(|line| line["event"].as_str().expect("a text").to_owned()).collect()
}

/// A world in which two files were ingested and the service has stopped.
fn with_two_jobs() -> World {
    let world = world();
    let mut service = world.start();
    for name in ["a", "b"] {
        world.move_in(&format!("in/{name}.txt"), lines(10));
        service.wait_for(&world, &format!("archive/{name}.txt"));
    }
    wait_until("both are completed", || {
        (world.jobs().iter().filter(|job| job["state"] == "completed").count() == 2).then_some(())
    });
    service.stop();
    world
}

#[test]
fn what_became_of_a_file_and_who_did_what_has_a_line_each_and_the_trail_is_whole() {
    let world = world();
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(10));
    service.wait_for(&world, "archive/pay.txt");
    let job = wait_until("it is completed", || Some(world.job()).filter(|job| job["state"] == "completed"));
    let id = job["id"].as_str().expect("a text").to_owned();
    world.landfall(&["rerun", &id]).done();
    wait_until("it is done again", || {
        (world.jobs().iter().filter(|job| job["state"] == "completed").count() == 2).then_some(())
    });
    world.landfall(&["pause", "--rule", "payments"]).done();
    world.landfall(&["audit", "verify"]).done().says(&["ok: "]);
    service.stop();
    let trail = trail(&world);
    let expected = [
        "started",
        "claimed",
        "published",
        "completed",
        "rerun",
        "claimed",
        "published",
        "completed",
        "pause",
        "stopped",
    ];
    assert_eq!(events(&trail), expected, "{trail:#?}");
    let (claimed, published, completed, rerun) = (&trail[1], &trail[2], &trail[3], &trail[4]);
    assert_eq!((&claimed["job"], &claimed["by"]), (&job["id"], &"service".into()));
    assert_eq!(claimed["source"], job["source"]);
    assert_eq!(
        (&published["content_hash"], &published["outputs"][0]),
        (&job["content_hash"], &job["outputs"][0]["path"])
    );
    assert_eq!(completed["retired_to"], job["retired_to"]);
    assert_eq!(rerun["job"], job["id"]);
    assert_ne!(rerun["by"], "service", "a user did it: {rerun:#}");
    assert_eq!(trail[8]["rule"], "payments");
    let of_job = world.landfall(&["audit", "--job", &id]).done().stdout;
    assert_eq!(of_job.lines().filter(|line| line.contains(&id)).count(), 4, "{of_job}");
    world.landfall(&["audit", "verify"]).done();
    #[cfg(unix)]
    {
        let modes = world.sh("stat -c %a data/audit data/audit/*");
        assert_eq!(modes, "700\n600\n");
    }
}

#[test]
fn nothing_is_kept_where_nobody_asks_for_it() {
    let world = World::new("");
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert!(files(&world).is_empty());
    world.landfall(&["audit"]).ends_with(1).says(&["service.audit = true"]);
    world.landfall(&["audit", "verify"]).ends_with(1);
}

/// Each by somebody who may write in the data folder.
#[test]
fn a_trail_that_was_changed_is_told_with_the_line_and_the_reason() {
    let world = with_two_jobs();
    let file = files(&world).remove(0);
    let whole = fs::read_to_string(&file).expect("reads");
    let text: Vec<&str> = whole.lines().collect();
    let without = |left_out: usize| {
        let kept =
            text.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| format!("{line}\n"));
        kept.collect::<String>()
    };
    let swapped = whole.replacen("\"event\":\"published\"", "\"event\":\"abandoned\"", 1);
    let last = text.len() - 1;
    for (changed, line, why) in [
        (swapped, 3, "the line was changed"),
        (without(2), 3, "lines are gone"),
        (without(0), 1, "which is not its name"),
        (without(last), last, "cut off"),
        (String::new(), 0, "cut off"),
        (format!("{whole}{{}}\n"), last + 2, "no line of a trail"),
        (whole.trim_end().to_owned(), last + 1, "the line has no end"),
    ] {
        fs::write(&file, changed).expect("writes");
        let ran = world.landfall(&["audit", "verify"]).ends_with(1);
        ran.says(&[&format!(".jsonl:{line}: "), why]);
    }
    // One that was linked anew, with right hashes, is another than the store knows.
    fs::write(&file, &whole).expect("writes");
    world.landfall(&["audit", "verify"]).done();
    support::remove(&file);
    world.landfall(&["audit", "verify"]).ends_with(1).says(&["no file of it lies in"]);
    // The service goes on behind the gap, says so, and the gap stays to be seen.
    let mut service = world.start();
    service.wait_for_log("lines of the audit trail are gone");
    service.stop();
    world.landfall(&["audit", "verify"]).ends_with(1);
}

#[test]
fn files_of_a_backup_are_verified_by_themselves() {
    let world = with_two_jobs();
    let file = files(&world).remove(0);
    fs::copy(&file, world.path("copy.jsonl")).expect("copies");
    world.landfall(&["audit", "verify", "copy.jsonl"]).done().says(&["ok: "]);
    world.sh("sed -i '2s/claimed/failed/' copy.jsonl");
    world.landfall(&["audit", "verify", "copy.jsonl"]).ends_with(1).says(&["copy.jsonl:2: "]);
}

/// Kills at whatever moment: while files are claimed, published, and written down.
#[cfg(unix)]
#[test]
fn a_trail_is_whole_after_any_kill_and_no_event_is_lost_or_there_twice() {
    const ROUNDS: usize = 12;
    let world = world();
    for round in 0..ROUNDS {
        let mut service = world.start();
        service.wait_until_it_watches();
        for file in 0..5 {
            world.move_in(&format!("in/{round}-{file}.txt"), lines(3));
        }
        // Another moment each time: so many are archived.
        let archived = || world.files("archive").len();
        service.wait_until("some are archived", || (archived() >= round * 5 + round % 5).then_some(()));
        service.kill();
        if let Some(file) = files(&world).last().filter(|_| round % 3 == 0) {
            // What a power cut may leave of a line that was being written.
            let half = fs::read_to_string(file).expect("reads") + "{\"seq\":9";
            fs::write(file, half).expect("writes");
        }
    }
    let mut service = world.start();
    service.wait_until("all are done", || {
        (world.jobs().iter().filter(|job| job["state"] == "completed").count() == ROUNDS * 5).then_some(())
    });
    service.stop();
    world.landfall(&["audit", "verify"]).done();
    let trail = trail(&world);
    for job in world.jobs() {
        let of_job: Vec<Value> = trail.iter().filter(|line| line["job"] == job["id"]).cloned().collect();
        assert_eq!(events(&of_job), ["claimed", "published", "completed"], "{job:#}");
    }
}

/// A service takes by itself what is saved: so who asks for it is told from nobody.
#[test]
fn a_reload_is_his_who_asked_for_it_and_names_what_counts_after_a_restart() {
    let world = world();
    world.sh("sed -i 's/^stable_for/# a word\\nstable_for/' landfall.toml");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.landfall(&["reload"]).done();
    let config = world.text("landfall.toml");
    world.write("other.toml", config.replace("audit = true", "audit = false").replace("payments", "wages"));
    world.sh("mv other.toml landfall.toml");
    world.landfall(&["reload"]).done();
    service.stop();
    let trail = trail(&world);
    assert_eq!(events(&trail), ["started", "reloaded", "stopped"], "{trail:#?}");
    assert_eq!(trail[1]["about"], "after a restart: service.audit");
    assert_ne!(trail[1]["by"], "service", "a user did it: {trail:#?}");
}

#[test]
fn that_the_trail_is_turned_off_stands_in_it_as_its_last_line() {
    let world = world();
    world.start().stop();
    world.sh("sed -i 's/audit = true/audit = false/' landfall.toml");
    for _ in 0..2 {
        let mut service = world.start();
        service.wait_until_it_watches();
        service.stop();
    }
    let trail = trail(&world);
    assert_eq!(events(&trail), ["started", "stopped", "trail_off"], "{trail:#?}");
    world.landfall(&["audit", "verify"]).done();
}

#[test]
fn a_rekey_stands_in_the_trail_with_who_did_it() {
    let world = World::with_service("audit = true\nat_rest = { encrypt = true }", "");
    world.start().stop();
    world.landfall(&["rekey"]).done();
    world.start().stop();
    let trail = trail(&world);
    let rekey = trail.iter().find(|line| line["event"] == "rekey").expect("it is there");
    assert_ne!(rekey["by"], "service", "a user did it: {trail:#?}");
}

/// Names are what the data folder does not tell without its key.
#[test]
fn a_trail_beside_an_encrypted_store_has_hashes_in_place_of_names() {
    let world = World::with_service("audit = true\nat_rest = { encrypt = true }", "");
    let mut service = world.start();
    world.move_in("in/secret-name.txt", "1\n");
    service.wait_for(&world, "archive/secret-name.txt");
    wait_until("it is completed", || Some(world.job()).filter(|job| job["state"] == "completed"));
    service.stop();
    let text = fs::read_to_string(files(&world).remove(0)).expect("reads");
    assert!(!text.contains("secret-name") && text.contains("\"source\":\"blake3:"), "{text}");
    world.landfall(&["audit", "verify"]).done();
}

#[test]
fn what_is_done_without_a_service_stands_in_a_trail_that_was_just_turned_on() {
    let world = world();
    world.sh("sed -i 's/audit = true/audit = false/' landfall.toml");
    world.start().stop();
    world.sh("sed -i 's/audit = false/audit = true/' landfall.toml");
    world.landfall(&["pause", "--rule", "payments"]).done();
    world.start().stop();
    let trail = trail(&world);
    assert_eq!(events(&trail), ["pause", "started", "stopped"], "{trail:#?}");
    assert_eq!(trail[0]["rule"], "payments");
}

/// A sender's name may say whose salary comes; that of a rule is the operator's own.
#[test]
fn beside_an_encrypted_store_it_can_be_read_what_was_paused_and_not_whose_files() {
    let world = World::with_service("audit = true\nat_rest = { encrypt = true }", "");
    world.start().stop();
    for scope in [&["--all"][..], &["--rule", "payments"], &["--rule", "payments", "--sender", "acme"]] {
        world.landfall(&[&["pause"], scope].concat()).done();
    }
    world.start().stop();
    let trail = trail(&world);
    let paused: Vec<&Value> = trail.iter().filter(|line| line["event"] == "pause").collect();
    assert_eq!((&paused[0]["about"], &paused[1]["rule"]), (&"everything".into(), &"payments".into()));
    assert!(paused[2]["sender"].as_str().is_some_and(|name| name.starts_with("blake3:")), "{paused:#?}");
}

#[test]
fn a_trail_that_cannot_be_written_needs_attention_until_it_is_and_nothing_of_it_is_lost() {
    let world = world();
    world.sh("mkdir -p data; chmod 700 data; echo 'no folder' > data/audit");
    let mut service = world.start();
    let told = || world.landfall(&["status"]).stdout.contains("the audit trail cannot be written");
    service.wait_until("status tells", || told().then_some(()));
    world.move_in("in/a.txt", "1\n");
    service.wait_until("it is done", || {
        world.jobs().iter().any(|job| job["state"] == "completed").then_some(())
    });
    world.sh("rm data/audit");
    service.wait_until("it is written again", || (!told()).then_some(()));
    service.stop();
    assert_eq!(events(&trail(&world)), ["started", "claimed", "published", "completed", "stopped"]);
}
