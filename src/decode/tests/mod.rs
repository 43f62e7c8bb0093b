//! The module as a whole: real files, made by the crates, read through `Decoder`.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_compression::futures::bufread::{BzEncoder, XzEncoder, ZstdEncoder};

use super::*;
use crate::model::fault::{Fault, FaultKind, WaitsFor};
use crate::model::os_text::OsText;
use crate::model::rule::{Decode, Fixed, FixedField, Format, Layer, OnBadEncoding, Records};

mod archives;
mod characters;
mod enc;
mod hostile;
mod keys;
mod layers;
mod tars;

/// One source's surroundings: what the rule says, and the keys.
struct World {
    dir: tempfile::TempDir,
    decode: Decode,
    records: Records,
    identities: Vec<PathBuf>,
    passphrase_file: Option<PathBuf>,
    signers: Vec<PathBuf>,
    read_bytes: usize,
}

type Entries = Vec<(String, Vec<u8>)>;

fn world() -> World {
    World {
        dir: tempfile::tempdir().expect("a folder"),
        decode: Decode {
            layers: Vec::new(),
            require_encrypted: false,
            require_signed: false,
            signers: Vec::new(),
            identities: Vec::new(),
            passphrase_file: None,
            symmetric_encryption: Vec::new(),
            entries: Vec::new(),
            entries_max: 100,
            depth_max: 3,
            expanded_max: 1 << 30,
            ratio_max: 1000,
            time_max: std::time::Duration::MAX,
            work_factor_max: 18,
            encoding: "utf-8".to_owned(),
            on_bad_encoding: OnBadEncoding::Fail,
        },
        records: Records {
            format: Format::Lines,
            skip_lines: 0,
            record_max: 8 << 20,
            slice_records: 1000,
            separator: None,
        },
        identities: Vec::new(),
        passphrase_file: None,
        signers: Vec::new(),
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
            signers: &self.signers,
            spool_dir: self.dir.path(),
            progress: Arc::clone(&progress),
            allowance: crate::allowance::Allowance::alone(96 << 20),
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
