//! Patterns with named wildcards: SKELETON, owned by the watch helper.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::os_text::OsText;

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct Pattern;

/// The pattern is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Pattern {
    /// Parses an absolute pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> { let _ = text; unimplemented!() }
    /// The folder spelled out before the first wildcard.
    pub fn fixed_folder(&self) -> &Path { unimplemented!() }
    /// The names of its named wildcards.
    pub fn names(&self) -> &[String] { unimplemented!() }
    /// The named wildcards' values if the path matches; paths need not be UTF-8.
    pub fn matches(&self, path: &Path) -> Option<BTreeMap<String, OsText>> { let _ = path; unimplemented!() }
    /// Whether some file directly in this folder could match (for refusing loops).
    pub fn could_match_in(&self, folder: &Path) -> bool { let _ = folder; unimplemented!() }
}
