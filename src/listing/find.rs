//! Sources that were found in the ledger.

use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;

use super::{Stop, json_items};
use crate::engine::{Answers, Found};
use crate::model::job_id::JobId;
use crate::model::job_view::{OutputView, VIEW_VERSION, output_view};
use crate::model::shown_json;
use crate::store::LedgerOutcome;

/// Everything that was found.
pub(crate) fn print_json(out: &mut dyn Write, found: Answers<'_, Found>) -> Result<(), Stop> {
    write!(out, "{{\"version\":{VIEW_VERSION},\"found\":[")?;
    json_items(out, found, |found| shown_json::to_string(&FoundView::of(&found)))?;
    Ok(out.write_all(b"}\n")?)
}

/// One source. What is known as long as its job is: `outputs` and `retired_to`.
#[derive(Serialize)]
struct FoundView<'a> {
    job: JobId,
    rule: &'a str,
    source: String,
    outcome: LedgerOutcome,
    claimed_at: Timestamp,
    finished_at: Option<Timestamp>,
    content_hash: Option<&'a str>,
    delivery_key: Option<String>,
    revision: Option<u64>,
    /// Whether `landfall show` still has the job.
    is_listed: bool,
    retired_to: Option<String>,
    outputs: Vec<OutputView<'a>>,
}

impl<'a> FoundView<'a> {
    fn of(found: &'a Found) -> Self {
        let Found { row, job } = found;
        let outputs = job.iter().flat_map(|job| &job.outputs).map(output_view);
        Self {
            job: row.job,
            rule: &row.rule,
            source: row.path.to_string(),
            outcome: row.outcome,
            claimed_at: row.claimed_at,
            finished_at: row.finished_at,
            content_hash: row.content_hash.as_deref(),
            delivery_key: row.delivery_key.as_ref().map(ToString::to_string),
            revision: row.revision,
            is_listed: job.is_some(),
            retired_to: job.as_ref().and_then(|job| job.retired_to.as_ref()).map(ToString::to_string),
            outputs: outputs.collect(),
        }
    }
}
