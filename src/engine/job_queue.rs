//! Jobs waiting for a stage: at once, or at a time.
//!
//! Jobs of a rule stand in a lane of their own, and the lanes take turns: a rule's thousand files do not stand before another rule's one.
//! Nor do they take all places: a rule has no more than half of those that others leave.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use crate::model::job_id::JobId;

/// A queue of jobs for one stage. Jobs whose turn comes later wait in it without a timer thread.
#[derive(Default)]
pub(super) struct JobQueue {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    now: Lanes,
    later: BTreeSet<(Instant, JobId)>,
    /// The rules of those that wait, or were given out by `next_fair`.
    rules: HashMap<JobId, Arc<str>>,
    /// Given out by `next_fair` and not released, by rule.
    out: HashMap<Arc<str>, usize>,
    /// Those that are counted there.
    counted: HashSet<JobId>,
    closed: Closed,
}

/// Jobs that wait for nothing but their turn.
#[derive(Default)]
struct Lanes {
    jobs: HashMap<Arc<str>, VecDeque<JobId>>,
    /// Lanes with jobs, the next one first.
    order: VecDeque<Arc<str>>,
    length: usize,
}

impl Lanes {
    fn push(&mut self, lane: &Arc<str>, id: JobId) {
        let jobs = self.jobs.entry(Arc::clone(lane)).or_default();
        if jobs.is_empty() {
            self.order.push_back(Arc::clone(lane));
        }
        jobs.push_back(id);
        self.length += 1;
    }

    /// Before all others.
    fn push_front(&mut self, lane: &Arc<str>, id: JobId) {
        self.jobs.entry(Arc::clone(lane)).or_default().push_front(id);
        self.order.retain(|other| other != lane);
        self.order.push_front(Arc::clone(lane));
        self.length += 1;
    }

