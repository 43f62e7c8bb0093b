//! From folders to offers: the notifier (hints), the scanner (truth) and readiness.
//!
//! One thread, `watch`, owns the table of candidates. It is driven by a bounded inbox and by deadlines, never by polling:
//!
//! ```text
//! notifier --hint--+
//!                  +--> candidate --ready?--> offer --> engine
//! scanner --file---+        ^                             |
//!                           +---- not yet, refused -------+
//! ```
//!
//! # Invariants
//! - Everything works without events: they only make it faster. What is lost (a full inbox, an overflowing queue, a watch limit, a
//!   network file system) costs a scan, never a file.
//! - A file is a candidate of the first rule that matches it, and is in the table once.
//! - A candidate is offered only after nobody was seen to have it open for writing; see `ready` for when.
//! - Links are not followed and are no candidates. The claim folders are never entered.
//!
//! Nothing here moves, changes or removes a file, or waits for the engine.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::durable_fs;
use crate::model::fault::{Fault, FaultKind};
use crate::model::identity::FileIdentity;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;

mod candidate;
mod candidates;
pub mod exclude;
mod notifier;
mod os_chars;
pub mod pattern;
mod probe;
#[cfg(target_os = "linux")]
mod processes;
mod ready;
pub mod rules;
mod scanner;
mod segment;
mod table;
mod troubles;
mod watcher;

use notifier::{Hints, Notifier, Sign};
use pattern::PatternError;
use rules::RuleSet;
use watcher::{Links, Watcher};

/// Messages that wait at most; what finds no room costs a scan.
const INBOX_MAX: usize = 16 * 1024;
/// As good as never, and within what every clock can count.
const FOREVER: Duration = Duration::from_hours(365 * 24);

/// Watching cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A pattern, exclusion or marker of a rule is wrong.
    #[error("rule \"{rule}\": {source}")]
    Pattern {
        /// The rule's name.
        rule: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// A rule waits for markers and does not say which.
    #[error("rule \"{rule}\": `ready.strategy` is `marker`, but `ready.marker` is missing")]
    NoMarker {
        /// The rule's name.
        rule: String,
    },
    /// The thread could not be started.
    #[error("cannot start the thread that watches the folders")]
    Thread(#[source] io::Error),
}

impl Fault for WatchError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Pattern { .. } | Self::NoMarker { .. } => FaultKind::Config,
            Self::Thread(_) => FaultKind::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Pattern { source, .. } => source.hint.clone(),
            Self::NoMarker { .. } => Some("add a marker, like `marker = \"{name}.done\"`".to_owned()),
            Self::Thread(_) => None,
        }
    }
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
    /// Nothing is claimed now, for a reason that the operator was told: try again when [`Watch::hasten`] says so, or after a while.
    Later(String),
    /// It could not be claimed: try again with back-off, the operator is told.
    Refused(String),
}

/// Whether somebody has the file open for writing, as far as the system tells.
pub fn has_writer(path: &Path) -> bool {
    matches!(probe::examine(path, false), Ok(probe::Examined::HasWriter))
}

/// What one look at a file told.
pub struct Look {
    /// Somebody has it open for writing, as far as the system tells; then nothing else was asked.
    pub has_writer: bool,
    /// What it is; none where nothing lies or where it is no regular file.
    pub identity: Option<FileIdentity>,
}

/// Whether somebody has the file open for writing, and what it is. One that cannot be opened has no writer as far as is known.
pub fn look_at(path: &Path) -> io::Result<Look> {
    match probe::examine(path, false) {
        Ok(probe::Examined::HasWriter) => Ok(Look { has_writer: true, identity: None }),
        Ok(probe::Examined::Quiet { identity, .. }) => {
            Ok(Look { has_writer: false, identity: Some(identity) })
        }
        Ok(probe::Examined::Gone) | Err(_) => {
            Ok(Look { has_writer: false, identity: durable_fs::identity_at(path)? })
        }
    }
}

/// Whether this process ever met a file of which the system does not tell who writes it.
pub fn is_blind() -> bool {
    probe::is_blind()
}

/// Whether somebody has the file open for writing, or that cannot be seen.
pub fn may_have_writer(path: &Path) -> bool {
    !matches!(
        probe::examine(path, false),
        Ok(probe::Examined::Quiet { is_blind: false, .. } | probe::Examined::Gone)
    )
}

/// What cannot be seen in a folder of another user without the right to lease his files.
const BLIND: &str = "whether somebody still writes a file here cannot be seen: this user may take no leases on the files of others, so that an upload which \
                     stalls longer than `ready.stable_for` is taken half; give the service CAP_LEASE, or let senders rename or send markers";

/// Of a folder in which this user cannot see who still writes: why, and what to do.
pub fn blind_spot(folder: &Path) -> Option<&'static str> {
    probe::is_blind_to(folder).then_some(BLIND)
}

/// What reaches the watching thread.
enum Message {
    Hint(PathBuf, Sign),
    Waiting(SyncSender<Vec<(PathBuf, String)>>),
    #[cfg(all(test, unix))]
    Rescan,
    /// Look at the flags, and at the answers.
    Wake,
}

