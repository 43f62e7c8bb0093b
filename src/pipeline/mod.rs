//! The registry of steps, and the runner that takes slices through a rule's pipeline.
//!
//! [`Pipeline::build`] checks everything that can be known before a file arrives: parameters, categories and where they lead,
//! and, as far as the rule tells the columns, their names. Columns that only an entry tells are checked by
//! [`Pipeline::check_shape`]. A [`PipelineWorker`] takes slices through its own instances of the steps.
//!
//! # Invariants
//! - A slice's account balances: every record ends in one chunk, dropped, or failed.
//! - All records of a category have one shape (csv, fixed): `build` refuses a pipeline where they could differ.
//! - A record that no step changed comes out byte for byte, its line end aside (jsonl with a separator: and white space around it).
//! - Nobody looks into a record that no step needs the fields of: a csv record with misplaced quotes passes as it stands. What
//!   would not be one record at the reader's, and what does not fit a fixed layout, fails all the same, see `inspect`.
//! - Nothing is allocated for a record that no step changed and none refuses.

use std::sync::Arc;

use crate::model::account::{Account, FailedRecord};
use crate::model::category::Category;
use crate::model::fault::{Fault, FaultKind};
use crate::model::job_id::JobId;
use crate::model::rule::{Format, Records};
use crate::model::slice::EntryShape;
use crate::model::step::BrokenKind;
use crate::record::fields::Unit;

mod build;
mod columns;
mod decimal;
mod inspect;
mod json;
pub mod params;
pub mod registry;
mod render;
mod resemblance;
pub mod runner;
mod shapes;
pub mod steps;
#[cfg(test)]
mod tests;
mod work;

pub use registry::{Registry, StepContext};
pub use resemblance::Resemblance;
pub use runner::PipelineWorker;
pub(crate) use steps::exec::groups::kill_all as kill_children;

/// A rule's pipeline, checked; shared by all workers.
pub struct Pipeline {
    format: Format,
    records: Records,
    unit: Unit,
    inspection: inspect::Inspection,
    /// Those with an output, in its order; `main` behind them if it has none.
    categories: Vec<Category>,
    outputs: Vec<render::Rendering>,
    main: usize,
    steps: Vec<build::PlannedStep>,
    /// The shape of each category's records at the end; none where no record gets there.
    at_end: Vec<Option<shapes::Schema>>,
    /// What a column means in jsonl.
    paths: Vec<Vec<String>>,
}

/// A parameter of a step, or the way steps and outputs fit, is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineProblem {
    /// Keys from the rule's table on: `["pipeline", "0", "columns", "amount", "type"]`.
    pub key: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A step broke (panic, dead child, timeout): it costs an attempt of its slice. One that cannot start is a fault of the
/// configuration or the machine, and costs nothing but time.
#[derive(Debug, thiserror::Error)]
#[error("step {step}{} {reason}", if self.cannot_start() { ":" } else { " broke:" })]
pub struct StepBroken {
    /// As the rule names it: `pipeline[1] exec`.
    pub step: String,
    /// How.
    pub kind: BrokenKind,
    /// Why.
    pub reason: String,
}

impl StepBroken {
    /// Whether it broke before any record, so that no record is to blame.
    pub fn cannot_start(&self) -> bool {
        matches!(self.kind, BrokenKind::CannotStart { .. })
    }

    /// Whether earlier results of the job may be wrong too.
    pub fn is_untrusted(&self) -> bool {
        matches!(self.kind, BrokenKind::Untrusted { .. })
    }

    /// Whether no further try helps before somebody mends the step: the job is held.
    pub fn holds_job(&self) -> bool {
        self.cannot_start() || self.is_untrusted()
    }
}

impl Fault for StepBroken {
    fn kind(&self) -> FaultKind {
        if self.holds_job() { FaultKind::Config } else { FaultKind::Transient }
    }

    fn hint(&self) -> Option<String> {
        match self.kind {
            BrokenKind::CannotStart { hint } | BrokenKind::Untrusted { hint } => Some(hint.to_owned()),
            BrokenKind::Broken | BrokenKind::NoAnswer { .. } => None,
        }
    }
}

