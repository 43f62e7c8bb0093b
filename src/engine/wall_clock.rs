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
        self.look(store, Instant::now(), clock::now(), age).unwrap_or_else(|error| {
            tracing::warn!(%error, "nothing is removed for its age: the steps of the clock are not known");
            None
        })
    }

    fn look(
        &self,
        store: &Store,
        at: Instant,
        now: Timestamp,
        age: Duration,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut known = lock(&self.0);
        let seen = match known.take() {
            None => Seen { at, told: now, steps: store.clock_steps()? },
            Some(mut seen) => {
                let passed =
                    SignedDuration::try_from(at.saturating_duration_since(seen.at)).unwrap_or_default();
                let expected = seen.told.checked_add(passed).unwrap_or(now);
                if now.duration_since(expected).abs() >= STEP_MIN {
                    seen.steps.note(expected, now);
                    store.keep_clock_steps(&seen.steps)?;
                    tracing::warn!(
                        from = %expected, to = %now,
                        "the clock was set: what was archived, or ended, before counts as younger by as much"
                    );
                }
                Seen { at, told: now, ..seen }
            }
        };
        let before = seen.steps.old_before(now, age);
        *known = Some(seen);
        Ok(before)
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
            clock.look(store, start + passed, now, KEEP).expect("looks").expect("is in the calendar")
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
        clock.look(&store, start, now, KEEP).expect("looks");
        let adjusted = now.checked_add(SignedDuration::from_secs(30)).expect("is in the calendar");
        clock.look(&store, start, adjusted, KEEP).expect("looks");
        assert_eq!(store.clock_steps().expect("reads"), ClockSteps::default());
    }
}
