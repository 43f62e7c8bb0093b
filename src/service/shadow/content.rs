//! What is in an output, unpacked: ours, which lies where nobody else looks, or that of the old system.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use super::outline::Outline;
use super::rules::SEALED_SUFFIX;
use crate::allowance::Allowance;
use crate::at_rest::KeyRing;
use crate::decode::{self, DecodeError, DecodeRequest, Decoder};
use crate::durable_fs;
use crate::model::rule::{Layer, Rule};

/// What unpacking may take beside its buffers.
const MEMORY_MAX: u64 = 256 << 20;
/// How encrypted files begin.
const ENCRYPTED: [&[u8]; 3] =
    [b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----", b"-----BEGIN PGP MESSAGE-----"];
/// How packed files begin, and what their names end in.
const PACKED: [(&[u8], &str, Layer); 4] = [
    (b"\x1f\x8b", "gz", Layer::Gzip),
    (b"\x28\xb5\x2f\xfd", "zst", Layer::Zstd),
    (b"BZh", "bz2", Layer::Bzip2),
    (b"\xfd7zXZ\0", "xz", Layer::Xz),
];
const HEAD_BYTES: u64 = 64;

/// Why a file's content cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is encrypted, and is not decrypted here")]
    Encrypted,
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it cannot be unpacked: {0}")]
    Unpack(#[from] DecodeError),
}

/// Reads an output of ours to its end. Its template says how it is packed: a plain one may begin in any way.
pub(super) fn outline_ours(
    path: &Path,
    template: &str,
    rule: &Rule,
    own_keys: Option<Arc<KeyRing>>,
    spool_dir: &Path,
) -> Result<Outline, Unreadable> {
    let file = durable_fs::open_source(path)?;
    let sealed = template.strip_suffix(SEALED_SUFFIX);
    let suffix = Path::new(sealed.unwrap_or(template)).extension().unwrap_or_default();
    let packed = PACKED.iter().find(|(_, packed, _)| suffix.eq_ignore_ascii_case(packed));
    let layers = sealed.map(|_| Layer::Age).into_iter().chain(packed.map(|(_, _, layer)| *layer));
    unpacked(file, layers.collect(), path, rule, own_keys, spool_dir)
}

/// Reads a file of the old system, which is told by its first bytes to be packed or not, to its end.
pub(super) fn outline_theirs(path: &Path, rule: &Rule, spool_dir: &Path) -> Result<Outline, Unreadable> {
    let mut file = durable_fs::open_source(path)?;
    let mut head = Vec::new();
    (&file).take(HEAD_BYTES).read_to_end(&mut head)?;
    file.rewind()?;
    if ENCRYPTED.iter().any(|begins| head.starts_with(begins)) {
        return Err(Unreadable::Encrypted);
    }
    match PACKED.iter().find(|(begins, ..)| head.starts_with(begins)) {
        Some((_, _, layer)) => unpacked(file, vec![*layer], path, rule, None, spool_dir),
        None => Ok(Outline::of(file)?),
    }
}

fn unpacked(
    file: File,
    layers: Vec<Layer>,
    path: &Path,
    rule: &Rule,
    own_keys: Option<Arc<KeyRing>>,
    spool_dir: &Path,
) -> Result<Outline, Unreadable> {
    if layers.is_empty() {
        return Ok(Outline::of(file)?);
    }
    let decode = decode::of_output(&rule.decode, layers);
    let request = DecodeRequest {
        shown_path: path,
        decode: &decode,
        records: &rule.records,
        identities: &[],
        passphrase_file: None,
        signers: &[],
        spool_dir,
        progress: Arc::default(),
        allowance: Allowance::alone(MEMORY_MAX),
    };
    let mut decoder = Decoder::open_own(file, &request, own_keys)?;
    match decoder.next_entry()? {
        Some(entry) => Outline::of(entry.text).map_err(|error| DecodeError::from_io(error, path).into()),
        None => Ok(Outline::of(io::empty())?),
    }
}
