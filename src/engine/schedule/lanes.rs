//! Waiting jobs in a fair order: rules take turns, and within a rule its senders do.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use crate::durable_fs;
use crate::model::job::Job;
use crate::model::job_id::JobId;

/// Who waits with a job: its rule, and in it the sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Owner {
    pub rule: Arc<str>,
    pub sender: Sender,
}

/// A folder in which sources lie, as a hash: senders have a folder each. Two that share a hash take turns as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Sender(pub(super) u64);

impl Owner {
    pub(in crate::engine) fn of(job: &Job) -> Self {
        Self::of_source(&job.rule, job.source.path.as_path())
    }

    pub(in crate::engine) fn of_source(rule: &str, source: &Path) -> Self {
        let mut hasher = DefaultHasher::new();
        durable_fs::parent_of(source).hash(&mut hasher);
        Self { rule: Arc::from(rule), sender: Sender(hasher.finish()) }
    }
}

/// Keys that take turns; each has a line of its own.
#[derive(Debug)]
pub(super) struct Turns<K, L> {
    lines: HashMap<K, L>,
    /// The next one first.
    order: VecDeque<K>,
}

impl<K, L> Default for Turns<K, L> {
    fn default() -> Self {
        Self { lines: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, L: Default> Turns<K, L> {
    pub(super) fn line(&mut self, key: &K) -> &mut L {
        if !self.lines.contains_key(key) {
            self.order.push_back(key.clone());
        }
        self.lines.entry(key.clone()).or_default()
    }

    /// Takes from the first line that gives something. Its key comes last then, or goes if its line is empty.
    pub(super) fn take<T>(
        &mut self,
        mut take: impl FnMut(&K, &mut L) -> Option<T>,
        is_empty: impl Fn(&L) -> bool,
    ) -> Option<T> {
        for position in 0..self.order.len() {
            let key = self.order.get(position)?;
            let line = self.lines.get_mut(key)?;
            let Some(taken) = take(key, line) else { continue };
            let is_empty = is_empty(line);
            let key = self.order.remove(position)?;
            if is_empty {
                self.lines.remove(&key);
            } else {
                self.order.push_back(key);
            }
            return Some(taken);
        }
        None
    }

    /// Changes one line; its key goes if it is empty then.
    fn edit(&mut self, key: &K, change: impl FnOnce(&mut L), is_empty: impl Fn(&L) -> bool) {
        let Some(line) = self.lines.get_mut(key) else { return };
        change(line);
        if is_empty(line) {
            self.lines.remove(key);
            self.order.retain(|other| other != key);
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.order.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// Jobs that wait for nothing but their turn.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    rules: Turns<Arc<str>, Turns<Sender, VecDeque<JobId>>>,
    length: usize,
}

impl Lanes {
    pub(super) fn push(&mut self, owner: &Owner, id: JobId) {
        self.rules.line(&owner.rule).line(&owner.sender).push_back(id);
        self.length += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first job of the next rule and sender that may have one.
    pub(super) fn pop(
        &mut self,
        may_rule: impl Fn(&str) -> bool,
        may_sender: impl Fn(&str, Sender) -> bool,
    ) -> Option<JobId> {
        let popped = self.take(may_rule, may_sender, VecDeque::pop_front);
        self.length -= usize::from(popped.is_some());
        popped
    }

    /// The first job of the next sender that may have one, of those that are wanted. It stays, as its sender's last.
    pub(super) fn rotate(
        &mut self,
        may: impl Fn(&str, Sender) -> bool,
        is_wanted: impl Fn(JobId) -> bool,
    ) -> Option<JobId> {
        let rotate = |jobs: &mut VecDeque<JobId>| {
            let id = jobs.remove(jobs.iter().position(|id| is_wanted(*id))?)?;
            jobs.push_back(id);
            Some(id)
        };
        self.take(|_| true, may, rotate)
    }

    fn take(
        &mut self,
        may_rule: impl Fn(&str) -> bool,
        may_sender: impl Fn(&str, Sender) -> bool,
        take: impl Fn(&mut VecDeque<JobId>) -> Option<JobId>,
    ) -> Option<JobId> {
        let of_rule = |rule: &Arc<str>, senders: &mut Turns<Sender, VecDeque<JobId>>| {
            let of_sender = |sender: &Sender, jobs: &mut VecDeque<JobId>| {
                may_sender(rule, *sender).then(|| take(jobs)).flatten()
            };
            may_rule(rule).then(|| senders.take(of_sender, VecDeque::is_empty)).flatten()
        };
        self.rules.take(of_rule, Turns::is_empty)
    }

    /// Whether [`Self::pop`] would give one.
    pub(super) fn has(
        &self,
        may_rule: impl Fn(&str) -> bool,
        may_sender: impl Fn(&str, Sender) -> bool,
    ) -> bool {
        let may = |(rule, senders): (&Arc<str>, &Turns<Sender, _>)| {
            may_rule(rule) && senders.keys().any(|sender| may_sender(rule, *sender))
        };
        self.rules.lines.iter().any(may)
    }

    /// Whether [`Self::rotate`] would give one.
    pub(super) fn has_wanted(
        &self,
        may: impl Fn(&str, Sender) -> bool,
        is_wanted: impl Fn(JobId) -> bool,
    ) -> bool {
        self.rules.lines.iter().any(|(rule, senders)| {
            let mut able = senders.lines.iter().filter(|(sender, _)| may(rule, **sender));
            able.any(|(_, jobs)| jobs.iter().any(|id| is_wanted(*id)))
        })
    }

    pub(super) fn remove(&mut self, owner: &Owner, id: JobId) {
        let mut removed = 0;
        let leave = |jobs: &mut VecDeque<JobId>| {
            let before = jobs.len();
            jobs.retain(|other| *other != id);
            removed = before - jobs.len();
        };
        self.rules.edit(
            &owner.rule,
            |senders| senders.edit(&owner.sender, leave, VecDeque::is_empty),
            Turns::is_empty,
        );
        self.length -= removed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(rule: &str, sender: u64) -> Owner {
        Owner { rule: Arc::from(rule), sender: Sender(sender) }
    }

    fn id(number: u64) -> JobId {
        JobId::from_parts(number, 0)
    }

    fn order(lanes: &mut Lanes) -> Vec<u64> {
        let number = |id: JobId| (0..100).find(|number| id == self::id(*number)).expect("one of ours");
        std::iter::from_fn(|| lanes.pop(|_| true, |_, _| true)).map(number).collect()
    }

    #[test]
    fn rules_take_turns_and_within_a_rule_its_senders() {
        let mut lanes = Lanes::default();
        (0..4).for_each(|number| lanes.push(&owner("flood", 1), id(number)));
        lanes.push(&owner("flood", 2), id(10));
        lanes.push(&owner("one", 1), id(20));
        assert_eq!(order(&mut lanes), [0, 20, 10, 1, 2, 3]);
        assert!(lanes.is_empty() && lanes.rules.lines.is_empty() && lanes.rules.order.is_empty());
    }

    #[test]
    fn who_may_have_none_is_passed_over_and_keeps_its_place() {
        let mut lanes = Lanes::default();
        lanes.push(&owner("a", 1), id(1));
        lanes.push(&owner("a", 2), id(2));
        lanes.push(&owner("b", 1), id(3));
        assert_eq!(lanes.pop(|rule| rule != "a", |_, _| true), Some(id(3)));
        assert!(!lanes.has(|rule| rule != "a", |_, _| true));
        assert_eq!(lanes.pop(|_| true, |_, sender| sender.0 != 1), Some(id(2)));
        assert_eq!(order(&mut lanes), [1]);
    }

    #[test]
    fn a_sender_is_a_folder() {
        let of = |path: &str| Owner::of_source("rule", Path::new(path));
        assert_eq!(of("in/acme/a.csv"), of("in/acme/b.csv"));
        assert_ne!(of("in/acme/a.csv"), of("in/other/a.csv"));
    }

    #[test]
    fn a_job_that_is_rotated_stays_and_one_that_is_removed_leaves_nothing() {
        let mut lanes = Lanes::default();
        (1..4).for_each(|number| lanes.push(&owner("a", 1), id(number)));
        let mut rotate = |wanted: &[u64]| {
            let is_wanted = |of: JobId| wanted.iter().any(|number| id(*number) == of);
            assert_eq!(lanes.has_wanted(|_, _| true, is_wanted), !wanted.is_empty());
            lanes.rotate(|_, _| true, is_wanted)
        };
        assert_eq!(
            [rotate(&[1, 2, 3]), rotate(&[1, 3]), rotate(&[1, 2, 3])],
            [1, 3, 2].map(|number| Some(id(number)))
        );
        assert_eq!(rotate(&[]), None);
        assert_eq!(lanes.rotate(|_, sender| sender.0 != 1, |_| true), None);
        lanes.remove(&owner("a", 1), id(3));
        lanes.remove(&owner("a", 1), id(3));
        assert_eq!(order(&mut lanes), [1, 2]);
        assert!(lanes.is_empty() && lanes.rules.lines.is_empty() && lanes.rules.order.is_empty());
    }
}