    /// The first job of the next lane that may have one out; that lane comes last then.
    fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<JobId> {
        let position = self.order.iter().position(|lane| may(lane))?;
        let lane = self.order.remove(position)?;
        let jobs = self.jobs.get_mut(&lane)?;
        let id = jobs.pop_front()?;
        self.length -= 1;
        if jobs.is_empty() {
            self.jobs.remove(&lane);
        } else {
            self.order.push_back(lane);
        }
        Some(id)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Closed {
    #[default]
    Open,
    /// What is in the queue is still given out, what comes later waits for the next start.
    WhenEmpty,
    AtOnce,
}

impl State {
    fn ripen(&mut self) {
        let now = Instant::now();
        while let Some(&(at, id)) = self.later.first() {
            if at > now {
                break;
            }
            self.later.pop_first();
            self.push_now(id);
        }
    }

    fn push_now(&mut self, id: JobId) {
        let lane = self.lane_of(id);
        self.now.push(&lane, id);
    }

    fn lane_of(&self, id: JobId) -> Arc<str> {
        self.rules.get(&id).map_or_else(|| Arc::from(""), Arc::clone)
    }

    fn learn(&mut self, rule: &str, id: JobId) {
        // One name for all of a rule's jobs.
        let known = self.now.jobs.get_key_value(rule).map(|(known, _)| Arc::clone(known));
        self.rules.insert(id, known.unwrap_or_else(|| Arc::from(rule)));
    }

    fn uncount(&mut self, id: JobId) -> bool {
        if !self.counted.remove(&id) {
            return false;
        }
        let Some(rule) = self.rules.get(&id) else { return true };
        if let Some(out) = self.out.get_mut(rule) {
            *out -= 1;
            if *out == 0 {
                let rule = Arc::clone(rule);
                self.out.remove(&rule);
            }
        }
        true
    }

    /// The next job whose rule has not half of the places that others leave.
    fn pop_fair(&mut self, places: usize) -> Option<JobId> {
        let out = &self.out;
        let all: usize = out.values().sum();
        let may = |rule: &str| {
            let own = out.get(rule).copied().unwrap_or(0);
            rule.is_empty() || own < places.saturating_sub(all - own).div_ceil(2)
        };
        let id = self.now.pop(may)?;
        if let Some(rule) = self.rules.get(&id) {
            // Once, also where its id was queued twice.
            if self.counted.insert(id) {
                *self.out.entry(Arc::clone(rule)).or_default() += 1;
            }
        }
        Some(id)
    }
}

impl JobQueue {
    pub(super) fn push(&self, id: JobId) {
        lock(&self.state).push_now(id);
        self.bell.notify_one();
    }

    /// A job of this rule.
    pub(super) fn push_for(&self, rule: &str, id: JobId) {
        let mut state = lock(&self.state);
        state.learn(rule, id);
        state.push_now(id);
        drop(state);
        self.bell.notify_one();
    }

    /// A job of this rule, whose turn comes later.
    pub(super) fn push_after_for(&self, rule: &str, delay: Duration, id: JobId) {
        lock(&self.state).learn(rule, id);
        self.push_after(delay, id);
    }

    /// A job that was given out, and could not be begun: it is the next again.
    pub(super) fn put_back(&self, id: JobId) {
        let mut state = lock(&self.state);
        state.uncount(id);
        let lane = state.lane_of(id);
        state.now.push_front(&lane, id);
        drop(state);
        self.bell.notify_one();
    }

    /// A job that `next_fair` gave out needs its place no more.
    pub(super) fn release(&self, id: JobId) {
        self.give_place(id, |state| drop(state.rules.remove(&id)));
    }

    /// As [`Self::release`]; whoever has the job pushes it into its lane again.
    pub(super) fn set_aside(&self, id: JobId) {
        self.give_place(id, |_| {});
    }

    fn give_place(&self, id: JobId, forget: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        let was_counted = state.uncount(id);
        forget(&mut state);
        let others_wait = was_counted && state.now.length > 0;
        drop(state);
        if others_wait {
            self.bell.notify_one();
        }
    }

    /// As [`Self::next`], of `places` that all rules share.
    pub(super) fn next_fair(&self, places: usize) -> Option<JobId> {
        self.wait_for(|state| state.pop_fair(places))
    }

    /// As [`Self::next_fair`], without waiting.
    pub(super) fn try_next_fair(&self, places: usize) -> Option<JobId> {
        let mut state = lock(&self.state);
        state.ripen();
        if state.closed == Closed::AtOnce { None } else { state.pop_fair(places) }
    }

    pub(super) fn push_after(&self, delay: Duration, id: JobId) {
        lock(&self.state).later.insert((Instant::now() + delay, id));
        self.bell.notify_one();
    }

    /// Those of these jobs that wait for their time wait no more.
    pub(super) fn hasten(&self, ids: &HashSet<JobId>) {
        let mut state = lock(&self.state);
        let (hastened, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.later).into_iter().partition(|(_, id)| ids.contains(id));
        state.later = later.into_iter().collect();
        for (_, id) in hastened {
            state.push_now(id);
        }
        drop(state);
        self.bell.notify_all();
    }

    /// At least one job and at most `max`; waits for one. None once the queue is closed: what is in it waits for the next start.
    pub(super) fn next_batch(&self, max: usize) -> Option<Vec<JobId>> {
        self.wait_for(|state| {
            let batch: Vec<_> = std::iter::from_fn(|| state.now.pop(|_| true)).take(max).collect();
            for id in &batch {
                state.rules.remove(id);
            }
            (!batch.is_empty()).then_some(batch)
        })
    }

    /// Waits until there is something to take.
    fn wait_for<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if state.closed == Closed::AtOnce || (state.closed == Closed::WhenEmpty && state.now.length == 0)
            {
                return None;
            }
            state.ripen();
            if let Some(taken) = take(&mut state) {
                if state.now.length > 0 || !state.later.is_empty() {
                    // This thread may have been the one that watched the time: another has to take over.
                    self.bell.notify_one();
                }
                return Some(taken);
            }
            let poisoned = std::sync::PoisonError::into_inner;
            state = match state.later.first() {
                Some(&(at, _)) => {
                    let wait = at.saturating_duration_since(Instant::now());
                    self.bell.wait_timeout(state, wait).map_or_else(|e| e.into_inner().0, |(state, _)| state)
                }
                None => self.bell.wait(state).unwrap_or_else(poisoned),
            };
        }
    }

