//! The registry of steps, and the runner that takes slices through a rule's pipeline: SKELETON, owned by the pipeline helper.

use std::sync::Arc;

use crate::model::account::{Account, FailedRecord};
use crate::model::category::Category;
use crate::model::job_id::JobId;
use crate::model::rule::Rule;
use crate::model::slice::{EntryShape, Slice};

pub mod registry;
pub mod runner;
pub mod steps;

pub use registry::Registry;

/// A rule's pipeline, checked; shared by all workers.
pub struct Pipeline;

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

/// A step broke (panic, dead child, timeout): it costs an attempt of its slice.
#[derive(Debug, thiserror::Error)]
#[error("step {step} broke: {reason}")]
pub struct StepBroken {
    /// As the rule names it: `pipeline[1] exec`.
    pub step: String,
    /// Why.
    pub reason: String,
}

/// The result of a slice.
#[derive(Debug, Default)]
pub struct SliceResult {
    /// One per category of the pipeline, by its position in [`Pipeline::categories`]: the rendered records with their line ends.
    pub chunks: Vec<Chunk>,
    /// Records on which a step returned an error.
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
    /// Builds every step; all problems at once.
    pub fn build(rule: &Rule, registry: &Registry) -> Result<Self, Vec<PipelineProblem>> { let _ = (rule, registry); unimplemented!() }
    /// The rule's categories, in a fixed order (that of `rule.outputs`).
    pub fn categories(&self) -> &[Category] { unimplemented!() }
    /// The header line (with its line end) of a category's output for an entry of this shape; none where there is none.
    pub fn header(&self, category: usize, shape: &EntryShape) -> Option<Vec<u8>> { let _ = (category, shape); unimplemented!() }
    /// Checks that the columns the steps name are there in this entry: all missing ones at once.
    pub fn check_shape(&self, shape: &EntryShape) -> Result<(), MissingColumns> { let _ = shape; unimplemented!() }
    /// The steps of one worker for one job; children of `exec` start at their first record.
    pub fn worker(self: &Arc<Self>, job: JobId) -> PipelineWorker { let _ = job; unimplemented!() }
}

/// Columns that the pipeline names and an entry does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SKELETON")]
pub struct MissingColumns;

/// The steps of one worker for one job.
pub struct PipelineWorker;

impl PipelineWorker {
    /// Takes every record of the slice through the steps. A panic of a step comes out as `StepBroken`.
    pub fn run(&mut self, slice: &Slice, shape: &Arc<EntryShape>) -> Result<SliceResult, StepBroken> { let _ = (slice, shape); unimplemented!() }
    /// The last resort after all attempts: record by record; a record that breaks its step becomes a failed record.
    pub fn run_each(&mut self, slice: &Slice, shape: &Arc<EntryShape>) -> SliceResult { let _ = (slice, shape); unimplemented!() }
}
