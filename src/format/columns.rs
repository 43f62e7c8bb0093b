//! How a record's columns are read: split at most once per record, and kept until it changes.

use std::borrow::Cow;
use std::sync::Arc;

use super::fields::FieldSpan;
use super::json;
use crate::model::rule::FixedField;
use crate::model::step::{ColumnRef, Columns, Record, RecordError, Value};

/// Fields whose places are kept from one slice to the next.
const FIELDS_KEPT_MAX: usize = 10_000;

/// What the columns of a record are, at one place of the pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Their names, in order (csv, fixed).
    pub names: Arc<Vec<String>>,
    /// Their widths (fixed).
    pub fields: Vec<FixedField>,
}

/// Reads columns of one record after another.
pub(crate) trait ColumnReader: Columns + Send {
    /// The columns from here on; none of the record before is kept where they are others.
    fn use_layout(&mut self, _layout: &Arc<Layout>) {}
    /// Keeps no more memory than ordinary records need: a reader waits for its job's next slice, and many jobs may wait.
    fn rest(&mut self) {}
}

/// Whether a record was split, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Parsed(Option<Result<(), RecordError>>);

impl Parsed {
    /// What came of it; it is split now if it was not.
    #[inline]
    pub(super) fn or(&mut self, split: impl FnOnce() -> Result<(), RecordError>) -> Result<(), RecordError> {
        match self.0.get_or_insert_with(split) {
            Ok(()) => Ok(()),
            Err(error) => Err(error.clone()),
        }
    }

    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

/// Columns that stand in a fixed order, by the places of their fields.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) layout: Arc<Layout>,
    pub(super) spans: Vec<FieldSpan>,
    pub(super) parsed: Parsed,
}

impl Row {
    pub(super) fn span(&self, column: ColumnRef) -> Option<FieldSpan> {
        self.spans.get(column.0 as usize).copied()
    }

    pub(super) fn use_layout(&mut self, layout: &Arc<Layout>) {
        if !Arc::ptr_eq(&self.layout, layout) {
            self.layout = Arc::clone(layout);
        }
    }

    pub(super) fn rest(&mut self) {
        self.spans.clear();
        self.spans.shrink_to(FIELDS_KEPT_MAX);
        self.parsed.forget();
    }
}

pub(super) fn text_of(bytes: &[u8], span: FieldSpan) -> &[u8] {
    bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
}

pub(crate) fn path_of(dotted: &str) -> Vec<String> {
    dotted.split('.').map(str::to_owned).collect()
}

/// Appends a row as a JSON object of its columns.
pub(super) fn write_columns(record: &mut Record<'_>, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let names = record.column_names().to_vec();
    if record.field_count() > names.len() {
        return Err(RecordError::new("more fields than columns"));
    }
    out.push(b'{');
    for (position, name) in names.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        json::write_string(name.as_bytes(), out);
        out.push(b':');
        match record.column_named(name)? {
            Value::Missing => out.extend_from_slice(b"null"),
            value => json::write_string(value.bytes(), out),
        }
    }
    out.push(b'}');
    Ok(())
}

/// Takes a row's columns from a JSON object of them; those that it does not name stay as they are.
pub(super) fn take_columns(data: &[u8], record: &mut Record<'_>) -> Result<(), RecordError> {
    if !data.starts_with(b"{") {
        return Err(RecordError::new("the answer's data is no object of columns"));
    }
    let names = record.column_names().to_vec();
    let mut members = Vec::new();
    let is_all = json::members(data, names.len(), &mut members);
    let mut values: Vec<Cow<'_, [u8]>> = Vec::new();
    let (mut known, mut is_changed) = (0, false);
    for name in &names {
        let Some(raw) = json::member(data, &members, name) else {
            values.push(Cow::Owned(record.column_named(name)?.bytes().to_vec()));
            continue;
        };
        known += 1;
        let value = match json::value_of(Some(raw)) {
            Value::Missing => Cow::Borrowed(&b""[..]),
            Value::Text(text) => text,
            Value::Json([b'{' | b'[', ..]) => {
                return Err(RecordError::new(format!("the answer's column `{name}` is no text")));
            }
            Value::Json(json) => Cow::Borrowed(json),
        };
        is_changed |= record.column_named(name)?.bytes() != value.as_ref();
        values.push(value);
    }
    if !is_all || known != members.len() {
        return Err(RecordError::new("the answer's data has a column that the record does not have"));
    }
    if is_changed { record.set_values(&values) } else { Ok(()) }
}
