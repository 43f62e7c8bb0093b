//! One test for each behaviour that is promised by name.

use super::*;
use crate::model::fault::{Fault, FaultKind};
use crate::model::quoted::Quotes;

#[test]
fn each_line_ends_for_itself() {
    let whole = cut(b"a\r\nb\nc\rd\r\n\re", &records(Format::Lines));
    assert_eq!(whole.texts(), ["a", "b", "c\rd", "\re"]);
    assert_eq!(cut(b"a\rb\nc\n", &records(Format::Lines)).texts(), ["a\rb", "c"]);
    assert_eq!(cut(b"a,b\r\nc\r\n", &csv_records(false)).texts(), ["a,b", "c"]);
}

#[test]
fn the_last_line_without_a_line_end_is_a_record() {
    assert_eq!(cut(b"a\nb", &records(Format::Lines)).texts(), ["a", "b"]);
    assert_eq!(cut(b"h\na\n\"b\"", &csv_records(true)).texts(), ["a", "\"b\""]);
    assert_eq!(cut(b"{}\n{}", &records(Format::Jsonl)).texts(), ["{}", "{}"]);
}

#[test]
fn an_empty_file_has_no_records() {
    for records in [records(Format::Lines), csv_records(false), csv_records(true), by_length(4)] {
        let whole = cut(b"", &records);
        assert!(whole.slices.is_empty());
        assert_eq!((whole.shape.header, whole.lines_skipped), (None, 0));
    }
    assert_eq!(cut(b"", &csv_records(true)).shape.columns, None);
}

#[test]
fn a_file_of_a_header_alone_has_columns_and_no_records() {
    let whole = cut(b"id,amount\r\n", &csv_records(true));
    assert_eq!(whole.shape.columns, Some(std::sync::Arc::new(vec!["id".into(), "amount".into()])));
    assert_eq!(whole.shape.header.as_deref().map(Vec::as_slice), Some(&b"id,amount"[..]));
    assert!(whole.slices.is_empty());
}

#[test]
fn blank_lines_are_records_in_lines_and_skipped_and_counted_elsewhere() {
    let text = b"\n\r\na\n\nb\n\n";
    assert_eq!(cut(text, &records(Format::Lines)).texts(), ["", "", "a", "", "b", ""]);
    for records in [csv_records(false), records(Format::Jsonl)] {
        let whole = cut(text, &records);
        assert_eq!((whole.texts(), whole.skipped()), (vec!["a".to_owned(), "b".to_owned()], 4));
        assert_eq!(whole.slices[0].first_line, 2, "lines before the slice count blank ones");
    }
    assert_eq!(cut(b"\n \n", &records(Format::Jsonl)).skipped(), 2);
    assert_eq!(cut(b"\n \n", &csv_records(false)).texts(), [" "]);
    assert_eq!(cut(b"\n\n", &csv_records(true)).skipped(), 2);
}

#[test]
fn blank_lines_between_slices_are_counted() {
    let records = Records { slice_records: 1, ..csv_records(true) };
    let whole = cut(b"\nh\n\n1\n\n\n2\n\n", &records);
    assert_eq!((whole.texts(), whole.skipped()), (vec!["1".to_owned(), "2".to_owned()], 5));
    let lines: Vec<u64> = whole.slices.iter().map(|slice| slice.first_line).collect();
    assert_eq!(lines, [3, 6]);
}

#[test]
fn quoted_line_ends_belong_to_the_record() {
    let text = b"id,note\r\n1,\"a\r\nb\"\r\n2,\"say \"\"hi\"\"\n\"\n\"\",x\n";
    let whole = cut(text, &csv_records(true));
    assert_eq!(whole.texts(), ["1,\"a\r\nb\"", "2,\"say \"\"hi\"\"\n\"", "\"\",x"]);
    let next = cut(text, &Records { slice_records: 1, ..csv_records(true) });
    assert_eq!(next.slices.iter().map(|slice| slice.first_line).collect::<Vec<_>>(), [1, 3, 5]);
}

#[test]
fn a_quote_inside_an_unquoted_field_is_data() {
    assert_eq!(cut(b"5\" pipe,b\nc\n", &csv_records(false)).texts(), ["5\" pipe,b", "c"]);
    assert_eq!(cut(b"a, \"b\nc\"\n", &csv_records(false)).texts(), ["a, \"b", "c\""]);
}

