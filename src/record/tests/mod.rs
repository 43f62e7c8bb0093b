//! What the cutter promises, on whole entries.

use std::io::{self, Read};

use super::*;
use crate::model::rule::{Fixed, FixedField, OnBadEncoding};
use crate::model::slice::UnfitReason;

mod lengths;
mod promises;
mod properties;

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

fn decode() -> Decode {
    Decode {
        layers: Vec::new(),
        require_encrypted: false,
        identities: Vec::new(),
        passphrase_file: None,
        entries: Vec::new(),
        entries_max: 1,
        depth_max: 1,
        expanded_max: 1,
        ratio_max: 1,
        encoding: "utf-8".into(),
        on_bad_encoding: OnBadEncoding::Fail,
    }
}

fn records(format: Format) -> Records {
    Records { format, skip_lines: 0, record_max: 8 << 20, slice_records: 1000 }
}

fn csv(header: bool) -> Csv {
    Csv { header, columns: Vec::new(), delimiter: b',', quote: Some(b'"') }
}

fn csv_records(header: bool) -> Records {
    records(Format::Csv(csv(header)))
}

fn by_length(record_length: u64) -> Records {
    let fields =
        vec![FixedField { name: "id".into(), width: 2 }, FixedField { name: "name".into(), width: 3 }];
    records(Format::Fixed(Fixed { fields, record_length: Some(record_length) }))
}

/// Everything that comes out of one entry.
#[derive(Debug, PartialEq)]
struct Whole {
    shape: EntryShape,
    slices: Vec<Slice>,
    lines_skipped: u64,
    replaced: u64,
}

impl Whole {
    fn texts(&self) -> Vec<String> {
        let texts = |slice: &Slice| -> Vec<String> {
            slice.records.iter().map(|span| String::from_utf8_lossy(of(slice, *span)).into_owned()).collect()
        };
        self.slices.iter().flat_map(texts).collect()
    }

    fn skipped(&self) -> u64 {
        self.lines_skipped + self.slices.iter().map(|slice| u64::from(slice.skipped)).sum::<u64>()
    }

    fn unfit(&self) -> Vec<(String, u64, UnfitReason)> {
        let unfit = |slice: &Slice| {
            let oversized = slice.oversized?;
            Some((String::from_utf8_lossy(&slice.bytes).into_owned(), oversized.length, oversized.reason))
        };
        self.slices.iter().filter_map(unfit).collect()
    }
}

fn of(slice: &Slice, span: crate::model::slice::Span) -> &[u8] {
    &slice.bytes[span.start as usize..span.end as usize]
}

fn cut_in(
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

/// Cut with ordinary blocks, after trying others for the same outcome.
fn cut(text: &[u8], records: &Records) -> Whole {
    let whole = try_cut(text, records).expect("the text can be cut");
    for (block, reads) in [(1, vec![1]), (3, vec![2, 5]), (64, vec![64])] {
        let other = cut_in(text, records, &decode(), block, &reads).expect("the text can be cut");
        assert_eq!(other, whole, "in blocks of {block}");
    }
    whole
}

fn try_cut(text: &[u8], records: &Records) -> Result<Whole, CutError> {
    cut_in(text, records, &decode(), BLOCK_BYTES, &[usize::MAX])
}
