//! What keeps a text from being cut into records.

use std::io;

use crate::model::fault::{Fault, FaultKind};
use crate::model::quoted::Quoted;

/// The text cannot be cut into records.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// Reading the text failed; for the decoder to explain.
    #[error("cannot read on")]
    Read(#[source] io::Error),
    #[error("line {line}{}: the header lacks {}", within(entry), missing.join(", "))]
    MissingColumns {
        entry: String,
        line: u64,
        missing: Vec<String>,
        resembles: bool,
        header: Quoted,
        delimiter: Option<&'static str>,
    },
    #[error("line {line}{}: the header names a column twice: {}", within(entry), names)]
    DuplicateColumns { entry: String, line: u64, names: Quoted },
    #[error(
        "line {line}{}: the header names {columns} columns, more than `records.columns_max` = {columns_max}",
        within(entry)
    )]
    TooManyColumns { entry: String, line: u64, columns: usize, columns_max: u64 },
    #[error("line {line}{}: the header opens a quote that is never closed", within(entry))]
    HeaderQuote { entry: String, line: u64 },
    /// The header has a CR that ends no line: with the line ends of old Macs the whole text would be one header.
    #[error(
        "line {line}{}: the header has a carriage return without a line feed: it does not end where it should",
        within(entry)
    )]
    HeaderCarriageReturn { entry: String, line: u64 },
    #[error("line {line}{}: the header is longer than {record_max} bytes", within(entry))]
    HeaderTooLong { entry: String, line: u64, record_max: usize },
    #[error(
        "byte {offset}{}: record {record} has only {} bytes{}, {record_length} were expected",
        within(entry), left, if *only_line_ends { " (nothing but line ends)" } else { "" }
    )]
    Remainder { entry: String, record: u64, offset: u64, left: u64, record_length: u64, only_line_ends: bool },
    #[error(
        "byte {offset}{}: behind record {record} stands \"{found}\", the separator \"{separator}\" was expected",
        within(entry)
    )]
    NotSeparated { entry: String, record: u64, offset: u64, separator: String, found: Quoted },
    /// The only record has carriage returns that end no line: with the line ends of old Macs the whole text is one record.
    #[error(
        "line {line}{}: carriage returns stand where line feeds should end the records: all of the text would be one record",
        within(entry)
    )]
    CarriageReturns { entry: String, line: u64, has_header: bool },
    /// The header has a line end in it, where the rule names another separator.
    #[error(
        "line {line}{}: the header has a line end inside: it does not end where it should",
        within(entry)
    )]
    HeaderLineEnd { entry: String, line: u64 },
    #[error(
        "line {line}{}: the header has something behind a closing quote, or a quote that is never closed",
        within(entry)
    )]
    HeaderMisquoted { entry: String, line: u64 },
    #[error("byte {offset}{}: record {record} is not {encoding}", within(entry))]
    BadEncoding { entry: String, record: u64, offset: u64, encoding: String },
    #[error("`decode.encoding` is no known encoding: {0}")]
    UnknownEncoding(String),
    #[error("`records.record_length` of {record_length} is more than `records.record_max` of {record_max}")]
    LengthPastMax { record_length: u64, record_max: usize },
    #[error("`records.skip_lines` cannot be used with `records.record_length` in {0}")]
    LinesInWideText(&'static str),
}

fn within(entry: &str) -> String {
    if entry.is_empty() { String::new() } else { format!(" of {entry}") }
}

impl Fault for CutError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read(_) => FaultKind::Transient,
            Self::UnknownEncoding(_) | Self::LengthPastMax { .. } | Self::LinesInWideText(_) => {
                FaultKind::Config
            }
            _ => FaultKind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read(_) => return None,
            Self::MissingColumns { header, delimiter: Some(delimiter), .. } => {
                format!("the header has one column, {header}: is `records.delimiter = \"{delimiter}\"` meant?")
            }
            Self::MissingColumns { header, .. } => format!(
                "the header has {header}; correct `records.columns`, `records.delimiter` or `records.skip_lines`, or have the file sent again"
            ),
            Self::DuplicateColumns { .. } => {
                "name each column once; for a file without a header set `records.header = false` and `records.columns`".into()
            }
            Self::TooManyColumns { columns, .. } => format!(
                "raise `records.columns_max` to {columns} if so many columns are expected; else see whether `records.delimiter` is the sender's"
            ),
            Self::HeaderQuote { .. } => {
                "close the quote, or set `records.quote` to the character the sender uses (\"\" for none)".into()
            }
            Self::CarriageReturns { has_header: false, .. } => {
                "set `records.separator = \"\\r\"`, or have the file sent with line feeds".into()
            }
            Self::HeaderCarriageReturn { .. } => {
                "set `records.separator = \"\\r\"`, convert the line ends, e.g. with `tr '\\r' '\\n'`, or have the file sent with line feeds".into()
            }
            Self::CarriageReturns { has_header: true, .. } => {
                "the header ends with a line feed and the records with carriage returns: convert the line ends, e.g. with `tr '\\r' '\\n'`, or have the file sent with line feeds (`records.separator = \"\\r\"` is for files whose header ends so too)".into()
            }
            Self::HeaderLineEnd { .. } => {
                "see whether `records.separator` is what the sender ends records with; without it lines are records".into()
            }
            Self::HeaderMisquoted { .. } => {
                "double quotes within quotes, set `records.escape` to what the sender writes before them, or `records.quote` to the quotes it uses (\"\" for none)".into()
            }
            Self::NotSeparated { .. } => {
                "see whether `records.record_length` counts every byte of a record without the separator, and `records.separator` is what stands between".into()
            }
            Self::HeaderTooLong { .. } => {
                "raise `records.record_max`, or see whether this is a csv file with line ends at all".into()
            }
            Self::Remainder { only_line_ends: true, .. } => {
                "leave the line end at the file's end out; where every record has one, set `records.separator` to it (\"\\n\" or \"\\r\\n\"), not counted in `records.record_length`".into()
            }
            Self::Remainder { .. } => {
                "see whether the file is whole, whether `records.record_length` counts every byte of a record, and `records.separator` names what stands between them, if anything does".into()
            }
            Self::BadEncoding { .. } => {
                "set `decode.encoding` to what the sender writes, or `decode.on_bad_encoding` to \"replace\" or \"raw\"".into()
            }
            Self::UnknownEncoding(_) => "use a WHATWG label such as \"utf-8\", \"windows-1252\" or \"utf-16le\"".into(),
            Self::LengthPastMax { .. } => "raise `records.record_max`".into(),
            Self::LinesInWideText(_) => "leave `records.skip_lines` out".into(),
        })
    }
}
