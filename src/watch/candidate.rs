//! One candidate: what is known of a file that matches a rule and is not taken yet.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::look::LATE;
use super::ready::Proof;
use crate::clock;
use crate::model::complete_by::CompleteBy;
use crate::model::file_known::{FileSeen, SizeSeen};
use crate::model::identity::FileIdentity;
use crate::model::os_text::OsText;

/// How long a close may last after it was told of (on a busy machine its process may have to wait in the middle of it), and the
/// shortest pause between looks meanwhile.
const CLOSE_LASTS: Duration = Duration::from_secs(1);
const CLOSE_PAUSE: Duration = Duration::from_millis(1);
/// Shortest and longest pause between looks at a file that somebody has open for writing.
const WRITER_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Earlier sizes that are remembered of a candidate at most.
const EARLIER_SIZES_MAX: usize = 8;

/// Why a candidate waits.
pub(super) type Reason = Cow<'static, str>;

/// One file that matches a rule.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own that a look tells")]
pub(super) struct Candidate {
    pub(super) rule: usize,
    /// What it was at the last look.
    pub(super) seen: FileIdentity,
    /// The last change, or open writer, or answer, on our own clock.
    pub(super) still_since: Instant,
    pub(super) proof: Proof,
    /// It was written since that proof, or its times were set: some systems tell both alike.
    pub(super) written: bool,
    /// It was given back in this (device, inode): events of that file prove nothing more.
    pub(super) distrusted: Option<(u64, u64)>,
    pub(super) phase: Phase,
    /// How many names it had at the last look, if several, and which scan was the last before that.
    pub(super) names_counted: Option<(u64, u64)>,
    /// By what it seemed complete at the last look.
    pub(super) complete_by: Option<CompleteBy>,
    /// Failed tries in a row.
    pub(super) failures: u32,
    /// Not before this time, whatever events say.
    pub(super) not_before: Option<Instant>,
    pub(super) exchange: Exchange,
    /// Nothing is wrong with it: the engine takes no files now.
    pub(super) put_off: bool,
    /// When it is told that it is late; none: it was told, or never is.
    pub(super) late_at: Option<Instant>,
    pub(super) is_late: bool,
    /// It waits until somebody else does something, perhaps for good: its sender has not sent its marker, or it is another name of what a job
    /// is done with. It makes room for others.
    pub(super) waits_for_others: bool,
    /// It stays where it lies, as another rule or sender had it: that is asked again at each look.
    pub(super) is_kept_elsewhere: bool,
    /// Why it waits, and since when for that.
    pub(super) reason: Reason,
    pub(super) reason_since: Instant,
    pub(super) first_seen: Instant,
    /// Its size is what it is since then; and earlier ones, each with its time: the first, and the last of the others.
    pub(super) size_since: Instant,
    pub(super) earlier_sizes: Vec<(Instant, u64)>,
    pub(super) companions: Companions,
    /// The next look at it, which the table keeps.
    pub(super) due: Option<Instant>,
}

/// The files that a candidate waits for.
#[derive(Default)]
pub(super) struct Companions {
    pub(super) marker: Option<PathBuf>,
    pub(super) totals: Option<PathBuf>,
    pub(super) checksum: Option<PathBuf>,
    /// What they were at the last look, and when one of them last became another.
    seen: [Option<FileIdentity>; 3],
    /// The marker is that of its whole folder.
    pub(super) is_of_folder: bool,
    since: Option<Instant>,
}

impl Companions {
    pub(super) fn new(
        marker: Option<PathBuf>,
        totals: Option<PathBuf>,
        checksum: Option<PathBuf>,
        is_of_folder: bool,
    ) -> Self {
        Self { marker, totals, checksum, is_of_folder, ..Self::default() }
    }

    /// Takes note of a look at all of them; tells since when they stand still, once one of them is there.
    pub(super) fn look(&mut self, found: [Option<FileIdentity>; 3], now: Instant) -> Option<Instant> {
        if self.seen != found {
            self.seen = found;
            self.since = Some(now);
        }
        self.since
    }

