//! Fixed records: by line, and by length before decoding.

use super::*;
use crate::model::fault::Fault;
use crate::model::quoted::Quotes;

fn in_encoding(encoding: &str, on_bad_encoding: OnBadEncoding) -> Decode {
    Decode { encoding: encoding.into(), on_bad_encoding, ..decode() }
}

fn cut_as(text: &[u8], length: u64, encoding: &str, on_bad: OnBadEncoding) -> Result<Whole, CutError> {
    let records = Records { slice_records: 2, ..by_length(length) };
    let decode = in_encoding(encoding, on_bad);
    let whole = cut_in(text, &records, &decode, BLOCK_BYTES, &[usize::MAX]);
    let other = cut_in(text, &records, &decode, 3, &[2, 1]);
    assert_eq!(format!("{whole:?}"), format!("{other:?}"));
    whole
}

#[test]
fn fixed_by_line_takes_every_line_and_names_the_fields() {
    let Format::Fixed(mut fixed) = by_length(1).format else { unreachable!("made so") };
    fixed.record_length = None;
    let whole = cut(b"12abc\r\n\n34", &records(Format::Fixed(fixed)));
    assert_eq!(whole.texts(), ["12abc", "", "34"]);
    assert_eq!(whole.shape.columns, Some(std::sync::Arc::new(vec!["id".into(), "name".into()])));
}

#[test]
fn records_of_a_length_are_counted_in_bytes() {
    let whole = cut_as(b"12abc34\nef56ghi", 5, "utf-8", OnBadEncoding::Fail).expect("is cut");
    assert_eq!(whole.texts(), ["12abc", "34\nef", "56ghi"]);
    let records = by_length(5);
    assert_eq!(whole.slices[1].first_record, 3);
    assert_eq!(record_offset(&whole.slices[0], 1, &records), 5);
    assert_eq!(record_offset(&whole.slices[1], 0, &records), 10);
}

#[test]
fn each_record_is_decoded_after_it_is_cut() {
    let whole = cut_as(b"1\xE42\xF63\xFC", 2, "windows-1252", OnBadEncoding::Fail).expect("is cut");
    assert_eq!(whole.texts(), ["1ä", "2ö", "3ü"]);
    assert_eq!(record_offset(&whole.slices[1], 0, &by_length(2)), 4);
    let wide: Vec<u8> = "\u{FEFF}äbcd".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(cut_as(&wide, 4, "utf-8", OnBadEncoding::Fail).expect("is cut").texts(), ["äb", "cd"]);
}

#[test]
fn bad_bytes_fail_are_replaced_and_counted_or_pass() {
    let text = b"ab\xFFd\xE4\xBDgh";
    let error = cut_as(text, 4, "utf-8", OnBadEncoding::Fail).expect_err("no UTF-8");
    assert_eq!(error.to_string(), "byte 0 of in.csv: record 1 is not UTF-8");
    let whole = cut_as(text, 4, "utf-8", OnBadEncoding::Replace).expect("is cut");
    assert_eq!((whole.texts(), whole.replaced), (vec!["ab\u{FFFD}d".to_owned(), "\u{FFFD}gh".to_owned()], 2));
    let whole = cut_as(text, 4, "utf-8", OnBadEncoding::Raw).expect("is cut");
    assert_eq!(&whole.slices[0].bytes[..], text);
}

#[test]
fn a_character_cut_by_the_record_length_is_bad() {
    let error = cut_as("aaä".as_bytes(), 3, "utf-8", OnBadEncoding::Fail);
    assert!(
        matches!(error, Err(CutError::BadEncoding { record: 1, .. } | CutError::Remainder { .. })),
        "{error:?}"
    );
}

#[test]
fn a_remainder_is_an_input_error_that_says_where() {
    let error = cut_as(b"aaaabb", 4, "utf-8", OnBadEncoding::Fail).expect_err("two bytes are left");
    assert_eq!(error.to_string(), "byte 4 of in.csv: record 2 has only 2 bytes, 4 were expected");
    let error = cut_as(b"aaaa\r\n", 4, "utf-8", OnBadEncoding::Fail).expect_err("a line end is left");
    assert!(error.to_string().contains("nothing but line ends"));
    assert!(error.hint().is_some_and(|hint| hint.contains("line end")));
}

