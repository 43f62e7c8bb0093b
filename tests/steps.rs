//! Promise: each step does to each record what the rule says, and what it does is counted.
#![cfg(unix)]

mod support;

use support::World;

const PAYMENTS: &str = "id,amount,status\n1,10.50,OPEN\n2,N/A,OPEN\n3,7,CLOSED\n4,,OPEN\n5,-3,HOLD\n";

fn ingested(rule: &str, text: &str) -> World {
    let world = World::new(rule);
    world.write("sample.txt", text);
    world.ingest(&["sample.txt"]).done();
    world
}

#[test]
fn validate_sends_what_does_not_conform_to_its_category_and_counts_the_reasons() {
    let world = ingested(
        r#"
        records = { format = "csv" }
        [[pipeline]]
        step = "validate"
        on = ["main"]
        to = "invalid"
        columns = { amount = { type = "decimal", required = true, min = 0 } }
        [output.invalid]
        path = "out/{stem}.invalid"
        max = "90%"
        "#,
        PAYMENTS,
    );
    assert_eq!(world.text("out/sample.main"), "id,amount,status\n1,10.50,OPEN\n3,7,CLOSED\n");
    assert_eq!(world.text("out/sample.invalid"), "id,amount,status\n2,N/A,OPEN\n4,,OPEN\n5,-3,HOLD\n");
    let job = world.completed();
    assert_eq!(job["records_out"], serde_json::json!({ "main": 2, "invalid": 3 }));
    assert_eq!(job["reasons"]["amount: not a decimal"], 1, "{:#}", job["reasons"]);
    let reasons: u64 =
        job["reasons"].as_object().expect("a table").values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(reasons, 3);
}

