//! The thread that owns the candidates: hints, scans, deadlines and answers come together here.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::candidate::Candidate;
use super::counts::Counts;
#[cfg(test)]
use super::kept_reader::Kept;
use super::kept_reader::{KeptReader, LookUp};
use super::links::{LinkRoots, Sought};
use super::look::UNLISTED;
use super::message::{Answers, Message, NextRules, Sign};
use super::notifier::Notifier;
use super::offer::{Content, Offer, Outlets};
use super::probe::Manner;
use super::ready::FOREVER;
use super::roots::Roots;
use super::rules::{Part, RuleSet};
use super::scanner::{Finding, Scanner};
use super::strangers::Strangers;
use super::table::Table;
use super::tally::Tally;
use super::troubles::{Troubles, Want};
use crate::durable_fs;
use crate::model::identity::FileIdentity;
use crate::model::os_text::escaped_path;
use crate::model::pattern::Values;
use crate::model::rule::Rule;

/// Messages, due candidates and steps of a scan in one turn: how long one of them can keep the others waiting.
const TURN: usize = 1024;
/// Steps of one walk before the next one goes on.
const STEPS_OF_A_WALK: usize = 128;
/// Pause before offers are sent again that the engine had no room for.
const OFFER_AGAIN: Duration = Duration::from_millis(5);

/// Told of a candidate's rule, its path, and what it was.
pub(crate) type WentAway = Box<dyn Fn(&Arc<Rule>, &Path, &FileIdentity, &Values) + Send + Sync>;

/// Another name of a file that a job took.
#[derive(Debug)]
pub(crate) struct OtherName {
    /// Why it is not taken.
    pub(crate) reason: String,
    /// Its job ended: it waits for good.
    pub(crate) is_done: bool,
    /// That job failed, and an operator has not said what is to become of it: his word is seen soon.
    pub(crate) waits_for_word: bool,
}

/// Tells why a file with so many names is not to be taken.
type TakenAs = Box<dyn Fn(&Path, &FileIdentity, u64) -> Option<OtherName> + Send + Sync>;
/// The same of a file beside a checksum of this text.
type Unfit = Box<dyn Fn(&Path, &FileIdentity, &[u8]) -> Option<String> + Send + Sync>;

/// Whether the marker of its folder stood for a file that lies at a path; if so, whether it was given back since.
type WasMarked = Box<dyn Fn(&Path, &FileIdentity) -> Option<bool> + Send + Sync>;
/// Is told that it does.
type Mark = Box<dyn Fn(&Path, &FileIdentity) + Send + Sync>;
type TellLate = Box<dyn Fn(&Path, Option<&str>, &str, u64) + Send + Sync>;

/// What is known of files that are seen.
pub(crate) struct Known {
    /// Whether a file that lies at a path is one that stays where it lies.
    pub(crate) is_kept: LookUp,
    /// Why a file with so many names is not to be taken, if it is another name of one that was.
    pub(crate) taken_as: TakenAs,
    /// Why a file is not to be taken beside a checksum of this text: the two were found not to fit.
    pub(crate) unfit: Unfit,
    /// What is known of files that a marker of their folder stands for; it outlives the watch.
    pub(crate) was_marked: WasMarked,
    pub(crate) mark: Mark,
    /// A file waits for too long, under this rule and for this reason; and so many others of its folder that this was not told of.
    pub(crate) tell_late: TellLate,
}

#[cfg(test)]
impl Known {
    /// Nothing but these kept files.
    pub(crate) fn kept(is_kept: impl Fn(&Path, &FileIdentity) -> bool + Send + Sync + 'static) -> Self {
        let is_kept = move |path: &Path, identity: &_, _| {
            if is_kept(path, identity) { Kept::Yes } else { Kept::No }
        };
        Self {
            is_kept: Arc::new(is_kept),
            taken_as: Box::new(|_, _, _| None),
            unfit: Box::new(|_, _, _| None),
            was_marked: Box::new(|_, _| None),
            mark: Box::new(|_, _| {}),
            tell_late: Box::new(|_, _, _, _| {}),
        }
    }
}

/// The watch's ways out.
pub(super) struct Links {
    pub(super) outlets: Outlets,
    pub(super) known: Known,
    pub(super) content: Content,
    pub(super) manner: Manner,
    /// Is told of candidates that went away before they were offered.
    pub(super) went_away: Option<WentAway>,
}

/// What other threads set or read.
pub(super) struct Flags {
    pub(super) stopping: Arc<AtomicBool>,
    /// Hints were lost.
    pub(super) lost: Arc<AtomicBool>,
    /// What was put off is to be offered again.
    pub(super) hastened: Arc<AtomicBool>,
    pub(super) answers: Answers,
    pub(super) next_rules: NextRules,
    pub(super) counts: Arc<Counts>,
}

