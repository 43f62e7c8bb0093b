//! Turns of reading: many sources may be open, and as many are read at once as there are places. Who reads for long gives its place to
//! who waits longest, and has it again later: a file of another rule does not wait until somebody's endless one is read.
//!
//! Of those who have nothing to read no more look for a job than there are places: one that took it from the queue without a place would have to
//! be woken for it again, for each small file. Whoever turns out to read for long lets another look.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::lock;
use super::run::Run;
use super::shared::Shared;
use crate::allowance::{Pace, size};

/// How long a place is kept while others wait.
const TURN: Duration = Duration::from_millis(20);
/// How often one that waits looks whether the engine stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The places of those who read.
pub(super) struct Turns {
    line: Mutex<Line>,
    /// How many stand in line; read without the lock, at every block of text.
    waiting: AtomicUsize,
}

struct Line {
    free: usize,
    waiting: VecDeque<Arc<Waiter>>,
}

struct Waiter {
    thread: Thread,
    is_called: AtomicBool,
}

impl Turns {
    pub(super) fn new(places: usize) -> Self {
        let line = Line { free: places, waiting: VecDeque::new() };
        Self { line: Mutex::new(line), waiting: AtomicUsize::new(0) }
    }

    /// Waits for a place. False: `is_stopped` came first.
    fn take(&self, is_stopped: &dyn Fn() -> bool) -> bool {
        let mut line = lock(&self.line);
        if line.free > 0 {
            line.free -= 1;
            return true;
        }
        let waiter = Arc::new(Waiter { thread: std::thread::current(), is_called: AtomicBool::new(false) });
        line.waiting.push_back(Arc::clone(&waiter));
        self.waiting.store(line.waiting.len(), Ordering::Relaxed);
        drop(line);
        while !waiter.is_called.load(Ordering::Acquire) {
            std::thread::park_timeout(LOOK_EVERY);
            if is_stopped() && self.leave(&waiter) {
                return false;
            }
        }
        true
    }

    /// Out of the line; false: it was called meanwhile.
    fn leave(&self, waiter: &Arc<Waiter>) -> bool {
        let mut line = lock(&self.line);
        let before = line.waiting.len();
        line.waiting.retain(|other| !Arc::ptr_eq(other, waiter));
        self.waiting.store(line.waiting.len(), Ordering::Relaxed);
        line.waiting.len() < before
    }

    /// Gives a place to whoever waits longest.
    fn give(&self) {
        let mut line = lock(&self.line);
        let Some(next) = line.waiting.pop_front() else {
            line.free += 1;
            return;
        };
        self.waiting.store(line.waiting.len(), Ordering::Relaxed);
        drop(line);
        next.is_called.store(true, Ordering::Release);
        next.thread.unpark();
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// How many loaders may look for a job.
pub(super) struct Seekers {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Seekers {
    pub(super) fn new(places: usize) -> Self {
        Self { free: Mutex::new(places), freed: Condvar::new() }
    }
}

/// The right to look for a job. At a stop each that has it finds the queue closed, and leaves it to the next.
pub(super) struct Seeking(Arc<Shared>);

impl Seeking {
    /// Waits for it.
    pub(super) fn begin(shared: &Arc<Shared>) -> Self {
        let seekers = &shared.seekers;
        let free = seekers.freed.wait_while(lock(&seekers.free), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Seeking {
    fn drop(&mut self) {
        *lock(&self.0.seekers.free) += 1;
        self.0.seekers.freed.notify_one();
    }
}

/// A loader's place, for one job after another.
pub(super) struct Turn {
    shared: Arc<Shared>,
    held: Mutex<Held>,
}

struct Held {
    /// Since when it has the place.
    since: Option<Instant>,
    /// When its job began.
    job_since: Instant,
    seeking: Option<Seeking>,
}

impl Turn {
    /// Waits for a place.
    pub(super) fn take(shared: &Arc<Shared>, seeking: Seeking) -> Arc<Self> {
        let held = Held { since: None, job_since: Instant::now(), seeking: Some(seeking) };
        let turn = Self { shared: Arc::clone(shared), held: Mutex::new(held) };
        turn.again();
        Arc::new(turn)
    }

    /// It goes on to its next job.
    pub(super) fn begin_job(&self) {
        lock(&self.held).job_since = Instant::now();
    }

    /// Whether it is still who looks for the next job.
    pub(super) fn seeks(&self) -> bool {
        lock(&self.held).seeking.is_some()
    }

    /// It has had its time, and others wait.
    pub(super) fn is_over(&self) -> bool {
        let mut held = lock(&self.held);
        if held.seeking.is_some() && held.job_since.elapsed() >= TURN {
            held.seeking = None;
        }
        self.shared.turns.is_wanted() && held.since.is_none_or(|since| since.elapsed() >= TURN)
    }

    fn again(&self) {
        if self.shared.turns.take(&|| self.shared.stopping()) {
            lock(&self.held).since = Some(Instant::now());
        }
    }

    /// Gives the place up, if it has it.
    pub(super) fn give(&self) {
        let mut held = lock(&self.held);
        held.seeking = None;
        if held.since.take().is_some() {
            self.shared.turns.give();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.give();
    }
}

/// How one job is read: in turns, until it breaks off or the engine stops.
pub(super) struct LoadPace {
    pub turn: Arc<Turn>,
    pub run: Arc<Run>,
}

impl Pace for LoadPace {
    fn step(&self) -> bool {
        if self.turn.is_over() {
            self.turn.give();
            self.turn.again();
        }
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.turn.shared.stopping() || self.run.trouble().is_some()
    }

    fn rest(&self) {
        self.turn.give();
    }

    fn resume(&self) {
        self.turn.again();
    }

    fn get_on(&self) -> bool {
        self.turn.shared.board.ring(); // workers are not told of the first slices
        self.run.begin_reached_entries()
    }

    fn tell_waiting(&self, what: &'static str, bytes: u64) {
        let need = size(bytes);
        tracing::info!(job = %self.run.id, what, need, "reading waits for memory that is in use");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_to_who_waits_longest_and_who_stops_waiting_leaves_the_line() {
        let turns = Turns::new(1);
        assert!(turns.take(&|| false));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| turns.take(&|| false));
            while !turns.is_wanted() {
                std::thread::yield_now();
            }
            assert!(!turns.take(&|| true), "it was stopped, and is out of the line");
            turns.give();
            assert!(first.join().expect("no panic"), "the place is handed over");
        });
        assert!(!turns.is_wanted());
        turns.give();
        assert!(turns.take(&|| false), "the place is free again");
    }
}
