//! Runs whose work ended, until a finisher takes them up.
//!
//! Each has its partials open, and so have those in the finishers' hands: loading waits while many wait, else thousands of small files at
//! once would run out of descriptors and memory.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::lock;
use crate::model::job_id::JobId;

/// Enough for every finisher to find a batch when it comes back.
const WAITING_MAX: usize = 128;

/// What settled and waits for the finishing stage.
#[derive(Debug)]
pub(super) struct Settled<T> {
    runs: Mutex<HashMap<JobId, T>>,
    bell: Condvar,
}

impl<T> Default for Settled<T> {
    fn default() -> Self {
        Self { runs: Mutex::default(), bell: Condvar::new() }
    }
}

impl<T> Settled<T> {
    pub(super) fn put(&self, id: JobId, run: T) {
        lock(&self.runs).insert(id, run);
    }

    pub(super) fn take(&self, id: JobId) -> Option<T> {
        let mut runs = lock(&self.runs);
        let taken = runs.remove(&id);
        if taken.is_some() && runs.len() + 1 == WAITING_MAX {
            self.bell.notify_all();
        }
        taken
    }

    /// Waits until few enough wait that another job may be loaded, or `time` is over. Whether it may.
    pub(super) fn wait_for_room(&self, time: Duration) -> bool {
        let waited = self.bell.wait_timeout_while(lock(&self.runs), time, |runs| runs.len() >= WAITING_MAX);
        waited.map_or_else(|e| e.into_inner().0.len(), |(runs, _)| runs.len()) < WAITING_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> JobId {
        JobId::from_parts(number as u64, 0)
    }

    #[test]
    fn loading_waits_while_too_many_wait_and_goes_on_when_one_is_taken() {
        let settled = Settled::default();
        for number in 0..WAITING_MAX {
            assert!(settled.wait_for_room(Duration::ZERO), "{number} wait");
            settled.put(id(number), number);
        }
        assert!(!settled.wait_for_room(Duration::ZERO));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| settled.wait_for_room(Duration::from_hours(1)));
            assert_eq!(settled.take(id(7)), Some(7));
            assert!(waits.join().expect("no panic"));
        });
        assert_eq!(settled.take(id(7)), None, "each is taken once");
    }
}
