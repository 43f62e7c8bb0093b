//! What the cutter promises, on whole entries.

use std::io::{self, Read};

use super::block::BLOCK_BYTES;
use super::limits::{SLICE_BYTES_MAX, UNFIT_BYTES_MAX};
use super::oracle::{Whole, cut_in};
use super::*;
use crate::model::rule::{Csv, Decode, Fixed, FixedField, Format, OnBadEncoding, OnMisfit, Records};
use crate::model::slice::{Slice, UnfitReason};

// It runs Python.
#[cfg(unix)]
mod differential;
mod lengths;
mod promises;
mod properties;

pub(super) fn decode() -> Decode {
    Decode {
        layers: Vec::new(),
        require_encrypted: false,
        require_signed: false,
        signers: Vec::new(),
        identities: Vec::new(),
        passphrase_file: None,
        symmetric_encryption: Vec::new(),
        entries: Vec::new(),
        entries_max: 1,
        depth_max: 1,
        expanded_max: 1,
        ratio_max: 1,
        time_max: std::time::Duration::MAX,
        work_factor_max: 18,
        encoding: "utf-8".into(),
        on_bad_encoding: OnBadEncoding::Fail,
    }
}

pub(super) fn records(format: Format) -> Records {
    Records { format, skip_lines: 0, record_max: 8 << 20, slice_records: 1000, separator: None }
}

fn csv(header: bool) -> Csv {
    Csv { header, columns: Vec::new(), delimiter: b',', quote: Some(b'"'), escape: None, columns_max: 10_000 }
}

pub(super) fn csv_records(header: bool) -> Records {
    records(Format::Csv(csv(header)))
}

fn by_length(record_length: u64) -> Records {
    let fields =
        vec![FixedField { name: "id".into(), width: 2 }, FixedField { name: "name".into(), width: 3 }];
    records(Format::Fixed(Fixed { fields, record_length: Some(record_length), on_misfit: OnMisfit::Fail }))
}

impl Whole {
    fn texts(&self) -> Vec<String> {
        let texts = |slice: &Slice| -> Vec<String> {
            slice.records.iter().map(|span| String::from_utf8_lossy(of(slice, *span)).into_owned()).collect()
        };
        self.slices.iter().flat_map(texts).collect()
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
