//! Reading an output that this command wrote itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::allowance::Allowance;
use crate::decode::{DecodeRequest, Decoder};
use crate::model::rule::{Decode, OnBadEncoding, Rule};

/// What is in an output, unpacked where its name says that it is packed; at most so many bytes.
pub(super) fn read(path: &Path, rule: &Rule, scratch: &Path, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let is_packed = path.extension().is_some_and(|suffix| {
        ["gz", "zst", "bz2", "xz"].iter().any(|packed| suffix.eq_ignore_ascii_case(packed))
    });
    let file = File::open(path)?;
    if !is_packed {
        return Ok(beginning(file, bytes_max)?);
    }
    let decode = Decode {
        layers: Vec::new(),
        require_encrypted: false,
        entries: Vec::new(),
        encoding: "utf-8".to_owned(),
        on_bad_encoding: OnBadEncoding::Raw,
        ..rule.decode.clone()
    };
    let request = DecodeRequest {
        shown_path: path,
        decode: &decode,
        records: &rule.records,
        identities: &[],
        passphrase_file: None,
        spool_dir: scratch,
        progress: Arc::default(),
        allowance: Allowance::alone(u64::MAX), // our own output
    };
    let mut decoder = Decoder::open(file, &request)?;
    match decoder.next_entry()? {
        Some(entry) => Ok(beginning(entry.text, bytes_max)?),
        None => Ok(Vec::new()),
    }
}

fn beginning(text: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    text.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}
