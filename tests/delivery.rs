//! Promise: nothing is published twice unawares: resends are known by their content, corrections by their key, whatever is killed.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{Service, World, assert_balanced, lines};

const REFUSE: &str = "delivery = { same_content = \"refuse\" }";
const CORRECT: &str = r#"
paths = ["in/{sender}/*"]
delivery = { key = "{sender}/{name}", same_key = "correction" }
output = { main = { path = "out/{sender}/{stem}-r{revision}.csv" } }
publish = { marker = "out/{sender}/{stem}-r{revision}.done" }
source = { on_success = "archive", archive_dir = "archive/{sender}/r{revision}" }
"#;
const HOLD: &str = "delivery = { key = \"{name}\", same_key = \"hold\" }";

/// The jobs in this state.
fn in_state(world: &World, state: &str) -> Vec<Value> {
    world.jobs().into_iter().filter(|job| job["state"] == state).collect()
}

fn id(job: &Value) -> String {
    job["id"].as_str().expect("an id is text").to_owned()
}

fn wait_for_state(service: &mut Service, world: &World, state: &str) -> Value {
    service.wait_until(state, || in_state(world, state).pop())
}

#[test]
fn a_resend_is_refused_however_it_is_packed_and_named() {
    let world = World::new(&format!("{REFUSE}\ndecode = {{ identities = [\"key.txt\"] }}"));
    let recipient = world.age_key();
    world.sh(&format!(
        "printf 'one\ntwo\n' > in/pay.txt; gzip -c in/pay.txt > in/again.gz; age -r {recipient} in/pay.txt > in/other.age
         gzip -c in/pay.txt | age -r {recipient} > in/both.gz.age; zstd -q -c in/pay.txt > in/pay.zst"
    ));
    world.ingest_and_retire("in/pay.txt").done();
    let first = world.completed();
    for name in ["again.gz", "other.age", "both.gz.age", "pay.zst"] {
        world.ingest_and_retire(&format!("in/{name}")).ends_with(1).says(&["refused", &id(&first)]);
        let job = world.job();
        assert_eq!((&job["state"], &job["duplicate_of"]), (&"refused".into(), &first["id"]), "{job:#}");
        assert_eq!(job["content_hash"], first["content_hash"]);
        assert_eq!(job["records_in"], 0, "nothing of it counts: {job:#}");
        let reason = world.text(format!("in/.landfall/quarantine/{name}.error.json"));
        let reason: Value = serde_json::from_str(&reason).expect("JSON");
        assert_eq!(reason["state"], "refused");
        assert!(
            reason["error"]["message"].as_str().is_some_and(|text| text.contains("pay.txt")),
            "{reason:#}"
        );
        world.landfall(&["show", &id(&job)]).done().says(&["refused", "duplicate  of job", "hint"]);
    }
    assert_eq!(world.files("out"), ["pay.main"]);
    assert_eq!(world.files("archive"), ["pay.txt"]);
    assert_eq!(
        world.files("in").len(),
        8,
        "each lies in quarantine with its reason: {:?}",
        world.files("in")
    );
}

#[test]
fn a_refused_file_is_not_watched_again_and_an_operator_can_take_it_all_the_same() {
    let world = World::new(&format!("{REFUSE}\noutput = {{ main = {{ path = \"out/{{stem}}.main\" }} }}"));
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    world.move_in("in/again.txt", "one\n");
    let refused = wait_for_state(&mut service, &world, "refused");
    world.move_in("in/next.txt", "two\n");
    service.wait_for(&world, "archive/next.txt");
    assert_eq!(world.jobs().len(), 3);
    world.landfall(&["retry", &id(&refused)]).done();
    service.wait_for(&world, "archive/again.txt");
    service.stop();
    assert_eq!(world.files("out"), ["again.main", "next.main", "pay.main"]);
    assert_eq!(world.files("in"), [""; 0]);
    let taken = world.jobs().into_iter().find(|job| job["id"] == refused["id"]).expect("it is listed");
    assert_eq!(taken["state"], "completed");
    assert!(taken["duplicate_of"].is_string(), "it still is one: {taken:#}");
}

