//! The handle of the watching thread: starting it, asking it, stopping it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::counts::Counts;
use super::error::WatchError;
use super::kept_reader::{KeptReader, Reading};
use super::look::HERE_FOR;
use super::message::{Answers, Message, NextRules};
use super::notifier::{Hints, Notifier};
use super::offer::{Answer, Content, Outlets};
use super::probe::Manner;
use super::rules::RuleSet;
use super::watcher::{self, Known, Links, Watcher, WentAway};
use crate::durable_fs;
use crate::model::file_known::FileSeen;
use crate::model::files_in_view::{FileWaiting, FilesInView};
use crate::model::rule::Rule;
use crate::model::watch_counts::WatchCounts;

/// Messages that wait at most; what finds no room costs a scan.
pub(super) const INBOX_MAX: usize = 16 * 1024;

/// A thread in a file system for so long may hang there; a disk that is busy takes less.
const HANGS_AFTER: Duration = Duration::from_secs(2);
/// The same where somebody waits for its answer.
const PATIENCE_MIN: Duration = Duration::from_millis(500);
/// An answer of a thread that gets on is waited for so long.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why a thread did not answer, with where it is and what is to be said of it.
enum Silence {
    Ended,
    Hangs(PathBuf, String),
    Busy(PathBuf, String),
}

/// The watching threads. None of its calls waits for them, but [`Watch::waiting`] and [`Watch::seen`]: they may hang in a file system.
/// Dropping it asks them to stop.
pub(crate) struct Watch {
    inbox: SyncSender<Message>,
    answers: Answers,
    next_rules: NextRules,
    stopping: Arc<AtomicBool>,
    hastened: Arc<AtomicBool>,
    #[cfg(all(test, unix))]
    lost: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: JoinHandle<()>,
}

/// Until when an answer is waited for. Who asks several watches has one for all of them: one that is idle answers all the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Where the thread is at a file system that does not answer.
    hangs_until: Instant,
    /// Where it is busy.
    busy_until: Instant,
}

impl Patience {
    pub(crate) fn new(hangs: Duration, busy: Duration) -> Self {
        let now = Instant::now();
        Self { hangs_until: now + hangs, busy_until: now + busy }
    }
}

/// Of a file system that hangs; one that is busy is waited for.
impl From<Duration> for Patience {
    fn from(hangs: Duration) -> Self {
        Self::new(hangs, BUSY_PATIENCE)
    }
}

impl Watch {
    /// Starts watching the live rules. Offers come in batches, each of one rule and in its `order`; a receiver going away stops the watch.
    pub(crate) fn start(
        rules: Vec<Arc<Rule>>,
        scan_every: Duration,
        outlets: impl Into<Outlets>,
        known: Known,
        content: Content,
    ) -> Result<Self, WatchError> {
        Self::start_with(
            rules,
            scan_every,
            true,
            Links { outlets: outlets.into(), known, content, manner: Manner::Asks, went_away: None },
        )
    }

    /// The same, without holding up who would write a file for the moment of a look: who writes it may not be seen then.
    pub(crate) fn start_aside(
        rules: Vec<Arc<Rule>>,
        scan_every: Duration,
        outlets: impl Into<Outlets>,
        known: Known,
        content: Content,
        went_away: WentAway,
    ) -> Result<Self, WatchError> {
        let (manner, went_away) = (Manner::Looks, Some(went_away));
        let links = Links { outlets: outlets.into(), known, content, manner, went_away };
        Self::start_with(rules, scan_every, true, links)
    }

    pub(super) fn start_with(
        rules: Vec<Arc<Rule>>,
        scan_every: Duration,
        events: bool,
        links: Links,
    ) -> Result<Self, WatchError> {
        let rules = RuleSet::new(rules)?;
        let (inbox, messages) = mpsc::sync_channel(INBOX_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicBool::new(false));
        let counts = Arc::<Counts>::default();
        let hastened = Arc::new(AtomicBool::new(false));
        let (answers, next_rules) = (Answers::default(), NextRules::default());
        let hints = events.then(|| Hints {
            inbox: inbox.clone(),
            lost: Arc::clone(&lost),
            counts: Arc::clone(&counts),
        });
        let flags = watcher::Flags {
            stopping: Arc::clone(&stopping),
            lost: Arc::clone(&lost),
            hastened: Arc::clone(&hastened),
            answers: Arc::clone(&answers),
            next_rules: Arc::clone(&next_rules),
            counts: Arc::clone(&counts),
        };
        let kept_reader = KeptReader::new(Reading {
            look_up: Arc::clone(&links.known.is_kept),
            inbox: inbox.clone(),
            answers: Arc::clone(&answers),
            stopping: Arc::clone(&stopping),
        });
        let run = move || {
            Watcher::new(rules, scan_every, Notifier::new(hints), links, kept_reader, flags).run(&messages);
        };
        let thread =
            thread::Builder::new().name("watch".to_owned()).spawn(run).map_err(WatchError::Thread)?;
        Ok(Self {
            inbox,
            answers,
            next_rules,
            stopping,
            hastened,
            #[cfg(all(test, unix))]
            lost,
            counts,
            thread,
        })
    }

