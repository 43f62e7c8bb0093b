//! Promise: what an operator pauses stands still and loses nothing, what is resumed goes on from where it was, what is aborted publishes
//! nothing and leaves its source in quarantine; at once, over kills, and told in the history with who did it.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::random::Random;
use support::{RULE, Service, World, lines};

/// A step that stands still in the middle of the second slice until it is let go.
const GATED: &str = r#"pipeline = [{ step = "exec", confine = false, command = ["./gate"] }]"#;
const RECORDS: usize = 3000;

fn id_of(job: &Value) -> String {
    job["id"].as_str().expect("an id is text").to_owned()
}

#[track_caller]
fn wait_for_state(service: &mut Service, world: &World, id: &str, state: &str) -> Value {
    service.wait_until(state, || {
        let job = world.json(&["show", id, "--json"]);
        (job["state"] == state).then_some(job)
    })
}

/// A job that stands at the gate, with some of its records collected.
fn at_the_gate() -> (World, Service, String) {
    let world = World::new(GATED);
    world.write_gate();
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(RECORDS));
    service.wait_for(&world, "reached");
    let id = id_of(&world.job());
    (world, service, id)
}

fn moments(job: &Value) -> Vec<String> {
    let timeline = job["timeline"].as_array().expect("a list");
    timeline.iter().map(|moment| moment["detail"].as_str().unwrap_or_default().to_owned()).collect()
}

fn hidden(world: &World) -> Vec<String> {
    let listed = std::fs::read_dir(world.path("out")).into_iter().flatten();
    let names = listed.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".landfall-")).collect()
}

#[test]
fn a_job_that_is_paused_while_a_step_hangs_is_paused_at_once_stays_so_over_a_kill_and_goes_on_where_it_was() {
    let (world, mut service, id) = at_the_gate();
    service.wait_until("a slice is collected", || (world.job()["records_in"] == 1000).then_some(()));
    let begun = Instant::now();
    world.landfall(&["pause", &id]).done().says(&["paused (was running)"]);
    assert!(begun.elapsed() < Duration::from_secs(3), "it waited for the step: {:?}", begun.elapsed());
    assert_eq!(world.job()["state"], "paused");
    assert_eq!(world.job()["waiting"]["for"], "pause");
    world.landfall(&["pause", &id]).ends_with(1).says(&["paused already", "landfall resume"]);
    world.write("go", "");
    service
        .wait_until("its work is kept", || (world.job()["records_in"].as_u64() >= Some(1000)).then_some(()));
    service.kill();
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/other.txt", lines(3));
    service.wait_for(&world, "archive/other.txt");
    let still = world.json(&["show", &id, "--json"]);
    assert_eq!(still["state"], "paused", "{still:#}");
    assert!(!world.has("out/pay.main"));
    world.landfall(&["resume", &id]).done().says(&["goes on"]);
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), lines(RECORDS));
    let job = world.json(&["show", &id, "--json"]);
    let told = moments(&job);
    assert!(
        told.contains(&"paused by root".to_owned()) && told.contains(&"resumed by root".to_owned()),
        "{job:#}"
    );
    assert_eq!(job["attempts"], 1, "a pause is no attempt: {job:#}");
    assert!(job["resumed_at_record"].as_u64() >= Some(1000), "{job:#}");
}

#[test]
fn a_paused_job_goes_on_from_the_last_record_that_was_collected() {
    let world = World::new("");
    world.sh("seq 3000000 | sed 's/$/,some text of a payment/' > big");
    let mut service = world.start();
    service.wait_until_it_watches();
    support::rename(&world.path("big"), &world.path("in/big"));
    let collected = |job: &Value| job["records_in"].as_u64().unwrap_or(0);
    let id = service.wait_until("some of it is collected", || {
        let job = world.jobs().pop()?;
        (job["state"] == "running" && collected(&job) > 0).then(|| id_of(&job))
    });
    world.landfall(&["pause", &id]).done();
    wait_for_state(&mut service, &world, &id, "paused");
    world.landfall(&["resume", &id]).done();
    service.wait_for(&world, "archive/big");
    service.stop();
    let job = world.completed();
    assert!(job["resumed_at_record"].as_u64() > Some(0), "{job:#}");
    assert_eq!((&job["records_again"], &job["records_in"]), (&0.into(), &3_000_000.into()), "{job:#}");
    let sum = |path: &str| world.sh(&format!("sha256sum < {path}"));
    assert_eq!(sum("out/big.main"), sum("archive/big"));
}

