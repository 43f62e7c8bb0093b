//! Where one record of a job went.

use serde::Serialize;

use super::bytes::BytesView;
use crate::engine::{Door, Refusal, Trace, TraceEnd};
use crate::model::job::{Job, PublishedOutput};
use crate::model::job_view::VIEW_VERSION;
use crate::model::os_text::OsText;
use crate::model::settling::NumberedRecord;
use crate::pipeline::{StepOutcome, StepTrace};

/// A trace, with what the job's row and its failed records tell beside it.
pub(crate) struct Traced<'a> {
    pub job: &'a Job,
    pub trace: &'a Trace,
    pub output: Option<&'a PublishedOutput>,
    /// It is one of the job's failed records, whatever the steps say now.
    pub failed: Option<NumberedRecord>,
}

impl<'a> Traced<'a> {
    /// Looks up what is known of the record.
    pub(crate) fn new(door: &dyn Door, job: &'a Job, trace: &'a Trace) -> Result<Self, Refusal> {
        // What was decided on before its job was worked last is among its steps.
        let is_it = |found: &NumberedRecord| {
            found.number > job.held_records.decided
                && (found.record.entry, found.record.record) == (trace.entry_position, trace.record)
        };
        let mut failed = None;
        for found in door.records(&job.id.to_string(), true) {
            failed = Some(found?).filter(is_it);
            if failed.is_some() {
                break;
            }
        }
        let output = match &trace.end {
            TraceEnd::Written { category, .. } => job.outputs.iter().find(|output| {
                output.category == *category
                    && output.entry.as_ref().is_none_or(|entry| *entry == trace.entry)
            }),
            _ => None,
        };
        Ok(Self { job, trace, output, failed })
    }

    /// The how manieth record of its output it is.
    pub(crate) fn position(&self) -> Option<u64> {
        let TraceEnd::Written { position: Some(position), .. } = &self.trace.end else { return None };
        let is_of_entry = self.output?.entry.is_some();
        Some(if is_of_entry { position.in_entry } else { position.in_job })
    }

    /// As JSON.
    pub(crate) fn view(&self) -> TraceView<'_> {
        let Self { job, trace, output, failed } = self;
        let end = match &trace.end {
            _ if failed.is_some() => EndView { became: "failed", ..EndView::default() },
            TraceEnd::Written { category, bytes, .. } => EndView {
                became: "written",
                category: Some(category.as_str()),
                path: output.map(|output| &output.path),
                output_record: self.position(),
                bytes: Some(BytesView::of(bytes)),
                ..EndView::default()
            },
            TraceEnd::Dropped { step } => {
                EndView { became: "dropped", step: Some(step), ..EndView::default() }
            }
            TraceEnd::Failed { step, error } => {
                EndView { became: "failed", step: Some(step), error: Some(error), ..EndView::default() }
            }
        };
        let end = match failed {
            Some(NumberedRecord { number, record, settled, .. }) => EndView {
                step: Some(&record.step),
                error: Some(&record.error),
                number: Some(*number),
                settled: settled.as_deref(),
                ..end
            },
            None => end,
        };
        TraceView {
            version: VIEW_VERSION,
            job: job.id.to_string(),
            rule: &job.rule,
            source: &trace.source,
            entry: &trace.entry,
            record: trace.record,
            line: trace.line,
            offset: trace.offset,
            bytes: BytesView::of(&trace.bytes),
            steps: trace.steps.iter().map(StepView::of).collect(),
            end,
        }
    }
}

/// The JSON of `landfall trace --json`.
#[derive(Serialize)]
pub(crate) struct TraceView<'a> {
    version: u32,
    job: String,
    rule: &'a str,
    source: &'a OsText,
    entry: &'a str,
    record: u64,
    line: u64,
    offset: u64,
    #[serde(flatten)]
    bytes: BytesView<'a>,
    steps: Vec<StepView<'a>>,
    end: EndView<'a>,
}

#[derive(Serialize)]
struct StepView<'a> {
    step: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_to: Option<BytesView<'a>>,
}

impl<'a> StepView<'a> {
    fn of(seen: &'a StepTrace) -> Self {
        let (mut category, mut reason, mut error) = (None, None, None);
        let outcome = match &seen.outcome {
            StepOutcome::On => "on",
            StepOutcome::To { category: to, reason: why } => {
                (category, reason) = (Some(to.as_str()), why.as_deref());
                "to"
            }
            StepOutcome::Dropped => "dropped",
            StepOutcome::Failed(why) => {
                error = Some(why.as_str());
                "failed"
            }
        };
        let changed_to = seen.changed_to.as_deref().map(BytesView::of);
        Self { step: &seen.step, outcome, category, reason, error, changed_to }
    }
}

/// Where it went: what is known of that.
#[derive(Default, Serialize)]
struct EndView<'a> {
    became: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a OsText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_record: Option<u64>,
    #[serde(flatten)]
    bytes: Option<BytesView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// Its number among the failed records.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<&'a str>,
}
