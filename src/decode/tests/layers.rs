//! Layers: what wraps the text comes off whole, in any nesting and within the limits.

use super::*;

#[test]
fn a_decoder_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Decoder>();
    is_send::<EntryReader<'_>>();
}

#[test]
fn plain_text_passes_and_its_hash_is_that_of_its_bytes() {
    for data in [Vec::new(), b"one line".to_vec(), csv(30_000)] {
        let (entries, decoded) = world().decode(&data).expect("decodes");
        assert_eq!(entries, [(String::new(), data.clone())]);
        assert_eq!(decoded.content_hash, format!("blake3:{}", blake3::hash(&data).to_hex()));
    }
}

#[test]
fn every_compression_is_taken_off_with_all_its_members() {
    let data = csv(20_000);
    for compress in [gzip, zstd, bzip2, xz] {
        assert_eq!(world().text(&compress(&data)), data);
        assert_eq!(world().text(&compress(b"")), b"");
        let three = [compress(b"a\n"), compress(b""), compress(&data)].concat();
        assert_eq!(world().text(&three), [b"a\n", data.as_slice()].concat());
    }
}

#[test]
fn skippable_zstd_frames_and_xz_padding_are_passed_over() {
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
    let stored = [&skippable[..], &zstd(b"a\n"), skippable, &zstd(b"b\n")].concat();
    assert_eq!(world().text(&stored), b"a\nb\n");
    let stored = [xz(b"a\n"), vec![0; 8], xz(b"b\n"), vec![0; 4]].concat();
    assert_eq!(world().text(&stored), b"a\nb\n");
}

#[test]
fn a_cut_anywhere_is_an_early_end_never_a_short_read() {
    let data = csv(3_000);
    let (identity, key) = key();
    let encrypted = encrypt_to(&data, &identity.to_public(), false);
    let sources = [
        ("gzip", gzip(&data), 2),
        ("two gzips", [gzip(&data), gzip(&data)].concat(), 2),
        ("zstd", zstd(&data), 2),
        ("bzip2", bzip2(&data), 8),
        ("xz", xz(&data), 2),
        ("zip", deflated(&[("a.csv", &data)]), 3),
        ("age", encrypted.clone(), 8),
        ("age within gzip", gzip(&encrypted), 2),
        ("armor", encrypt_to(&data, &identity.to_public(), true), 14),
        ("zip within age", encrypt_to(&deflated(&[("a.csv", &data)]), &identity.to_public(), false), 8),
        ("tar within gzip", gzip(&tar(&[("a.csv", &data)])), 2),
        ("tar", tar(&[("a.csv", &data)]), 512),
    ];
    let world = world().with_key(&key);
    for (what, stored, first) in sources {
        world.decode(&stored).unwrap_or_else(|error| panic!("{what} as a whole: {error}"));
        // The end block of a tar is two blocks of zeros and padding: the first is enough.
        let end = if what == "tar" { 512 + data.len().next_multiple_of(512) + 511 } else { stored.len() };
        let near_end = end.saturating_sub(24)..end;
        let cuts = (first..first + 24).chain((first..end).step_by(end / 25 + 1)).chain(near_end);
        for cut in cuts.filter(|cut| *cut < end) {
            if what == "two gzips" && cut == stored.len() / 2 {
                continue;
            }
            // Armor's last line end need not be there; age writes that of its system.
            let line_end = if cfg!(windows) { 2 } else { 1 };
            if what == "armor" && stored.len() - cut <= line_end {
                continue;
            }
            let error = world.error(&stored[..cut]);
            assert!(error.ended_early(), "{what} cut at {cut} of {end}: {error:?}");
            assert_eq!(error.kind(), FaultKind::Input);
        }
    }
}

#[test]
fn what_follows_the_end_is_named_with_its_place() {
    let data = csv(100);
    for compress in [gzip, zstd, bzip2, xz] {
        let clean = compress(&data);
        let error = world().error(&[clean.as_slice(), b"garbage"].concat());
        let expected = clean.len() as u64;
        assert!(matches!(error, DecodeError::Garbage { offset, .. } if offset == expected), "{error:?}");
    }
    let clean = deflated(&[("a.csv", &data)]);
    let error = world().error(&[clean.as_slice(), b"garbage"].concat());
    assert!(
        matches!(error, DecodeError::Garbage { offset, .. } if offset == clean.len() as u64),
        "{error:?}"
    );
    let error = world().error(&[tar(&[("a.csv", &data)]).as_slice(), b"garbage"].concat());
    assert!(matches!(error, DecodeError::Garbage { layer: "tar", .. }), "{error:?}");
}

