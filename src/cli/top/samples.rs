//! Lines for tests.

use jiff::Timestamp;

use crate::model::fault::WaitsFor;
use crate::model::job::Waiting;
use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;
use crate::model::priority::Priority;

/// The time at which all of this is.
pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_796_000_000).unwrap_or_default()
}

/// A job that was claimed so many milliseconds after 1970.
pub(super) fn line(number: u64, state: JobState) -> JobLine {
    let ago = jiff::SignedDuration::from_mins(5);
    JobLine {
        id: JobId::from_parts(number, 0),
        rule: "payments".into(),
        source: format!("/srv/inbox/pay-{number}.csv").as_str().into(),
        size: 1000,
        state,
        priority: Priority::default(),
        workers: 0,
        workers_max: 0,
        waiting: None,
        error: None,
        aborted: None,
        deadline: None,
        complete_by: None,
        created_at: now().checked_sub(ago).unwrap_or_default(),
        started_at: None,
        finished_at: None,
        records_in: 0,
        records_failed: 0,
        bytes_worked: 0,
    }
}

/// The same, which waits for this.
pub(super) fn waits(number: u64, state: JobState, waits_for: WaitsFor, detail: &str) -> JobLine {
    let waiting = Waiting { behind: None, waits_for, until: None, detail: detail.into() };
    JobLine { waiting: Some(waiting), ..line(number, state) }
}
