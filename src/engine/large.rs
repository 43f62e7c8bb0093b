//! Slices of one long record, few at once.
//!
//! What steps and outputs make of a record may take several times its bytes: a JSON text of control characters grows sixfold. For ordinary
//! slices that is nothing; for records of megabytes on every worker it would be more than the memory limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;

/// What may become of a record's bytes, at most: the record as it is, as steps changed it, and as it is written.
const GROWTH: u64 = 8;
/// What a record may be by default.
const RECORD_BYTES: u64 = 8 << 20;
/// No smaller slice is a large one: of many records the slices are half as long at most.
const LARGE_BYTES_MIN: u64 = 128 << 10;

/// Whoever works a large slice for longer may be stuck in a step: it keeps no rule from working its first one.
const STUCK_AFTER: Duration = Duration::from_millis(500);

/// How many large slices are at work, of all jobs.
#[derive(Debug)]
pub(super) struct LargeSlices {
    /// Slices from this size on.
    bytes: u64,
    at_once: usize,
    held: Mutex<Vec<Held>>,
    is_wanted: AtomicBool,
}

#[derive(Debug)]
struct Held {
    rule: Arc<str>,
    since: Instant,
}

/// The right to work a large slice, until it is dropped.
#[derive(Debug)]
pub(super) struct LargePermit {
    of: Arc<LargeSlices>,
    rule: Arc<str>,
    since: Instant,
}

/// As many large slices are at work as may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotNow;

impl LargeSlices {
    /// For so many workers, whose slices may take so many bytes of memory together.
    pub(super) fn new(at_work_max: u64, workers: usize) -> Arc<Self> {
        let bytes = at_work_max / (GROWTH * workers.max(1) as u64);
        let at_once = (at_work_max / (GROWTH * RECORD_BYTES)).max(1) as usize;
        let (held, is_wanted) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { bytes: bytes.max(LARGE_BYTES_MIN), at_once, held, is_wanted })
    }

    /// The right of a rule to work a slice of so many bytes; none is needed for an ordinary one.
    pub(super) fn permit_for(
        self: &Arc<Self>,
        rule: &Arc<str>,
        bytes: u64,
        now: Instant,
    ) -> Result<Option<LargePermit>, NotNow> {
        if bytes < self.bytes {
            return Ok(None);
        }
        let mut held = lock(&self.held);
        if !self.is_free(&held, rule, now) {
            return Err(NotNow);
        }
        held.push(Held { rule: Arc::clone(rule), since: now });
        Ok(Some(LargePermit { of: Arc::clone(self), rule: Arc::clone(rule), since: now }))
    }

    /// Whether [`Self::permit_for`] would say yes.
    pub(super) fn may(&self, rule: &str, bytes: u64, now: Instant) -> bool {
        let may = bytes < self.bytes || self.is_free(&lock(&self.held), rule, now);
        if !may {
            self.is_wanted.store(true, Ordering::Release);
        }
        may
    }

    /// Those that are stuck count no more for a rule that has none: it does not wait for others that hang, and gathers none itself.
    fn is_free(&self, held: &[Held], rule: &str, now: Instant) -> bool {
        let counts = |held: &&Held| now.saturating_duration_since(held.since) < STUCK_AFTER;
        let has_none = held.iter().all(|held| *held.rule != *rule);
        held.len() < self.at_once || (has_none && held.iter().filter(counts).count() < self.at_once)
    }

    /// Whether somebody was refused since the last time: nobody tells of a permit that counts no more.
    pub(super) fn take_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::AcqRel)
    }
}

impl Drop for LargePermit {
    fn drop(&mut self) {
        let mut held = lock(&self.of.held);
        if let Some(at) = held.iter().position(|held| held.rule == self.rule && held.since == self.since) {
            held.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> [Arc<str>; 2] {
        [Arc::from("a"), Arc::from("b")]
    }

    #[test]
    fn few_large_slices_are_at_work_at_once_and_any_number_of_others() {
        let (large, [a, b], now) = (LargeSlices::new(32 << 20, 2), rules(), Instant::now());
        let first = large.permit_for(&a, 8 << 20, now).expect("it is alone");
        assert!(first.is_some());
        assert_eq!(large.permit_for(&b, 2 << 20, now).err(), Some(NotNow));
        assert!(
            large.permit_for(&b, 1 << 20, now).is_ok_and(|permit| permit.is_none()),
            "it is no large one"
        );
        drop(first);
        assert!(large.permit_for(&b, 64 << 20, now).is_ok_and(|permit| permit.is_some()), "however large");
    }

    #[test]
    fn where_there_is_memory_for_all_none_waits() {
        let (large, [a, _]) = (LargeSlices::new(1 << 30, 4), rules());
        assert!(large.permit_for(&a, 8 << 20, Instant::now()).is_ok_and(|permit| permit.is_none()));
    }

    #[test]
    fn a_rule_that_is_stuck_keeps_no_other_from_working_and_gathers_no_more() {
        let (large, [stuck, other], begun) = (LargeSlices::new(32 << 20, 2), rules(), Instant::now());
        let _stuck = large.permit_for(&stuck, 8 << 20, begun).expect("it is alone");
        assert!(!large.may(&other, 8 << 20, begun) && large.take_wanted() && !large.take_wanted());
        let later = begun + STUCK_AFTER;
        assert!(!large.may(&stuck, 8 << 20, later) && large.may(&other, 8 << 20, later));
        let working = large.permit_for(&other, 8 << 20, later).expect("the other is stuck");
        assert!(!large.may(&other, 8 << 20, later), "one at a time, as ever");
        drop(working);
        assert!(large.may(&other, 8 << 20, later) && !large.may(&stuck, 8 << 20, later));
    }
}
