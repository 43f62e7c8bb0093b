//! Who works: rules take turns, in them their senders, and of a sender its jobs.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Instant;

use super::lanes::{Lanes, Owner, Sender};
use super::permits::{Permit, Permits};
use super::throttles::{HeldBack, Throttles, WorkLimits};
use super::{Call, Crew, Known, Schedule, Stage};
use crate::model::job_id::JobId;

impl Schedule {
    /// A job became a run: workers take its slices.
    pub(in crate::engine) fn begin_run(&mut self, id: JobId, owner: &Owner) {
        let owner = self.know(owner, id).owner.clone();
        self.runs.take(id, &owner);
        self.running.push(&owner, id);
    }

    /// A run may have slices for a worker.
    pub(in crate::engine) fn slices(&mut self, now: Instant) {
        if self.working.is_free() {
            self.call(Call::Crew(Crew::Workers));
        } else {
            self.working.set_wanted(true, now);
        }
    }

    /// A run with slices, and the right to work one. Rules take turns, and the jobs of a rule do.
    pub(in crate::engine) fn next_work(
        &mut self,
        has_slices: impl Fn(JobId) -> bool,
        now: Instant,
    ) -> Option<(JobId, Permit)> {
        if !self.working.is_free() {
            let is_wanted = self.has_work(&has_slices, now);
            self.working.set_wanted(is_wanted, now);
            return None;
        }
        let id =
            self.through_gate(&has_slices, now, |running, may, is_wanted| running.rotate(may, is_wanted))?;
        let permit = self.take_to_work(id, now);
        if self.has_work(&has_slices, now) {
            self.slices(now); // nobody else looks before this one is done, which may be never
        }
        Some((id, permit))
    }

    fn take_to_work(&mut self, id: JobId, now: Instant) -> Permit {
        let owner = self.owner_of(id);
        let permit = self.working.take(&owner, now);
        self.throttles.take(permit, id, &owner.rule);
        permit
    }

    /// Whether a worker that is free would get something.
    fn has_work(&mut self, has_slices: &impl Fn(JobId) -> bool, now: Instant) -> bool {
        self.through_gate(has_slices, now, |running, may, is_wanted| running.has_wanted(may, is_wanted))
    }

    /// Looks at the runs by who may have a worker, and which run is wanted: it has slices, and what users have set lets it through. When the
    /// first of those that were not let through may go is noted.
    fn through_gate<T>(
        &mut self,
        has_slices: &impl Fn(JobId) -> bool,
        now: Instant,
        look: impl FnOnce(&mut Lanes, &dyn Fn(&str, Sender) -> bool, &dyn Fn(JobId) -> bool) -> T,
    ) -> T {
        let gate = Gate {
            jobs: &self.jobs,
            working: &self.working,
            throttles: &self.throttles,
            now,
            due: Cell::default(),
        };
        let may = |rule: &str, sender: Sender| gate.working.may(rule, sender);
        let is_wanted = |id: JobId| has_slices(id) && gate.lets_through(id);
        let found = look(&mut self.running, &may, &is_wanted);
        self.due = earlier(self.due, gate.due.get());
        found
    }

    /// The right to work this run's slices, for the loader that read it; none if as many work as may.
    pub(in crate::engine) fn try_work(&mut self, id: JobId, now: Instant) -> Option<Permit> {
        let owner = self.owner_of(id);
        let may = self.working.is_free()
            && self.working.may(&owner.rule, owner.sender)
            && self.throttles.held_back(id, &owner.rule, &self.working, now).is_none();
        may.then(|| self.take_to_work(id, now))
    }

    /// A slice of so many records was taken by this permit. Whether they are counted: then it is for no other slice.
    pub(in crate::engine) fn count_records(&mut self, permit: Permit, records: u64, now: Instant) -> bool {
        let is_counted = self.throttles.count(permit, records, now);
        if is_counted {
            self.slices(now); // nobody was let through meanwhile
        }
        is_counted
    }

    /// See [`Throttles::know`].
    pub(in crate::engine) fn know_limits(&mut self, limits: WorkLimits, now: Instant) {
        self.throttles.know(limits, now);
        self.slices(now);
    }

    /// Whether records are counted at all.
    pub(in crate::engine) fn counts_records(&self) -> bool {
        self.throttles.counts_records()
    }

    /// At most so many workers for a job that runs; none: no limit.
    pub(in crate::engine) fn limit_job(&mut self, id: JobId, workers_max: Option<usize>, now: Instant) {
        self.throttles.limit_job(id, workers_max);
        self.slices(now);
    }

    /// What users have set that keeps workers from a run.
    pub(in crate::engine) fn held_back(&self, id: JobId, now: Instant) -> Option<HeldBack> {
        let owner = &self.jobs.get(&id)?.owner;
        self.throttles.held_back(id, &owner.rule, &self.working, now)
    }

    /// Those at work on a job.
    pub(in crate::engine) fn workers_at(&self, id: JobId) -> usize {
        self.throttles.workers_at(id)
    }

    /// A slice is worked.
    pub(in crate::engine) fn end_work(&mut self, permit: Permit, now: Instant) {
        let was_slow = self.working.is_long(permit, now);
        self.working.give(permit);
        self.throttles.give(permit, was_slow);
    }

