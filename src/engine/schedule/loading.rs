//! Who reads: new jobs and those in line take turns, and a loader keeps its place for what is short.

use std::sync::Arc;
use std::time::Instant;

use super::lanes::{Owner, Urgency};
use super::permits::Permit;
use super::{Call, Crew, Schedule, Stage};
use crate::model::job_id::JobId;

impl Schedule {
    pub(super) fn may_load(&self) -> bool {
        self.next_queued().is_some()
    }

    /// That of the job that a loader would get.
    fn next_queued(&self) -> Option<Urgency> {
        if self.loading_is_over {
            return None;
        }
        let (runs, settled) = (&self.runs, &self.settled);
        self.queued.next(
            |rule, priority| runs.may_rule(rule, priority) && settled.may_rule(rule, priority),
            |rule, sender, priority| runs.may_sender(rule, sender, priority),
        )
    }

    pub(super) fn pop_queued(&mut self) -> Option<JobId> {
        if self.loading_is_over {
            return None;
        }
        let (runs, settled) = (&self.runs, &self.settled);
        let id = self.queued.pop(
            |rule, priority| runs.may_rule(rule, priority) && settled.may_rule(rule, priority),
            |rule, sender, priority| runs.may_sender(rule, sender, priority),
        )?;
        self.taken(Stage::Load, id);
        if let Some(known) = self.jobs.get(&id) {
            self.runs.take(id, &known.owner);
        }
        Some(id)
    }

    /// The next job for a loader, with the right to read. `before`: the right that the loader has from the job before, if it has.
    /// It keeps it for what is short: to hand it on costs a wake-up.
    pub(in crate::engine) fn next_load(
        &mut self,
        before: Option<Permit>,
        now: Instant,
    ) -> Option<(JobId, Permit)> {
        if let Some(permit) = before {
            let next = if self.must_hand_on(permit, now) { None } else { self.pop_queued() };
            if let Some(id) = next {
                let owner = self.owner_of(id);
                if self.reading.pass(permit, &owner) {
                    self.readers.insert(id, Some(permit));
                    self.call_readers(now); // there may be a place for another loader
                    return Some((id, permit));
                }
                self.reading.give(permit);
                return Some((id, self.begin_reading(id, now))); // one that was stuck is over its places for a moment
            }
            self.reading.give(permit);
        }
        self.call_line(now);
        if !self.reading.is_free() {
            self.reading.set_wanted(!self.line.is_empty() || self.may_load(), now);
            return None;
        }
        let id = self.pop_queued()?;
        self.line_is_next = true;
        let permit = self.begin_reading(id, now);
        self.call_readers(now);
        Some((id, permit))
    }

    /// Whether the right to read is for somebody in line, if it is for anybody.
    fn must_hand_on(&self, permit: Permit, now: Instant) -> bool {
        let Some(in_line) = self.line.first() else { return false };
        let is_more_urgent = self.next_queued().is_none_or(|queued| in_line < queued);
        is_more_urgent || self.reading.age(permit, now) >= self.limits.turn
    }

    pub(super) fn owner_of(&self, id: JobId) -> Owner {
        self.jobs.get(&id).map_or_else(|| Owner::of_group(Arc::from("")), |known| known.owner.clone())
    }

    pub(super) fn begin_reading(&mut self, id: JobId, now: Instant) -> Permit {
        let owner = self.owner_of(id);
        let permit = self.reading.take(&owner, now);
        self.readers.insert(id, Some(permit));
        permit
    }

    /// Gives places to those in line whose turn it is.
    pub(super) fn call_line(&mut self, now: Instant) {
        while self.reading.is_free() && self.is_turn_of_line() {
            self.call_first_in_line(now);
        }
    }

    /// The more urgent ones first; among those that are equally so the line and new jobs take turns.
    fn is_turn_of_line(&self) -> bool {
        let Some(in_line) = self.line.first() else { return false };
        self.next_queued().is_none_or(|queued| in_line < queued || in_line == queued && self.line_is_next)
    }

    fn call_first_in_line(&mut self, now: Instant) {
        let Some(id) = self.line.pop(|_, _| true, |_, _, _| true) else { return };
        self.line_is_next = false;
        let owner = self.owner_of(id);
        if let Some(permit) = self.readers.get_mut(&id) {
            *permit = Some(self.reading.take(&owner, now));
            self.call(Call::Reader(id));
        }
    }

    /// Somebody may be able to read.
    pub(super) fn call_readers(&mut self, now: Instant) {
        self.call_line(now);
        let may_load = self.may_load();
        if self.reading.is_free() && may_load {
            self.call(Call::Crew(Crew::Loaders));
        }
        self.reading.set_wanted(may_load || !self.line.is_empty(), now);
    }

