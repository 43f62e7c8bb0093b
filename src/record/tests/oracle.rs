//! What a cutter must give, told apart from how it does: a framer that looks at one byte after the other.
//!
//! Held against the cutter by the properties beside it and by the fuzz targets.

use std::io::{self, Read};

use super::block::BLOCK_BYTES;
use super::limits::SLICE_BYTES_MAX;
use super::*;
use crate::format::Unit;
use crate::format::fields::{FieldSpan, csv_value, end_csv_row, split_csv, split_fixed, write_csv_value};
use crate::model::rule::{Csv, Decode, Fixed, Format, OnBadEncoding, Records};
use crate::model::slice::{EntryShape, Oversized, Slice, UnfitReason};

/// Cuts a text that is not of records of one length, and holds what comes out against the simple framer.
pub(crate) fn check_text(text: &[u8], records: &Records, decode: &Decode, block: usize, reads: &[usize]) {
    let whole = cut_in(text, records, decode, BLOCK_BYTES, &[usize::MAX]);
    let in_blocks = cut_in(text, records, decode, block, reads);
    assert_eq!(format!("{whole:?}"), format!("{in_blocks:?}"), "the block's size matters");
    let (mut expected, skipped) = PlainFramer { text, records }.all();
    let whole = match whole {
        Ok(whole) => whole,
        Err(error) => {
            let is_old_mac = matches!(error, CutError::CarriageReturns { .. });
            assert!(has_header(records) || is_old_mac, "only a header can be wrong: {error}");
            assert!(!is_old_mac || (records.separator.is_none() && expected.len() <= 2), "{error}");
            return;
        }
    };
    let mut first_record = expected.first().map_or(text.len(), |plain| plain.start);
    if has_header(records) && !expected.is_empty() {
        let header = expected.remove(0);
        assert_eq!(header.unfit, None);
        assert_eq!(whole.shape.header.as_deref().map(Vec::as_slice), Some(&text[header.start..header.end]));
        first_record = header.end;
    }
    assert_eq!(flattened(&whole, text, records), expected);
    assert_eq!(whole.skipped(), skipped);
    assert_eq!(whole.unterminated, is_unterminated(text, records, &whole, first_record), "of {text:?}");
    assert_nothing_is_lost(&whole, text, records, first_record);
    check_fields(&whole, records, decode);
}

/// Cuts records of one length, and counts them.
pub(crate) fn check_by_length(
    text: &[u8],
    records: &Records,
    decode: &Decode,
    block: usize,
    reads: &[usize],
) {
    let Format::Fixed(Fixed { record_length: Some(length), .. }) = &records.format else { return };
    let whole = cut_in(text, records, decode, BLOCK_BYTES, &[usize::MAX]);
    let in_blocks = cut_in(text, records, decode, block, reads);
    assert_eq!(format!("{whole:?}"), format!("{in_blocks:?}"), "the block's size matters");
    let Ok(whole) = whole else { return };
    let skips = records.skip_lines > 0;
    let count: usize = whole.slices.iter().map(|slice| slice.records.len()).sum();
    let is_raw = decode.on_bad_encoding == OnBadEncoding::Raw;
    let has_mark = !is_raw && encoding_rs::Encoding::for_bom(text).is_some();
    let separator = records.separator.as_ref().map_or(0, String::len) as u64;
    let expected = (text.len() as u64 + separator) / (length + separator);
    assert!(count as u64 == expected || has_mark || skips, "{count} records");
    if is_raw {
        let bytes: Vec<u8> = whole.slices.iter().flat_map(|slice| slice.bytes.to_vec()).collect();
        assert!(bytes == text || (skips && text.ends_with(&bytes)));
        let spans = whole.slices.iter().flat_map(|slice| &slice.records);
        assert!(spans.into_iter().all(|span| u64::from(span.end - span.start) == *length));
    }
}

