//! Waiting jobs in a fair order: by priority; within one rules take turns, and within a rule its senders do. Or, where users want it so, as the
//! jobs arrived.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use crate::durable_fs;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::priority::{Priority, Sharing};

/// Who waits with a job: its rule, and in it the sender; and how urgently.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Owner {
    pub rule: Arc<str>,
    pub sender: Sender,
    pub priority: Priority,
}

/// A folder in which sources lie, as a hash: senders have a folder each. Two that share a hash take turns as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Sender(pub(super) u64);

/// Permits for batches are a group's, whoever the senders are.
pub(super) const WHOLE_GROUP: Sender = Sender(0);

impl Owner {
    pub(in crate::engine) fn of(job: &Job) -> Self {
        Self::of_source(&job.rule, job.source.path.as_path(), job.priority)
    }

    pub(in crate::engine) fn of_source(rule: &str, source: &Path, priority: Priority) -> Self {
        let mut hasher = DefaultHasher::new();
        durable_fs::parent_of(source).hash(&mut hasher);
        Self { rule: Arc::from(rule), sender: Sender(hasher.finish()), priority }
    }

    /// Rules that use the same file systems, whoever their senders are.
    pub(super) fn of_group(group: Arc<str>) -> Self {
        Self { rule: group, sender: WHOLE_GROUP, priority: Priority::default() }
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

    pub(super) fn known(&mut self, key: &K) -> Option<&mut L> {
        self.lines.get_mut(key)
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

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &L)> {
        self.lines.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// Jobs that wait for nothing but their turn. Those of a later priority wait until none of an earlier one may be taken.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    levels: BTreeMap<Priority, Level>,
    sharing: Sharing,
}

/// Jobs of one priority. Of a sender as they came into the line; by arrival: the one that arrived first is the first.
type Level = Turns<Arc<str>, Turns<Sender, VecDeque<JobId>>>;

/// Who goes before whom; the lesser goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Urgency {
    pub priority: Priority,
    /// None where those of one priority take turns. Ids are in the order of arrival.
    job: Option<JobId>,
}

/// What becomes of a job that is taken from its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Leaves,
    /// It stays; where jobs take turns: as its sender's last.
    Stays,
}

impl Lanes {
    pub(super) fn new(sharing: Sharing) -> Self {
        Self { levels: BTreeMap::new(), sharing }
    }

