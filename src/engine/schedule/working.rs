//! Who works: rules take turns, in them their senders, and of a sender its jobs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::lanes::{Owner, Sender, Turns};
use super::permits::Permit;
use super::{Call, Schedule, Stage};
use crate::model::job_id::JobId;

impl Schedule {
    /// A job became a run: workers take its slices.
    pub(in crate::engine) fn begin_run(&mut self, id: JobId, owner: &Owner) {
        let known = self.know(owner, id);
        known.is_run = true;
        let owner = known.owner.clone();
        self.runs.take(id, &owner);
        self.running.line(&owner.rule).line(&owner.sender).push_back(id);
    }

    /// A run may have slices for a worker.
    pub(in crate::engine) fn slices(&mut self, now: Instant) {
        if self.working.is_free() {
            self.call(Call::Worker);
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
        let working = &mut self.working;
        let next = |rule: &Arc<str>, senders: &mut Turns<Sender, VecDeque<JobId>>| {
            let next_of = |sender: &Sender, jobs: &mut VecDeque<JobId>| {
                if !working.may(rule, *sender) {
                    return None;
                }
                let position = jobs.iter().position(|id| has_slices(*id))?;
                let id = jobs.remove(position)?;
                jobs.push_back(id);
                let owner = Owner { rule: Arc::clone(rule), sender: *sender };
                Some((id, working.take(&owner, now)))
            };
            senders.take(next_of, VecDeque::is_empty)
        };
        let next = self.running.take(next, Turns::is_empty)?;
        if self.has_work(&has_slices) {
            self.slices(now); // nobody else looks before this one is done, which may be never
        }
        Some(next)
    }

    /// Whether a worker that is free would get something.
    fn has_work(&self, has_slices: &impl Fn(JobId) -> bool) -> bool {
        self.running.iter().any(|(rule, senders)| {
            let mut able = senders.iter().filter(|(sender, _)| self.working.may(rule, **sender));
            able.any(|(_, jobs)| jobs.iter().any(|id| has_slices(*id)))
        })
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
        let Some(known) = self.jobs.get_mut(&id) else { return };
        (known.is_run, known.is_settled) = (false, true);
        let owner = known.owner.clone();
        let leave = |jobs: &mut VecDeque<JobId>| jobs.retain(|other| *other != id);
        self.running.edit(
            &owner.rule,
            |senders| senders.edit(&owner.sender, leave, VecDeque::is_empty),
            Turns::is_empty,
        );
        self.runs.give(id);
        self.settled.take(id, &owner);
        self.queue(Stage::Finish, &owner, id, now);
        self.call_readers(now);
    }
}
