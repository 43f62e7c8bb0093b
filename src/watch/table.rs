//! The candidates: what is known of each file that is not taken yet, and when it is looked at again.
//!
//! # Invariants
//! - A candidate that waits has its next look in `due`; entries that no longer agree with `Candidate::due` are passed over.
//! - A candidate that is ready stands in its rule's queue, under the key that it remembers.
//! - The rules share room for [`CANDIDATES_MAX`] files; what finds no room is found again by a scan once there is some.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::by_number::ByNumber;
use super::candidate::{Candidate, Exchange, Phase, QueueKey};
use super::look::UNOPENED;
use super::ready::Proof;
use super::remembered::Remembered;
use crate::model::identity::FileIdentity;
use crate::model::rule::Order;

/// Files in the table at most, but for [`CANDIDATES_MIN`]: about 50 MB with long names.
pub(super) const CANDIDATES_MAX: usize = 100_000;
/// Files of one rule that there is always room for, however many rules there are.
const CANDIDATES_MIN: usize = 16;
/// Half of the room is shared out evenly; the other half is for rules that have more.
const COMMON_MAX: usize = CANDIDATES_MAX / 2;
/// Files that were given back and are remembered.
const RETURNED_MAX: usize = 4096;
/// Taken files that are remembered, so that one given back later is not believed at once.
const TAKEN_MAX: usize = 4096;
/// Files that are remembered because a marker stood for them. It may be gone when one of them is given back.
const MARKED_MAX: usize = 65_536;
/// Kept files that are remembered; about others the ledger is asked.
const KEPT_MAX: usize = 65_536;

/// All candidates, and what is remembered of files that are none any more.
#[derive(Default)]
pub(super) struct Table {
    files: HashMap<Arc<Path>, Candidate>,
    due: BinaryHeap<Reverse<(Instant, Arc<Path>)>>,
    queues: Vec<BTreeMap<QueueKey, Arc<Path>>>,
    /// The queue of each rule.
    queue_of: Vec<usize>,
    counts: Vec<usize>,
    /// Files that their rules have beyond their own room.
    in_common: usize,
    missed: Vec<bool>,
    any_missed: bool,
    next_rule: usize,
    arrivals: u64,
    by_marker: HashMap<PathBuf, HashSet<Arc<Path>>>,
    by_number: ByNumber,
    /// Candidates of each rule that wait for others, in the order in which that was seen: they make room. Some are none any more.
    for_others: Vec<VecDeque<Arc<Path>>>,
    /// How many made room.
    gave_way: u64,
    late: BTreeSet<Arc<Path>>,
    /// Those that could not be opened when that was tried last.
    unopened: BTreeSet<Arc<Path>>,
    taken: Remembered,
    /// Files that the marker of their folder stood for.
    marked: Remembered,
    kept: HashMap<PathBuf, (FileIdentity, u64)>,
    /// What was given back, as it was then, and how often as that.
    returned: HashMap<PathBuf, (FileIdentity, u32)>,
    returned_in_order: VecDeque<PathBuf>,
}

impl Table {
    /// For rules with these queues, each named by the place of a rule.
    pub(super) fn new(queue_of: Vec<usize>) -> Self {
        let rules = queue_of.len();
        let queues = (0..rules).map(|_| BTreeMap::new()).collect();
        Self {
            queues,
            queue_of,
            counts: vec![0; rules],
            missed: vec![false; rules],
            for_others: vec![VecDeque::new(); rules],
            ..Self::default()
        }
    }

    /// Room that a rule has for itself.
    fn own_room(&self) -> usize {
        ((CANDIDATES_MAX - COMMON_MAX) / self.counts.len().max(1)).max(CANDIDATES_MIN)
    }

    /// Room of a rule that has so many files: its own, and half of what the others leave; one alone has all.
    fn room(&self, count: usize) -> usize {
        let of_others = self.in_common.saturating_sub(self.beyond(count));
        let left = COMMON_MAX.saturating_sub(of_others);
        self.own_room() + if self.counts.len() == 1 { left } else { left / 2 }
    }

