//! `[service.traces]`: where a trace of each job goes.

use super::section::Section;
use crate::model::post_url::PostUrl;
use crate::model::traces::Collector;

const HINT: &str = "write `traces = { url = \"http://127.0.0.1:4318/v1/traces\" }`";

pub(super) fn read(service: &Section<'_>) -> Option<Collector> {
    let is_there = service.has("traces");
    let table = service.section("traces");
    let bearer_file = table.path("bearer_file");
    let text = table.text("url");
    table.finish(&[]);
    if !is_there {
        return None;
    }
    let Some(text) = text else {
        if !table.has("url") {
            service.problem("traces", "it is not said where traces go", Some(HINT.into()));
        }
        return None;
    };
    let url = PostUrl::parse(text);
    let url = url.inspect_err(|wrong| table.problem("url", *wrong, Some(HINT.into()))).ok()?;
    Some(Collector { url, bearer_file })
}
