//! Promise: a killed job goes on from its last checkpoint, runs little again, and builds on nothing that it was not made from.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{World, assert_balanced};

/// Rows of the large file, of about so many bytes each.
const ROWS: u64 = 26_000;
const ROW_BYTES: u64 = 860;
/// Twice what lies between checkpoints, and what the workers hold.
const AGAIN_BYTES_MAX: u64 = 2 * (16 << 20) + 64 * (56 << 10);

/// Every 20th row of `big.txt` is of kind 0, the next of kind 1, and so on. Kinds have outputs of their own where `outputs` says so.
/// The row at 90% waits until there is a file `go`.
fn gated_world(routes: &str, outputs: &str) -> World {
    let gate = ROWS * 9 / 10;
    let world = World::with_service(
        "workers = 2",
        &format!(
            r#"
            records = {{ format = "csv", header = false, columns = ["kind", "number", "text"] }}
            [[pipeline]]
            step = "route"
            when = [{{ if = {{ column = "number", equals = "{gate}" }}, to = "gate" }}, {routes}]
            [[pipeline]]
            step = "exec"
            confine = false
            on = ["gate"]
            command = ["./gate"]
            protocol = "jsonl"
            [output.gate]
            path = "out/{{stem}}.gate"
            {outputs}
            "#
        ),
    );
    let gate = r#"read -r line || exit; until [ -e go ]; do sleep 0.02; done; echo '{"to":"main"}'; cat"#;
    world.write("gate", format!("#!/bin/bash\n{gate}\n"));
    world.sh(&format!(
        "chmod +x gate
         seq 1 {ROWS} | mawk 'BEGIN {{ text = sprintf(\"%850s\", \"long\") }} {{ print $1 % 20 \",\" $1 \",\" text }}' > big.txt
         cp big.txt staged.txt; mv staged.txt in/big.txt"
    ));
    world
}

fn big_job(world: &World) -> Option<Value> {
    world.jobs().into_iter().find(|job| job["source"].as_str().is_some_and(|path| path.ends_with("big.txt")))
}

fn count(job: &Value, key: &str) -> u64 {
    job[key].as_u64().unwrap_or_else(|| panic!("`{key}` is no count: {job:#}"))
}

/// Kills the service when all before the gate is collected and a checkpoint is durable; how many records that were.
fn kill_at_the_gate(world: &World) -> u64 {
    let mut service = world.start();
    service.wait_for_log("watching");
    let run = service.wait_until("the job is at the gate", || {
        let job = big_job(world)?;
        // A job is in hand until it has a checkpoint.
        let has_checkpoint = !world.text("data/in-hand").contains(job["id"].as_str()?);
        Some(count(&job, "records_in")).filter(|run| has_checkpoint && *run >= ROWS * 89 / 100)
    });
    // What is applied is durable once another job has ended: its end is synced, and all before it.
    world.move_in("in/other.txt", "19,1,other\n");
    service.wait_for(world, "archive/other.txt");
    service.kill();
    assert!(
        !world.has("archive/big.txt"),
        "the gate did not hold: {:#?}",
        big_job(world).map(|job| world.failed_records(&job))
    );
    run
}

fn finish(world: &World) -> (Value, String) {
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(world, "archive/big.txt");
    service.stop();
    let log = world.text("landfall.log"); // all of it: nothing is written any more
    let job = big_job(world).expect("it is listed");
    assert_eq!((job["state"].as_str(), count(&job, "records_in")), (Some("completed"), ROWS), "{job:#}");
    assert_balanced(&job);
    (job, log)
}

/// What ran again is told: all that was collected past the checkpoint, of which `run` were seen and none behind the gate.
fn assert_told(job: &Value, run: u64) {
    let [again, resumed_at] = ["records_again", "resumed_at_record"].map(|key| count(job, key));
    let expected = run - resumed_at..=ROWS * 9 / 10 - resumed_at;
    assert!(expected.contains(&again), "{again} is not in {expected:?}");
}

