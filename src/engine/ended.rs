//! How many jobs have ended, for those who wait for one.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::lock;
use crate::allocator;

/// Freed memory goes back to the system after so many jobs: more often than it would matter, since it takes some milliseconds.
const JOBS_BETWEEN_GIVING_BACK: u64 = 4096;

/// Counts them since the start.
#[derive(Debug, Default)]
pub(super) struct Ended {
    count: Mutex<u64>,
    bell: Condvar,
}

impl Ended {
    /// A job reached an end.
    pub(super) fn count(&self) {
        let mut count = lock(&self.count);
        *count += 1;
        let gives_back = count.is_multiple_of(JOBS_BETWEEN_GIVING_BACK);
        drop(count);
        self.bell.notify_all();
        if gives_back {
            allocator::give_memory_back();
        }
    }

    /// Waits until some job ended after `seen` did, or for `time`. The count then.
    pub(super) fn wait(&self, seen: u64, time: Duration) -> u64 {
        let count = self.bell.wait_timeout_while(lock(&self.count), time, |count| *count == seen);
        count.map_or_else(|e| *e.into_inner().0, |(count, _)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_of_the_next_end_and_of_one_that_came_before() {
        let ended = Ended::default();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| ended.wait(0, Duration::from_hours(1)));
            ended.count();
            assert_eq!(waits.join().expect("no panic"), 1);
        });
        assert_eq!(ended.wait(0, Duration::from_hours(1)), 1, "it ended before");
        assert_eq!(ended.wait(1, Duration::ZERO), 1);
    }
}
