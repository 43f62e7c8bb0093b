//! A rule's pipeline as it was built: the steps, where records can get to, and how they come out.

use std::sync::Arc;

use super::inspect::Inspection;
use super::schema::Schema;
use crate::format::{RecordFormat, Unit};
use crate::model::category::Category;
use crate::model::rule::{LineEnd, Output, Records};
use crate::model::step::StepPlan;

/// A rule's pipeline, checked; shared by all workers.
pub struct Pipeline {
    pub(super) format: Arc<dyn RecordFormat>,
    pub(super) records: Records,
    pub(super) unit: Unit,
    pub(super) inspection: Inspection,
    /// Those with an output, in its order; `main` behind them if it has none.
    pub(super) categories: Vec<Category>,
    pub(super) outputs: Vec<Rendering>,
    pub(super) main: usize,
    pub(super) steps: Vec<PlannedStep>,
    /// The shape of each category's records at the end; none where no record gets there.
    pub(super) at_end: Vec<Option<Schema>>,
    /// What a column means in jsonl.
    pub(super) paths: Vec<Vec<String>>,
}

impl Pipeline {
    /// The rule's categories, in a fixed order (that of `rule.outputs`).
    pub fn categories(&self) -> &[Category] {
        self.categories.get(..self.outputs.len()).unwrap_or_default()
    }
}

/// A step of the pipeline with what is known about its place.
pub(super) struct PlannedStep {
    /// As the rule names it: `step 2, exec`.
    pub name: String,
    pub plan: StepPlan,
    /// By category: the columns of the records it sees; none for those it does not see.
    pub before: Vec<Option<Schema>>,
    /// By category: whether it may send records there.
    pub may_send_to: Vec<bool>,
}

/// What an output's settings mean for its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rendering {
    pub line_end: LineEnd,
    pub header: bool,
    pub annotate: bool,
}

impl Rendering {
    pub(super) fn new(output: &Output) -> Self {
        Self { line_end: output.line_end, header: output.header, annotate: output.annotate }
    }
}
