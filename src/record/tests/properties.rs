//! For any text, block size and read size.

use proptest::prelude::*;

use super::oracle::{self, PlainFramer, flattened};
use super::*;

fn format() -> impl Strategy<Value = Format> {
    prop_oneof![
        Just(Format::Lines),
        Just(Format::Jsonl),
        Just(Format::Csv(csv(false))),
        Just(Format::Csv(csv(true))),
        Just(Format::Csv(Csv { quote: None, ..csv(true) })),
        Just(Format::Csv(Csv { escape: Some(b'\\'), ..csv(false) })),
        Just(Format::Csv(Csv { escape: Some(b'\\'), ..csv(true) })),
    ]
}

/// Bytes that mean something, and records of all lengths around the limits.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        12 => prop::sample::select(&b"a,\"\n\r \n\"b~<>\\"[..]).prop_map(|byte| vec![byte]),
        1 => Just(b"1,\"a\\\"\"\n2,\"b\"\n".to_vec()),
        1 => Just(b"<>".to_vec()),
        1 => (1usize..40).prop_map(|length| vec![b'x'; length]),
        1 => Just(b"\"\"".to_vec()),
        1 => Just(b"1,\"q\r\nr\",2\r\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn separator() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        3 => Just(None),
        4 => prop::sample::select(&["~", "\r", "\r\n", "<>", "~<>"][..]).prop_map(|text| Some(text.to_owned())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_is_cut_as_a_simple_framer_frames_it(
        text in text(),
        format in format(),
        separator in separator(),
        record_max in prop_oneof![1u64..40, Just(1 << 20)],
        slice_records in 1u32..8,
        skip_lines in 0u64..3,
        block in 1usize..300,
        reads in prop::collection::vec(1usize..40, 1..4),
    ) {
        let records = Records { format, skip_lines, record_max, slice_records, separator };
        oracle::check_text(&text, &records, &decode(), block, &reads);
    }

    #[test]
    fn each_record_that_was_cut_is_one_by_itself(
        text in text(), format in format(), separator in separator(), slice_records in 1u32..8,
    ) {
        let records = Records { format, skip_lines: 0, record_max: 1 << 20, slice_records, separator };
        let mut cutter = Cutter::new(text.as_slice(), &records, &decode(), 0, String::new(), 0).expect("begins");
        let Ok(shape) = cutter.shape() else { return Ok(()) };
        while let Ok(Some(slice)) = cutter.next_slice() {
            let is_last = cutter.is_unterminated(); // it may end with half of a separator
            for span in slice.records.iter().filter(|_| slice.oversized.is_none() && !is_last) {
                let why = why_no_record(of(&slice, *span), &shape, &records, &decode());
                // Bytes behind a quote of the next record may have ended this one at its first line end.
                prop_assert!(why.as_ref().is_none_or(|why| why.contains("never closed")), "{why:?}");
            }
        }
    }

    #[test]
    fn records_of_a_length_come_out_whole_whatever_the_blocks(
        text in prop::collection::vec(any::<u8>(), 0..200),
        length in 1u64..20,
        slice_records in 1u32..6,
        block in 1usize..50,
        separator in prop::sample::select(&["", "\n", "\r\n"][..]),
        encoding in prop::sample::select(&["utf-8", "windows-1252", "shift_jis", "utf-16be"][..]),
        on_bad in prop::sample::select(&[OnBadEncoding::Fail, OnBadEncoding::Replace, OnBadEncoding::Raw][..]),
    ) {
        let separator = Some(separator.to_owned()).filter(|text| !text.is_empty());
        let text = match &separator {
            // As often with each as it should be as not.
            Some(text_of) if length % 2 == 1 => {
                let rows: Vec<&[u8]> = text.chunks(length as usize).collect();
                rows.join(text_of.as_bytes())
            }
            _ => text,
        };
        let records = Records { slice_records, separator, ..by_length(length) };
        let decode = Decode { encoding: encoding.into(), on_bad_encoding: on_bad, ..decode() };
        oracle::check_by_length(&text, &records, &decode, block, &[3, 1]);
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
