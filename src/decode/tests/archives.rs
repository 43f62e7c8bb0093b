//! Archives: members in order, by the rule's choice, and each refusal by name.

use super::*;

#[test]
fn archives_within_archives_come_in_order_and_leave_no_spool() {
    let inner_zip = deflated(&[("x.csv", b"x\n"), ("y.csv.gz", &gzip(b"y\n"))]);
    let inner_tar = tar(&[("z.csv", b"z\n")]);
    for outer in [
        tar(&[("1.csv", b"1\n"), ("i.zip", &inner_zip), ("i.tar", &inner_tar), ("2.csv.xz", &xz(b"2\n"))]),
        deflated(&[
            ("1.csv", b"1\n"),
            ("i.zip", &inner_zip),
            ("i.tar", &inner_tar),
            ("2.csv.xz", &xz(b"2\n")),
        ]),
    ] {
        let world = world();
        let (entries, _) = world.decode(&outer).expect("decodes");
        assert_eq!(names(&entries), ["1.csv", "i.zip/x.csv", "i.zip/y.csv.gz", "i.tar/z.csv", "2.csv.xz"]);
        let text: Vec<u8> = entries.into_iter().flat_map(|(_, text)| text).collect();
        assert_eq!(text, b"1\nx\ny\nz\n2\n");
        assert_eq!(std::fs::read_dir(world.dir.path()).expect("a folder").count(), 0);
    }
}

#[test]
fn every_zip_method_of_the_crate_is_read() {
    use ::zip::CompressionMethod as M;
    let data = csv(2_000);
    for method in [M::Stored, M::Deflated, M::Bzip2, M::Zstd, M::Xz, M::Ppmd] {
        let stored = zip(&[("folder/", b""), ("a.csv", &data)], method);
        let (entries, _) = world().decode(&stored).unwrap_or_else(|error| panic!("{method:?}: {error:?}"));
        assert_eq!(entries, [("a.csv".to_owned(), data.clone())], "{method:?}");
    }
}

#[test]
fn an_encrypted_or_unknown_member_is_refused_by_name_only_if_it_is_taken() {
    let clean = zip(&[("a.csv", b"a\n"), ("b.csv", b"b\n")], ::zip::CompressionMethod::Stored);
    let directory = memchr::memmem::find(&clean, b"PK\x01\x02").expect("a directory");
    let mut encrypted = clean.clone();
    encrypted[6] |= 1;
    encrypted[directory + 8] |= 1;
    let mut unknown = clean;
    unknown[8] = 77;
    unknown[directory + 10] = 77;
    for (stored, word) in [(encrypted, "encrypted"), (unknown, "method 77")] {
        let message = world().error(&stored).to_string();
        assert!(message.contains("a.csv") && message.contains(word), "{message}");
        let other = world().with(|decode| decode.entries = vec!["b.*".to_owned()]);
        assert_eq!(other.text(&stored), b"b\n");
    }
}

