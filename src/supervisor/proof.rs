//! Proof that a service gets on, for a watchdog: each of its loops turned lately.
//!
//! A loop counts its turns; who looks compares. Time that nobody looked is nobody's: a process that was stopped, or a machine that
//! slept, has as much patience with its loops afterwards as before.

use std::collections::HashMap;
use std::time::Duration;

/// What is known of one loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen<'a> {
    pub(crate) name: &'a str,
    pub(crate) turns: u64,
    /// That it does not turn says nothing.
    pub(crate) rests: bool,
    /// How long it may sleep between two turns.
    pub(crate) sleeps: Duration,
}

/// A loop that stands still for longer than it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) name: String,
    pub(crate) still_for: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    turns: u64,
    still_for: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Proof {
    patience: Duration,
    /// The most that counts of the time between two looks.
    look_at_most: Duration,
    known: HashMap<String, Known>,
}

impl Proof {
    /// `patience` is what a loop has beyond its sleep; looks come about every `look_every`.
    pub(crate) fn new(patience: Duration, look_every: Duration) -> Self {
        Self { patience, look_at_most: look_every * 2, known: HashMap::new() }
    }

    /// The loops as they are now; `passed` since the last look. The one that stands still the longest, if one does for too long.
    pub(crate) fn look<'a>(
        &mut self,
        loops: impl IntoIterator<Item = Seen<'a>>,
        passed: Duration,
    ) -> Option<Stuck> {
        let passed = passed.min(self.look_at_most);
        let mut next = HashMap::new();
        let mut stuck: Option<Stuck> = None;
        for seen in loops {
            let before = self.known.get(seen.name);
            let stands = before.is_some_and(|known| known.turns == seen.turns) && !seen.rests;
            let still_for =
                before.filter(|_| stands).map_or(Duration::ZERO, |known| known.still_for + passed);
            next.insert(seen.name.to_owned(), Known { turns: seen.turns, still_for });
            let is_longest = stuck.as_ref().is_none_or(|stuck| stuck.still_for < still_for);
            if still_for > seen.sleeps + self.patience && is_longest {
                stuck = Some(Stuck { name: seen.name.to_owned(), still_for });
            }
        }
        self.known = next;
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tick(turns: u64) -> Seen<'static> {
        Seen { name: "tick", turns, rests: false, sleeps: 10 * SECOND }
    }

    /// How many looks, a second apart, until it is stuck.
    fn looks_until_stuck(proof: &mut Proof, seen: Seen<'_>) -> Option<usize> {
        (0..100).find(|_| proof.look([seen], SECOND).is_some())
    }

    #[test]
    fn a_loop_that_turns_within_its_sleep_and_the_patience_is_never_stuck() {
        let mut proof = Proof::new(5 * SECOND, SECOND);
        for look in 0..100 {
            assert_eq!(proof.look([tick(look / 15)], SECOND), None, "look {look}");
        }
    }

    #[test]
    fn a_loop_that_turns_no_more_is_stuck_after_its_sleep_and_the_patience_and_gets_on_with_its_next_turn() {
        let mut proof = Proof::new(5 * SECOND, SECOND);
        assert_eq!(looks_until_stuck(&mut proof, tick(1)), Some(16));
        let stuck = proof.look([tick(1)], SECOND).expect("it still is");
        assert_eq!((stuck.name.as_str(), stuck.still_for), ("tick", 17 * SECOND));
        assert_eq!(proof.look([tick(2)], SECOND), None);
    }

    #[test]
    fn a_loop_that_rests_is_not_stuck_and_its_time_begins_when_it_works() {
        let mut proof = Proof::new(5 * SECOND, SECOND);
        assert_eq!(looks_until_stuck(&mut proof, Seen { rests: true, ..tick(1) }), None);
        assert_eq!(looks_until_stuck(&mut proof, tick(1)), Some(15));
    }

    #[test]
    fn the_time_for_which_the_whole_process_stood_still_is_not_counted() {
        let mut proof = Proof::new(5 * SECOND, SECOND);
        proof.look([tick(1)], SECOND);
        assert_eq!(proof.look([tick(1)], 3600 * SECOND), None);
    }

    #[test]
    fn a_loop_that_is_no_more_is_forgotten() {
        let mut proof = Proof::new(5 * SECOND, SECOND);
        looks_until_stuck(&mut proof, tick(1)).expect("is stuck");
        proof.look([], SECOND);
        assert_eq!(proof.look([tick(1)], SECOND), None);
    }
}
