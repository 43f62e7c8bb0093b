//! Promise: a completed job can be had again from its archive, as a new job that names it; a job that waits for what never comes back can be
//! ended, and its history says exactly what of it is published, what is not, who ended it and why.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{RULE, Service, World, lines};

fn id_of(job: &Value) -> String {
    job["id"].as_str().expect("an id is text").to_owned()
}

fn moments(job: &Value) -> Vec<String> {
    let timeline = job["timeline"].as_array().expect("a list");
    timeline.iter().map(|moment| moment["detail"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A file of acme's that was published and archived.
fn published(rule: &str) -> (World, Service, String) {
    let world = World::new(&format!(
        "paths = [\"in/{{sender}}/*\"]\noutput = {{ main = {{ path = \"out/{{sender}}-{{stem}}.main\" }} }}\n{rule}"
    ));
    world.sh("mkdir in/acme");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/acme/pay.txt", lines(5));
    let id = service.wait_until("it is done", || {
        let job = world.jobs().pop()?;
        (job["state"] == "completed").then(|| id_of(&job))
    });
    (world, service, id)
}

#[test]
fn a_completed_job_runs_again_from_its_archive_with_the_values_of_its_name_and_says_whose_child_it_is() {
    let (world, mut service, first) =
        published("delivery = { key = \"{sender}\", same_content = \"refuse\", same_key = \"hold\" }");
    world.landfall(&["rerun", &first]).done().says(&[&first, "the running service takes it"]);
    service.wait_for(&world, "out/acme-pay-1.main");
    let second = service.wait_until("it is done", || {
        let jobs = world.jobs();
        let second = jobs.get(1)?.clone();
        (second["state"] == "completed").then_some(second)
    });
    assert_eq!(world.text("out/acme-pay-1.main"), lines(5));
    assert_eq!((&second["parent"], &second["vars"]["sender"]), (&first.as_str().into(), &"acme".into()));
    assert_eq!(second["duplicate_of"], first.as_str(), "its operator had it published twice: {second:#}");
    assert!(world.has("archive/pay.txt"), "it stays there");
    assert!(moments(&second)[0].contains("run again by root"), "{second:#}");
    assert!(moments(&world.jobs()[0]).iter().any(|told| told.contains(&id_of(&second))));
    world.landfall(&["rerun", "--rule", RULE, "--dry-run"]).done().says(&["1 job chosen"]);
    // Without a service, and the archive thinned meanwhile.
    service.stop();
    world.landfall(&["rerun", &first]).done().says(&["`landfall run` takes it"]);
    let mut service = world.start();
    service.wait_for(&world, "out/acme-pay-2.main");
    service.stop();
    world.sh("rm archive/pay.txt");
    world.landfall(&["rerun", &first]).ends_with(1).says(&["is not at", "archive/pay.txt"]);
}

#[test]
fn what_is_not_kept_or_not_done_is_not_run_again_and_says_why() {
    let (world, service, id) = published("source = { on_success = \"delete\" }");
    world.landfall(&["rerun", &id]).ends_with(1).says(&["not kept", "deleted"]);
    service.stop();
    let (world, service, id) = published("source = { on_success = \"archive\", archive_dir = \"archive\" }");
    world.sh("echo more >> archive/pay.txt");
    for asked in [&["rerun", &id, "--dry-run"][..], &["rerun", &id]] {
        world.landfall(asked).ends_with(1).says(&["is not what job", "landfall ingest"]);
    }
    world.landfall(&["abandon", &id, "--reason", "no"]).ends_with(1).says(&["has ended"]);
    world.landfall(&["abandon", &id]).ends_with(2);
    service.stop();
}

const TWO: &str = r#"
    pipeline = [{ step = "route", when = [{ if = { matches = "2$" }, to = "twos" }] }]
    output = { main = { path = "out/{stem}.main", on_exists = "replace" }, twos = { path = "out/{stem}.twos", on_exists = "replace" } }
    publish = { marker = "out/{stem}.done" }
"#;

/// A job of which one output is published and one is not.
fn half_published() -> (World, Service, String) {
    let world = World::new(TWO);
    std::fs::create_dir_all(world.path("out/pay.twos")).expect("it refuses the rename");
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(3));
    let id = service.wait_until("it waits in the middle of publishing", || {
        let job = world.jobs().pop()?;
        (job["state"] == "publishing" && job["waiting"].is_object()).then(|| id_of(&job))
    });
    (world, service, id)
}

#[test]
fn a_job_that_is_abandoned_in_the_middle_says_what_is_published_and_what_is_not_and_is_not_published_twice() {
    for has_service in [true, false] {
        let (world, service, id) = half_published();
        let mut service = Some(service);
        if !has_service {
            service.take().expect("it runs").kill();
        }
        world
            .landfall(&["abandon", &id, "--reason", "why", "--dry-run"])
            .done()
            .says(&["is publishing and waits for"]);
        let told = world.landfall(&["abandon", &id, "--reason", "twos has no reader any more"]).done();
        told.says(&[
            "abandoned by root: twos has no reader any more",
            "out/pay.main",
            "not published: ",
            "out/pay.twos",
        ]);
        let job = world.json(&["show", &id, "--json"]);
        assert_eq!(job["state"], "aborted", "{job:#}");
        let told = moments(&job);
        let line = |word: &str| {
            told.iter().filter(|told| told.starts_with(word)).cloned().collect::<Vec<_>>().join("\n")
        };
        assert!(line("published").contains("pay.main") && !line("published").contains("pay.twos"), "{job:#}");
        assert!(
            line("not published").contains("pay.twos") && line("not published").contains("pay.done"),
            "{job:#}"
        );
        assert!(line("its source is left").contains(".landfall"), "{job:#}");
        let outputs = job["outputs"].as_array().expect("a list");
        assert_eq!(outputs.len(), 1, "{job:#}");
        world.landfall(&["retry", &id]).ends_with(1).says(&["would publish that twice"]);
        world.landfall(&["rerun", &id]).ends_with(1).says(&["only a completed job"]);
        std::fs::remove_dir(world.path("out/pay.twos")).expect("it is in nobody's way any more");
        let mut service = service.unwrap_or_else(|| world.start());
        world.move_in("in/next.txt", lines(1));
        service.wait_for(&world, "archive/next.txt");
        service.stop();
        assert_eq!(world.files("out"), ["next.done", "next.main", "pay.main"]);
        assert_eq!(
            world.sh("ls -A out | grep -c landfall || true").trim(),
            "0",
            "what was hidden is removed"
        );
    }
}

/// What is written down of each output counts where nobody can look any more.
#[test]
fn a_job_whose_output_folder_was_removed_is_abandoned_with_what_is_known() {
    let (world, service, id) = half_published();
    support::rename(&world.path("out"), &world.path("away"));
    world.landfall(&["abandon", &id, "--reason", "its disk is gone"]).done();
    let told = moments(&world.json(&["show", &id, "--json"]));
    let line = |word: &str| told.iter().find(|told| told.starts_with(word)).cloned().unwrap_or_default();
    assert!(line("published: ").contains("pay.main"), "{told:#?}");
    assert!(line("not published: ").contains("pay.twos"), "{told:#?}");
    service.stop();
}

#[test]
fn a_job_whose_archive_never_comes_back_is_ended_as_published() {
    let world = World::new("");
    world.write("archive", "a file where the folder should be");
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(3));
    let id = service.wait_until("it waits for its archive", || {
        let job = world.jobs().pop()?;
        (job["state"] == "retiring" && job["waiting"].is_object()).then(|| id_of(&job))
    });
    let told = world.landfall(&["abandon", &id, "--reason", "the archive is gone"]).done();
    told.says(&["published: ", "out/pay.main", "its source is left at"]);
    let job = world.completed();
    assert_eq!(job["retired_to"], Value::Null, "{job:#}");
    service.stop();
    assert_eq!(world.text("out/pay.main"), lines(3));
}

#[test]
fn a_job_that_is_held_for_what_is_gone_is_ended_with_nothing_published_and_can_be_retried_if_it_comes_back_after_all()
 {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./tool\"] }]");
    world.write("tool", "#!/bin/sh\nexec cat\n"); // it cannot be started
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(3));
    let id = service.wait_until("it is held", || {
        let job = world.jobs().pop()?;
        (job["state"] == "held").then(|| id_of(&job))
    });
    world
        .landfall(&["abandon", &id, "--reason", "nobody has it"])
        .done()
        .says(&["nothing of it was published"]);
    let job = world.job();
    assert_eq!(
        (&job["state"], job["outputs"].as_array().map(Vec::len)),
        (&"aborted".into(), Some(0)),
        "{job:#}"
    );
    assert!(job["error"]["message"].as_str().is_some_and(|told| told.contains("nobody has it")), "{job:#}");
    world.sh("chmod +x tool");
    world.landfall(&["retry", &id]).done();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), lines(3));
}

