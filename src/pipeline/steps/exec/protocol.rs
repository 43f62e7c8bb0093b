//! What is asked and answered.

use std::io::Write as _;

use crate::format::{RecordFormat, json};
use crate::model::category::Category;
use crate::model::job_id::JobId;
use crate::model::quoted::Quoted;
use crate::model::step::{Broken, CategoryId, Outcome, Record, RecordError, Value};

const ANSWERS: &str =
    r#"{"data": …}, {"to": "CATEGORY"} with or without data, {"drop": true} or {"fail": "why"}"#;
const ANSWER_KEYS: [&str; 4] = ["data", "to", "drop", "fail"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Line,
    Jsonl,
}

/// What the child said about a record.
pub(super) enum Answer<'a> {
    Line(&'a [u8]),
    /// It goes on, perhaps elsewhere, perhaps changed.
    On {
        to: Option<CategoryId>,
        data: Option<&'a [u8]>,
    },
    Drop,
    Fail(String),
}

impl Protocol {
    /// Appends the question about a record; an error fails the record unasked.
    pub(super) fn ask(
        self,
        format: &dyn RecordFormat,
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
                // Writing to a vector cannot fail.
                write!(out, "{{\"job\":\"{job}\",\"record\":{number},\"data\":").ok();
                write_data(format, record, out)?;
                out.push(b'}');
            }
        }
        out.push(b'\n');
        Ok(())
    }

    /// Understands an answer; one that is not understood says that the order cannot be trusted.
    pub(super) fn read<'a>(self, line: &'a [u8], categories: &[Category]) -> Result<Answer<'a>, Broken> {
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
                    let name = Quoted::new(format!("`{name}`"));
                    Broken::new(format!("an answer sends to {name}, which has no output"))
                })?;
                return Ok(Answer::On { to: Some(CategoryId(found as u16)), data });
            }
            _ => {}
        }
        let shown = String::from_utf8_lossy(line.get(..200.min(line.len())).unwrap_or_default());
        let shown = Quoted::new(shown);
        Err(Broken::new(format!("an answer is not understood: {shown}; an answer is {ANSWERS}")))
    }
}

fn write_data(
    format: &dyn RecordFormat,
    record: &mut Record<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
    if std::str::from_utf8(record.bytes()).is_err() {
        return Err(RecordError::new("not UTF-8"));
    }
    format.write_json(record, out)
}

impl Answer<'_> {
    /// Does to the record what was answered.
    pub(super) fn settle(
        &self,
        format: &dyn RecordFormat,
        record: &mut Record<'_>,
    ) -> Result<Outcome, RecordError> {
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
                    format.take_json(data, record)?;
                }
                Ok(to.map_or(Outcome::On, |category| Outcome::To { category, reason: None }))
            }
        }
    }
}
