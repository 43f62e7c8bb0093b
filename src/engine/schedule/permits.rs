//! Permits that threads hold for a moment: to read, to work a slice, to publish a batch.
//!
//! There are as many as the machine bears at once. Whoever holds one for longer than `patience` while somebody wants it is stuck, in a
//! step or at a file system: the permit then counts no more, and another thread goes on in its place. One key (a rule, or the file systems
//! of a rule) never holds more than its limit, those that do not count included, so that a rule that hangs gathers no threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A permit, until it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Permit(u64);

/// The permits of one stage.
#[derive(Debug)]
pub(super) struct Permits {
    places: usize,
    each: usize,
    patience: Duration,
    held: HashMap<Permit, Held>,
    keys: HashMap<Arc<str>, usize>,
    /// Those that count.
    counted: usize,
    last: u64,
    /// Since when somebody wants one, and none is free.
    wanted: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    key: Arc<str>,
    since: Instant,
    counts: bool,
}

impl Permits {
    /// `each`: for one key.
    pub(super) fn new(places: usize, each: usize, patience: Duration) -> Self {
        let (held, keys) = (HashMap::new(), HashMap::new());
        Self { places, each, patience, held, keys, counted: 0, last: 0, wanted: None }
    }

    pub(super) fn is_free(&self) -> bool {
        self.counted < self.places
    }

    pub(super) fn free(&self) -> usize {
        self.places.saturating_sub(self.counted)
    }

    /// Whether this key may have another one, once one is free.
    pub(super) fn may(&self, key: &str) -> bool {
        self.keys.get(key).copied().unwrap_or(0) < self.each
    }

    /// One of those that are free.
    pub(super) fn take(&mut self, key: &Arc<str>, now: Instant) -> Permit {
        self.last += 1;
        self.counted += 1;
        *self.keys.entry(Arc::clone(key)).or_default() += 1;
        self.held.insert(Permit(self.last), Held { key: Arc::clone(key), since: now, counts: true });
        Permit(self.last)
    }

    /// The permit is free again.
    pub(super) fn give(&mut self, permit: Permit) {
        let Some(held) = self.held.remove(&permit) else { return };
        self.counted -= usize::from(held.counts);
        self.forget_key(&held.key);
        if self.is_free() {
            self.wanted = None;
        }
    }

    /// Its holder goes on to a job of this key, with the time it has left. False: it counts no more.
    pub(super) fn pass(&mut self, permit: Permit, key: &Arc<str>) -> bool {
        let Some(held) = self.held.get_mut(&permit).filter(|held| held.counts) else { return false };
        let before = std::mem::replace(&mut held.key, Arc::clone(key));
        *self.keys.entry(Arc::clone(key)).or_default() += 1;
        self.forget_key(&before);
        true
    }

    fn forget_key(&mut self, key: &Arc<str>) {
        if let Some(count) = self.keys.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(key);
            }
        }
    }

    /// How long it is held.
    pub(super) fn age(&self, permit: Permit, now: Instant) -> Duration {
        self.held.get(&permit).map_or(Duration::MAX, |held| now.saturating_duration_since(held.since))
    }

    /// Somebody would go on if one were free, or nobody would.
    pub(super) fn set_wanted(&mut self, is_wanted: bool, now: Instant) {
        self.wanted = if is_wanted && !self.is_free() { self.wanted.or(Some(now)) } else { None };
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// When [`Self::give_up_stuck`] has something to do.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let wanted = self.wanted?;
        let first = self.held.values().filter(|held| held.counts).map(|held| held.since).min()?;
        Some(first.max(wanted) + self.patience)
    }

    /// Those that were held for too long while somebody wanted one count no more. Whether there was one.
    pub(super) fn give_up_stuck(&mut self, now: Instant) -> bool {
        let Some(wanted) = self.wanted.filter(|wanted| *wanted + self.patience <= now) else { return false };
        let stuck = |held: &&mut Held| held.counts && held.since.max(wanted) + self.patience <= now;
        let mut given_up = 0;
        for held in self.held.values_mut().filter(stuck) {
            held.counts = false;
            given_up += 1;
        }
        self.counted -= given_up;
        if self.is_free() {
            self.wanted = None;
        }
        given_up > 0
    }

    #[cfg(test)]
    pub(super) fn counted(&self) -> usize {
        self.counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn key(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn a_permit_that_is_held_too_long_counts_no_more_once_somebody_wants_it() {
        let mut permits = Permits::new(1, 2, PATIENCE);
        let begun = Instant::now();
        let stuck = permits.take(&key("slow"), begun);
        assert!(!permits.is_free() && permits.next_look().is_none(), "nobody wants it");
        let later = begun + 10 * PATIENCE;
        assert!(!permits.give_up_stuck(later));
        permits.set_wanted(true, later);
        assert_eq!(permits.next_look(), Some(later + PATIENCE), "its holder is given the time to let go");
        assert!(permits.give_up_stuck(later + PATIENCE) && permits.is_free());
        permits.take(&key("other"), later);
        permits.give(stuck);
        assert_eq!((permits.counted(), permits.is_free()), (1, false), "it is not given back twice");
    }

    #[test]
    fn a_key_that_is_stuck_has_no_more_than_its_limit() {
        let mut permits = Permits::new(2, 2, PATIENCE);
        let now = Instant::now();
        permits.take(&key("slow"), now);
        permits.take(&key("slow"), now);
        permits.set_wanted(true, now);
        assert!(permits.give_up_stuck(now + PATIENCE) && permits.is_free());
        assert!(!permits.may("slow") && permits.may("other"));
    }

    #[test]
    fn a_permit_is_passed_on_with_its_time() {
        let mut permits = Permits::new(1, 1, PATIENCE);
        let now = Instant::now();
        let permit = permits.take(&key("a"), now);
        assert!(permits.pass(permit, &key("b")) && permits.may("a") && !permits.may("b"));
        assert_eq!(permits.age(permit, now + PATIENCE), PATIENCE);
        permits.set_wanted(true, now);
        permits.give_up_stuck(now + PATIENCE);
        assert!(!permits.pass(permit, &key("a")), "it counts no more");
    }
}
