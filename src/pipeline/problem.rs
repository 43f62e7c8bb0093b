//! What is wrong with a rule's pipeline.

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
