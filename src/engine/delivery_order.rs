//! Deliveries of one key in the order of their claims: a correction that is small does not overtake its large original.
//!
//! ```text
//!  claimed, recovered or retried: in its key's line, by the order of claims
//!    -> a loader takes it up: first in line? -- no --> it waits, with nothing open, until the one before it is decided
//!                                            `- yes -> loaded -> ... -> intent, or ended, or held for an operator's word: decided,
//!                                                                      and the next in line has its turn
//! ```
//!
//! The rows are the truth and this is an index of them: who stands first although its row says that it is decided is left out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use super::lock;
use super::one_at_a_time::OneAtATime;
use super::schedule::Owner;
use crate::model::fault::JobError;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::store::Published;

/// What was published before under a rule of this name: of a content's hash, and of a delivery's key.
pub(crate) type AskPublished =
    Box<dyn Fn(&str, Option<&str>, Option<&OsText>) -> Result<Published, JobError> + Send + Sync>;

/// A rule's name and a delivery's key.
type Key = (String, OsText);

/// Undecided deliveries, by key, the one that was claimed first in front.
#[derive(Default)]
pub(super) struct DeliveryOrder {
    state: Mutex<State>,
    /// One judgement of a rule's deliveries at a time, up to the intent: the next one must find it.
    pub judging: OneAtATime<String>,
    /// A dry run: what was published in the real world.
    pub published_elsewhere: Option<AskPublished>,
}

#[derive(Default)]
struct State {
    lines: HashMap<Arc<Key>, VecDeque<JobId>>,
    keys: HashMap<JobId, (Arc<Key>, Owner)>,
    /// Those that were not first when a loader took them up.
    waiting: HashSet<JobId>,
}

impl State {
    fn leave(&mut self, id: JobId) -> Option<(Owner, JobId)> {
        self.waiting.remove(&id);
        let (key, _) = self.keys.remove(&id)?;
        let line = self.lines.get_mut(&key)?;
        if line.front() == Some(&id) {
            line.pop_front();
        } else {
            line.retain(|other| *other != id);
        }
        let Some(next) = line.front().copied() else {
            self.lines.remove(&key);
            return None;
        };
        let (_, owner) = self.keys.get(&next)?;
        self.waiting.remove(&next).then(|| (owner.clone(), next))
    }
}

impl DeliveryOrder {
    /// The job stands in its key's line. One that is retried stands before those that were claimed after it, also where they are at work: the
    /// sequence of its rule has the same order, and else each would wait for the other. A job of another line whose turn it is now.
    pub(super) fn enter(&self, owner: &Owner, key: OsText, id: JobId) -> Option<(Owner, JobId)> {
        let key = (owner.rule.as_ref().to_owned(), key);
        let mut state = lock(&self.state);
        if state.keys.get(&id).is_some_and(|(known, _)| **known == key) {
            return None;
        }
        let next = state.leave(id); // the rule has another key now
        let key =
            state.lines.get_key_value(&key).map_or_else(|| Arc::new(key), |(known, _)| Arc::clone(known));
        let line = state.lines.entry(Arc::clone(&key)).or_default();
        line.insert(line.partition_point(|other| *other < id), id);
        state.keys.insert(id, (key, owner.clone()));
        next
    }

    /// The first in this job's line, unless that is the job itself. It waits then, and [`Self::leave`] tells when its turn has come.
    pub(super) fn first_before(&self, id: JobId) -> Option<JobId> {
        let mut state = lock(&self.state);
        let first =
            state.keys.get(&id).and_then(|(key, _)| state.lines.get(key)).and_then(VecDeque::front).copied();
        let before = first.filter(|first| *first != id);
        if before.is_some() {
            state.waiting.insert(id);
        } else {
            state.waiting.remove(&id);
        }
        before
    }

    /// The job is decided. The job that waited for it, whose turn it is now, and its owner.
    pub(super) fn leave(&self, id: JobId) -> Option<(Owner, JobId)> {
        lock(&self.state).leave(id)
    }

    /// The first of each line in which somebody waits.
    pub(super) fn awaited(&self) -> Vec<JobId> {
        let state = lock(&self.state);
        let keys: HashSet<_> =
            state.waiting.iter().filter_map(|id| state.keys.get(id)).map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| state.lines.get(key)?.front().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::priority::Priority;

    fn id(number: u64) -> JobId {
        JobId::from_parts(number, 0)
    }

    fn owner() -> Owner {
        Owner::of_source("rule", std::path::Path::new("in/a.csv"), Priority::default())
    }

    fn line_of(order: &DeliveryOrder, key: &str, ids: &[u64]) {
        for number in ids {
            order.enter(&owner(), OsText::from(key), id(*number));
        }
    }

    #[test]
    fn each_has_its_turn_when_the_one_before_it_is_decided() {
        let order = DeliveryOrder::default();
        line_of(&order, "a", &[1, 2, 3]);
        line_of(&order, "b", &[4]);
        assert_eq!(
            [1, 2, 3, 4].map(|number| order.first_before(id(number))),
            [None, Some(id(1)), Some(id(1)), None]
        );
        assert_eq!(order.awaited(), [id(1)]);
        let mut turns = Vec::new();
        let mut decided = id(1);
        while let Some((_, next)) = order.leave(decided) {
            assert_eq!(order.first_before(next), None, "it is first now");
            turns.push(next);
            decided = next;
        }
        assert_eq!(turns, [id(2), id(3)]);
        assert!(order.awaited().is_empty());
        order.leave(id(4));
        let state = lock(&order.state);
        assert!(
            state.lines.is_empty() && state.keys.is_empty() && state.waiting.is_empty(),
            "nothing is kept"
        );
    }

    #[test]
    fn one_that_leaves_from_the_middle_calls_nobody_who_is_not_first() {
        let order = DeliveryOrder::default();
        line_of(&order, "a", &[1, 2, 3]);
        assert_eq!([order.first_before(id(2)), order.first_before(id(3))], [Some(id(1)); 2]);
        assert_eq!(order.leave(id(2)), None);
        assert_eq!(order.leave(id(1)), Some((owner(), id(3))));
    }

    #[test]
    fn one_that_is_retried_stands_before_those_that_were_claimed_after_it() {
        let order = DeliveryOrder::default();
        line_of(&order, "a", &[2, 3, 1]);
        assert_eq!([order.first_before(id(1)), order.first_before(id(3))], [None, Some(id(1))]);
        assert_eq!(order.leave(id(2)), None, "it was at work already, and others wait for the first");
        assert_eq!(order.leave(id(1)), Some((owner(), id(3))));
    }

    #[test]
    fn one_that_was_not_taken_up_yet_is_not_called() {
        let order = DeliveryOrder::default();
        line_of(&order, "a", &[1, 2]);
        assert_eq!(order.leave(id(1)), None, "it is in the queue, and finds that it is first");
        assert_eq!(order.first_before(id(2)), None);
    }

    #[test]
    fn a_job_whose_rule_has_another_key_now_stands_in_that_line_alone() {
        let order = DeliveryOrder::default();
        line_of(&order, "a", &[1, 2]);
        assert_eq!(order.first_before(id(2)), Some(id(1)));
        assert_eq!(order.enter(&owner(), OsText::from("b"), id(1)), Some((owner(), id(2))));
        assert_eq!([order.first_before(id(1)), order.first_before(id(2))], [None; 2]);
        assert_eq!(order.enter(&owner(), OsText::from("b"), id(1)), None, "it stands there already");
    }
}
