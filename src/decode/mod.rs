//! From a source to bounded streams of entries: SKELETON, owned by the decode helper.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::model::fault::{Fault, FaultKind};
use crate::model::os_text::OsText;
use crate::model::rule::{Decode, Records};

/// What stands between a source and its records.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// SKELETON
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
}

impl Fault for DecodeError {
    fn kind(&self) -> FaultKind { unimplemented!() }
}

impl DecodeError {
    /// Whether the source ended too early: it may still be growing, and is given back once before it is quarantined.
    pub fn ended_early(&self) -> bool { unimplemented!() }
}

/// Everything that decoding needs to know besides the file.
pub struct DecodeRequest<'a> {
    /// The file as the user knows it, for messages.
    pub shown_path: &'a Path,
    /// `[rule.decode]`.
    pub decode: &'a Decode,
    /// `[rule.records]`: `record_length` reads raw bytes, everything else text.
    pub records: &'a Records,
    /// `decode.identities` and `decode.passphrase_file` with the named wildcards filled in.
    pub identities: &'a [PathBuf],
    /// See `identities`.
    pub passphrase_file: Option<&'a Path>,
    /// A private folder (0700) for bounded, encrypted spools.
    pub spool_dir: &'a Path,
    /// Counts for the progress of long jobs, updated while reading.
    pub progress: Arc<Progress>,
}

/// How far reading is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the source that were read.
    pub bytes_read: AtomicU64,
    /// Bytes after decryption and decompression, before character decoding.
    pub bytes_decoded: AtomicU64,
}

/// A source being decoded: its entries, one after another.
pub struct Decoder;

/// One entry being read.
pub struct EntryReader<'a> {
    /// Its name in the archive as it stands there; empty for a plain file.
    pub name: OsText,
    /// UTF-8 text without BOM (raw bytes for `record_length` and `on_bad_encoding = "raw"`). Errors carry a
    /// `DecodeError` (see [`DecodeError::from_io`]).
    pub text: Box<dyn Read + 'a>,
}

/// What is known at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// `blake3:` and the hash of the decoded bytes of all entries taken, one after another.
    pub content_hash: String,
    /// Characters replaced under `on_bad_encoding = "replace"`.
    pub characters_replaced: u64,
}

impl Decoder {
    /// Looks at the first bytes and sets up the layers. `file` is a fresh descriptor at offset 0.
    pub fn open(file: std::fs::File, request: &DecodeRequest<'_>) -> Result<Self, DecodeError> { let _ = (file, request); unimplemented!() }
    /// The next entry that the rule takes; the previous one must be read to its end.
    pub fn next_entry(&mut self) -> Result<Option<EntryReader<'_>>, DecodeError> { unimplemented!() }
    /// After the last entry: checks trailers, garbage, the last age tag, and that at least one entry matched.
    pub fn finish(self) -> Result<Decoded, DecodeError> { unimplemented!() }
}

impl DecodeError {
    /// The decode error inside an I/O error of an entry's `text`, or a read error of `path`.
    pub fn from_io(error: std::io::Error, path: &Path) -> Self { let _ = (error, path); unimplemented!() }
}

/// Whether these first bytes of a file begin a format that proves its own end (gzip, zip, age, zstd, xz).
pub fn proves_its_end(first_bytes: &[u8]) -> bool { let _ = first_bytes; unimplemented!() }
