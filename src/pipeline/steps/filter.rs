//! `filter`: keeps or drops records by a condition.

use serde_json::{Map, Value};

use super::condition::{Condition, not_a_condition};
use crate::model::step::{Outcome, Record, RecordError, Step, StepPlan};
use crate::pipeline::context::StepContext;
use crate::pipeline::params::Params;
use crate::pipeline::problem::PipelineProblem;

struct Filter {
    condition: Condition,
    keeps: bool,
}

/// The factory.
pub fn plan(
    table: &Map<String, Value>,
    _context: &StepContext<'_>,
) -> Result<StepPlan, Vec<PipelineProblem>> {
    let mut params = Params::new(table);
    let mut columns = Vec::new();
    let keep = condition(&mut params, "keep", &mut columns);
    let drop = condition(&mut params, "drop", &mut columns);
    let given = (table.contains_key("keep"), table.contains_key("drop"));
    if given.0 == given.1 {
        let message = if given.0 { "both `keep` and `drop`" } else { "neither `keep` nor `drop`" };
        let hint = "give it exactly one, like keep = { column = \"status\", equals = \"CLOSED\" }";
        params.problem_here(message.into(), Some(hint.into()));
    }
    let keeps = keep.is_some();
    let condition = params.finish(keep.or(drop))?;
    Ok(StepPlan::new(move |_| Filter { condition: condition.clone(), keeps }).reading(columns))
}

fn condition(params: &mut Params<'_>, key: &'static str, columns: &mut Vec<String>) -> Option<Condition> {
    let value = params.get(key)?;
    let path = params.path_of(key);
    let Some(table) = value.as_object() else {
        params.add_problems(vec![not_a_condition(path)]);
        return None;
    };
    Condition::parse(table, path, columns).map_err(|problems| params.add_problems(problems)).ok()
}

impl Step for Filter {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        let kept = self.condition.holds(record)? == self.keeps;
        Ok(if kept { Outcome::On } else { Outcome::Dropped })
    }
}