#[test]
fn a_job_that_waits_in_its_queue_is_paused_and_resumed_with_and_without_a_service() {
    let world = World::with_service("workers = 1", GATED);
    world.write_gate();
    world.write("in/a.txt", lines(RECORDS));
    let mut service = world.start();
    service.wait_for(&world, "reached");
    world.move_in("in/b.txt", lines(2));
    world.move_in("in/c.txt", lines(2));
    service.wait_until("all are claimed", || (world.jobs().len() == 3).then_some(()));
    let of = |name: &str| {
        let jobs = world.jobs();
        let job = jobs.iter().find(|job| job["source"].as_str().is_some_and(|path| path.ends_with(name)));
        id_of(job.expect("it is claimed"))
    };
    let (b, c) = (of("b.txt"), of("c.txt"));
    world.landfall(&["pause", &b, &c]).done();
    service.kill();
    world.landfall(&["resume", &c]).done().says(&["`landfall run` takes it"]);
    world.landfall(&["resume", &c]).ends_with(1).says(&["is not paused"]);
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/a.txt");
    service.wait_for(&world, "archive/c.txt");
    assert_eq!(world.json(&["show", &b, "--json"])["state"], "paused");
    world.landfall(&["resume", "--state", "paused"]).done().says(&["1 job chosen, 1 go on"]);
    service.wait_for(&world, "archive/b.txt");
    service.stop();
    assert_eq!(world.text("out/b.main"), lines(2));
}

#[test]
fn an_aborted_job_publishes_nothing_leaves_its_source_in_quarantine_and_can_be_retried() {
    let (world, mut service, id) = at_the_gate();
    world.landfall(&["abort", &id, "--dry-run"]).done().says(&["would be aborted"]);
    world.landfall(&["abort", &id]).done().says(&["aborted (was running)"]);
    let job = wait_for_state(&mut service, &world, &id, "aborted");
    let quarantined = world.path("in/.landfall/quarantine/pay.txt");
    assert_eq!(job["retired_to"].as_str(), quarantined.to_str());
    assert_eq!(std::fs::read_to_string(&quarantined).expect("it is there"), lines(RECORDS));
    assert!(world.has("in/.landfall/quarantine/pay.txt.error.json"));
    assert_eq!((world.files("out"), hidden(&world)), (vec![], vec![]), "{job:#}");
    assert!(moments(&job).contains(&"aborted by root".to_owned()), "{job:#}");
    world.landfall(&["abort", &id]).ends_with(1).says(&["has ended"]);
    world.landfall(&["pause", &id]).ends_with(1).says(&["has ended"]);
    // What is only asked is judged as what is done, and does nothing.
    for (command, why) in [
        (&["abort"][..], "has ended"),
        (&["pause"], "has ended"),
        (&["resume"], "is not paused"),
        (&["rerun"], "only a completed job"),
        (&["abandon", "--reason", "why not"], "has ended"),
    ] {
        world.landfall(&[command, &[&id, "--dry-run"]].concat()).ends_with(1).says(&[why]);
    }
    world.landfall(&["retry", &id, "--dry-run"]).done().says(&["would be queued again"]);
    assert_eq!(world.json(&["show", &id, "--json"]), job);
    world.write("go", "");
    world.landfall(&["retry", "--state", "aborted"]).done().says(&["1 queued again"]);
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), lines(RECORDS));
    assert!(moments(&world.completed()).contains(&"retried by root".to_owned()));
}

#[test]
fn a_job_that_is_aborted_while_a_step_hangs_or_no_service_runs_ends_with_the_next_start() {
    for paused in [false, true] {
        let (world, service, id) = at_the_gate();
        if paused {
            world.landfall(&["pause", &id]).done();
            service.kill();
            world.landfall(&["abort", &id]).done().says(&["with the next start"]);
        } else {
            world.landfall(&["abort", &id]).done().says(&["aborted (was running)"]);
            service.kill();
        }
        let mut service = world.start();
        wait_for_state(&mut service, &world, &id, "aborted");
        service.stop();
        assert!(world.has("in/.landfall/quarantine/pay.txt"));
        assert_eq!((world.files("out"), hidden(&world)), (vec![], vec![]));
    }
}