/// Goal: a kill at 90% costs at most what lies between checkpoints, whatever the outputs are packed with, and nothing shows in them.
#[test]
fn a_job_killed_at_90_percent_runs_little_again_whatever_its_outputs_are_packed_with() {
    let world = gated_world(
        r#"{ if = { column = "kind", equals = "0" }, to = "gzip" }, { if = { column = "kind", equals = "1" }, to = "zstd" },
           { if = { column = "kind", equals = "2" }, to = "bzip2" }, { if = { column = "kind", equals = "3" }, to = "xz" }"#,
        r#"[output.main]
           path = "out/{stem}.txt"
           [output.gzip]
           path = "out/{stem}.0.gz"
           [output.zstd]
           path = "out/{stem}.1.zst"
           [output.bzip2]
           path = "out/{stem}.2.bz2"
           [output.xz]
           path = "out/{stem}.3.xz""#,
    );
    let run = kill_at_the_gate(&world);
    let (job, _) = finish(&world);

    assert_eq!(count(&job, "attempts"), 2, "{job:#}");
    let resumed_at = count(&job, "resumed_at_record");
    let again_max = AGAIN_BYTES_MAX / ROW_BYTES;
    assert!(resumed_at > 0 && run - resumed_at <= again_max, "{run} of which {resumed_at} were kept");
    assert_told(&job, run);
    let moments = job["throughput"].as_array().expect("how it went over time");
    let records: Vec<u64> = moments.iter().map(|moment| count(moment, "records")).collect();
    assert!(
        records.is_sorted() && records[0] == 0 && records.contains(&resumed_at),
        "{records:?}, {resumed_at}"
    );
    let shown = world.landfall(&["show", job["id"].as_str().expect("an id is text")]).done();
    shown.says(&[
        "attempt 2",
        &format!("after record {resumed_at};"),
        &format!("; {} records ran again", count(&job, "records_again")),
    ]);
    world.sh("gzip -dc out/big.0.gz | cmp - <(grep '^0,' big.txt | grep -v '^0,23400,')
        zstd -dcq out/big.1.zst | cmp - <(grep '^1,' big.txt)
        bzip2 -dc out/big.2.bz2 | cmp - <(grep '^2,' big.txt)
        xz -dc out/big.3.xz | cmp - <(grep '^3,' big.txt)
        cmp out/big.txt <(grep -E '^([4-9]|1[0-9]|0,23400,)' big.txt)");
}

#[test]
fn what_ran_again_is_told_also_where_the_outputs_on_the_disk_have_hardly_any_of_it() {
    let world = gated_world("", "[output.main]\npath = \"out/{stem}.gz\"");
    let run = kill_at_the_gate(&world);
    let (job, _) = finish(&world);
    assert_told(&job, run);
}

/// A manifest with a name that no file can have stands for an output folder that does not answer once all records are there.
#[test]
fn a_job_that_is_held_when_all_its_records_are_there_goes_on_from_its_checkpoint() {
    let long = "m".repeat(255);
    let world = gated_world("", &format!("[publish]\nmanifest = \"out/{{stem}}.{long}.json\""));
    world.write("go", "");
    let mut service = world.start();
    service.wait_for_log("watching");
    let job = service.wait_until("the job is tried again", || {
        let again = world.text("landfall.log").contains("a partial of its checkpoint is lost");
        big_job(&world).filter(|job| again || count(job, "resumed_at_record") > 0)
    });
    assert!(count(&job, "resumed_at_record") > 0, "all records run again: {job:#}");
    service.stop();
}

/// Size and time of the source tell nothing here: only what it is decoded to does.
#[test]
fn a_checkpoint_that_was_made_from_other_bytes_is_not_built_upon() {
    let world = gated_world("", "");
    let run = kill_at_the_gate(&world);
    // The first row is of kind 1, and of kind 7 from now on.
    world.sh("claimed=$(echo in/.landfall/*.big.txt); touch -r $claimed time
        printf 7 | dd of=$claimed bs=1 seek=0 conv=notrunc status=none; touch -r time $claimed
        printf 7 | dd of=big.txt bs=1 seek=0 conv=notrunc status=none");
    let (job, log) = finish(&world);
    assert!(log.contains("the source no longer gives what the job's checkpoint was made from"), "{log}");
    assert_eq!(count(&job, "resumed_at_slice"), 0, "{job:#}");
    assert_told(&job, run);
    world.sh("cmp out/big.main big.txt");
}
