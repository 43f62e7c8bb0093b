//! Promise: of every record it is told where it went, and of every source and output which job it belongs to.
#![cfg(unix)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use support::World;

/// Records that are dropped, invalid, failed, changed, and passed.
const STEPS: &str = r#"
records = { format = "csv", slice_records = 7 }
errors = { failed_max = "90%" }
pipeline = [
  { step = "validate", columns = { amount = { type = "decimal" } } },
  { step = "filter", drop = { column = "state", equals = "old" } },
  { step = "route", when = [{ if = { column = "state", equals = "big" }, to = "big" }] },
  { step = "select", columns = ["id", "amount"], on = ["main"] },
]
"#;
const OUTPUTS: &str = r#"
[output]
main = { path = "out/{stem}.main.csv.gz" }
big = { path = "out/{stem}.big.csv" }
invalid = { path = "out/{stem}.invalid.csv", annotate = true }
"#;

fn row(number: usize) -> String {
    let state = ["new", "old", "big", "new", "\"new\""][number % 5];
    let amount = if number % 11 == 3 { "none".to_owned() } else { format!("{number}.50") };
    format!("{number},{state},{amount}")
}

fn rows(numbers: std::ops::RangeInclusive<usize>) -> String {
    let rows: Vec<String> = numbers.map(row).collect();
    format!("id,state,amount\n{}\n", rows.join("\n"))
}

fn trace(world: &World, job: &Value, arguments: &[&str]) -> Value {
    let id = job["id"].as_str().expect("an id is text");
    world.json(&[&["trace", id, "--json", "--record"], arguments].concat())
}

