//! What decoding is told, and what it tells while it reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::allowance::Allowance;
use crate::model::rule::{Decode, Records};

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
    /// What reading it may take.
    pub allowance: Arc<Allowance>,
}

/// How far reading is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the source that were read; never more than it has.
    pub bytes_read: AtomicU64,
    /// Bytes of the entries after decryption and decompression, before character decoding.
    pub bytes_decoded: AtomicU64,
}
