//! One job, for the program that handed its file over.

use std::sync::Arc;

use super::error::LandfallError;
use super::outputs::OutputFile;
use crate::engine::{Act, Door, Follower};
use crate::model::account::{Account, FailedRecord};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::published;

/// What was handed over: its job, from which progress, account, outputs and failed records are read.
pub struct Ingestion<'l> {
    door: &'l dyn Door,
    id: JobId,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: JobState,
    /// Bytes of the source whose records are worked.
    pub bytes_worked: u64,
    /// Bytes that the source has.
    pub bytes: u64,
    /// Records that were read.
    pub records_in: u64,
}

impl<'l> Ingestion<'l> {
    pub(super) fn new(door: &'l dyn Door, id: JobId) -> Self {
        Self { door, id }
    }

    /// Its job's id, under which `landfall show` has it too.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The job as it is now: its state, what it waits for, its error, its history.
    pub fn job(&self) -> Result<Job, LandfallError> {
        Ok(self.door.show(&self.id.to_string())?)
    }

    /// How far it is now.
    pub fn progress(&self) -> Result<Progress, LandfallError> {
        let job = self.job()?;
        Ok(Progress {
            state: job.state.get(),
            bytes_worked: job.bytes_worked,
            bytes: job.source.identity.size,
            records_in: job.account.records_in,
        })
    }

    /// Where its records went, as far as it is.
    pub fn account(&self) -> Result<Account, LandfallError> {
        Ok(self.job()?.account)
    }

    /// Waits until the job has ended, well or not: `job.state` says which. Returns also where it waits for what does not come by itself
    /// (`job.waiting`): it can be waited for again once that is mended.
    pub fn wait(&self) -> Result<Job, LandfallError> {
        Follower::new(self.door).follow(self.id, |_| Ok(()))
    }

    /// Ends the job, if nothing of it is published: its source goes to quarantine.
    pub fn abort(&self) -> Result<(), LandfallError> {
        self.door.act(&Act::Abort { job: self.id.to_string() })?;
        Ok(())
    }

    /// What it published.
    pub fn outputs(&self) -> Result<impl Iterator<Item = OutputFile> + use<>, LandfallError> {
        let job = self.job()?;
        published::check_published(&job)?;
        let rule = Arc::new(self.door.rule_of(&self.id.to_string())?);
        Ok(job.outputs.into_iter().map(move |output| OutputFile::new(output, Arc::clone(&rule))))
    }

    /// Its failed records with their errors, those that nobody has dropped or retried yet.
    pub fn failed_records(&self) -> impl Iterator<Item = Result<FailedRecord, LandfallError>> + use<'l> {
        let records = self.door.records(&self.id.to_string(), false);
        records.map(|found| Ok(found?.record))
    }
}