#[test]
fn layers_come_off_in_any_nesting() {
    let data = csv(5_000);
    let (identity, key) = key();
    let age = |data: &[u8]| encrypt_to(data, &identity.to_public(), false);
    let world = world().with_key(&key);
    let members = [("in/a.csv", data.as_slice()), ("b.csv", b"b\n")];
    for stored in [
        age(&gzip(&data)),
        gzip(&age(&data)),
        xz(&zstd(&data)),
        encrypt_to(&data, &identity.to_public(), true),
    ] {
        assert_eq!(world.text(&stored), data);
    }
    let mut archive_hash = None;
    for stored in [
        age(&deflated(&members)),
        encrypt_to(&deflated(&members), &identity.to_public(), true),
        gzip(&deflated(&members)),
        gzip(&tar(&members)),
        age(&gzip(&tar(&members))),
    ] {
        let (entries, decoded) = world.decode(&stored).expect("decodes");
        assert_eq!(entries, [("in/a.csv".to_owned(), data.clone()), ("b.csv".to_owned(), b"b\n".to_vec())]);
        let hash = decoded.content_hash;
        assert_eq!(archive_hash.get_or_insert_with(|| hash.clone()), &hash, "packed in another way");
    }
    let renamed = [("in/a.csv", data.as_slice()), ("c.csv", b"b\n")];
    let (_, other) = world.decode(&deflated(&renamed)).expect("decodes");
    assert_ne!(archive_hash, Some(other.content_hash), "an entry with another name is other content");
}

#[test]
fn each_limit_is_an_error_of_its_own() {
    let bomb = gzip(&vec![b'a'; 40 << 20]);
    let error = world().with(|decode| decode.ratio_max = 100).error(&bomb);
    assert!(matches!(error, DecodeError::RatioTooHigh { .. }), "{error:?}");
    let error = world().with(|decode| decode.expanded_max = 1 << 20).error(&bomb);
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error:?}");
    let error =
        world().with(|decode| decode.expanded_max = 1 << 20).error(&deflated(&[("a", &vec![b'a'; 2 << 20])]));
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error:?}");
    let error = world().error(&gzip(&gzip(&gzip(&gzip(b"a\n")))));
    assert!(matches!(error, DecodeError::TooDeep { limit: 3, .. }), "{error:?}");
    let members = [("a", &b"a"[..]), ("b", b"b"), ("c", b"c")];
    for stored in [deflated(&members), tar(&members)] {
        let error = world().with(|decode| decode.entries_max = 2).error(&stored);
        assert!(matches!(error, DecodeError::TooManyEntries { limit: 2, .. }), "{error:?}");
    }
}

#[test]
fn spelled_out_layers_are_held_against_the_content() {
    let spelled = |layers: &[Layer]| world().with(|decode| decode.layers = layers.to_vec());
    assert_eq!(spelled(&[Layer::Gzip]).text(&gzip(b"a\n")), b"a\n");
    let message = spelled(&[Layer::Gzip]).error(&xz(b"a\n")).to_string();
    assert!(message.contains("expects gzip") && message.contains("found xz"), "{message}");
    assert!(spelled(&[Layer::Gzip]).error(b"").ended_early());
    assert_eq!(spelled(&[Layer::Zip]).text(&deflated(&[("a", b"%PDF-1.4")])), b"%PDF-1.4");
}

#[test]
fn formats_that_are_not_read_are_refused_by_name() {
    for (stored, name) in
        [(&b"7z\xbc\xaf\x27\x1crest"[..], "7z"), (b"PAR1\x15...", "Parquet"), (b"%PDF-1.7", "PDF")]
    {
        for stored in [stored.to_vec(), gzip(stored)] {
            let error = world().error(&stored);
            assert!(matches!(error, DecodeError::Refused { what, .. } if what == name), "{error:?}");
        }
    }
    let sheet = deflated(&[("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>")]);
    assert!(matches!(world().error(&sheet), DecodeError::Refused { .. }));
}

#[test]
fn zeros_behind_any_compression_are_passed_over_and_anything_else_is_not() {
    let data = csv(3_000);
    for (layer, stored) in
        [("gzip", gzip(&data)), ("zstd", zstd(&data)), ("bzip2", bzip2(&data)), ("xz", xz(&data))]
    {
        for zeros in [1, 4, 10_240, 300_001] {
            let mut padded = stored.clone();
            padded.resize(stored.len() + zeros, 0);
            assert!(world().text(&padded) == data, "{zeros} behind {layer}");
            padded.push(b'x');
            let error = world().error(&padded);
            let at = (stored.len() + zeros) as u64;
            assert!(
                matches!(error, DecodeError::Garbage { offset, .. } if offset == at),
                "{layer}: {error:?}"
            );
            if layer != "xz" || zeros % 4 != 0 {
                padded.pop();
                padded.extend_from_slice(&stored);
                assert!(matches!(world().error(&padded), DecodeError::Garbage { .. }), "{layer}");
            }
        }
    }
}

