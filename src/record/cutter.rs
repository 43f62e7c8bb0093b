//! Cuts one entry's text into slices, as its format says.

use std::io::Read;
use std::sync::Arc;

use super::block::Text;
use super::by_length::ByLength;
use super::error::CutError;
use super::framing::{LineFraming, QuoteFraming};
use super::header;
use super::limits::RECORD_BYTES_MAX;
use super::separator::Separator;
use super::slicer::{self, Draft, Limits, Numbering};
use crate::allowance::Allowance;
use crate::format::{self, Ends, RecordFormat};
use crate::model::rule::{Decode, Records};
use crate::model::slice::{EntryShape, Slice};

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
    separator: Separator,
    skip_lines: u64,
    format: Arc<dyn RecordFormat>,
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
        let record_max = records.record_max.clamp(1, RECORD_BYTES_MAX) as usize;
        let separator = Separator::of(records);
        let format = format::of(records);
        let cut = match format.ends() {
            Ends::Lines(blank) => Cut::Lines(LineFraming::new(separator.clone(), blank)),
            Ends::Quotes(quote, csv) => Cut::Quotes(QuoteFraming::new(quote, csv, separator.clone())),
            Ends::Length(length) => {
                Cut::ByLength(ByLength::new(length, separator.clone(), record_max, decode, &name)?)
            }
        };
        Ok(Self {
            text: Text::new(text),
            cut,
            draft: Draft::default(),
            limits: Limits { record_max, slice_records: records.slice_records.max(1) as usize },
            numbering: Numbering {
                entry,
                next_slice: first_slice,
                next_record: 1,
                lines: 0,
                skipped: 0,
                unterminated: false,
            },
            separator,
            skip_lines: records.skip_lines,
            format,
            name,
            shape: None,
        })
    }

    /// Memory for records longer than a block is asked for.
    #[must_use]
    pub fn with_allowance(mut self, allowance: &Arc<Allowance>) -> Self {
        self.text.limit(Arc::clone(allowance), self.limits.record_max);
        self
    }

    /// Every line is a record, blank ones too: what is cut was written record by record.
    #[must_use]
    pub(crate) fn with_blank_records(mut self) -> Self {
        match &mut self.cut {
            Cut::Lines(framing) => framing.take_blank(),
            Cut::Quotes(framing) => framing.take_blank(),
            Cut::ByLength(_) => {}
        }
        self
    }

    /// The size of a block changes nothing but the speed.
    #[cfg(any(test, fuzzing))]
    pub(super) fn with_block_bytes(mut self, block_bytes: usize) -> Self {
        self.text.block_bytes = block_bytes.max(1);
        self
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
        if let Some(csv) = self.format.header() {
            let (text, numbering) = (&mut self.text, &mut self.numbering);
            let record_max = self.limits.record_max;
            let found = header::read(text, csv, &self.separator, record_max, &self.name, numbering)?;
            if let Some(header) = found {
                shape.columns = Some(Arc::new(header.columns));
                shape.header = Some(Arc::new(header.bytes));
            }
        } else if self.format.is_tabular() {
            let layout = self.format.layout().filter(|layout| !layout.names.is_empty());
            shape.columns = layout.map(|layout| Arc::clone(&layout.names));
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
        let is_first = numbering.next_record == 1;
        let slice = match cut {
            Cut::Lines(framing) => slicer::next_slice(text, draft, framing, *limits, numbering),
            Cut::Quotes(framing) => slicer::next_slice(text, draft, framing, *limits, numbering),
            Cut::ByLength(by_length) => by_length.next_slice(text, *limits, numbering),
        }?;
        if let Some(slice) = slice.as_ref().filter(|slice| is_first && slice.records.len() == 1) {
            self.refuse_carriage_returns(slice)?;
        }
        Ok(slice)
    }

    /// Old Macs ended lines with a carriage return: all of their text would be one record.
    fn refuse_carriage_returns(&mut self, first: &Slice) -> Result<(), CutError> {
        if !self.separator.is_line_end() || !self.has_lone_return(first) {
            return Ok(());
        }
        while self.text.held().is_empty() && !self.text.ended() {
            self.text.more().map_err(CutError::Read)?;
        }
        if !self.text.held().is_empty() {
            return Ok(()); // a record of several, which are ended by line feeds
        }
        let has_header = self.shape.as_ref().is_some_and(|shape| shape.header.is_some());
        Err(CutError::CarriageReturns { entry: self.name.clone(), line: first.first_line + 1, has_header })
    }

    /// Whether a carriage return without a line feed is in the first record: not one that may have been cut off from its line feed.
    fn has_lone_return(&self, slice: &Slice) -> bool {
        let span = slice.records.first().map_or(0..0, |span| span.start as usize..span.end as usize);
        let record = slice.bytes.get(span).unwrap_or_default();
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        // Where its quotes are wrong nothing is known of what lies within them.
        self.format.has_lone_return(record, slice.oversized.is_none())
    }

    /// Whether the entry's first record is to name its columns: an empty entry has none.
    pub fn has_header(&self) -> bool {
        self.format.header().is_some()
    }

    /// Whether the last record so far, or the header, stood at the text's end without a line end or separator behind it.
    pub fn is_unterminated(&self) -> bool {
        self.numbering.unterminated
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
        let by_lines = !self.separator.bytes().is_empty();
        let separator = if by_lines { self.separator.clone() } else { Separator::line_end() };
        for _ in 0..self.skip_lines {
            let line = self.text.skip_line(&separator, 0, 0).map_err(CutError::Read)?;
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
pub(crate) fn record_offset(slice: &Slice, index: usize, records: &Records) -> u64 {
    let within = match records.record_length() {
        Some(length) => {
            let separator = records.separator.as_ref().map_or(0, |separator| separator.len() as u64);
            (index as u64).saturating_mul(length.saturating_add(separator))
        }
        None => slice.records.get(index).map_or(0, |span| u64::from(span.start)),
    };
    slice.offset.saturating_add(within)
}
