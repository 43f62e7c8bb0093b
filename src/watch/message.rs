//! What reaches the watching thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use super::offer::{Answer, Outlets};
use super::rules::RuleSet;
use crate::durable_fs::HIDDEN_PREFIX;
use crate::model::file_known::FileSeen;

/// What reaches the watching thread.
pub(super) enum Message {
    Hint(PathBuf, Sign),
    /// Which files wait, at most so many of them, and what is told of folders.
    Waiting(Option<usize>, SyncSender<Vec<(PathBuf, String)>>),
    /// What is known of one candidate.
    Seen(PathBuf, SyncSender<Option<FileSeen>>),
    #[cfg(all(test, unix))]
    Rescan,
    /// Look at the flags, the answers and the rules.
    Wake,
}

/// Answers that the watching thread has not taken yet. They have no bound of their own: each offer has one, and so has each file in the
/// engine's hands. Nobody who gives one waits for the thread, which may hang in a file system.
pub(super) type Answers = Arc<Mutex<Vec<(PathBuf, Answer)>>>;

/// Other rules, and where their offers go, that the watching thread has not taken yet.
pub(super) type NextRules = Arc<Mutex<Option<(RuleSet, Outlets)>>>;

/// What an event says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It may be new; also what a scan found.
    Appeared,
    /// It changed, perhaps only in its times or rights.
    Changed,
    /// It was written, or its times were set.
    Written,
    /// Its writer closed it.
    Closed,
    /// It was renamed to here.
    MovedIn,
    /// It is there no more.
    Gone,
}

/// What a rename says about its new name. From a hidden name beside it, as rsync's, it may also be the doing of a receiver whose sender
/// broke off (`--partial`): no more is proven than by a close.
pub(super) fn sign_of_rename(from: &Path, to: &Path) -> Sign {
    let name = from.file_name().unwrap_or_default().as_encoded_bytes();
    // Our own outputs are renamed once they are whole.
    let may_be_half = name.starts_with(b".") && !name.starts_with(HIDDEN_PREFIX.as_bytes());
    if may_be_half && from.parent() == to.parent() { Sign::Closed } else { Sign::MovedIn }
}
