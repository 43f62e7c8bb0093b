//! What may lie around the text of a source.

use serde::{Deserialize, Serialize};

/// One layer around the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// age, binary or armored.
    Age,
    /// A file of the Symmetric Encryption library (`.enc`).
    Enc,
    /// `OpenPGP`, binary or armored.
    Pgp,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// zip.
    Zip,
    /// tar.
    Tar,
}
