//! x
use serde_json::{Map, Value};
use crate::model::step::StepPlan;
use crate::pipeline::{PipelineProblem, StepContext};
/// The factory.
pub fn plan(table: &Map<String, Value>, context: &StepContext<'_>) -> Result<StepPlan, Vec<PipelineProblem>> { let _ = (table, context); Err(vec![]) }