    /// Where the marker, the totals and the checksum lie.
    pub(super) fn places(&self) -> [Option<PathBuf>; 3] {
        [self.marker.clone(), self.totals.clone(), self.checksum.clone()]
    }

    /// What goes with the file, whatever becomes of other files.
    pub(super) fn of_the_file(&self) -> impl Iterator<Item = &PathBuf> {
        let marker = self.marker.iter().filter(|_| !self.is_of_folder);
        marker.chain(&self.totals).chain(&self.checksum)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        self.marker.iter().chain(&self.totals).chain(&self.checksum)
    }
}

/// Where a candidate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting,
    Ready(QueueKey),
    /// Offered; what an event told since then is for the file that may come after it.
    Offered(Proof),
}

/// What is known of an exchange of the rules since a candidate was offered. The engine has them a moment before the watch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Unknown,
    /// They were exchanged here.
    Came,
    /// The engine said so, and here it is to come.
    IsToCome,
}

/// A place in a rule's queue: by the rule's order, then by arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum QueueKey {
    Arrival(u64),
    Name(OsString, u64),
    Modified(i128, u64),
}

impl Candidate {
    pub(super) fn new(rule: usize, seen: FileIdentity, now: Instant) -> Self {
        Self {
            rule,
            seen,
            still_since: now,
            proof: Proof::None,
            written: false,
            distrusted: None,
            phase: Phase::Waiting,
            names_counted: None,
            complete_by: None,
            failures: 0,
            not_before: None,
            exchange: Exchange::Unknown,
            put_off: false,
            reason: Cow::Borrowed("just seen"),
            late_at: None,
            is_late: false,
            waits_for_others: false,
            is_kept_elsewhere: false,
            reason_since: now,
            first_seen: now,
            size_since: now,
            earlier_sizes: Vec::new(),
            companions: Companions::default(),
            due: None,
        }
    }

    /// Takes note of an open writer; tells how long until the next look.
    ///
    /// ```text
    /// writer   close() ---- event ---------- write access dropped
    /// watch                       lease?                           lease?
    /// ```
    /// Linux tells of a close before it drops the write access, so a close that was just told keeps its worth for a moment.
    pub(super) fn has_writer(&mut self, stable_for: Duration, now: Instant) -> Duration {
        let since_close = now.saturating_duration_since(self.still_since);
        if self.proof == Proof::Closed && since_close < CLOSE_LASTS {
            return CLOSE_PAUSE.max(since_close / 4);
        }
        self.still_since = now;
        self.proof = Proof::None;
        writer_pause(stable_for)
    }

    /// A changed file is no longer what was refused.
    pub(super) fn start_afresh(&mut self) {
        self.failures = 0;
        self.not_before = None;
        self.put_off = false;
    }

    /// Takes note of a look; tells whether the file changed since the last one.
    pub(super) fn look(&mut self, identity: FileIdentity, now: Instant) -> bool {
        let changed = identity != self.seen;
        if changed {
            // Times and rights are often set after the last close. What is written anew is told by events, and by its end at last.
            let keeps_its_proof = identity.same_file(&self.seen) && identity.size == self.seen.size;
            if !keeps_its_proof {
                self.proof = Proof::None;
            }
            self.see(identity, now);
            self.still_since = now;
            self.names_counted = None;
            self.waits_for_others = false;
        }
        changed
    }

    /// It is late when it has waited so long; what was told is not told again.
    pub(super) fn is_late_after(&mut self, late_after: Option<Duration>) {
        self.late_at =
            late_after.filter(|_| !self.is_late).and_then(|time| self.first_seen.checked_add(time));
    }

    /// Notes what it is now.
    pub(super) fn see(&mut self, identity: FileIdentity, now: Instant) {
        if identity.size != self.seen.size {
            if self.earlier_sizes.len() == EARLIER_SIZES_MAX {
                self.earlier_sizes.remove(1);
            }
            self.earlier_sizes.push((self.size_since, self.seen.size));
            self.size_since = now;
        }
        self.seen = identity;
    }

