#![cfg(unix)]

use super::*;
use crate::model::fault::{Fault, FaultKind};

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
    let result = worker.run_each(&slice(&["a"]), &shape(&[])).expect("a result");
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
    let result = worker.run_each(&slice(&["a", "hang", "b"]), &shape(&[])).expect("a result");
    assert_eq!((result.chunks[0].records, result.account.records_failed), (2, 1));
}

/// A pipe with a name, which a child can hold open to show that it lives.
struct SignOfLife(tempfile::TempDir);

impl SignOfLife {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("alive")).status();
        assert!(made.expect("mkfifo runs").success());
        Self(folder)
    }

    /// A rule whose script holds the pipe open, for itself and its children.
    fn rule(&self, script: &str, timeout: &str) -> Rule {
        let folder = self.0.path();
        // Opened both ways, since opening one way waits for the other side.
        let script = format!("exec 9<>'{}/alive'; {script}", folder.display());
        let exec =
            json!({ "step": "exec", "command": ["sh", "-c", script], "timeout": timeout, "write": [folder] });
        rule(Format::Lines, &["main"], &[exec])
    }

    #[track_caller]
    fn assert_nobody_is_left(&self) {
        use std::io::Read;
        use std::os::unix::fs::OpenOptionsExt;
        let mut pipe = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.0.path().join("alive"))
            .expect("the pipe");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !matches!(pipe.read(&mut [0]), Ok(0)) {
            assert!(std::time::Instant::now() < deadline, "a child is left behind");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_child_that_never_answers_costs_a_few_timeouts_and_leaves_nobody_behind() {
    let alive = SignOfLife::new();
    let rule = alive.rule("sleep 60; :", "50ms");
    let result = worker(&rule).run_each(&slice(&["x"; 500]), &shape(&[])).expect("a result");
    assert_eq!(result.account.balance(), Ok(()));
    assert_eq!((result.account.records_in, result.account.records_failed), (500, 500));
    let count = |error: &str| result.failed.iter().filter(|failed| failed.error == error).count();
    assert_eq!(count("the step broke: no answer within 50ms"), 10);
    assert_eq!(count("not tried: 10 records before it in a row got no answer within 50ms"), 490);
    let numbers: Vec<u64> = result.failed.iter().map(|failed| failed.record).collect();
    assert_eq!(numbers, (1..=500).collect::<Vec<_>>());
    alive.assert_nobody_is_left();
}

#[test]
fn records_without_an_answer_here_and_there_do_not_keep_the_others_from_being_tried() {
    let script = "while read x; do case $x in hang*) sleep 60;; esac; echo $x; done";
    let rule = line_within(&["sh", "-c", script], "300ms");
    let lines: Vec<&str> = [["hang"; 6].as_slice(), &["a"], &["hang"; 6], &["b"]].concat();
    let result = worker(&rule).run_each(&slice(&lines), &shape(&[])).expect("a result");
    assert_eq!(texts(&rule, &result), map(&[("main", "a\nb\n")]));
    assert_eq!(result.account.records_failed, 12);
}

#[test]
fn records_that_the_silent_step_does_not_see_do_not_break_the_row() {
    let filter = json!({ "step": "filter", "drop": { "equals": "no" } });
    let exec = json!({ "step": "exec", "command": ["sh", "-c", "sleep 60; :"], "timeout": "50ms" });
    let rule = rule(Format::Lines, &["main"], &[filter, exec]);
    let lines = ["x", "no"].repeat(20);
    let result = worker(&rule).run_each(&slice(&lines), &shape(&[])).expect("a result");
    let tried = result.failed.iter().filter(|failed| failed.error.starts_with("the step broke")).count();
    assert_eq!((tried, result.account.balance()), (10, Ok(())));
}

#[test]
fn what_a_child_left_running_ends_with_it() {
    let alive = SignOfLife::new();
    let rule = alive.rule("sleep 60 </dev/null >/dev/null 2>&1 & read x; echo $x; exit 0", "10s");
    let mut worker = worker(&rule);
    let result = worker.run(&slice(&["a"]), &shape(&[])).expect("a result");
    assert_eq!(texts(&rule, &result), map(&[("main", "a\n")]));
    drop(worker);
    alive.assert_nobody_is_left();
}

#[test]
fn a_program_that_cannot_be_started_blames_no_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::write(&data, "no program").expect("it can be written");
    let data = data.to_str().expect("a temporary path is text");
    for (program, said) in
        [("./not-there", "No such file"), (data, "Permission denied"), ("not-in-the-path", "No such file")]
    {
        let mut worker = worker(&line(&[program]));
        let broken = worker.run(&slice(&["a"]), &shape(&[])).expect_err("it cannot start");
        let (message, name) = (broken.to_string(), program.trim_start_matches("./"));
        assert!(message.starts_with("step 1, exec: cannot start "), "{message}");
        assert!(message.contains(name) && message.contains(said), "{message}");
        assert_eq!(broken.kind(), FaultKind::Config);
        assert!(broken.hint().is_some_and(|hint| hint.contains("goes on by itself")));
        let broken = worker.run_each(&slice(&["a", "b"]), &shape(&[])).expect_err("it cannot start");
        assert!(broken.cannot_start());
    }
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
    elif v == "part": a = {"data": {"w": "9"}}
    elif v == "null": a = {"data": {"v": None}}
    elif v == "double": d["v"] = "a,b"; a = {"data": d}
    else: a = {"data": d}
    print(json.dumps(a), flush=True)
"#;

/// Goal: a program that names what it changes empties nothing else.
#[test]
fn a_column_that_an_answer_does_not_name_stays_as_it_is() {
    let rule = asking(csv(), &["python3", "-c", PYTHON], "jsonl");
    let result = run(&rule, &["v", "w"], &["part,\"2,3\"", "null,4"]);
    assert_eq!(texts(&rule, &result), map(&[("main", "part,9\n,4\n")]));
}

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
    // Two lines would be two questions to the child.
    let result = run(&rule, &[], &[r#"{"v": 1.50}"#, "oops", "{\n\"v\":1}", r#"{"v": 2}"#]);
    assert_eq!(result.chunks[0].records, 2);
    assert!(result.failed[0].error.starts_with("not JSON"));
    assert!(result.failed[1].error.contains("line end inside"), "{}", result.failed[1].error);
    let broken = worker(&rule).run(&slice(&[r#"{"v":"odd"}"#]), &shape(&[])).expect_err("a broken step");
    assert!(broken.reason.contains("not understood"), "{broken}");
}
