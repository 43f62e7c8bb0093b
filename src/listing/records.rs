//! Failed records.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::bytes::BytesView;
use super::{Stop, any, json_items};
use crate::engine::Door;
use crate::model::job_view::VIEW_VERSION;
use crate::model::settling::NumberedRecord;
use crate::model::shown_json;

/// Which of a job's failed records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// With those that are settled.
    pub(crate) settled: bool,
    /// From this number on.
    pub(crate) first: u64,
    /// No more than so many.
    pub(crate) count: Option<usize>,
}

impl Wanted {
    /// All of them.
    pub(crate) fn all(settled: bool) -> Self {
        Self { settled, first: 1, count: None }
    }
}

/// A job's failed records.
pub(crate) fn list_json(out: &mut dyn Write, door: &dyn Door, job: &str, wanted: Wanted) -> Result<(), Stop> {
    let records = any(door.records(job, wanted.settled))?.into_iter().flatten();
    let is_before =
        |record: &Result<NumberedRecord, _>| record.as_ref().is_ok_and(|record| record.number < wanted.first);
    let records = records.skip_while(is_before).take(wanted.count.unwrap_or(usize::MAX));
    write!(out, "{{\"version\":{VIEW_VERSION},\"records\":[")?;
    json_items(out, records, |record| shown_json::to_string(&RecordView::of(&record)))?;
    out.write_all(b"}\n")?;
    Ok(())
}

/// One failed record, by its place in the list.
pub(crate) fn show_json(out: &mut dyn Write, door: &dyn Door, job: &str, number: u64) -> Result<(), Stop> {
    let record = door.record(job, number)?;
    Ok(writeln!(out, "{}", shown_json::to_string(&RecordView::of(&record))?)?)
}

/// A failed record's JSON; `data` where it is UTF-8, else `data_bytes` in Base64. What it was edited to, in the same way.
#[derive(Serialize)]
pub(crate) struct RecordView<'a> {
    number: u64,
    record: u64,
    entry: &'a str,
    line: u64,
    offset: u64,
    length: u64,
    step: &'a str,
    error: &'a str,
    #[serde(flatten)]
    bytes: BytesView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_bytes: Option<String>,
}

impl<'a> RecordView<'a> {
    pub(crate) fn of(found: &'a NumberedRecord) -> Self {
        let NumberedRecord { number, record, settled, edited } = found;
        let edited = edited.as_ref().map(|edited| &edited.0);
        let edited_text = edited.and_then(|edited| std::str::from_utf8(edited).ok());
        Self {
            number: *number,
            record: record.record,
            entry: &record.entry_name,
            line: record.line,
            offset: record.offset,
            length: record.length,
            step: &record.step,
            error: &record.error,
            bytes: BytesView::of(&record.bytes),
            settled: settled.as_deref(),
            edited: edited_text,
            edited_bytes: edited.filter(|_| edited_text.is_none()).map(|edited| STANDARD.encode(edited)),
        }
    }
}
