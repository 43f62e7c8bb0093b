//! Who works: rules take turns, in them their senders, and of a sender its jobs.

use std::time::Instant;

use super::lanes::Owner;
use super::permits::Permit;
use super::{Call, Crew, Schedule, Stage};
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
            let is_wanted = self.has_work(&has_slices);
            self.working.set_wanted(is_wanted, now);
            return None;
        }
        let working = &self.working;
        let id = self.running.rotate(|rule, sender| working.may(rule, sender), &has_slices)?;
        let owner = self.owner_of(id);
        let permit = self.working.take(&owner, now);
        if self.has_work(&has_slices) {
            self.slices(now); // nobody else looks before this one is done, which may be never
        }
        Some((id, permit))
    }

    /// Whether a worker that is free would get something.
    fn has_work(&self, has_slices: &impl Fn(JobId) -> bool) -> bool {
        self.running.has_wanted(|rule, sender| self.working.may(rule, sender), has_slices)
    }

    /// The right to work this run's slices, for the loader that read it; none if as many work as may.
    pub(in crate::engine) fn try_work(&mut self, id: JobId, now: Instant) -> Option<Permit> {
        let owner = self.owner_of(id);
        let may = self.working.is_free() && self.working.may(&owner.rule, owner.sender);
        may.then(|| self.working.take(&owner, now))
    }

    /// A slice is worked.
    pub(in crate::engine) fn end_work(&mut self, permit: Permit) {
        self.working.give(permit);
    }

    /// A run's work ended: it waits to be published, or to be ended otherwise.
    pub(in crate::engine) fn settle(&mut self, id: JobId, now: Instant) {
        let Some(owner) = self.jobs.get(&id).map(|known| known.owner.clone()) else { return };
        self.running.remove(&owner, id);
        self.runs.give(id);
        self.settled.take(id, &owner);
        self.queue(Stage::Finish, &owner, id, now);
        self.call_readers(now);
    }
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
            schedule.end_work(permit);
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
            schedule.end_work(permit);
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
        schedule.end_work(hangs); // long after
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
