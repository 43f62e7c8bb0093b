//! Outputs that are ended, open, and wait for their sync: how many there may be.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::durable_fs;

/// Outputs of ended entries that are open and wait for their sync, for each category: a sync of many costs less than half as much for each.
const UNSYNCED_MAX: usize = 32;
/// Those of all jobs have no more than this part of the files that the process may have open, and one for each category.
const UNSYNCED_SHARE: usize = 8;

/// Outputs of all jobs that are ended, open, and wait for their sync.
static UNSYNCED: AtomicUsize = AtomicUsize::new(0);

/// Places of outputs that wait for their sync.
#[derive(Default)]
pub(super) struct Unsynced(Vec<usize>);

impl Unsynced {
    pub(super) fn add(&mut self, place: usize) {
        self.0.push(place);
        UNSYNCED.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_enough(&self) -> bool {
        let limit = durable_fs::open_files_max().and_then(|max| usize::try_from(max).ok());
        self.0.len() >= UNSYNCED_MAX
            || limit.is_some_and(|max| UNSYNCED.load(Ordering::Relaxed) >= max / UNSYNCED_SHARE)
    }

    pub(super) fn take(&mut self) -> Vec<usize> {
        UNSYNCED.fetch_sub(self.0.len(), Ordering::Relaxed);
        std::mem::take(&mut self.0)
    }
}

impl Drop for Unsynced {
    fn drop(&mut self) {
        self.take();
    }
}

/// Windows has no such limit.
#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_many_jobs_that_wait_for_their_sync_have_a_share_of_the_open_files_together() {
        let share = durable_fs::open_files_max().map(|max| max as usize / UNSYNCED_SHARE).expect("a limit");
        let mut jobs: Vec<Unsynced> = (0..share).map(|_| Unsynced::default()).collect();
        for job in &mut jobs {
            job.add(0);
        }
        let mut one_more = Unsynced::default();
        one_more.add(0);
        assert!(one_more.is_enough(), "the others have the whole share");
        drop(jobs);
        assert_eq!((one_more.take(), one_more.take()), (vec![0], Vec::new()));
    }
}
