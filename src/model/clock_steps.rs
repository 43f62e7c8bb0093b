//! Steps of the wall clock, and what is old in spite of them.
//!
//! A clock that was years behind and is set right makes what was written a minute ago look years old. So what lies before a step counts as
//! younger by as much, until it would have grown old since the step in any case.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The two that lie farthest back are one from here on.
const STEPS_MAX: usize = 16;

/// Steps forward, as far as they were not taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockSteps(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    /// What the clock told just before.
    from: Timestamp,
    /// And just behind.
    to: Timestamp,
}

impl Step {
    fn length(self) -> SignedDuration {
        self.to.duration_since(self.from)
    }
}

impl ClockSteps {
    /// The clock told `from`, and tells `to` at once.
    pub(crate) fn note(&mut self, from: Timestamp, to: Timestamp) {
        if to < from {
            // As far as it comes back, they were wrong.
            self.0.retain(|step| step.from < to);
            self.0.iter_mut().for_each(|step| step.to = step.to.min(to));
            return;
        }
        self.0.push(Step { from, to });
        if self.0.len() > STEPS_MAX {
            let first = self.0.remove(0);
            if let Some(second) = self.0.first_mut() {
                second.from = second.from.checked_sub(first.length()).unwrap_or(Timestamp::MIN);
            }
        }
    }

    /// Before which moment is old what is old at this age, by a clock that tells `now`; none before there is a calendar.
    pub(crate) fn old_before(&self, now: Timestamp, age: Duration) -> Option<Timestamp> {
        let age = SignedDuration::try_from(age).ok()?;
        let mut younger = SignedDuration::ZERO;
        for step in self.0.iter().rev() {
            // The time that passed since, without the later steps.
            if now.duration_since(step.to).saturating_sub(younger) >= age {
                break;
            }
            younger = younger.saturating_add(step.length());
        }
        now.checked_sub(age.saturating_add(younger)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("is in the calendar")
    }

    fn days(days: u64) -> Duration {
        Duration::from_hours(24 * days)
    }

    fn is_old(steps: &ClockSteps, now: i64, made: i64, age: Duration) -> bool {
        steps.old_before(at(now), age).is_some_and(|before| at(made) < before)
    }

    #[test]
    fn what_was_made_before_the_clock_was_set_right_grows_old_as_long_as_all_else() {
        let (wrong, right) = (1_000 * DAY, 1_730 * DAY);
        let mut steps = ClockSteps::default();
        assert!(!is_old(&steps, wrong, wrong - HOUR, days(90)));
        assert!(is_old(&steps, right, wrong - HOUR, days(90)), "without knowing of the step");
        steps.note(at(wrong), at(right));
        for (made, after) in
            [(wrong - HOUR, 0), (wrong - HOUR, 89 * DAY), (right + HOUR, 89 * DAY), (wrong - 89 * DAY, 0)]
        {
            assert!(!is_old(&steps, right + after, made, days(90)), "{made} {after}");
        }
        for made in [wrong - HOUR, right + HOUR] {
            assert!(is_old(&steps, right + 91 * DAY, made, days(90)), "{made}");
        }
    }

    #[test]
    fn a_step_that_was_wrong_and_is_taken_back_counts_no_more() {
        let now = 1_000 * DAY;
        let mut steps = ClockSteps::default();
        steps.note(at(now), at(now + 3 * DAY));
        assert!(!is_old(&steps, now + 3 * DAY, now - DAY, days(2)), "it was made a day ago");
        assert!(is_old(&steps, now + 3 * DAY, now - 2 * DAY - HOUR, days(2)), "it was old before");
        let mut later = steps.clone();
        later.note(at(now + 3 * DAY + HOUR), at(now + HOUR));
        assert!(!is_old(&later, now + HOUR, now - DAY, days(2)));
        assert!(is_old(&later, now + HOUR, now - 2 * DAY - HOUR, days(2)));
        steps.note(at(now + 3 * DAY), at(now));
        assert_eq!(steps, ClockSteps::default());
    }

    #[test]
    fn a_clock_that_was_set_right_and_is_corrected_a_little_makes_nothing_old() {
        let (wrong, right) = (1_000 * DAY, 1_730 * DAY);
        let mut steps = ClockSteps::default();
        steps.note(at(wrong), at(right));
        steps.note(at(right + 30), at(right - 60));
        for after in [0, HOUR, 89 * DAY] {
            assert!(!is_old(&steps, right + after, wrong - HOUR, days(90)), "{after}");
        }
        assert!(is_old(&steps, right + 91 * DAY, wrong - HOUR, days(90)));
    }

    #[test]
    fn however_many_steps_there_were_what_is_young_stays() {
        let mut steps = ClockSteps::default();
        let (mut now, mut lived) = (1_000 * DAY, 0);
        let made = now;
        for _ in 0..100 {
            now += 60;
            lived += 60;
            steps.note(at(now), at(now + DAY));
            now += DAY;
            assert!(!is_old(&steps, now, made, days(1)), "it has lived for {lived} seconds");
        }
        assert!(steps.0.len() <= STEPS_MAX);
    }

    #[test]
    fn an_age_without_end_makes_nothing_old() {
        let steps = ClockSteps::default();
        assert_eq!(steps.old_before(at(DAY), Duration::MAX), None);
        assert_eq!(steps.old_before(at(DAY), days(1 << 40)), None);
    }
}