/// The thread's state.
pub(super) struct Watcher {
    pub(super) rules: RuleSet,
    pub(super) scan_every: Duration,
    pub(super) notifier: Notifier,
    pub(super) links: Links,
    pub(super) scanner: Scanner,
    pub(super) table: Table,
    pub(super) kept_reader: KeptReader,
    /// A file that was read just now, and is no kept one.
    pub(super) read_as_another: Option<(PathBuf, FileIdentity)>,
    pub(super) strangers: Strangers,
    pub(super) troubles: Troubles,
    /// In order.
    pub(super) fixed_folders: Vec<PathBuf>,
    roots: Roots,
    /// As the last scan, or change of such a folder, found them.
    pub(super) link_roots: LinkRoots,
    /// The number of the scan of all folders that is under way or was last.
    pub(super) scan: u64,
    /// The last one that is done, with all that it had to be read.
    round: u64,
    /// Batches that the engine had no room for, each with its outlet, which was full.
    pub(super) unsent: Vec<(usize, Vec<Offer>)>,
    /// Complete files that go with the marker of their folder, until the others are answered.
    pub(super) held_for_marker: Vec<Arc<Path>>,
    /// Deadlines of ordered rules are counted from here, in steps, so that neighbours come together.
    pub(super) started: Instant,
    pub(super) flags: Flags,
    pub(super) missing: HashSet<PathBuf>,
    pub(super) tally: Tally,
    /// Folders that have events only since the scan under way.
    newly_watched: HashSet<PathBuf>,
    /// Kinds of file systems without events that were told.
    told_far: HashSet<String>,
    next_scan: Instant,
    whole_scan: bool,
    scan_again: bool,
}

/// What is said of a folder whose file system tells no events.
const FAR: &str =
    "files may come into this file system without events; they are found by the scans (`service.scan_every`)";

/// The kind of the file system that a folder lies on, or would if it were there, if files come there without events.
fn far_kind_at(folder: &Path) -> Option<String> {
    folder.ancestors().find_map(|folder| durable_fs::far_file_system(folder).ok()).flatten()
}

/// Those of these folders, which are in order, that lie at or below a point.
fn folders_in<'f>(folders: &'f [PathBuf], point: &Path) -> &'f [PathBuf] {
    let from = folders.partition_point(|folder| folder.as_path() < point);
    let below = folders.get(from..).unwrap_or_default();
    below.split_at(below.partition_point(|folder| folder.starts_with(point))).0
}

/// Whether it concerns the rules what is mounted here. What lies at the root stays.
fn matters(rules: &RuleSet, folders: &[PathBuf], point: &Path) -> bool {
    point.parent().is_some() && (!folders_in(folders, point).is_empty() || rules.could_match_below(point))
}

/// Whether the thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    GoOn,
    Stop,
}

impl Watcher {
    pub(super) fn new(
        rules: RuleSet,
        scan_every: Duration,
        notifier: Notifier,
        links: Links,
        kept_reader: KeptReader,
        flags: Flags,
    ) -> Self {
        let now = Instant::now();
        Self {
            table: Table::new(rules.queues()),
            kept_reader,
            read_as_another: None,
            strangers: Strangers::default(),
            fixed_folders: rules.fixed_folders(),
            roots: Roots::new(now),
            rules,
            scan_every: scan_every.min(FOREVER),
            notifier,
            links,
            scanner: Scanner::default(),
            troubles: Troubles::default(),
            scan: 0,
            round: 0,
            unsent: Vec::new(),
            held_for_marker: Vec::new(),
            started: now,
            flags,
            missing: HashSet::new(),
            tally: Tally::default(),
            link_roots: LinkRoots::default(),
            newly_watched: HashSet::new(),
            told_far: HashSet::new(),
            next_scan: now,
            whole_scan: false,
            scan_again: false,
        }
    }

