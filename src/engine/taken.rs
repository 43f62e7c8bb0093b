//! Files that jobs have taken, by their number: another name (hard link) of one of them is no file of its own.
//!
//! ```text
//! claim    number entered -> row -> rename           ended
//! job                               queued ... retiring: it has other names? -> row of that, durable -> moved away
//! watch      a candidate with several names: is its number entered? ......... a candidate: is there such a row?
//! ```
//!
//! As long as the job is unfinished, the file that it has is looked at beside the candidate. Once it is done that file may be gone, and its
//! other name the only one: then the row tells.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use super::lock;
use crate::durable_fs;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;
use crate::store::{LedgerOutcome, OtherNames, Store, StoreError};

/// The numbers of the files that unfinished jobs have claimed. Locks for itself.
#[derive(Default)]
pub(super) struct TakenFiles(Mutex<BTreeSet<(u64, JobId)>>);

impl TakenFiles {
    /// A job that renames its source is about to, or did.
    pub(super) fn enter(&self, job: &Job) {
        if job.source.claimed.is_some() {
            lock(&self.0).insert((job.source.identity.inode, job.id));
        }
    }

    /// The job ended.
    pub(super) fn leave(&self, job: &Job) {
        lock(&self.0).remove(&(job.source.identity.inode, job.id));
    }

    fn jobs(&self, inode: u64) -> Vec<JobId> {
        let first = (inode, JobId::from_bytes([0; 16]));
        let last = (inode, JobId::from_bytes([0xFF; 16]));
        lock(&self.0).range(first..=last).map(|(_, id)| *id).collect()
    }

    /// The unfinished job, but for this one, of whose file this is another name.
    pub(super) fn unfinished(
        &self,
        store: &Store,
        path: &Path,
        identity: &FileIdentity,
        but: Option<JobId>,
    ) -> Result<Option<TakenAs>, StoreError> {
        for id in self.jobs(identity.inode).into_iter().filter(|id| Some(*id) != but) {
            match store.job(id)? {
                Some(job) if has_file(&job, path, identity) => {
                    return Ok(Some(TakenAs { job: id, state: Some(job.state.get()), of: job.source.path }));
                }
                Some(_) => {}
                // It is being claimed: its row is not written yet.
                None => {
                    return Ok(Some(TakenAs { job: id, state: Some(JobState::Queued), of: "a file".into() }));
                }
            }
        }
        Ok(None)
    }

    /// The same of any job that took it and did not give it back.
    pub(super) fn other_name(
        &self,
        store: &Store,
        path: &Path,
        identity: &FileIdentity,
        names: u64,
        but: Option<JobId>,
    ) -> Result<Option<TakenAs>, StoreError> {
        if names > 1
            && let Some(taken) = self.unfinished(store, path, identity, but)?
        {
            return Ok(Some(taken));
        }
        let Some(OtherNames { job: id, born_ns }) = store.other_names(identity)? else { return Ok(None) };
        // The number may be that of a file that was made since.
        let born = durable_fs::born_ns(path);
        if born.is_some() && born_ns.is_some() && born != born_ns {
            return Ok(None);
        }
        let state = store.job(id)?.map(|job| job.state.get());
        let Some(row) = store.ledger(id)? else { return Ok(None) };
        let was_given_back = row.outcome == LedgerOutcome::GivenBack || state == Some(JobState::Aborted);
        Ok((!was_given_back).then_some(TakenAs { job: id, state, of: row.path }))
    }
}

/// Whether this is the file that a job has, under another name than where it lay. Where a claim is under way it still lies there.
fn has_file(job: &Job, path: &Path, identity: &FileIdentity) -> bool {
    let is_it = |at: &Path| {
        at != path
            && durable_fs::identity_at(at)
                .is_ok_and(|found| found.is_some_and(|found| found.same_file(identity)))
    };
    !job.state.is_final() && (is_it(job.source_path().as_path()) || is_it(job.source.path.as_path()))
}

/// Of which job a file is that was taken by another name.
#[derive(Debug)]
pub(super) struct TakenAs {
    job: JobId,
    /// None: its row was forgotten, as those are of jobs that are long done.
    state: Option<JobState>,
    /// The name by which it was taken.
    of: OsText,
}

impl TakenAs {
    /// Why it waits.
    pub(super) fn told(&self) -> String {
        let Self { job, of, .. } = self;
        match self.state {
            None | Some(JobState::Completed) => format!(
                "it is another name of {of}, whose records job {job} has published: it is not taken as long as it is the same; remove it, or \
                 copy it to have it once more"
            ),
            Some(state @ (JobState::Failed | JobState::Refused)) => format!(
                "it is another name of {of}, with which job {job} {state}: `landfall show {job}` says why; to have it taken by this name, \
                 copy it"
            ),
            Some(_) => {
                format!("it is another name of {of}, which job {job} has taken: nothing is taken twice")
            }
        }
    }
}

/// Before a job lets its source go: other names of it stay known, durably.
pub(super) fn note_other_names(store: &Store, job: &Job) -> Result<(), super::trouble::Trouble> {
    let Some(claimed) = &job.source.claimed else { return Ok(()) };
    if durable_fs::has_other_names(claimed.as_path())? {
        let other = OtherNames { job: job.id, born_ns: durable_fs::born_ns(claimed.as_path()) };
        store.change().other_names(&job.source.identity, &other).apply()?;
        store.sync()?;
    }
    Ok(())
}
