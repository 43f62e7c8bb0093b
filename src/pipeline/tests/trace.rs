//! Promise: a record that is traced goes where it went in its slice, and each step that saw it is told with what it made of it.

use super::*;
use crate::pipeline::{RecordTrace, StepOutcome};

/// The steps that saw it as `step: outcome`, and the category with what is written there; for each record of the slice.
fn traced(rule: &Rule, columns: &[&str], lines: &[&str]) -> Vec<(Vec<String>, String)> {
    let slice = slice(lines);
    let told = |index| {
        let RecordTrace { bytes, steps, result } =
            worker(rule).trace(&slice, index, &shape(columns)).expect("a trace");
        assert_eq!(bytes, lines[index].as_bytes());
        assert_eq!((result.account.records_in, result.account.balance()), (1, Ok(())));
        let told = steps.into_iter().map(|seen| {
            let outcome = match seen.outcome {
                StepOutcome::On => "on".to_owned(),
                StepOutcome::To { category, reason } => {
                    format!("to {category} ({})", reason.unwrap_or_default())
                }
                StepOutcome::Dropped => "dropped".to_owned(),
                StepOutcome::Failed(error) => format!("failed ({error})"),
            };
            let changed = seen.changed_to.map(|bytes| format!(" {}", String::from_utf8_lossy(&bytes)));
            format!("{}: {outcome}{}", seen.step, changed.unwrap_or_default())
        });
        let end = texts(rule, &result).into_iter().map(|(category, text)| format!("{category} {text}"));
        (told.collect(), end.collect::<String>())
    };
    (0..lines.len()).map(told).collect()
}

#[test]
fn each_step_that_sees_a_record_is_told_in_order_and_no_other() {
    let steps = [
        json!({ "step": "validate", "columns": { "amount": { "type": "decimal" } } }),
        json!({ "step": "filter", "drop": { "column": "id", "equals": "2" } }),
        json!({ "step": "select", "columns": ["amount"] }),
    ];
    let rule = rule(csv(), &["main", "invalid"], &steps);
    let lines = ["1,2.5", "2,3", "3,x"];
    let told = traced(&rule, &["id", "amount"], &lines);
    let whole = run(&rule, &["id", "amount"], &lines);
    let all: BTreeMap<String, String> = texts(&rule, &whole);
    for (_, end) in told.iter().filter(|(_, end)| !end.is_empty()) {
        let (category, text) = end.split_once(' ').expect("both");
        assert!(all[category].contains(text), "{end}: {all:?}");
    }
    assert_eq!(told[0].0.len(), 3);
    assert!(told[0].0[2].ends_with("on 2.5"), "{told:?}");
    assert!(told[1].0[1].ends_with("dropped") && told[1].1.is_empty(), "{told:?}");
    assert!(told[2].0[0].contains("to invalid (amount"), "{told:?}");
    assert_eq!(told[2].0.len(), 1, "the steps behind it see no record of `invalid`");
}

#[test]
fn a_record_that_no_step_sees_is_told_without_one() {
    let rule = rule(csv(), &["main"], &[]);
    assert_eq!(
        traced(&rule, &["id"], &["1", "2"]),
        [(vec![], "main 1\n".to_owned()), (vec![], "main 2\n".to_owned())]
    );
}
