//! Promise: a killed job goes on from its last checkpoint, runs little again, and builds on nothing that it was not made from.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{Service, World, assert_balanced};

/// Rows of the large file, of about so many bytes each.
const LINES: u64 = 500_000;
const LINE_BYTES: u64 = 87;
/// Twice what lies between checkpoints, and what the workers hold.
const AGAIN_BYTES_MAX: u64 = (2 * 16 << 20) + 64 * (56 << 10);

/// Every 20th row is of kind 0, the next of kind 1, and so on.
fn big_file(world: &World) {
    world.sh(&format!(
        "seq 1 {LINES} | mawk '{{ print $1 % 20 \",\" $1 \",a row of a large file, long enough that not too many of them make a checkpoint\" }}' > big.txt
         cp big.txt staged.txt; mv staged.txt in/big.txt"
    ));
}

fn count(job: &Value, key: &str) -> u64 {
    job[key].as_u64().unwrap_or_else(|| panic!("`{key}` is no count: {job:#}"))
}

/// Kills the service once the job has a checkpoint and this many records went through; how many had.
fn kill_after(world: &World, mut service: Service, records: u64) -> u64 {
    let run = service.wait_until("the job is far enough", || {
        let job = world.jobs().pop()?;
        let has_checkpoint = job["slices"]["done"].as_u64().is_some_and(|done| done > 0);
        Some(count(&job, "records_in")).filter(|run| has_checkpoint && *run >= records)
    });
    service.kill();
    assert!(!world.has("archive/big.txt"), "killed too late to show anything");
    run
}

/// Goal: a kill at 90% costs at most what lies between checkpoints, whatever the outputs are packed with, and nothing shows in them.
#[test]
fn a_job_killed_at_90_percent_runs_little_again_whatever_its_outputs_are_packed_with() {
    let world = World::new(
        r#"
        records = { format = "csv", header = false, columns = ["kind", "number", "text"] }
        [[pipeline]]
        step = "route"
        when = [{ if = { column = "kind", equals = "0" }, to = "gzip" }, { if = { column = "kind", equals = "1" }, to = "zstd" },
                { if = { column = "kind", equals = "2" }, to = "bzip2" }, { if = { column = "kind", equals = "3" }, to = "xz" }]
        [output.main]
        path = "out/{stem}.txt"
        [output.gzip]
        path = "out/{stem}.0.gz"
        [output.zstd]
        path = "out/{stem}.1.zst"
        [output.bzip2]
        path = "out/{stem}.2.bz2"
        [output.xz]
        path = "out/{stem}.3.xz"
        "#,
    );
    big_file(&world);
    let run = kill_after(&world, world.start(), LINES * 9 / 10);
    let mut service = world.start();
    service.wait_for(&world, "archive/big.txt");
    service.stop();

    let job = world.completed();
    assert_balanced(&job);
    assert_eq!((count(&job, "records_in"), count(&job, "attempts")), (LINES, 2), "{job:#}");
    let resumed_at = count(&job, "resumed_at_record");
    let again_max = AGAIN_BYTES_MAX / LINE_BYTES;
    assert!(resumed_at > 0 && run.saturating_sub(resumed_at) <= again_max, "{run} of which {resumed_at} kept");
    assert!(count(&job, "records_again") <= again_max, "{job:#}");
    let shown = world.landfall(&["show", job["id"].as_str().expect("an id is text")]).done();
    shown.says(&["attempt 2", &format!("after record {resumed_at}"), "records ran again"]);
    world.sh("cmp out/big.txt <(grep -v '^[0-3],' big.txt)
        gzip -dc out/big.0.gz | cmp - <(grep '^0,' big.txt)
        zstd -dcq out/big.1.zst | cmp - <(grep '^1,' big.txt)
        bzip2 -dc out/big.2.bz2 | cmp - <(grep '^2,' big.txt)
        xz -dc out/big.3.xz | cmp - <(grep '^3,' big.txt)");
}

/// Size and time of the source tell nothing here: only what it is decoded to does.
#[test]
fn a_checkpoint_that_was_made_from_other_bytes_is_not_built_upon() {
    let world = World::new("");
    big_file(&world);
    kill_after(&world, world.start(), LINES / 2);
    world.sh("claimed=$(echo in/.landfall/*.big.txt); touch -r $claimed time
        printf 7 | dd of=$claimed bs=1 seek=0 conv=notrunc status=none; touch -r time $claimed
        printf 7 | dd of=big.txt bs=1 seek=0 conv=notrunc status=none");
    let mut service = world.start();
    service.wait_for(&world, "archive/big.txt");
    assert!(service.log().contains("the source no longer gives"), "{}", service.log());
    service.stop();
    let job = world.completed();
    assert_eq!((count(&job, "resumed_at_slice"), count(&job, "records_in")), (0, LINES), "{job:#}");
    world.sh("cmp out/big.main big.txt");
}
