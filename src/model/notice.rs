//! What a subscriber is told of jobs.

use serde::{Deserialize, Serialize};

use super::job_id::JobId;
use super::job_state::JobState;

/// One thing that a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Notice {
    /// What was until now is not told: read it. The first notice of all, and the next one of a subscriber who was too slow.
    ReadAnew,
    /// A job's row was written or removed, or its account moved.
    Changed(JobChange),
    /// Nothing changed for a while.
    Quiet,
}

/// What became of a job's row, as visible as a listing: not yet durable, maybe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobChange {
    /// The job.
    pub job: JobId,
    /// Its rule's name.
    pub rule: String,
    /// Its state before; none: it was not listed.
    pub before: Option<JobState>,
    /// Its state now; none: it is listed no more.
    pub state: Option<JobState>,
    /// It waits for something, which its row names.
    pub waits: bool,
}
