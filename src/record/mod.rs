//! From text to slices of records.
//!
//! A [`Cutter`] takes one entry's decoded text and gives its shape, then its slices. It runs on the thread that
//! inflates, so it allocates per slice and not per record, looks at each byte once, and copies nothing but what
//! spills over from one block to the next.
//!
//! # Invariants
//! - The same text under the same rule gives the same slices, whatever the sizes of blocks and reads.
//! - Every byte of the text is in a slice, in the header, a skipped or blank line (counted), or behind the 48 KiB
//!   kept of a record longer than `record_max` (whose whole length is told).
//! - Memory is bounded by `record_max` and a few blocks, whatever the text.
//!
//! # Formats
//! - Lines end with `\n` or `\r\n`, each line for itself; any other `\r` is data. The last line needs no end.
//! - `lines`, and `fixed` read by line: every line is a record, blank ones too.
//! - `csv`: RFC 4180 with its usual liberties; empty lines are skipped and counted. See [`fields`] and `slicer`.
//! - `jsonl`: lines of nothing but white space are skipped and counted. Whether a line is JSON is for the pipeline.
//! - `fixed` with `record_length`: see `by_length`; offsets are those of the raw bytes, see [`record_offset`].
//!
//! What a record says is not judged here: short and long rows are kept as they are.

mod block;
mod by_length;
mod error;
pub mod fields;
mod framing;
mod header;
mod marks;
#[cfg(any(test, fuzzing))]
#[path = "tests/oracle.rs"]
pub(crate) mod oracle;
mod slicer;
#[cfg(test)]
mod tests;

use std::io::Read;

pub use error::CutError;

use self::block::{BLOCK_BYTES, Text};
use self::by_length::ByLength;
use self::framing::{Blank, LineFraming, QuoteFraming};
use self::slicer::{Draft, Limits, Numbering};
use crate::model::rule::{Csv, Decode, Format, Records};
use crate::model::slice::{EntryShape, Slice};

/// Bytes of a slice at most; only a longer record makes a longer slice.
pub const SLICE_BYTES_MAX: usize = 56 << 10;
/// Bytes kept of a record that is longer than `record_max`.
pub const UNFIT_BYTES_MAX: usize = 48 << 10;
/// `record_max` counts up to here: positions within a slice are 32 bits wide.
pub const RECORD_BYTES_MAX: u64 = 1 << 30;
/// Changes whenever the same text could be cut differently: a stored checkpoint of another version is not used.
pub const FRAMING_VERSION: u32 = 1;

const _: () = assert!(UNFIT_BYTES_MAX <= SLICE_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX + (SLICE_BYTES_MAX as u64) < u32::MAX as u64);

/// How the text is framed.
enum Cut {
    Lines(LineFraming),
    Quotes(QuoteFraming),
    ByLength(ByLength),
}

/// Cuts one entry's text into slices.
pub struct Cutter<R> {
    text: Text<R>,
    cut: Cut,
    draft: Draft,
    limits: Limits,
    numbering: Numbering,
    skip_lines: u64,
    format: Format,
    name: String,
    shape: Option<EntryShape>,
}

impl<R: Read> Cutter<R> {
    /// `entry` and `first_slice` are the positions to number from; `name` is the entry's, escaped, for messages and
    /// the shape. Of `decode` only `encoding` and `on_bad_encoding` are used, and only for `record_length`.
    pub fn new(
        text: R,
        records: &Records,
        decode: &Decode,
        entry: u32,
        name: String,
        first_slice: u64,
    ) -> Result<Self, CutError> {
        Self::with_block_bytes(text, records, decode, entry, name, first_slice, BLOCK_BYTES)
    }

