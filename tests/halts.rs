//! Promise: a rule, a sender, or everything that is paused takes no file and goes on with no job, over kills, until it is resumed, and
//! nothing else stands still; a rule whose jobs fail one after another stops by itself.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{Service, World, lines};

fn rule(name: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\npaths = [\"{name}/*\"]\noutput = {{ main = {{ path = \"out/{name}-{{stem}}.main\" }} }}\n{more}"
    )
}

fn world(rules: &[&str]) -> World {
    let world = World::bare();
    world.configure("", rules);
    world.sh("mkdir a b");
    world
}

fn waiting(world: &World, file: &str) -> Option<String> {
    let listed = world.json(&["jobs", "--json"]);
    let files = listed["files_waiting"].as_array()?.clone();
    let found =
        files.iter().find(|waiting| waiting["path"].as_str().is_some_and(|path| path.ends_with(file)))?;
    found["reason"].as_str().map(str::to_owned)
}

#[track_caller]
fn wait_until_it_waits(service: &mut Service, world: &World, file: &str, why: &str) {
    service.wait_until(why, || waiting(world, file).filter(|reason| reason.contains(why)));
}

fn job_of(world: &World, name: &str) -> Value {
    let jobs = world.jobs();
    let job = jobs.iter().find(|job| job["source"].as_str().is_some_and(|path| path.ends_with(name)));
    job.expect("it is claimed").clone()
}

