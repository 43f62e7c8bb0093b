//! Record formats: any text is cut into the same records whatever the sizes of blocks and reads, and nothing of it is lost.
//!
//! Input: format, `record_max`, `slice_records`, `skip_lines`, sizes of blocks and reads, what records of one length are in, and the text.

use super::Input;
use super::decoding::rule;
use crate::model::rule::{Csv, Decode, Fixed, FixedField, Format, OnBadEncoding, OnMisfit, Records};
use crate::record::oracle;

pub(super) fn check(data: &[u8]) {
    let mut input = Input(data);
    let format = input.byte();
    let records = Records {
        record_max: input.one_of(&[1 << 20, 1000, 39, 7, 2, 1]),
        slice_records: input.one_of(&[1000, 1, 2, 3, 7]),
        skip_lines: input.one_of(&[0, 1, 3]),
        format: Format::Lines,
        separator: None,
    };
    let block = input.one_of(&[1, 2, 3, 16, 64, 300, 4096]);
    let reads = [1 + input.byte() as usize % 40, 1 + input.byte() as usize % 300];
    let (encoding, on_bad, length) = (input.byte(), input.byte(), input.byte());
    // The high bits of what says little else.
    let separator = [None, None, None, Some("~"), Some("\r\n"), Some("<>"), Some("\n"), Some("\r")]
        [encoding as usize >> 5];
    let escape = Some(b'\\').filter(|_| on_bad >= 128);
    let decode = Decode {
        encoding: ["utf-8", "windows-1252", "shift_jis", "utf-16be"][encoding as usize % 4].to_owned(),
        on_bad_encoding: [OnBadEncoding::Fail, OnBadEncoding::Replace, OnBadEncoding::Raw]
            [on_bad as usize % 3],
        ..rule()
    };
    let csv = |header, delimiter, quote| {
        Format::Csv(Csv {
            header,
            columns: Vec::new(),
            delimiter,
            quote,
            columns_max: 100,
            escape: escape.filter(|_| quote.is_some()),
        })
    };
    let format = match format % 8 {
        0 => Format::Lines,
        1 => Format::Jsonl,
        2 => csv(false, b',', Some(b'"')),
        3 => csv(true, b',', Some(b'"')),
        4 => csv(false, b';', Some(b'\'')),
        5 => csv(true, b'\t', None),
        6 => fixed(None),
        _ => fixed(Some(u64::from(length % 20) + 1)),
    };
    let is_default =
        separator == Some("\n") && !matches!(&format, Format::Fixed(Fixed { record_length: Some(_), .. }));
    let separator = separator.filter(|_| !is_default).map(str::to_owned);
    let records = Records { format, separator, ..records };
    if matches!(&records.format, Format::Fixed(fixed) if fixed.record_length.is_some()) {
        oracle::check_by_length(input.0, &records, &decode, block, &reads);
    } else {
        oracle::check_text(input.0, &records, &decode, block, &reads);
    }
}

fn fixed(record_length: Option<u64>) -> Format {
    let fields = [("id", 2), ("name", 3)].map(|(name, width)| FixedField { name: name.to_owned(), width });
    Format::Fixed(Fixed { fields: fields.to_vec(), record_length, on_misfit: OnMisfit::default() })
}
