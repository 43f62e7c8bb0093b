//! For any text, block size and read size.

use proptest::prelude::*;

use super::*;
use crate::model::slice::Oversized;

fn format() -> impl Strategy<Value = Format> {
    prop_oneof![
        Just(Format::Lines),
        Just(Format::Jsonl),
        Just(Format::Csv(csv(false))),
        Just(Format::Csv(csv(true))),
        Just(Format::Csv(Csv { quote: None, ..csv(true) })),
    ]
}

/// Bytes that mean something, and records of all lengths around the limits.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(&b"a,\"\n\r \n\"b"[..]).prop_map(|byte| vec![byte]),
        1 => (1usize..40).prop_map(|length| vec![b'x'; length]),
        1 => Just(b"\"\"".to_vec()),
        1 => Just(b"1,\"q\r\nr\",2\r\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// A record as a simple framer sees it: where it begins and ends, and what is wrong with it.
#[derive(Debug, PartialEq)]
struct Plain {
    line: u64,
    start: usize,
    end: usize,
    unfit: Option<Oversized>,
}

/// Frames the whole text byte by byte, from the rules alone.
struct PlainFramer<'a> {
    text: &'a [u8],
    records: &'a Records,
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
            _ => Csv { quote: None, ..csv(false) },
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
    fn all(&self) -> (Vec<Plain>, u64) {
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
fn flattened(whole: &Whole, text: &[u8], records: &Records) -> Vec<Plain> {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_cut_as_a_simple_framer_frames_it(
        text in text(),
        format in format(),
        record_max in prop_oneof![1u64..40, Just(1 << 20)],
        slice_records in 1u32..8,
        skip_lines in 0u64..3,
        block in 1usize..300,
        reads in prop::collection::vec(1usize..40, 1..4),
    ) {
        let records = Records { format, skip_lines, record_max, slice_records };
        let whole = try_cut(&text, &records);
        let in_blocks = cut_in(&text, &records, &decode(), block, &reads);
        prop_assert_eq!(format!("{:?}", &whole), format!("{:?}", in_blocks), "the block's size matters");
        let (mut expected, skipped) = PlainFramer { text: &text, records: &records }.all();
        let Ok(whole) = whole else {
            prop_assert!(has_header(&records), "only a header can be wrong: {:?}", whole);
            return Ok(());
        };
        let mut first_record = expected.first().map_or(text.len(), |plain| plain.start);
        if has_header(&records) && !expected.is_empty() {
            let header = expected.remove(0);
            prop_assert_eq!(header.unfit, None);
            prop_assert_eq!(whole.shape.header.as_deref(), Some(&text[header.start..header.end]));
            first_record = header.end;
        }
        prop_assert_eq!(flattened(&whole, &text, &records), expected);
        prop_assert_eq!(whole.skipped(), skipped);
        assert_nothing_is_lost(&whole, &text, &records, first_record);
    }

    #[test]
    fn records_of_a_length_come_out_whole_whatever_the_blocks(
        text in prop::collection::vec(any::<u8>(), 0..200),
        length in 1u64..20,
        slice_records in 1u32..6,
        block in 1usize..50,
        encoding in prop::sample::select(&["utf-8", "windows-1252", "shift_jis", "utf-16be"][..]),
        on_bad in prop::sample::select(&[OnBadEncoding::Fail, OnBadEncoding::Replace, OnBadEncoding::Raw][..]),
    ) {
        let records = Records { slice_records, ..by_length(length) };
        let decode = Decode { encoding: encoding.into(), on_bad_encoding: on_bad, ..decode() };
        let whole = cut_in(&text, &records, &decode, BLOCK_BYTES, &[usize::MAX]);
        let in_blocks = cut_in(&text, &records, &decode, block, &[3, 1]);
        prop_assert_eq!(format!("{:?}", &whole), format!("{:?}", in_blocks));
        if let Ok(whole) = whole {
            let count: usize = whole.slices.iter().map(|slice| slice.records.len()).sum();
            prop_assert!(count == text.len() / length as usize || text.starts_with(b"\xFE\xFF") || text.starts_with(b"\xFF\xFE"));
            if on_bad == OnBadEncoding::Raw {
                let bytes: Vec<u8> = whole.slices.iter().flat_map(|slice| slice.bytes.to_vec()).collect();
                prop_assert!(text.ends_with(&bytes) && text.len() - bytes.len() <= 3);
            }
        }
    }
}

/// Goal: limits of slices hold at their real size too.
#[test]
fn big_texts_are_cut_alike_in_any_block() {
    let mut text = Vec::new();
    for index in 0..6000_usize {
        text.extend_from_slice(format!("{index},{}", "y".repeat(index * 7919 % 90)).as_bytes());
        if index % 50 == 0 {
            text.extend_from_slice(format!(",\"{}\"", "quoted\n\"\"".repeat(index * 31 % 4000)).as_bytes());
        }
        text.extend_from_slice(if index % 9 == 0 { b"\r\n\n" } else { b"\n" });
    }
    let records = Records { record_max: 70_000, ..csv_records(false) };
    let whole = try_cut(&text, &records).expect("is cut");
    let (expected, skipped) = PlainFramer { text: &text, records: &records }.all();
    assert_eq!(flattened(&whole, &text, &Records { record_max: 70_000, ..csv_records(false) }), expected);
    assert_eq!(whole.skipped(), skipped);
    for (block, read) in [(1000, 4096), (65_536, 300), (100_000, 100_000)] {
        let other = cut_in(&text, &records, &decode(), block, &[read]).expect("is cut");
        assert!(other == whole, "blocks of {block}");
    }
}