#[test]
fn a_resend_that_is_taken_names_the_job_that_it_repeats() {
    let world = World::new("[delivery]");
    for name in ["in/pay.txt", "in/again.txt", "in/third.txt"] {
        world.write(name, "one\n");
        world.ingest_and_retire(name).done();
    }
    let jobs = world.jobs();
    assert_eq!(jobs[0]["duplicate_of"], Value::Null);
    assert_eq!([&jobs[1]["duplicate_of"], &jobs[2]["duplicate_of"]], [&jobs[0]["id"]; 2], "the first of all");
    assert_eq!(world.files("out").len(), 3);
}

#[test]
fn without_the_table_nothing_is_judged_and_with_it_later_everything_is_known() {
    let world = World::new("");
    world.write("in/a.txt", "one\n");
    world.write("in/b.txt", "one\n");
    world.ingest_and_retire("in/a.txt").done();
    world.ingest_and_retire("in/b.txt").done();
    assert_eq!(world.completed()["duplicate_of"], Value::Null);
    world.configure("", &[REFUSE]);
    world.write("in/c.txt", "one\n");
    world.ingest_and_retire("in/c.txt").ends_with(1);
    assert_eq!(world.job()["duplicate_of"], world.jobs()[0]["id"]);
}

#[test]
fn an_archive_is_known_by_its_entries_and_their_names() {
    let world = World::new(REFUSE);
    world.sh(
        "printf 'one\n' > a.csv; printf 'two\n' > b.csv; zip -q in/pay.zip a.csv b.csv; tar cf in/pay.tar a.csv b.csv
         tar czf in/dot.tgz ./a.csv ./b.csv; tar cf in/turned.tar b.csv a.csv; mv b.csv c.csv; zip -q in/renamed.zip a.csv c.csv",
    );
    world.ingest(&["in/pay.zip"]).done();
    for same in ["in/pay.tar", "in/dot.tgz"] {
        world.ingest(&[same]).ends_with(1);
        assert_eq!(world.job()["state"], "refused", "{same}");
    }
    for other in ["in/turned.tar", "in/renamed.zip"] {
        world.ingest(&[other]).done();
    }
}

#[test]
fn empty_files_repeat_nothing() {
    let world = World::new(REFUSE);
    for name in ["in/monday.txt", "in/tuesday.txt"] {
        world.write(name, "");
        world.ingest_and_retire(name).done();
    }
    assert_eq!(world.completed()["duplicate_of"], Value::Null);
}

#[test]
fn a_dry_run_neither_compares_nor_counts() {
    let world = World::new(CORRECT);
    world.write("in/acme/pay.csv", "one\n");
    for _ in 0..2 {
        let ran = world.landfall(&["ingest", "--dry-run", "--rule", support::RULE, "in/acme/pay.csv"]);
        ran.done().says(&["pay-r1.csv"]);
    }
    world.ingest(&["in/acme/pay.csv"]).done();
    assert_eq!(world.completed()["revision"], 1);
}

