//! The module as a whole: real files, made by the crates, read through `Decoder`.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_compression::futures::bufread::{BzEncoder, XzEncoder, ZstdEncoder};

use super::*;
use crate::model::fault::{Fault, FaultKind, WaitsFor};
use crate::model::rule::{Fixed, FixedField, Format, Layer, OnBadEncoding};

/// One source's surroundings: what the rule says, and the keys.
struct World {
    dir: tempfile::TempDir,
    decode: Decode,
    records: Records,
    identities: Vec<PathBuf>,
    passphrase_file: Option<PathBuf>,
    read_bytes: usize,
}

type Entries = Vec<(String, Vec<u8>)>;

fn world() -> World {
    World {
        dir: tempfile::tempdir().expect("a folder"),
        decode: Decode {
            layers: Vec::new(),
            require_encrypted: false,
            identities: Vec::new(),
            passphrase_file: None,
            entries: Vec::new(),
            entries_max: 100,
            depth_max: 3,
            expanded_max: 1 << 30,
            ratio_max: 1000,
            encoding: "utf-8".to_owned(),
            on_bad_encoding: OnBadEncoding::Fail,
        },
        records: Records { format: Format::Lines, skip_lines: 0, record_max: 8 << 20, slice_records: 1000 },
        identities: Vec::new(),
        passphrase_file: None,
        read_bytes: 64 << 10,
    }
}

impl World {
    fn with(mut self, change: impl FnOnce(&mut Decode)) -> Self {
        change(&mut self.decode);
        self
    }

    fn with_key(mut self, text: &str) -> Self {
        let file = self.dir.path().join(format!("key-{}", self.identities.len()));
        std::fs::write(&file, text).expect("a key file");
        self.identities.push(file);
        self
    }

    fn decode(&self, stored: &[u8]) -> Result<(Entries, Decoded), DecodeError> {
        let mut file = tempfile::tempfile_in(self.dir.path()).expect("a file");
        file.write_all(stored).expect("written");
        file.seek(SeekFrom::Start(0)).expect("at its start");
        let path = Path::new("in/source");
        let progress = Arc::new(Progress::default());
        let request = DecodeRequest {
            shown_path: path,
            decode: &self.decode,
            records: &self.records,
            identities: &self.identities,
            passphrase_file: self.passphrase_file.as_deref(),
            spool_dir: self.dir.path(),
            progress: Arc::clone(&progress),
        };
        let mut decoder = Decoder::open(file, &request)?;
        let mut entries = Vec::new();
        while let Some(mut entry) = decoder.next_entry()? {
            let (mut text, mut buf) = (Vec::new(), vec![0; self.read_bytes]);
            loop {
                match entry.text.read(&mut buf).map_err(|error| DecodeError::from_io(error, path))? {
                    0 => break,
                    n => text.extend_from_slice(&buf[..n]),
                }
            }
            entries.push((entry.name.to_string(), text));
        }
        assert!(progress.bytes_read.load(Relaxed) <= stored.len() as u64, "no byte counts twice");
        Ok((entries, decoder.finish()?))
    }

    fn text(&self, stored: &[u8]) -> Vec<u8> {
        let (mut entries, _) = self.decode(stored).expect("decodes");
        assert_eq!(entries.len(), 1);
        entries.remove(0).1
    }

    fn error(&self, stored: &[u8]) -> DecodeError {
        match self.decode(stored) {
            Ok((entries, _)) => {
                let lengths: Vec<_> = entries.iter().map(|(name, text)| (name, text.len())).collect();
                panic!("decoded {lengths:?} of {} bytes", stored.len())
            }
            Err(error) => error,
        }
    }
}

fn drive(mut encoder: impl futures_io::AsyncRead + Unpin) -> Vec<u8> {
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    let (mut out, mut buf) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match std::pin::Pin::new(&mut encoder).poll_read(&mut task, &mut buf) {
            std::task::Poll::Ready(Ok(0)) => return out,
            std::task::Poll::Ready(n) => out.extend_from_slice(&buf[..n.expect("encodes")]),
            std::task::Poll::Pending => panic!("memory is never pending"),
        }
    }
}

/// Memory for the asynchronous encoders.
struct Memory<'a>(&'a [u8]);

impl futures_io::AsyncRead for Memory<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(self.0.read(buf))
    }
}

impl futures_io::AsyncBufRead for Memory<'_> {
    fn poll_fill_buf(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<&[u8]>> {
        std::task::Poll::Ready(Ok(self.get_mut().0))
    }

    fn consume(mut self: std::pin::Pin<&mut Self>, bytes: usize) {
        self.0 = &self.0[bytes..];
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).expect("compresses");
    encoder.finish().expect("compresses")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    // Ended by its checksumless last block; every cut is still seen.
    drive(ZstdEncoder::new(Memory(data)))
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    drive(BzEncoder::new(Memory(data)))
}

fn xz(data: &[u8]) -> Vec<u8> {
    drive(XzEncoder::new(Memory(data)))
}

