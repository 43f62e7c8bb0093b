//! Jobs that are taken up together: of one group, those of rules that use the same file systems.
//!
//! A batch goes on as fast as its slowest job. So a rule that was in one which counts no more (it is stuck, or slow) is kept apart as long as
//! that goes on: it has one batch more, of its own jobs alone, and no other rule's job is in a batch with its jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::lanes::{Lanes, Owner, Turns, WHOLE_GROUP};
use super::permits::{Permit, Permits};
use crate::model::job_id::JobId;

/// Jobs that wait for one kind of thread, by the file systems of their rules.
#[derive(Debug)]
pub(super) struct Batches {
    waiting: Turns<Arc<str>, Lanes>,
    pub(super) permits: Permits,
    max: usize,
    under_way: UnderWay,
}

/// The rules of each batch.
#[derive(Debug, Default)]
struct UnderWay(HashMap<Permit, Vec<Arc<str>>>);

impl UnderWay {
    /// Whether a rule is kept apart.
    fn is_slow(&self, rule: &str, permits: &Permits) -> bool {
        let slow = self.0.iter().filter(|(permit, _)| !permits.counts(**permit));
        permits.has_stuck() && slow.into_iter().any(|(_, rules)| rules.iter().any(|other| **other == *rule))
    }

    fn may(&self, rule: &str, permits: &Permits) -> bool {
        let is_own = |rules: &Vec<Arc<str>>| matches!(&rules[..], [only] if **only == *rule);
        !self.is_slow(rule, permits) || !self.0.values().any(is_own)
    }
}

impl Batches {
    /// Of at most `max` jobs each.
    pub(super) fn new(permits: Permits, max: usize) -> Self {
        Self { waiting: Turns::default(), permits, max, under_way: UnderWay::default() }
    }

    /// Those of a group that wait.
    pub(super) fn line(&mut self, group: &Arc<str>) -> &mut Lanes {
        self.waiting.line(group)
    }

