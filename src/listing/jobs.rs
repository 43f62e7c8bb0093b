//! Jobs, the files that wait to become one, and what the service goes by.

use std::io::Write;

use super::reload::problem_json;
use super::{Stop, json_items, service_word};
use crate::engine::{Door, JobFilter};
use crate::model::configuration::ConfigurationState;
use crate::model::files_in_view::FileWaiting;
use crate::model::job_view::{VIEW_VERSION, file_waiting_json, job_json};
use crate::model::shown_json;
use crate::watch;

/// The jobs that pass the filter; with all of them, the files that wait, and what the service goes by.
pub(crate) fn print_json(
    out: &mut dyn Write,
    door: Option<&dyn Door>,
    filter: &JobFilter,
) -> Result<(), Stop> {
    let service = service_word(door);
    write!(out, "{{\"version\":{VIEW_VERSION},\"service\":\"{service}\",\"jobs\":[")?;
    let jobs = door.into_iter().flat_map(|door| door.list(filter));
    json_items(out, jobs, |job| shown_json::to_string(&job_json(&job)))?;
    if filter.takes_all() {
        out.write_all(b",\"files_waiting\":[")?;
        let mut folders = Vec::new();
        let files =
            door.into_iter().flat_map(|door| door.files_waiting(None)).filter_map(|file| match file {
                Ok(file) if watch::is_of_folder(&file.reason) => {
                    folders.push(Ok(file));
                    None
                }
                file => Some(file),
            });
        let json = |FileWaiting { path, reason }| shown_json::to_string(&file_waiting_json(&path, &reason));
        json_items(out, files, json)?;
        out.write_all(b",\"folder_notices\":[")?;
        json_items(out, folders.into_iter(), json)?;
    }
    if let Some(state) = door.map(Door::configuration).transpose()?.flatten() {
        let json = shown_json::to_string(&configuration_json(&state))?;
        write!(out, ",\"configuration\":{json}")?;
    }
    if let Some(halts) = door.map(Door::halts).transpose()? {
        write!(out, ",\"halts\":{}", shown_json::to_string(&halts)?)?;
    }
    if let Some(paces) = door.map(Door::paces).transpose()? {
        write!(out, ",\"limits\":{}", shown_json::to_string(&paces)?)?;
    }
    if let Some(counts) = door.map(Door::watch_counts).transpose()?.flatten() {
        write!(out, ",\"watch\":{}", shown_json::to_string(&serde_json::json!(counts))?)?;
    }
    out.write_all(b"}\n")?;
    Ok(())
}

/// What the service goes by.
pub(crate) fn configuration_json(state: &ConfigurationState) -> serde_json::Value {
    serde_json::json!({
        "file": state.file.to_string(),
        "taken_at": state.taken_at,
        "wrong_since": state.wrong_since,
        "problems": state.problems.iter().map(problem_json).collect::<Vec<_>>(),
        "needs_restart": state.needs_restart,
        "unsettled": state.unsettled.as_ref().map(ToString::to_string),
    })
}