    pub(super) fn push(&mut self, owner: &Owner, id: JobId) {
        let level = self.levels.entry(owner.priority).or_default();
        let jobs = level.line(&owner.rule).line(&owner.sender);
        let at = match self.sharing {
            Sharing::Fair => jobs.len(),
            Sharing::Fifo => jobs.partition_point(|other| *other < id),
        };
        jobs.insert(at, id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// That of those that go first.
    pub(super) fn first(&self) -> Option<Urgency> {
        self.next(|_, _| true, |_, _, _| true)
    }

    /// The first job of the next rule and sender that may have one; or of all that may.
    pub(super) fn pop(
        &mut self,
        may_rule: impl Fn(&str, Priority) -> bool,
        may_sender: impl Fn(&str, Sender, Priority) -> bool,
    ) -> Option<JobId> {
        self.take(may_rule, may_sender, |jobs| (!jobs.is_empty()).then_some(0), Then::Leaves)
    }

    /// The same, of those that are wanted. It stays.
    pub(super) fn rotate(
        &mut self,
        may: impl Fn(&str, Sender) -> bool,
        is_wanted: impl Fn(JobId) -> bool,
    ) -> Option<JobId> {
        let pick = |jobs: &VecDeque<JobId>| jobs.iter().position(|id| is_wanted(*id));
        self.take(|_, _| true, |rule, sender, _| may(rule, sender), pick, Then::Stays)
    }

    fn take(
        &mut self,
        may_rule: impl Fn(&str, Priority) -> bool,
        may_sender: impl Fn(&str, Sender, Priority) -> bool,
        pick: impl Fn(&VecDeque<JobId>) -> Option<usize>,
        then: Then,
    ) -> Option<JobId> {
        if self.sharing == Sharing::Fifo {
            return self.take_first(may_rule, may_sender, pick, then);
        }
        let take = |jobs: &mut VecDeque<JobId>| {
            let id = jobs.remove(pick(jobs)?)?;
            if then == Then::Stays {
                jobs.push_back(id);
            }
            Some(id)
        };
        let taken = self.levels.iter_mut().find_map(|(&priority, level)| {
            let of_rule = |rule: &Arc<str>, senders: &mut Turns<Sender, VecDeque<JobId>>| {
                let of_sender = |sender: &Sender, jobs: &mut VecDeque<JobId>| {
                    may_sender(rule, *sender, priority).then(|| take(jobs)).flatten()
                };
                may_rule(rule, priority).then(|| senders.take(of_sender, VecDeque::is_empty)).flatten()
            };
            let taken = level.take(of_rule, Turns::is_empty)?;
            Some((priority, level.is_empty(), taken))
        });
        let (priority, is_empty, id) = taken?;
        if is_empty {
            self.levels.remove(&priority);
        }
        Some(id)
    }

    /// Of all that may, the one that arrived first.
    fn take_first(
        &mut self,
        may_rule: impl Fn(&str, Priority) -> bool,
        may_sender: impl Fn(&str, Sender, Priority) -> bool,
        pick: impl Fn(&VecDeque<JobId>) -> Option<usize>,
        then: Then,
    ) -> Option<JobId> {
        let (id, owner) = self.levels.iter().find_map(|(&priority, level)| {
            let able = able(level, priority, &may_rule, &may_sender);
            let picked =
                able.filter_map(|(rule, sender, jobs)| Some((*jobs.get(pick(jobs)?)?, rule, sender)));
            let (id, rule, sender) = picked.min_by_key(|(id, ..)| *id)?;
            Some((id, Owner { rule: Arc::clone(rule), sender, priority }))
        })?;
        if then == Then::Leaves {
            self.remove(&owner, id);
        }
        Some(id)
    }

    /// That of the one that [`Self::pop`] would give, if any.
    pub(super) fn next(
        &self,
        may_rule: impl Fn(&str, Priority) -> bool,
        may_sender: impl Fn(&str, Sender, Priority) -> bool,
    ) -> Option<Urgency> {
        self.levels.iter().find_map(|(&priority, level)| {
            let mut able = able(level, priority, &may_rule, &may_sender);
            let job = match self.sharing {
                Sharing::Fair => able.next().map(|_| None),
                Sharing::Fifo => able.filter_map(|(_, _, jobs)| jobs.front()).min().map(|id| Some(*id)),
            };
            Some(Urgency { priority, job: job? })
        })
    }

    /// Whether [`Self::rotate`] would give one.
    pub(super) fn has_wanted(
        &self,
        may: impl Fn(&str, Sender) -> bool,
        is_wanted: impl Fn(JobId) -> bool,
    ) -> bool {
        self.levels.values().flat_map(|level| &level.lines).any(|(rule, senders)| {
            let mut able = senders.lines.iter().filter(|(sender, _)| may(rule, **sender));
            able.any(|(_, jobs)| jobs.iter().any(|id| is_wanted(*id)))
        })
    }

    /// Whether it was among them.
    pub(super) fn remove(&mut self, owner: &Owner, id: JobId) -> bool {
        let Some(level) = self.levels.get_mut(&owner.priority) else { return false };
        let mut was_there = false;
        let leave = |jobs: &mut VecDeque<JobId>| {
            if jobs.front() == Some(&id) {
                jobs.pop_front(); // mostly, and a line may be long
                was_there = true;
                return;
            }
            let before = jobs.len();
            jobs.retain(|other| *other != id);
            was_there = jobs.len() < before;
        };
        let of_rule = |senders: &mut Turns<Sender, VecDeque<JobId>>| {
            senders.edit(&owner.sender, leave, VecDeque::is_empty);
        };
        level.edit(&owner.rule, of_rule, Turns::is_empty);
        if level.is_empty() {
            self.levels.remove(&owner.priority);
        }
        was_there
    }
}

/// The lines of those that may have something.
fn able<'l>(
    level: &'l Level,
    priority: Priority,
    may_rule: &'l impl Fn(&str, Priority) -> bool,
    may_sender: &'l impl Fn(&str, Sender, Priority) -> bool,
) -> impl Iterator<Item = (&'l Arc<str>, Sender, &'l VecDeque<JobId>)> {
    let rules = level.lines.iter().filter(move |(rule, _)| may_rule(rule, priority));
    rules.flat_map(move |(rule, senders)| {
        let able = senders.lines.iter().filter(move |(sender, _)| may_sender(rule, **sender, priority));
        able.map(move |(sender, jobs)| (rule, *sender, jobs))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(rule: &str, sender: u64) -> Owner {
        Owner { rule: Arc::from(rule), sender: Sender(sender), priority: Priority::default() }
    }

    fn id(number: u64) -> JobId {
        JobId::from_parts(number, 0)
    }

    fn order(lanes: &mut Lanes) -> Vec<u64> {
        let number = |id: JobId| (0..100).find(|number| id == self::id(*number)).expect("one of ours");
        std::iter::from_fn(|| lanes.pop(|_, _| true, |_, _, _| true)).map(number).collect()
    }

    #[test]
    fn rules_take_turns_and_within_a_rule_its_senders() {
        let mut lanes = Lanes::default();
        (0..4).for_each(|number| lanes.push(&owner("flood", 1), id(number)));
        lanes.push(&owner("flood", 2), id(10));
        lanes.push(&owner("one", 1), id(20));
        assert_eq!(order(&mut lanes), [0, 20, 10, 1, 2, 3]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn the_lower_priority_goes_first_whoever_came_first_and_one_that_may_not_lets_the_next_go() {
        let mut lanes = Lanes::default();
        let at = |rule: &str, number: u64| Owner {
            priority: Priority::new(number).expect("one"),
            ..owner(rule, 1)
        };
        for (rule, priority) in [("late", 60), ("usual", 50), ("first", 1), ("usual", 50), ("held", 1)] {
            lanes.push(&at(rule, priority), id(priority));
        }
        let not_held = |rule: &str, _| rule != "held";
        assert_eq!(lanes.first().map(|first| first.priority), Priority::new(1));
        assert_eq!(lanes.pop(not_held, |_, _, _| true), Some(id(1)));
        assert_eq!(lanes.next(not_held, |_, _, _| true).map(|next| next.priority), Priority::new(50));
        assert_eq!(order(&mut lanes), [1, 50, 50, 60]);
    }

    #[test]
    fn who_may_have_none_is_passed_over_and_keeps_its_place() {
        let mut lanes = Lanes::default();
        lanes.push(&owner("a", 1), id(1));
        lanes.push(&owner("a", 2), id(2));
        lanes.push(&owner("b", 1), id(3));
        assert_eq!(lanes.pop(|rule, _| rule != "a", |_, _, _| true), Some(id(3)));
        assert_eq!(lanes.next(|rule, _| rule != "a", |_, _, _| true), None);
        assert_eq!(lanes.pop(|_, _| true, |_, sender, _| sender.0 != 1), Some(id(2)));
        assert_eq!(order(&mut lanes), [1]);
    }

    #[test]
    fn by_arrival_the_job_that_came_first_is_first_whoever_has_it_and_whenever_it_came_into_the_line() {
        let mut lanes = Lanes::new(Sharing::Fifo);
        let urgent = Owner { priority: Priority::new(1).expect("one"), ..owner("b", 1) };
        for (rule, sender, number) in [("a", 1, 3), ("a", 1, 1), ("b", 2, 2), ("b", 1, 4), ("a", 2, 5)] {
            lanes.push(&owner(rule, sender), id(number));
        }
        lanes.push(&urgent, id(9));
        let no_a = |rule: &str, _: Sender| rule != "a";
        assert_eq!(lanes.rotate(no_a, |wanted| wanted != id(9)), Some(id(2)), "the first that may");
        assert_eq!(
            lanes.rotate(|_, _| true, |_| true),
            Some(id(9)),
            "what is urgent goes first all the same"
        );
        assert_eq!(lanes.rotate(|_, _| true, |_| true), Some(id(9)), "it stays the first");
        assert!(lanes.first() < lanes.next(|_, of| of != urgent.priority, |_, _, _| true));
        assert_eq!(order(&mut lanes), [9, 1, 2, 3, 4, 5]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_sender_is_a_folder() {
        let of = |path: &str| Owner::of_source("rule", Path::new(path), Priority::default());
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
        assert!(lanes.remove(&owner("a", 1), id(3)));
        assert!(!lanes.remove(&owner("a", 1), id(3)));
        assert_eq!(order(&mut lanes), [1, 2]);
        assert!(lanes.is_empty());
    }
}
