//! Promise: outputs appear whole, under the names that the rule gives, readable by the real tools, and the marker comes last.
#![cfg(unix)]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use support::{World, lines};

fn ingested(rule: &str, text: &str) -> World {
    let world = World::new(rule);
    world.write("acme/pay.csv", text);
    world.ingest(&["acme/pay.csv"]).done();
    world
}

#[test]
fn names_know_the_source_and_the_claim() {
    let world = ingested(
        "output = { main = { path = \"out/{rule}/{parent}/{stem}-{name}-{ext}-{category}-{date:%Y}\" } }",
        "one\n",
    );
    let outputs = world.files("out");
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    assert!(outputs[0].starts_with("payments/acme/pay-pay.csv-csv-main-20"), "{outputs:?}");
}

#[test]
fn a_stem_is_the_name_without_its_known_suffixes() {
    let world = World::new(
        "decode = { identities = [\"key.txt\"] }\noutput = { main = { path = \"out/{stem}.{ext}\" } }",
    );
    let recipient = world.age_key();
    world.sh(&format!("printf 'one\n' | gzip | age -r {recipient} > pay.2026.csv.gz.age"));
    world.ingest(&["pay.2026.csv.gz.age"]).done();
    assert_eq!(world.files("out"), ["pay.2026.csv"]);
}

#[test]
fn with_entry_in_its_name_there_is_one_output_for_each_entry() {
    let world = World::new(
        "records = { format = \"csv\" }\noutput = { main = { path = \"out/{stem}/{entry_stem}.out\" } }",
    );
    world.sh(
        "mkdir sub; printf 'id\n1\n' > a.csv; printf 'key\n2\n' > sub/b.csv; zip -q sample a.csv sub/b.csv",
    );
    world.ingest(&["sample.zip"]).done();
    let outputs = world.files("out");
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    assert_eq!(world.text("out/sample/a.out"), "id\n1\n");
    assert!(outputs[1].contains('b'), "{outputs:?}");
    assert_eq!(world.text(format!("out/{}", outputs[1])), "key\n2\n");
    assert_eq!(world.completed()["outputs"][0]["entry"], "a.csv");
}

fn read_back(suffix: &str, tool: &str) {
    let world = World::new(&format!("output = {{ main = {{ path = \"out/{{stem}}.txt{suffix}\" }} }}"));
    let text = lines(20_000);
    world.write("pay.txt", &text);
    world.ingest(&["pay.txt"]).done();
    assert!(world.sh(&format!("{tool} out/pay.txt{suffix}")) == text, "{suffix} is not what went in");
}

#[test]
fn gzip_outputs_are_read_by_gzip_and_by_readers_of_one_member() {
    read_back(".gz", "gzip -dc");
    read_back(
        ".gz",
        "python3 -c 'import sys, zlib; d = zlib.decompressobj(31); t = d.decompress(open(sys.argv[1], \"rb\").read()); assert d.eof and not d.unused_data; sys.stdout.write(t.decode())'",
    );
}

#[test]
fn zstd_outputs_are_read_by_zstd() {
    read_back(".zst", "zstd -dqc");
}

#[test]
fn bzip2_outputs_are_read_by_bzip2() {
    read_back(".bz2", "bzip2 -dc");
}

#[test]
fn xz_outputs_are_read_by_xz() {
    read_back(".xz", "xz -dc");
}

#[test]
fn encrypted_outputs_are_read_by_age() {
    let world = World::new("");
    let recipient = world.age_key();
    world.configure(
        "",
        &[&format!(
            "output = {{ main = {{ path = \"out/{{stem}}.gz.age\", recipients = [\"{recipient}\"] }} }}"
        )],
    );
    let text = lines(20_000);
    world.write("pay.txt", &text);
    world.ingest(&["pay.txt"]).done();
    assert!(world.sh("age -d -i key.txt out/pay.gz.age | gzip -dc") == text);
}

#[test]
fn recipients_can_stand_in_a_file() {
    let world =
        World::new("output = { main = { path = \"out/{stem}.age\", recipients_file = \"recipients\" } }");
    let recipient = world.age_key();
    world.write("recipients", format!("# ours\n{recipient}\n"));
    world.write("pay.txt", "one\n");
    world.ingest(&["pay.txt"]).done();
    assert_eq!(world.sh("age -d -i key.txt out/pay.age"), "one\n");
}

fn twice(on_exists: &str) -> World {
    let world = World::new(&format!(
        "output = {{ main = {{ path = \"out/{{stem}}.csv\", on_exists = \"{on_exists}\" }} }}"
    ));
    world.write("pay.txt", "one\n");
    world.ingest(&["pay.txt"]).done();
    world.write("pay.txt", "two\n");
    world
}

#[test]
fn a_taken_name_is_numbered() {
    let world = twice("number");
    world.ingest(&["pay.txt"]).done();
    assert_eq!(world.text("out/pay.csv"), "one\n");
    assert_eq!(world.text("out/pay-1.csv"), "two\n");
}