/// Nothing is kept of what its program would still say.
#[test]
fn a_job_whose_program_hangs_at_an_answer_or_at_its_end_is_aborted_without_waiting_for_it() {
    for hangs in ["read -r line", "while IFS= read -r line; do echo \"$line\"; done"] {
        let world = World::new(
            "pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"], timeout = \"1h\" }]",
        );
        world.write("step", format!("#!/bin/sh\n{hangs}\ntouch reached\nexec sleep 600\n"));
        world.sh("chmod +x step");
        let mut service = world.start();
        world.move_in("in/pay.txt", lines(3));
        service.wait_for(&world, "reached");
        let id = id_of(&world.job());
        let begun = Instant::now();
        world.landfall(&["abort", &id]).done();
        wait_for_state(&mut service, &world, &id, "aborted");
        assert!(begun.elapsed() < Duration::from_secs(3), "{hangs}: it took {:?}", begun.elapsed());
        service.stop();
        assert!(world.has("in/.landfall/quarantine/pay.txt"));
        assert_eq!((world.files("out"), hidden(&world)), (vec![], vec![]), "{hangs}");
    }
}

#[test]
fn what_is_on_its_way_to_be_published_is_told_to_be_past_that_and_changes_nothing() {
    let world = World::new(r#"output = { main = { path = "out/{stem}.main", on_exists = "replace" } }"#);
    std::fs::create_dir_all(world.path("out/pay.main")).expect("it refuses the rename");
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(3));
    let job = service.wait_until("it waits in the middle of publishing", || {
        let job = world.jobs().pop()?;
        (job["state"] == "publishing" && job["waiting"].is_object()).then_some(job)
    });
    for command in ["pause", "abort"] {
        world.landfall(&[command, &id_of(&job)]).ends_with(1).says(&["too late", "landfall abandon"]);
    }
    std::fs::remove_dir(world.path("out/pay.main")).expect("it may be renamed");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), lines(3));
}

#[test]
fn a_job_that_is_held_is_paused_and_aborted_too() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./not-there\"] }]");
    world.write("not-there", "#!/bin/sh\ncat\n"); // it cannot be started
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(3));
    let id = service.wait_until("it is held", || {
        let job = world.jobs().pop()?;
        (job["state"] == "held").then(|| id_of(&job))
    });
    world.landfall(&["pause", &id]).done().says(&["paused (was held)"]);
    world
        .landfall(&["abort", "--state", "paused", "--rule", RULE])
        .done()
        .says(&["its source is", "1 aborted"]);
    wait_for_state(&mut service, &world, &id, "aborted");
    service.stop();
    assert!(world.has("in/.landfall/quarantine/pay.txt"));
}

#[test]
fn jobs_are_chosen_by_sender_and_time_and_nothing_is_done_where_that_is_only_asked() {
    let world = World::new(
        "paths = [\"in/{sender}/*\"]\npipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]",
    );
    world.write_gate_at("line ");
    for sender in ["acme", "other"] {
        world.write(format!("in/{sender}/pay.txt"), lines(2));
    }
    let mut service = world.start();
    service.wait_until("both run", || {
        let jobs = world.jobs();
        (jobs.len() == 2 && jobs.iter().all(|job| job["state"] == "running")).then_some(())
    });
    let states = |world: &World| {
        let mut states: Vec<_> = world
            .jobs()
            .iter()
            .map(|job| format!("{} {}", job["vars"]["sender"], job["state"]).replace('"', ""))
            .collect();
        states.sort();
        states
    };
    let acme = ["pause", "--sender", "acme", "--since", "1h"];
    world.landfall(&[&acme[..], &["--dry-run"]].concat()).done().says(&["acme", "1 job chosen"]);
    assert_eq!(states(&world), ["acme running", "other running"]);
    world.landfall(&acme).done().says(&["1 job chosen, 1 paused"]);
    assert_eq!(states(&world), ["acme paused", "other running"]);
    world.landfall(&["pause", "--since", "2030-01-01", "--rule", RULE]).done().says(&["0 jobs chosen"]);
    for wrong in [
        &["pause"][..],
        &["abort"],
        &["abort", "--state", "done"],
        &["pause", "--rule", "none", "--since", "1h"],
    ] {
        world.landfall(wrong).ends_with(2);
    }
    world.landfall(&["pause", "zzzz"]).ends_with(1).says(&["no job"]);
    service.kill();
}