/// Whether what stands last is a record, or a header, without its end.
fn is_unterminated(text: &[u8], records: &Records, whole: &Whole, header_end: usize) -> bool {
    let separator = records.separator.as_deref().unwrap_or("\n").as_bytes();
    let last = match whole.slices.last() {
        Some(slice) if slice.oversized.is_some() => {
            slice.offset as usize + slice.oversized.map_or(0, |unfit| unfit.length as usize)
        }
        Some(slice) => slice.offset as usize + slice.records.last().map_or(0, |span| span.end as usize),
        None if whole.shape.header.is_some() => header_end,
        None => return false,
    };
    !text[last..].windows(separator.len()).any(|window| window == separator)
}

/// The values of each record are within it, and written and cut again they are the same.
fn check_fields(whole: &Whole, records: &Records, decode: &Decode) {
    let mut spans = Vec::new();
    for slice in whole.slices.iter().filter(|slice| slice.oversized.is_none()) {
        for span in &slice.records {
            let record = &slice.bytes[span.start as usize..span.end as usize];
            match &records.format {
                Format::Csv(csv) => {
                    let values = csv_values(record, csv);
                    let mut line = Vec::new();
                    for (at, value) in values.iter().enumerate() {
                        line.extend((at > 0).then_some(csv.delimiter));
                        write_csv_value(value, csv, &mut line);
                    }
                    end_csv_row(csv, 0, &mut line);
                    assert_eq!(csv_values(&line, csv), values, "they change in writing");
                    check_line(&line, csv, decode);
                }
                Format::Fixed(fixed) => {
                    split_fixed(record, &fixed.fields, Unit::of(records, decode), &mut spans);
                    assert_eq!(spans.len(), fixed.fields.len());
                    let is_within =
                        |span: &FieldSpan| span.start <= span.end && span.end as usize <= record.len();
                    assert!(spans.iter().all(is_within));
                }
                Format::Lines | Format::Jsonl => {}
            }
        }
    }
}

fn csv_values(record: &[u8], csv: &Csv) -> Vec<Vec<u8>> {
    let mut spans = Vec::new();
    split_csv(record, csv, &mut spans).ok();
    spans.iter().map(|span| csv_value(record, *span, csv).into_owned()).collect()
}

/// What was written as one record is one; without a quote character nothing can be protected.
fn check_line(line: &[u8], csv: &Csv, decode: &Decode) {
    if csv.quote.is_none() {
        return;
    }
    let format = Format::Csv(Csv { header: false, ..csv.clone() });
    let records =
        Records { format, skip_lines: 0, record_max: 8 << 20, slice_records: 1000, separator: None };
    let text = [line, b"\n"].concat();
    let whole = cut_in(&text, &records, decode, BLOCK_BYTES, &[usize::MAX]).expect("it has no header");
    let found: Vec<_> = whole.slices.iter().flat_map(|slice| slice.records.clone()).collect();
    assert!(found.len() == 1 && found[0].end as usize == line.len(), "{found:?} of {line:?}");
}

/// A record as a simple framer sees it: where it begins and ends, and what is wrong with it.
#[derive(Debug, PartialEq)]
pub(super) struct Plain {
    line: u64,
    start: usize,
    end: usize,
    unfit: Option<Oversized>,
}

/// Frames the whole text byte by byte, from the rules alone.
pub(super) struct PlainFramer<'a> {
    pub(super) text: &'a [u8],
    pub(super) records: &'a Records,
}

/// What stands behind a closing quote.
#[derive(PartialEq)]
enum Behind {
    End,
    Other,
}

