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

/// Makes job ids that sort in the order of their making, also within one millisecond and when the clock steps back; over restarts, where it is
/// told the newest one that there is.
#[derive(Debug, Default)]
pub(crate) struct JobIds {
    last: Mutex<Option<JobId>>,
}

impl JobIds {
    /// They come after this one, which an earlier process made: its clock may have been ahead of this one's.
    pub(crate) fn after(last: Option<JobId>) -> Self {
        let ids = Self::default();
        ids.begin_after(last);
        ids
    }

    /// The same, of ids that are made already.
    pub(crate) fn begin_after(&self, known: Option<JobId>) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = known.max(*last);
    }

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
    fn ids_come_after_those_of_an_earlier_process_whose_clock_was_ahead() {
        let unix_ms = u64::try_from(after(Duration::from_hours(24)).expect("tomorrow").as_millisecond());
        let of_tomorrow = JobId::from_parts(unix_ms.expect("after 1970"), u128::MAX >> 56);
        let ids = JobIds::after(Some(of_tomorrow));
        let (first, second) = (ids.next(1), ids.next(0));
        assert!(of_tomorrow < first && first < second);
        ids.begin_after(None);
        assert!(second < ids.next(0));
    }

    #[test]
    fn ids_made_in_one_millisecond_stay_in_order() {
        let ids = JobIds::default();
        let made: Vec<_> = (0..1000).map(|tail| ids.next(1 << 79 | (1000 - tail))).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
    }
}
