//! So many at once, and no waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many at once, and no waiting.
#[derive(Debug)]
pub(super) struct Turns {
    taken: AtomicUsize,
    max: usize,
}

impl Turns {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Turn> {
        let more = |taken: usize| (taken < self.max).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Turn(Arc::clone(self)))
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    pub(super) fn are_all_back(&self) -> bool {
        self.taken() == 0
    }
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}
