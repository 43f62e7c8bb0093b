//! `route`: sends each record to the category of the first condition that holds.

use serde_json::{Map, Value};

use super::condition::{Condition, not_a_condition};
use crate::model::step::{CategoryId, Outcome, Record, RecordError, Step, StepPlan};
use crate::pipeline::context::StepContext;
use crate::pipeline::params::Params;
use crate::pipeline::problem::PipelineProblem;

#[derive(Clone)]
struct Route {
    when: Vec<(Condition, CategoryId)>,
    otherwise: CategoryId,
}

/// The factory.
pub fn plan(table: &Map<String, Value>, context: &StepContext<'_>) -> Result<StepPlan, Vec<PipelineProblem>> {
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
                match branch(value, path, context, &mut columns) {
                    Ok(branch) => when.push(branch),
                    Err(problems) => params.add_problems(problems),
                }
            }
        }
        None if table.contains_key("when") || table.contains_key("by") => {}
        None => params.missing(
            "when",
            "give it like when = [ { if = { column = \"amount\", at_least = 1000 }, to = \"large\" } ]",
        ),
    }
    let name = params.text("else").unwrap_or("main");
    let otherwise = context.category(name, params.path_of("else"));
    let otherwise = otherwise.map_err(|problem| params.add_problems(vec![problem])).ok();
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
        Some(Value::Object(inner)) => {
            let parsed = Condition::parse(inner, params.path_of("if"), columns);
            parsed.map_err(|problems| params.add_problems(problems)).ok()
        }
        Some(_) => {
            let problem = not_a_condition(params.path_of("if"));
            params.add_problems(vec![problem]);
            None
        }
    };
    let to = match params.text("to") {
        Some(name) => {
            let category = context.category(name, params.path_of("to"));
            category.map_err(|problem| params.add_problems(vec![problem])).ok()
        }
        None if table.contains_key("to") => None,
        None => {
            params.missing("to", "the category for records of which the condition holds");
            None
        }
    };
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
