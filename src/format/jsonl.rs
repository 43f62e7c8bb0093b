//! `jsonl`: one JSON value a line; columns are dotted paths into it.

use super::columns::{ColumnReader, Parsed, path_of};
use super::json::{self, Member};
use super::reader::{Blank, Ends, Reader};
use super::unit::Unit;
use super::writer::{Writer, set_if_other};
use crate::model::step::{ColumnRef, Columns, Record, RecordError, Value};

/// Members of a JSON object that are kept: with more, the record is looked through for each column that is asked for.
const MEMBERS_KEPT_MAX: usize = 1_000;

pub(super) struct Jsonl;

impl Reader for Jsonl {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn ends(&self) -> Ends<'_> {
        Ends::Lines(Blank::WhiteSpace)
    }

    fn has_paths(&self) -> bool {
        true
    }

    fn no_column(&self, _column: &str, _nearest: Option<&str>) -> Option<(String, Option<String>)> {
        None
    }

    fn unreadable(&self) -> &'static str {
        "not JSON"
    }

    fn trims(&self) -> bool {
        true
    }

    fn column_reader(&self, _unit: Unit, paths: &[Vec<String>]) -> Box<dyn ColumnReader> {
        let paths = paths.to_vec();
        Box::new(JsonRow { paths, members: Vec::new(), has_all: false, parsed: Parsed::default() })
    }
}

impl Writer for Jsonl {
    fn may_annotate(&self) -> bool {
        true
    }

    /// An object gets two more keys; a line that is none becomes one with the line's value under `_value`, or its text under
    /// `_text` if it is no JSON.
    fn write_annotated(&self, record: &[u8], number: u64, reason: &str, out: &mut Vec<u8>) {
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

    fn write_json(&self, record: &mut Record<'_>, out: &mut Vec<u8>) -> Result<(), RecordError> {
        record.check()?;
        // White space to JSON, and two lines to the child.
        if memchr::memchr(b'\n', record.bytes()).is_some() {
            return Err(RecordError::new("a record with a line end inside cannot be asked line by line"));
        }
        out.extend_from_slice(record.bytes());
        Ok(())
    }

    fn take_json(&self, json: &[u8], record: &mut Record<'_>) -> Result<(), RecordError> {
        set_if_other(record, json);
        Ok(())
    }
}

struct JsonRow {
    paths: Vec<Vec<String>>,
    members: Vec<Member>,
    /// These are all that the record has.
    has_all: bool,
    parsed: Parsed,
}

impl JsonRow {
    fn at<'r>(&self, bytes: &'r [u8], column: ColumnRef) -> Result<Option<&'r [u8]>, RecordError> {
        let Some(path) = self.paths.get(column.0 as usize) else { return Ok(None) };
        let known = self.has_all.then_some(&*self.members);
        json::at_path(bytes, known, path).map_err(|json::Twice| {
            RecordError::new(format!(
                "a key of `{}` stands twice, and what it means is not known",
                path.join(".")
            ))
        })
    }
}

impl ColumnReader for JsonRow {
    fn rest(&mut self) {
        self.parsed.forget();
    }
}

impl Columns for JsonRow {
    fn value<'r>(&'r mut self, bytes: &'r [u8], column: ColumnRef) -> Result<Value<'r>, RecordError> {
        self.check(bytes)?;
        Ok(json::value_of(self.at(bytes, column)?))
    }

    fn raw<'r>(&'r mut self, bytes: &'r [u8], column: ColumnRef) -> Result<Option<&'r [u8]>, RecordError> {
        self.check(bytes)?;
        self.at(bytes, column)
    }

    fn find(&mut self, name: &str) -> Option<ColumnRef> {
        let path = path_of(name);
        let position = self.paths.iter().position(|known| *known == path).unwrap_or_else(|| {
            self.paths.push(path);
            self.paths.len() - 1
        });
        Some(ColumnRef(position as u32))
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        let Self { members, has_all, .. } = self;
        self.parsed.or(|| {
            json::check(bytes)?;
            *has_all = json::members(bytes, MEMBERS_KEPT_MAX, members);
            Ok(())
        })
    }

    fn forget(&mut self) {
        self.parsed.forget();
    }
}
