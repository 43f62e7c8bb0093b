//! Cuts framed text into slices.
//!
//! Where a slice ends depends on the text alone, never on how it was read:
//! - A slice begins with a record. Blank lines before it belong to no slice and are counted here.
//! - It takes the lines that follow until it has `slice_records` records, or the next line would bring it past
//!   [`SLICE_BYTES_MAX`]. A longer record is a slice of its own.
//! - A record longer than `record_max` (judged from as many bytes and those of a separator: a line end has at most two),
//!   and one whose quote is never closed, are slices of their own that hold the record's beginning.
//! - Behind the last separator, where the rule names one, line ends alone are no record (files end with one whatever their
//!   separator); they are counted as skipped.
//!
//! **A quote that is never closed** must not swallow the file. A quote still open at the end of the text, or when
//! its record has passed `record_max`, is taken as never closed: the record ends, unfit, at the first line end
//! after that quote, and the file goes on with the next line. The price: a properly quoted value that is longer
//! than `record_max` and has line ends inside fails with its first line, and its other lines come out as records.
//! A record passed `record_max` outside quotes ends at the next line end, whatever quotes follow.

use std::io::Read;

use bytes::Bytes;

use super::block::Text;
use super::error::CutError;
use super::framing::Framing;
use super::limits::{SLICE_BYTES_MAX, UNFIT_BYTES_MAX};
use super::separator::Separator;
use crate::model::slice::{Oversized, Slice, Span, UnfitReason};

/// Where the next slice stands, and how big it may be.
pub(super) struct Numbering {
    pub(super) entry: u32,
    pub(super) next_slice: u64,
    pub(super) next_record: u64,
    /// Lines before the held text.
    pub(super) lines: u64,
    /// Lines that belong to no slice and are no records.
    pub(super) skipped: u64,
    /// The last record, or the header, stood at the text's end without a separator behind it.
    pub(super) unterminated: bool,
}

/// How big records and slices may be.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) record_max: usize,
    pub(super) slice_records: usize,
}

/// The slice being made. Positions are relative to the held text.
#[derive(Default)]
pub(super) struct Draft {
    /// Where it begins; before it are blank lines.
    first: usize,
    /// Where the next line begins.
    at: usize,
    spans: Vec<Span>,
    skipped: u32,
    skipped_before: u64,
    unterminated: bool,
}

/// Why framing stopped.
enum Stop {
    /// The slice is whole.
    Cut,
    /// The held text ends within a line.
    More,
    /// The text is at its end.
    End,
    /// The record at the front is unfit; it is known to go up to `known` at least.
    Unfit { known: usize, open_quote: Option<usize> },
}

/// Takes lines into the draft until something has to be done.
fn frame<F: Framing>(held: &[u8], ended: bool, draft: &mut Draft, framing: &mut F, limits: Limits) -> Stop {
    loop {
        let at = draft.at;
        let passed = at.saturating_add(limits.record_max + framing.separator().bytes_max());
        let limit = held.len().min(passed);
        let Some(end) = framing.end(held, at, limit) else {
            return without_end(held, limit, limit == passed, ended, draft, framing, limits);
        };
        let seen = end.seen;
        let end = end.at;
        if seen - draft.first > SLICE_BYTES_MAX && !draft.spans.is_empty() {
            framing.restart(end);
            return Stop::Cut;
        }
        let content = framing.separator().content(held.get(at..end).unwrap_or_default());
        if content.len() > limits.record_max {
            framing.restart(end);
            return draft.unfit(end, None);
        }
        if framing.is_blank(content) {
            draft.blank(end + 1);
            continue;
        }
        draft.record(content.len(), end + 1);
        if draft.spans.len() >= limits.slice_records || draft.at - draft.first > SLICE_BYTES_MAX {
            return Stop::Cut;
        }
    }
}

