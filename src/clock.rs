//! The only place that reads the wall clock.

use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::job_id::JobId;

/// The time now, UTC.
#[allow(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The moment that was so long ago; none before there is a calendar.
pub(crate) fn ago(time: Duration) -> Option<Timestamp> {
    now().checked_sub(SignedDuration::try_from(time).ok()?).ok()
}

/// The moment that comes after so long; none after the end of the calendar.
pub(crate) fn after(time: Duration) -> Option<Timestamp> {
    now().checked_add(SignedDuration::try_from(time).ok()?).ok()
}

/// Makes job ids that sort in the order of their making, also within one millisecond and when the clock steps back.
#[derive(Debug, Default)]
pub(crate) struct JobIds {
    last: Mutex<Option<JobId>>,
}

impl JobIds {
    /// The next id; `tail` are random bits that tell the ids of several processes apart.
    pub(crate) fn next(&self, tail: u128) -> JobId {
        let unix_ms = u64::try_from(now().as_millisecond()).unwrap_or(0);
        let fresh = JobId::from_parts(unix_ms, tail);
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let id = match *last {
            Some(previous) if previous.unix_ms() >= unix_ms => previous.successor(),
            _ => fresh,
        };
        *last = Some(id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_beyond_the_calendar_is_none() {
        let day = Duration::from_hours(24);
        assert!(ago(day).expect("yesterday") < now() && after(day).expect("tomorrow") > now());
        assert_eq!((ago(Duration::MAX), after(Duration::MAX)), (None, None));
    }

    #[test]
    fn ids_made_in_one_millisecond_stay_in_order() {
        let ids = JobIds::default();
        let made: Vec<_> = (0..1000).map(|tail| ids.next(1 << 79 | (1000 - tail))).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
    }
}