    /// See [`Self::new`]; the size of a block changes nothing but the speed.
    fn with_block_bytes(
        text: R,
        records: &Records,
        decode: &Decode,
        entry: u32,
        name: String,
        first_slice: u64,
        block_bytes: usize,
    ) -> Result<Self, CutError> {
        let record_max = records.record_max.clamp(1, RECORD_BYTES_MAX) as usize;
        let cut = match &records.format {
            Format::Fixed(fixed) => match fixed.record_length {
                Some(length) => Cut::ByLength(ByLength::new(length, record_max, decode, &name)?),
                None => Cut::Lines(LineFraming::new(Blank::Record)),
            },
            Format::Lines => Cut::Lines(LineFraming::new(Blank::Record)),
            Format::Jsonl => Cut::Lines(LineFraming::new(Blank::WhiteSpace)),
            Format::Csv(Csv { quote: Some(quote), delimiter, .. }) => {
                Cut::Quotes(QuoteFraming::new(*quote, *delimiter))
            }
            Format::Csv(_) => Cut::Lines(LineFraming::new(Blank::Empty)),
        };
        Ok(Self {
            text: Text::new(text, block_bytes),
            cut,
            draft: Draft::default(),
            limits: Limits { record_max, slice_records: records.slice_records.max(1) as usize },
            numbering: Numbering { entry, next_slice: first_slice, next_record: 1, lines: 0, skipped: 0 },
            skip_lines: records.skip_lines,
            format: records.format.clone(),
            name,
            shape: None,
        })
    }

    /// Reads as far as the header: skips `skip_lines`, reads a csv header and checks it against `columns`.
    ///
    /// An entry without any record has no header: then a csv with `header = true` has no columns either.
    pub fn shape(&mut self) -> Result<EntryShape, CutError> {
        if let Some(shape) = &self.shape {
            return Ok(shape.clone());
        }
        self.skip_lines()?;
        let mut shape =
            EntryShape { entry: self.numbering.entry, name: self.name.clone(), columns: None, header: None };
        match &self.format {
            Format::Lines | Format::Jsonl => {}
            Format::Fixed(fixed) => {
                shape.columns = Some(fixed.fields.iter().map(|field| field.name.clone()).collect());
            }
            Format::Csv(csv) if csv.header => {
                let (text, numbering) = (&mut self.text, &mut self.numbering);
                if let Some(header) = header::read(text, csv, self.limits.record_max, &self.name, numbering)?
                {
                    shape.columns = Some(header.columns);
                    shape.header = Some(header.bytes);
                }
            }
            Format::Csv(csv) => {
                shape.columns = Some(csv.columns.clone()).filter(|columns| !columns.is_empty());
            }
        }
        self.shape = Some(shape.clone());
        Ok(shape)
    }

    /// The next slice, or none at the end.
    pub fn next_slice(&mut self) -> Result<Option<Slice>, CutError> {
        if self.shape.is_none() {
            self.shape()?;
        }
        let Self { text, cut, draft, limits, numbering, .. } = self;
        match cut {
            Cut::Lines(framing) => slicer::next_slice(text, draft, framing, *limits, numbering),
            Cut::Quotes(framing) => slicer::next_slice(text, draft, framing, *limits, numbering),
            Cut::ByLength(by_length) => by_length.next_slice(text, *limits, numbering),
        }
    }

    /// Lines so far that are in no slice and are no records: `skip_lines`, and blank ones before a slice's first
    /// record (those behind it are in [`Slice::skipped`]).
    pub fn lines_skipped(&self) -> u64 {
        self.numbering.skipped
    }

    /// Characters replaced here under `on_bad_encoding = "replace"`: of `record_length` only, since all other text
    /// comes decoded.
    pub fn characters_replaced(&self) -> u64 {
        match &self.cut {
            Cut::ByLength(by_length) => by_length.replaced(),
            Cut::Lines(_) | Cut::Quotes(_) => 0,
        }
    }

    /// Quotes mean nothing in these lines.
    fn skip_lines(&mut self) -> Result<(), CutError> {
        if let Cut::ByLength(by_length) = &mut self.cut {
            by_length.begin(&mut self.text, self.skip_lines > 0)?;
        }
        for _ in 0..self.skip_lines {
            let line = self.text.skip_line(0, 0).map_err(CutError::Read)?;
            if line.ended || line.length > 0 {
                self.numbering.lines += 1;
                self.numbering.skipped += 1;
            }
            if !line.ended {
                break;
            }
        }
        Ok(())
    }
}

/// Where a record of a slice begins within its entry, in bytes; for `record_length` in the raw bytes.
pub fn record_offset(slice: &Slice, index: usize, format: &Format) -> u64 {
    let within = match format {
        Format::Fixed(fixed) if fixed.record_length.is_some() => {
            (index as u64).saturating_mul(fixed.record_length.unwrap_or_default())
        }
        _ => slice.records.get(index).map_or(0, |span| u64::from(span.start)),
    };
    slice.offset.saturating_add(within)
}
