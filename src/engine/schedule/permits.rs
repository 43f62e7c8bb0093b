//! Permits that threads hold for a moment: to read, to work a slice, to publish a batch.
//!
//! There are as many as the machine bears at once. Whoever holds one for longer than `patience` while somebody wants it is stuck, in a
//! step or at a file system: the permit then counts no more, and another thread goes on in its place. An owner never holds more than its
//! limit, those that do not count included, so that a rule that hangs gathers no threads.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::counts::Counts;
use super::lanes::{Owner, Sender};

/// A permit, until it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Permit(u64);

/// How many permits one rule has at most, and one sender of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Each {
    pub rule: usize,
    pub sender: usize,
}

/// The permits of one stage.
#[derive(Debug)]
pub(super) struct Permits {
    places: usize,
    each: Each,
    patience: Duration,
    held: HashMap<Permit, Held>,
    owners: Counts,
    /// Those that count.
    counted: usize,
    last: u64,
    /// Since when somebody wants one, and none is free.
    wanted: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    owner: Owner,
    since: Instant,
    counts: bool,
}

impl Permits {
    pub(super) fn new(places: usize, each: Each, patience: Duration) -> Self {
        let (held, owners) = (HashMap::new(), Counts::default());
        Self { places, each, patience, held, owners, counted: 0, last: 0, wanted: None }
    }

    pub(super) fn is_free(&self) -> bool {
        self.counted < self.places
    }

    pub(super) fn places(&self) -> usize {
        self.places
    }

    pub(super) fn free(&self) -> usize {
        self.places.saturating_sub(self.counted)
    }

    /// Whether this owner may have another one, once one is free.
    pub(super) fn may(&self, rule: &str, sender: Sender) -> bool {
        self.owners.of_rule(rule) < self.each.rule && self.owners.of_sender(rule, sender) < self.each.sender
    }

    /// Whether some are held that count no more.
    pub(super) fn has_stuck(&self) -> bool {
        self.counted < self.held.len()
    }

    /// Whether one that is held counts.
    pub(super) fn counts(&self, permit: Permit) -> bool {
        self.held.get(&permit).is_none_or(|held| held.counts)
    }

    /// How many a rule holds.
    pub(super) fn of_rule(&self, rule: &str) -> usize {
        self.owners.of_rule(rule)
    }

    /// Whether it is held for long.
    pub(super) fn is_long(&self, permit: Permit, now: Instant) -> bool {
        self.age(permit, now) >= self.patience
    }

    /// Whether a rule holds one for long.
    pub(super) fn is_slow(&self, rule: &str, now: Instant) -> bool {
        let mut of_rule = self.held.iter().filter(|(_, held)| &*held.owner.rule == rule);
        of_rule.any(|(permit, _)| self.is_long(*permit, now))
    }

    /// One of those that are free.
    pub(super) fn take(&mut self, owner: &Owner, now: Instant) -> Permit {
        self.last += 1;
        self.counted += 1;
        self.owners.add(owner);
        self.held.insert(Permit(self.last), Held { owner: owner.clone(), since: now, counts: true });
        Permit(self.last)
    }

    /// The permit is free again.
    pub(super) fn give(&mut self, permit: Permit) {
        let Some(held) = self.held.remove(&permit) else { return };
        self.counted -= usize::from(held.counts);
        self.owners.remove(&held.owner);
        if self.is_free() {
            self.wanted = None;
        }
    }

    /// Its holder goes on to a job of this owner, with the time it has left. False: it counts no more.
    pub(super) fn pass(&mut self, permit: Permit, owner: &Owner) -> bool {
        let Some(held) = self.held.get_mut(&permit).filter(|held| held.counts) else { return false };
        let before = std::mem::replace(&mut held.owner, owner.clone());
        self.owners.add(owner);
        self.owners.remove(&before);
        true
    }

    /// How long it is held.
    pub(super) fn age(&self, permit: Permit, now: Instant) -> Duration {
        self.held.get(&permit).map_or(Duration::MAX, |held| now.saturating_duration_since(held.since))
    }

    /// Told after each change: whether somebody waits for a permit.
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
    use std::sync::Arc;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn permits(places: usize, rule: usize, sender: usize) -> Permits {
        Permits::new(places, Each { rule, sender }, PATIENCE)
    }

    fn owner(rule: &str, sender: u64) -> Owner {
        Owner {
            rule: Arc::from(rule),
            sender: Sender(sender),
            priority: crate::model::priority::Priority::default(),
        }
    }

    fn may(permits: &Permits, owner: &Owner) -> bool {
        permits.may(&owner.rule, owner.sender)
    }

    #[test]
    fn a_permit_that_is_held_too_long_counts_no_more_once_somebody_wants_it() {
        let mut permits = permits(1, 2, 2);
        let begun = Instant::now();
        let stuck = permits.take(&owner("slow", 1), begun);
        assert!(!permits.is_free() && permits.next_look().is_none(), "nobody wants it");
        let later = begun + 10 * PATIENCE;
        assert!(!permits.give_up_stuck(later));
        permits.set_wanted(true, later);
        assert_eq!(permits.next_look(), Some(later + PATIENCE), "its holder is given the time to let go");
        assert!(permits.give_up_stuck(later + PATIENCE) && permits.is_free());
        permits.take(&owner("other", 1), later);
        permits.give(stuck);
        assert_eq!((permits.counted(), permits.is_free()), (1, false), "it is not given back twice");
    }

    #[test]
    fn a_sender_that_is_stuck_has_no_more_than_its_limit_nor_has_its_rule() {
        let mut permits = permits(2, 3, 2);
        let now = Instant::now();
        let [slow, of_the_same, other] = [owner("slow", 1), owner("slow", 2), owner("other", 1)];
        permits.take(&slow, now);
        permits.take(&slow, now);
        permits.set_wanted(true, now);
        assert!(permits.give_up_stuck(now + PATIENCE) && permits.is_free());
        assert!(!may(&permits, &slow) && may(&permits, &of_the_same) && may(&permits, &other));
        permits.take(&of_the_same, now);
        assert!(!may(&permits, &of_the_same) && may(&permits, &other));
    }

    #[test]
    fn a_permit_is_passed_on_with_its_time() {
        let mut permits = permits(1, 1, 1);
        let now = Instant::now();
        let [a, b] = [owner("a", 1), owner("b", 1)];
        let permit = permits.take(&a, now);
        assert!(permits.pass(permit, &b) && may(&permits, &a) && !may(&permits, &b));
        assert_eq!(permits.age(permit, now + PATIENCE), PATIENCE);
        permits.set_wanted(true, now);
        permits.give_up_stuck(now + PATIENCE);
        assert!(!permits.pass(permit, &a), "it counts no more");
    }
}
