//! A program with a step of its own: `mask` hides all but the last digits of a column.
//!
//! `cargo run --example own_step`

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use landfall::model::job_id::JobId;
use landfall::model::rule::Rule;
use landfall::model::slice::{EntryShape, Slice, Span};
use landfall::model::step::{Outcome, Record, RecordError, Step, StepPlan};
use landfall::pipeline::params::Params;
use landfall::pipeline::{Pipeline, PipelineProblem, Registry, StepContext};
use serde_json::{Map, Value, json};

/// Hides all but the last `keep` bytes of a column.
struct Mask {
    column: String,
    keep: usize,
}

impl Step for Mask {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        let mut values: Vec<Cow<'_, [u8]>> = Vec::new();
        for name in record.column_names().to_vec() {
            let mut value = record.column_named(&name)?.bytes().to_vec();
            if name == self.column {
                let hidden = value.len().saturating_sub(self.keep);
                value.iter_mut().take(hidden).for_each(|byte| *byte = b'*');
            }
            values.push(Cow::Owned(value));
        }
        record.set_values(&values)?;
        Ok(Outcome::On)
    }
}

/// The factory: `{ step = "mask", column = "account", keep = 4 }`.
fn mask(table: &Map<String, Value>, _context: &StepContext<'_>) -> Result<StepPlan, Vec<PipelineProblem>> {
    let mut params = Params::new(table);
    let column = params.text("column").map(str::to_owned);
    if column.is_none() {
        params.missing("column", "name the column to hide");
    }
    let keep = params.count("keep").unwrap_or(4) as usize;
    let column = params.finish(column)?;
    let plan_column = column.clone();
    Ok(StepPlan::new(move |_| Mask { column: column.clone(), keep }).reading([plan_column]))
}

/// Two records with the columns `id` and `account`, as the loader would cut them.
fn slice() -> Slice {
    let bytes = &b"1,AC0012345\n2,AC77\n"[..];
    let records = vec![Span { start: 0, end: 11 }, Span { start: 12, end: 18 }];
    Slice {
        number: 0,
        entry: 0,
        first_record: 1,
        offset: 0,
        first_line: 0,
        bytes: bytes.into(),
        records,
        skipped: 0,
        oversized: None,
    }
}

/// A rule whose pipeline is the step of this program.
fn rule() -> serde_json::Result<Rule> {
    let csv = json!({ "header": false, "columns": ["id", "account"], "delimiter": 44, "quote": 34 });
    let step = json!({ "step": "mask", "on": ["main"], "params": { "column": "account", "keep": 2 } });
    serde_json::from_value(json!({
        "name": "masked", "mode": "live", "paths": [], "exclude": [], "order": "arrival", "base_dir": ".", "timezone": "UTC",
        "ready": { "strategy": "auto", "trust_close": "framed", "stable_for": { "secs": 10, "nanos": 0 } },
        "decode": { "layers": [], "require_encrypted": false, "identities": [], "entries": [], "entries_max": 1,
            "depth_max": 3, "expanded_max": 1, "ratio_max": 1, "encoding": "utf-8", "on_bad_encoding": "fail" },
        "records": { "format": { "csv": csv }, "skip_lines": 0, "record_max": 8_388_608, "slice_records": 1000 },
        "pipeline": [step],
        "outputs": { "main": { "path": "/out/{name}", "on_exists": "number", "write_empty": true, "header": true,
            "line_end": "lf", "annotate": false, "recipients": [], "sha256": false, "mode": 416 } },
        "publish": {},
        "errors": { "on_record_error": "set_aside", "failed_max": { "percent": 1.0 }, "attempts": 3 },
        "source": { "on_success": "keep" },
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut registry = Registry::with_builtin_steps();
    registry.register("mask", mask);
    let pipeline = Pipeline::build(&rule()?, &registry).map_err(|problems| format!("{problems:?}"))?;
    let columns = Some(vec!["id".to_owned(), "account".to_owned()]);
    let shape = Arc::new(EntryShape { columns, ..EntryShape::default() });
    let result = Arc::new(pipeline).worker(JobId::from_parts(0, 0)).run(&slice(), &shape)?;
    for chunk in result.chunks {
        print!("{}", String::from_utf8_lossy(&chunk.bytes));
    }
    Ok(())
}
