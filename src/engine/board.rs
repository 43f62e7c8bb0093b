//! Where workers find their next slice, fair among the running jobs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Duration;

use super::lock;
use super::run::{Run, TakenSlice};
use super::trouble::Trouble;

/// The running jobs, and a bell for workers that found nothing to do.
#[derive(Default)]
pub(super) struct Board {
    runs: RwLock<Vec<Arc<Run>>>,
    turn: AtomicUsize,
    /// Counts the rings: a worker that looked before a ring does not sleep through it.
    rings: AtomicU64,
    gate: Mutex<()>,
    bell: Condvar,
    bell_for_room: Condvar,
    asleep: AtomicUsize,
}

impl Board {
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

    /// Wakes all workers: a job is gone, or the engine stops.
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

    /// A slice of any running job, each job in turn, or the error of its queue.
    pub(super) fn take_slice(&self) -> Option<(Arc<Run>, Result<TakenSlice, Trouble>)> {
        let runs = self.runs.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = runs.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for step in 0..count {
            let run = &runs[(first.wrapping_add(step)) % count];
            match run.take_slice() {
                Ok(Some(taken)) => return Some((Arc::clone(run), Ok(taken))),
                Ok(None) => {}
                Err(error) => return Some((Arc::clone(run), Err(error.into()))),
            }
        }
        None
    }
}