/// The line at `draft.at` has no end before `limit`.
fn without_end<F: Framing>(
    held: &[u8],
    limit: usize,
    passed: bool,
    ended: bool,
    draft: &mut Draft,
    framing: &mut F,
    limits: Limits,
) -> Stop {
    if limit - draft.first > SLICE_BYTES_MAX && !draft.spans.is_empty() {
        return Stop::Cut;
    }
    let open_quote = framing.open_quote();
    if !passed && !ended {
        return Stop::More;
    }
    if let Some(quote) = open_quote {
        return match framing.separator().find(held, quote, limit) {
            // Its first line alone is longer than a record may be: that is what is wrong with it.
            None if passed => draft.unfit(limit, None),
            known => draft.unfit(known.unwrap_or(limit), Some(quote)),
        };
    }
    let content = held.get(draft.at..limit).unwrap_or_default();
    if passed || content.len() > limits.record_max {
        return draft.unfit(limit, None);
    }
    let is_none =
        !framing.separator().is_line_end() && content.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
    if is_none || framing.is_blank(content) {
        if !content.is_empty() {
            draft.blank(limit);
        }
    } else if !content.is_empty() {
        draft.record(content.len(), limit);
        draft.unterminated = true;
    }
    framing.restart(limit);
    Stop::End
}

impl Draft {
    fn record(&mut self, length: usize, next: usize) {
        let start = self.at - self.first;
        // `record_max` is held far below 4 GiB, so a slice is too.
        self.spans.push(Span { start: start as u32, end: (start + length) as u32 });
        self.at = next;
    }

    fn blank(&mut self, next: usize) {
        self.at = next;
        if self.spans.is_empty() {
            self.first = next;
            self.skipped_before += 1;
        } else {
            self.skipped += 1;
        }
    }

    /// An unfit record is a slice of its own: what was taken before it is cut first.
    fn unfit(&self, known: usize, open_quote: Option<usize>) -> Stop {
        if self.spans.is_empty() { Stop::Unfit { known, open_quote } } else { Stop::Cut }
    }
}

/// The next slice, or none at the end.
pub(super) fn next_slice<R: Read, F: Framing>(
    text: &mut Text<R>,
    draft: &mut Draft,
    framing: &mut F,
    limits: Limits,
    numbering: &mut Numbering,
) -> Result<Option<Slice>, CutError> {
    loop {
        let stop = frame(text.held(), text.ended(), draft, framing, limits);
        let before = drop_blank_front(text, draft, framing, numbering);
        match stop {
            Stop::More => text.more().map_err(CutError::Read)?,
            Stop::End if draft.spans.is_empty() => return Ok(None),
            Stop::End | Stop::Cut => return Ok(Some(close(text, draft, framing, numbering))),
            Stop::Unfit { known, open_quote } => {
                let open_quote = open_quote.map(|at| at - before);
                let slice = unfit(text, framing.separator(), known - before, open_quote, numbering)?;
                framing.restart(0);
                *draft = Draft::default();
                return Ok(Some(slice));
            }
        }
    }
}

/// Leaves out the blank lines before the draft's first record; how many bytes they were.
fn drop_blank_front<R: Read, F: Framing>(
    text: &mut Text<R>,
    draft: &mut Draft,
    framing: &mut F,
    numbering: &mut Numbering,
) -> usize {
    let before = draft.first;
    text.skip(before);
    framing.shift(before);
    draft.at -= before;
    draft.first = 0;
    numbering.lines += draft.skipped_before;
    numbering.skipped += std::mem::take(&mut draft.skipped_before);
    before
}

/// Makes the draft a slice.
fn close<R: Read, F: Framing>(
    text: &mut Text<R>,
    draft: &mut Draft,
    framing: &mut F,
    numbering: &mut Numbering,
) -> Slice {
    let length = draft.at;
    let offset = text.offset();
    let bytes = text.take(length);
    framing.shift(length);
    // The next slice is likely to have as many records.
    let next_spans = Vec::with_capacity(draft.spans.len());
    let draft = std::mem::replace(draft, Draft { spans: next_spans, ..Draft::default() });
    numbering.unterminated = draft.unterminated;
    let lines = if framing.spans_lines() {
        framing.separator().count_in(&bytes)
    } else {
        draft.spans.len() + draft.skipped as usize
    };
    numbering.slice(offset, bytes, draft.spans, draft.skipped, lines as u64)
}