#[test]
fn without_a_quote_character_every_line_end_counts() {
    let format = Format::Csv(Csv { quote: None, ..csv(false) });
    assert_eq!(cut(b"\"a\nb\"\n\n", &records(format)).texts(), ["\"a", "b\""]);
}

#[test]
fn a_header_may_be_quoted_and_have_line_ends() {
    let whole = cut(b"id,\"the\namount\"\n1,2\n", &csv_records(true));
    assert_eq!(whole.shape.columns, Some(std::sync::Arc::new(vec!["id".into(), "the\namount".into()])));
    assert_eq!(whole.shape.header.as_deref().map(Vec::as_slice), Some(&b"id,\"the\namount\""[..]));
    assert_eq!((whole.slices[0].first_line, whole.slices[0].first_record), (2, 1));
}

#[test]
fn skipped_lines_are_counted_and_quotes_mean_nothing_in_them() {
    let records = Records { skip_lines: 2, ..csv_records(true) };
    let whole = cut(b"made \"by\r\n\"nobody\nid\n1\n", &records);
    assert_eq!((whole.texts(), whole.lines_skipped), (vec!["1".to_owned()], 2));
    assert_eq!((whole.slices[0].offset, whole.slices[0].first_line), (21, 3));
    assert_eq!(cut(b"only", &records).lines_skipped, 1);
}

#[test]
fn all_missing_columns_are_named_at_once_with_the_nearest_names() {
    let format =
        Format::Csv(Csv { columns: vec!["amount".into(), "id".into(), "currency".into()], ..csv(true) });
    Quotes::Shown.within(|| {
        let error = try_cut(b"\nid,Amounts\n", &records(format)).expect_err("columns are missing");
        assert_eq!(
            error.to_string(),
            "line 2 of in.csv: the header lacks `amount` (nearest: `Amounts`), `currency`"
        );
        assert_eq!(error.kind(), FaultKind::Input);
        assert!(error.hint().is_some_and(|hint| hint.contains("`id`, `Amounts`")));
    });
}

#[test]
fn a_column_named_twice_is_an_input_error() {
    let error = try_cut(b"id,a,id,,\n", &csv_records(true)).expect_err("id stands there twice");
    let told = Quotes::Shown.within(|| error.to_string());
    assert_eq!(told, "line 1 of in.csv: the header names a column twice: `id`");
    assert!(try_cut(b"id,,\n", &csv_records(true)).is_ok(), "empty names may repeat");
}

