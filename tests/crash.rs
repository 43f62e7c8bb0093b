//! Promise: no kill loses or repeats a record, or strands a source.
//!
//! The real process is killed at random moments, over and over, while sources keep arriving. After the last restart every
//! output has the content that an undisturbed run gives it, every source is archived once, and nothing half is left.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use support::random::Random;
use support::{World, assert_balanced, wait_until};

const KILLS: u32 = 50;
const RECORDS: u64 = 12_000;

const RULE: &str = r#"
paths = ["in/*.csv.gz.age"]
[decode]
identities = ["key.txt"]
[records]
format = "csv"
[[pipeline]]
step = "validate"
on = ["main"]
to = "invalid"
columns = { amount = { type = "decimal" } }
[output.main]
path = "out/{stem}.csv.gz"
[output.invalid]
path = "out/{stem}.invalid.csv"
[publish]
marker = "out/{stem}.done"
"#;

#[test]
fn no_kill_at_any_moment_loses_or_repeats_a_record_or_strands_a_source() {
    let mut random = Random::seeded();
    let world = World::new(RULE);
    let recipient = world.age_key();

    let mut dropped: Vec<String> = Vec::new();
    for kill in 0..KILLS as usize {
        // There is always work in hand: a kill that finds none shows nothing. Jobs that were often in hand alone wait for a while.
        while unfinished(&world, &dropped) < 2 + kill / 8 {
            dropped.push(drop_source(&world, &recipient, dropped.len() as u64));
        }
        let service = world.start();
        std::thread::sleep(Duration::from_millis(random.below(400)));
        service.kill();
    }

    let mut service = world.start();
    service.wait_until("every source is published and archived", || {
        (unfinished(&world, &dropped) == 0).then_some(())
    });
    service.stop();

    let undisturbed = undisturbed_outputs(&world, &dropped);
    let outputs = decoded_outputs(&world);
    assert_eq!(
        outputs.keys().collect::<Vec<_>>(),
        undisturbed.keys().collect::<Vec<_>>(),
        "other files than undisturbed"
    );
    for (name, content) in &outputs {
        assert!(content == &undisturbed[name], "{name} differs from an undisturbed run");
    }
    let mut sources: Vec<_> = dropped.iter().map(|stem| format!("{stem}.csv.gz.age")).collect();
    sources.sort();
    assert_eq!(world.files("archive"), sources, "every source is archived once, under its name");
    assert_eq!(world.files("in"), [""; 0], "something was left behind beside the sources");
    let jobs = world.jobs();
    assert_eq!(jobs.len(), sources.len(), "one job for each source");
    for job in &jobs {
        assert_eq!(job["state"], "completed", "{job:#}");
        assert_eq!(job["records_in"], RECORDS);
        assert_balanced(job);
    }
    println!("{KILLS} kills, {} sources", sources.len());
}

/// Sources that are not both published and archived yet.
fn unfinished(world: &World, dropped: &[String]) -> usize {
    let finished = |stem: &&String| {
        world.has(format!("out/{stem}.done")) && world.has(format!("archive/{stem}.csv.gz.age"))
    };
    dropped.len() - dropped.iter().filter(finished).count()
}