    fn beyond(&self, count: usize) -> usize {
        count.saturating_sub(self.own_room())
    }

    fn count(&mut self, rule: usize, change: impl FnOnce(usize) -> usize) {
        let Some(before) = self.counts.get(rule).copied() else { return };
        let after = change(before);
        self.in_common = self.in_common + self.beyond(after) - self.beyond(before);
        if let Some(count) = self.counts.get_mut(rule) {
            *count = after;
        }
    }

    /// Whether a rule may have one more candidate, in place of one that waits for others if need be: the next scan finds that one again, and sees whether it still does. If
    /// not, it is remembered that one was passed over.
    pub(super) fn has_room(&mut self, rule: usize) -> bool {
        let has_room = self.make_room(rule);
        if let Some(missed) = self.missed.get_mut(rule) {
            *missed |= !has_room;
            self.any_missed |= !has_room;
        }
        has_room
    }

    fn make_room(&mut self, rule: usize) -> bool {
        while self.counts.get(rule).is_none_or(|count| *count >= self.room(*count)) {
            let oldest = self.for_others.get_mut(rule).and_then(VecDeque::pop_front);
            let Some(path) = oldest else { return false };
            let waits = |it: &Candidate| it.waits_for_others && it.phase == Phase::Waiting;
            if self.files.get(&path).is_some_and(waits) {
                self.remove(&path);
                self.gave_way += 1;
            }
        }
        true
    }

    /// A candidate waits until somebody else does something.
    pub(super) fn waits_for_others(&mut self, path: &Arc<Path>) {
        let Some(candidate) = self.files.get_mut(path) else { return };
        if std::mem::replace(&mut candidate.waits_for_others, true) {
            return;
        }
        let (rule, of_rule) = (candidate.rule, self.counts.get(candidate.rule).copied().unwrap_or(0));
        let Some(queue) = self.for_others.get_mut(rule) else { return };
        queue.push_back(Arc::clone(path));
        if queue.len() > 2 * of_rule + 1024 {
            let files = &self.files;
            let mut seen = HashSet::new();
            queue.retain(|path| {
                files.get(path).is_some_and(|it| it.waits_for_others) && seen.insert(Arc::clone(path))
            });
        }
    }

    /// Whether files were passed over and there is room for a good part of them now; asked once.
    pub(super) fn room_for_missed(&mut self) -> bool {
        if !self.any_missed {
            return false;
        }
        // Each scan lists all files, so that it is to find room for many.
        let has_some = |(rule, count): (usize, &usize)| {
            *count < self.room(*count) / 2 && self.missed.get(rule) == Some(&true)
        };
        let found: Vec<_> = self
            .counts
            .iter()
            .enumerate()
            .filter(|it| has_some((it.0, it.1)))
            .map(|(rule, _)| rule)
            .collect();
        for rule in &found {
            if let Some(missed) = self.missed.get_mut(*rule) {
                *missed = false;
            }
        }
        self.any_missed = self.missed.contains(&true);
        !found.is_empty()
    }

