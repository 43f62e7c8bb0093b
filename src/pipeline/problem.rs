//! What is wrong with a rule's pipeline.

use crate::model::step::StepPlan;

/// A step's plan, or everything that is wrong with its parameters; keys of problems begin at the parameters.
pub(super) type Planned = Result<StepPlan, Vec<PipelineProblem>>;

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