#[test]
fn a_taken_name_is_replaced_where_the_rule_says_so() {
    let world = twice("replace");
    world.ingest(&["pay.txt"]).done();
    assert_eq!(world.text("out/pay.csv"), "two\n");
    assert_eq!(world.files("out"), ["pay.csv"]);
}

#[test]
fn a_taken_name_fails_the_job_where_the_rule_says_so() {
    let world = twice("fail");
    world.ingest(&["pay.txt"]).ends_with(1);
    assert_ne!(world.job()["state"], "completed");
    assert_eq!(world.text("out/pay.csv"), "one\n");
    assert_eq!(world.files("out"), ["pay.csv"]);
}

#[test]
fn two_outputs_of_one_job_never_meet_in_one_path() {
    let world = World::new("output = { main = { path = \"out/{entry_stem}.out\" } }");
    world.sh("mkdir x y; printf '1\n' > x/a.csv; printf '2\n' > y/a.csv; zip -q sample x/a.csv y/a.csv");
    let ran = world.ingest(&["sample.zip"]);
    let outputs = world.files("out");
    // Either the entries' folders tell the names apart, or the job is refused: never one over the other.
    match ran.code {
        Some(0) => assert_eq!(outputs.len(), 2, "{outputs:?}"),
        _ => assert_eq!(outputs, [""; 0]),
    }
}

