//! What a cutter must give, told apart from how it does: a framer that looks at one byte after the other.
//!
//! Held against the cutter by the properties beside it and by the fuzz targets.

use std::io::{self, Read};

use super::fields::{csv_value, end_csv_row, split_csv, split_fixed, write_csv_value};
use super::*;
use crate::model::rule::{Fixed, OnBadEncoding};
use crate::model::slice::{Oversized, UnfitReason};

/// Cuts a text that is not of records of one length, and holds what comes out against the simple framer.
pub(crate) fn check_text(text: &[u8], records: &Records, decode: &Decode, block: usize, reads: &[usize]) {
    let whole = cut_in(text, records, decode, BLOCK_BYTES, &[usize::MAX]);
    let in_blocks = cut_in(text, records, decode, block, reads);
    assert_eq!(format!("{whole:?}"), format!("{in_blocks:?}"), "the block's size matters");
    let (mut expected, skipped) = PlainFramer { text, records }.all();
    let whole = match whole {
        Ok(whole) => whole,
        Err(error) => {
            assert!(has_header(records), "only a header can be wrong: {error}");
            return;
        }
    };
    let mut first_record = expected.first().map_or(text.len(), |plain| plain.start);
    if has_header(records) && !expected.is_empty() {
        let header = expected.remove(0);
        assert_eq!(header.unfit, None);
        assert_eq!(whole.shape.header.as_deref(), Some(&text[header.start..header.end]));
        first_record = header.end;
    }
    assert_eq!(flattened(&whole, text, records), expected);
    assert_eq!(whole.skipped(), skipped);
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
    let has_mark = encoding_rs::Encoding::for_bom(text).is_some();
    assert!(count as u64 == text.len() as u64 / length || has_mark || skips, "{count} records");
    if decode.on_bad_encoding == OnBadEncoding::Raw {
        let bytes: Vec<u8> = whole.slices.iter().flat_map(|slice| slice.bytes.to_vec()).collect();
        assert!(text.ends_with(&bytes) && (skips || text.len() - bytes.len() <= 3));
    }
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
                    split_fixed(record, &fixed.fields, &mut spans);
                    assert_eq!(spans.len(), fixed.fields.len());
                    let is_within = |span: &fields::FieldSpan| {
                        span.start <= span.end && span.end as usize <= record.len()
                    };
                    assert!(spans.iter().all(is_within));
                }
                Format::Lines | Format::Jsonl => {}
            }
        }
    }
}

fn csv_values(record: &[u8], csv: &Csv) -> Vec<Vec<u8>> {
    let mut spans = Vec::new();
    split_csv(record, csv, &mut spans);
    spans.iter().map(|span| csv_value(record, *span, csv.quote).into_owned()).collect()
}

/// What was written as one record is one; without a quote character nothing can be protected.
fn check_line(line: &[u8], csv: &Csv, decode: &Decode) {
    if csv.quote.is_none() {
        return;
    }
    let format = Format::Csv(Csv { header: false, ..csv.clone() });
    let records = Records { format, skip_lines: 0, record_max: 8 << 20, slice_records: 1000 };
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

impl PlainFramer<'_> {
    fn line_end(&self, from: usize) -> usize {
        self.text[from..].iter().position(|&byte| byte == b'\n').map_or(self.text.len(), |at| from + at)
    }

    /// Without the `\r` of a line end.
    fn content_end(&self, start: usize, end: usize) -> usize {
        let cr = end < self.text.len() && end > start && self.text[end - 1] == b'\r';
        if cr { end - 1 } else { end }
    }

    /// The end of the record at `start` by its quotes, and the quote open at `until`.
    fn quoted_end(&self, start: usize, until: usize, csv: &Csv) -> Result<usize, Option<usize>> {
        let mut open = None;
        let mut at = start;
        while at < until {
            let byte = self.text[at];
            let quote = Some(byte) == csv.quote;
            if open.is_some() {
                if quote && at + 1 < until && self.text[at + 1] == byte {
                    at += 1;
                } else if quote {
                    open = None;
                }
            } else if byte == b'\n' {
                return Ok(at);
            } else if quote && (at == start || self.text[at - 1] == csv.delimiter) {
                open = Some(at);
            }
            at += 1;
        }
        Err(open)
    }

    fn record(&self, start: usize) -> (usize, Option<UnfitReason>) {
        let passed = start + self.records.record_max as usize + 2;
        let until = passed.min(self.text.len());
        let csv = match &self.records.format {
            Format::Csv(csv) => csv.clone(),
            _ => Csv { header: false, columns: Vec::new(), delimiter: b',', quote: None },
        };
        let too_long = |end: usize| {
            let long = self.content_end(start, end) - start > self.records.record_max as usize;
            (end, long.then_some(UnfitReason::TooLong))
        };
        match self.quoted_end(start, until, &csv) {
            Ok(end) => too_long(end),
            Err(None) => too_long(self.line_end(until)),
            Err(Some(quote)) => {
                let end = self.line_end(quote);
                if end >= until && until == passed {
                    return too_long(end);
                }
                let lines = lines_in(&self.text[..quote]);
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
            if reason.is_none() && self.is_blank(&self.text[at..content]) {
                skipped += 1;
            } else {
                let unfit = reason.map(|reason| Oversized { length: (content - at) as u64, reason });
                found.push(Plain { line, start: at, end: content, unfit });
            }
            let next = (end + 1).min(self.text.len());
            line += lines_in(&self.text[at..next]);
            at = next;
        }
        (found, skipped)
    }
}

fn lines_in(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
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
            let lines = lines_in(&slice.bytes[..span.start as usize]);
            let start = record_offset(slice, at, &records.format) as usize;
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

/// Puts the text together again from what came out; between the parts only skipped lines and line ends may lie.
fn assert_nothing_is_lost(whole: &Whole, text: &[u8], records: &Records, first_record: usize) {
    let mut at = first_record;
    for slice in &whole.slices {
        let offset = slice.offset as usize;
        let between = &text[at..offset];
        assert!(between.iter().all(u8::is_ascii_whitespace), "lost: {between:?}");
        let length = slice.oversized.map_or(slice.bytes.len(), |unfit| unfit.length as usize);
        at = offset + length;
    }
    assert!(text[at..].iter().all(u8::is_ascii_whitespace), "lost at the end under {records:?}");
}

/// Everything that comes out of one entry.
#[derive(Debug, PartialEq)]
pub(super) struct Whole {
    pub(super) shape: EntryShape,
    pub(super) slices: Vec<Slice>,
    pub(super) lines_skipped: u64,
    pub(super) replaced: u64,
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
    let mut cutter = Cutter::with_block_bytes(reader, records, decode, 3, "in.csv".into(), 7, block)?;
    let shape = cutter.shape()?;
    let mut slices = Vec::new();
    while let Some(slice) = cutter.next_slice()? {
        slices.push(slice);
    }
    assert!(cutter.next_slice()?.is_none(), "the end is the end");
    Ok(Whole { shape, slices, lines_skipped: cutter.lines_skipped(), replaced: cutter.characters_replaced() })
}
