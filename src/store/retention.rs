//! Forgetting what is done. What failed is never forgotten, nor is what has failed records.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::Deserialize;

use super::error::StoreError;
use super::keys::{self, Key};
use super::{LedgerRow, OtherNames, Store, backend};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::settling::{self, Settlement};

const BATCH_JOBS: usize = 256;

impl Store {
    /// Removes completed, aborted and refused jobs that finished before then, with all that belongs to them; says how many.
    ///
    /// Failed jobs, and those with failed records, stay, unless `all` are to go. So do ledger rows, and the identities of kept files: without them
    /// such a file would be taken again.
    pub(crate) fn forget_finished(&self, before: Timestamp, all: bool) -> Result<u64, StoreError> {
        let before_ms = u64::try_from(before.as_millisecond()).unwrap_or(0);
        let mut forgotten = 0;
        let mut ended = Vec::with_capacity(BATCH_JOBS);
        for job in self.jobs() {
            let job = job?;
            if job.id.unix_ms() >= before_ms && job.created_at >= before {
                break; // ids sort by time: none from here on finished before; but for those made when a clock had been set back
            }
            if may_be_forgotten(&job, before, all) && (all || self.has_settled(&job)?) {
                ended.push(job);
            }
            if ended.len() == BATCH_JOBS {
                forgotten += self.forget_ended(&mut ended)?;
            }
        }
        Ok(forgotten + self.forget_ended(&mut ended)?)
    }

    /// Removes ledger rows of sources that were done with before then, at most `max`; says how many. With them goes what deliveries are
    /// compared with.
    ///
    /// The row of a job that is listed stays, and that of a file that may still lie where the job left it: one that is kept, and one of whose
    /// row `is_left` says so, which is asked of those with other names and of those that were ingested by hand. `removes_archived` tells of
    /// which rules archived sources are going to be removed: those stay known.
    pub(crate) fn forget_ledger(
        &self,
        before: Timestamp,
        max: usize,
        removes_archived: &dyn Fn(&str) -> bool,
        is_left: &mut dyn FnMut(&LedgerRow) -> bool,
    ) -> Result<usize, StoreError> {
        let before_ms = u64::try_from(before.as_millisecond()).unwrap_or(0);
        let mut forgotten = 0;
        let mut rows = Vec::with_capacity(BATCH_JOBS);
        for row in self.rows_of::<LedgerRow>("ledger row", keys::LEDGER) {
            let row = row?;
            let is_newer = row.job.unix_ms() >= before_ms && row.claimed_at >= before;
            if is_newer || forgotten + rows.len() >= max {
                break;
            }
            if self.ledger_may_go(&row, before, is_left)? {
                rows.push(row);
            }
            if rows.len() == BATCH_JOBS {
                forgotten += self.forget_rows(&mut rows, removes_archived)?;
            }
        }
        Ok(forgotten + self.forget_rows(&mut rows, removes_archived)?)
    }

    /// Rows alone are asked, no file: whoever calls must not hang.
    fn ledger_may_go(
        &self,
        row: &LedgerRow,
        before: Timestamp,
        is_left: &mut dyn FnMut(&LedgerRow) -> bool,
    ) -> Result<bool, StoreError> {
        let old = row.finished_at.is_some_and(|finished| finished < before);
        let may_go = old
            && self.job(row.job)?.is_none()
            && !self.knows_as_kept(row)?
            && !(self.other_names(&row.identity)?.is_some_and(|other| other.job == row.job) && is_left(row));
        Ok(may_go)
    }

    fn forget_rows(
        &self,
        rows: &mut Vec<LedgerRow>,
        removes_archived: &dyn Fn(&str) -> bool,
    ) -> Result<usize, StoreError> {
        let count = rows.len();
        let mut changes = self.change();
        for row in rows.drain(..) {
            changes.forget_ledger(&row);
            if !removes_archived(&row.rule) {
                changes.forget_archived_with(&row);
            }
        }
        changes.apply()?;
        Ok(count)
    }

    /// Removes what is known of other names of files that no row of the ledger is about any more: since a job took one of them, a retry may have
    /// given it another file, by whose row the first one is not found. Says how many.
    pub(crate) fn forget_names_of_nobody(&self) -> Result<usize, StoreError> {
        if !self.inner.knows_other_names.load(Ordering::Acquire) {
            return Ok(0);
        }
        let mut forgotten = 0;
        let mut unknown = Vec::with_capacity(BATCH_JOBS);
        for row in self.scan(backend::beginning_with(&[keys::OTHER_NAMES])) {
            let (key, value) = row?;
            let other: Option<OtherNames> = self.whole_row("other names of a file", &key, &value)?;
            let Some(OtherNames { job, .. }) = other else { continue };
            if self.ledger(job)?.is_none() && self.job(job)?.is_none() {
                unknown.push((key, job));
            }
            if unknown.len() == BATCH_JOBS {
                forgotten += self.forget_names(&mut unknown)?;
            }
        }
        Ok(forgotten + self.forget_names(&mut unknown)?)
    }

    fn forget_names(&self, of: &mut Vec<(Key, JobId)>) -> Result<usize, StoreError> {
        let count = of.len();
        let mut changes = self.change();
        for (key, job) in of.drain(..) {
            changes.forget_other_names(key, job);
        }
        changes.apply()?;
        Ok(count)
    }