    /// Answers an offer.
    pub(crate) fn answer(&self, path: &Path, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), answer));
        self.wake();
    }

    /// Watches under these rules from now on. Candidates that one of them matches go on with what is known of them; others are dropped.
    pub(crate) fn exchange(
        &self,
        rules: Vec<Arc<Rule>>,
        outlets: impl Into<Outlets>,
    ) -> Result<(), WatchError> {
        let next = (RuleSet::new(rules)?, outlets.into());
        self.next_rules.lock().unwrap_or_else(PoisonError::into_inner).replace(next);
        self.wake();
        Ok(())
    }

    /// Tells the watch that the system's queue of events overflowed.
    #[cfg(all(test, unix))]
    pub(super) fn lose_events(&self) {
        let (inbox, lost, counts) = (self.inbox.clone(), Arc::clone(&self.lost), Arc::clone(&self.counts));
        Hints { inbox, lost, counts }.overflow();
    }

    /// Scans all folders now.
    #[cfg(all(test, unix))]
    pub(super) fn rescan(&self) {
        self.inbox.send(Message::Rescan).unwrap_or(());
    }

    /// Offers what was answered with [`Answer::Later`] again, now.
    pub(crate) fn hasten(&self) {
        self.hastened.store(true, Ordering::Release);
        self.wake();
    }

    /// Candidates that are seen but not offered or not taken, at most so many, and folders that cannot be read, with the reason; by path. A
    /// thread that hangs is told with its place, in place of the list.
    pub(crate) fn waiting(&self, patience: Patience, files_max: Option<usize>) -> Vec<(PathBuf, String)> {
        let (reply, list) = mpsc::sync_channel(1);
        match self.ask(Message::Waiting(files_max, reply), &list, patience) {
            Ok(list) => list,
            // A watch that has stopped waits for nothing.
            Err(Silence::Ended) => Vec::new(),
            Err(Silence::Hangs(path, reason) | Silence::Busy(path, reason)) => vec![(path, reason)],
        }
    }

    /// The same as numbers, as they were when its thread was last done with a turn. It is not asked.
    pub(crate) fn in_view(&self) -> FilesInView {
        let mut files = self.counts.in_view();
        files.is_first_look = self.counts.now().scans == 0;
        if let Some((path, reason)) = self.hangs(HANGS_AFTER) {
            files.folders.push(FileWaiting { path: path.into(), reason });
        }
        files
    }

    /// One candidate as it was seen; none also where the thread hangs.
    pub(crate) fn seen(&self, path: &Path, patience: Patience) -> Option<FileSeen> {
        let (reply, seen) = mpsc::sync_channel(1);
        self.ask(Message::Seen(path.to_owned(), reply), &seen, patience).ok().flatten()
    }

    fn ask<T>(&self, message: Message, answer: &Receiver<T>, patience: Patience) -> Result<T, Silence> {
        let mut message = Some(message);
        loop {
            if let Some(unsent) = message.take() {
                match self.inbox.try_send(unsent) {
                    Ok(()) => {}
                    Err(TrySendError::Full(unsent)) => message = Some(unsent),
                    Err(TrySendError::Disconnected(_)) => return Err(Silence::Ended),
                }
            }
            match answer.recv_timeout(LOOK_AGAIN) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(Silence::Ended),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= patience.hangs_until
                && let Some((path, reason)) = self.hangs(PATIENCE_MIN)
            {
                return Err(Silence::Hangs(path, reason));
            }
            if now >= patience.busy_until {
                return Err(self.busy());
            }
        }
    }

    /// Where the watching thread is, if it is at a file system that has not answered for so long.
    fn hangs(&self, least: Duration) -> Option<(PathBuf, String)> {
        let (path, time) = durable_fs::hangs_at(self.thread.thread().id(), least)?;
        let seconds = time.as_secs_f64();
        Some((
            path,
            format!(
                "the watch {HERE_FOR} {seconds:.1} s: if that does not end, its file system hangs; until it answers, or its mount is \
                 taken away, no new files are seen"
            ),
        ))
    }

    fn busy(&self) -> Silence {
        let place = durable_fs::place_of(self.thread.thread().id());
        let reason = "the watch is busy, and did not answer in time: its files are not listed".to_owned();
        Silence::Busy(place.map(|(path, _)| path).unwrap_or_default(), reason)
    }

    /// Scans of all folders that are done; after the first one every folder that is there has its events, where it can have any.
    #[cfg(all(test, unix))]
    pub(crate) fn scans(&self) -> u64 {
        self.counts.scans()
    }

    /// Scans of all folders that are done, with all that they had to be read: what lay in a folder when one began is known by then, be it
    /// by a new name. Its thread is not asked.
    pub(crate) fn rounds(&self) -> u64 {
        self.counts.rounds()
    }

    /// The turns of its thread, and whether nothing follows from it that it does not turn: it has nothing to do, or waits for its file
    /// system.
    pub(crate) fn pulse(&self) -> (u64, bool) {
        let (turns, waits) = self.counts.turns();
        (turns, waits || durable_fs::hangs_at(self.thread.thread().id(), Duration::ZERO).is_some())
    }

    /// What it counts. Its thread is not asked.
    pub(crate) fn counts(&self) -> WatchCounts {
        self.counts.now()
    }

    /// Asks the thread to stop; returns at once.
    pub(crate) fn ask_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    /// The watching thread, to be waited for.
    pub(crate) fn thread(&self) -> &JoinHandle<()> {
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
