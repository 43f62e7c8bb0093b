//! How records and headers stand in an output.
//!
//! The header is repeated where the source has one: as it stands there if the columns are unchanged, else written anew. With
//! `annotate` csv rows get two more fields (behind a short or long row as it is; one whose quotes
//! are misplaced stands in one field, in quotes), and JSON objects two more keys; a JSON line
//! that is no object becomes one with the line's value under `_value`, or its text under `_text` if it is no JSON.

use super::columns::write_csv_row;
use super::shapes::Schema;
use super::{Pipeline, json};
use crate::model::rule::{Csv, Format, LineEnd, Output};
use crate::model::slice::EntryShape;
use crate::record::fields::{each_field, write_csv_value};

/// What an output's settings mean for its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rendering {
    pub line_end: LineEnd,
    pub header: bool,
    pub annotate: bool,
}

impl Rendering {
    pub fn new(output: &Output) -> Self {
        Self { line_end: output.line_end, header: output.header, annotate: output.annotate }
    }
}

impl Pipeline {
    /// The header line (with its line end) of a category's output for an entry of this shape; none where there is none.
    pub fn header(&self, category: usize, shape: &EntryShape) -> Option<Vec<u8>> {
        let Format::Csv(csv) = &self.format else { return None };
        let rendering = self.outputs.get(category).filter(|rendering| rendering.header && csv.header)?;
        let mut header = Vec::new();
        match (self.at_end.get(category)?, &shape.header) {
            (Some(Schema::Chosen(layout)), _) => write_names(&layout.names, csv, &mut header),
            (_, Some(bytes)) => header.extend_from_slice(bytes),
            (_, None) => write_names(shape.columns.as_ref()?, csv, &mut header),
        }
        if rendering.annotate {
            for name in ["_record", "_reason"] {
                header.push(csv.delimiter);
                header.extend_from_slice(name.as_bytes());
            }
        }
        header.extend_from_slice(rendering.line_end.bytes());
        Some(header)
    }
}

fn write_names(names: &[String], csv: &Csv, out: &mut Vec<u8>) {
    write_csv_row(names.iter().map(String::as_bytes), csv, out);
}

/// Appends a record with its number and the reason why it is here.
pub(super) fn write_annotated(record: &[u8], number: u64, reason: &str, format: &Format, out: &mut Vec<u8>) {
    match format {
        Format::Csv(csv) => {
            // Behind a quote that is still open nothing would be a field of its own.
            if is_misquoted(record, csv) {
                write_csv_value(record, csv, out);
            } else {
                out.extend_from_slice(record);
            }
            out.push(csv.delimiter);
            out.extend_from_slice(number.to_string().as_bytes());
            out.push(csv.delimiter);
            write_csv_value(reason.as_bytes(), csv, out);
        }
        Format::Jsonl => write_annotated_json(record, number, reason, out),
        Format::Lines | Format::Fixed(_) => out.extend_from_slice(record),
    }
}

fn is_misquoted(record: &[u8], csv: &Csv) -> bool {
    let has_quotes = csv.quote.is_some_and(|quote| memchr::memchr(quote, record).is_some());
    has_quotes && each_field(record, csv, |_| {}).is_err()
}

fn write_annotated_json(record: &[u8], number: u64, reason: &str, out: &mut Vec<u8>) {
    let record = record.trim_ascii();
    match (json::check(record), record) {
        (Ok(()), [b'{', inner @ .., b'}']) => {
            out.push(b'{');
            out.extend_from_slice(inner);
            if !inner.trim_ascii().is_empty() {
                out.push(b',');
            }
        }
        (Ok(()), value) => {
            out.extend_from_slice(b"{\"_value\":");
            out.extend_from_slice(value);
            out.push(b',');
        }
        (Err(_), text) => {
            out.extend_from_slice(b"{\"_text\":");
            json::write_string(text, out);
            out.push(b',');
        }
    }
    out.extend_from_slice(format!("\"_record\":{number},\"_reason\":").as_bytes());
    json::write_string(reason.as_bytes(), out);
    out.push(b'}');
}
