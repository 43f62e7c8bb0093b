//! Characters: encodings, their marks, and bytes that are no text.

use super::*;

#[test]
fn a_bom_wins_and_is_removed() {
    let utf16 = |bom: &[u8], unit: fn(u16) -> [u8; 2]| {
        [bom.to_vec(), "id;ä€😀\n".encode_utf16().flat_map(unit).collect()].concat()
    };
    let latin = world().with(|decode| decode.encoding = "windows-1252".to_owned());
    for stored in [
        [b"\xef\xbb\xbf", "id;ä€😀\n".as_bytes()].concat(),
        utf16(b"\xff\xfe", u16::to_le_bytes),
        utf16(b"\xfe\xff", u16::to_be_bytes),
    ] {
        assert_eq!(latin.text(&stored), "id;ä€😀\n".as_bytes());
    }
    assert_eq!(latin.text(b"\x80 5\n"), "€ 5\n".as_bytes());
    assert_eq!(world().text(b"\xef\xbb\xbf"), b"");
}

#[test]
fn characters_split_between_reads_are_whole_whatever_the_buffer() {
    let text = "aä€😀\n".repeat(30_000);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for read_bytes in [1, 7, 64, 65, 1001, 1 << 20] {
        let mut world = world();
        world.read_bytes = read_bytes;
        assert_eq!(world.text(text.as_bytes()), text.as_bytes(), "{read_bytes}");
        world.decode.encoding = "utf-16le".to_owned();
        assert_eq!(world.text(&utf16), text.as_bytes(), "{read_bytes}");
    }
}

#[test]
fn bytes_that_are_no_text_fail_with_their_place_are_replaced_or_pass() {
    let stored = b"ab\xffcd\xe2\x82";
    let error = world().error(stored);
    assert!(matches!(error, DecodeError::BadText { offset: 2, .. }), "{error:?}");
    for read_bytes in [1, 70, 1000] {
        let mut replacing = world().with(|decode| decode.on_bad_encoding = OnBadEncoding::Replace);
        replacing.read_bytes = read_bytes;
        let (entries, decoded) = replacing.decode(stored).expect("decodes");
        assert_eq!(entries[0].1, "ab\u{fffd}cd\u{fffd}".as_bytes());
        assert_eq!(decoded.characters_replaced, 2);
    }
    let raw = world().with(|decode| decode.on_bad_encoding = OnBadEncoding::Raw);
    assert_eq!(raw.text(stored), stored);
    assert_eq!(raw.text(b"\xef\xbb\xbfa\0"), b"a\0");
    let mut sjis = world().with(|decode| decode.encoding = "shift_jis".to_owned());
    let error = sjis.error(b"ab\x81");
    assert!(matches!(error, DecodeError::BadText { offset: 2, .. }), "{error:?}");
    sjis.decode.on_bad_encoding = OnBadEncoding::Replace;
    assert_eq!(sjis.text(b"ab\x81"), "ab\u{fffd}".as_bytes());
}

#[test]
fn a_nul_in_text_is_an_error_with_its_place() {
    let error = world().error(b"ab\0cd");
    assert!(matches!(error, DecodeError::Nul { offset: 2, .. }), "{error:?}");
    let error = world().error(b"\xff\xfea\0\0\0");
    assert!(matches!(error, DecodeError::Nul { offset: 4, .. }), "{error:?}");
}

#[test]
fn records_of_bytes_pass_untouched() {
    let mut world = world();
    let fields = vec![FixedField { name: "id".to_owned(), width: 4 }];
    world.records.format = Format::Fixed(Fixed {
        fields,
        record_length: Some(4),
        on_misfit: crate::model::rule::OnMisfit::default(),
    });
    assert_eq!(world.text(b"\xef\xbb\xbf\0\xff\0"), b"\xef\xbb\xbf\0\xff\0");
}

#[test]
fn nul_bytes_that_end_records_are_no_sign_of_something_else() {
    let mut world = world();
    world.records.separator = Some("\0".to_owned());
    assert_eq!(world.text(b"a\0b\0"), b"a\0b\0");
    let wide = world.with(|decode| decode.encoding = "utf-16le".to_owned());
    assert_eq!(wide.text(b"a\0\0\0b\0\0\0"), b"a\0b\0");
}

#[test]
fn utf_16_without_its_mark_is_recognised_and_the_hint_names_the_right_one() {
    let text = "id;name\r\n1;Zoë\r\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for in_force in ["utf-8", "windows-1252", "utf-16le", "utf-16be"] {
        let world = world().with(|decode| decode.encoding = in_force.to_owned());
        for (stored, right) in [(&little, "utf-16le"), (&big, "utf-16be")] {
            if in_force == right {
                assert_eq!(world.text(stored), text.as_bytes());
                continue;
            }
            let hint = world.error(stored).hint().unwrap_or_default();
            assert!(hint.contains(&format!("\"{right}\"")), "{in_force}: {hint}");
        }
    }
    let nul: Vec<u8> = "a\0b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hint = world().with(|decode| decode.encoding = "utf-16le".to_owned()).error(&nul).hint();
    assert!(!hint.unwrap_or_default().contains("utf-16"), "what is in force is no advice");
    assert!(!world().error(b"one\ntwo\0two\nthree\n").hint().unwrap_or_default().contains("utf-16"));
}

/// Chinese and Japanese have few NUL bytes, and some in the other place.
#[test]
fn utf_16_in_the_other_order_never_completes() {
    let text = format!("{}\n\u{3000}年,月\n", "日本語の文章\u{3000}".repeat(200));
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (encoding, right, wrong) in [("utf-16le", &little, &big), ("utf-16be", &big, &little)] {
        let world = world().with(|decode| decode.encoding = encoding.to_owned());
        assert_eq!(world.text(right), text.as_bytes());
        assert!(matches!(world.error(wrong), DecodeError::Wide { .. }));
    }
}
