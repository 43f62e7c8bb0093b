//! What each step made of one record.

use super::plan::Pipeline;
use super::result::SliceResult;
use super::work::Work;
use crate::model::category::Category;
use crate::model::step::CategoryId;

/// A record that went through the steps by itself.
pub(crate) struct RecordTrace {
    /// As it was read, without its line end; its beginning only, where it is longer than a record may be.
    pub bytes: Vec<u8>,
    /// What the steps that saw it made of it, in their order.
    pub steps: Vec<StepTrace>,
    /// Where it went.
    pub result: SliceResult,
}

/// Who comes before all steps, where a record failed before and its job waited for a word about it.
pub(crate) const OPERATOR: &str = "an operator";

/// What a step that saw a record made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepTrace {
    /// As the rule names it: `step 2, exec`; [`OPERATOR`] where one decided on it before.
    pub step: String,
    /// What became of the record there.
    pub outcome: StepOutcome,
    /// The record behind it, where it changed it.
    pub changed_to: Option<Vec<u8>>,
}

/// What became of a record at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StepOutcome {
    /// It went on.
    On,
    /// It went on in another category.
    To {
        /// Which.
        category: Category,
        /// Why, where the step says so.
        reason: Option<String>,
    },
    /// It ended there, and was counted.
    Dropped,
    /// It became a failed record.
    Failed(String),
}

/// A record as it was before a step.
pub(super) struct Tracer {
    bytes: Vec<u8>,
    category: CategoryId,
    pub(super) steps: Vec<StepTrace>,
}

impl Tracer {
    pub(super) fn new(pipeline: &Pipeline, bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), category: CategoryId(pipeline.main as u16), steps: Vec::new() }
    }

    /// A step has seen the only record of the slice.
    pub(super) fn note(&mut self, step: usize, work: &Work<'_>) {
        let Some(now) = work.on_its_way(0) else { return };
        let outcome = match now.error {
            Some(error) => StepOutcome::Failed(error),
            None if !now.goes_on => StepOutcome::Dropped,
            None if now.category == self.category => StepOutcome::On,
            None => StepOutcome::To {
                category: work.pipeline.category(now.category),
                reason: Some(now.reason).filter(|reason| !reason.is_empty()).map(str::to_owned),
            },
        };
        let changed_to = (now.is_changed && now.bytes != self.bytes).then(|| now.bytes.to_vec());
        self.category = now.category;
        if let Some(changed) = &changed_to {
            self.bytes.clone_from(changed);
        }
        self.steps.push(StepTrace { step: work.pipeline.step_name(step), outcome, changed_to });
    }
}
