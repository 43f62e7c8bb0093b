//! `[rule.decode.symmetric_encryption]`: keys of the Symmetric Encryption library.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A key of `.enc` files: one of `[rule.decode.symmetric_encryption] keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymmetricKey {
    /// What a file names it by.
    pub version: u8,
    /// The file that holds it, absolute.
    pub key_file: PathBuf,
    /// The IV of files, and of keys in their headers, that have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iv: Option<[u8; 16]>,
}