fn key() -> (::age::x25519::Identity, String) {
    use ::age::secrecy::ExposeSecret as _;
    let identity = ::age::x25519::Identity::generate();
    let text = format!("# a comment\n{}\n", identity.to_string().expose_secret());
    (identity, text)
}

fn encrypt_to(data: &[u8], recipient: &dyn ::age::Recipient, armor: bool) -> Vec<u8> {
    let format = if armor { ::age::armor::Format::AsciiArmor } else { ::age::armor::Format::Binary };
    let out = ::age::armor::ArmoredWriter::wrap_output(Vec::new(), format).expect("a writer");
    let encryptor = ::age::Encryptor::with_recipients(std::iter::once(recipient)).expect("an encryptor");
    let mut sink = encryptor.wrap_output(out).expect("a header");
    sink.write_all(data).expect("encrypts");
    sink.finish().and_then(::age::armor::ArmoredWriter::finish).expect("ends")
}

fn zip(members: &[(&str, &[u8])], method: ::zip::CompressionMethod) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, data) in members {
        if name.ends_with('/') {
            writer.add_directory(*name, options).expect("a folder");
        } else {
            writer.start_file(*name, options).expect("a member");
            writer.write_all(data).expect("written");
        }
    }
    writer.finish().expect("ends").into_inner()
}

fn deflated(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip(members, ::zip::CompressionMethod::Deflated)
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, data) in members {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *data).expect("a member");
    }
    builder.into_inner().expect("ends")
}

/// Numbered lines: they compress, but not to nothing.
fn csv(lines: u64) -> Vec<u8> {
    let line = |i: u64| format!("{i},{:x},päyment\n", i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..lines).map(line).collect::<String>().into_bytes()
}

fn names(entries: &Entries) -> Vec<&str> {
    entries.iter().map(|(name, _)| name.as_str()).collect()
}

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
            // Armor's last line end need not be there.
            if what == "armor" && stored.len() - cut <= 1 {
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
fn a_changed_byte_never_passes() {
    let data = csv(2_000);
    let (identity, key) = key();
    let world = world().with_key(&key);
    let sources = [
        gzip(&data),
        bzip2(&data),
        xz(&data),
        deflated(&[("a.csv", &data)]),
        encrypt_to(&data, &identity.to_public(), false),
    ];
    for stored in sources {
        for at in (stored.len() / 3..stored.len() * 2 / 3).step_by(stored.len() / 12) {
            let mut changed = stored.clone();
            changed[at] ^= 0x10;
            let error = world.error(&changed);
            assert_eq!(error.kind(), FaultKind::Input, "{error:?}");
        }
    }
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
    for stored in [
        age(&deflated(&members)),
        encrypt_to(&deflated(&members), &identity.to_public(), true),
        gzip(&deflated(&members)),
        gzip(&tar(&members)),
        age(&gzip(&tar(&members))),
    ] {
        let (entries, decoded) = world.decode(&stored).expect("decodes");
        assert_eq!(entries, [("in/a.csv".to_owned(), data.clone()), ("b.csv".to_owned(), b"b\n".to_vec())]);
        let whole = [data.as_slice(), b"b\n"].concat();
        assert_eq!(decoded.content_hash, format!("blake3:{}", blake3::hash(&whole).to_hex()));
    }
}

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
fn an_unencrypted_source_is_refused_where_encryption_is_required() {
    let (identity, key) = key();
    let strict = world().with(|decode| decode.require_encrypted = true).with_key(&key);
    assert!(matches!(strict.error(&gzip(b"a\n")), DecodeError::NotEncrypted { .. }));
    assert!(matches!(strict.error(&deflated(&[("a", b"a\n")])), DecodeError::NotEncrypted { .. }));
    assert_eq!(strict.text(&gzip(&encrypt_to(b"a\n", &identity.to_public(), false))), b"a\n");
    assert_eq!(strict.text(&encrypt_to(&deflated(&[("a", b"a\n")]), &identity.to_public(), false)), b"a\n");
}

#[test]
fn a_missing_wrong_or_broken_key_waits_for_a_key() {
    let (identity, right) = key();
    let (_, wrong) = key();
    let stored = encrypt_to(b"a\n", &identity.to_public(), false);
    for world in [
        world(),
        world().with_key(&wrong),
        world().with_key("AGE-SECRET-KEY-NONSENSE\n"),
        world().with_key(""),
    ] {
        let error = world.error(&stored);
        assert_eq!((error.kind(), error.waits_for()), (FaultKind::Config, WaitsFor::Key), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("decode.identities")));
        assert!(!format!("{error:?}").contains("NONSENSE"));
    }
    // A key file that could not be read may be the one that is missing: it is the one to name.
    let error = world().with_key(&wrong).with_key("nonsense").error(&stored);
    assert!(matches!(&error, DecodeError::KeyFile { file, .. } if file.ends_with("key-1")), "{error:?}");
    let several = world().with_key("nonsense").with_key(&format!("{wrong}\r\n{right}"));
    assert_eq!(several.text(&stored), b"a\n");
}