/// The lines of an output, unpacked, behind its header.
fn lines_of(world: &World, path: &str) -> Vec<String> {
    let is_packed = Path::new(path).extension().is_some_and(|suffix| suffix == "gz");
    let unpack = if is_packed { "gzip -dc" } else { "cat" };
    world.sh(&format!("{unpack} '{path}'")).lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn every_record_of_a_file_is_where_its_trace_says_and_no_two_are_in_one_place() {
    let world = World::new(&format!("{STEPS}{OUTPUTS}"));
    world.write("pay.csv", rows(1..=40));
    world.ingest_and_retire("pay.csv").done();
    let job = world.completed();
    let mut places = BTreeSet::new();
    let mut dropped = 0;
    for number in 1..=40_usize {
        let traced = trace(&world, &job, &[&number.to_string()]);
        assert_eq!(traced["data"], row(number), "{traced:#}");
        assert_eq!(traced["line"], number + 1, "{traced:#}");
        let end = &traced["end"];
        if end["became"] == "dropped" {
            assert!(row(number).contains("old"), "{traced:#}");
            dropped += 1;
            continue;
        }
        let (path, at) =
            (end["path"].as_str().expect("a path"), end["output_record"].as_u64().expect("a number"));
        let line = lines_of(&world, path)[at as usize - 1].clone();
        assert_eq!(end["data"], format!("{line}\n"), "{traced:#}");
        assert!(line.starts_with(&format!("{number},")), "{line}: {traced:#}");
        assert!(places.insert((path.to_owned(), at)), "two records are there: {traced:#}");
    }
    assert_eq!(job["records_dropped"], dropped);
    let written: u64 =
        job["records_out"].as_object().expect("counts").values().filter_map(Value::as_u64).sum();
    assert_eq!(written as usize, places.len());
}

#[test]
fn each_step_says_what_it_made_of_the_record() {
    let world = World::new(&format!("{STEPS}{OUTPUTS}"));
    world.write("pay.csv", rows(1..=20));
    world.ingest_and_retire("pay.csv").done();
    let id = world.completed()["id"].as_str().expect("text").to_owned();
    let told = world.landfall(&["trace", &id, "--record", "5"]).done();
    told.says(&[
        "step 1, validate: let it pass",
        "step 4, select: changed it",
        "5,5.50",
        "written    to",
        "as record",
    ]);
    let invalid = world.landfall(&["trace", &id, "--record", "14"]).done();
    invalid.says(&["step 1, validate: sent it to `invalid`: amount", "pay.invalid.csv, as record 2"]);
    world
        .landfall(&["trace", &id, "--record", "1"])
        .done()
        .says(&["step 2, filter: dropped it", "dropped    by step 2"]);
}

#[test]
fn a_failed_record_is_told_with_its_number_and_what_became_of_it() {
    let world = World::new(
        "records = { format = \"jsonl\" }\nerrors = { failed_max = \"90%\" }
         pipeline = [{ step = \"filter\", drop = { column = \"state\", equals = \"old\" } }]",
    );
    world.write("pay.jsonl", "{\"state\": 1}\nno json\n{\"state\": 2}\n");
    world.ingest_and_retire("pay.jsonl").done();
    let job = world.completed();
    let end = trace(&world, &job, &["2"])["end"].clone();
    assert_eq!((&end["became"], &end["number"]), (&"failed".into(), &1.into()), "{end:#}");
    let id = job["id"].as_str().expect("text");
    world.landfall(&["records", id, "drop", "1", "--reason", "no use"]).done();
    let settled = trace(&world, &job, &["2"])["end"]["settled"].clone();
    assert!(settled.as_str().expect("it is told").contains("no use"), "{settled}");
    assert_eq!(trace(&world, &job, &["3"])["end"]["output_record"], 2);
}

#[test]
fn entries_of_an_archive_count_for_themselves_in_their_own_outputs_and_together_in_one() {
    for (outputs, second) in [("out/{entry}", 1), ("out/all.csv", 4)] {
        let world = World::new(&format!(
            "records = {{ format = \"csv\" }}\noutput = {{ main = {{ path = \"{outputs}\" }} }}"
        ));
        world.write("one.csv", rows(1..=3));
        world.write("two.csv", rows(7..=8));
        world.sh("zip -q pay.zip one.csv two.csv && rm one.csv two.csv");
        world.ingest_and_retire("pay.zip").done();
        let job = world.completed();
        let id = job["id"].as_str().expect("text");
        let unnamed = world.landfall(&["trace", id, "--record", "1"]).ends_with(1);
        assert!(unnamed.stderr.contains("--entry"), "{unnamed:#?}");
        let traced = trace(&world, &job, &["1", "--entry", "two.csv"]);
        assert_eq!(
            (&traced["data"], &traced["end"]["output_record"]),
            (&row(7).into(), &second.into()),
            "{traced:#}"
        );
        let path = traced["end"]["path"].as_str().expect("a path");
        assert_eq!(lines_of(&world, path)[second - 1], row(7));
        let missing = world.landfall(&["trace", id, "--record", "1", "--entry", "three.csv"]).ends_with(1);
        assert!(missing.stderr.contains("has no entry `three.csv`"), "{missing:#?}");
    }
}

#[test]
fn a_source_that_is_gone_or_another_one_or_shorter_is_told_and_never_taken_for_the_right_one() {
    let world = World::new(&format!("{STEPS}{OUTPUTS}"));
    world.write("pay.csv", rows(1..=20));
    world.ingest_and_retire("pay.csv").done();
    let id = world.completed()["id"].as_str().expect("text").to_owned();
    let refused = |words: &str| {
        let ran = world.landfall(&["trace", &id, "--record", "3"]).ends_with(1);
        assert!(ran.stderr.contains(words), "{words}: {ran:#?}");
    };
    let beyond = world.landfall(&["trace", &id, "--record", "21"]).ends_with(1);
    assert!(beyond.stderr.contains("there are 20"), "{beyond:#?}");
    world.landfall(&["trace", &id, "--record", "0"]).ends_with(2);
    // As long, and as old.
    world.sh("cp -p archive/pay.csv kept && sed 's/^3,/9,/' kept > archive/pay.csv && touch -r kept archive/pay.csv");
    refused("is not what job");
    world.sh("mv archive/pay.csv other");
    refused("is not at");
    world.sh("cp -p kept archive/pay.csv");
    world.landfall(&["trace", &id, "--record", "3"]).done();
}

#[test]
fn a_trace_goes_by_the_rule_of_the_job_and_asks_the_running_service() {
    let world = World::new(&format!("{STEPS}{OUTPUTS}"));
    let service = world.start();
    world.move_in("in/pay.csv", rows(1..=20));
    let job = support::wait_until("the job is completed", || {
        world.jobs().pop().filter(|job| job["state"] == "completed")
    });
    let before = trace(&world, &job, &["5"]);
    world.configure("", &["records = { format = \"lines\" }"]);
    world.landfall(&["reload"]).done();
    assert_eq!(trace(&world, &job, &["5"]), before);
    service.stop();
    assert_eq!(trace(&world, &job, &["5"]), before, "without a service");
}

#[test]
fn a_source_is_found_by_name_place_hash_and_time_and_an_output_leads_to_its_source() {
    let world = World::new("output = { main = { path = \"out/{stem}.main\", sha256 = true } }");
    for name in ["one.txt", "two.txt"] {
        world.write(name, format!("{name}\n"));
        world.ingest_and_retire(name).done();
    }
    let jobs = world.jobs();
    let found = |arguments: &[&str]| -> Vec<Value> {
        let found = world.json(&[&["find", "--json"], arguments].concat());
        found["found"].as_array().expect("a list").iter().map(|one| one["job"].clone()).collect()
    };
    let (one, two) = (&jobs[0]["id"], &jobs[1]["id"]);
    assert_eq!(found(&["--source", "one.txt"]), std::slice::from_ref(one));
    assert_eq!(found(&["--source", "*/archive/*"]), [one.clone(), two.clone()], "where they lie now");
    assert_eq!(found(&["--output", "out/o*"]), std::slice::from_ref(one), "from here");
    assert_eq!(found(&["--output", "two.main"]), std::slice::from_ref(two));
    let hash = world.sh("sha256sum out/one.main");
    assert_eq!(found(&["--hash", &hash[..12]]), std::slice::from_ref(one));
    let hash = jobs[1]["content_hash"].as_str().expect("it has one");
    assert_eq!(found(&["--hash", hash]), std::slice::from_ref(two));
    for text in ["", "blake3:", "md5:00ff", "no hash"] {
        world.landfall(&["find", "--hash", text]).ends_with(2).says(&["is no hash", "0-9 and a-f"]);
    }
    assert_eq!(found(&["--since", "1h"]), [one.clone(), two.clone()]);
    let earlier = world.landfall(&["find", "--json", "--until", "1h", "--rule", "payments"]).ends_with(1);
    assert!(earlier.stdout.contains("\"found\":["), "{earlier:#?}");
    let text = world.landfall(&["find", "--source", "one*"]).done();
    text.says(&["completed", "one.txt", "one.main", "archive"]);
    let nothing = world.landfall(&["find", "--source", "three.txt"]).ends_with(1);
    assert!(nothing.stderr.contains("nothing that was claimed fits"), "{nothing:#?}");
    world.landfall(&["find"]).ends_with(2);
}

#[test]
fn what_a_job_published_is_printed_unpacked_and_decrypted_whole_or_in_part() {
    let world = World::bare();
    let recipient = world.age_key_in("reader.key");
    world.configure(
        "",
        &[&format!(
            "{STEPS}[output]
             main = {{ path = \"out/{{stem}}.main.csv.gz.age\", recipients = [\"{recipient}\"] }}
             big = {{ path = \"out/{{stem}}.big.csv.zst\" }}
             invalid = {{ path = \"out/{{stem}}.invalid.csv\" }}"
        )],
    );
    world.write("pay.csv", rows(1..=40));
    world.ingest_and_retire("pay.csv").done();
    let job = world.completed();
    let id = job["id"].as_str().expect("text");
    let output = |arguments: &[&str]| world.landfall(&[&["output", id], arguments].concat());
    let big = output(&["--category", "big"]).done().stdout;
    assert_eq!(big, world.sh("zstd -dc out/pay.big.csv.zst"));
    let lines: Vec<&str> = big.lines().collect();
    let part = output(&["--category", "big", "--records", "2-3"]).done().stdout;
    assert_eq!(part.lines().collect::<Vec<_>>(), [lines[0], lines[2], lines[3]]);
    let sealed = output(&["--category", "main"]).ends_with(1);
    assert!(sealed.stderr.contains("identit"), "{sealed:#?}");
    let main = output(&["--category", "main", "--identity", "reader.key"]).done().stdout;
    assert_eq!(main.lines().next(), Some("id,amount"));
    assert_eq!(main.lines().count() as u64 - 1, job["records_out"]["main"].as_u64().expect("a count"));
    let all = output(&["--identity", "reader.key"]).done();
    assert!(all.stdout.contains(&big) && all.stderr.contains("out/pay.big.csv.zst"), "{all:#?}");
    let several = output(&["--records", "1"]).ends_with(1);
    assert!(several.stderr.contains("--category"), "{several:#?}");
    let beyond = output(&["--category", "big", "--records", "9000"]).ends_with(1);
    assert!(beyond.stderr.contains("it has"), "{beyond:#?}");
    world.sh("echo more >> out/pay.invalid.csv");
    let changed = output(&["--category", "invalid"]).ends_with(1);
    assert!(
        changed.stderr.contains("is not what was published") && changed.stdout.is_empty(),
        "{changed:#?}"
    );
    world.sh("rm out/pay.invalid.csv");
    assert!(output(&["--category", "invalid"]).ends_with(1).stderr.contains("is not there any more"));
}

/// Another one of the same name is often as long.
#[test]
fn a_file_that_took_an_outputs_place_is_not_shown_as_that_one_or_only_with_a_warning() {
    for (sha256, code) in [("", 0), (", sha256 = true", 1)] {
        let world = World::new(&format!(
            "output = {{ main = {{ path = \"out/{{stem}}.main\", on_exists = \"replace\"{sha256} }} }}"
        ));
        let ingest = |text: &str| {
            world.write("pay.txt", text);
            world.ingest_and_retire("pay.txt").done();
            let jobs = world.jobs();
            jobs.last().expect("is listed")["id"].as_str().expect("text").to_owned()
        };
        let first = ingest("one\n");
        assert_eq!(world.landfall(&["output", &first]).done().stderr, "", "it is as it was");
        let second = ingest("two\n");
        let shown = world.landfall(&["output", &first]).ends_with(code);
        let says = if code == 0 { "was changed after the job had ended" } else { "another sha256" };
        assert!(shown.stderr.contains(says), "{shown:#?}");
        assert!(code == 0 || shown.stdout.is_empty(), "{shown:#?}");
        assert_eq!(world.landfall(&["output", &second]).done().stdout, "two\n");
    }
}

#[test]
fn an_output_that_cannot_be_shown_keeps_back_no_other_and_is_named() {
    let world = World::new(
        "records = { format = \"csv\" }\n\
         pipeline = [{ step = \"route\", when = [{ if = { column = \"kind\", equals = \"big\" }, to = \"big\" }, \
         { if = { column = \"kind\", equals = \"last\" }, to = \"last\" }] }]\n\
         output = { main = { path = \"out/{stem}.main\" }, \
         big = { path = \"out/{stem}.big.age\", recipients_file = \"them\" }, \
         last = { path = \"out/{stem}.last\" } }",
    );
    let recipient = world.age_key();
    world.write("them", recipient + "\n");
    world.write("pay.csv", "id,kind\n1,small\n2,big\n3,last\n");
    world.ingest_and_retire("pay.csv").done();
    let id = world.completed()["id"].as_str().expect("text").to_owned();
    let output = |arguments: &[&str]| world.landfall(&[&["output", id.as_str()], arguments].concat());
    let shown = output(&[]).ends_with(1);
    assert!(shown.stdout.contains("1,small") && shown.stdout.contains("3,last"), "{shown:#?}");
    assert!(shown.stderr.contains("1 of 3 outputs could not be shown, or not whole: big"), "{shown:#?}");
    output(&["--category", "big"]).ends_with(1);
    let all = output(&["--identity", "key.txt"]).done();
    assert!(all.stdout.contains("2,big"), "{all:#?}");
    output(&["--entry", "a.csv"]).ends_with(1).says(&["leave the entry out"]);
    output(&["--category", "huge"]).ends_with(1).says(&["there are: big, last, main"]);
}

#[test]
fn the_hint_for_an_entry_that_is_not_there_names_entries_and_not_categories() {
    let world = World::new("output = { main = { path = \"out/{stem}.{entry}\" } }");
    world.sh("printf 'a\n' > one.csv; printf 'b\n' > two.csv; zip -q both.zip one.csv two.csv; rm *.csv");
    world.ingest_and_retire("both.zip").done();
    let id = world.completed()["id"].as_str().expect("text").to_owned();
    let refused = world.landfall(&["output", &id, "--entry", "three.csv"]).ends_with(1);
    assert!(refused.stderr.contains("of these entries: one.csv, two.csv"), "{refused:#?}");
    assert!(!refused.stderr.contains("main"), "{refused:#?}");
}

#[test]
fn a_record_of_fixed_width_is_shown_with_its_blanks() {
    let world = World::new(
        "records = { format = \"fixed\", fields = [{ name = \"id\", width = 3 }, { name = \"text\", width = 6 }] }",
    );
    world.write("pay.txt", " 1 ab    \n 2 c     \n");
    world.ingest_and_retire("pay.txt").done();
    let id = world.completed()["id"].as_str().expect("text").to_owned();
    let traced = world.landfall(&["trace", &id, "--record", "2"]).done();
    let lines: Vec<_> = traced.stdout.lines().filter(|line| line.starts_with(" 2 c")).collect();
    assert_eq!(lines, [" 2 c     ", " 2 c     "], "as it was read, and as it was written: {traced:#?}");
}
