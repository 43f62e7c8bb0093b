//! Forgetting what is done. What was not processed is never forgotten.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use super::Store;
use super::error::StoreError;
use super::keys::{self, Key};
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

    /// Removes the snapshots of rules that no job refers to; says how many. `current` are the hashes of the rules as they are: a job that
    /// begins or goes on under one of them may not have its row yet.
    pub fn forget_rules(&self, current: &[String]) -> Result<u64, StoreError> {
        let mut unused: BTreeSet<Key> = BTreeSet::new();
        for key in self.inner.meta.scan_prefix([keys::RULE]).keys() {
            unused.insert(key.map_err(StoreError::engine("list rules"))?.to_vec());
        }
        for hash in current {
            unused.remove(&keys::rule(hash));
        }
        // Listed before the jobs are read: what a later job refers to is current.
        for job in self.rows_of::<RuleOfJob>("job", keys::JOB) {
            if unused.is_empty() {
                return Ok(0);
            }
            unused.remove(&keys::rule(&job?.rule_hash));
        }
        let count = unused.len() as u64;
        let mut changes = self.change();
        for key in unused {
            changes.forget_rule(key);
        }
        changes.apply()?;
        Ok(count)
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

/// What of a job's row says which rule it is under.
#[derive(Deserialize)]
struct RuleOfJob {
    rule_hash: String,
}

fn may_be_forgotten(job: &Job, before: Timestamp) -> bool {
    let done = matches!(job.state, JobState::Completed | JobState::Aborted);
    let old = job.finished_at.is_some_and(|finished| finished < before);
    done && old && job.account.records_failed == 0
}
