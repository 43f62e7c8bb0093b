//! What is looked at in a record before any step sees it: whether it has the length of its layout, and whether it would
//! come out as one record. One that does not is a failed record, also where the rule has no steps.

use std::sync::Arc;

use crate::format::{self, Ends, RecordFormat, Unit, length_in};
use crate::model::rule::{LineEnd, Rule};
use crate::model::step::RecordError;

/// What a rule's records are looked at for; nothing for most rules.
pub(super) struct Inspection {
    /// fixed: the fields' widths together, and what they count.
    width: Option<(usize, Unit)>,
    /// Records may have line ends inside, and an output ends them with one.
    line_ends: Option<Arc<dyn RecordFormat>>,
    /// jsonl between separators: white space around a value is not part of the record.
    pub trims: bool,
}

impl Inspection {
    pub(super) fn of(rule: &Rule) -> Self {
        let records = &rule.records;
        let format = format::of(records);
        let ends_lines = rule.outputs.values().any(|output| output.line_end != LineEnd::None);
        let is_by_length = matches!(format.ends(), Ends::Length(_));
        Self {
            width: format.width().map(|width| (width, Unit::of(records, &rule.decode))),
            trims: format.trims() && records.separator.is_some(),
            line_ends: Some(format).filter(|_| !is_by_length && ends_lines && records.separator.is_some()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.width.is_none() && self.line_ends.is_none()
    }

    pub(super) fn check(&self, record: &[u8]) -> Result<(), RecordError> {
        if let Some((width, unit)) = self.width {
            let length = length_in(unit, record);
            if length != width {
                return Err(misfit(record, length, width, unit));
            }
        }
        let Some(format) = self.line_ends.as_ref().filter(|_| memchr::memchr(b'\n', record).is_some()) else {
            return Ok(());
        };
        if format.is_split_by_line_feeds(record) {
            return Err(RecordError::new(
                "a line feed stands within the record, and its output ends records with one",
            ));
        }
        Ok(())
    }
}

#[cold]
fn misfit(record: &[u8], length: usize, width: usize, unit: Unit) -> RecordError {
    let (word, noun) = (if length < width { "shorter" } else { "longer" }, unit.noun());
    let ends = record.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let why = if ends > 0 && length.checked_sub(ends) == Some(width) {
        ": a line end at its end is part of it where `records.separator` does not name it"
    } else {
        ""
    };
    RecordError::new(format!("{length} {noun}, {word} than its fields ({width} together){why}"))
}
