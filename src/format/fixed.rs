//! `fixed`: fields of fixed width, on lines or in records of one length.

use std::borrow::Cow;
use std::sync::Arc;

use super::columns::{ColumnReader, Layout, Row, text_of};
use super::csv::not_here;
use super::fields::{after, split_fixed};
use super::reader::{Blank, Ends, Reader};
use super::unit::{Unit, length_in};
use super::writer::Writer;
use crate::model::rule::{Fixed, FixedField, OnMisfit};
use crate::model::step::{ColumnRef, Columns, NewValue, RecordError, Value};

pub(super) struct FixedFormat {
    pub(super) fixed: Fixed,
}

impl Reader for FixedFormat {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn ends(&self) -> Ends<'_> {
        self.fixed.record_length.map_or(Ends::Lines(Blank::Record), Ends::Length)
    }

    fn layout(&self) -> Option<Arc<Layout>> {
        let names = self.fixed.fields.iter().map(|field| field.name.clone()).collect();
        Some(Arc::new(Layout { names: Arc::new(names), fields: self.fixed.fields.clone() }))
    }

    fn is_tabular(&self) -> bool {
        true
    }

    fn no_column(&self, column: &str, nearest: Option<&str>) -> Option<(String, Option<String>)> {
        Some(not_here(column, nearest))
    }

    fn width(&self) -> Option<usize> {
        let widths = self.fixed.fields.iter().map(|field| field.width as usize);
        (self.fixed.on_misfit == OnMisfit::Fail).then(|| widths.sum())
    }

    fn is_one_line(&self) -> bool {
        self.fixed.record_length.is_none()
    }

    fn column_reader(&self, unit: Unit, _paths: &[Vec<String>]) -> Box<dyn ColumnReader> {
        Box::new(FixedRow { unit, row: Row::default() })
    }
}

impl Writer for FixedFormat {}

struct FixedRow {
    unit: Unit,
    row: Row,
}

impl ColumnReader for FixedRow {
    fn use_layout(&mut self, layout: &Arc<Layout>) {
        self.row.use_layout(layout);
    }

    fn rest(&mut self) {
        self.row.rest();
    }
}

impl Columns for FixedRow {
    fn value<'r>(&'r mut self, bytes: &'r [u8], column: ColumnRef) -> Result<Value<'r>, RecordError> {
        self.check(bytes)?;
        let span = self.row.span(column);
        Ok(span.map_or(Value::Missing, |span| Value::Text(Cow::Borrowed(text_of(bytes, span)))))
    }

    fn raw<'r>(&'r mut self, bytes: &'r [u8], column: ColumnRef) -> Result<Option<&'r [u8]>, RecordError> {
        self.check(bytes)?;
        Ok(Some(untrimmed(bytes, &self.row.layout.fields, self.unit, column.0 as usize)))
    }

    fn select(&mut self, bytes: &[u8], wanted: &[ColumnRef], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let (layout, unit) = (Arc::clone(&self.row.layout), self.unit);
        for &column in wanted {
            let Some(field) = layout.fields.get(column.0 as usize) else { continue };
            write_padded(self.raw(bytes, column)?.unwrap_or_default(), field, unit, out);
        }
        Ok(())
    }

    fn names(&self) -> &[String] {
        &self.row.layout.names
    }

    #[inline]
    fn check(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        let Row { layout, spans, parsed } = &mut self.row;
        parsed.or(|| {
            split_fixed(bytes, &layout.fields, self.unit, spans);
            Ok(())
        })
    }

    fn count(&mut self, bytes: &[u8]) -> usize {
        if self.check(bytes).is_ok() { self.row.spans.len() } else { 0 }
    }

    fn write(&mut self, bytes: &[u8], other: &[NewValue<'_>], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let ascii = self.unit == Unit::Bytes || bytes.is_ascii();
        let last = other.last().map_or(0, |(column, _)| column.0 as usize);
        let (mut start, mut other) = (0, other.iter().peekable());
        for (position, field) in self.row.layout.fields.iter().enumerate() {
            let end = after(bytes, start, field.width as usize, ascii);
            let raw = bytes.get(start..end).unwrap_or_default();
            match other.next_if(|(column, _)| column.0 as usize == position) {
                Some((_, value)) => write_value(value, field, self.unit, out)?,
                None if position < last => write_padded(raw, field, self.unit, out),
                None => out.extend_from_slice(raw),
            }
            start = end;
        }
        out.extend_from_slice(bytes.get(start..).unwrap_or_default());
        Ok(())
    }

    fn forget(&mut self) {
        self.row.parsed.forget();
    }
}

/// Appends a field as it stood; one of a short record gets the blanks that it lacks.
fn write_padded(raw: &[u8], field: &FixedField, unit: Unit, out: &mut Vec<u8>) {
    out.extend_from_slice(raw);
    out.resize(out.len() + (field.width as usize).saturating_sub(length_in(unit, raw)), b' ');
}

/// Appends a value in its width, blanks behind it; one that is too long is an error, never cut.
fn write_value(value: &[u8], field: &FixedField, unit: Unit, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let width = field.width as usize;
    let Some(blanks) = width.checked_sub(length_in(unit, value)) else {
        return Err(RecordError::new(format!("{}: longer than {width} {}", field.name, unit.noun())));
    };
    out.extend_from_slice(value);
    out.resize(out.len() + blanks, b' ');
    Ok(())
}

/// A field of a fixed record with the blanks around its value; shorter than its width where the record is too short.
fn untrimmed<'r>(record: &'r [u8], fields: &[FixedField], unit: Unit, position: usize) -> &'r [u8] {
    let before: usize = fields.iter().take(position).map(|field| field.width as usize).sum();
    let width = fields.get(position).map_or(0, |field| field.width as usize);
    let ascii = unit == Unit::Bytes || record.is_ascii();
    let start = after(record, 0, before, ascii);
    record.get(start..after(record, start, width, ascii)).unwrap_or_default()
}
