//! How a record's columns are read: split at most once per record, and kept until it changes.

use std::borrow::Cow;
use std::sync::Arc;

use super::json::{self, Member};
use crate::model::rule::{Csv, FixedField, Format};
use crate::model::step::{ColumnRef, Columns, RecordError, Value};
use crate::record::fields::{
    FieldSpan, Misquoted, Unit, count_fields, csv_value, end_csv_row, split_csv, split_fixed, write_csv_value,
};

/// Members of a JSON object that are kept: with more, the record is looked through for each column that is asked for.
const MEMBERS_KEPT_MAX: usize = 1_000;
/// Fields whose places are kept from one slice to the next.
const FIELDS_KEPT_MAX: usize = 10_000;

/// What the columns of a record are, at one place of the pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Their names, in order (csv, fixed).
    pub names: Arc<Vec<String>>,
    /// Their widths (fixed).
    pub fields: Vec<FixedField>,
}

/// Reads columns of one record after another.
pub struct ColumnReader {
    format: Format,
    unit: Unit,
    layout: Arc<Layout>,
    paths: Vec<Vec<String>>,
    spans: Vec<FieldSpan>,
    members: Vec<Member>,
    /// These are all that the record has.
    has_all_members: bool,
    parsed: Parsed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parsed {
    No,
    Yes,
    Failed(RecordError),
}

impl ColumnReader {
    /// `unit` is what the widths of fixed fields count; `paths` are the dotted paths that a [`ColumnRef`] means for jsonl.
    pub fn new(format: Format, unit: Unit, paths: Vec<Vec<String>>) -> Self {
        Self {
            format,
            unit,
            layout: Arc::default(),
            paths,
            spans: Vec::new(),
            members: Vec::new(),
            has_all_members: false,
            parsed: Parsed::No,
        }
    }

    /// The next record, or the same one after a step that changed its columns.
    pub fn use_layout(&mut self, layout: &Arc<Layout>) {
        if !Arc::ptr_eq(&self.layout, layout) {
            self.layout = Arc::clone(layout);
        }
    }

    /// Keeps no more memory than ordinary records need: a reader waits for its job's next slice, and many jobs may wait.
    pub fn rest(&mut self) {
        self.spans.clear();
        self.spans.shrink_to(FIELDS_KEPT_MAX);
        self.parsed = Parsed::No;
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        match &self.parsed {
            Parsed::Yes => return Ok(()),
            Parsed::Failed(error) => return Err(error.clone()),
            Parsed::No => {}
        }
        let parsed = match &self.format {
            Format::Lines => Ok(()),
            Format::Csv(csv) => match fields_past_max(bytes, csv) {
                Some(error) => Err(error),
                None => split_csv(bytes, csv, &mut self.spans).map_err(misquoted),
            },
            Format::Fixed(_) => {
                split_fixed(bytes, &self.layout.fields, self.unit, &mut self.spans);
                Ok(())
            }
            Format::Jsonl => json::check(bytes).map(|()| {
                self.has_all_members = json::members(bytes, MEMBERS_KEPT_MAX, &mut self.members);
            }),
        };
        self.parsed = match &parsed {
            Ok(()) => Parsed::Yes,
            Err(error) => Parsed::Failed(error.clone()),
        };
        parsed
    }

    fn span(&self, column: ColumnRef) -> Option<FieldSpan> {
        self.spans.get(column.0 as usize).copied()
    }

    fn json<'r>(&self, bytes: &'r [u8], column: ColumnRef) -> Result<Option<&'r [u8]>, RecordError> {
        let Some(path) = self.paths.get(column.0 as usize) else { return Ok(None) };
        let known = self.has_all_members.then_some(&*self.members);
        json::at_path(bytes, known, path).map_err(|json::Twice| {
            RecordError::new(format!(
                "a key of `{}` stands twice, and what it means is not known",
                path.join(".")
            ))
        })
    }
}

impl Columns for ColumnReader {
    fn value<'r>(&'r mut self, bytes: &'r [u8], column: ColumnRef) -> Result<Value<'r>, RecordError> {
        self.parse(bytes)?;
        Ok(match &self.format {
            Format::Lines => Value::Missing,
            Format::Csv(csv) => match self.span(column) {
                Some(span) => Value::Text(csv_value(bytes, span, csv)),
                None => Value::Missing,
            },
            Format::Fixed(_) => match self.span(column) {
                Some(span) => Value::Text(Cow::Borrowed(text_of(bytes, span))),
                None => Value::Missing,
            },
            Format::Jsonl => json::value_of(self.json(bytes, column)?),
        })
    }

    fn raw<'r>(&'r mut self, bytes: &'r [u8], column: ColumnRef) -> Result<Option<&'r [u8]>, RecordError> {
        self.parse(bytes)?;
        Ok(match &self.format {
            Format::Lines => None,
            Format::Fixed(_) => Some(untrimmed(bytes, &self.layout.fields, self.unit, column.0 as usize)),
            Format::Csv(_) => self.span(column).map(|mut span| {
                if span.quoted {
                    span.start = span.start.saturating_sub(1);
                    span.end = span.end.saturating_add(1);
                }
                text_of(bytes, span)
            }),
            Format::Jsonl => self.json(bytes, column)?,
        })
    }

