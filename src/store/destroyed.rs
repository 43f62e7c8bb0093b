//! Jobs whose records do not stay once they are done with (`on_complete = "destroy"`).
//!
//! A mark is written with the end of such a job. It outlives the job's row, until its outputs in the store are gone, too.

use std::collections::BTreeSet;

use super::backend;
use super::error::StoreError;
use super::{Store, keys};
use crate::model::hook::Happened;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;

impl Store {
    /// The jobs that are marked, oldest first.
    pub(crate) fn marked_to_destroy(&self) -> impl Iterator<Item = Result<JobId, StoreError>> + use<'_> {
        let damaged = || StoreError::corrupt("mark of a job to destroy", "its key is too short");
        let keys = self.keys_beginning_with(&[keys::DESTROY]);
        keys.map(move |key| keys::job_of(&key?).ok_or_else(damaged))
    }

    /// Whether nobody has to decide on anything of a completed job: none of its failed records is left, nor is a retry of them under way, and
    /// its source is where it belongs.
    pub(crate) fn is_done_with(&self, job: &Job) -> Result<bool, StoreError> {
        Ok(job.state == JobState::Completed && !job.source.is_set_apart && self.has_settled(job)?)
    }

    /// The jobs that hooks were not told of yet.
    pub(crate) fn jobs_for_hooks(&self) -> Result<BTreeSet<JobId>, StoreError> {
        let rows = self.whole_rows::<Happened>("event for a hook", backend::beginning_with(&[keys::HOOK]));
        rows.filter_map(|row| row.map(|happened| happened.job).transpose()).collect()
    }

    /// Removes completed jobs with all that belongs to them but their marks. Their ledger rows stay, by which their sources and deliveries
    /// are known.
    pub(crate) fn destroy_ended(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let mut changes = self.change();
        for job in jobs {
            changes.forget_ended(job);
        }
        changes.apply()
    }

    /// Nothing is left of these jobs: their marks go.
    pub(crate) fn forget_destroyed(&self, jobs: &[JobId]) -> Result<(), StoreError> {
        let mut changes = self.change();
        for job in jobs {
            changes.remove(keys::of_job(keys::DESTROY, *job));
        }
        changes.apply()
    }
}
