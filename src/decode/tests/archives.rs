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
        spool_dir: world.dir.path(),
        progress: Arc::default(),
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

#[test]
fn two_members_of_one_name_are_an_error() {
    let mut stored = zip(&[("a.csv", b"a\n"), ("b.csv", b"b\n")], ::zip::CompressionMethod::Stored);
    while let Some(at) = memchr::memmem::find(&stored, b"b.csv") {
        stored[at] = b'a';
    }
    assert!(matches!(world().error(&stored), DecodeError::Entry { .. }));
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
