//! What is known of one file that is no job: how the watch has seen it, and what the ledger says of it as it lies there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::job_id::JobId;

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileKnown {
    /// It waits to be taken.
    pub waiting: Option<FileSeen>,
    /// It stays where it lies, and is not taken again as long as it is the same.
    pub kept: Option<FileKept>,
}

/// A file that waits, as the watch has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSeen {
    /// What it waits for, in a sentence.
    pub reason: String,
    /// It waits longer than its rule's `ready.late_after`.
    pub is_late: bool,
    /// It waits for that since then.
    pub reason_since: Timestamp,
    pub first_seen_at: Timestamp,
    /// Nothing of it changed since then.
    pub still_since: Timestamp,
    /// Its sizes, each with when it was first seen: the first one, and the last ones.
    pub sizes: Vec<SizeSeen>,
    /// When it is looked at again, if nothing is told of it before; none: it is complete.
    pub next_look_at: Option<Timestamp>,
}

/// A size that a file had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SizeSeen {
    pub at: Timestamp,
    pub bytes: u64,
}

/// A file that was ingested and stays, or that was adopted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileKept {
    /// The job that it became; none: an operator said that it was dealt with.
    pub job: Option<JobId>,
    pub rule: String,
    pub at: Timestamp,
}
