//! `[[rule.pipeline]]`: the steps as data; their parameters are judged by the steps themselves.

use serde_json::{Map, Number, Value as Json};

use super::raw::{Node, Value};
use super::section::Section;
use crate::model::category::Category;
use crate::model::rule::StepSpec;

/// The step whose target takes at most half of the records unless its output says otherwise.
const VALIDATE: &str = "validate";

/// Reads the steps in order.
pub(super) fn read(rule: &Section<'_>) -> Vec<StepSpec> {
    rule.sections("pipeline").iter().filter_map(step).collect()
}

fn step(table: &Section<'_>) -> Option<StepSpec> {
    table.missing("step", "the step's name", "add `step = \"validate\"` or another registered step");
    let step = table.text("step");
    let on = match table.texts("on") {
        Some(items) => items.iter().map(|item| Category::new(item.text)).collect(),
        None => vec![Category::main()],
    };
    if on.is_empty() {
        let hint = "name the categories whose records the step sees, like [\"main\"]".to_owned();
        table.problem("on", "a step without categories never sees a record", Some(hint));
    }
    if step == Some("route") {
        // Known only at run time: comes with `[rule.output."*"]`.
        if table.says("by") {
            let hint = "this version of landfall does not know it; use `when`".to_owned();
            table.problem("by", "this key is not available yet", Some(hint));
        }
    }
    let mut params = Map::new();
    for key in table.keys().filter(|key| *key != "step" && *key != "on") {
        if let Some(value) = table.json(key) {
            params.insert(key.clone(), value);
        }
    }
    Some(StepSpec { step: step?.to_owned(), on, params })
}

/// The categories that `validate` sends records to.
pub(super) fn validate_targets(pipeline: &[StepSpec]) -> impl Iterator<Item = &str> {
    let steps = pipeline.iter().filter(|spec| spec.step == VALIDATE);
    steps.map(|spec| spec.params.get("to").and_then(Json::as_str).unwrap_or("invalid"))
}

impl Section<'_> {
    /// A parameter as JSON: what a step's factory takes.
    fn json(&self, key: &str) -> Option<Json> {
        let converted = self.node(key).map(json)?;
        if converted.is_none() {
            let hint = "JSON, in which steps get their parameters, knows no infinity".to_owned();
            self.problem(key, "this number is not finite", Some(hint));
        }
        converted
    }
}

fn json(node: &Node) -> Option<Json> {
    Some(match &node.value {
        Value::Text(text) | Value::Date(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::Number(Number::from_f64(*number)?),
        Value::Boolean(flag) => Json::Bool(*flag),
        Value::Array(items) => Json::Array(items.iter().map(json).collect::<Option<_>>()?),
        Value::Table(table) => {
            let entries = table.iter().map(|(key, node)| Some((key.clone(), json(node)?)));
            Json::Object(entries.collect::<Option<_>>()?)
        }
    })
}
