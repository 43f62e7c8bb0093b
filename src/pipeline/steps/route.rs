//! `route`: sends each record to the category of the first condition that holds.

use serde_json::{Map, Value};

use super::Planned;
use super::condition::Condition;
use crate::model::step::{CategoryId, Outcome, Record, RecordError, Step, StepPlan};
use crate::pipeline::context::StepContext;
use crate::pipeline::params::Params;
use crate::pipeline::problem::PipelineProblem;

#[derive(Clone)]
struct Route {
    when: Vec<(Condition, CategoryId)>,
    otherwise: CategoryId,
}

pub(crate) fn plan(table: &Map<String, Value>, context: &StepContext<'_>) -> Planned {
    let mut params = Params::new(table);
    let mut columns = Vec::new();
    if params.get("by").is_some() {
        params.problem("by", "`by` is not available yet".into(), Some("use `when`".into()));
    }
    let mut when = Vec::new();
    match params.list("when") {
        Some(list) => {
            if list.is_empty() {
                params.problem("when", "`when` is empty".into(), None);
            }
            for (index, value) in list.iter().enumerate() {
                let mut path = params.path_of("when");
                path.push(index.to_string());
                when.extend(params.accept(branch(value, path, context, &mut columns)));
            }
        }
        None if table.contains_key("when") || table.contains_key("by") => {}
        None => params.missing(
            "when",
            "give it like when = [ { if = { column = \"amount\", at_least = 1000 }, to = \"large\" } ]",
        ),
    }
    let name = params.text("else").unwrap_or("main");
    let otherwise = context.category_of(&mut params, "else", name);
    let route = params.finish(otherwise.map(|otherwise| Route { when, otherwise }))?;
    let targets: Vec<CategoryId> = route.when.iter().map(|(_, to)| *to).chain([route.otherwise]).collect();
    Ok(StepPlan::new(move |_| route.clone()).reading(columns).sending_to(targets).leaving_none())
}

fn branch(
    value: &Value,
    path: Vec<String>,
    context: &StepContext<'_>,
    columns: &mut Vec<String>,
) -> Result<(Condition, CategoryId), Vec<PipelineProblem>> {
    let Some(table) = value.as_object() else {
        let hint = Some("write it like { if = { … }, to = \"large\" }".to_owned());
        return Err(vec![PipelineProblem { key: path, message: "a branch must be a table".into(), hint }]);
    };
    let mut params = Params::nested(table, path);
    let condition = match params.get("if") {
        None => {
            params.missing("if", "the condition");
            None
        }
        Some(value) => {
            let condition = Condition::from_value(value, params.path_of("if"), columns);
            params.accept(condition)
        }
    };
    let to = params.text("to").and_then(|name| context.category_of(&mut params, "to", name));
    if !table.contains_key("to") {
        params.missing("to", "the category for records of which the condition holds");
    }
    params.finish(condition.zip(to))
}

impl Step for Route {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        for (condition, to) in &self.when {
            if condition.holds(record)? {
                return Ok(Outcome::To { category: *to, reason: None });
            }
        }
        Ok(Outcome::To { category: self.otherwise, reason: None })
    }
}
