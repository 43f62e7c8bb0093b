//! Slices of one long record, few at once.
//!
//! What steps and outputs make of a record may take several times its bytes: a JSON text of control characters grows sixfold. For ordinary
//! slices that is nothing; for records of megabytes on every worker it would be more than the memory limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What may become of a record's bytes, at most: the record as it is, as steps changed it, and as it is written.
const GROWTH: u64 = 8;
/// What a record may be by default.
const RECORD_BYTES: u64 = 8 << 20;
/// No smaller slice is a large one: of many records the slices are half as long at most.
const LARGE_BYTES_MIN: u64 = 128 << 10;

/// How many large slices are at work, of all jobs.
#[derive(Debug)]
pub(super) struct LargeSlices {
    /// Slices from this size on.
    bytes: u64,
    free: AtomicU64,
}

/// The right to work a large slice, until it is dropped.
#[derive(Debug)]
pub(super) struct LargePermit(Arc<LargeSlices>);

/// As many large slices are at work as may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotNow;

impl LargeSlices {
    /// For so many workers, whose slices may take so many bytes of memory together.
    pub(super) fn new(at_work_max: u64, workers: usize) -> Arc<Self> {
        let bytes = at_work_max / (GROWTH * workers.max(1) as u64);
        let at_once = at_work_max / (GROWTH * RECORD_BYTES);
        Arc::new(Self { bytes: bytes.max(LARGE_BYTES_MIN), free: AtomicU64::new(at_once.max(1)) })
    }

    /// The right to work a slice of so many bytes; none is needed for an ordinary one.
    pub(super) fn permit_for(self: &Arc<Self>, bytes: u64) -> Result<Option<LargePermit>, NotNow> {
        if bytes < self.bytes {
            return Ok(None);
        }
        let taken = self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1));
        taken.map(|_| Some(LargePermit(Arc::clone(self)))).map_err(|_| NotNow)
    }
}

impl Drop for LargePermit {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_large_slices_are_at_work_at_once_and_any_number_of_others() {
        let large = LargeSlices::new(32 << 20, 2);
        let first = large.permit_for(8 << 20).expect("it is alone");
        assert!(first.is_some());
        assert_eq!(large.permit_for(2 << 20).err(), Some(NotNow));
        assert!(large.permit_for(1 << 20).is_ok_and(|permit| permit.is_none()), "it is no large one");
        drop(first);
        assert!(large.permit_for(64 << 20).is_ok_and(|permit| permit.is_some()), "however large");
    }

    #[test]
    fn where_there_is_memory_for_all_none_waits() {
        let large = LargeSlices::new(1 << 30, 4);
        assert!(large.permit_for(8 << 20).is_ok_and(|permit| permit.is_none()));
    }
}