/// The result of a slice.
#[derive(Debug, Default)]
pub struct SliceResult {
    /// One per category of the pipeline, by its position in [`Pipeline::categories`]: the rendered records with their line ends.
    pub chunks: Vec<Chunk>,
    /// Records on which a step returned an error, in their order.
    pub failed: Vec<FailedRecord>,
    /// The slice's counts; balanced.
    pub account: Account,
}

/// What a slice adds to one category.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Rendered records, each with its line end.
    pub bytes: Vec<u8>,
    /// How many.
    pub records: u64,
}

impl Pipeline {
    /// The rule's categories, in a fixed order (that of `rule.outputs`).
    pub fn categories(&self) -> &[Category] {
        self.categories.get(..self.outputs.len()).unwrap_or_default()
    }

    /// Checks that the columns the steps name are there in this entry: all missing ones at once.
    pub fn check_shape(&self, shape: &EntryShape) -> Result<(), MissingColumns> {
        self.resolve(shape).map(|_| ())
    }

    /// The steps of one worker for one job; children of `exec` start at their first record.
    pub fn worker(self: &Arc<Self>, job: JobId) -> PipelineWorker {
        PipelineWorker::new(Arc::clone(self), job)
    }
}

/// Columns that the pipeline names and an entry does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", where_of(.entry), list_of(.missing))]
pub struct MissingColumns {
    /// The entry's name; empty for a plain file.
    pub entry: String,
    /// Every missing column.
    pub missing: Vec<MissingColumn>,
    /// The columns that are there, the first of them.
    pub present: Vec<String>,
}

impl MissingColumns {
    /// Whether columns of nearly these names are there: then the rule may misspell them.
    pub fn resembles(&self) -> bool {
        self.missing.iter().any(|missing| missing.nearest.is_some())
    }

    /// What a job tells that went on without them, since records of its format may lack any.
    pub fn remark(&self) -> String {
        let text = |missing: &MissingColumn| {
            let MissingColumn { step, column, nearest, .. } = missing;
            let near = nearest.as_ref().map(|near| format!("; the nearest is `{}`", near.escape_debug()));
            format!(
                "none of the first records has column `{}`, which {step} names{}",
                column.escape_debug(),
                near.unwrap_or_default()
            )
        };
        let texts: Vec<String> = self.missing.iter().take(LISTED_MAX).map(text).collect();
        format!("{}{}", where_of(&self.entry), texts.join("; "))
    }
}

/// A column that a step names and an entry does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingColumn {
    /// The step, as the rule names it.
    pub step: String,
    /// Position of the step in the pipeline.
    pub position: usize,
    /// The column.
    pub column: String,
    /// The column that is there and has nearly the same name.
    pub nearest: Option<String>,
}

/// Columns that a hint lists at most.
const LISTED_MAX: usize = 20;

fn where_of(entry: &str) -> String {
    if entry.is_empty() { String::new() } else { format!("entry {entry}: ") }
}

fn list_of(missing: &[MissingColumn]) -> String {
    let texts: Vec<String> = missing
        .iter()
        .take(LISTED_MAX)
        .map(|missing| format!("{} needs column `{}`, which is not there", missing.step, missing.column))
        .collect();
    texts.join("; ")
}

impl Fault for MissingColumns {
    fn kind(&self) -> FaultKind {
        FaultKind::Input
    }

    fn hint(&self) -> Option<String> {
        if let (Some(delimiter), [only]) =
            (crate::record::delimiter_meant(&self.present), self.present.as_slice())
        {
            return Some(format!(
                "the header has one column, `{only}`: is `records.delimiter = \"{delimiter}\"` meant?"
            ));
        }
        let near: Vec<String> = self
            .missing
            .iter()
            .take(LISTED_MAX)
            .filter_map(|missing| Some(format!("`{}` for `{}`", missing.nearest.as_ref()?, missing.column)))
            .collect();
        if near.is_empty() {
            let present: Vec<&str> = self.present.iter().take(LISTED_MAX).map(String::as_str).collect();
            return Some(format!("the columns are: {}", present.join(", ")));
        }
        Some(format!("perhaps the rule means {}", near.join(", ")))
    }
}