#[test]
fn a_paused_rule_takes_no_file_goes_on_with_no_job_over_a_kill_and_others_go_on() {
    let gated = rule("a", "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    let world = world(&[&gated, &rule("b", "")]);
    world.write_gate();
    let mut service = world.start();
    world.move_in("a/begun.txt", lines(3000));
    service.wait_for(&world, "reached");
    world.landfall(&["pause", "--rule", "a", "--dry-run"]).done().says(&["would be paused", "begun.txt"]);
    world.landfall(&["pause", "--rule", "a"]).done().says(&["rule \"a\": paused", "begun.txt"]);
    world.landfall(&["pause", "--rule", "a"]).done().says(&["is paused already"]);
    world.write("go", "");
    let begun = service.wait_until("it is set back", || {
        let job = job_of(&world, "begun.txt");
        (job["state"] == "queued").then_some(job)
    });
    assert_eq!(begun["waiting"]["for"], "pause", "{begun:#}");
    world.move_in("a/later.txt", lines(2));
    world.move_in("b/other.txt", lines(2));
    service.wait_for(&world, "out/b-other.main");
    wait_until_it_waits(&mut service, &world, "later.txt", "paused by root");
    service.kill();
    let mut service = world.start();
    wait_until_it_waits(&mut service, &world, "later.txt", "paused by root");
    world.move_in("b/more.txt", lines(2));
    service.wait_for(&world, "out/b-more.main");
    world.landfall(&["jobs"]).done().says(&["rule \"a\" was paused by root"]);
    assert!(
        job_of(&world, "begun.txt")["waiting"]["detail"]
            .as_str()
            .is_some_and(|told| told.contains("resume --rule a"))
    );
    world.landfall(&["resume", "--rule", "a"]).done().says(&["goes on"]);
    service.wait_for(&world, "out/a-begun.main");
    service.wait_for(&world, "out/a-later.main");
    service.stop();
    assert_eq!((world.text("out/a-begun.main"), world.text("out/a-later.main")), (lines(3000), lines(2)));
    world.landfall(&["resume", "--rule", "a"]).done().says(&["was not paused"]);
}

#[test]
fn a_paused_sender_holds_up_no_other_sender_of_its_rule() {
    let world = World::bare();
    world.configure(
        "",
        &["paths = [\"in/{sender}/*\"]\noutput = { main = { path = \"out/{sender}-{stem}.main\" } }"],
    );
    world.sh("mkdir -p in/acme in/other");
    world.landfall(&["check"]).done();
    let mut service = world.start();
    service.wait_until_it_watches();
    world.landfall(&["pause", "--sender", "acme"]).done().says(&["sender \"acme\": paused"]);
    for sender in ["acme", "other"] {
        world.move_in(&format!("in/{sender}/pay.txt"), lines(2));
    }
    service.wait_for(&world, "out/other-pay.main");
    wait_until_it_waits(&mut service, &world, "acme/pay.txt", "sender \"acme\" was paused");
    world.landfall(&["resume", "--sender", "acme"]).done();
    service.wait_for(&world, "out/acme-pay.main");
    service.stop();
}

#[test]
fn everything_is_paused_before_the_service_starts_and_goes_on_when_it_runs() {
    let world = world(&[&rule("a", ""), &rule("b", "")]);
    world.start().stop();
    world.landfall(&["pause", "--all"]).done().says(&["everything: paused"]);
    let mut service = world.start();
    for name in ["a", "b"] {
        world.move_in(&format!("{name}/pay.txt"), lines(2));
        wait_until_it_waits(
            &mut service,
            &world,
            &format!("{name}/pay.txt"),
            "everything was paused by root",
        );
    }
    world.landfall(&["ingest", "a/pay.txt", "--rule", "a"]).ends_with(1).says(&["paused", "landfall resume"]);
    world.landfall(&["resume", "--rule", "a"]).done().says(&["was not paused", "everything was paused"]);
    world.landfall(&["resume", "--all"]).done();
    service.wait_for(&world, "out/a-pay.main");
    service.wait_for(&world, "out/b-pay.main");
    service.stop();
}

#[test]
fn a_rule_whose_jobs_fail_in_a_row_claims_nothing_more_until_it_is_told_to_over_a_restart() {
    let stops = rule("a", "errors = { stop_after = { failures = 2 } }");
    let world = world(&[&stops, &rule("b", "")]);
    let mut service = world.start();
    let bad = "x\0y\n";
    let fail = |service: &mut Service, name: &str| {
        world.move_in(&format!("a/{name}"), bad);
        service.wait_until(name, || {
            let jobs = world.jobs();
            let is_it = |job: &&Value| job["source"].as_str().is_some_and(|path| path.ends_with(name));
            jobs.iter().find(is_it).filter(|job| job["state"] == "failed").map(|_| ())
        });
    };
    fail(&mut service, "bad-1");
    world.move_in("a/good-1", lines(1));
    service.wait_for(&world, "out/a-good-1.main");
    fail(&mut service, "bad-2");
    fail(&mut service, "bad-3");
    service.wait_for_log("the rule stopped");
    world.move_in("a/good-2", lines(1));
    world.move_in("b/other", lines(1));
    service.wait_for(&world, "out/b-other.main");
    wait_until_it_waits(&mut service, &world, "a/good-2", "stopped after 2 failed jobs in a row");
    service.kill();
    let mut service = world.start();
    wait_until_it_waits(&mut service, &world, "a/good-2", "stopped after 2 failed jobs in a row");
    world.landfall(&["jobs"]).done().says(&["rule \"a\" stopped", "landfall resume --rule a"]);
    world.landfall(&["resume", "--rule", "a"]).done();
    service.wait_for(&world, "out/a-good-2.main");
    service.stop();
}

#[test]
fn a_pause_outlives_its_rule_and_is_taken_back_all_the_same() {
    let world = world(&[&rule("a", ""), &rule("b", "")]);
    world.start().stop();
    world.landfall(&["pause", "--rule", "b"]).done();
    world.configure("", &[&rule("a", "")]);
    world.landfall(&["jobs"]).done().says(&["rule \"b\" was paused", "landfall resume --rule b"]);
    world.landfall(&["resume", "--rule", "b", "--dry-run"]).done().says(&["would go on"]);
    world.landfall(&["resume", "--rule", "b"]).done().says(&["rule \"b\": goes on"]);
    world.landfall(&["resume", "--rule", "b"]).ends_with(2).says(&["no rule is named"]);
}

/// Goal: who lifts one pause of several is told what still holds a job back, and each command that is named is one that helps.
#[test]
fn what_still_holds_a_job_back_is_told_by_every_word_on_it_with_the_command_that_lifts_it() {
    let gated = rule("a", "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    let world = world(&[&gated, &rule("b", "")]);
    world.write_gate();
    let mut service = world.start();
    world.move_in("b/done.txt", lines(2));
    service.wait_for(&world, "out/b-done.main");
    world.move_in("a/pay.txt", lines(3000));
    service.wait_for(&world, "reached");
    let id_of = |name: &str| job_of(&world, name)["id"].as_str().expect("an id").to_owned();
    let (id, done) = (id_of("pay.txt"), id_of("done.txt"));
    let of_rule = "`landfall resume --rule a` lets it go on";
    world.landfall(&["pause", "--rule", "a"]).done();
    world.write("go", "");
    service.wait_until("it is set back", || (job_of(&world, "pay.txt")["state"] == "queued").then_some(()));
    world.landfall(&["resume", &id]).ends_with(1).says(&["not paused by itself", of_rule]);
    world.landfall(&["pause", &id]).done().says(&["paused by itself too (was queued", of_rule]);
    world.landfall(&["show", &id]).done().says(&[&format!("`landfall resume {id}`"), of_rule]);
    let told = world.landfall(&["pause", "--all"]).done();
    assert!(!told.stderr.contains("held back before"), "a rule is not everything: {}", told.stderr);
    world.landfall(&["pause", "--rule", "b"]).done().says(&["held back before", "`landfall resume --all`"]);
    world
        .landfall(&["pause", "--rule", "b"])
        .done()
        .says(&["is paused already", "`landfall resume --rule b`"]);
    let all = ["`landfall resume --all`", of_rule];
    let told = world.landfall(&["set", &id, "--priority", "3"]).done();
    told.says(&["priority 3", "before this is lifted", &format!("`landfall resume {id}`")]).says(&all);
    world.landfall(&["set", "--rule", "a", "--workers-max", "2"]).done().says(&all);
    let told = world.landfall(&["resume", &id]).done();
    assert!(!told.stdout.contains("goes on;"), "{}", told.stdout);
    told.says(&["no longer paused by itself, and still held back"]).says(&all);
    let told = world.landfall(&["rerun", &done]).done();
    told.says(&["held back", "`landfall resume --rule b`", "`landfall resume --all`"]);
    let dry = world.landfall(&["resume", "--rule", "a", "--dry-run"]).done();
    dry.says(&["still be held back", "`landfall resume --all`"]);
    let told = world.landfall(&["resume", "--rule", "a"]).done();
    assert!(!told.stdout.contains("goes on"), "{}", told.stdout);
    told.says(&["still held back", "`landfall resume --all`"]);
    assert_eq!(job_of(&world, "pay.txt")["state"], "queued");
    world.landfall(&["resume", "--all"]).done().says(&["everything: goes on", "rule \"b\" was paused"]);
    service.wait_for(&world, "out/a-pay.main");
    world.landfall(&["resume", "--rule", "b"]).done().says(&["rule \"b\": goes on"]);
    service.wait_for(&world, "out/b-done-1.main");
    service.stop();
}

#[test]
fn who_resumes_a_rule_is_told_the_word_that_resumes_the_paused_jobs_of_that_rule_and_no_others() {
    let gated =
        |name| rule(name, "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    let world = world(&[&gated("a"), &gated("b")]);
    world.write_gate();
    let mut service = world.start();
    let paused = |name: &str| (job_of(&world, name)["state"] == "paused").then_some(());
    for name in ["a/pay.txt", "b/pay.txt"] {
        world.move_in(name, lines(3000));
        let is_it = |job: &Value| job["source"].as_str().is_some_and(|path| path.ends_with(name));
        let id = service.wait_until("it runs", || {
            let job = world.jobs().into_iter().find(is_it)?;
            (job["state"] == "running").then(|| job["id"].as_str().expect("an id").to_owned())
        });
        world.landfall(&["pause", &id]).done();
    }
    world.write("go", "");
    world.landfall(&["pause", "--rule", "a"]).done();
    let words = ["resume", "--rule", "a", "--state", "paused"];
    world.landfall(&words[..3]).done().says(&[&format!("`landfall {}` is for them", words.join(" "))]);
    world.landfall(&words).done();
    service.wait_for(&world, "out/a-pay.main");
    paused("b/pay.txt").expect("nobody resumed it");
    service.stop();
}

#[test]
fn a_failed_job_that_is_retried_under_a_paused_rule_is_not_said_to_be_taken() {
    let world =
        world(&[&rule("a", "pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"] }]")]);
    world.write("step", "#!/bin/sh\nexec false\n");
    world.sh("chmod +x step");
    world.move_in("a/pay.txt", lines(2));
    world.landfall(&["ingest", "a/pay.txt", "--rule", "a", "--retire"]).ends_with(1);
    world.landfall(&["pause", "--sender", world.path("a").to_str().expect("text")]).done();
    let told = world.landfall(&["retry", "--rule", "a"]).done();
    let folder = world.path("a");
    assert!(!told.stdout.contains("takes it"), "{}", told.stdout);
    told.says(&["held back", &format!("`landfall resume --sender {}`", folder.display())]);
}