#[test]
fn validate_knows_every_type() {
    for (column, good, bad) in [
        ("{ type = \"string\", length_min = 2, length_max = 3 }", "abc", "abcd"),
        ("{ type = \"string\", one_of = [\"EUR\", \"USD\"] }", "EUR", "GBP"),
        ("{ type = \"string\", matches = \"^A[0-9]+$\" }", "A12", "B12"),
        ("{ type = \"integer\", max = 10 }", "10", "11"),
        ("{ type = \"integer\" }", "-7", "7.5"),
        ("{ type = \"decimal\" }", "7.5", "7,5"),
        ("{ type = \"boolean\" }", "true", "maybe"),
        ("{ type = \"date\" }", "2026-02-28", "2026-02-29"),
        ("{ type = \"date\", format = \"%d.%m.%Y\" }", "28.02.2026", "2026-02-28"),
        ("{ type = \"datetime\" }", "2026-02-28T12:00:00Z", "2026-02-28T25:00:00Z"),
    ] {
        let world = ingested(
            &format!(
                "records = {{ format = \"csv\", delimiter = \";\" }}
                 pipeline = [{{ step = \"validate\", columns = {{ v = {column} }} }}]
                 output = {{ invalid = {{ path = \"out/{{stem}}.invalid\" }} }}"
            ),
            &format!("v\n{good}\n{bad}\n"),
        );
        assert_eq!(world.text("out/sample.main"), format!("v\n{good}\n"), "{column}");
        assert_eq!(world.text("out/sample.invalid"), format!("v\n{bad}\n"), "{column}");
    }
}

#[test]
fn short_and_long_rows_are_judged_by_validate_and_never_mended() {
    let world = ingested(
        "records = { format = \"csv\" }
         pipeline = [{ step = \"validate\", fields_exact = true }]
         output = { invalid = { path = \"out/{stem}.invalid\", max = \"90%\" } }",
        "a,b\n1,2\n3\n4,5,6\n",
    );
    assert_eq!(world.text("out/sample.main"), "a,b\n1,2\n");
    assert_eq!(world.text("out/sample.invalid"), "a,b\n3\n4,5,6\n");
}

#[test]
fn filter_drops_and_counts() {
    let keep = ingested(
        "records = { format = \"csv\" }
         pipeline = [{ step = \"filter\", keep = { any = [{ column = \"status\", equals = \"OPEN\" }, { column = \"id\", at_least = 5 }] } }]",
        PAYMENTS,
    );
    assert_eq!(
        keep.text("out/sample.main"),
        "id,amount,status\n1,10.50,OPEN\n2,N/A,OPEN\n4,,OPEN\n5,-3,HOLD\n"
    );
    let job = keep.completed();
    assert_eq!(job["records_dropped"], 1);
    let dropped = job["dropped_by"].as_object().expect("a table");
    assert_eq!(dropped.values().collect::<Vec<_>>(), [1], "{dropped:?}");

    let drop = ingested("pipeline = [{ step = \"filter\", drop = { matches = \"^#\" } }]", "#a\nb\n#c\n");
    assert_eq!(drop.text("out/sample.main"), "b\n");
}

#[test]
fn every_comparison_of_a_condition_holds() {
    for (condition, kept) in [
        ("equals = \"b\"", "b"),
        ("not_equals = \"b\"", "a,ccc,10,9"),
        ("one_of = [\"a\", \"9\"]", "a,9"),
        ("matches = \"^[a-c]+$\"", "a,b,ccc"),
        ("less_than = 10", "9"),
        ("at_most = 10", "10,9"),
        ("greater_than = 9", "10"),
        ("at_least = 9", "10,9"),
        ("length_below = 2", "a,b,9"),
        ("length_above = 2", "ccc"),
    ] {
        let rule = format!("pipeline = [{{ step = \"filter\", keep = {{ {condition} }} }}]");
        let world = ingested(&rule, "a\nb\nccc\n10\n9\n");
        let main = world.text("out/sample.main");
        assert_eq!(main.lines().collect::<Vec<_>>().join(","), kept, "{condition}");
    }
    let world = ingested("pipeline = [{ step = \"filter\", drop = { empty = true } }]", "a\n\nb\n");
    assert_eq!(world.text("out/sample.main"), "a\nb\n");
    let not = "pipeline = [{ step = \"filter\", keep = { all = [{ not = { equals = \"a\" } }, { length_below = 2 }] } }]";
    assert_eq!(ingested(not, "a\nb\nccc\n").text("out/sample.main"), "b\n");
}

#[test]
fn route_sends_to_the_first_that_holds() {
    let world = ingested(
        r#"
        records = { format = "csv" }
        [[pipeline]]
        step = "route"
        when = [
            { if = { column = "status", equals = "CLOSED" }, to = "closed" },
            { if = { column = "id", at_least = 3 }, to = "late" },
        ]
        [output.closed]
        path = "out/{stem}.closed"
        [output.late]
        path = "out/{stem}.late"
        "#,
        PAYMENTS,
    );
    assert_eq!(world.text("out/sample.main"), "id,amount,status\n1,10.50,OPEN\n2,N/A,OPEN\n");
    assert_eq!(world.text("out/sample.closed"), "id,amount,status\n3,7,CLOSED\n");
    assert_eq!(world.text("out/sample.late"), "id,amount,status\n4,,OPEN\n5,-3,HOLD\n");
}

#[test]
fn later_steps_see_the_categories_that_they_name() {
    let world = ingested(
        r#"
        pipeline = [
            { step = "route", when = [{ if = { matches = "^x" }, to = "other" }] },
            { step = "reverse", on = ["other"] },
        ]
        [output.other]
        path = "out/{stem}.other"
        "#,
        "abc\nxyz\n",
    );
    assert_eq!(world.text("out/sample.main"), "abc\n");
    assert_eq!(world.text("out/sample.other"), "zyx\n");
}

#[test]
fn select_keeps_these_columns_in_this_order_and_renames() {
    let world = ingested(
        "records = { format = \"csv\" }
         pipeline = [{ step = \"select\", columns = [\"status\", \"id\"], rename = { status = \"state\" } }]",
        PAYMENTS,
    );
    let main = world.text("out/sample.main");
    assert_eq!(main, "state,id\nOPEN,1\nOPEN,2\nCLOSED,3\nOPEN,4\nHOLD,5\n");
}

#[test]
fn select_quotes_what_needs_quotes() {
    let world = ingested(
        "records = { format = \"csv\" }\npipeline = [{ step = \"select\", columns = [\"b\", \"a\"] }]",
        "a,b\n\"x, y\",\"say \"\"hi\"\"\"\n\"two\nlines\",2\n",
    );
    let read_back =
        world.sh("python3 -c 'import csv; print(list(csv.reader(open(\"out/sample.main\", newline=\"\"))))'");
    assert_eq!(read_back.trim(), r#"[['b', 'a'], ['say "hi"', 'x, y'], ['2', 'two\nlines']]"#);
}

#[test]
fn reverse_turns_by_characters() {
    let world = ingested("pipeline = [{ step = \"reverse\" }]", "abc\nGröße\n\n");
    assert_eq!(world.text("out/sample.main"), "cba\neßörG\n\n");
}

fn exec(script: &str, rest: &str, outputs: &str) -> World {
    let world = World::new(&format!(
        "records = {{ format = \"lines\", slice_records = 50 }}
         pipeline = [{{ step = \"exec\", command = [\"./enrich\"], {rest} }}]
         errors.failed_max = \"50%\"
         {outputs}"
    ));
    let path = world.write("enrich", script);
    world.sh(&format!("chmod +x {}", path.display()));
    world.write("sample.txt", support::lines(300));
    world
}

#[test]
fn exec_by_lines_takes_a_line_for_each_line_in_order() {
    let world = exec("#!/bin/sh\nexec sed -u 's/^/> /'\n", "protocol = \"line\"", "");
    world.ingest(&["sample.txt"]).done();
    assert_eq!(world.text("out/sample.main"), world.sh("sed 's/^/> /' sample.txt"));
}

const JSONL_CHILD: &str = r#"#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    assert {"job", "record", "data"} <= asked.keys()
    number = asked["record"]
    if number % 4 == 0: answer = {"drop": True}
    elif number % 4 == 1: answer = {"to": "other", "data": asked["data"]}
    elif number % 10 == 3: answer = {"fail": "not today"}
    else: answer = {"data": asked["data"].upper()}
    print(json.dumps(answer), flush=True)
"#;

#[test]
fn exec_by_json_lines_can_change_route_drop_and_fail() {
    let world =
        exec(JSONL_CHILD, "protocol = \"jsonl\"", "output = { other = { path = \"out/{stem}.other\" } }");
    world.ingest(&["sample.txt"]).done();
    let job = world.completed();
    let failed: Vec<_> = world.failed_records(&job).iter().map(|record| record["record"].as_u64()).collect();
    let expected: Vec<_> = (1..=300).filter(|n| n % 10 == 3 && n % 4 > 1).map(Some).collect();
    assert_eq!(failed, expected);
    assert_eq!(job["records_dropped"], 75);
    assert_eq!(job["records_out"]["other"], 75);
    assert!(world.text("out/sample.main").starts_with("LINE 2 OF"), "{}", world.text("out/sample.main"));
    assert!(world.text("out/sample.other").starts_with("line 1 of"));
}

#[test]
fn a_child_that_dies_costs_attempts_and_then_only_the_record_that_kills_it() {
    let script = "#!/usr/bin/env python3
import sys
for line in sys.stdin:
    if line.startswith('line 120 '): sys.exit(3)
    print(line, end='', flush=True)
";
    let world = exec(script, "protocol = \"line\"", "");
    world.ingest(&["sample.txt"]).done();
    let job = world.completed();
    assert_eq!(job["records_failed"], 1, "{job:#}");
    assert_eq!(world.failed_records(&job)[0]["record"], 120);
    assert_eq!(world.text("out/sample.main"), world.sh("sed 120d sample.txt"));
}

/// A child that says more than it is asked has lost count: which answer belongs to which record cannot be told any more.
#[test]
fn a_child_that_answers_more_than_it_is_asked_publishes_nothing_until_it_is_mended() {
    let banner = "#!/bin/sh\necho hello\nexec cat\n";
    let surplus = "#!/bin/sh\nwhile IFS= read -r x; do echo \"$x\"; done\necho goodbye\n";
    for script in [banner, surplus] {
        let world = exec(script, "protocol = \"line\"", "");
        let ran = world.ingest(&["sample.txt"]);
        ran.says(&["more than it was asked"]).ends_with(1);
        assert!(!world.has("out/sample.main"), "{script}");
        world.write("enrich", "#!/bin/sh\nexec cat\n");
        world.ingest(&["sample.txt"]).done();
        assert_eq!(world.text("out/sample.main"), support::lines(300), "{script}");
    }
}

#[test]
fn a_child_that_hangs_is_ended_after_its_timeout() {
    // Up in no time, and answering the rest at once: only the hanging line comes near the timeout.
    let script = "#!/bin/sh
while IFS= read -r line; do
    case $line in 'line 120 '*) exec sleep 600 ;; esac
    printf '%s\\n' \"$line\"
done
";
    let world = exec(script, "protocol = \"line\", timeout = \"1s\"", "errors.attempts = 1");
    world.ingest(&["sample.txt"]).done();
    assert_eq!(world.completed()["records_failed"], 1);
}

#[test]
fn a_program_that_cannot_be_started_holds_the_job_until_it_is_there() {
    let world = World::new("pipeline = [{ step = \"exec\", command = [\"./enrich\"] }]");
    let mut service = world.start();
    world.move_in("in/sample.txt", "a\nb\n");
    let job =
        service.wait_until("the job is held", || world.jobs().pop().filter(|job| job["state"] == "held"));
    assert_eq!(job["error"]["kind"], "config", "{job:#}");
    let message = job["error"]["message"].as_str().expect("a text");
    assert!(message.contains("cannot start") && message.contains("enrich"), "{message}");
    assert_eq!(job["records_failed"], 0, "{job:#}");

    let program = world.write("staged", "#!/bin/sh\nexec cat\n");
    world.sh(&format!("chmod +x {}", program.display()));
    support::rename(&program, &world.path("enrich"));
    service.wait_until("the job goes on", || world.jobs().pop().filter(|job| job["state"] == "completed"));
    assert_eq!(world.text("out/sample.main"), "a\nb\n");
}

#[test]
fn too_many_failed_records_fail_the_job() {
    let world = World::new(
        "records = { format = \"jsonl\" }
         pipeline = [{ step = \"filter\", keep = { column = \"a\", equals = \"1\" } }]
         errors = { failed_max = \"10%\" }",
    );
    world.write("sample.txt", "{\"a\":1}\nnot json\n{\"a\":1}\n");
    world.refuses("sample.txt", &["failed_max"]);
}

#[test]
fn on_record_error_fail_ends_the_job_at_once() {
    let world = World::new(
        "records = { format = \"jsonl\" }
         pipeline = [{ step = \"filter\", keep = { column = \"a\", equals = \"1\" } }]
         errors = { on_record_error = \"fail\", failed_max = \"100%\" }",
    );
    world.write("sample.txt", "{\"a\":1}\nnot json\n{\"a\":1}\n");
    world.refuses("sample.txt", &[]);
}