    /// The same, if some do.
    pub(super) fn known(&mut self, group: &Arc<str>) -> Option<&mut Lanes> {
        self.waiting.known(group)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether there would be a batch if permits were free.
    pub(super) fn has_next(&self) -> bool {
        let Self { waiting, permits, under_way, .. } = self;
        let may = |rule: &str, _| under_way.may(rule, permits);
        waiting.iter().any(|(group, lanes)| {
            permits.may(group, WHOLE_GROUP) && lanes.next(may, |_, _, _| true).is_some()
        })
    }

    /// At most so many jobs of one group and one priority as there may be.
    pub(super) fn next(
        &mut self,
        now: Instant,
        rule_of: impl Fn(JobId) -> Option<Arc<str>>,
    ) -> Option<(Vec<JobId>, Permit)> {
        if !self.permits.is_free() {
            self.permits.set_wanted(self.has_next(), now);
            return None;
        }
        let Self { waiting, permits, max, under_way } = self;
        let may = |rule: &str, permits: &Permits| under_way.may(rule, permits);
        let able = waiting.iter().filter(|(group, _)| permits.may(group, WHOLE_GROUP));
        let next = |lanes: &Lanes| lanes.next(|rule, _| may(rule, permits), |_, _, _| true);
        let first = able.filter_map(|(_, lanes)| next(lanes)).min()?.priority;
        let batch = |group: &Arc<str>, lanes: &mut Lanes| {
            if !permits.may(group, WHOLE_GROUP) {
                return None;
            }
            // Those of another priority would be waited for.
            let lead = lanes.pop(|rule, of| of == first && may(rule, permits), |_, _, _| true)?;
            let lead_rule = rule_of(lead);
            let is_apart = lead_rule.as_ref().is_some_and(|rule| under_way.is_slow(rule, permits));
            let joins = |rule: &str| {
                if is_apart { lead_rule.as_deref() == Some(rule) } else { !under_way.is_slow(rule, permits) }
            };
            let more = || lanes.pop(|rule, of| of == first && joins(rule), |_, _, _| true);
            let jobs: Vec<_> = std::iter::once(lead).chain(std::iter::from_fn(more)).take(*max).collect();
            let owner = Owner::of_group(Arc::clone(group));
            Some((jobs, permits.take(&owner, now)))
        };
        let (jobs, permit) = waiting.take(batch, Lanes::is_empty)?;
        let mut rules: Vec<_> = jobs.iter().filter_map(|id| rule_of(*id)).collect();
        rules.sort_unstable();
        rules.dedup();
        under_way.0.insert(permit, rules);
        Some((jobs, permit))
    }

    /// A batch is done.
    pub(super) fn end(&mut self, permit: Permit) {
        self.under_way.0.remove(&permit);
        self.permits.give(permit);
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
        let mut batches = Batches::new(permits, 2);
        for (rule, number) in jobs {
            let owner = owner(*rule, 0);
            batches.line(&owner.rule).push(&owner, id(*number));
        }
        batches
    }

    /// In these tests a rule has the tens of its jobs' numbers.
    fn next(batches: &mut Batches, now: Instant) -> Option<(Vec<JobId>, Permit)> {
        batches.next(now, |of| {
            (0..100).find(|number| id(*number) == of).map(|number| owner((number / 10) as u8, 0).rule)
        })
    }

    #[test]
    fn a_batch_is_of_one_group_and_no_larger_than_may_be() {
        let mut batches = batches(&[(1, 10), (2, 20), (1, 11), (1, 12)]);
        let now = Instant::now();
        let (first, _) = next(&mut batches, now).expect("jobs wait");
        let (second, _) = next(&mut batches, now).expect("jobs wait");
        assert_eq!([first, second], [vec![id(10), id(11)], vec![id(20)]]);
    }

    #[test]
    fn a_group_that_hangs_takes_no_place_of_others_and_its_jobs_keep_theirs() {
        let mut batches = batches(&[(1, 10), (1, 11), (1, 12), (2, 20)]);
        let now = Instant::now();
        let (_, hangs) = next(&mut batches, now).expect("jobs wait");
        let (other, _) = next(&mut batches, now).expect("another group has one");
        assert_eq!(other, [id(20)]);
        assert!(next(&mut batches, now).is_none() && !batches.has_next(), "the group has all that it may");
        batches.end(hangs);
        assert_eq!(next(&mut batches, now).map(|(jobs, _)| jobs), Some(vec![id(12)]));
        assert!(batches.is_empty());
    }

    #[test]
    fn an_urgent_job_is_not_published_with_others_that_it_would_wait_for() {
        let mut batches = batches(&[(1, 10), (2, 20), (2, 21)]);
        let (now, of) = (Instant::now(), owner(2, 0));
        let urgent = Owner { priority: Priority::new(1).expect("one"), ..of };
        batches.line(&urgent.rule).push(&urgent, id(22));
        let mut done = || {
            let (jobs, permit) = next(&mut batches, now)?;
            batches.end(permit);
            Some(jobs)
        };
        assert_eq!(done(), Some(vec![id(22)]));
        assert_eq!(done(), Some(vec![id(10)]));
        assert_eq!(done(), Some(vec![id(20), id(21)]));
    }

    #[test]
    fn whoever_finds_no_place_has_those_that_are_stuck_looked_for() {
        let mut batches = batches(&[(1, 10), (2, 20), (3, 30)]);
        let now = Instant::now();
        let _held = [next(&mut batches, now), next(&mut batches, now)].map(|next| next.expect("jobs wait"));
        assert!(next(&mut batches, now).is_none());
        assert!(batches.permits.give_up_stuck(now + PATIENCE));
        assert_eq!(next(&mut batches, now).map(|(jobs, _)| jobs), Some(vec![id(30)]));
    }

    /// All rules are of one group here.
    fn on_one_disk(jobs: &[(u8, usize)]) -> Batches {
        let permits = Permits::new(2, Each { rule: 8, sender: 8 }, PATIENCE);
        let mut batches = Batches::new(permits, 2);
        for (rule, number) in jobs {
            batches.line(&Arc::from("disk")).push(&owner(*rule, 0), id(*number));
        }
        batches
    }

    #[test]
    fn a_rule_whose_batches_are_slow_holds_up_no_other_of_its_disk_and_goes_on_by_itself() {
        let mut batches = on_one_disk(&[(1, 10), (1, 11), (1, 12), (1, 13), (1, 14)]);
        let now = Instant::now();
        let slow = [next(&mut batches, now), next(&mut batches, now)].map(|next| next.expect("jobs wait").1);
        batches.line(&Arc::from("disk")).push(&owner(2, 0), id(20));
        assert!(next(&mut batches, now).is_none(), "they may be done in a moment");
        assert!(batches.permits.give_up_stuck(now + PATIENCE));
        let (other, of_other) = next(&mut batches, now + PATIENCE).expect("a place is free");
        assert_eq!(other, [id(20)], "by itself");
        assert!(
            next(&mut batches, now + PATIENCE).is_none() && !batches.has_next(),
            "the slow one has all it may"
        );
        batches.end(of_other);
        batches.end(slow[0]);
        assert!(next(&mut batches, now + PATIENCE).is_none(), "its other one is slow still");
        batches.end(slow[1]);
        assert_eq!(next(&mut batches, now + PATIENCE).map(|(jobs, _)| jobs), Some(vec![id(14)]));
    }

    #[test]
    fn a_rule_that_was_in_a_slow_batch_of_another_has_one_of_its_own() {
        let mut batches = on_one_disk(&[(1, 10), (2, 20)]);
        let now = Instant::now();
        let (both, _) = next(&mut batches, now).expect("jobs wait");
        assert_eq!(both, [id(10), id(20)]);
        let (line, disk) = ([(2, 21), (3, 30), (1, 11), (3, 31)], Arc::from("disk"));
        for (rule, number) in line {
            batches.line(&disk).push(&owner(rule, 0), id(number));
        }
        let (second, _) = next(&mut batches, now).expect("there are two places");
        assert_eq!(second.len(), 2);
        batches.line(&disk).push(&owner(4, 0), id(40));
        batches.permits.set_wanted(true, now);
        assert!(batches.permits.give_up_stuck(now + PATIENCE), "both are slow");
        let later = now + PATIENCE;
        let mut rest = Vec::new();
        while let Some((jobs, permit)) = next(&mut batches, later) {
            batches.end(permit);
            rest.push(jobs);
        }
        assert!(rest.iter().all(|jobs| jobs.len() == 1), "nobody joins whoever was in one: {rest:?}");
        assert!(rest.iter().flatten().any(|job| *job == id(40)), "who was in none is not held up: {rest:?}");
    }
}