#[test]
fn a_later_delivery_of_a_key_is_a_correction_with_the_next_revision() {
    let world = World::new(CORRECT);
    for (number, text) in ["one\n", "two\n", "three\n"].iter().enumerate() {
        world.write("in/acme/pay.csv", text);
        world.ingest_and_retire("in/acme/pay.csv").done();
        let revision = number + 1;
        assert_eq!(world.text(format!("out/acme/pay-r{revision}.csv")), *text);
        assert!(world.has(format!("out/acme/pay-r{revision}.done")));
        assert!(world.has(format!("archive/acme/r{revision}/pay.csv")), "{:?}", world.files("archive"));
    }
    world.write("in/other/pay.csv", "one\n");
    world.ingest_and_retire("in/other/pay.csv").done();
    let jobs = world.jobs();
    let told = |key: &str| jobs.iter().map(|job| job[key].clone()).collect::<Vec<_>>();
    assert_eq!(told("revision"), [1, 2, 3, 1]);
    assert_eq!(told("corrects"), [Value::Null, jobs[0]["id"].clone(), jobs[1]["id"].clone(), Value::Null]);
    assert_eq!(told("delivery_key"), ["acme/pay.csv", "acme/pay.csv", "acme/pay.csv", "other/pay.csv"]);
    assert_eq!(jobs[3]["duplicate_of"], jobs[0]["id"], "the same content under another key");
    world.landfall(&["show", &id(&jobs[1])]).done().says(&["acme/pay.csv, revision 2", "corrects   job"]);
}

#[test]
fn revisions_count_without_a_word_of_correction_too() {
    let world = World::new(
        "delivery = { key = \"{name}\" }\noutput = { main = { path = \"out/{revision}-{entry_stem}.csv\" } }",
    );
    world.sh("printf 'one\n' > a.csv; printf 'two\n' > b.csv; zip -q in/pay.zip a.csv b.csv; cp in/pay.zip kept.zip");
    world.ingest_and_retire("in/pay.zip").done();
    world.sh("cp kept.zip in/pay.zip");
    world.ingest_and_retire("in/pay.zip").done();
    assert_eq!(world.files("out"), ["1-a.csv", "1-b.csv", "2-a.csv", "2-b.csv"]);
    assert_eq!(world.completed()["corrects"], Value::Null);
}

#[test]
fn a_held_delivery_waits_to_be_settled_also_over_a_restart() {
    let world = World::new(HOLD);
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    world.move_in("in/pay.txt", "two\n");
    let held = wait_for_state(&mut service, &world, "held");
    assert_eq!(held["waiting"]["for"], "settling", "{held:#}");
    assert!(held["error"]["hint"].as_str().is_some_and(|hint| hint.contains("retry")), "{held:#}");
    service.stop();

    let mut service = world.start();
    world.move_in("in/next.txt", "three\n");
    service.wait_for(&world, "archive/next.txt");
    let still = wait_for_state(&mut service, &world, "held");
    assert_eq!(still["attempts"], held["attempts"], "it was not read again to know that");
    assert_eq!(world.files("out"), ["next.main", "pay.main"]);

    world.landfall(&["retry", &id(&held)]).done();
    service.wait_for(&world, "archive/pay.txt-1");
    service.stop();
    assert_eq!(world.text("out/pay-1.main"), "two\n");
    let settled = world.jobs().into_iter().find(|job| job["id"] == held["id"]).expect("it is listed");
    assert_eq!((&settled["state"], &settled["revision"]), (&"completed".into(), &2.into()), "{settled:#}");
    assert!(settled["corrects"].is_string());
    assert_balanced(&settled);
    assert_eq!(world.files("in"), [""; 0]);
}

#[test]
fn a_held_delivery_goes_on_where_the_rule_takes_it_now() {
    let world = World::new(HOLD);
    for text in ["one\n", "two\n"] {
        world.write("in/pay.txt", text);
        world.ingest_and_retire("in/pay.txt");
    }
    assert_eq!(world.job()["state"], "held");
    world.configure("", &["delivery = { key = \"{name}\" }"]);
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt-1");
    service.stop();
    assert_eq!(world.text("out/pay-1.main"), "two\n");
}

#[test]
fn what_failed_was_not_delivered() {
    let world = World::new(&format!(
        "{REFUSE}\noutput = {{ main = {{ path = \"out/{{stem}}.main\", max = \"0\" }} }}"
    ));
    world.write("in/pay.txt", "one\n");
    world.ingest_and_retire("in/pay.txt").ends_with(1);
    assert_eq!(world.job()["state"], "failed");
    world.configure("", &[REFUSE]);
    world.write("in/again.txt", "one\n");
    world.ingest_and_retire("in/again.txt").done();
    assert_eq!(world.completed()["duplicate_of"], Value::Null);
}

