//! Forgetting what is done. What was not processed is never forgotten.

use jiff::Timestamp;

use super::Store;
use super::error::StoreError;
use crate::model::job::Job;
use crate::model::job_state::JobState;

/// Jobs forgotten in one atomic step.
const BATCH_JOBS: usize = 256;

impl Store {
    /// Removes completed and aborted jobs that finished before then, with all that belongs to them; says how many.
    ///
    /// Failed jobs, and those with failed records, stay. So do ledger rows, and the identities of kept files: without them
    /// such a file would be taken again.
    pub fn forget_finished(&self, before: Timestamp) -> Result<u64, StoreError> {
        let before_ms = u64::try_from(before.as_millisecond()).unwrap_or(0);
        let mut forgotten = 0;
        let mut ids = Vec::with_capacity(BATCH_JOBS);
        for job in self.jobs() {
            let job = job?;
            if job.id.unix_ms() >= before_ms {
                break; // ids sort by time: none from here on finished before
            }
            if may_be_forgotten(&job, before) {
                ids.push(job.id);
            }
            if ids.len() == BATCH_JOBS {
                forgotten += self.forget_jobs(&mut ids)?;
            }
        }
        Ok(forgotten + self.forget_jobs(&mut ids)?)
    }

    fn forget_jobs(&self, ids: &mut Vec<crate::model::job_id::JobId>) -> Result<u64, StoreError> {
        let count = ids.len() as u64;
        let mut changes = self.change();
        for id in ids.drain(..) {
            changes.forget_job(id);
        }
        changes.apply()?;
        Ok(count)
    }
}

fn may_be_forgotten(job: &Job, before: Timestamp) -> bool {
    let done = matches!(job.state, JobState::Completed | JobState::Aborted);
    let old = job.finished_at.is_some_and(|finished| finished < before);
    done && old && job.account.records_failed == 0
}