    /// Says why it waits.
    pub(super) fn wait_for(&mut self, reason: Reason) {
        if self.reason != reason {
            self.reason = reason;
            self.reason_since = Instant::now();
        }
    }

    /// Why it waits, for a list.
    pub(super) fn told_reason(&self) -> String {
        let late = if self.is_late { LATE } else { "" };
        format!("{}{late}", self.named_reason())
    }

    /// The reason, with the name of what it waits for.
    fn named_reason(&self) -> String {
        let Companions { marker, totals, checksum, .. } = &self.companions;
        let mut awaited = [("marker", marker), ("totals", totals), ("checksum", checksum)].into_iter();
        let name = awaited
            .find(|(key, _)| self.reason.strip_prefix("for its ") == Some(key))
            .and_then(|(_, place)| place.as_ref()?.file_name());
        match name {
            Some(name) => format!("{}, {}", self.reason, OsText::from(name)),
            None => self.reason.to_string(),
        }
    }

    /// As it is told to who asks for it.
    pub(super) fn told(&self) -> FileSeen {
        let past = |at: Instant| clock::ago(at.elapsed()).unwrap_or_else(clock::now);
        let sizes = self.earlier_sizes.iter().copied().chain([(self.size_since, self.seen.size)]);
        let next_look = self.due.filter(|_| self.phase == Phase::Waiting);
        FileSeen {
            reason: self.named_reason(),
            is_late: self.is_late,
            reason_since: past(self.reason_since),
            first_seen_at: past(self.first_seen),
            still_since: past(self.still_since),
            sizes: sizes.map(|(at, bytes)| SizeSeen { at: past(at), bytes }).collect(),
            next_look_at: next_look.and_then(|at| clock::after(at.saturating_duration_since(Instant::now()))),
        }
    }
}

/// How long until the next look at a file that somebody has open for writing.
pub(super) fn writer_pause(stable_for: Duration) -> Duration {
    (stable_for / 4).clamp(WRITER_PAUSE.0, WRITER_PAUSE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_has_other_times_keeps_its_proof_and_stands_still_anew() {
        let closed = FileIdentity { device: 1, inode: 1, size: 1, mtime_ns: 1, ctime_ns: 1 };
        let touched = FileIdentity { mtime_ns: 0, ctime_ns: 2, ..closed };
        let longer = FileIdentity { size: 2, ..touched };
        let another = FileIdentity { inode: 2, ..touched };
        for (identity, proof) in [(touched, Proof::Closed), (longer, Proof::None), (another, Proof::None)] {
            let mut candidate = Candidate::new(0, closed, Instant::now());
            candidate.proof = Proof::Closed;
            let later = candidate.still_since + Duration::from_secs(1);
            assert!(candidate.look(identity, later));
            assert_eq!((candidate.proof, candidate.still_since), (proof, later));
        }
    }

    #[test]
    fn companions_stand_still_since_one_of_them_last_changed() {
        let identity = FileIdentity { device: 1, inode: 1, size: 1, mtime_ns: 1, ctime_ns: 1 };
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut companions = Companions::default();
        assert_eq!(companions.look([None, None, None], start), None);
        assert_eq!(companions.look([Some(identity), None, None], start), Some(start));
        assert_eq!(companions.look([Some(identity), None, None], start + second), Some(start));
        assert_eq!(
            companions.look([Some(identity), Some(identity), None], start + second),
            Some(start + second)
        );
    }

    #[test]
    fn a_close_that_was_just_told_outlives_the_writer_that_is_just_going() {
        let identity = FileIdentity { device: 1, inode: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
        let mut closed = Candidate::new(0, identity, Instant::now());
        closed.proof = Proof::Closed;
        let told = closed.still_since;
        assert_eq!(closed.has_writer(Duration::from_secs(10), told), CLOSE_PAUSE);
        assert_eq!(closed.proof, Proof::Closed);
        assert_eq!(closed.has_writer(Duration::from_secs(10), told + CLOSE_LASTS), WRITER_PAUSE.1);
        assert_eq!((closed.proof, closed.still_since), (Proof::None, told + CLOSE_LASTS));
    }
}
