//! What is looked at in a record before any step sees it: whether it has the length of its layout, and whether it would
//! come out as one record. One that does not is a failed record, also where the rule has no steps.

use super::columns::length_in;
use crate::model::rule::{Csv, Format, LineEnd, OnMisfit, Rule};
use crate::model::step::RecordError;
use crate::record::fields::{Unit, each_field};

/// What a rule's records are looked at for; nothing for most rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Inspection {
    /// fixed: the fields' widths together, and what they count.
    width: Option<(usize, Unit)>,
    /// Records may have line ends inside, and an output ends them with one.
    line_ends: Option<LineEnds>,
    /// jsonl between separators: white space around a value is not part of the record.
    pub trims: bool,
}

#[derive(Clone, Debug)]
enum LineEnds {
    Anywhere,
    OutsideQuotes(Csv),
}

impl Inspection {
    pub fn of(rule: &Rule) -> Self {
        let records = &rule.records;
        let width = match &records.format {
            Format::Fixed(fixed) if fixed.on_misfit == OnMisfit::Fail => {
                let widths = fixed.fields.iter().map(|field| field.width as usize);
                Some((widths.sum(), Unit::of(records, &rule.decode)))
            }
            _ => None,
        };
        let ends_lines = rule.outputs.values().any(|output| output.line_end != LineEnd::None);
        let line_ends = match &records.format {
            Format::Fixed(fixed) if fixed.record_length.is_some() => None,
            Format::Csv(csv) => Some(LineEnds::OutsideQuotes(csv.clone())),
            Format::Lines | Format::Jsonl | Format::Fixed(_) => Some(LineEnds::Anywhere),
        };
        Self {
            width,
            line_ends: line_ends.filter(|_| ends_lines && records.separator.is_some()),
            trims: records.format == Format::Jsonl && records.separator.is_some(),
        }
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.width.is_none() && self.line_ends.is_none()
    }

    /// What is wrong with a record.
    pub fn check(&self, record: &[u8]) -> Result<(), RecordError> {
        if let Some((width, unit)) = self.width {
            let length = length_in(unit, record);
            if length != width {
                return Err(misfit(record, length, width, unit));
            }
        }
        let Some(line_ends) = self.line_ends.as_ref().filter(|_| memchr::memchr(b'\n', record).is_some())
        else {
            return Ok(());
        };
        let splits = match line_ends {
            LineEnds::Anywhere => true,
            LineEnds::OutsideQuotes(csv) => splits_row(record, csv),
        };
        if splits {
            return Err(RecordError::new(
                "a line feed stands within the record, and its output ends records with one",
            ));
        }
        Ok(())
    }
}

/// Whether a line feed stands in a field that is not in quotes.
fn splits_row(record: &[u8], csv: &Csv) -> bool {
    let mut splits = false;
    let read = each_field(record, csv, |span| {
        let field = record.get(span.start as usize..span.end as usize).unwrap_or_default();
        splits |= !span.quoted && memchr::memchr(b'\n', field).is_some();
    });
    splits || read.is_err()
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