#[test]
fn a_job_that_goes_on_by_itself_is_not_abandoned_and_says_what_ends_it() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    world.write_gate_at("line ");
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(3));
    service.wait_for(&world, "reached");
    let id = id_of(&world.job());
    world.landfall(&["abandon", &id, "--reason", "why not"]).ends_with(1).says(&["landfall abort"]);
    world.landfall(&["abandon", &id, "--reason", " "]).ends_with(2).says(&["say why"]);
    service.kill();
}

/// A job whose file is wrong, in quarantine, and that of an ingest by its operator.
fn failed_in_quarantine(rule: &str) -> (World, Service, String) {
    let world = World::new(rule);
    world.sh("seq 20000 | gzip | head -c -100 > cut.gz; seq 3 | gzip > whole.gz");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.sh("cp cut.gz in/.pay.gz; mv in/.pay.gz in/pay.gz");
    let id = service.wait_until("it fails", || {
        let job = world.jobs().pop()?;
        (job["state"] == "failed").then(|| id_of(&job))
    });
    (world, service, id)
}

/// Goal: a failed job that was taken care of by hand is ended with a reason, and nobody is asked to look at it any more.
#[test]
fn a_failed_job_whose_file_was_moved_away_by_hand_is_ended_with_a_reason_with_and_without_a_service() {
    for has_service in [true, false] {
        let (world, service, id) = failed_in_quarantine("ready = { stable_for = \"300ms\" }");
        world.sh("rm in/.landfall/quarantine/pay.gz; cp whole.gz in/.pay.gz; mv in/.pay.gz in/pay.gz");
        let mut service = service;
        service.wait_for(&world, "out/pay.main");
        let mut service = Some(service);
        if !has_service {
            service.take().expect("it runs").stop();
        }
        world.landfall(&["retry", &id]).ends_with(1).says(&["is not at", "landfall abandon"]);
        world.landfall(&["abandon", &id, "--reason", "why", "--dry-run"]).done().says(&["is failed: "]);
        let told = world.landfall(&["abandon", &id, "--reason", "sent again"]).done();
        told.says(&[
            "abandoned (was failed)",
            "nothing of it was published",
            "abandoned by root: sent again",
        ]);
        let job = world.json(&["show", &id, "--json"]);
        let why = &job["error"]["message"];
        assert_eq!((&job["state"], why), (&"aborted".into(), &"abandoned by root: sent again".into()));
        let told = moments(&job);
        assert!(told.iter().any(|told| told.contains("quarantine/pay.gz")), "{told:#?}");
        assert_eq!(told.last().map(String::as_str), Some("abandoned by root: sent again"));
        let status = world.landfall(&["status", "--json"]).stdout;
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let about =
            |what: &str| status["attention"].as_array().expect("a list").iter().any(|it| it["about"] == what);
        assert!(!about("failed") && status["jobs"]["failed"].as_u64().unwrap_or(0) == 0, "{status:#}");
        world.landfall(&["abandon", &id, "--reason", "again"]).ends_with(1).says(&["has ended"]);
        world.landfall(&["retry", &id]).ends_with(1).says(&["is not at"]);
        world.landfall(&["check", "--store"]).done();
        if let Some(service) = service {
            service.stop();
        }
    }
}

