//! What the watch and the engine say to each other about a file.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use crate::model::complete_by::CompleteBy;
use crate::model::identity::FileIdentity;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;

/// Key and template, what stands there, the name of the file.
type BreaksOff = fn((&str, &str), &[u8], &OsStr) -> Option<String>;

/// What the content of files tells: the watch knows no format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// Whether these first bytes of a file begin a format that proves its own end.
    pub proves_its_end: fn(&[u8]) -> bool,
    /// What lacks of totals or a checksum (by the rule's key and template) that break off, beside a file of this name.
    pub breaks_off: BreaksOff,
}

#[cfg(test)]
impl Content {
    /// No content tells anything.
    pub(crate) const NOTHING: Self = Self { proves_its_end: |_| false, breaks_off: |_, _, _| None };
}

/// A candidate that is judged complete.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    /// The rule that it is made under, whatever the rules are when it is taken.
    pub rule: Arc<Rule>,
    /// Absolute.
    pub path: PathBuf,
    /// What it was when it was judged.
    pub identity: FileIdentity,
    /// How many names it had then, of which this is the only one that a rule takes; none: nobody asked.
    pub names: Option<u64>,
    /// The rule's named wildcards.
    pub vars: BTreeMap<String, OsText>,
    /// Its own marker, totals and checksum, retired with it.
    pub companions: Vec<PathBuf>,
    /// The marker of its folder, as it was when it was judged, where this is the last file that it stands for.
    pub folder_marker: Option<(PathBuf, FileIdentity)>,
    /// By what it counts as complete, where that is known.
    pub complete_by: Option<CompleteBy>,
}

impl Offer {
    /// A file that goes away from where it lies, whatever lies beside it.
    pub(crate) fn going(
        rule: &Arc<Rule>,
        path: &Path,
        identity: FileIdentity,
        vars: BTreeMap<String, OsText>,
    ) -> Self {
        Self {
            rule: Arc::clone(rule),
            path: path.to_owned(),
            identity,
            names: None,
            vars,
            companions: Vec::new(),
            folder_marker: None,
            complete_by: None,
        }
    }
}

/// Where offers go: rules whose offers may be taken slowly have an outlet of their own, so that others do not wait for them.
#[derive(Debug)]
pub(crate) struct Outlets {
    senders: Vec<SyncSender<Vec<Offer>>>,
    /// By the rules' names; the first one for those that are not here.
    of_rules: HashMap<String, usize>,
}

impl Outlets {
    /// `of_rules`: which of the senders is for a rule, by its name.
    pub(crate) fn new(senders: Vec<SyncSender<Vec<Offer>>>, of_rules: HashMap<String, usize>) -> Self {
        Self { senders, of_rules }
    }

    pub(super) fn of(&self, rule: &str) -> usize {
        self.of_rules.get(rule).copied().unwrap_or(0)
    }

    pub(super) fn try_send(&self, outlet: usize, batch: Vec<Offer>) -> Result<(), TrySendError<Vec<Offer>>> {
        match self.senders.get(outlet) {
            Some(sender) => sender.try_send(batch),
            None => Err(TrySendError::Disconnected(batch)),
        }
    }
}

/// One outlet for all.
impl From<SyncSender<Vec<Offer>>> for Outlets {
    fn from(sender: SyncSender<Vec<Offer>>) -> Self {
        Self::new(vec![sender], HashMap::new())
    }
}

/// What the engine says of a file. Every offer is answered exactly once; [`Self::ComesBack`] is no answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is ours; a file that lies there later is a new candidate. (Also: a kept file that is known.)
    Taken,
    /// It changed while it was claimed, or it was given back: watch on; quiet time counts from now, a close-write alone no longer proves.
    /// May also be said of a file that was taken before and is given back later.
    NotYet,
    /// This file is about to be renamed back to where it lay, whoever took it from there: its coming proves nothing. [`Self::NotYet`] follows.
    ComesBack(FileIdentity),
    /// Nothing was claimed: the rule that it was offered under is gone, or takes nothing any more. What is known of the file stays, and it is
    /// judged by the rules as they are now.
    OtherRules,
    /// Nothing is claimed now, for a reason that the operator was told: try again when [`super::Watch::hasten`] says so, or after a while.
    Later(String),
    /// No answer to an offer: a file that may be one that stays where it lies was read.
    WasRead { identity: FileIdentity, is_kept: bool },
    /// It could not be claimed: try again with back-off, the operator is told.
    Refused(String),
}
