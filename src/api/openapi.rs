//! The OpenAPI document, made of the table of routes. The schemas of answers are kept by hand; tests compare them with real ones.

use serde_json::{Map, Value, json};

use super::params::{Param, Place};
use super::routes::{Route, Work};

const SCHEMAS: &str = include_str!("schemas.json");
const PROBLEM: &str = "application/problem+json";

pub(super) fn document(routes: &[Route]) -> String {
    let mut paths = Map::new();
    for route in routes {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.to_lowercase()] = operation(route);
    }
    // It is of this build, and a test reads it.
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Landfall",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the commands of `landfall` ask and do. Fields may be added to answers.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    });
    format!("{document}\n")
}

fn operation(route: &Route) -> Value {
    let content = route.content();
    let mut responses = Map::new();
    responses.insert("200".into(), answer("The answer", content, route.answer));
    if matches!(route.work, Work::Ready) {
        responses.insert("503".into(), answer("Not now", content, route.answer));
    }
    responses.insert("default".into(), answer("Why there is no answer", PROBLEM, "Problem"));
    let of_body = || route.params.iter().filter(|param| param.place == Place::Body);
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.about,
        "parameters": route.params.iter().filter(|it| it.place != Place::Body).map(parameter).collect::<Value>(),
        "responses": responses,
    });
    if of_body().next().is_some() {
        let schema = json!({
            "type": "object",
            "properties": of_body().map(|it| (it.name.to_owned(), described(it))).collect::<Map<_, _>>(),
            "required": of_body().filter(|it| it.required).map(|it| it.name).collect::<Vec<_>>(),
            "additionalProperties": false,
        });
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    if route.is_open() {
        operation["security"] = json!([]);
    }
    operation
}

/// `getV1JobsJobRecords`.
fn operation_id(route: &Route) -> String {
    let mut id = route.method.to_lowercase();
    for word in route.path.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        id += &(first.to_uppercase() + rest);
    }
    id
}

fn answer(about: &str, content: &str, schema: &str) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
    json!({ "description": about, "content": { content: { "schema": schema } } })
}

fn parameter(param: &Param) -> Value {
    let place = match param.place {
        Place::Path => "path",
        Place::Header => "header",
        Place::Query | Place::Body => "query",
    };
    json!({ "name": param.written(), "in": place, "required": param.required, "description": param.about, "schema": param.schema() })
}

fn described(param: &Param) -> Value {
    let mut schema = param.schema();
    schema["description"] = param.about.into();
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::routes::routes;
    use super::*;
    use crate::model::job::Job;
    use crate::model::job_view::job_json;
    use crate::model::job_view::tests::sample_job;
    use crate::model::throughput::Throughput;

    fn schemas() -> Value {
        serde_json::from_str(SCHEMAS).expect("is JSON")
    }

    #[test]
    fn a_jobs_schema_has_the_fields_that_a_job_has() {
        let keys =
            |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
        let told = |job: &Job| keys(&serde_json::to_value(job_json(job)).expect("JSON"));
        // What is told only where there is something to tell.
        let always = Job { deadline: None, throughput: Throughput::default(), ..sample_job() };
        let schema = &schemas()["Job"];
        let required = schema["required"].as_array().expect("a list");
        let required: BTreeSet<_> =
            required.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        assert_eq!(required, told(&always), "`schemas.json` says what `job_view.rs` writes");
        assert!(keys(&schema["properties"]).is_superset(&told(&sample_job())));
    }

    #[test]
    fn every_schema_that_is_named_is_there_and_every_one_that_is_there_is_named() {
        let document: Value = serde_json::from_str(&document(&routes())).expect("is JSON");
        let text = document.to_string();
        let named: BTreeSet<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let there = schemas();
        let there: BTreeSet<&str> =
            there.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(named, there);
        let ids: BTreeSet<_> = routes().iter().map(operation_id).collect();
        assert_eq!(ids.len(), routes().len(), "each operation has its own id");
    }
}
