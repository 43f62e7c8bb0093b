//! `filter`: keeps or drops records by a condition.

use serde_json::{Map, Value};

use super::Planned;
use super::condition::Condition;
use crate::model::step::{Outcome, Record, RecordError, Step, StepPlan};
use crate::pipeline::context::StepContext;
use crate::pipeline::params::Params;

struct Filter {
    condition: Condition,
    keeps: bool,
}

pub(crate) fn plan(table: &Map<String, Value>, _context: &StepContext<'_>) -> Planned {
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
    let condition = Condition::from_value(value, params.path_of(key), columns);
    params.accept(condition)
}

impl Step for Filter {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        let kept = self.condition.holds(record)? == self.keeps;
        Ok(if kept { Outcome::On } else { Outcome::Dropped })
    }
}