    pub(super) fn key(&self, path: &Path) -> Option<Arc<Path>> {
        self.files.get_key_value(path).map(|(key, _)| Arc::clone(key))
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Candidate> {
        self.files.get(path)
    }

    pub(super) fn get_mut(&mut self, path: &Path) -> Option<&mut Candidate> {
        self.files.get_mut(path)
    }

    /// Takes note of a look at a candidate; tells whether the file changed since the last one.
    pub(super) fn look(&mut self, path: &Arc<Path>, identity: FileIdentity, now: Instant) -> bool {
        self.note_number(path, &identity);
        self.files.get_mut(path).is_some_and(|candidate| candidate.look(identity, now))
    }

    /// Notes what a candidate is now.
    pub(super) fn see(&mut self, path: &Arc<Path>, identity: FileIdentity, now: Instant) {
        self.note_number(path, &identity);
        if let Some(candidate) = self.files.get_mut(path) {
            candidate.see(identity, now);
        }
    }

    fn note_number(&mut self, path: &Arc<Path>, identity: &FileIdentity) {
        let Some(candidate) = self.files.get(path) else { return };
        if !candidate.seen.same_file(identity) {
            self.by_number.remove(path, &candidate.seen);
            self.by_number.insert(path, identity);
        }
    }

    /// Another candidate that is the same file.
    pub(super) fn other_name(&self, path: &Path) -> Option<&Arc<Path>> {
        self.by_number.other(path, &self.files.get(path)?.seen)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<Path>, &Candidate)> {
        self.files.iter()
    }

    pub(super) fn insert(&mut self, path: &Path, candidate: Candidate) -> Arc<Path> {
        let path: Arc<Path> = Arc::from(path);
        self.put_back(&path, candidate);
        path
    }

    /// All candidates, to be put back under other rules, with these queues. What is remembered of other files stays.
    pub(super) fn take_all(&mut self, queue_of: Vec<usize>) -> HashMap<Arc<Path>, Candidate> {
        let remembered = Self {
            arrivals: self.arrivals,
            taken: std::mem::take(&mut self.taken),
            marked: std::mem::take(&mut self.marked),
            kept: std::mem::take(&mut self.kept),
            returned: std::mem::take(&mut self.returned),
            returned_in_order: std::mem::take(&mut self.returned_in_order),
            ..Self::new(queue_of)
        };
        std::mem::replace(self, remembered).files
    }

    /// Puts a candidate where it stood: with its deadline, or in its rule's queue.
    pub(super) fn put_back(&mut self, path: &Arc<Path>, candidate: Candidate) {
        for marker in candidate.companions.iter() {
            self.by_marker.entry(marker.clone()).or_default().insert(Arc::clone(path));
        }
        self.by_number.insert(path, &candidate.seen);
        self.count(candidate.rule, |count| count + 1);
        if let Some(due) = candidate.due {
            self.due.push(Reverse((due, Arc::clone(path))));
        }
        if let Phase::Ready(key) = &candidate.phase
            && let Some(queue) = self.queue_of.get(candidate.rule).and_then(|at| self.queues.get_mut(*at))
        {
            queue.insert(key.clone(), Arc::clone(path));
        }
        if candidate.waits_for_others
            && let Some(queue) = self.for_others.get_mut(candidate.rule)
        {
            queue.push_back(Arc::clone(path));
        }
        if candidate.is_late {
            self.late.insert(Arc::clone(path));
        }
        if candidate.reason.starts_with(UNOPENED) {
            self.unopened.insert(Arc::clone(path));
        }
        self.files.insert(Arc::clone(path), candidate);
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Notes that a candidate waits for longer than its rule has it.
    pub(super) fn note_late(&mut self, path: &Path) {
        let Some(path) = self.key(path) else { return };
        if let Some(candidate) = self.files.get_mut(&path) {
            (candidate.late_at, candidate.is_late) = (None, true);
            self.late.insert(path);
        }
    }

    /// How many are late, and the first of them.
    pub(super) fn late(&self) -> (usize, Option<(&Arc<Path>, &Candidate)>) {
        let first = self.late.first().and_then(|path| self.files.get_key_value(path));
        (self.late.len(), first)
    }

    /// How many cannot be opened, and the first of them.
    pub(super) fn unopened(&self) -> (usize, Option<(&Arc<Path>, &Candidate)>) {
        let first = self.unopened.first().and_then(|path| self.files.get_key_value(path));
        (self.unopened.len(), first)
    }

    pub(super) fn remove(&mut self, path: &Path) -> Option<Candidate> {
        self.unqueue(path);
        let candidate = self.files.remove(path)?;
        self.late.remove(path);
        self.by_number.remove(path, &candidate.seen);
        self.count(candidate.rule, |count| count.saturating_sub(1));
        for marker in candidate.companions.iter() {
            let Some(files) = self.by_marker.get_mut(marker) else { continue };
            files.remove(path);
            if files.is_empty() {
                self.by_marker.remove(marker);
            }
        }
        Some(candidate)
    }

    /// The candidates that wait for this marker, or these totals.
    pub(super) fn waiting_for(&self, marker: &Path) -> impl Iterator<Item = &Arc<Path>> {
        self.by_marker.get(marker).into_iter().flatten()
    }

    /// How many made room for others since this was asked last.
    pub(super) fn take_gave_way(&mut self) -> u64 {
        std::mem::take(&mut self.gave_way)
    }

    /// Lets a candidate wait for what somebody else has to do, until it is looked at again.
    pub(super) fn wait_for_others(&mut self, path: &Arc<Path>, until: Instant, reason: Cow<'static, str>) {
        self.wait(path, until, reason);
        self.waits_for_others(path);
    }

    /// Lets a candidate wait until it is looked at again.
    pub(super) fn wait(&mut self, path: &Arc<Path>, until: Instant, reason: Cow<'static, str>) {
        self.unqueue(path);
        if let Some(candidate) = self.files.get_mut(path) {
            candidate.phase = Phase::Waiting;
            if reason.starts_with(UNOPENED) {
                self.unopened.insert(Arc::clone(path));
            }
            candidate.wait_for(reason);
            let until = candidate.late_at.map_or(until, |late_at| until.min(late_at));
            candidate.due = Some(until);
            self.due.push(Reverse((until, Arc::clone(path))));
        }
        self.forget_old_deadlines();
    }

    /// Deadlines that were put off stay in the heap until their time; too many of them are swept out.
    fn forget_old_deadlines(&mut self) {
        if self.due.len() > 2 * self.files.len() + 1024 {
            let files = &self.files;
            self.due.retain(|Reverse((at, path))| {
                files.get(path).is_some_and(|candidate| candidate.due == Some(*at))
            });
        }
    }

    /// Puts a complete candidate in its rule's queue.
    pub(super) fn queue(&mut self, path: &Arc<Path>, order: Order) {
        self.unopened.remove(path);
        let Some(candidate) = self.files.get_mut(path) else { return };
        self.arrivals += 1;
        let key = match order {
            Order::Arrival => QueueKey::Arrival(self.arrivals),
            Order::Name => QueueKey::Name(path.file_name().unwrap_or_default().to_owned(), self.arrivals),
            Order::Modified => QueueKey::Modified(candidate.seen.mtime_ns, self.arrivals),
        };
        candidate.due = None;
        candidate.wait_for(Cow::Borrowed("complete, waiting to be claimed"));
        candidate.phase = Phase::Ready(key.clone());
        if let Some(queue) = self.queue_of.get(candidate.rule).and_then(|at| self.queues.get_mut(*at)) {
            queue.insert(key, Arc::clone(path));
        }
    }

    fn unqueue(&mut self, path: &Path) {
        self.unopened.remove(path);
        if let Some(candidate) = self.files.get(path)
            && let Phase::Ready(key) = &candidate.phase
            && let Some(queue) = self.queue_of.get(candidate.rule).and_then(|at| self.queues.get_mut(*at))
        {
            queue.remove(key);
        }
    }

    pub(super) fn has_ready(&self, may_go: impl Fn(usize) -> bool) -> bool {
        self.queues.iter().enumerate().any(|(rule, queue)| !queue.is_empty() && may_go(rule))
    }

    /// The next rule, of those that may go, that has ready candidates: rules take turns.
    pub(super) fn next_ready(&self, may_go: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.queues.len();
        let rules = (0..count).map(|step| (self.next_rule + step) % count);
        let is_ready = |rule: usize| self.queues.get(rule).is_some_and(|queue| !queue.is_empty());
        rules.into_iter().find(|rule| is_ready(*rule) && may_go(*rule))
    }

    /// Ready candidates of this rule, which has had its turn, in the rule's order.
    pub(super) fn ready_batch(&mut self, rule: usize, max: usize) -> Vec<Arc<Path>> {
        self.next_rule = rule + 1;
        self.queues.get(rule).map(|queue| queue.values().take(max).cloned().collect()).unwrap_or_default()
    }

    /// Marks a ready candidate as offered.
    pub(super) fn offered(&mut self, path: &Path) {
        self.unqueue(path);
        if let Some(candidate) = self.files.get_mut(path) {
            candidate.phase = Phase::Offered(Proof::None);
            candidate.exchange = Exchange::Unknown;
            candidate.due = None;
            candidate.wait_for(Cow::Borrowed("offered, being claimed"));
        }
    }

    /// When the next candidate is to be looked at.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        loop {
            let Reverse((at, path)) = self.due.peek()?;
            if self.files.get(path).is_some_and(|candidate| candidate.due == Some(*at)) {
                return Some(*at);
            }
            self.due.pop();
        }
    }

