//! Jobs that are taken up together: of one group, those of rules that use the same file systems.

use std::sync::Arc;
use std::time::Instant;

use super::lanes::{Lanes, Owner, Turns, WHOLE_GROUP};
use super::permits::{Permit, Permits};
use crate::model::job_id::JobId;

/// Jobs that wait for one kind of thread, by the file systems of their rules.
#[derive(Debug)]
pub(super) struct Batches {
    pub(super) waiting: Turns<Arc<str>, Lanes>,
    pub(super) permits: Permits,
    pub(super) max: usize,
}

impl Batches {
    pub(super) fn has_next(&self) -> bool {
        self.waiting.keys().any(|group| self.permits.may(group, WHOLE_GROUP))
    }

    /// At most `max` jobs of one group and one priority.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Vec<JobId>, Permit)> {
        if !self.permits.is_free() {
            self.permits.set_wanted(self.has_next(), now);
            return None;
        }
        let (waiting, permits, max) = (&mut self.waiting, &mut self.permits, self.max);
        let able = waiting.iter().filter(|(group, _)| permits.may(group, WHOLE_GROUP));
        let first = able.filter_map(|(_, lanes)| lanes.first()).min()?;
        let batch = |group: &Arc<str>, lanes: &mut Lanes| {
            (lanes.first() == Some(first) && permits.may(group, WHOLE_GROUP)).then(|| {
                // Those of another priority would be waited for.
                let next = || lanes.pop(|_, priority| priority == first, |_, _, _| true);
                let jobs = std::iter::from_fn(next).take(max);
                let owner = Owner::of_group(Arc::clone(group));
                (jobs.collect(), permits.take(&owner, now))
            })
        };
        waiting.take(batch, Lanes::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::schedule::permits::Each;
    use crate::engine::schedule::tests::{id, owner};
    use crate::model::priority::Priority;

    const PATIENCE: Duration = Duration::from_millis(50);

    /// Two places, and one for each group, with jobs of these rules, each of a group of its own.
    fn batches(jobs: &[(u8, usize)]) -> Batches {
        let permits = Permits::new(2, Each { rule: 1, sender: 1 }, PATIENCE);
        let mut batches = Batches { waiting: Turns::default(), permits, max: 2 };
        for (rule, number) in jobs {
            let owner = owner(*rule, 0);
            batches.waiting.line(&owner.rule).push(&owner, id(*number));
        }
        batches
    }

    #[test]
    fn a_batch_is_of_one_group_and_no_larger_than_may_be() {
        let mut batches = batches(&[(1, 10), (2, 20), (1, 11), (1, 12)]);
        let now = Instant::now();
        let (first, _) = batches.next(now).expect("jobs wait");
        let (second, _) = batches.next(now).expect("jobs wait");
        assert_eq!([first, second], [vec![id(10), id(11)], vec![id(20)]]);
    }

    #[test]
    fn a_group_that_hangs_takes_no_place_of_others_and_its_jobs_keep_theirs() {
        let mut batches = batches(&[(1, 10), (1, 11), (1, 12), (2, 20)]);
        let now = Instant::now();
        let (_, hangs) = batches.next(now).expect("jobs wait");
        let (other, _) = batches.next(now).expect("another group has one");
        assert_eq!(other, [id(20)]);
        assert!(batches.next(now).is_none() && !batches.has_next(), "the group has all that it may");
        batches.permits.give(hangs);
        assert_eq!(batches.next(now).map(|(jobs, _)| jobs), Some(vec![id(12)]));
        assert!(batches.waiting.is_empty());
    }

    #[test]
    fn an_urgent_job_is_not_published_with_others_that_it_would_wait_for() {
        let mut batches = batches(&[(1, 10), (2, 20), (2, 21)]);
        let (now, of) = (Instant::now(), owner(2, 0));
        let urgent = Owner { priority: Priority::new(1).expect("one"), ..of };
        batches.waiting.line(&urgent.rule).push(&urgent, id(22));
        let mut next = || batches.next(now).map(|(jobs, permit)| (jobs, batches.permits.give(permit)).0);
        assert_eq!(next(), Some(vec![id(22)]));
        assert_eq!(next(), Some(vec![id(10)]));
        assert_eq!(next(), Some(vec![id(20), id(21)]));
    }

    #[test]
    fn whoever_finds_no_place_has_those_that_are_stuck_looked_for() {
        let mut batches = batches(&[(1, 10), (2, 20), (3, 30)]);
        let now = Instant::now();
        let _held = [batches.next(now), batches.next(now)].map(|next| next.expect("jobs wait"));
        assert!(batches.next(now).is_none());
        assert!(batches.permits.give_up_stuck(now + PATIENCE));
        assert_eq!(batches.next(now).map(|(jobs, _)| jobs), Some(vec![id(30)]));
    }
}