    /// Removes the snapshots of rules that no job refers to; says how many. `current` tells the hashes of the rules that somebody has: a job
    /// that begins or goes on under one of them may not have its row yet. It is asked before the rows are read, and after.
    pub(crate) fn forget_rules(&self, current: impl Fn() -> Vec<String>) -> Result<u64, StoreError> {
        let before = current();
        let mut unused: BTreeSet<Key> = BTreeSet::new();
        for key in self.keys_beginning_with(&[keys::RULE]) {
            unused.insert(key?);
        }
        for hash in before {
            unused.remove(&keys::rule(&hash));
        }
        // Listed before the jobs are read: what a later job refers to is current.
        for job in self.rows_of::<RuleOfJob>("job", keys::JOB) {
            if unused.is_empty() {
                return Ok(0);
            }
            unused.remove(&keys::rule(&job?.rule_hash));
        }
        for hash in current() {
            unused.remove(&keys::rule(&hash));
        }
        let count = unused.len() as u64;
        let mut changes = self.change();
        for key in unused {
            changes.remove(key);
        }
        changes.apply()?;
        Ok(count)
    }

    /// Whether no failed record of it is left, and none may come back. Where an operator ended it with nothing published, its records were given
    /// up with it: nobody can settle them.
    pub(super) fn has_settled(&self, job: &Job) -> Result<bool, StoreError> {
        let is_given_up = job.state == JobState::Aborted && job.outputs.is_empty();
        if job.account.records_failed == 0 || is_given_up {
            return Ok(true);
        }
        let acts = self.settlements(job.id)?;
        let is_open = acts.iter().any(Settlement::is_open);
        Ok(!is_open && settling::settled(&acts).count() >= self.failed_records_count(job.id)?)
    }

    /// Jobs that ended when they were read; one that an operator has taken up again meanwhile stays.
    fn forget_ended(&self, ended: &mut Vec<Job>) -> Result<u64, StoreError> {
        let count = ended.len() as u64;
        let mut changes = self.change();
        for job in ended.drain(..) {
            changes.forget_ended(&job);
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

fn may_be_forgotten(job: &Job, before: Timestamp, all: bool) -> bool {
    // What was refused lies in quarantine with its reason, and its content was published.
    let done = matches!(job.state.get(), JobState::Completed | JobState::Aborted | JobState::Refused);
    let old = job.finished_at.is_some_and(|finished| finished < before);
    old && (all || done)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::fault::{FaultKind, JobError};
    use crate::model::identity::FileIdentity;
    use crate::model::job::Source;
    use crate::model::job_state::JobEvent;
    use crate::store::tests::{at, completed, failed, id, ledger_row};

    /// Nobody can settle its failed records: nothing of it is published.
    #[test]
    fn a_failed_job_is_forgotten_once_an_operator_gave_it_up_with_the_records_of_it_that_failed() {
        let store = Store::in_memory();
        let identity = FileIdentity { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };
        let (source, at) = (Source::found(Path::new("/in/a.txt"), identity), Timestamp::UNIX_EPOCH);
        let mut job = Job::queued(JobId::from_parts(0, 1), "rule", "hash", source, at);
        job.account.records_failed = 1;
        job.fail(JobError { kind: FaultKind::Input, message: "cut short".into(), hint: None })
            .expect("fails");
        job.end_failing(at).expect("fails");
        let mut changes = store.change();
        changes.job(&job).failed_records(job.id, 0, &[failed(1, 10)]).apply().expect("writes");
        let forget = || store.forget_finished(Timestamp::MAX, false).expect("forgets");
        assert_eq!(forget(), 0, "it waits for an operator");
        job.take(JobEvent::Abandoned, at, "").expect("ends");
        store.change().job(&job).apply().expect("writes");
        assert_eq!(forget(), 1);
        assert_eq!(store.failed_records_count(job.id).expect("counts"), 0);
    }

    #[test]
    fn what_is_noted_of_a_job_that_was_forgotten_meanwhile_does_not_bring_it_back() {
        let store = Store::in_memory();
        let job = completed(5);
        store.change().ended_job(&job).apply().expect("writes");
        assert_eq!(store.job(job.id).expect("reads"), None);
        store.change().job(&job).apply().expect("writes");
        let noted = Job { attempts: 7, ..job.clone() };
        store.change().ended_job(&noted).apply().expect("writes");
        assert_eq!(store.job(job.id).expect("reads"), Some(noted));
    }

    /// Its id sorts after those that a wrong clock made, and says a time that is not over yet.
    #[test]
    fn what_is_done_is_forgotten_also_where_ids_are_ahead_of_the_clock() {
        let store = Store::in_memory();
        let (today, tomorrow) = (completed(3), id(500));
        let ahead = Job { id: tomorrow, ..completed(2) };
        let row = LedgerRow { job: id(900), finished_at: Some(at(1)), ..ledger_row(1) };
        store.change().job(&ahead).ledger(&row, false).apply().expect("writes");
        assert_eq!(store.newest_id().expect("reads"), Some(id(900)), "of jobs and of sources");
        assert_eq!(store.forget_finished(at(10), false).expect("forgets"), 1);
        store.change().job(&today).apply().expect("writes");
        assert_eq!(store.forget_finished(at(2), false).expect("forgets"), 0);
        let forgotten = store.forget_ledger(at(10), 10, &|_| true, &mut |_| false).expect("forgets");
        assert_eq!((forgotten, store.ledger(id(900)).expect("reads")), (1, None));
    }
}