    /// Runs until it is stopped, or nobody takes offers any more.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        while !self.flags.stopping.load(Ordering::Acquire) {
            let pause = self.pause(Instant::now());
            if self.take_messages(inbox, pause) == Flow::Stop {
                return;
            }
            self.take_rules();
            self.take_answers();
            self.look_at_due();
            self.start_scans(Instant::now());
            self.go_on_scanning();
            self.tell_numbers();
            if self.send_offers() == Flow::Stop {
                return;
            }
        }
    }

    /// How long nothing is to be done, unless a message comes.
    fn pause(&mut self, now: Instant) -> Duration {
        if !self.scanner.is_idle() || self.has_ready() {
            return Duration::ZERO;
        }
        let send_again = (!self.unsent.is_empty()).then_some(now + OFFER_AGAIN);
        let deadlines = [
            Some(self.next_scan),
            self.table.next_due(),
            self.troubles.next_due(),
            Some(self.roots.next_turn()),
            send_again,
        ];
        let next = deadlines.into_iter().flatten().min();
        next.map_or(FOREVER, |at| at.saturating_duration_since(now))
    }

    fn take_messages(&mut self, inbox: &Receiver<Message>, pause: Duration) -> Flow {
        durable_fs::leave_place(); // who waits for messages hangs nowhere
        self.flags.counts.waits(true);
        let mut next = inbox.recv_timeout(pause);
        self.flags.counts.waits(false);
        let _keeps = durable_fs::keep_reached();
        for _ in 0..TURN {
            match next {
                Ok(message) => self.take_message(message),
                Err(RecvTimeoutError::Timeout) => return Flow::GoOn,
                Err(RecvTimeoutError::Disconnected) => return Flow::Stop,
            }
            next = inbox.recv_timeout(Duration::ZERO);
        }
        if let Ok(message) = next {
            self.take_message(message);
        }
        Flow::GoOn
    }

    fn take_answers(&mut self) {
        let answers = std::mem::take(&mut *self.flags.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let has_some = !answers.is_empty();
        for (path, answer) in answers {
            self.answered(&path, answer);
        }
        if has_some {
            self.let_the_last_go();
        }
        if self.flags.hastened.swap(false, Ordering::AcqRel) {
            self.hasten();
        }
    }

    fn take_message(&mut self, message: Message) {
        match message {
            Message::Hint(path, sign) => self.hint(&path, sign),
            Message::Waiting(files_max, reply) => {
                self.take_rules(); // what was said before
                self.take_answers();
                // Nobody waits any more if it cannot be sent.
                reply.try_send(self.waiting(files_max)).unwrap_or(());
            }
            Message::Seen(path, reply) => {
                self.take_rules();
                self.take_answers();
                reply.try_send(self.table.get(&path).map(Candidate::told)).unwrap_or(());
            }
            #[cfg(all(test, unix))]
            Message::Rescan => self.request_scan(),
            Message::Wake => {}
        }
    }

    fn look_at_due(&mut self) {
        let now = Instant::now();
        let _keeps = durable_fs::keep_reached();
        for _ in 0..TURN {
            let Some(path) = self.table.pop_due(now) else { return };
            self.tell_late(&path, now);
            self.evaluate(&path, now);
        }
    }

    pub(super) fn is_scanning(&self) -> bool {
        self.whole_scan
    }

    pub(super) fn request_scan(&mut self) {
        if self.whole_scan {
            self.scan_again = true;
        } else {
            self.start_scan();
        }
    }

    fn start_scans(&mut self, now: Instant) {
        let lost = self.flags.lost.swap(false, Ordering::AcqRel);
        if lost {
            self.notifier.doubt_all();
            self.strangers.forget_all();
        }
        if lost || self.table.room_for_missed() {
            self.request_scan();
        }
        if now >= self.next_scan && !self.whole_scan {
            self.start_scan();
        }
        for folder in self.troubles.due(now) {
            self.scanner.walk(folder);
        }
        if self.roots.takes_turn(now) {
            self.look_at_roots();
        }
    }

    fn look_at_roots(&mut self) {
        let changed = self.roots.changed();
        if !changed.is_empty() {
            self.link_roots = LinkRoots::new(self.rules.roots_of_links());
        }
        for folder in changed {
            // What was watched below its name lies elsewhere now.
            self.notifier.forget_all_in(&folder);
            self.scanner.walk(folder);
        }
        self.look_at_mounts();
    }

    fn look_at_mounts(&mut self) {
        let (rules, folders) = (&self.rules, &self.fixed_folders);
        for point in self.roots.mounted(|point| matters(rules, folders, point)) {
            tracing::debug!(path = escaped_path(&point), "something was mounted or unmounted here");
            self.notifier.forget_all_in(&point);
            let below = folders_in(&self.fixed_folders, &point);
            if below.is_empty() {
                self.scanner.walk(point);
            } else {
                for folder in below {
                    self.scanner.walk(folder.clone());
                }
            }
        }
    }

    pub(super) fn start_scan(&mut self) {
        self.look_at_mounts();
        self.scan += 1;
        self.whole_scan = true;
        self.scan_again = false;
        self.newly_watched.clear();
        self.tally.scan_begins();
        self.link_roots = LinkRoots::new(self.rules.roots_of_links());
        for folder in &self.fixed_folders {
            self.scanner.walk(folder.clone());
        }
        let rules = &self.rules;
        let is_near = |folder: &PathBuf| rules.wants_events(folder) && far_kind_at(folder).is_none();
        self.roots.exchange(&self.fixed_folders, is_near);
        self.roots.learn_mounts(|point| matters(rules, &self.fixed_folders, point));
    }

    /// Some steps of the walks under way; messages and deadlines come in between.
    fn go_on_scanning(&mut self) {
        if self.scanner.is_idle() && !self.whole_scan {
            return;
        }
        for _ in 0..TURN / STEPS_OF_A_WALK {
            for _ in 0..STEPS_OF_A_WALK {
                match self.scanner.step(&self.rules) {
                    Some(finding) => self.found(finding),
                    None => return self.end_scan(),
                }
            }
            self.scanner.take_turns();
        }
    }

    fn end_scan(&mut self) {
        if !self.whole_scan {
            return;
        }
        self.whole_scan = false;
        self.next_scan = Instant::now() + self.scan_every;
        self.tally.scan_ended(self.table.len());
        self.table.forget_kept_before(self.scan);
        self.rules.links.forget_before(self.scan);
        let (folders, without_events) = self.notifier.counts();
        self.flags.counts.folders(folders, without_events);
        self.flags.counts.scan_ended();
        self.note_round();
        if self.scan_again {
            self.start_scan();
        }
    }

    /// Whether the last scan is done by now, with all that it had to be read.
    pub(super) fn note_round(&mut self) {
        if !self.whole_scan && self.round < self.scan && self.kept_reader.is_idle() {
            self.round = self.scan;
            self.flags.counts.round_ended();
        }
    }

    fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Nothing => {}
            Finding::Entering(folder) => self.entering(folder),
            Finding::Listed(folder) => {
                self.troubles.clear(&folder);
                if self.missing.remove(&folder) {
                    self.tally.has_changed = true;
                    tracing::info!(path = escaped_path(&folder), "the watched folder is there now");
                }
            }
            Finding::File(path, part) => self.found_file(&path, &part),
            Finding::Link(path) => drop(self.follow_link(&path, Sought::ByScan)),
            Finding::Unlistable(folder, error) => self.unlistable(folder, &error),
        }
    }

    /// A folder must be watched before it is listed, or a file that comes in between is seen by nobody.
    fn entering(&mut self, folder: PathBuf) {
        if !self.rules.wants_events(&folder) {
            return self.notifier.leave_to_scans(&folder);
        }
        match durable_fs::far_file_system(&folder) {
            Ok(Some(kind)) => {
                if self.told_far.insert(kind.clone()) {
                    tracing::info!(path = escaped_path(&folder), kind, "{FAR}");
                }
                self.notifier.leave_to_scans(&folder);
            }
            Ok(None) | Err(_) => {
                if !self.notifier.watch(&folder) {
                    self.newly_watched.insert(folder);
                }
            }
        }
    }

    fn found_file(&mut self, path: &Path, part: &Part) {
        if self.table.get(path).is_some() {
            self.tally.met += 1;
            return;
        }
        let passed_over = self.tally.passed_over;
        self.hint_as(path, part, Sign::Appeared);
        if self.table.get(path).is_some() || self.tally.passed_over != passed_over {
            self.tally.met += 1;
        }
        let folder = path.parent().unwrap_or(path);
        let had_events = self.notifier.knows(folder) && !self.newly_watched.contains(folder);
        if had_events && self.table.get(path).is_some() {
            self.flags.counts.found_by_scan();
            tracing::debug!(path = escaped_path(path), "the scan found a file that no event told of");
        }
    }

    fn unlistable(&mut self, folder: PathBuf, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            let want = if self.rules.takes_from(&folder) { Want::Take } else { Want::Read };
            self.troubles.note(folder, (UNLISTED, want), error, Instant::now());
            return;
        }
        self.troubles.clear(&folder);
        if error.kind() == io::ErrorKind::NotADirectory {
            // A file that could not be looked at before.
            self.hint(&folder, Sign::Appeared);
        }
        self.notifier.forget(&folder);
        // Any other folder may come and go.
        if self.fixed_folders.binary_search(&folder).is_ok() {
            if !self.notifier.watch_above(&folder) {
                self.scanner.walk(folder.clone());
            }
            if self.missing.insert(folder.clone()) {
                self.tally.has_changed = true;
                tracing::warn!(path = escaped_path(&folder), "the folder to be watched is not there yet");
            }
        }
    }
}
