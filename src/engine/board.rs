//! Where workers find their next slice, fair among the running jobs.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Duration;

use super::lock;
use super::run::{Run, Take};
use super::trouble::Trouble;

/// The running jobs, and a bell for workers that found nothing to do.
pub(super) struct Board {
    /// How many threads may work now: `service.workers` in all, the loaders that work a short file themselves counted.
    hands: AtomicUsize,
    /// A worker found none.
    hands_wanted: AtomicBool,
    runs: RwLock<Vec<Arc<Run>>>,
    turn: AtomicUsize,
    /// Counts the rings: a worker that looked before a ring does not sleep through it.
    rings: AtomicU64,
    gate: Mutex<()>,
    bell: Condvar,
    bell_for_room: Condvar,
    asleep: AtomicUsize,
}

/// The right to work, until it is dropped.
pub(super) struct Hand<'a>(&'a Board);

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        self.0.hands.fetch_add(1, Ordering::SeqCst);
        if self.0.hands_wanted.swap(false, Ordering::SeqCst) {
            self.0.ring_all(); // more than one may have found none
        }
    }
}

impl Board {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            hands: AtomicUsize::new(workers),
            hands_wanted: AtomicBool::new(false),
            runs: RwLock::default(),
            turn: AtomicUsize::new(0),
            rings: AtomicU64::new(0),
            gate: Mutex::default(),
            bell: Condvar::new(),
            bell_for_room: Condvar::new(),
            asleep: AtomicUsize::new(0),
        }
    }

    /// None: as many work as may.
    pub(super) fn take_hand(&self) -> Option<Hand<'_>> {
        let taken = self.hands.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |hands| hands.checked_sub(1));
        taken.is_ok().then(|| Hand(self))
    }

    /// As [`Self::take_hand`]; whoever puts one down rings.
    pub(super) fn want_hand(&self) -> Option<Hand<'_>> {
        self.take_hand().or_else(|| {
            self.hands_wanted.store(true, Ordering::SeqCst);
            self.take_hand() // one that was put down before that was seen
        })
    }

    pub(super) fn add(&self, run: Arc<Run>) {
        self.runs.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(run);
    }

    pub(super) fn remove(&self, run: &Arc<Run>) {
        self.runs
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(other, run));
        if run.trouble().is_some() {
            self.ring_all(); // the memory that its slices held is free
        }
        drop(lock(&self.gate));
        self.bell_for_room.notify_all();
    }

    /// Waits until fewer than `max` jobs run, or `time` is over. Whether there is room.
    pub(super) fn wait_for_room(&self, max: usize, time: Duration) -> bool {
        let count = || self.runs.read().unwrap_or_else(std::sync::PoisonError::into_inner).len();
        let gate = lock(&self.gate);
        if count() < max {
            return true;
        }
        drop(self.bell_for_room.wait_timeout(gate, time));
        count() < max
    }

    pub(super) fn runs(&self) -> Vec<Arc<Run>> {
        self.runs.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Something may be there to do: wakes one worker.
    pub(super) fn ring(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.gate));
            self.bell.notify_one();
        }
    }

    /// Wakes all workers: a job broke off, a checkpoint is done, a hand is free, or the engine stops.
    pub(super) fn ring_all(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        drop(lock(&self.gate));
        self.bell.notify_all();
    }

    /// The number to give to [`Self::wait`]; read before looking for work.
    pub(super) fn rings(&self) -> u64 {
        self.rings.load(Ordering::SeqCst)
    }

    /// Sleeps until somebody rang after `seen`.
    pub(super) fn wait(&self, seen: u64) {
        let mut gate = lock(&self.gate);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while self.rings() == seen {
            gate = self.bell.wait(gate).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether a running job has a slice that may be taken now.
    pub(super) fn has_slices(&self) -> bool {
        let runs = self.runs.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        runs.iter().any(|run| run.has_slices())
    }

    /// A slice of any running job, each job in turn, or the error of its queue. Never [`Take::Nothing`].
    pub(super) fn take_slice(&self) -> Option<(Arc<Run>, Result<Take, Trouble>)> {
        let runs = self.runs.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = runs.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for step in 0..count {
            let run = &runs[(first.wrapping_add(step)) % count];
            match run.take_slice() {
                Ok(Take::Nothing) => {}
                Ok(taken) => return Some((Arc::clone(run), Ok(taken))),
                Err(error) => return Some((Arc::clone(run), Err(error.into()))),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_work_at_once_than_may_and_who_waited_is_told() {
        let board = Board::new(2);
        let (first, _second) = (board.take_hand().expect("free"), board.want_hand().expect("free"));
        assert!(board.take_hand().is_none());
        let seen = board.rings();
        assert!(board.want_hand().is_none() && board.want_hand().is_none());
        std::thread::scope(|scope| {
            let waiting = [0, 1].map(|_| scope.spawn(|| board.wait(seen)));
            drop(first);
            for waits in waiting {
                waits.join().expect("no panic");
            }
        });
        assert!(board.take_hand().is_some());
    }
}