fn drop_source(world: &World, recipient: &str, number: u64) -> String {
    let stem = format!("batch-{number:04}");
    let mut text = String::from("id,amount,note\n");
    for id in 0..RECORDS {
        let amount = if id % 97 == number % 97 {
            "N/A".into()
        } else {
            format!("{}.{:02}", id * 7919 % 10_000, id % 100)
        };
        writeln!(text, "{number}-{id},{amount},ref {:x}", (id + number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .expect("a string takes all");
    }
    world.write(format!("samples/{stem}.csv"), text);
    world.sh(&format!(
        "gzip -c samples/{stem}.csv | age -r {recipient} -o staged.age; mv staged.age samples/{stem}.csv.gz.age
         cp samples/{stem}.csv.gz.age staged.age; mv staged.age in/{stem}.csv.gz.age"
    ));
    stem
}

fn undisturbed_outputs(world: &World, dropped: &[String]) -> BTreeMap<String, Vec<u8>> {
    let calm = World::new(RULE);
    calm.write("key.txt", world.bytes("key.txt"));
    for stem in dropped {
        calm.move_in(&format!("in/{stem}.csv.gz.age"), world.bytes(format!("samples/{stem}.csv.gz.age")));
    }
    let mut service = calm.start();
    service.wait_until("the undisturbed run", || (unfinished(&calm, dropped) == 0).then_some(()));
    service.stop();
    decoded_outputs(&calm)
}

/// Every output by its name, what is packed unpacked by the real tool.
fn decoded_outputs(world: &World) -> BTreeMap<String, Vec<u8>> {
    world.sh(
        "mkdir -p unpacked; cp out/* unpacked; for f in unpacked/*.gz; do gzip -dc \"$f\" > unpacking; mv unpacking \"$f\"; done",
    );
    let content = |name: &String| world.bytes(format!("unpacked/{name}"));
    world.files("out").into_iter().map(|name| (name.clone(), content(&name))).collect()
}

/// A kill between the claim and the end of a small job, again and again on one and the same file.
#[test]
fn a_source_that_is_killed_at_every_start_is_published_once() {
    let mut random = Random::seeded();
    let world = World::new("output = { main = { path = \"out/{stem}.gz\" } }");
    world.move_in("in/pay.txt", support::lines(40_000));
    for _ in 0..10 {
        let service = world.start();
        std::thread::sleep(Duration::from_millis(random.below(150)));
        service.kill();
    }
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    wait_until("nothing else is there", || (world.files("out") == ["pay.gz"]).then_some(()));
    assert!(world.sh("gzip -dc out/pay.gz") == support::lines(40_000));
}

/// A job of several checkpoints is killed after one of them: it goes on from there, and what comes out is what an undisturbed run gives.
#[test]
fn a_killed_job_goes_on_from_its_checkpoint_whatever_its_outputs_are_packed_with() {
    let world = World::new(
        r#"
        [[pipeline]]
        step = "route"
        when = [{ if = { matches = "0 " }, to = "packed" }, { if = { matches = "1 " }, to = "framed" }]
        [output.main]
        path = "out/{stem}.txt"
        [output.packed]
        path = "out/{stem}.packed.gz"
        [output.framed]
        path = "out/{stem}.framed.zst"
        "#,
    );
    world.sh("seq -f '%.0f one line of a large file, long enough that not too many of them make a checkpoint' 1200000 > big.txt
        ln big.txt staged.txt; mv staged.txt in/big.txt");
    let mut service = world.start();
    service.wait_for_log("watching");
    service.wait_until("a checkpoint", || {
        // A checkpoint is due each 16 MiB, and nobody works on past the next one while it is on its way.
        let has_checkpoint =
            |job: &serde_json::Value| job["bytes_worked"].as_u64().is_some_and(|bytes| bytes > 40 << 20);
        world.jobs().iter().any(has_checkpoint).then_some(())
    });
    service.kill();
    assert!(!world.has("archive/big.txt"), "killed too late to show anything");
    let mut service = world.start();
    service.wait_for(&world, "archive/big.txt");
    service.stop();
    let job = world.completed();
    assert!(job["resumed_at_slice"].as_u64().is_some_and(|slice| slice > 0), "{job:#}");
    assert_balanced(&job);
    world.sh("grep -v '[01] ' big.txt | cmp - out/big.txt
        gzip -dc out/big.packed.gz | cmp - <(grep '0 ' big.txt)
        zstd -dcq out/big.framed.zst | cmp - <(grep '1 ' big.txt)");
}

/// The consumer takes the published file before the crash; recovery must not publish it again.
#[test]
fn a_published_output_that_was_taken_away_is_not_published_again() {
    let world = World::new("source = { on_success = \"archive\", archive_dir = \"blocked/archive\" }");
    // The archive cannot be made, so the job stays between publishing and its end.
    world.write("blocked", "not a folder\n");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "out/pay.main");
    rename_away(&world);
    service.kill();
    let mut service = world.start();
    world.move_in("in/next.txt", "two\n");
    service.wait_for(&world, "out/next.main");
    support::remove(&world.path("blocked"));
    service.wait_for(&world, "blocked/archive/pay.txt");
    service.wait_for(&world, "blocked/archive/next.txt");
    service.stop();
    assert_eq!(world.files("out"), ["next.main"]);
}

fn rename_away(world: &World) {
    support::rename(&world.path("out/pay.main"), &world.path("consumed"));
}