/// A byte changed anywhere comes out as an error, never as another byte.
#[test]
fn an_xz_whose_check_cannot_be_verified_is_refused() {
    let stored = xz(&csv(100));
    for check in [2, 3, 5, 9, 11, 15] {
        let mut other = stored.clone();
        other[7] = check;
        let message = world().error(&other).to_string();
        assert!(message.contains("check"), "{check}: {message}");
        let two = [&stored[..], &other].concat();
        assert_eq!(world().error(&two).kind(), FaultKind::Input);
    }
}

#[test]
fn a_fault_is_told_near_where_it_is() {
    let data: Vec<u8> = csv(12_000);
    let packed = [
        ("gzip", gzip(&data)),
        ("bzip2", bzip2(&data)),
        ("xz", xz(&data)),
        ("zip", deflated(&[("a", &data)])),
    ];
    for (layer, stored) in packed {
        for place in [stored.len() / 3, stored.len() * 3 / 4] {
            let mut broken = stored.clone();
            broken[place..place + 40].fill(0xa5);
            // Nonsense in deflate may go on to the end, or seem to have one.
            let raw = world().with(|decode| decode.on_bad_encoding = OnBadEncoding::Raw);
            let offset = match raw.error(&broken) {
                DecodeError::Corrupt { offset, .. }
                | DecodeError::EndedEarly { offset, .. }
                | DecodeError::Garbage { offset, .. } => offset,
                // The directory knows how long it is.
                DecodeError::Entry { .. } => continue,
                other => panic!("{layer} is broken at {place}: {other:?}"),
            };
            assert!(offset as usize > place * 9 / 10, "{layer}: {place} is told as {offset}");
        }
    }
}

/// What is recognised at the start is not taken for text behind white space or a byte order mark.
#[test]
fn nothing_packed_or_encrypted_is_text_behind_white_space() {
    let data = csv(50);
    let (identity, key) = key();
    let armored = encrypt_to(&data, &identity.to_public(), true);
    let world = || world().with_key(&key);
    let long = vec![b' '; 100_000];
    for lead in [&b"\n"[..], b"\r\n \t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"\xff\xfe", &long] {
        let behind = |stored: &[u8]| [lead, stored].concat();
        assert!(world().text(&behind(&armored)) == data, "{lead:?}");
        assert!(world().text(&gzip(&behind(&armored))) == data, "{lead:?}");
        for stored in [
            encrypt_to(&data, &identity.to_public(), false),
            gzip(&data),
            zstd(&data),
            bzip2(&data),
            xz(&data),
            deflated(&[("a", &data)]),
            tar(&[("a", &data)]),
        ] {
            let error = world().error(&behind(&stored));
            let is_told =
                matches!(&error, DecodeError::Disguised { offset, .. } if *offset == lead.len() as u64);
            assert!(is_told, "{error:?}");
        }
        // Armor of OpenPGP is looked into, as that of age is.
        let cut = world().error(&behind(b"-----BEGIN PGP MESSAGE-----\n"));
        assert!(matches!(cut, DecodeError::EndedEarly { layer: "pgp", .. }), "{cut:?}");
        for stored in [&b"-----BEGIN PGP SIGNED MESSAGE-----\n"[..], b"7z\xbc\xaf\x27\x1c\0"] {
            assert!(matches!(world().error(&behind(stored)), DecodeError::Refused { .. }));
        }
    }
    let spelled = world().with(|decode| decode.layers = vec![Layer::Age]);
    assert!(spelled.text(&[&b"\n\n"[..], &armored, b"\n\n"].concat()) == data);
    let padded = [&armored[..], &[0; 3000]].concat();
    assert!(world().text(&padded) == data && world().text(&gzip(&padded)) == data);
    for behind in [b"\0\0x".as_slice(), &[b'A'; 2000]] {
        let error = world().error(&[&armored[..], behind].concat());
        assert!(matches!(error, DecodeError::Corrupt { .. } | DecodeError::Garbage { .. }), "{error:?}");
    }
    let wide: Vec<u8> = armored.iter().flat_map(|byte| [*byte, 0]).collect();
    for stored in [wide.clone(), [&[0xff, 0xfe], &wide[..]].concat(), [&[0], &wide[..]].concat()] {
        let error = world().with(|decode| decode.encoding = "utf-16le".to_owned()).error(&stored);
        assert!(matches!(error, DecodeError::Refused { what: "age armor in UTF-16", .. }), "{error:?}");
    }
    assert_eq!(world().text(b"\n\xef\xbb\xbf plain\n"), b"\n\xef\xbb\xbf plain\n");
}