    /// Ends the queue: what is in it waits for the next start.
    pub(super) fn close(&self) {
        lock(&self.state).closed = Closed::AtOnce;
        self.bell.notify_all();
    }

    /// Ends the queue once it has given out what is due.
    pub(super) fn close_when_empty(&self) {
        lock(&self.state).closed = Closed::WhenEmpty;
        self.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(queue: &JobQueue) -> Option<JobId> {
        queue.next_fair(16)
    }

    #[test]
    fn rules_take_turns_and_none_has_more_than_half_of_what_others_leave() {
        let queue = JobQueue::default();
        let id = |number| JobId::from_parts(number, 0);
        (0..20).for_each(|number| queue.push_for("flood", id(number)));
        queue.push_for("one", id(100));
        assert_eq!((next(&queue), next(&queue), next(&queue)), (Some(id(0)), Some(id(100)), Some(id(1))));
        let flood: Vec<_> = std::iter::from_fn(|| queue.try_next_fair(16)).collect();
        assert_eq!(flood.len() + 2, 8, "half of fifteen, and the odd one");
        queue.push_for("another", id(101));
        assert_eq!(next(&queue), Some(id(101)), "there is always a place for another rule");
        queue.release(id(0));
        assert_eq!(queue.try_next_fair(16), None, "half of fourteen");
        queue.release(id(1));
        assert_eq!(queue.try_next_fair(16), Some(id(8)), "a place that is given back is had by the next");
        assert_eq!(queue.try_next_fair(16), None);
    }

    #[test]
    fn a_job_that_is_put_back_is_the_next_and_one_that_was_set_aside_keeps_its_lane() {
        let queue = JobQueue::default();
        let id = |number| JobId::from_parts(number, 0);
        (0..3).for_each(|number| queue.push_for("one", id(number)));
        queue.push_for("other", id(100));
        assert_eq!(next(&queue), Some(id(0)));
        queue.put_back(id(0));
        assert_eq!(next(&queue), Some(id(0)));
        queue.set_aside(id(0));
        queue.push(id(0)); // by whoever had it
        let rest = std::iter::from_fn(|| queue.try_next_fair(4));
        assert_eq!(
            rest.collect::<Vec<_>>(),
            [id(100), id(1), id(2)],
            "its rule has no more than half of the places"
        );
    }

    #[test]
    fn jobs_come_in_order_and_late_ones_when_their_time_comes() {
        let queue = JobQueue::default();
        let [a, b, c] = [1, 2, 3].map(|n| JobId::from_parts(n, 0));
        queue.push_after(Duration::from_millis(20), c);
        queue.push(a);
        queue.push(b);
        assert_eq!(queue.next_batch(8), Some(vec![a, b]));
        assert_eq!(next(&queue), Some(c));
    }

    #[test]
    fn hastened_jobs_come_at_once_and_others_in_their_time() {
        let queue = JobQueue::default();
        let [a, b] = [1, 2].map(|n| JobId::from_parts(n, 0));
        queue.push_after(Duration::from_hours(1), a);
        queue.push_after(Duration::from_millis(20), b);
        queue.hasten(&HashSet::from([a]));
        assert_eq!((next(&queue), next(&queue)), (Some(a), Some(b)));
    }

    #[test]
    fn a_closed_queue_gives_nothing_even_if_jobs_are_in_it() {
        let queue = JobQueue::default();
        queue.push(JobId::from_parts(1, 0));
        queue.close();
        assert_eq!(next(&queue), None);
    }

    #[test]
    fn a_queue_that_is_closed_when_empty_gives_what_is_in_it_and_then_ends() {
        let queue = JobQueue::default();
        let id = JobId::from_parts(1, 0);
        queue.push(id);
        queue.push_after(Duration::from_hours(1), JobId::from_parts(2, 0));
        queue.close_when_empty();
        assert_eq!(next(&queue), Some(id));
        assert_eq!(next(&queue), None);
    }
}