impl PlainFramer<'_> {
    fn separator(&self) -> &[u8] {
        self.records.separator.as_deref().unwrap_or("\n").as_bytes()
    }

    fn is_default(&self) -> bool {
        self.records.separator.is_none()
    }

    /// The last byte of the first separator that lies behind `from`.
    fn line_end(&self, from: usize) -> usize {
        let length = self.separator().len();
        let found = self.text[from..].windows(length).position(|window| window == self.separator());
        found.map_or(self.text.len(), |at| from + at + length - 1)
    }

    /// Without the separator, and the `\r` of a line end.
    fn content_end(&self, start: usize, end: usize) -> usize {
        if end >= self.text.len() {
            return self.text.len();
        }
        let end = end + 1 - self.separator().len();
        let cr = self.is_default() && end > start && self.text[end - 1] == b'\r';
        if cr { end - 1 } else { end }
    }

    fn behind(&self, from: usize, until: usize, csv: &Csv) -> Behind {
        let rest = &self.text[from..until];
        let mut ends: Vec<&[u8]> = vec![self.separator(), std::slice::from_ref(&csv.delimiter)];
        ends.extend(self.is_default().then_some(&b"\r\n"[..]));
        // What cannot be told yet is no fault yet.
        let is_end = ends.iter().any(|end| rest.starts_with(end) || end.starts_with(rest));
        if is_end { Behind::End } else { Behind::Other }
    }

    /// The end of the record at `start` by its quotes, and the quote open at `until`.
    fn quoted_end(&self, start: usize, until: usize, csv: &Csv) -> Result<usize, Option<usize>> {
        let (mut open, mut is_broken, mut at) = (None, false, start);
        while at < until {
            let byte = self.text[at];
            let next = self.text.get(at + 1).copied().filter(|_| at + 1 < until);
            let quote = Some(byte) == csv.quote && !is_broken;
            if let Some(opened) = open {
                let is_escape = Some(byte) == csv.escape && (next == csv.quote || next == csv.escape);
                if next.is_some() && (is_escape || (quote && next == csv.quote)) {
                    at += 1;
                } else if quote {
                    open = None;
                    if self.behind(at + 1, until, csv) == Behind::Other {
                        is_broken = true;
                        let end = self.line_end(opened);
                        if end < until {
                            return Ok(end);
                        }
                    }
                }
            } else if self.text[start..=at].ends_with(self.separator()) {
                return Ok(at);
            } else if quote && (at == start || self.text[at - 1] == csv.delimiter) {
                open = Some(at);
            }
            at += 1;
        }
        Err(open)
    }

    fn record(&self, start: usize) -> (usize, Option<UnfitReason>) {
        let ends = if self.is_default() { 2 } else { self.separator().len() };
        let passed = start + self.records.record_max as usize + ends;
        let until = passed.min(self.text.len());
        let csv = match &self.records.format {
            Format::Csv(csv) => csv.clone(),
            _ => Csv {
                header: false,
                columns: Vec::new(),
                delimiter: b',',
                quote: None,
                escape: None,
                columns_max: 10_000,
            },
        };
        let too_long = |end: usize| {
            let long = self.content_end(start, end) - start > self.records.record_max as usize;
            (end, long.then_some(UnfitReason::TooLong))
        };
        match self.quoted_end(start, until, &csv) {
            Ok(end) => too_long(end),
            Err(None) => {
                too_long(self.line_end((until + 1).saturating_sub(self.separator().len()).max(start)))
            }
            Err(Some(quote)) => {
                let end = self.line_end(quote);
                if end >= until && until == passed {
                    return too_long(end);
                }
                let lines = self.lines_in(0, quote);
                (end, Some(UnfitReason::UnclosedQuote { line: lines + 1 }))
            }
        }
    }

    fn is_blank(&self, line: &[u8]) -> bool {
        match self.records.format {
            Format::Csv(_) => line.is_empty(),
            Format::Jsonl => line.iter().all(u8::is_ascii_whitespace),
            _ => false,
        }
    }

    /// All records, the header too, and how many lines are none.
    pub(super) fn all(&self) -> (Vec<Plain>, u64) {
        let (mut found, mut skipped, mut at, mut line) = (Vec::new(), 0, 0, 0);
        for _ in 0..self.records.skip_lines {
            if at < self.text.len() {
                at = (self.line_end(at) + 1).min(self.text.len());
                (line, skipped) = (line + 1, skipped + 1);
            }
        }
        while at < self.text.len() {
            let (end, reason) = self.record(at);
            let content = self.content_end(at, end);
            let record = &self.text[at..content];
            let is_rest = !self.is_default() && end >= self.text.len();
            let is_none = is_rest && record.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            if reason.is_none() && (is_none || self.is_blank(record)) {
                skipped += 1;
            } else {
                let unfit = reason.map(|reason| Oversized { length: (content - at) as u64, reason });
                found.push(Plain { line, start: at, end: content, unfit });
            }
            let next = (end + 1).min(self.text.len());
            line += self.lines_in(at, next);
            at = next;
        }
        (found, skipped)
    }

    fn lines_in(&self, from: usize, until: usize) -> u64 {
        lines_in(&self.text[from..until], self.records.separator.as_deref())
    }
}