#[test]
fn a_passphrase_opens_what_it_encrypted_and_a_wrong_one_waits() {
    let mut recipient = ::age::scrypt::Recipient::new("open sesame".to_owned().into());
    recipient.set_work_factor(4);
    let stored = encrypt_to(b"a\n", &recipient, false);
    let mut world = world();
    assert_eq!(world.error(&stored).waits_for(), WaitsFor::Key);
    let file = world.dir.path().join("passphrase");
    world.passphrase_file = Some(file.clone());
    assert_eq!(world.error(&stored).kind(), FaultKind::Config);
    std::fs::write(&file, "open sesame\r\n").expect("written");
    assert_eq!(world.text(&stored), b"a\n");
    std::fs::write(&file, "close sesame\n").expect("written");
    assert_eq!(world.error(&stored).kind(), FaultKind::Config);
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
    assert!(error.hint().is_some_and(|hint| hint.contains("UTF-16")));
    let error = world().error(b"\xff\xfea\0\0\0");
    assert!(matches!(error, DecodeError::Nul { offset: 4, .. }), "{error:?}");
}

#[test]
fn records_of_bytes_pass_untouched() {
    let mut world = world();
    let fields = vec![FixedField { name: "id".to_owned(), width: 4 }];
    world.records.format = Format::Fixed(Fixed { fields, record_length: Some(4) });
    assert_eq!(world.text(b"\xef\xbb\xbf\0\xff\0"), b"\xef\xbb\xbf\0\xff\0");
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
fn a_zip_with_a_hostile_directory_is_an_error_within_age_too() {
    let (identity, key) = key();
    let world = world().with_key(&key);
    let clean = deflated(&[("a.csv", &csv(200))]);
    let directory = memchr::memmem::find(&clean, b"PK\x01\x02").expect("a directory");
    for at in directory..clean.len() {
        let mut changed = clean.clone();
        changed[at] = changed[at].wrapping_add(0x81);
        // Whatever it says, reading it never panics.
        world.decode(&changed).ok();
        if at % 3 == 0 {
            world.decode(&encrypt_to(&changed, &identity.to_public(), false)).ok();
        }
    }
}

#[test]
fn an_ssh_key_opens_what_was_encrypted_to_it() {
    // Made for this test only.
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE6KeQcFvSw6VIoTOFRzlyAWP+weIqISEPFZ2afKh91H test";
    let recipient: ::age::ssh::Recipient = public.parse().expect("a recipient");
    let stored = encrypt_to(b"a\n", &recipient, false);
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
QyNTUxOQAAACBOinkHBb0sOlSKEzhUc5cgFj/sHiKiEhDxWdmnyofdRwAAAIhAV8vRQFfL\n\
0QAAAAtzc2gtZWQyNTUxOQAAACBOinkHBb0sOlSKEzhUc5cgFj/sHiKiEhDxWdmnyofdRw\n\
AAAEC4z161v7trnY6DEhSwMN0XrG9EIxY00wzZsaoKC8dD706KeQcFvSw6VIoTOFRzlyAW\n\
P+weIqISEPFZ2afKh91HAAAABHRlc3QB\n\
-----END OPENSSH PRIVATE KEY-----\n\
";
    assert_eq!(world().with_key(private).text(&stored), b"a\n");
    assert_eq!(world().with_key(&private.replace('\n', "\r\n")).text(&stored), b"a\n");
    let broken = world().with_key(&private.replace("b3BlbnNzaC1rZXk", "xxx"));
    assert_eq!(broken.error(&stored).waits_for(), WaitsFor::Key);
}

#[test]
fn a_passphrase_that_asks_for_too_much_work_is_refused() {
    let mut recipient = ::age::scrypt::Recipient::new("open sesame".to_owned().into());
    recipient.set_work_factor(4);
    let stored = encrypt_to(b"a\n", &recipient, false);
    let line_end = memchr::memmem::find(&stored, b" 4\n").expect("the work factor");
    let greedy = [&stored[..=line_end], b"30", &stored[line_end + 2..]].concat();
    let mut world = world();
    let file = world.dir.path().join("passphrase");
    std::fs::write(&file, "open sesame").expect("written");
    world.passphrase_file = Some(file);
    let error = world.error(&greedy);
    assert_eq!(error.kind(), FaultKind::Input);
    assert!(error.to_string().contains("2^30"), "{error}");
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

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever comes in, reading it never panics.
    #[test]
    fn hostile_bytes_behind_any_magic_never_panic(
        magic in proptest::sample::select(vec![
            &b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh91AY&SY", b"PK\x03\x04",
            b"age-encryption.org/v1\n-> ", b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"\xff\xfe", b"\xef\xbb\xbf",
        ]),
        rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
    ) {
        world().decode(&[magic, rest.as_slice()].concat()).ok();
    }

    #[test]
    fn a_changed_tar_never_panics_and_a_changed_text_is_never_shorter(at in 0_usize..3000, to in proptest::prelude::any::<u8>()) {
        let mut stored = tar(&[("a.csv", &csv(20)), ("b.csv", b"b\n")]);
        let at = at % stored.len();
        stored[at] = to;
        world().decode(&stored).ok();
    }
}
