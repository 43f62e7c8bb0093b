//! `csv`: RFC 4180 with its usual liberties.

use std::sync::Arc;

use super::columns::{ColumnReader, Layout, Row, text_of};
use super::fields::{
    FieldSpan, Misquoted, count_fields, csv_value, each_field, end_csv_row, split_csv, write_csv_value,
};
use super::reader::{Blank, Ends, Reader, has_bare_return};
use super::unit::Unit;
use super::writer::Writer;
use crate::model::rule::Csv;
use crate::model::step::{ColumnRef, Columns, NewValue, RecordError, Value};

/// What an annotated row has more.
const ANNOTATIONS: [&str; 2] = ["_record", "_reason"];

pub(super) struct CsvFormat {
    pub(super) csv: Csv,
}

impl Reader for CsvFormat {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn ends(&self) -> Ends<'_> {
        self.csv.quote.map_or(Ends::Lines(Blank::Empty), |quote| Ends::Quotes(quote, &self.csv))
    }

    fn header(&self) -> Option<&Csv> {
        self.csv.header.then_some(&self.csv)
    }

    /// Of a record that was cut short nothing is known of what lies within its quotes.
    fn has_lone_return(&self, record: &[u8], is_whole: bool) -> bool {
        if is_whole { has_lone_return(record, &self.csv) } else { has_bare_return(record) }
    }

    fn layout(&self) -> Option<Arc<Layout>> {
        let names = || Arc::new(self.csv.columns.clone());
        (!self.csv.header).then(|| Arc::new(Layout { names: names(), fields: Vec::new() }))
    }

    fn is_tabular(&self) -> bool {
        true
    }

    fn fields_past_max(&self) -> Option<String> {
        Some(past_columns_max(&self.csv))
    }

    fn no_column(&self, column: &str, nearest: Option<&str>) -> Option<(String, Option<String>)> {
        if !self.csv.header && self.csv.columns.is_empty() {
            let hint = "name the columns in `records.columns`, since the files have no header";
            return Some((format!("column `{column}` is not known"), Some(hint.to_owned())));
        }
        Some(not_here(column, nearest))
    }

    fn unreadable(&self) -> &'static str {
        "not csv: a misplaced quote"
    }

    /// A value is written in quotes where it must be.
    fn is_one_line(&self) -> bool {
        false
    }

    fn is_split_by_line_feeds(&self, record: &[u8]) -> bool {
        let mut splits = false;
        let read = each_field(record, &self.csv, |span| {
            splits |= !span.quoted && memchr::memchr(b'\n', text_of(record, span)).is_some();
        });
        splits || read.is_err()
    }

    fn column_reader(&self, _unit: Unit, _paths: &[Vec<String>]) -> Box<dyn ColumnReader> {
        Box::new(CsvRow { csv: self.csv.clone(), row: Row::default() })
    }
}

impl Writer for CsvFormat {
    fn may_have_header(&self) -> bool {
        true
    }

    fn may_annotate(&self) -> bool {
        true
    }

    /// Two more fields, behind a short or long row as it is; one whose quotes are misplaced stands in one field, in quotes:
    /// behind a quote that is still open nothing would be a field of its own.
    fn write_annotated(&self, record: &[u8], number: u64, reason: &str, out: &mut Vec<u8>) {
        if is_misquoted(record, &self.csv) {
            write_csv_value(record, &self.csv, out);
        } else {
            out.extend_from_slice(record);
        }
        out.push(self.csv.delimiter);
        out.extend_from_slice(number.to_string().as_bytes());
        out.push(self.csv.delimiter);
        write_csv_value(reason.as_bytes(), &self.csv, out);
    }

    fn write_header(
        &self,
        columns: Option<&[String]>,
        as_read: Option<&[u8]>,
        annotate: bool,
    ) -> Option<Vec<u8>> {
        if !self.csv.header {
            return None;
        }
        let mut header = Vec::new();
        match (columns, as_read) {
            (Some(columns), _) => write_row(columns.iter().map(String::as_bytes), &self.csv, &mut header),
            (None, Some(bytes)) => header.extend_from_slice(bytes),
            (None, None) => return None,
        }
        for name in ANNOTATIONS.iter().filter(|_| annotate) {
            header.push(self.csv.delimiter);
            header.extend_from_slice(name.as_bytes());
        }
        Some(header)
    }
}

struct CsvRow {
    csv: Csv,
    row: Row,
}

impl ColumnReader for CsvRow {
    fn use_layout(&mut self, layout: &Arc<Layout>) {
        self.row.use_layout(layout);
    }

    fn rest(&mut self) {
        self.row.rest();
    }
}

impl Columns for CsvRow {
    fn value<'r>(&'r mut self, bytes: &'r [u8], column: ColumnRef) -> Result<Value<'r>, RecordError> {
        self.check(bytes)?;
        let span = self.row.span(column);
        Ok(span.map_or(Value::Missing, |span| Value::Text(csv_value(bytes, span, &self.csv))))
    }

    fn raw<'r>(&'r mut self, bytes: &'r [u8], column: ColumnRef) -> Result<Option<&'r [u8]>, RecordError> {
        self.check(bytes)?;
        Ok(self.row.span(column).map(|span| as_written(bytes, span)))
    }