/// Answers that the watching thread has not taken yet. They have no bound of their own: each offer has one, and so has each file in the
/// engine's hands. Nobody who gives one waits for the thread, which may hang in a file system.
type Answers = Arc<Mutex<Vec<(PathBuf, Answer)>>>;

/// The watching threads. None of its calls waits for them, but [`Watch::waiting`]: they may hang in a file system. Dropping it asks them
/// to stop.
pub struct Watch {
    inbox: SyncSender<Message>,
    answers: Answers,
    stopping: Arc<AtomicBool>,
    hastened: Arc<AtomicBool>,
    untold: Arc<AtomicU64>,
    scans: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Starts watching the live rules. Offers come in batches, each of one rule and in its `order`; the receiver going away stops the watch.
    /// `already_kept` tells whether a `keep` file of this identity is known, `proves_its_end` whether these first bytes of a file begin a
    /// format that proves its own end.
    pub fn start(
        rules: Vec<Rule>,
        scan_every: Duration,
        offers: SyncSender<Vec<Offer>>,
        already_kept: Box<dyn Fn(&FileIdentity) -> bool + Send + Sync>,
        proves_its_end: fn(&[u8]) -> bool,
    ) -> Result<Self, WatchError> {
        Self::start_with(rules, scan_every, true, Links { offers, already_kept, proves_its_end })
    }

    fn start_with(
        rules: Vec<Rule>,
        scan_every: Duration,
        events: bool,
        links: Links,
    ) -> Result<Self, WatchError> {
        let rules = RuleSet::new(rules)?;
        let (inbox, messages) = mpsc::sync_channel(INBOX_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicBool::new(false));
        let untold = Arc::new(AtomicU64::new(0));
        let scans = Arc::new(AtomicU64::new(0));
        let hastened = Arc::new(AtomicBool::new(false));
        let answers = Answers::default();
        let hints = events.then(|| Hints { inbox: inbox.clone(), lost: Arc::clone(&lost) });
        let flags = watcher::Flags {
            stopping: Arc::clone(&stopping),
            lost,
            hastened: Arc::clone(&hastened),
            answers: Arc::clone(&answers),
            untold: Arc::clone(&untold),
            scans: Arc::clone(&scans),
        };
        let run = move || Watcher::new(rules, scan_every, Notifier::new(hints), links, flags).run(&messages);
        let thread =
            thread::Builder::new().name("watch".to_owned()).spawn(run).map_err(WatchError::Thread)?;
        Ok(Self { inbox, answers, stopping, hastened, untold, scans, thread })
    }

    /// Answers an offer.
    pub fn answer(&self, path: &Path, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), answer));
        self.wake();
    }

    /// Scans all folders now.
    #[cfg(all(test, unix))]
    fn rescan(&self) {
        self.inbox.send(Message::Rescan).unwrap_or(());
    }

    /// Offers what was answered with [`Answer::Later`] again, now.
    pub fn hasten(&self) {
        self.hastened.store(true, Ordering::Release);
        self.wake();
    }

    /// Candidates that are seen but not offered or not taken, and folders that cannot be read, with the reason; by path. Where the thread does not
    /// answer within `patience`: the place where it is.
    pub fn waiting(&self, patience: Duration) -> Vec<(PathBuf, String)> {
        let (reply, list) = mpsc::sync_channel(1);
        // A full inbox is that of a thread that does not get on.
        let asked = self.inbox.try_send(Message::Waiting(reply));
        match list.recv_timeout(if asked.is_ok() { patience } else { Duration::ZERO }) {
            Ok(list) => list,
            // A watch that has stopped waits for nothing.
            Err(_) if self.thread.is_finished() => Vec::new(),
            Err(_) => self.place().into_iter().collect(),
        }
    }

    /// Where the watching thread is, if it is at a file system.
    fn place(&self) -> Option<(PathBuf, String)> {
        let (path, time) = durable_fs::place_of(self.thread.thread().id())?;
        let seconds = time.as_secs_f64();
        Some((
            path,
            format!(
                "the watch has been here for {seconds:.1} s: if that does not end, its file system hangs; until it answers, or its mount is \
                 taken away, no new files are seen"
            ),
        ))
    }

    /// Files that a scan found in folders with events, and no event had told of.
    pub fn found_without_event(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// Scans of all folders that are done; after the first one every folder that is there has its events, where it can have any.
    pub fn scans(&self) -> u64 {
        self.scans.load(Ordering::Acquire)
    }

    /// Asks the thread to stop; returns at once.
    pub fn ask_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    /// The watching thread, to be waited for.
    pub fn thread(&self) -> &JoinHandle<()> {
        &self.thread
    }

    fn wake(&self) {
        // A full inbox means that it is awake.
        self.inbox.try_send(Message::Wake).ok();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ask_to_stop();
    }
}

/// A reason as it is kept with a candidate.
type Reason = Cow<'static, str>;

#[cfg(all(test, unix))]
mod tests;
