//! Notifier (hints), scanner (truth) and readiness: SKELETON, owned by the watch helper.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::model::fault::{Fault, FaultKind};
use crate::model::identity::FileIdentity;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;

pub mod pattern;

/// Watching cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// SKELETON
    #[error("SKELETON")]
    Skeleton,
}

impl Fault for WatchError {
    fn kind(&self) -> FaultKind { FaultKind::Config }
}

/// A candidate that is judged complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The rule's name.
    pub rule: String,
    /// Absolute.
    pub path: PathBuf,
    /// What it was when it was judged.
    pub identity: FileIdentity,
    /// The rule's named wildcards.
    pub vars: BTreeMap<String, OsText>,
    /// Its marker, retired with it.
    pub companions: Vec<PathBuf>,
    /// Judged by a close-write and content that proves its own end: may turn out to be early.
    pub may_be_early: bool,
}

/// What the engine says to an offer. Every offer is answered exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is ours; a file that lies there later is a new candidate. (Also: a kept file that is known.)
    Taken,
    /// It changed while it was claimed, or it was given back: watch on; quiet time counts from now, a close-write alone no longer proves.
    NotYet,
    /// It could not be claimed: try again with back-off, the operator is told.
    Refused(String),
}

/// The watching threads.
pub struct Watch;

impl Watch {
    /// Starts watching the live rules. Offers come in batches, in each rule's `order`; the receiver going away stops the watch.
    /// `already_kept` tells whether a `keep` file of this identity is known.
    pub fn start(rules: Vec<Rule>, scan_every: Duration, offers: SyncSender<Vec<Offer>>, already_kept: Box<dyn Fn(&FileIdentity) -> bool + Send + Sync>) -> Result<Self, WatchError> { let _ = (rules, scan_every, offers, already_kept); unimplemented!() }
    /// Answers an offer.
    pub fn answer(&self, path: &Path, answer: Answer) { let _ = (path, answer); unimplemented!() }
    /// Candidates that are seen but not offered or not taken, with the reason.
    pub fn waiting(&self) -> Vec<(PathBuf, String)> { unimplemented!() }
    /// Stops and joins the threads.
    pub fn stop(self) { unimplemented!() }
}
