//! What a shadow tells of one file: what would have been published, and what the old system published.

use serde::{Deserialize, Serialize};

use super::os_text::OsText;

/// A job that published nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shadow {
    /// The step before which it ended, because a shadow does not run it: what would be in the outputs is not known.
    pub not_run: Option<String>,
    /// What each of the job's outputs would be, in their order.
    pub outputs: Vec<Shadowed>,
}

/// An output that was written nowhere, unpacked and not encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shadowed {
    /// In bytes.
    pub bytes: u64,
    /// In lines, the header and one without an end counted.
    pub lines: u64,
    /// `blake3:` and the hash.
    pub hash: String,
    /// How it compares with that of the old system; none: it was not to be compared.
    pub compared: Option<Compared>,
}

/// An output beside the old system's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compared {
    /// What came of it.
    pub verdict: Verdict,
    /// The old system's file.
    pub theirs: Option<OsText>,
    /// What is in it, unpacked.
    pub their_bytes: Option<u64>,
    /// Likewise.
    pub their_lines: Option<u64>,
    /// Where they differ first, or why they cannot be compared.
    pub detail: Option<String>,
}

/// What came of comparing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The old system has not written it, or is still writing.
    #[default]
    NotThereYet,
    /// The same content.
    Match,
    /// Another content.
    Differs,
    /// The old system did not write it.
    OursOnly,
    /// Theirs cannot be read.
    NotCompared,
}

impl Verdict {
    /// As reports have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotThereYet => "not there yet",
            Self::Match => "match",
            Self::Differs => "differs",
            Self::OursOnly => "ours only",
            Self::NotCompared => "not compared",
        }
    }
}