#[test]
fn a_failed_job_that_was_abandoned_is_retried_as_long_as_its_file_is_there() {
    let (world, mut service, id) = failed_in_quarantine("");
    world.landfall(&["abandon", &id, "--reason", "nobody wants it"]).done();
    world.sh("cp whole.gz in/.landfall/quarantine/pay.gz");
    world.landfall(&["retry", &id]).done();
    service.wait_for(&world, "out/pay.main");
    let job = service.wait_until("it is done", || {
        let job = world.jobs().pop()?;
        (job["state"] == "completed").then_some(job)
    });
    assert_eq!(job["error"], Value::Null, "{job:#}");
    service.stop();
}

#[test]
fn a_refused_resend_is_ended_likewise_and_is_no_resend_of_itself() {
    let (world, mut service, first) = published("delivery = { same_content = \"refuse\" }");
    world.move_in("in/acme/again.txt", lines(5));
    let id = service.wait_until("it is refused", || {
        let job = world.jobs().pop()?;
        (job["state"] == "refused").then(|| id_of(&job))
    });
    world.landfall(&["abandon", &id, "--reason", "they know"]).done().says(&["abandoned (was refused)"]);
    assert_eq!(world.json(&["show", &id, "--json"])["state"], "aborted");
    assert_eq!(world.json(&["show", &first, "--json"])["state"], "completed");
    world.landfall(&["retry", &id]).done();
    service.wait_for(&world, "out/acme-again.main"); // its operator wants it all the same
    service.stop();
}
