use proptest::prelude::*;

use super::*;
use crate::model::quoted::Quotes;
use crate::model::slice::{Oversized, RecordPlace, UnfitReason};
use crate::model::step::{CategoryId, Outcome, Reason, Record, RecordError, Step, StepPlan};

/// Does what each record says.
struct Obey;

impl Step for Obey {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        match record.bytes() {
            b"panic" => panic!("as told"),
            b"drop" => Ok(Outcome::Dropped),
            b"fail" => Err(RecordError::new("as told")),
            b"split" => {
                record.set_bytes(b"a\nb");
                Ok(Outcome::On)
            }
            b"change" => {
                record.set_bytes(b"changed");
                Ok(Outcome::On)
            }
            b"other" => Ok(Outcome::To { category: CategoryId(1), reason: Some(Reason::new("told")) }),
            b"nowhere" => Ok(Outcome::To { category: CategoryId(9), reason: None }),
            _ => Ok(Outcome::On),
        }
    }
}

fn obeying(steps: usize) -> PipelineWorker {
    let mut registry = Registry::with_builtin_steps();
    registry.register("obey", |_, context| {
        let other = context.category("other", Vec::new()).map_err(|problem| vec![problem])?;
        Ok(StepPlan::new(|_| Obey).sending_to([other]))
    });
    let steps = vec![json!({ "step": "obey" }); steps];
    let rule = rule(Format::Lines, &["main", "other"], &steps);
    Arc::new(Pipeline::build(&rule, &registry).expect("a pipeline")).worker(JobId::from_parts(1, 1))
}

#[test]
fn a_failed_record_tells_where_it_lies_and_the_rest_goes_on() {
    let slice =
        Slice { first_record: 11, offset: 100, first_line: 20, ..slice(&["a", "fail", "split", "b"]) };
    let result = obeying(1).run(&slice, &shape(&[])).expect("a result");
    assert_eq!(result.chunks[0].bytes, b"a\nb\n");
    let failed = &result.failed[0];
    assert_eq!((failed.record, failed.offset, failed.line, failed.length), (12, 102, 22, 4));
    assert_eq!((failed.step.as_str(), failed.error.as_str()), ("step 1, obey", "as told"));
    assert_eq!(result.failed[1].error, "the changed record has a line end inside");
    assert_eq!(result.failed[1].bytes, b"split");
}

#[test]
fn a_panic_breaks_the_step_and_record_by_record_only_its_record_fails() {
    let mut worker = obeying(2);
    let slice = slice(&["a", "panic", "other", "nowhere", "drop", "change"]);
    let broken = Quotes::Shown.within(|| worker.run(&slice, &shape(&[]))).expect_err("a broken step");
    assert_eq!(broken.to_string(), "step 1, obey broke: panic: as told");
    let result = Quotes::Shown.within(|| worker.run_each(&slice, &shape(&[]))).expect("a result");
    assert_eq!(result.account.balance(), Ok(()));
    assert_eq!(result.account.records_failed, 2);
    assert_eq!(result.failed[0].error, "the step broke: panic: as told");
    assert_eq!((result.failed[0].record, result.failed[0].line), (2, 3));
    assert_eq!(result.chunks[0].bytes, b"a\nchanged\n");
    assert_eq!(result.chunks[1].bytes, b"other\n");
    assert_eq!(result.account.reasons["told"], 1);
}

#[test]
fn records_that_did_not_stand_side_by_side_fail_where_they_stood() {
    let place = |record, offset, line| RecordPlace { record, offset, line };
    let places = vec![place(3, 20, 4), place(7, 90, 9), place(8, 99, 10)];
    let slice = Slice { places, ..slice(&["a", "fail", "split"]) };
    let mut worker = obeying(1);
    for result in [worker.run(&slice, &shape(&[])), worker.run_each(&slice, &shape(&[]))] {
        let failed = result.expect("a result").failed;
        let stood: Vec<_> = failed.iter().map(|it| (it.record, it.offset, it.line)).collect();
        assert_eq!(stood, [(7, 90, 9), (8, 99, 10)]);
    }
}

#[test]
fn an_oversized_record_becomes_a_failed_record() {
    let slice = Slice {
        oversized: Some(Oversized { length: 9_000_000, reason: UnfitReason::TooLong }),
        ..slice(&["beginning"])
    };
    let result = obeying(1).run(&slice, &shape(&[])).expect("a result");
    assert_eq!(result.account.balance(), Ok(()));
    let failed = &result.failed[0];
    assert_eq!((failed.step.as_str(), failed.length), ("records", 9_000_000));
    assert_eq!(failed.error, "record of 9000000 bytes is longer than record_max (8388608 bytes)");
}

#[test]
fn line_ends_are_those_of_the_output() {
    let mut rule = rule(Format::Lines, &["main"], &[]);
    let bytes = &b"a\r\nb\nc"[..];
    let records = vec![Span { start: 0, end: 1 }, Span { start: 3, end: 4 }, Span { start: 5, end: 6 }];
    let slice = Slice { bytes: bytes.into(), records, ..slice(&[]) };
    for (line_end, expected) in
        [(LineEnd::Lf, "a\nb\nc\n"), (LineEnd::Crlf, "a\r\nb\r\nc\r\n"), (LineEnd::None, "abc")]
    {
        rule.outputs.get_mut("main").expect("an output").line_end = line_end;
        let result = worker(&rule).run(&slice, &shape(&[])).expect("a result");
        assert_eq!(result.chunks[0].bytes, expected.as_bytes());
    }
}

proptest! {
    #[test]
    fn accounts_balance_and_keep_the_order_whatever_becomes_of_records(
        lines in prop::collection::vec(prop::sample::select(vec!["a", "b", "drop", "fail", "other", "change"]), 0..40),
        more in 0usize..3,
    ) {
        let steps = more + 1;
        let result = obeying(steps).run(&slice(&lines), &shape(&[])).expect("a result");
        prop_assert_eq!(result.account.balance(), Ok(()));
        prop_assert_eq!(result.account.records_in, lines.len() as u64);
        let main: String = lines.iter().filter(|line| ["a", "b", "change"].contains(line))
            .map(|line| if *line == "change" { "changed\n".to_owned() } else { format!("{line}\n") }).collect();
        prop_assert_eq!(String::from_utf8_lossy(&result.chunks[0].bytes), main);
    }
}
