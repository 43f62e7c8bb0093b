//! How fast a job goes of late: what of its source was worked since a look some time ago.
//!
//! A look is kept where something was worked since the one before it. So the time that is looked back over is about a minute, and longer
//! where a slice takes longer: a job is not taken to stand still between two slices.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;

/// Looks that are older say little of how fast it goes now, as long as there are later ones.
const LOOK_BACK: Duration = Duration::from_mins(1);
/// A pace of less time says little.
const WITHIN_MIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    at: Instant,
    worked: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RecentPace {
    looks: Mutex<VecDeque<Look>>,
}

impl RecentPace {
    /// Of a job of which nothing is worked yet. One that goes on from a checkpoint passes over what that has, which says nothing of its pace:
    /// it is first looked at behind that.
    pub(super) fn from_start(now: Instant) -> Self {
        Self { looks: Mutex::new(VecDeque::from([Look { at: now, worked: 0 }])) }
    }

    /// So many bytes are worked now.
    pub(super) fn note(&self, worked: u64, now: Instant) {
        let mut looks = lock(&self.looks);
        if looks.back().is_none_or(|last| worked > last.worked) {
            looks.push_back(Look { at: now, worked });
        }
        let is_old =
            |look: &Look| now.saturating_duration_since(look.at) >= LOOK_BACK && look.worked < worked;
        while looks.get(1).is_some_and(is_old) {
            looks.pop_front();
        }
    }

    /// As if all of it had been so much longer ago.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        for look in lock(&self.looks).iter_mut() {
            look.at = look.at.checked_sub(by).unwrap_or(look.at); // the machine runs for longer
        }
    }

    /// What was worked within which time, where that says something; `worked`: now.
    pub(super) fn of_late(&self, worked: u64, now: Instant) -> Option<(u64, Duration)> {
        let since = *lock(&self.looks).front()?;
        let within = now.saturating_duration_since(since.at);
        (within >= WITHIN_MIN).then(|| (worked.saturating_sub(since.worked), within))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_pace_is_that_of_the_last_minute_and_none_of_a_moment() {
        let begun = Instant::now();
        let at = |count| begun + seconds(count);
        let pace = RecentPace::from_start(begun);
        assert_eq!(pace.of_late(100, begun), None);
        assert_eq!(pace.of_late(100, at(10)), Some((100, seconds(10))));
        pace.note(100, at(30));
        pace.note(100, at(50));
        assert_eq!(pace.of_late(150, at(50)), Some((150, seconds(50))));
        pace.note(200, at(90));
        assert_eq!(
            pace.of_late(200, at(90)),
            Some((100, seconds(60))),
            "what was before that counts no more"
        );
        assert_eq!(RecentPace::default().of_late(100, at(90)), None, "it was never looked at");
    }

    #[test]
    fn between_two_slices_it_goes_slower_and_does_not_stand_still() {
        let begun = Instant::now();
        let pace = RecentPace::from_start(begun);
        for count in (0..=100).step_by(10) {
            pace.note(if count < 10 { 0 } else { 1000 }, begun + seconds(count));
        }
        assert_eq!(pace.of_late(1000, begun + seconds(100)), Some((1000, seconds(100))));
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_bounded_and_the_pace_lies_between_the_slowest_and_the_fastest(
            steps in prop::collection::vec(0..100_u64, 1..200),
        ) {
            let begun = Instant::now();
            let pace = RecentPace::from_start(begun);
            let (mut worked, mut now) = (0, begun);
            for step in &steps {
                worked += step;
                now += seconds(10);
                pace.note(worked, now);
                prop_assert!(lock(&pace.looks).len() <= 9);
                let (of_late, within) = pace.of_late(worked, now).expect("it was looked at");
                prop_assert!(of_late <= worked && within <= now.duration_since(begun));
                let (slowest, fastest) = (steps.iter().min(), steps.iter().max());
                let per_step = of_late as f64 / (within.as_secs_f64() / 10.0);
                prop_assert!(slowest.is_some_and(|slowest| per_step >= *slowest as f64 - 1e-6));
                prop_assert!(fastest.is_some_and(|fastest| per_step <= *fastest as f64 + 1e-6));
                prop_assert_eq!(of_late == 0, worked == 0, "as long as something was worked, something was of late");
            }
        }
    }
}