    /// There is no thread for a new job: those in line go on meanwhile.
    pub(in crate::engine) fn nobody_loads(&mut self, now: Instant) {
        while self.reading.is_free() && !self.line.is_empty() {
            self.call_first_in_line(now);
        }
    }

    /// Whether whoever reads for longer than its turn should let others read.
    pub(in crate::engine) fn is_reading_wanted(&self) -> bool {
        self.reading.is_wanted()
    }

    /// A reader lets others read; false: it may go on at once. `waits`: it wants no place now, because it waits for something else.
    pub(in crate::engine) fn pause_reading(&mut self, id: JobId, waits: bool, now: Instant) -> bool {
        let Some(reader) = self.readers.get_mut(&id) else { return false };
        if let Some(permit) = reader.take() {
            self.reading.give(permit);
        }
        if waits {
            self.call_readers(now);
            return true;
        }
        self.line_up(id);
        self.call_readers(now);
        self.is_in_line(id)
    }

    /// A reader that waited for something else wants to go on; true: it may.
    pub(in crate::engine) fn resume_reading(&mut self, id: JobId, now: Instant) -> bool {
        if self.is_in_line(id) {
            self.line_up(id);
            self.call_readers(now);
        }
        !self.is_in_line(id)
    }

    fn line_up(&mut self, id: JobId) {
        if self.readers.contains_key(&id) {
            self.line.push(&self.owner_of(id), id);
        }
    }

    /// Whether a reader has no place.
    pub(in crate::engine) fn is_in_line(&self, id: JobId) -> bool {
        self.readers.get(&id).is_some_and(Option::is_none)
    }

    /// A job is read no more. The right to read, if the loader has it, is for its next job.
    pub(in crate::engine) fn end_reading(&mut self, id: JobId) -> Option<Permit> {
        self.readers.remove(&id)?
    }

    /// A job that a loader took up became no run.
    pub(in crate::engine) fn not_run(&mut self, id: JobId, now: Instant) {
        self.runs.give(id);
        self.call_readers(now);
        self.forget_if_idle(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schedule::Limits;
    use crate::engine::schedule::tests::{PATIENCE, TURN, id, limits, owner};
    use crate::model::priority::{Priority, Sharing};

    /// One place to read, and a job for each of these rules.
    fn queued(rules: &[u8], now: Instant) -> Schedule {
        let mut schedule = Schedule::new(Limits { readers: 1, ..limits(1) });
        for (number, rule) in rules.iter().enumerate() {
            schedule.queue(Stage::Load, &owner(*rule, 1), id(number), now);
        }
        schedule.take_calls();
        schedule
    }

    #[test]
    fn a_loader_keeps_its_place_for_what_is_short() {
        let now = Instant::now();
        let mut schedule = queued(&[1, 1, 1], now);
        let (first, permit) = schedule.next_load(None, now).expect("queued");
        let before = schedule.end_reading(first);
        assert_eq!(before, Some(permit));
        let next = schedule.next_load(before, now + TURN / 2);
        assert_eq!(next, Some((id(1), permit)), "the same");
    }

    #[test]
    fn what_is_more_urgent_is_read_next_whoever_stands_in_line_or_came_first() {
        let now = Instant::now();
        let mut schedule = queued(&[1, 1, 1], now);
        let urgent = Priority::new(1).expect("one");
        schedule.set_priority(id(2), urgent, now);
        let (first, permit) = schedule.next_load(None, now).expect("queued");
        assert_eq!(first, id(2));
        let before = schedule.end_reading(first);
        let next = schedule.next_load(before, now);
        assert_eq!(next, Some((id(0), permit)));
        // The one that reads lets others read: now it is the urgent one.
        schedule.set_priority(id(0), urgent, now);
        assert!(!schedule.pause_reading(id(0), false, now), "nobody is as urgent");
        schedule.set_priority(id(1), urgent, now);
        schedule.set_priority(id(0), Priority::default(), now);
        assert!(schedule.pause_reading(id(0), false, now) && schedule.is_in_line(id(0)));
        let (urgent_one, permit) = schedule.next_load(None, now).expect("queued");
        assert_eq!(urgent_one, id(1));
        assert_eq!(schedule.end_reading(id(1)), Some(permit));
        assert_eq!(schedule.next_load(Some(permit), now), None, "the one in line is next");
        assert!(!schedule.is_in_line(id(0)));
    }

    #[test]
    fn by_arrival_whoever_came_first_reads_on_for_as_long_as_it_takes() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Limits { readers: 1, sharing: Sharing::Fifo, ..limits(1) });
        for (number, rule) in [(2, 1), (0, 2), (1, 3)] {
            schedule.queue(Stage::Load, &owner(rule, 1), id(number), now);
        }
        let (first, _) = schedule.next_load(None, now).expect("queued");
        assert_eq!(first, id(0));
        for turns in 1..4 {
            assert!(!schedule.pause_reading(first, false, now + turns * TURN), "nobody came before it");
        }
        let before = schedule.end_reading(first);
        let next = schedule.next_load(before, now + 9 * TURN).map(|(id, _)| id);
        assert_eq!(next, Some(id(1)), "and the next one is the next that came");
    }