    fn select(&mut self, bytes: &[u8], wanted: &[ColumnRef], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let start = out.len();
        for (position, &column) in wanted.iter().enumerate() {
            if position > 0 {
                out.push(self.csv.delimiter);
            }
            out.extend_from_slice(self.raw(bytes, column)?.unwrap_or_default());
        }
        end_csv_row(&self.csv, start, out);
        Ok(())
    }

    fn names(&self) -> &[String] {
        &self.row.layout.names
    }

    #[inline]
    fn check(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        let Row { spans, parsed, .. } = &mut self.row;
        parsed.or(|| match fields_past_max(bytes, &self.csv) {
            Some(error) => Err(error),
            None => split_csv(bytes, &self.csv, spans).map_err(misquoted),
        })
    }

    fn count(&mut self, bytes: &[u8]) -> usize {
        if self.check(bytes).is_ok() { self.row.spans.len() } else { 0 }
    }

    fn write(&mut self, bytes: &[u8], other: &[NewValue<'_>], out: &mut Vec<u8>) -> Result<(), RecordError> {
        self.check(bytes)?;
        let (start, spans) = (out.len(), &self.row.spans);
        let last = other.last().map_or(0, |(column, _)| column.0 as usize + 1);
        let mut other = other.iter().peekable();
        for position in 0..spans.len().max(last) {
            if position > 0 {
                out.push(self.csv.delimiter);
            }
            match other.next_if(|(column, _)| column.0 as usize == position) {
                Some((_, value)) => write_csv_value(value, &self.csv, out),
                None => {
                    out.extend_from_slice(spans.get(position).map_or(b"", |span| as_written(bytes, *span)));
                }
            }
        }
        end_csv_row(&self.csv, start, out);
        Ok(())
    }

    fn forget(&mut self) {
        self.row.parsed.forget();
    }
}

/// A field with its quotes.
fn as_written(bytes: &[u8], mut span: FieldSpan) -> &[u8] {
    if span.quoted {
        span.start = span.start.saturating_sub(1);
        span.end = span.end.saturating_add(1);
    }
    text_of(bytes, span)
}

/// A column that is not there, though others are.
pub(super) fn not_here(column: &str, nearest: Option<&str>) -> (String, Option<String>) {
    (format!("there is no column `{column}` here"), nearest.map(|near| format!("did you mean `{near}`?")))
}

/// Whether a CR that stands before no LF is in the record, other than within quotes.
pub(crate) fn has_lone_return(record: &[u8], csv: &Csv) -> bool {
    memchr::memchr(b'\r', record).is_some()
        && any_outside_quotes(record, csv, |field, at| {
            field.get(at) == Some(&b'\r') && field.get(at + 1) != Some(&b'\n')
        })
}

/// Whether a line end is in the record, other than within quotes.
pub(crate) fn has_line_end(record: &[u8], csv: &Csv) -> bool {
    any_outside_quotes(record, csv, |field, at| matches!(field.get(at), Some(b'\r' | b'\n')))
}

/// Whether something holds at some place that does not lie within quotes.
fn any_outside_quotes(record: &[u8], csv: &Csv, holds: impl Fn(&[u8], usize) -> bool) -> bool {
    let mut spans = Vec::new();
    // Whether its quotes are right is asked elsewhere.
    split_csv(record, csv, &mut spans).ok();
    spans.into_iter().filter(|span| !span.quoted).any(|span| {
        let field = text_of(record, span);
        // `"b"<CR>1` is no quoted field, but begins with one.
        let has_quotes = csv.quote.is_some() && field.first().copied() == csv.quote;
        let mut within = false;
        field.iter().enumerate().any(|(at, byte)| {
            within ^= has_quotes && Some(*byte) == csv.quote;
            !within && holds(field, at)
        })
    })
}

fn is_misquoted(record: &[u8], csv: &Csv) -> bool {
    let has_quotes = csv.quote.is_some_and(|quote| memchr::memchr(quote, record).is_some());
    has_quotes && each_field(record, csv, |_| {}).is_err()
}

#[cold]
fn misquoted(found: Misquoted) -> RecordError {
    let Misquoted { field, is_open } = found;
    let what =
        if is_open { "opens a quote that is never closed" } else { "has something behind its closing quote" };
    RecordError::new(format!("not csv: field {field} {what}"))
}

/// A record with more fields than `columns_max`: what splitting makes of it takes many times its bytes.
fn fields_past_max(record: &[u8], csv: &Csv) -> Option<RecordError> {
    let is_short = (record.len() as u64) < csv.columns_max; // each delimiter is a byte
    let may_have_more = || memchr::memchr_iter(csv.delimiter, record).count() as u64 >= csv.columns_max;
    if is_short || !may_have_more() {
        return None;
    }
    let fields = count_fields(record, csv);
    (fields as u64 > csv.columns_max).then(|| RecordError::too_wide(past_columns_max(csv)))
}

/// What is wrong with a record of more fields than `columns_max`.
fn past_columns_max(csv: &Csv) -> String {
    format!("more than `records.columns_max` = {} fields", csv.columns_max)
}

fn write_row<'v>(values: impl Iterator<Item = &'v [u8]>, csv: &Csv, out: &mut Vec<u8>) {
    let start = out.len();
    for (position, value) in values.enumerate() {
        if position > 0 {
            out.push(csv.delimiter);
        }
        write_csv_value(value, csv, out);
    }
    end_csv_row(csv, start, out);
}