    /// A run's work ended: it waits to be published, or to be ended otherwise.
    pub(in crate::engine) fn settle(&mut self, id: JobId, now: Instant) {
        let Some(owner) = self.jobs.get(&id).map(|known| known.owner.clone()) else { return };
        self.running.remove(&owner, id);
        self.throttles.limit_job(id, None);
        self.runs.give(id);
        self.settled.take(id, &owner);
        self.queue(Stage::Finish, &owner, id, now);
        self.call_readers(now);
    }
}

/// What users have set: whom it lets through.
struct Gate<'s> {
    jobs: &'s HashMap<JobId, Known>,
    working: &'s Permits,
    throttles: &'s Throttles,
    now: Instant,
    /// When the first of those that it did not let through may.
    due: Cell<Option<Instant>>,
}

impl Gate<'_> {
    fn lets_through(&self, id: JobId) -> bool {
        let Some(known) = self.jobs.get(&id) else { return true };
        let held_back = self.throttles.held_back(id, &known.owner.rule, self.working, self.now);
        if let Some(HeldBack::Rate { until, .. }) = held_back {
            self.due.set(earlier(self.due.get(), until));
        }
        held_back.is_none()
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schedule::tests::{PATIENCE, id, limits, owner};
    use crate::model::priority::Priority;

    /// Runs of these rules and senders.
    fn runs(workers: usize, of: &[(u8, u8)]) -> Schedule {
        let mut schedule = Schedule::new(limits(workers));
        for (number, (rule, sender)) in of.iter().enumerate() {
            schedule.begin_run(id(number), &owner(*rule, *sender));
        }
        schedule
    }

    #[test]
    fn rules_and_in_them_senders_and_jobs_take_turns_at_the_workers() {
        let mut schedule = runs(1, &[(1, 1), (1, 1), (1, 2), (2, 1)]);
        let now = Instant::now();
        let mut next = || {
            let (id, permit) = schedule.next_work(|_| true, now).expect("there are slices");
            schedule.end_work(permit, now);
            id
        };
        let turns: Vec<_> = (0..8).map(|_| next()).collect();
        assert_eq!(turns, [0, 3, 2, 3, 1, 3, 2, 3].map(id));
    }

    #[test]
    fn the_slices_of_an_urgent_run_are_worked_before_those_of_others() {
        let mut schedule = runs(1, &[(1, 1), (1, 1), (2, 1)]);
        let now = Instant::now();
        schedule.set_priority(id(1), Priority::new(1).expect("one"), now);
        let mut next = |has_slices: &dyn Fn(JobId) -> bool| {
            let (id, permit) = schedule.next_work(has_slices, now).expect("there are slices");
            schedule.end_work(permit, now);
            id
        };
        let turns: Vec<_> = (0..3).map(|_| next(&|_| true)).collect();
        assert_eq!(turns, [1, 1, 1].map(id));
        assert_eq!(next(&|run| run != id(1)), id(0), "it waits for its loader: others go on meanwhile");
    }

    #[test]
    fn who_takes_a_slice_has_another_worker_called_for_what_is_left_or_those_that_are_stuck_looked_for() {
        let mut schedule = runs(1, &[(1, 1), (2, 1)]);
        let now = Instant::now();
        let (first, hangs) = schedule.next_work(|_| true, now).expect("there are slices");
        assert_eq!((first, schedule.take_calls()), (id(0), vec![]), "no second one may work");
        assert_eq!(schedule.next_tick(), Some(now + PATIENCE));
        schedule.tick(now + PATIENCE);
        assert_eq!(schedule.take_calls(), [Call::Crew(Crew::Workers)]);
        assert_eq!(schedule.next_work(|_| true, now).map(|(id, _)| id), Some(id(1)));
        schedule.end_work(hangs, now + 2 * PATIENCE); // long after
        assert_eq!(schedule.working.counted(), 1);
    }

    #[test]
    fn a_sender_that_hangs_leaves_its_rule_to_others() {
        let mut schedule = runs(1, &[(1, 1), (1, 2)]);
        let now = Instant::now();
        schedule.next_work(|run| run == id(0), now).expect("there are slices");
        assert_eq!(schedule.next_work(|_| true, now), None);
        schedule.tick(now + PATIENCE);
        assert_eq!(schedule.try_work(id(0), now), None, "a sender has no more than there are workers");
        assert_eq!(schedule.next_work(|_| true, now).map(|(id, _)| id), Some(id(1)));
    }

    #[test]
    fn a_run_that_settled_is_given_to_no_worker_and_waits_for_a_finisher() {
        let mut schedule = runs(1, &[(1, 1)]);
        let now = Instant::now();
        schedule.settle(id(0), now);
        assert_eq!(schedule.next_work(|_| true, now), None);
        assert!(schedule.take_calls().contains(&Call::Crew(Crew::Finishers)));
        let (jobs, _) = schedule.next_batch(Stage::Finish, now).expect("it is settled");
        assert_eq!(jobs, [id(0)]);
        assert_eq!((schedule.runs.held(), schedule.settled.held()), (0, 1), "its place as a run is free");
    }
}
