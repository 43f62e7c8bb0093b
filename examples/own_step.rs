//! Landfall with a step of its own: `mask` hides all but the last digits of a column. Any rule can name it:
//!
//! ```toml
//! [[rule.pipeline]]
//! step = "mask"
//! column = "account"
//! keep = 4
//! ```
//!
//! It has every command of `landfall`: `cargo run --example own_step -- run --config landfall.toml`, `… -- check`, `… -- jobs`.

use std::process::ExitCode;

use landfall::Registry;
use landfall::step::{Outcome, Params, PipelineProblem, Record, RecordError, Step, StepContext, StepPlan};
use serde_json::{Map, Value};

/// Hides all but the last `keep` bytes of the one column that its plan names.
struct Mask {
    keep: usize,
}

impl Step for Mask {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        let mut value = record.column(0)?.bytes().to_vec();
        let hidden = value.len().saturating_sub(self.keep);
        value.iter_mut().take(hidden).for_each(|byte| *byte = b'*');
        record.set_column(0, &value)?;
        Ok(Outcome::On)
    }
}

/// The factory: checks the parameters, and says which columns the step reads, so that a wrong name is told before a record is.
fn mask(parameters: &Map<String, Value>, _: &StepContext<'_>) -> Result<StepPlan, Vec<PipelineProblem>> {
    let mut params = Params::new(parameters);
    let column = params.text("column").map(str::to_owned);
    if column.is_none() {
        params.missing("column", "name the column to hide");
    }
    let keep = params.count("keep").unwrap_or(4) as usize;
    let column = params.finish(column)?;
    Ok(StepPlan::new(move |_| Mask { keep }).reading([column]))
}

fn main() -> ExitCode {
    let mut registry = Registry::with_builtin_steps();
    registry.register("mask", mask);
    landfall::main(registry)
}
