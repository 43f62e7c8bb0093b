//! What decoding is told, and what it tells while it reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::allowance::Allowance;
use crate::model::rule::{Decode, Layer, OnBadEncoding, Records};

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
    /// `decode.signers`, in the same way.
    pub signers: &'a [PathBuf],
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

/// How a file that a job wrote is read again: by these layers, as bytes, whatever the rule asks of its sources, and however long whoever reads
/// it takes.
pub(crate) fn of_output(decode: &Decode, layers: Vec<Layer>) -> Decode {
    Decode {
        layers,
        require_encrypted: false,
        require_signed: false,
        entries: Vec::new(),
        expanded_max: u64::MAX,
        ratio_max: u64::MAX,
        time_max: Duration::MAX,
        encoding: "utf-8".to_owned(),
        on_bad_encoding: OnBadEncoding::Raw,
        ..decode.clone()
    }
}
