//! By what a file counted as complete.

use serde::{Deserialize, Serialize};

/// By what a file counted as complete when it was taken: of several the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CompleteBy {
    /// Its totals, which are compared before anything is published.
    Totals,
    /// Its checksum, likewise.
    Checksum,
    /// Its marker, or that of its folder.
    Marker,
    /// Its content proves its own end (gzip, zip, age …): half of it is never published.
    Content,
    /// It was renamed to its name, or moved into the folder.
    Rename,
    /// Its writer closed it, which the rule trusts.
    Close,
    /// It stood still for `ready.stable_for`.
    StableFor,
    /// Somebody named it to a command.
    Command,
}

impl CompleteBy {
    /// As rules and JSON have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Totals => "totals",
            Self::Checksum => "checksum",
            Self::Marker => "marker",
            Self::Content => "content",
            Self::Rename => "rename",
            Self::Close => "close",
            Self::StableFor => "stable_for",
            Self::Command => "command",
        }
    }

    /// Whether half a file could have been taken for a whole one.
    pub(crate) fn is_weak(self) -> bool {
        matches!(self, Self::Close | Self::StableFor)
    }

    /// In a sentence, behind "by".
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Totals => "its totals",
            Self::Checksum => "its checksum",
            Self::Marker => "its marker",
            Self::Content => "its content, which proves its own end",
            Self::Rename => "a rename, after it was written",
            Self::Close => "a close alone, which `ready.trust_close` trusts: nothing proves its end",
            Self::StableFor => "`ready.stable_for` alone: it stood still, and nothing proves its end",
            Self::Command => "the command that named it",
        }
    }
}
