//! What reaches the watching thread.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use super::offer::{Answer, Outlets};
use super::rules::RuleSet;

/// What reaches the watching thread.
pub(super) enum Message {
    Hint(PathBuf, Sign),
    Waiting(SyncSender<Vec<(PathBuf, String)>>),
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
    /// It changed.
    Changed,
    /// Its writer closed it.
    Closed,
    /// It was renamed to here.
    MovedIn,
    /// It is there no more.
    Gone,
}