#[test]
fn a_header_with_the_line_ends_of_old_macs_is_an_input_error() {
    let whole: [&[u8]; 4] = [b"a,b\r1,2\r3,4\r", b"a,\"b\"\r1,2\n", b"a\rb\r\n1\r\n", b"\"a\"\r\"1\"\r"];
    for text in whole {
        let error = try_cut(text, &csv_records(true)).expect_err("a CR ends no line");
        assert!(matches!(error, CutError::HeaderCarriageReturn { line: 1, .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains(r"tr '\r' '\n'")));
    }
    assert_eq!(
        try_cut(b"\na\rb\n1\n", &csv_records(true)).expect_err("line 2").to_string(),
        "line 2 of in.csv: the header has a carriage return without a line feed: it does not end where it should"
    );
    for text in [&b"a,b\r\n1,2\r\n"[..], b"\"a\rx\",\"b\r\nx\"\r\n1,2\n"] {
        assert!(try_cut(text, &csv_records(true)).is_ok(), "{text:?}");
    }
}

#[test]
fn a_text_with_the_line_ends_of_old_macs_is_never_one_record() {
    let separator = r#"`records.separator = "\r"`"#;
    let formats = [Format::Lines, Format::Jsonl, Format::Csv(csv(false)), by_line()];
    for format in formats {
        let long = [&b"{}\r".repeat(30_000)[..], b"\n"].concat();
        let few = Records { record_max: 50, ..records(format.clone()) };
        for text in [&b"{}\r{}\r{}\r"[..], b"{}\r{}", b"{}\r{}\r\n", b"\n\n{}\r{}\n", &long] {
            for records in [&records(format.clone()), &few] {
                if text.starts_with(b"\n") && matches!(format, Format::Lines | Format::Fixed(_)) {
                    continue; // there an empty line is a record, so that there are several
                }
                let error = try_cut(text, records).expect_err("one record of the whole text");
                assert!(matches!(error, CutError::CarriageReturns { .. }), "{error}");
                assert_eq!(error.kind(), FaultKind::Input);
                assert!(error.hint().is_some_and(|hint| hint.contains(separator)), "{:?}", error.hint());
            }
        }
        let split = Records { separator: Some("\r".into()), ..records(format) };
        assert_eq!(cut(b"{}\r[]\r1\r", &split).texts(), ["{}", "[]", "1"]);
    }
    for text in [&b"id,name\n1,a\r2,b\r"[..], b"id\r\n1,a\r2,b", b"id\n\n1\r2\r\n"] {
        let error = try_cut(text, &csv_records(true)).expect_err("one record behind the header");
        assert!(matches!(error, CutError::CarriageReturns { has_header: true, .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains(r"tr '\r' '\n'")));
    }
    for text in [&b"\"a\rb\"\n"[..], b"a\r\n", b"a\rb\nc", b"a\r"] {
        cut(text, &csv_records(false));
    }
}

fn by_line() -> Format {
    let Format::Fixed(fixed) = by_length(1).format else { unreachable!("made so") };
    Format::Fixed(Fixed { record_length: None, ..fixed })
}

#[test]
fn records_end_where_the_separator_stands_and_nowhere_else() {
    let separated =
        |format, separator: &str| Records { separator: Some(separator.into()), ..records(format) };
    for separator in ["~", "\r", "\u{1e}", "\0", "€", "<br>", "\r\n", "aa"] {
        let text = ["1,2", "3\n,4", "", "5"].join(separator);
        assert_eq!(
            cut(text.as_bytes(), &separated(Format::Lines, separator)).texts(),
            ["1,2", "3\n,4", "", "5"]
        );
        let text = format!("{text}{separator}\n");
        let lines = cut(text.as_bytes(), &separated(Format::Lines, separator));
        assert_eq!((lines.texts().len(), lines.skipped()), (4, 1), "line ends behind the last {separator:?}");
        assert!(!lines.unterminated);
        let rows = ["id,name", "1,\"a€~\u{1e}<br>\"", "2,\"\n\"", ""].join(separator);
        let rows = cut(rows.as_bytes(), &separated(Format::Csv(csv(true)), separator));
        assert_eq!(rows.texts(), ["1,\"a€~\u{1e}<br>\"", "2,\"\n\""]);
    }
    let crlf = cut(b"a\nb\r\nc\r", &separated(Format::Lines, "\r\n"));
    assert_eq!((crlf.texts(), crlf.unterminated), (vec!["a\nb".to_owned(), "c\r".to_owned()], true));
    let error =
        try_cut(b"id,name\n1,2\n", &separated(Format::Csv(csv(true)), "~")).expect_err("other line ends");
    assert!(matches!(error, CutError::HeaderLineEnd { line: 1, .. }), "{error}");
}

#[test]
fn a_last_record_without_its_end_is_told() {
    for (text, expected) in [
        (&b"h\na\nb"[..], true),
        (b"h\na\n", false),
        (b"h\na\r\n", false),
        (b"h\na\n\n", false),
        (b"h", true),
        (b"h\n", false),
        (b"", false),
        (b"h\n\"a", true),
        (b"h\n\"a\n", false),
        (b"h\n\"a\nb", true),
        (b"h\na\r", true),
    ] {
        assert_eq!(cut(text, &csv_records(true)).unterminated, expected, "{text:?}");
    }
    assert!(!cut(b"{}\n  ", &records(Format::Jsonl)).unterminated);
    let few = Records { record_max: 2, ..records(Format::Lines) };
    assert!(cut(b"a\nlong", &few).unterminated && !cut(b"long\n", &few).unterminated);
}

#[test]
fn bytes_behind_a_closing_quote_merge_no_rows() {
    let text = b"id,name\n1,\"disk 12\\\"\"\n2,\"b\"\n3,\"c\"\n";
    assert_eq!(cut(text, &csv_records(true)).texts(), ["1,\"disk 12\\\"\"", "2,\"b\"", "3,\"c\""]);
    let escaped = records(Format::Csv(Csv { escape: Some(b'\\'), ..csv(true) }));
    assert_eq!(cut(text, &escaped).texts(), ["1,\"disk 12\\\"\"", "2,\"b\"", "3,\"c\""]);
    for text in [&b"\"a\"b\n1\n"[..], b"\"x\" \"y\"\n1\n", b"\"a\nb\"c\n1\n", b"\"x\"\",\"y\n1\n"] {
        let whole = cut(text, &csv_records(false));
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(whole.texts().len(), lines.len(), "{text:?}");
    }
    let error = try_cut(b"\"id\"x,name\n1,2\n", &csv_records(true)).expect_err("no header");
    assert!(matches!(error, CutError::HeaderMisquoted { line: 1, .. }), "{error}");
}

/// What closes far behind is known only there: slices must not depend on when.
#[test]
fn a_quote_found_misplaced_far_behind_is_cut_alike_in_any_block() {
    for before in [0, 1, 500, 900] {
        for inside in [10_usize, 28_000, 57_000, 60_000, 120_000] {
            let mut text = b"1,2\n".repeat(before);
            text.extend_from_slice(b"3,\"open\n");
            text.extend_from_slice(&b"44,5555\n".repeat(inside / 8));
            text.extend_from_slice(b"6,\"x\n7,8\n");
            let records = csv_records(false);
            let whole = try_cut(&text, &records).expect("is cut");
            assert_eq!(whole.texts().len(), before + 1 + inside / 8 + 2);
            for block in [100, 5_000, 57_344, 70_000] {
                let other = cut_in(&text, &records, &decode(), block, &[usize::MAX]).expect("is cut");
                assert!(other == whole, "{before} before, {inside} inside, blocks of {block}");
            }
        }
    }
}

#[test]
fn columns_without_a_header_are_the_shapes() {
    let format = Format::Csv(Csv { columns: vec!["a".into()], ..csv(false) });
    assert_eq!(cut(b"1\n", &records(format)).shape.columns, Some(std::sync::Arc::new(vec!["a".into()])));
    assert_eq!(cut(b"1\n", &csv_records(false)).shape.columns, None);
}

#[test]
fn a_long_record_fails_alone_and_the_file_goes_on() {
    for format in [Format::Lines, Format::Jsonl, Format::Csv(csv(false))] {
        let records = Records { record_max: 4, ..records(format) };
        let whole = cut(b"abcd\r\nabcde\r\nf\nabcdefghij\ng\nabcdef", &records);
        assert_eq!(whole.texts(), ["abcd", "abcde", "f", "abcdefghij", "g", "abcdef"]);
        let lengths: Vec<u64> = whole.unfit().iter().map(|unfit| unfit.1).collect();
        assert_eq!(lengths, [5, 10, 6]);
        let places: Vec<(u64, u64, u64)> =
            whole.slices.iter().map(|slice| (slice.first_record, slice.offset, slice.first_line)).collect();
        assert_eq!(places, [(1, 0, 0), (2, 6, 1), (3, 13, 2), (4, 15, 3), (5, 26, 4), (6, 28, 5)]);
    }
}

#[test]
fn only_the_beginning_of_an_oversized_record_is_kept() {
    let mut text = vec![b'x'; 300_000];
    text.extend_from_slice(b"\r\ny");
    let whole = try_cut(&text, &Records { record_max: 100_000, ..records(Format::Lines) }).expect("is cut");
    assert_eq!(whole.slices[0].bytes.len(), UNFIT_BYTES_MAX);
    assert_eq!(whole.unfit()[0].1, 300_000);
    assert_eq!(of(&whole.slices[1], whole.slices[1].records[0]), b"y");
}

#[test]
fn a_record_longer_than_a_slice_is_a_slice_of_its_own() {
    let long = "x".repeat(SLICE_BYTES_MAX + 1);
    let whole = try_cut(format!("a\n{long}\nb\nc\n").as_bytes(), &records(Format::Lines)).expect("is cut");
    let counts: Vec<usize> = whole.slices.iter().map(|slice| slice.records.len()).collect();
    assert_eq!(counts, [1, 1, 2]);
    assert!(whole.unfit().is_empty());
}

#[test]
fn slices_hold_as_many_records_and_bytes_as_they_may() {
    let line = format!("{}\n", "x".repeat(1023));
    let whole = try_cut(line.repeat(60).as_bytes(), &records(Format::Lines)).expect("is cut");
    assert_eq!(whole.slices[0].bytes.len(), SLICE_BYTES_MAX);
    assert_eq!(whole.slices[1].records.len(), 4);
    let whole = try_cut(&b"y\n".repeat(2500), &records(Format::Lines)).expect("is cut");
    assert_eq!(whole.slices.iter().map(|slice| slice.records.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
}

#[test]
fn an_unclosed_quote_does_not_swallow_the_file() {
    let whole = cut(b"h\n1\n2,\"x\n3\n4\n", &csv_records(true));
    assert_eq!(whole.texts(), ["1", "2,\"x", "3", "4"]);
    assert_eq!(whole.unfit(), [("2,\"x".to_owned(), 4, UnfitReason::UnclosedQuote { line: 3 })]);
    assert_eq!(whole.slices.iter().map(|slice| slice.first_line).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_quote_open_past_record_max_ends_with_its_line() {
    let records = Records { record_max: 10, ..csv_records(false) };
    let whole = cut(b"a\n\"b\r\nc\nd\ne\nf\ng\n\"h\"\n", &records);
    assert_eq!(whole.texts(), ["a", "\"b", "c", "d", "e", "f", "g", "\"h\""]);
    assert_eq!(whole.unfit(), [("\"b".to_owned(), 2, UnfitReason::UnclosedQuote { line: 2 })]);
}

#[test]
fn what_was_properly_quoted_before_an_unclosed_quote_stays_in_its_record() {
    let whole = cut(b"\"a\nb\",\"c\nd\n", &csv_records(false));
    assert_eq!(whole.texts(), ["\"a\nb\",\"c", "d"]);
    assert_eq!(whole.unfit()[0].2, UnfitReason::UnclosedQuote { line: 2 });
}

#[test]
fn an_unclosed_quote_on_the_last_line_fails_that_line_only() {
    let whole = cut(b"a\n\"b", &csv_records(false));
    assert_eq!(whole.unfit(), [("\"b".to_owned(), 2, UnfitReason::UnclosedQuote { line: 2 })]);
}

#[test]
fn a_line_that_is_too_long_by_itself_is_too_long_even_within_a_quote() {
    let records = Records { record_max: 4, ..csv_records(false) };
    let whole = cut(b"\"abcdefgh\ni\n", &records);
    assert_eq!(whole.unfit(), [("\"abcdefgh".to_owned(), 9, UnfitReason::TooLong)]);
    assert_eq!(whole.texts(), ["\"abcdefgh", "i"]);
}

#[test]
fn a_header_that_cannot_be_told_is_an_input_error() {
    let error = try_cut(b"id,\"name\n1,2\n", &csv_records(true)).expect_err("the quote stays open");
    assert_eq!(error.to_string(), "line 1 of in.csv: the header opens a quote that is never closed");
    let records = Records { record_max: 4, ..csv_records(true) };
    let error = try_cut(b"\nabcdefgh\n", &records).expect_err("the header is too long");
    assert_eq!(error.to_string(), "line 2 of in.csv: the header is longer than 4 bytes");
}

#[test]
fn a_read_error_passes_and_loses_its_cause_nowhere() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk says no"))
        }
    }
    let mut cutter =
        Cutter::new(Broken, &records(Format::Lines), &decode(), 0, String::new(), 0).expect("is made");
    let error = cutter.next_slice().expect_err("reading fails");
    assert!(matches!(error, CutError::Read(cause) if cause.to_string() == "the disk says no"));
}

#[test]
fn a_slice_of_a_small_file_holds_no_big_block() {
    let whole = try_cut(b"a\nb\n", &records(Format::Lines)).expect("is cut");
    let parts: Vec<u8> = whole.slices.into_iter().flat_map(|slice| Vec::from(slice.bytes)).collect();
    assert!(parts.capacity() < 1024);
}
