//! The header of a csv entry: its names, and whether they are those that the rule counts on.

use std::collections::HashSet;
use std::io::Read;

use super::block::Text;
use super::error::CutError;
use super::framing::{Framing, LineFraming, QuoteFraming};
use super::separator::Separator;
use super::slicer::{FirstRecord, Numbering, take_first_record};
use crate::format::fields::{count_fields, csv_value, split_csv};
use crate::format::{Blank, has_line_end, has_lone_return};
use crate::model::nearest::nearest;
use crate::model::quoted::Quoted;
use crate::model::rule::Csv;

const NAMES_SHOWN_MAX: usize = 20;

/// A header as it stands in the file, and the names in it.
pub(super) struct Header {
    pub(super) bytes: Vec<u8>,
    pub(super) columns: Vec<String>,
}

/// Takes the header from the text; none where the entry has no record at all.
pub(super) fn read<R: Read>(
    text: &mut Text<R>,
    csv: &Csv,
    separator: &Separator,
    record_max: usize,
    entry: &str,
    numbering: &mut Numbering,
) -> Result<Option<Header>, CutError> {
    let separator = separator.clone();
    if let Some(quote) = csv.quote {
        let mut framing = QuoteFraming::new(quote, csv, separator);
        return read_framed(text, &mut framing, csv, record_max, entry, numbering);
    }
    let mut framing = LineFraming::new(separator, Blank::Empty);
    read_framed(text, &mut framing, csv, record_max, entry, numbering)
}

fn read_framed<R: Read, F: Framing>(
    text: &mut Text<R>,
    framing: &mut F,
    csv: &Csv,
    record_max: usize,
    entry: &str,
    numbering: &mut Numbering,
) -> Result<Option<Header>, CutError> {
    let entry = entry.to_owned();
    match take_first_record(text, framing, record_max, numbering)? {
        FirstRecord::None => Ok(None),
        FirstRecord::Unfit { quote_line: Some(line) } => Err(CutError::HeaderQuote { entry, line }),
        FirstRecord::Unfit { quote_line: None } => {
            Err(CutError::HeaderTooLong { entry, line: numbering.lines + 1, record_max })
        }
        FirstRecord::Some { bytes, line } => {
            // First of all: what is made of it takes many times its bytes.
            let columns = count_fields(&bytes, csv);
            if columns as u64 > csv.columns_max {
                return Err(CutError::TooManyColumns { entry, line, columns, columns_max: csv.columns_max });
            }
            if framing.separator().is_line_end() && has_lone_return(&bytes, csv) {
                return Err(CutError::HeaderCarriageReturn { entry, line });
            }
            if !framing.separator().is_line_end() && has_line_end(&bytes, csv) {
                return Err(CutError::HeaderLineEnd { entry, line });
            }
            if split_csv(&bytes, csv, &mut Vec::new()).is_err() {
                return Err(CutError::HeaderMisquoted { entry, line });
            }
            let columns = names(&bytes, csv);
            check(&columns, &csv.columns, entry, line)?;
            Ok(Some(Header { bytes: bytes.to_vec(), columns }))
        }
    }
}

fn names(header: &[u8], csv: &Csv) -> Vec<String> {
    let mut spans = Vec::new();
    // Whether its quotes are right was asked before.
    split_csv(header, csv, &mut spans).ok();
    let name = |span| String::from_utf8_lossy(&csv_value(header, span, csv)).into_owned();
    spans.into_iter().map(name).collect()
}

/// Every name once, and every required one there. Empty names may repeat: nobody can ask for them.
fn check(columns: &[String], required: &[String], entry: String, line: u64) -> Result<(), CutError> {
    let mut known = HashSet::new();
    let twice: Vec<&String> =
        columns.iter().filter(|name| !name.is_empty() && !known.insert(name.as_str())).collect();
    if !twice.is_empty() {
        let distinct: HashSet<&String> = twice.iter().copied().collect();
        let mut names: Vec<String> = distinct.into_iter().map(|name| quoted(name)).collect();
        names.sort_unstable();
        names.truncate(NAMES_SHOWN_MAX);
        return Err(CutError::DuplicateColumns { entry, line, names: Quoted::new(names.join(", ")) });
    }
    let missing: Vec<(&String, Option<&str>)> = required
        .iter()
        .filter(|name| !known.contains(name.as_str()))
        .map(|name| (name, meant(name, columns, required)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let resembles = missing.iter().any(|(_, nearest)| nearest.is_some());
    let missing = missing.into_iter().map(|(name, nearest)| with_nearest(name, nearest)).collect();
    Err(CutError::MissingColumns {
        entry,
        line,
        missing,
        resembles,
        header: listed(columns),
        delimiter: delimiter_meant(columns),
    })
}

/// What may part the columns of a header that has one only: as it is written in a rule.
pub(crate) fn delimiter_meant(columns: &[String]) -> Option<&'static str> {
    let [only] = columns else { return None };
    let known = [(';', ";"), ('\t', "\\t"), ('|', "|"), (',', ",")];
    known.into_iter().find(|(delimiter, _)| only.contains(*delimiter)).map(|(_, shown)| shown)
}

/// The column that may be meant: one that is required itself is not.
fn meant<'a>(name: &str, columns: &'a [String], required: &[String]) -> Option<&'a str> {
    let others = columns.iter().filter(|column| !required.contains(column));
    nearest(name, others.map(String::as_str))
}

fn with_nearest(name: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("{} (nearest: {})", quoted(name), Quoted::new(quoted(nearest))),
        None => quoted(name),
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.chars().take(100).collect::<String>().escape_debug())
}

fn listed(columns: &[String]) -> Quoted {
    let shown: Vec<String> = columns.iter().take(NAMES_SHOWN_MAX).map(|name| quoted(name)).collect();
    let more = columns.len().saturating_sub(NAMES_SHOWN_MAX);
    let shown = shown.join(", ");
    Quoted::new(if more == 0 { shown } else { format!("{shown} and {more} more") })
}