/// Goal: no order, and no kill beside it, loses or repeats a record, or strands a source.
/// Method: random words of an operator on random jobs, some while no service runs, and kills; then all go on.
#[test]
fn whatever_is_ordered_and_whenever_the_service_dies_each_file_comes_out_once() {
    const WORDS: usize = 16;
    let world = World::new("output = { main = { path = \"out/{stem}.main\", on_exists = \"fail\" } }");
    let mut random = Random::seeded();
    let names = ["a", "b", "c", "d"];
    for name in names {
        world.sh(&format!("seq -f '{name}%.0f' 400000 > in/{name}"));
    }
    let mut service = world.start();
    service.wait_until("all are claimed", || (world.jobs().len() == names.len()).then_some(()));
    let ids: Vec<_> = world.jobs().iter().map(id_of).collect();
    for _ in 0..WORDS {
        let id = random.one_of(&ids).expect("one").as_str();
        let words: &[&str] = match random.below(7) {
            0 | 1 => &["pause", id],
            2 => &["resume", id],
            3 => &["abort", id],
            4 => &["retry", id],
            5 => &["pause", "--rule", RULE],
            _ => &["resume", "--rule", RULE],
        };
        let is_killed = random.once_in(4);
        if is_killed && random.once_in(2) {
            service.kill();
            world.landfall(words); // it may be refused
            service = world.start();
        } else {
            world.landfall(words);
            if is_killed {
                service.kill();
                service = world.start();
            }
        }
    }
    world.landfall(&["resume", "--rule", RULE]).done();
    service.wait_until("all are done", || {
        world.landfall(&["resume", "--state", "paused"]);
        world.landfall(&["retry", "--state", "aborted"]);
        world.jobs().iter().all(|job| job["state"] == "completed").then_some(())
    });
    service.stop();
    assert_eq!(world.files("out"), ["a.main", "b.main", "c.main", "d.main"]);
    assert_eq!((hidden(&world), world.files("archive")), (vec![], names.map(str::to_owned).to_vec()));
    for name in names {
        world.sh(&format!(
            "cmp out/{name}.main archive/{name} && seq -f '{name}%.0f' 400000 | cmp - out/{name}.main"
        ));
    }
}

/// Goal: what cannot be told at once of some jobs costs the others nothing: ten and a thousand take their own time, and one patience.
/// Method: their folder is away, so that no source can be brought to quarantine while it is asked.
#[test]
fn a_thousand_jobs_that_cannot_end_yet_are_aborted_in_their_own_time_and_one_patience() {
    const EACH: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_secs(5);
    for count in [10, 1000] {
        let world = World::new(GATED);
        world.write_gate_at("one");
        let mut service = world.start();
        service.wait_until_it_watches();
        world.sh(&format!("mkdir .new; for n in $(seq {count}); do echo one > .new/$n; done; mv .new/* in"));
        service.wait_until("all are claimed", || (world.jobs().len() == count).then_some(()));
        world.landfall(&["pause", "--rule", RULE]).done();
        world.sh("mv in away");
        let begun = Instant::now();
        let told = world.landfall(&["abort", "--rule", RULE]).done();
        let took = begun.elapsed();
        assert!(took < PATIENCE + EACH * u32::try_from(count).expect("is small"), "{count} jobs: {took:?}");
        told.says(&[&format!("{count} jobs chosen, {count} aborted"), "goes to quarantine once"]);
        service.stop();
        world.sh("mv away in");
        let mut service = world.start();
        service
            .wait_until("all end", || world.jobs().iter().all(|job| job["state"] == "aborted").then_some(()));
        service.stop();
        assert_eq!(world.files("in/.landfall/quarantine").len(), 2 * count, "each with its reason");
        assert_eq!(world.files("out"), [""; 0]);
    }
}
