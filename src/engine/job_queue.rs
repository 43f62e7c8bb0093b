//! Jobs waiting for a stage: at once, or at a time.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Condvar, Mutex};
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
    now: VecDeque<JobId>,
    later: BTreeSet<(Instant, JobId)>,
    closed: Closed,
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
            self.now.push_back(id);
        }
    }
}

impl JobQueue {
    pub(super) fn push(&self, id: JobId) {
        lock(&self.state).now.push_back(id);
        self.bell.notify_one();
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
        state.now.extend(hastened.into_iter().map(|(_, id)| id));
        drop(state);
        self.bell.notify_all();
    }

    /// The next job; waits for one. None once the queue is closed: what is in it waits for the next start.
    pub(super) fn next(&self) -> Option<JobId> {
        self.next_batch(1).and_then(|batch| batch.into_iter().next())
    }

    /// At least one job and at most `max`; waits for one.
    pub(super) fn next_batch(&self, max: usize) -> Option<Vec<JobId>> {
        let mut state = lock(&self.state);
        loop {
            if state.closed == Closed::AtOnce || (state.closed == Closed::WhenEmpty && state.now.is_empty()) {
                return None;
            }
            state.ripen();
            if !state.now.is_empty() {
                let count = state.now.len().min(max);
                let batch = state.now.drain(..count).collect();
                if !state.now.is_empty() || !state.later.is_empty() {
                    // This thread may have been the one that watched the time: another has to take over.
                    self.bell.notify_one();
                }
                return Some(batch);
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

    #[test]
    fn jobs_come_in_order_and_late_ones_when_their_time_comes() {
        let queue = JobQueue::default();
        let [a, b, c] = [1, 2, 3].map(|n| JobId::from_parts(n, 0));
        queue.push_after(Duration::from_millis(20), c);
        queue.push(a);
        queue.push(b);
        assert_eq!(queue.next_batch(8), Some(vec![a, b]));
        assert_eq!(queue.next(), Some(c));
    }

    #[test]
    fn hastened_jobs_come_at_once_and_others_in_their_time() {
        let queue = JobQueue::default();
        let [a, b] = [1, 2].map(|n| JobId::from_parts(n, 0));
        queue.push_after(Duration::from_hours(1), a);
        queue.push_after(Duration::from_millis(20), b);
        queue.hasten(&HashSet::from([a]));
        assert_eq!((queue.next(), queue.next()), (Some(a), Some(b)));
    }

    #[test]
    fn a_closed_queue_gives_nothing_even_if_jobs_are_in_it() {
        let queue = JobQueue::default();
        queue.push(JobId::from_parts(1, 0));
        queue.close();
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn a_queue_that_is_closed_when_empty_gives_what_is_in_it_and_then_ends() {
        let queue = JobQueue::default();
        let id = JobId::from_parts(1, 0);
        queue.push(id);
        queue.push_after(Duration::from_hours(1), JobId::from_parts(2, 0));
        queue.close_when_empty();
        assert_eq!(queue.next(), Some(id));
        assert_eq!(queue.next(), None);
    }
}