    /// The next candidate whose time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Arc<Path>> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((_, path)) = self.due.pop()?;
        if let Some(candidate) = self.files.get_mut(&path) {
            candidate.due = None;
        }
        Some(path)
    }

    /// Remembers what was taken, the last [`TAKEN_MAX`] of them.
    pub(super) fn remember_taken(&mut self, identity: FileIdentity) {
        self.taken.insert(identity, TAKEN_MAX);
    }

    /// Remembers that the marker of its folder stood for a file.
    pub(super) fn remember_marked(&mut self, identity: FileIdentity) {
        self.marked.insert(identity, MARKED_MAX);
    }

    /// Whether a marker stood for this very file.
    pub(super) fn was_marked(&self, identity: &FileIdentity) -> bool {
        self.marked.has(identity)
    }

    /// Whether this very file was taken before: then it was given back.
    pub(super) fn was_taken(&self, identity: &FileIdentity) -> bool {
        self.taken.has(identity)
    }

    /// Takes note that a file was given back; how often it was as it is now.
    pub(super) fn note_returned(&mut self, path: &Path, identity: &FileIdentity) -> u32 {
        let content = (identity.size, identity.mtime_ns);
        if let Some((known, times)) = self.returned.get_mut(path) {
            *times = if (known.size, known.mtime_ns) == content { times.saturating_add(1) } else { 1 };
            *known = *identity;
            return *times;
        }
        self.returned.insert(path.to_owned(), (*identity, 1));
        self.returned_in_order.push_back(path.to_owned());
        if self.returned_in_order.len() > RETURNED_MAX
            && let Some(oldest) = self.returned_in_order.pop_front()
        {
            self.returned.remove(&oldest);
        }
        1
    }

    /// Remembers that this file stays where it lies.
    pub(super) fn remember_kept(&mut self, path: &Path, identity: FileIdentity, scan: u64) {
        if self.kept.len() < KEPT_MAX || self.kept.contains_key(path) {
            self.kept.insert(path.to_owned(), (identity, scan));
        }
    }

    /// Whether exactly this file is known to stay; notes that the scan saw it.
    pub(super) fn is_kept(&mut self, path: &Path, identity: &FileIdentity, scan: u64) -> bool {
        match self.kept.get_mut(path) {
            Some((known, seen_in)) if known == identity => {
                *seen_in = scan;
                true
            }
            _ => false,
        }
    }

    /// The file at this path is not known to stay any more.
    pub(super) fn forget_kept(&mut self, path: &Path) {
        self.kept.remove(path);
    }

    /// Forgets kept files that the last whole scan did not see.
    pub(super) fn forget_kept_before(&mut self, scan: u64) {
        self.kept.retain(|_, (_, seen_in)| *seen_in >= scan);
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