#[test]
fn the_rule_picks_members_and_none_matching_is_an_error() {
    let members = [("a.csv", &b"a\n"[..]), ("notes.txt", b"n\n"), ("in/b.csv", b"b\n")];
    for stored in [deflated(&members), tar(&members)] {
        let picked = |pattern: &str| world().with(|decode| decode.entries = vec![pattern.to_owned()]);
        assert_eq!(names(&picked("*.csv").decode(&stored).expect("decodes").0), ["a.csv", "in/b.csv"]);
        assert_eq!(names(&picked("in/*").decode(&stored).expect("decodes").0), ["in/b.csv"]);
        let error = picked("*.json").error(&stored);
        assert!(matches!(error, DecodeError::NoEntry { members: 3, .. }), "{error:?}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_tar_older_than_its_magic_is_recognised() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_old();
    header.set_size(2);
    builder.append_data(&mut header, "a.csv", &b"a\n"[..]).expect("a member");
    assert_eq!(names(&world().decode(&builder.into_inner().expect("ends")).expect("decodes").0), ["a.csv"]);
}

#[test]
fn long_tar_names_are_whole() {
    let name = format!("{}/a.csv", "folder".repeat(30));
    assert_eq!(names(&world().decode(&tar(&[(&name, b"a\n")])).expect("decodes").0), [name]);
}

#[test]
fn an_entry_left_before_its_end_is_never_taken_for_whole() {
    let world = world();
    let mut file = tempfile::tempfile_in(world.dir.path()).expect("a file");
    file.write_all(&tar(&[("a.csv", b"a\n"), ("b.csv", b"b\n")])).expect("written");
    file.seek(SeekFrom::Start(0)).expect("at its start");
    let request = DecodeRequest {
        shown_path: Path::new("in/source"),
        decode: &world.decode,
        records: &world.records,
        identities: &[],
        passphrase_file: None,
        signers: &[],
        spool_dir: world.dir.path(),
        progress: Arc::default(),
        allowance: crate::allowance::Allowance::alone(96 << 20),
    };
    let mut decoder = Decoder::open(file, &request).expect("opens");
    assert!(decoder.next_entry().expect("an entry").is_some());
    assert!(decoder.next_entry().is_err());
    assert!(decoder.finish().is_err());
}

#[test]
fn zip64_records_are_read() {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().large_file(true);
    writer.start_file("a.csv", options).expect("a member");
    writer.write_all(b"a\n").expect("written");
    let stored = writer.finish().expect("ends").into_inner();
    assert_eq!(world().text(&stored), b"a\n");
    let many: Vec<String> = (0..70_000).map(|i| format!("{i}")).collect();
    let members: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let stored = zip(&members, ::zip::CompressionMethod::Stored);
    let error = world().error(&stored);
    assert!(matches!(error, DecodeError::TooManyEntries { .. }), "{error:?}");
    let (entries, _) = world()
        .with(|decode| {
            decode.entries_max = 70_000;
            decode.entries = vec!["6999?".to_owned()];
        })
        .decode(&stored)
        .expect("decodes");
    assert_eq!(entries.len(), 10);
}

/// Where the end record's number of members is.
fn end_record(stored: &[u8]) -> usize {
    memchr::memmem::rfind(stored, b"PK\x05\x06").expect("an end record")
}

#[test]
fn a_zips_members_are_those_of_its_directory_whatever_its_end_record_counts() {
    let clean = deflated(&[("a.csv", b"a\n"), ("b.csv", b"b\n"), ("c.csv", b"c\n")]);
    let end = end_record(&clean);
    for told in [0_u16, 1, 2, 3, 4, 100, u16::MAX] {
        let mut stored = clean.clone();
        for field in [8, 10] {
            stored[end + field..end + field + 2].copy_from_slice(&told.to_le_bytes());
        }
        let (entries, _) = world().decode(&stored).expect("its directory is whole");
        assert_eq!(names(&entries), ["a.csv", "b.csv", "c.csv"], "{told}");
        let few = world().with(|decode| decode.entries_max = 2);
        assert!(matches!(few.error(&stored), DecodeError::TooManyEntries { .. }));
    }
}

/// Writers before zip64 (older Java, Ant, .NET) store the number modulo 65,536.
#[test]
fn a_zip_of_more_members_than_its_end_record_can_count_loses_none() {
    let many: Vec<String> = (0..70_000).map(|i| format!("{i}")).collect();
    let members: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let zip64 = zip(&members, ::zip::CompressionMethod::Stored);
    let end = end_record(&zip64);
    let record = memchr::memmem::rfind(&zip64, b"PK\x06\x06").expect("a record of zip64");
    let mut stored = zip64[..record].to_vec();
    stored.extend_from_slice(&zip64[end..end + 8]);
    stored.extend_from_slice(
        &[(70_000 - 65_536_u32).to_le_bytes(); 2].map(|count| [count[0], count[1]]).concat(),
    );
    stored.extend_from_slice(&zip64[record + 40..record + 44]);
    stored.extend_from_slice(&zip64[record + 48..record + 52]);
    stored.extend_from_slice(&[0, 0]);
    let world = world().with(|decode| {
        decode.entries_max = 70_000;
        decode.entries = vec!["6999?".to_owned(), "0".to_owned()];
    });
    assert_eq!(world.decode(&stored).expect("decodes").0.len(), 11);
    let fewer = world.with(|decode| decode.entries_max = 69_999);
    assert!(matches!(fewer.error(&stored), DecodeError::TooManyEntries { .. }));
}

#[test]
fn a_zip_whose_directory_does_not_end_at_its_end_record_is_refused() {
    let clean = deflated(&[("a.csv", b"a\n"), ("b.csv", b"b\n")]);
    let end = end_record(&clean);
    let padded = [&clean[..end], &[b'x'; 60], &clean[end..]].concat();
    let message = world().error(&padded).to_string();
    assert!(message.contains("directory"), "{message}");
    let mut cut = clean.clone();
    cut.drain(end - 10..end);
    assert_eq!(world().error(&cut).kind(), FaultKind::Input);
}

#[test]
fn what_stands_before_a_zip_is_passed_over() {
    let clean = deflated(&[("a.csv", b"a\n"), ("b.csv", b"b\n")]);
    let mut sfx = b"PK\x03\x04 not a member at all".to_vec();
    sfx.extend_from_slice(&clean);
    assert_eq!(world().decode(&sfx).expect("decodes").0.len(), 2);
}

#[test]
fn zeros_behind_a_zip_are_passed_over_and_anything_else_is_not() {
    let clean = deflated(&[("a.csv", b"a\n")]);
    for zeros in [1, 511, 70_000, 300_000] {
        let mut stored = clean.clone();
        stored.resize(clean.len() + zeros, 0);
        assert_eq!(world().text(&stored), b"a\n", "{zeros}");
        stored.push(b'x');
        let error = world().error(&stored);
        let is_told = matches!(error, DecodeError::Garbage { offset, .. } if offset == clean.len() as u64);
        assert!(is_told || zeros > 60_000, "{zeros}: {error:?}");
    }
}

#[test]
fn links_in_a_zip_are_listed_and_not_read() {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default();
    writer.add_symlink("link", "a.csv", options).expect("a link");
    writer.start_file("a.csv", options).expect("a member");
    writer.write_all(b"a\n").expect("written");
    let (entries, decoded) = world().decode(&writer.finish().expect("ends").into_inner()).expect("decodes");
    assert_eq!(names(&entries), ["a.csv"]);
    assert_eq!(decoded.skipped, [Skipped { name: OsText::from("link"), reason: "symbolic link" }]);
}

#[test]
fn a_wrong_checksum_or_size_in_a_zip_is_an_error() {
    let clean = zip(&[("a.csv", b"abcdef\n")], ::zip::CompressionMethod::Stored);
    let directory = memchr::memmem::find(&clean, b"PK\x01\x02").expect("a directory");
    let mut content = clean.clone();
    let at = memchr::memmem::find(&content, b"abcdef").expect("the content");
    content[at] = b'x';
    let message = world().error(&content).to_string();
    assert!(message.contains("checksum"), "{message}");
    let mut size = clean;
    size[directory + 24] += 1;
    assert_eq!(world().error(&size).kind(), FaultKind::Input);
}

#[test]
fn folders_links_and_pax_headers_of_a_tar_are_no_entries_and_sparse_members_are_refused() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let add = |builder: &mut ::tar::Builder<Vec<u8>>, kind, name: &str, data: &[u8]| {
        let mut header = ::tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, name, data).expect("a member");
    };
    add(&mut builder, ::tar::EntryType::Directory, "in/", b"");
    add(&mut builder, ::tar::EntryType::Symlink, "link", b"");
    builder
        .append_pax_extensions([("path", &b"in/p\xc3\xa4y.csv"[..]), ("comment", b"x")])
        .expect("a header");
    add(&mut builder, ::tar::EntryType::Regular, "short", b"a\n");
    add(&mut builder, ::tar::EntryType::Regular, "next", b"b\n");
    let (entries, _) = world().decode(&builder.into_inner().expect("ends")).expect("decodes");
    assert_eq!(names(&entries), ["in/päy.csv", "next"]);

    let mut builder = ::tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).expect("a header");
    add(&mut builder, ::tar::EntryType::Regular, "holes", b"a\n");
    let message = world().error(&builder.into_inner().expect("ends")).to_string();
    assert!(message.contains("holes") && message.contains("sparse"), "{message}");
}
