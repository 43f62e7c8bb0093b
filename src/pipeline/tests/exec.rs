#![cfg(unix)]

use super::*;

fn asking(format: Format, command: &[&str], protocol: &str) -> Rule {
    let exec = json!({ "step": "exec", "command": command, "protocol": protocol, "timeout": "10s" });
    let outputs = if protocol == "line" { &["main"][..] } else { &["main", "other"] };
    rule(format, outputs, &[exec])
}

fn line(command: &[&str]) -> Rule {
    line_within(command, "10s")
}

fn line_within(command: &[&str], timeout: &str) -> Rule {
    let exec = json!({ "step": "exec", "command": command, "timeout": timeout });
    rule(Format::Lines, &["main"], &[exec])
}

#[test]
fn each_line_is_answered_by_a_line() {
    let rule = line(&["sed", "-u", "s/a/b/"]);
    let mut worker = worker(&rule);
    for _ in 0..2 {
        let result = worker.run(&slice(&["a1", "x", ""]), &shape(&[])).expect("a result");
        assert_eq!(texts(&rule, &result), map(&[("main", "b1\nx\n\n")]));
    }
}

#[test]
fn full_slices_never_block_each_other() {
    let rule = asking(Format::Lines, &["cat"], "line");
    let text = "x".repeat(55);
    let lines = vec![text.as_str(); 1000];
    let mut worker = worker(&rule);
    for _ in 0..20 {
        let result = worker.run(&slice(&lines), &shape(&[])).expect("a result");
        assert_eq!(result.chunks[0].records, 1000);
    }
    let long = "y".repeat(4 << 20);
    let result = worker.run(&slice(&[&long]), &shape(&[])).expect("a result");
    assert_eq!(result.chunks[0].bytes.len(), long.len() + 1);
}

#[test]
fn a_record_with_a_line_end_inside_fails_under_line() {
    let rule = asking(csv(), &["cat"], "line");
    let result = run(&rule, &["a", "b"], &["1,2", "\"3\n\",4"]);
    assert_eq!(texts(&rule, &result), map(&[("main", "1,2\n")]));
    assert!(result.failed[0].error.contains("line end inside"), "{}", result.failed[0].error);
}

#[test]
fn a_child_that_dies_breaks_the_step_and_says_why() {
    let rule = line(&["sh", "-c", "read x; echo $x; echo out of cheese >&2; exit 3"]);
    let mut worker = worker(&rule);
    let broken = worker.run(&slice(&["a", "b"]), &shape(&[])).expect_err("a broken step").to_string();
    assert!(broken.contains("exit status: 3"), "{broken}");
    let result = worker.run_each(&slice(&["a"]), &shape(&[]));
    assert_eq!(result.chunks[0].records, 1, "a new child takes the next slice");
}

#[test]
fn a_child_that_hangs_is_given_up_and_replaced() {
    let rule = line_within(
        &["sh", "-c", "while read x; do if [ $x = hang ]; then sleep 100; fi; echo $x; done"],
        "300ms",
    );
    let mut worker = worker(&rule);
    let broken = worker.run(&slice(&["a", "hang"]), &shape(&[])).expect_err("a broken step").to_string();
    assert!(broken.contains("no answer within 300ms"), "{broken}");
    let result = worker.run_each(&slice(&["a", "hang", "b"]), &shape(&[]));
    assert_eq!((result.chunks[0].records, result.account.records_failed), (2, 1));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let broken = worker(&line(&["./not-there"])).run(&slice(&["a"]), &shape(&[])).expect_err("a broken step");
    assert!(broken.reason.contains("not-there"), "{broken}");
}

const PYTHON: &str = r#"
import json, sys
for line in sys.stdin:
    q = json.loads(line)
    d = q["data"]
    v = d["v"]
    if v == "drop": a = {"drop": True}
    elif v == "fail": a = {"fail": "no luck"}
    elif v == "other": a = {"to": "other", "data": d}
    elif v == "odd": a = {"what": 1}
    elif v == "double": d["v"] = "a,b"; a = {"data": d}
    else: a = {"data": d}
    print(json.dumps(a), flush=True)
"#;

#[test]
fn json_answers_decide_what_becomes_of_a_record() {
    let rule = asking(csv(), &["python3", "-c", PYTHON], "jsonl");
    let result =
        run(&rule, &["v", "w"], &["a,\"1\"", "drop,2", "fail,3", "other,4", "double,5", "a", "a,b,c"]);
    assert_eq!(texts(&rule, &result), map(&[("main", "a,\"1\"\n\"a,b\",5\na\n"), ("other", "other,4\n")]));
    assert_eq!(result.account.records_dropped(), 1);
    let errors: Vec<&str> = result.failed.iter().map(|failed| failed.error.as_str()).collect();
    assert_eq!(errors, ["no luck", "more fields than columns"]);
    let rule = asking(Format::Jsonl, &["python3", "-c", PYTHON], "jsonl");
    let result = run(&rule, &[], &[r#"{"v": 1.50}"#, "oops"]);
    assert_eq!(result.chunks[0].records, 1);
    assert!(result.failed[0].error.starts_with("not JSON"));
    let broken = worker(&rule).run(&slice(&[r#"{"v":"odd"}"#]), &shape(&[])).expect_err("a broken step");
    assert!(broken.reason.contains("not understood"), "{broken}");
}