#[test]
fn decoded_slices_stay_within_their_bound() {
    let records = Records { slice_records: 100_000, ..by_length(100) };
    let text = vec![0xE4; 150_000];
    let decode = in_encoding("windows-1252", OnBadEncoding::Fail);
    let whole = cut_in(&text, &records, &decode, BLOCK_BYTES, &[usize::MAX]).expect("is cut");
    assert!(whole.slices.iter().all(|slice| slice.bytes.len() <= SLICE_BYTES_MAX));
    assert_eq!(whole.texts().len(), 1500);
    assert_eq!(whole.slices.iter().map(|slice| slice.first_record).collect::<Vec<_>>()[..2], [1, 287]);
}

#[test]
fn lengths_that_cannot_be_are_the_rules_fault() {
    let records = Records { record_max: 3, ..by_length(4) };
    assert!(matches!(try_cut(b"", &records), Err(CutError::LengthPastMax { .. })));
    let records = Records { skip_lines: 1, ..by_length(4) };
    let wide = in_encoding("utf-16le", OnBadEncoding::Fail);
    let error = cut_in(b"", &records, &wide, BLOCK_BYTES, &[1]);
    assert!(matches!(error, Err(CutError::LinesInWideText(_))));
}

#[test]
fn a_record_that_ends_in_bytes_of_a_line_end_keeps_them() {
    for (text, length) in [(&b"001ab\n002cd\n"[..], 6), (b"001ab\r\n002cd\r\n", 7), (b"\n\r\n", 1)] {
        let whole = cut(text, &by_length(length));
        let records: Vec<&[u8]> = text.chunks(length as usize).collect();
        assert_eq!(whole.texts(), records.iter().map(|r| String::from_utf8_lossy(r)).collect::<Vec<_>>());
    }
}

#[test]
fn raw_bytes_that_look_like_a_byte_order_mark_are_the_first_records() {
    for text in [&b"\xEF\xBB\xBF1"[..], b"\xFF\xFE12", b"\xFE\xFF12"] {
        let whole = cut_as(text, 2, "utf-8", OnBadEncoding::Raw).expect("is cut");
        assert_eq!(whole.slices[0].bytes[..], *text);
    }
}

/// Packed decimals and big-endian integers: every byte there is, at every place.
#[test]
fn no_byte_of_a_binary_record_is_taken_for_anything_else() {
    let text: Vec<u8> = (0..=255u8).flat_map(|byte| [byte, 0x0D, byte, 0x0A, byte]).collect();
    for length in [1, 2, 4, 5, 8, 10] {
        let whole = cut_as(&text, length, "utf-8", OnBadEncoding::Raw).expect("is cut");
        let records = whole.slices.iter().flat_map(|slice| slice.records.iter().map(|span| of(slice, *span)));
        assert!(records.eq(text.chunks(length as usize)), "{length}");
        assert!(!whole.unterminated);
    }
}

#[test]
fn a_separator_between_records_of_a_length_is_checked_and_not_counted() {
    let separated = |separator: &str| Records { separator: Some(separator.into()), ..by_length(5) };
    let cases =
        [("\n", &b"001ab\n\n02c\n\n"[..]), ("\r\n", b"001ab\r\n\n02c\n\r\n"), ("|", b"001ab|\n02c\n")];
    for (separator, text) in cases {
        let records = separated(separator);
        let whole = cut(text, &records);
        assert_eq!(whole.texts(), ["001ab", "\n02c\n"]);
        assert_eq!(whole.unterminated, separator == "|", "{separator:?}");
        assert_eq!(record_offset(&whole.slices[0], 1, &records), 5 + separator.len() as u64);
    }
    let error = try_cut(b"001ab\r\n002cd\r\n", &separated("\n")).expect_err("another one");
    let expected = r#"byte 5 of in.csv: behind record 1 stands "\r", the separator "\n" was expected"#;
    assert_eq!(Quotes::Shown.within(|| error.to_string()), expected);
    let error = try_cut(b"001ab\n002cd\n00\n", &separated("\n")).expect_err("the last is short");
    assert_eq!(error.to_string(), "byte 12 of in.csv: record 3 has only 3 bytes, 5 were expected");
}