fn has_header(records: &Records) -> bool {
    matches!(&records.format, Format::Csv(csv) if csv.header)
}

/// Slices as records, checked against each other on the way.
pub(super) fn flattened(whole: &Whole, text: &[u8], records: &Records) -> Vec<Plain> {
    let mut found: Vec<Plain> = Vec::new();
    let mut number = 1;
    for (index, slice) in whole.slices.iter().enumerate() {
        assert_eq!(slice.number, 7 + index as u64, "slices are numbered without gaps");
        assert_eq!((slice.entry, slice.first_record), (3, number));
        assert!(!slice.records.is_empty() && slice.records.len() <= records.slice_records as usize);
        assert!(slice.records.len() == 1 || slice.bytes.len() <= SLICE_BYTES_MAX);
        number += slice.records.len() as u64;
        let offset = slice.offset as usize;
        assert_eq!(slice.bytes[..], text[offset..offset + slice.bytes.len()], "bytes are the text's");
        for (at, span) in slice.records.iter().enumerate() {
            let before = &slice.bytes[..span.start as usize];
            let lines = lines_in(before, records.separator.as_deref());
            let start = record_offset(slice, at, records) as usize;
            let length = slice.oversized.map_or(u64::from(span.end - span.start), |unfit| unfit.length);
            found.push(Plain {
                line: slice.first_line + lines,
                start,
                end: start + length as usize,
                unfit: slice.oversized,
            });
        }
    }
    found
}

/// Puts the text together again from what came out; between the parts only skipped lines and separators may lie.
fn assert_nothing_is_lost(whole: &Whole, text: &[u8], records: &Records, first_record: usize) {
    let separator = records.separator.as_deref().unwrap_or("\n");
    let is_nothing = |between: &[u8]| {
        let rest = String::from_utf8_lossy(between).replace(separator, "");
        rest.bytes().all(|byte| byte.is_ascii_whitespace())
    };
    let mut at = first_record;
    for slice in &whole.slices {
        let offset = slice.offset as usize;
        assert!(is_nothing(&text[at..offset]), "lost: {:?}", &text[at..offset]);
        let length = slice.oversized.map_or(slice.bytes.len(), |unfit| unfit.length as usize);
        at = offset + length;
    }
    assert!(is_nothing(&text[at..]), "lost at the end under {records:?}");
}

/// Everything that comes out of one entry.
#[derive(Debug, PartialEq)]
pub(super) struct Whole {
    pub(super) shape: EntryShape,
    pub(super) slices: Vec<Slice>,
    pub(super) lines_skipped: u64,
    pub(super) replaced: u64,
    pub(super) unterminated: bool,
}

impl Whole {
    pub(super) fn skipped(&self) -> u64 {
        self.lines_skipped + self.slices.iter().map(|slice| u64::from(slice.skipped)).sum::<u64>()
    }
}

/// A reader that gives few bytes at a time, of sizes that go round.
struct Trickle<'a> {
    text: &'a [u8],
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.turn % self.sizes.len()].max(1);
        self.turn += 1;
        let count = size.min(room.len()).min(self.text.len());
        room[..count].copy_from_slice(&self.text[..count]);
        self.text = &self.text[count..];
        Ok(count)
    }
}

pub(super) fn cut_in(
    text: &[u8],
    records: &Records,
    decode: &Decode,
    block: usize,
    reads: &[usize],
) -> Result<Whole, CutError> {
    let reader = Trickle { text, sizes: reads.to_vec(), turn: 0 };
    let mut cutter = Cutter::new(reader, records, decode, 3, "in.csv".into(), 7)?.with_block_bytes(block);
    let shape = cutter.shape()?;
    let mut slices = Vec::new();
    while let Some(slice) = cutter.next_slice()? {
        slices.push(slice);
    }
    assert!(cutter.next_slice()?.is_none(), "the end is the end");
    Ok(Whole {
        shape,
        slices,
        lines_skipped: cutter.lines_skipped(),
        replaced: cutter.characters_replaced(),
        unterminated: cutter.is_unterminated(),
    })
}
