//! `lines`: every line is a record, and has no columns.

use super::columns::ColumnReader;
use super::json;
use super::reader::{Blank, Ends, Reader};
use super::unit::Unit;
use super::writer::{Writer, set_if_other};
use crate::model::step::{Columns, Record, RecordError, Value};

pub(super) struct Lines;

impl Reader for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn ends(&self) -> Ends<'_> {
        Ends::Lines(Blank::Record)
    }

    fn no_column(&self, column: &str, _nearest: Option<&str>) -> Option<(String, Option<String>)> {
        Some((
            format!("column `{column}`: records of the lines format have no columns"),
            Some("set `records.format`, or leave `column` out to mean the whole record".to_owned()),
        ))
    }

    fn has_columns(&self) -> bool {
        false
    }

    fn column_reader(&self, _unit: Unit, _paths: &[Vec<String>]) -> Box<dyn ColumnReader> {
        Box::new(NoColumns)
    }
}

impl Writer for Lines {
    fn write_json(&self, record: &mut Record<'_>, out: &mut Vec<u8>) -> Result<(), RecordError> {
        json::write_string(record.bytes(), out);
        Ok(())
    }

    fn take_json(&self, json: &[u8], record: &mut Record<'_>) -> Result<(), RecordError> {
        let Value::Text(text) = json::value_of(Some(json)) else {
            return Err(RecordError::new("the answer's data is no text"));
        };
        set_if_other(record, &text);
        Ok(())
    }
}

struct NoColumns;

impl ColumnReader for NoColumns {}

impl Columns for NoColumns {}
