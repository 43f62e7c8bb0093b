//! The wall clock beside the one that only runs on: where it stepped, nothing is old that is not.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::lock;
use crate::clock;
use crate::model::clock_steps::ClockSteps;
use crate::store::{Store, StoreError};

/// Between two looks a clock that is only adjusted differs by less.
const STEP_MIN: SignedDuration = SignedDuration::from_mins(1);

/// Keeps the steps that it sees in the store: what was written before them outlives the process.
#[derive(Default)]
pub(super) struct WallClock(Mutex<Option<Seen>>);

struct Seen {
    at: Instant,
    told: Timestamp,
    steps: ClockSteps,
}

impl WallClock {
    /// Before which moment is old what is old at this age; none where that cannot be told.
    pub(super) fn old_before(&self, store: &Store, age: Duration) -> Option<Timestamp> {
        self.look(store, age, || (Instant::now(), clock::now())).unwrap_or_else(|error| {
            tracing::warn!(%error, "nothing counts as old: the steps of the clock are not known");
            None
        })
    }

    /// The clocks are asked under the lock: a look that came late would take what it sees for a step back. A step that cannot be kept is seen
    /// again by the next look.
    fn look(
        &self,
        store: &Store,
        age: Duration,
        ask: impl FnOnce() -> (Instant, Timestamp),
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut known = lock(&self.0);
        let (at, now) = ask();
        let steps = match &*known {
            None => store.clock_steps()?,
            Some(seen) => seen.with_step(store, at, now)?,
        };
        let before = steps.old_before(now, age);
        *known = Some(Seen { at, told: now, steps });
        Ok(before)
    }
}

impl Seen {
    /// The steps that are known now; a new one is durable.
    fn with_step(&self, store: &Store, at: Instant, now: Timestamp) -> Result<ClockSteps, StoreError> {
        let mut steps = self.steps.clone();
        let passed = SignedDuration::try_from(at.saturating_duration_since(self.at)).unwrap_or_default();
        let expected = self.told.checked_add(passed).unwrap_or(now);
        if now.duration_since(expected).abs() >= STEP_MIN {
            steps.note(expected, now);
            store.keep_clock_steps(&steps)?;
            tracing::warn!(
                from = %expected, to = %now,
                "the clock was set: what was archived, ended, or came, before counts as younger by as much"
            );
        }
        Ok(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const KEEP: Duration = Duration::from_hours(48);

    #[test]
    fn a_clock_that_is_set_makes_nothing_old_also_for_the_next_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let (start, wrong) = (Instant::now(), clock::now());
        let years = SignedDuration::from_hours(2 * 365 * 24);
        let right = wrong.checked_add(years).expect("is in the calendar");
        let clock = WallClock::default();
        let look = |clock: &WallClock, store: &Store, passed: Duration, now: Timestamp| {
            clock.look(store, KEEP, || (start + passed, now)).expect("looks").expect("is in the calendar")
        };
        assert!(look(&clock, &store, Duration::ZERO, wrong) < wrong);
        let later =
            right.checked_add(SignedDuration::try_from(HOUR).expect("is short")).expect("is in the calendar");
        assert!(look(&clock, &store, HOUR, later) < wrong, "an hour has passed, not two years");
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        assert!(look(&WallClock::default(), &store, HOUR, later) < wrong);
    }

    #[test]
    fn a_clock_that_is_only_adjusted_takes_no_step() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let (start, now, clock) = (Instant::now(), clock::now(), WallClock::default());
        clock.look(&store, KEEP, || (start, now)).expect("looks");
        let adjusted = now.checked_add(SignedDuration::from_secs(30)).expect("is in the calendar");
        clock.look(&store, KEEP, || (start, adjusted)).expect("looks");
        assert_eq!(store.clock_steps().expect("reads"), ClockSteps::default());
    }
}