#[test]
fn of_many_equal_files_at_once_one_is_published() {
    let world = World::new(REFUSE);
    for number in 0..40 {
        world.write(format!("in/pay-{number}.txt"), "one\n");
    }
    let mut service = world.start();
    service.wait_until("all are judged", || {
        (in_state(&world, "completed").len() + in_state(&world, "refused").len() == 40).then_some(())
    });
    service.stop();
    assert_eq!(in_state(&world, "completed").len(), 1);
    assert_eq!((world.files("out").len(), world.files("archive").len()), (1, 1));
    assert_eq!(world.files("in/.landfall/quarantine").len(), 2 * 39);
}

#[test]
fn of_many_corrections_at_once_each_has_its_own_revision() {
    let world = World::new(
        r#"delivery = { key = "{rule}-{ext}", same_key = "correction" }
        ready = { strategy = "marker", marker = "{name}.ok", stable_for = "100ms" }
        output = { main = { path = "out/r{revision}.main", on_exists = "fail" } }
        source = { on_success = "archive", archive_dir = "archive/r{revision}" }"#,
    );
    for number in 0..30 {
        world.write(format!("in/pay-{number}.txt"), format!("{number}\n"));
        world.write(format!("in/pay-{number}.txt.ok"), "");
    }
    let mut service = world.start();
    service.wait_until("all are published", || (in_state(&world, "completed").len() == 30).then_some(()));
    service.stop();
    let mut jobs = world.jobs();
    jobs.sort_by_key(|job| job["revision"].as_u64());
    for (number, job) in jobs.iter().enumerate() {
        assert_eq!(job["revision"], number + 1);
        let sent = world.text(format!("out/r{}.main", number + 1));
        let name = format!("pay-{}.txt", sent.trim_end());
        assert_eq!(world.files(&format!("archive/r{}", number + 1)), [name.clone(), format!("{name}.ok")]);
        let corrected = number.checked_sub(1).map_or(Value::Null, |last| jobs[last]["id"].clone());
        assert_eq!(job["corrects"], corrected);
    }
}

/// What is published counts from the moment when nothing can take it back, not from the end of the job.
#[test]
fn a_resend_is_refused_while_the_first_still_waits_to_be_archived() {
    let world = World::new(REFUSE);
    world.write("archive", "");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "out/pay.main");
    world.move_in("in/again.txt", "one\n");
    wait_for_state(&mut service, &world, "refused");
    service.kill();

    let mut service = world.start();
    world.move_in("in/third.txt", "one\n");
    service.wait_until("the third is refused", || (in_state(&world, "refused").len() == 2).then_some(()));
    support::remove(&world.path("archive"));
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    let first = in_state(&world, "completed").pop().expect("the first is done");
    assert_eq!(first["duplicate_of"], Value::Null, "it is no resend of itself: {first:#}");
    assert_eq!(world.files("out"), ["pay.main"]);
}

#[test]
fn a_job_that_is_killed_after_it_published_is_no_duplicate_of_itself() {
    let strict = "same_key = \"hold\", same_content = \"refuse\"";
    let world = World::new(&CORRECT.replace("same_key = \"correction\"", strict));
    // The archive's folder can neither be made nor is it there.
    world.sh("mkdir archive; ln -s nowhere archive/acme");
    let mut service = world.start();
    world.move_in("in/acme/pay.csv", "one\n");
    service.wait_for(&world, "out/acme/pay-r1.done");
    wait_for_state(&mut service, &world, "retiring");
    service.kill();

    let mut service = world.start();
    support::remove(&world.path("archive/acme"));
    service.wait_for(&world, "archive/acme/r1/pay.csv");
    service.stop();
    let job = world.completed();
    let told = [&job["revision"], &job["duplicate_of"], &job["corrects"]];
    assert_eq!(told, [&Value::from(1), &Value::Null, &Value::Null]);
    assert_eq!(world.files("out"), ["acme/pay-r1.csv", "acme/pay-r1.done"]);
}

