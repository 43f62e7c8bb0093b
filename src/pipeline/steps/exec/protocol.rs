//! What is asked and answered.

use std::borrow::Cow;

use crate::model::category::Category;
use crate::model::job_id::JobId;
use crate::model::rule::Format;
use crate::model::step::{Broken, CategoryId, Outcome, Record, RecordError, Value};
use crate::pipeline::json;

/// What an answer may say.
const ANSWER_KEYS: [&str; 4] = ["data", "to", "drop", "fail"];

/// `protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A line for a line.
    Line,
    /// JSON both ways.
    Jsonl,
}

/// What the child said about a record.
pub enum Answer<'a> {
    /// The line in its place.
    Line(&'a [u8]),
    /// It goes on, perhaps elsewhere, perhaps changed.
    On { to: Option<CategoryId>, data: Option<&'a [u8]> },
    /// It ends here.
    Drop,
    /// It fails.
    Fail(String),
}

impl Protocol {
    /// Appends the question about a record; an error fails the record unasked.
    pub fn ask(
        self,
        format: &Format,
        job: JobId,
        record: &mut Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        match self {
            Self::Line => {
                if memchr::memchr(b'\n', record.bytes()).is_some() {
                    return Err(RecordError::new(
                        "a record with a line end inside cannot be asked line by line",
                    ));
                }
                out.extend_from_slice(record.bytes());
            }
            Self::Jsonl => {
                let number = record.number();
                out.extend_from_slice(
                    format!("{{\"job\":\"{job}\",\"record\":{number},\"data\":").as_bytes(),
                );
                write_data(format, record, out)?;
                out.push(b'}');
            }
        }
        out.push(b'\n');
        Ok(())
    }

    /// Understands an answer; one that is not understood says that the order cannot be trusted.
    pub fn read<'a>(self, line: &'a [u8], categories: &[Category]) -> Result<Answer<'a>, Broken> {
        if self == Self::Line {
            return Ok(Answer::Line(line));
        }
        json::check(line).map_err(|error| Broken::new(format!("an answer is {error}")))?;
        let mut members = Vec::new();
        let is_all = json::members(line, ANSWER_KEYS.len(), &mut members);
        let get = |key: &str| json::member(line, &members, key);
        let known = ANSWER_KEYS.iter().filter(|key| get(key).is_some()).count();
        match (get("data"), get("to"), get("drop"), get("fail")) {
            _ if !is_all || known != members.len() => {}
            (None, None, None, Some(why)) => {
                if let Value::Text(why) = json::value_of(Some(why)) {
                    return Ok(Answer::Fail(String::from_utf8_lossy(&why).into_owned()));
                }
            }
            (None, None, Some(b"true"), None) => return Ok(Answer::Drop),
            (data @ Some(_), None, None, None) => return Ok(Answer::On { to: None, data }),
            (data, Some(to), None, None) => {
                let name = json::value_of(Some(to)).to_text().into_owned();
                let found = categories.iter().position(|category| category.as_str() == name);
                let found = found.ok_or_else(|| {
                    Broken::new(format!("an answer sends to `{name}`, which has no output"))
                })?;
                return Ok(Answer::On { to: Some(CategoryId(found as u16)), data });
            }
            _ => {}
        }
        let shown = String::from_utf8_lossy(line.get(..200.min(line.len())).unwrap_or_default()).into_owned();
        Err(Broken::new(format!("an answer is not understood: {shown}")))
    }
}

fn write_data(format: &Format, record: &mut Record<'_>, out: &mut Vec<u8>) -> Result<(), RecordError> {
    if std::str::from_utf8(record.bytes()).is_err() {
        return Err(RecordError::new("not UTF-8"));
    }
    match format {
        Format::Lines => json::write_string(record.bytes(), out),
        Format::Jsonl => {
            record.check()?;
            // White space to JSON, and two lines to the child.
            if memchr::memchr(b'\n', record.bytes()).is_some() {
                return Err(RecordError::new("a record with a line end inside cannot be asked line by line"));
            }
            out.extend_from_slice(record.bytes());
        }
        Format::Csv(_) | Format::Fixed(_) => write_columns(record, out)?,
    }
    Ok(())
}

fn write_columns(record: &mut Record<'_>, out: &mut Vec<u8>) -> Result<(), RecordError> {
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

impl Answer<'_> {
    /// Does to the record what was answered.
    pub fn settle(&self, format: &Format, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        match self {
            Self::Line(line) => {
                if *line != record.bytes() {
                    record.set_bytes(line);
                }
                Ok(Outcome::On)
            }
            Self::Drop => Ok(Outcome::Dropped),
            Self::Fail(why) => Err(RecordError::new(why.clone())),
            Self::On { to, data } => {
                if let Some(data) = data {
                    take_data(data, format, record)?;
                }
                Ok(to.map_or(Outcome::On, |category| Outcome::To { category, reason: None }))
            }
        }
    }
}

/// Puts the data in the record's place, unless it says the same.
fn take_data(data: &[u8], format: &Format, record: &mut Record<'_>) -> Result<(), RecordError> {
    match format {
        Format::Jsonl => set_if_other(record, data),
        Format::Lines => match json::value_of(Some(data)) {
            Value::Text(text) => set_if_other(record, &text),
            _ => return Err(RecordError::new("the answer's data is no text")),
        },
        Format::Csv(_) | Format::Fixed(_) => return take_columns(data, record),
    }
    Ok(())
}

fn set_if_other(record: &mut Record<'_>, bytes: &[u8]) {
    if record.bytes() != bytes {
        record.set_bytes(bytes);
    }
}

fn take_columns(data: &[u8], record: &mut Record<'_>) -> Result<(), RecordError> {
    if !data.starts_with(b"{") {
        return Err(RecordError::new("the answer's data is no object of columns"));
    }
    let names = record.column_names().to_vec();
    let mut members = Vec::new();
    let is_all = json::members(data, names.len(), &mut members);
    let mut values: Vec<Cow<'_, [u8]>> = Vec::new();
    let (mut known, mut is_changed) = (0, false);
    for name in &names {
        let raw = json::member(data, &members, name);
        known += usize::from(raw.is_some());
        let value = match json::value_of(raw) {
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
