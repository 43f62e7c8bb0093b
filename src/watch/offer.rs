//! What the watch and the engine say to each other about a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::identity::FileIdentity;
use crate::model::os_text::OsText;

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
    /// Its marker and its totals, retired with it.
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
    /// May also be said of a file that was taken before and is given back later.
    NotYet,
    /// Nothing is claimed now, for a reason that the operator was told: try again when [`super::Watch::hasten`] says so, or after a while.
    Later(String),
    /// It could not be claimed: try again with back-off, the operator is told.
    Refused(String),
}