#[test]
fn no_kill_lets_a_resend_look_new_or_a_revision_come_twice() {
    let strict = CORRECT.replace("same_key", "same_content = \"refuse\", same_key");
    let world = World::new(&strict.replace("key = \"{sender}/{name}\"", "key = \"{rule}-{ext}\""));
    let text = lines(20_000);
    for number in 0..6 {
        // Twice the same content each, and one key for all.
        let folder = format!("in/s{number}");
        for name in ["a.csv", "b.csv"] {
            world.write(format!("{folder}/{name}"), format!("{number}\n{text}"));
        }
    }
    let ended = || in_state(&world, "completed").len() + in_state(&world, "refused").len();
    for round in 0_u64.. {
        let mut service = world.start();
        if round == 12 {
            service.wait_until("all are settled", || (ended() == 12).then_some(()));
            service.stop();
            break;
        }
        service.wait_until("it takes files", || (round > 3 || world.has("in/s0/.landfall")).then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(20 + 25 * round));
        service.kill();
    }
    let mut published = in_state(&world, "completed");
    published.sort_by_key(|job| job["revision"].as_u64());
    assert_eq!(published.len(), 6, "one of each pair");
    for (number, job) in published.iter().enumerate() {
        assert_eq!(job["duplicate_of"], Value::Null, "{job:#}");
        assert_eq!(job["revision"], number + 1);
        let corrected = number.checked_sub(1).map_or(Value::Null, |last| published[last]["id"].clone());
        assert_eq!(job["corrects"], corrected);
        assert_eq!(job["records_in"], 20_001);
    }
    let outputs: Vec<_> = world.files("out").into_iter().filter(|name| !name.contains("done")).collect();
    assert_eq!(outputs.len(), 6, "{outputs:?}");
    assert_eq!(world.files("archive").len(), 6);
}

/// What the store does not know is told as lost: a refused file is not, however long it lies in quarantine.
#[test]
fn a_refused_file_in_quarantine_is_not_told_as_lost_when_its_job_is_no_longer_listed() {
    let world = World::new(REFUSE);
    for name in ["in/pay.txt", "in/again.txt"] {
        world.write(name, "one\n");
        world.ingest_and_retire(name);
    }
    assert!(world.has("in/.landfall/quarantine/again.txt"), "{:#?}", world.files("in"));
    // At its start a service forgets jobs, looks through the claim folders, and then forgets ledger rows.
    world.configure("retention = \"0s\"\nledger_retention = \"0s\"", &[REFUSE]);
    let mut service = world.start();
    service.wait_for_log("no longer in the ledger");
    let log = service.log();
    assert!(log.contains("no longer listed") && !log.contains("this store does not know"), "{log}");
    service.stop();
}

#[test]
fn deliveries_are_known_longer_than_their_jobs_are_listed_and_no_longer_than_the_ledger() {
    let world = World::with_service("retention = \"0s\"", REFUSE);
    world.write("in/pay.txt", "one\n");
    world.ingest_and_retire("in/pay.txt").done();
    let mut service = world.start();
    service.wait_for_log("no longer listed");
    world.move_in("in/again.txt", "one\n");
    let refused = wait_for_state(&mut service, &world, "refused");
    assert!(
        refused["error"]["message"].as_str().is_some_and(|text| text.contains("in/pay.txt")),
        "{refused:#}"
    );
    service.stop();

    world.configure("retention = \"0s\"\nledger_retention = \"0s\"", &[REFUSE]);
    let mut service = world.start();
    service.wait_for_log("no longer in the ledger");
    world.move_in("in/third.txt", "one\n");
    service.wait_for(&world, "archive/third.txt");
    service.stop();
}