/// The unfit record at the front as a slice of its own; the text goes on behind its line end.
fn unfit<R: Read>(
    text: &mut Text<R>,
    separator: &Separator,
    known: usize,
    open_quote: Option<usize>,
    numbering: &mut Numbering,
) -> Result<Slice, CutError> {
    let offset = text.offset();
    let held = text.held();
    let lines_inside = |end: usize| separator.count_in(held.get(..end).unwrap_or_default()) as u64;
    let reason = match open_quote {
        Some(quote) => UnfitReason::UnclosedQuote { line: numbering.lines + lines_inside(quote) + 1 },
        None => UnfitReason::TooLong,
    };
    let lines_before_end = lines_inside(known);
    // A copy, so that the failed record does not hold a block that had to grow for it.
    let from = (known + 1).saturating_sub(separator.bytes().len());
    let line = text.skip_line(separator, from, UNFIT_BYTES_MAX).map_err(CutError::Read)?;
    numbering.unterminated = !line.ended;
    let span = Span { start: 0, end: line.beginning.len() as u32 };
    let lines = lines_before_end + u64::from(line.ended);
    let mut slice = numbering.slice(offset, Bytes::from(line.beginning), vec![span], 0, lines);
    slice.oversized = Some(Oversized { length: line.length, reason });
    Ok(slice)
}

impl Numbering {
    /// Numbers a slice and counts on.
    pub(super) fn slice(
        &mut self,
        offset: u64,
        bytes: Bytes,
        records: Vec<Span>,
        skipped: u32,
        lines: u64,
    ) -> Slice {
        let slice = Slice {
            number: self.next_slice,
            entry: self.entry,
            first_record: self.next_record,
            offset,
            first_line: self.lines,
            bytes,
            records,
            skipped,
            oversized: None,
            places: Vec::new(),
        };
        self.next_slice += 1;
        self.next_record += slice.records.len() as u64;
        self.lines += lines;
        slice
    }
}

/// The first record that is not blank, for a header: its bytes without the line end, taken from the text.
pub(super) fn take_first_record<R: Read, F: Framing>(
    text: &mut Text<R>,
    framing: &mut F,
    record_max: usize,
    numbering: &mut Numbering,
) -> Result<FirstRecord, CutError> {
    let mut draft = Draft::default();
    let limits = Limits { record_max, slice_records: 1 };
    loop {
        let stop = frame(text.held(), text.ended(), &mut draft, framing, limits);
        let before = drop_blank_front(text, &mut draft, framing, numbering);
        match stop {
            Stop::More => text.more().map_err(CutError::Read)?,
            Stop::Unfit { open_quote, .. } => {
                let front = |quote: usize| text.held().get(..quote - before).unwrap_or_default();
                let lines_before =
                    |quote: usize| numbering.lines + framing.separator().count_in(front(quote)) as u64;
                let quote_line = open_quote.map(|quote| lines_before(quote) + 1);
                return Ok(FirstRecord::Unfit { quote_line });
            }
            Stop::End | Stop::Cut => {
                framing.restart(0);
                let Some(span) = draft.spans.first().copied() else { return Ok(FirstRecord::None) };
                let line = numbering.lines + 1;
                let bytes = text.take(draft.at);
                numbering.lines += framing.separator().count_in(&bytes) as u64;
                numbering.unterminated = draft.unterminated;
                let bytes = bytes.slice(..(span.end as usize).min(bytes.len()));
                return Ok(FirstRecord::Some { bytes, line });
            }
        }
    }
}

/// What stands where a header is expected.
pub(super) enum FirstRecord {
    /// Nothing but blank lines.
    None,
    /// A record without its line end, and the line on which it begins, from 1.
    Some { bytes: Bytes, line: u64 },
    /// A record that is too long, or whose quote on this line is never closed.
    Unfit { quote_line: Option<u64> },
}
