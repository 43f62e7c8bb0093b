//! What a format is: a file for each, behind two small traits.
//!
//! A [`Reader`] says how records are found in text and what columns they have; a [`Writer`] how records and headers are
//! written. [`of`] chooses the format of a rule's records, and is the only place that does: everything else asks. A format is
//! asked for each entry, slice or file; what is done for each record is done by what it hands out ([`ColumnReader`]).
//!
//! Nothing here reads or writes files, or knows slices. Of steps it knows the record that they work on.
//!
//! # How to add a format
//! 1. Its word and parameters: `Format` in `model/rule.rs`, read by `config/records.rs`.
//! 2. A file here, beside `jsonl.rs`, with `impl Reader` and `impl Writer`; and its arm in [`of`].
//! 3. Only where its records end like those of no other format: a framing in `record`, named in [`Ends`].
//! 4. Its rows in the tests of `record` and `pipeline`, which run over every format; in `src/fuzz/records.rs`; in
//!    `config/reference.toml`, and in `docs/formats.md`.
//! 5. Its variant among the words of `formats_are_told_apart_in_one_place` (`tests/tidy.rs`): else nothing guards it.

mod columns;
mod csv;
pub(crate) mod fields;
mod fixed;
pub(crate) mod json;
mod jsonl;
mod lines;
pub(crate) mod marks;
mod reader;
mod unit;
mod writer;

use std::sync::Arc;

pub(crate) use self::columns::{ColumnReader, Layout, path_of};
pub(crate) use self::csv::{has_line_end, has_lone_return};
pub(crate) use self::reader::{Blank, Ends, Reader};
pub(crate) use self::unit::{Unit, characters, length_in};
pub(crate) use self::writer::Writer;
use crate::model::rule::{Format, Records};

/// A format: how its records are read, and how they are written.
pub(crate) trait RecordFormat: Reader + Writer + Send + Sync {}

impl<F: Reader + Writer + Send + Sync> RecordFormat for F {}

pub(crate) fn of(records: &Records) -> Arc<dyn RecordFormat> {
    match &records.format {
        Format::Lines => Arc::new(lines::Lines),
        Format::Csv(csv) => Arc::new(csv::CsvFormat { csv: csv.clone() }),
        Format::Fixed(fixed) => Arc::new(fixed::FixedFormat { fixed: fixed.clone() }),
        Format::Jsonl => Arc::new(jsonl::Jsonl),
    }
}