    fn select(&mut self, bytes: &[u8], wanted: &[ColumnRef], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let (start, unit) = (out.len(), self.unit);
        for (position, &column) in wanted.iter().enumerate() {
            if let (Format::Csv(csv), true) = (&self.format, position > 0) {
                out.push(csv.delimiter);
            }
            let raw = self.raw(bytes, column)?.unwrap_or_default();
            out.extend_from_slice(raw);
            let written = length_in(unit, raw);
            if let (Format::Fixed(_), Some(field)) = (&self.format, self.layout.fields.get(column.0 as usize))
            {
                out.resize(out.len() + (field.width as usize).saturating_sub(written), b' ');
            }
        }
        if let Format::Csv(csv) = &self.format {
            end_csv_row(csv, start, out);
        }
        Ok(())
    }

    fn find(&mut self, name: &str) -> Option<ColumnRef> {
        match &self.format {
            Format::Lines => None,
            Format::Csv(_) | Format::Fixed(_) => self
                .layout
                .names
                .iter()
                .position(|known| known == name)
                .map(|position| ColumnRef(position as u32)),
            Format::Jsonl => {
                let path = path_of(name);
                let position = self.paths.iter().position(|known| *known == path).unwrap_or_else(|| {
                    self.paths.push(path);
                    self.paths.len() - 1
                });
                Some(ColumnRef(position as u32))
            }
        }
    }

    fn names(&self) -> &[String] {
        &self.layout.names
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.parse(bytes)
    }

    fn count(&mut self, bytes: &[u8]) -> usize {
        let is_read = self.parse(bytes).is_ok();
        match &self.format {
            Format::Csv(_) | Format::Fixed(_) if is_read => self.spans.len(),
            _ => 0,
        }
    }

    fn write(&self, values: &[Cow<'_, [u8]>], out: &mut Vec<u8>) -> Result<(), RecordError> {
        match &self.format {
            Format::Csv(csv) => {
                write_csv_row(values.iter().map(AsRef::as_ref), csv, out);
                Ok(())
            }
            Format::Fixed(_) => write_fixed_row(values, &self.layout.fields, self.unit, out),
            Format::Lines | Format::Jsonl => {
                Err(RecordError::new("records of this format have no columns to write"))
            }
        }
    }

    fn forget(&mut self) {
        self.parsed = Parsed::No;
    }
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
pub fn past_columns_max(csv: &Csv) -> String {
    format!("more than `records.columns_max` = {} fields", csv.columns_max)
}

fn text_of(bytes: &[u8], span: FieldSpan) -> &[u8] {
    bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
}

/// The names of a dotted path.
pub fn path_of(dotted: &str) -> Vec<String> {
    dotted.split('.').map(str::to_owned).collect()
}

/// Appends a csv row.
pub fn write_csv_row<'v>(values: impl Iterator<Item = &'v [u8]>, csv: &Csv, out: &mut Vec<u8>) {
    let start = out.len();
    for (position, value) in values.enumerate() {
        if position > 0 {
            out.push(csv.delimiter);
        }
        write_csv_value(value, csv, out);
    }
    end_csv_row(csv, start, out);
}

fn write_fixed_row(
    values: &[Cow<'_, [u8]>],
    fields: &[FixedField],
    unit: Unit,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
    for (position, field) in fields.iter().enumerate() {
        let value = values.get(position).map(AsRef::as_ref).unwrap_or_default();
        write_fixed_value(value, field, unit, out)?;
    }
    Ok(())
}

/// Appends a value in its width, blanks behind it; one that is too long is an error, never cut.
pub fn write_fixed_value(
    value: &[u8],
    field: &FixedField,
    unit: Unit,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
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
    let before = fields.iter().take(position).map(|field| u64::from(field.width)).sum::<u64>();
    let width = fields.get(position).map_or(0, |field| field.width);
    let (_, rest) = split_behind(record, unit, before);
    split_behind(rest, unit, u64::from(width)).0
}

/// Splits behind so many characters or bytes; bytes that are no UTF-8 count as one character each.
fn split_behind(text: &[u8], unit: Unit, count: u64) -> (&[u8], &[u8]) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if unit == Unit::Bytes || text.is_ascii() {
        return text.split_at(count.min(text.len()));
    }
    let (mut at, mut left) = (0, count);
    for chunk in text.utf8_chunks() {
        let lengths = chunk.valid().chars().map(char::len_utf8).chain(chunk.invalid().iter().map(|_| 1));
        for length in lengths {
            if left == 0 {
                return text.split_at(at);
            }
            (at, left) = (at + length, left - 1);
        }
    }
    (text, &[])
}

/// Characters or bytes of a text.
pub fn length_in(unit: Unit, text: &[u8]) -> usize {
    match unit {
        Unit::Bytes => text.len(),
        Unit::Characters => characters(text),
    }
}

/// Characters of a text; bytes that are no UTF-8 count as one each.
pub fn characters(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}