#[test]
fn main_is_written_without_records_and_other_categories_are_not() {
    let rule = "records = { format = \"csv\" }
                pipeline = [{ step = \"route\", when = [{ if = { column = \"id\", equals = \"x\" }, to = \"other\" }] }]
                output = { other = { path = \"out/{stem}.other\" } }";
    let world = ingested(rule, "id\n");
    assert_eq!(world.files("out"), ["pay.main"]);
    assert_eq!(world.text("out/pay.main"), "id\n");
}

#[test]
fn empty_says_which_outputs_are_written_without_records() {
    let rule = "pipeline = [{ step = \"route\", when = [{ if = { equals = \"x\" }, to = \"other\" }] }]
                output = { main = { path = \"out/{stem}.gz\", empty = \"skip\" }, other = { path = \"out/{stem}.other.gz\", empty = \"write\" } }";
    let world = ingested(rule, "");
    assert_eq!(world.files("out"), ["pay.other.gz"]);
    assert_eq!(world.sh("gzip -dc out/pay.other.gz"), "");
}

#[test]
fn lines_end_as_the_rule_says() {
    for (line_end, expected) in [("lf", "a\nb\n"), ("crlf", "a\r\nb\r\n"), ("none", "ab")] {
        let rule = format!("output = {{ main = {{ path = \"out/{{stem}}\", line_end = \"{line_end}\" }} }}");
        assert_eq!(ingested(&rule, "a\nb\r\n").text("out/pay"), expected, "{line_end}");
    }
}

#[test]
fn a_header_is_left_out_where_the_rule_says_so() {
    let rule =
        "records = { format = \"csv\" }\noutput = { main = { path = \"out/{stem}\", header = false } }";
    assert_eq!(ingested(rule, "id\n1\n").text("out/pay"), "1\n");
}

#[test]
fn annotated_records_say_their_number_and_reason() {
    let rule = "records = { format = \"csv\" }
                pipeline = [{ step = \"validate\", columns = { amount = { type = \"decimal\" } } }]
                output = { invalid = { path = \"out/{stem}.invalid\", annotate = true } }";
    let world = ingested(rule, "id,amount\n1,2\n2,x\n");
    assert_eq!(world.text("out/pay.invalid"), "id,amount,_record,_reason\n2,x,2,amount: not a decimal\n");

    let rule = "records = { format = \"jsonl\" }
                pipeline = [{ step = \"validate\", columns = { amount = { type = \"decimal\" } } }]
                output = { invalid = { path = \"out/{stem}.invalid\", annotate = true } }";
    let world = ingested(rule, "{\"amount\":2}\n{\"amount\":\"x\"}\n");
    let invalid: serde_json::Value =
        serde_json::from_str(&world.text("out/pay.invalid")).expect("one JSON line");
    assert_eq!(invalid["_record"], 2);
    assert_eq!(invalid["_reason"], "amount: not a decimal");
}

#[test]
fn more_than_the_greatest_share_in_a_category_fails_the_job() {
    let rule = "records = { format = \"csv\" }
                pipeline = [{ step = \"validate\", columns = { amount = { type = \"decimal\" } } }]
                output = { invalid = { path = \"out/{stem}.invalid\" } }";
    let world = World::new(rule);
    world.write("pay.csv", "id,amount\n1,2\n2,x\n3,x\n");
    world.refuses("pay.csv", &["invalid", "max"]);
}

#[test]
fn outputs_have_the_mode_that_the_rule_says() {
    let world = ingested("output = { main = { path = \"out/{stem}\", mode = \"0604\" } }", "a\n");
    let mode = world.path("out/pay").metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o604);
    assert_eq!(
        ingested("", "a\n").path("out/pay.main").metadata().expect("there").permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn folders_that_are_made_let_in_who_may_read_the_outputs_in_them() {
    let modes = |world: &World| {
        world.sh("stat -c %a new new/sub archive").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let of = |more: &str| {
        format!(
            "output = {{ main = {{ path = \"new/sub/{{stem}}\"{more} }} }}\nsource = {{ on_success = \"archive\", archive_dir = \"archive\" }}"
        )
    };
    for (more, expected) in [("", "750 750 750"), (", mode = \"0644\"", "755 755 750")] {
        let world = World::new(&of(more));
        world.write("in/pay.txt", "a\n");
        world.ingest_and_retire("in/pay.txt").done();
        assert_eq!(modes(&world), expected, "{more}");
    }
}

#[test]
fn the_sum_of_an_output_is_what_sha256sum_says() {
    let world = ingested("output = { main = { path = \"out/{stem}.gz\", sha256 = true } }", "a\nb\n");
    let sum = world.sh("sha256sum out/pay.gz");
    let job = world.completed();
    assert_eq!(job["outputs"][0]["sha256"].as_str(), sum.split_whitespace().next());
    assert_eq!(job["outputs"][0]["bytes"].as_u64(), Some(world.bytes("out/pay.gz").len() as u64));
}

#[test]
fn manifest_and_marker_come_after_the_outputs() {
    let rule = "publish = { marker = \"out/{stem}.done\", manifest = \"out/{stem}.manifest.json\" }
                output = { main = { path = \"out/{stem}.main\" } }";
    let world = ingested(rule, "a\nb\n");
    assert_eq!(world.files("out"), ["pay.done", "pay.main", "pay.manifest.json"]);
    let manifest: serde_json::Value =
        serde_json::from_str(&world.text("out/pay.manifest.json")).expect("JSON");
    assert_eq!(manifest["records_in"], 2);
    assert_eq!(manifest["outputs"][0]["records"], 2);
    let modified =
        |name: &str| world.path(name).metadata().expect("it is there").modified().expect("it has a time");
    assert!(modified("out/pay.manifest.json") <= modified("out/pay.done"));
    assert!(modified("out/pay.main") <= modified("out/pay.done"));
}

#[test]
fn nothing_but_outputs_is_left_in_the_output_folder() {
    let world = ingested("", &lines(5000));
    assert_eq!(world.files("out"), ["pay.main"]);
}

#[test]
fn records_come_out_in_the_order_of_the_source() {
    let text = lines(60_000);
    let world = ingested("records = { format = \"lines\", slice_records = 100 }", &text);
    assert!(world.text("out/pay.main") == text);
}

/// What stays of a packed source's name would promise what the output is not.
#[test]
fn an_output_is_named_by_what_it_is_packed_in_and_not_by_what_its_source_was() {
    for (path, name) in [
        ("out/{name}", "pay.csv"),
        ("out/{name}.gz", "pay.csv.gz"),
        ("out/{name}.zst", "pay.csv.zst"),
        ("out/{name}.txt", "pay.csv.gz.txt"),
    ] {
        let world = World::new(&format!("output = {{ main = {{ path = \"{path}\" }} }}"));
        world.sh("echo one | gzip > pay.csv.gz");
        world.ingest(&["pay.csv.gz"]).done();
        assert_eq!(world.files("out"), [name], "{path}");
    }
    let world = World::new("output = { main = { path = \"out/{stem}.csv.zip\" } }");
    world.landfall(&["check"]).ends_with(2).says(&["output.main.path", ".zip", ".gz, .zst, .bz2 or .xz"]);
}

/// Somebody moves the folder while the job writes there, and makes another, or not.
#[test]
fn an_output_folder_that_was_moved_away_keeps_nothing_of_a_job_that_came_out_elsewhere() {
    for makes_another in [true, false] {
        let world = World::new(
            "output = { main = { path = \"out/{name}\" } }\n\
             pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], timeout = \"60s\" }]",
        );
        let waits = "if [ $n = 5000 ]; then touch begun; until [ -e go ]; do sleep 0.02; done; fi";
        let copies = format!("n=0; while IFS= read -r l; do echo \"$l\"; n=$((n+1)); {waits}; done");
        world.write("gate", format!("#!/bin/sh\n[ -e go ] && exec cat\n{copies}\n"));
        world.sh("chmod +x gate; seq 20000 > sent");
        let mut service = world.start();
        world.move_in("in/pay.txt", world.bytes("sent"));
        let partials = || world.files("out").iter().filter(|name| name.ends_with(".partial")).count();
        service.wait_until("it writes", || (world.has("begun") && partials() == 1).then_some(()));
        world.sh(if makes_another { "mv out moved; mkdir out" } else { "mv out moved" });
        world.write("go", "");
        service.wait_for(&world, "out/pay.txt");
        service.stop();
        assert_eq!(world.files("moved"), [""; 0], "another is made: {makes_another}");
        assert_eq!(world.files("out"), ["pay.txt"]);
        world.sh("cmp sent out/pay.txt");
    }
}