    #[test]
    fn where_there_is_no_thread_for_an_urgent_job_those_in_line_go_on_meanwhile() {
        let now = Instant::now();
        let mut schedule = queued(&[1, 2], now);
        let (first, _) = schedule.next_load(None, now).expect("queued");
        schedule.set_priority(id(1), Priority::new(1).expect("one"), now);
        assert!(schedule.pause_reading(first, false, now));
        schedule.nobody_loads(now);
        assert!(!schedule.is_in_line(first));
    }

    #[test]
    fn a_loader_whose_turn_is_over_reads_on_only_where_nobody_stands_in_line() {
        let now = Instant::now();
        let mut schedule = queued(&[1, 2, 3], now);
        let (first, _) = schedule.next_load(None, now).expect("queued");
        assert!(
            !schedule.pause_reading(first, false, now),
            "it came anew: the next place is for those in line"
        );
        assert!(schedule.pause_reading(first, false, now), "and the one after that for a new job");
        let (second, permit) = schedule.next_load(None, now).expect("queued");
        assert_eq!(schedule.end_reading(second), Some(permit));
        assert_eq!(schedule.next_load(Some(permit), now + TURN), None, "the one in line is next");
        assert!(!schedule.is_in_line(first) && schedule.take_calls().contains(&Call::Reader(first)));
    }

    #[test]
    fn who_waits_for_something_else_keeps_no_place_and_has_one_again_when_it_goes_on() {
        let now = Instant::now();
        let mut schedule = queued(&[1, 2], now);
        let (first, _) = schedule.next_load(None, now).expect("queued");
        schedule.pause_reading(first, true, now);
        assert_eq!(schedule.take_calls(), [Call::Crew(Crew::Loaders)], "there is a place for another");
        let (second, permit) = schedule.next_load(None, now).expect("queued");
        assert!(!schedule.resume_reading(first, now), "it has to wait");
        assert_eq!(schedule.end_reading(second), Some(permit));
        assert_eq!(schedule.next_load(Some(permit), now), None);
        assert!(!schedule.is_in_line(first));
    }

    #[test]
    fn a_job_that_is_queued_again_while_it_is_read_is_no_other_loaders_before_it_is_put_down() {
        let now = Instant::now();
        let mut schedule = queued(&[1, 2, 3], now);
        let (first, _) = schedule.next_load(None, now).expect("queued");
        assert!(schedule.take_up(first, Some(Stage::Load)));
        schedule.begin_run(first, &owner(1, 1));
        schedule.pause_reading(first, false, now);
        assert!(schedule.pause_reading(first, false, now) && schedule.is_in_line(first));
        schedule.queue(Stage::Load, &owner(1, 1), first, now);
        let mut before = None;
        for _ in 0..2 {
            let Some((other, _)) = schedule.next_load(before, now) else { break };
            assert_ne!(other, first);
            before = schedule.end_reading(other);
        }
        assert_eq!(schedule.next_load(before, now + TURN), None);
        assert!(!schedule.is_in_line(first) && schedule.take_calls().contains(&Call::Reader(first)));
        schedule.settle(first, now);
        schedule.take_settled(first, now);
        let permit = schedule.end_reading(first);
        schedule.put_down(first, now);
        let again = std::iter::successors(schedule.next_load(permit, now), |(id, _)| {
            let permit = schedule.end_reading(*id);
            schedule.next_load(permit, now)
        });
        assert!(again.map(|(id, _)| id).any(|id| id == first), "it is loaded once it is put down");
    }

    #[test]
    fn a_source_that_hangs_keeps_its_place_only_until_somebody_has_wanted_it_for_long() {
        let now = Instant::now();
        let mut schedule = queued(&[1, 2], now);
        schedule.next_load(None, now).expect("queued");
        assert_eq!(schedule.next_load(None, now), None);
        assert_eq!(schedule.next_tick(), Some(now + PATIENCE));
        schedule.tick(now + PATIENCE);
        assert_eq!(schedule.take_calls(), [Call::Crew(Crew::Loaders)]);
        assert_eq!(schedule.next_load(None, now + PATIENCE).map(|(id, _)| id), Some(id(1)));
    }

    #[test]
    fn nothing_is_loaded_any_more_once_loading_is_over() {
        let now = Instant::now();
        let mut schedule = queued(&[1], now);
        schedule.end_loading();
        assert!(!schedule.may_load() && schedule.next_load(None, now).is_none());
    }
}
