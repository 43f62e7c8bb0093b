//! The memory that jobs share, in parts of `memory_max`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::large::LargeSlices;
use crate::allocator;
use crate::allowance::ReadingMemory;
use crate::store::MemoryBudget;

/// What part of `memory_max` is for slices at work and their results; the rest is for slices that wait.
const AT_WORK_SHARE: u64 = 3;
/// Freed memory goes back to the system after so many jobs: more often than it would matter, since it takes some milliseconds.
const JOBS_BETWEEN_GIVING_BACK: u64 = 4096;

/// Each part locks for itself.
pub(super) struct Memory {
    /// Slices between loading and work.
    pub waiting: Arc<MemoryBudget>,
    /// Slices at work and results that wait for their turn.
    pub at_work: Arc<MemoryBudget>,
    pub large: Arc<LargeSlices>,
    /// What reading takes beside slices.
    pub reading: Arc<ReadingMemory>,
    jobs_finished: AtomicU64,
}

impl Memory {
    /// For so many workers.
    pub(super) fn new(memory_max: u64, workers: usize) -> Self {
        let at_work_max = memory_max / AT_WORK_SHARE;
        Self {
            waiting: MemoryBudget::new(memory_max - at_work_max),
            at_work: MemoryBudget::new(at_work_max),
            large: LargeSlices::new(at_work_max, workers),
            reading: ReadingMemory::new(memory_max),
            jobs_finished: AtomicU64::new(0),
        }
    }

    /// So many jobs are done with: what they held is free.
    pub(super) fn jobs_finished(&self, count: u64) {
        let before = self.jobs_finished.fetch_add(count, Ordering::Relaxed);
        if before / JOBS_BETWEEN_GIVING_BACK != (before + count) / JOBS_BETWEEN_GIVING_BACK {
            allocator::give_memory_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_that_wait_and_slices_at_work_never_have_more_than_all_memory_between_them() {
        let memory = Memory::new(3 << 20, 2);
        let _waiting = memory.waiting.lease(2 << 20);
        assert!(memory.waiting.is_full() && !memory.at_work.is_full(), "one does not take from the other");
        let _at_work = memory.at_work.lease(1 << 20);
        assert!(memory.at_work.is_full());
    }
}
