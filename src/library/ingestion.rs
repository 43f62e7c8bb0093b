//! One job, for the program that handed its file over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::LandfallError;
use super::outputs::OutputFile;
use crate::control::Reading;
use crate::engine::{Act, Door, Follower, Refusal};
use crate::model::account::{Account, FailedRecord};
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::Settings;
use crate::published;

/// What was handed over: its job, from which progress, account, outputs and failed records are read.
pub struct Ingestion<'l> {
    door: &'l dyn Door,
    id: JobId,
    reading: Option<Arc<Reading>>,
    settings: &'l Settings,
}

/// A service that is stopped and started again, after an update perhaps, answers within this.
const RESTART_PATIENCE: Duration = Duration::from_mins(2);

fn is_broken_off(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Fault(error) if error.kind == FaultKind::Transient)
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: JobState,
    /// Bytes of the source whose records are worked, as far as the slices tell.
    pub bytes_worked: u64,
    /// Bytes that the source has, as it lies there: packed, where it is packed.
    pub bytes: u64,
    /// Records that were read.
    pub records_in: u64,
}

impl<'l> Ingestion<'l> {
    pub(super) fn new(
        door: &'l dyn Door,
        id: JobId,
        reading: Option<Arc<Reading>>,
        settings: &'l Settings,
    ) -> Self {
        Self { door, id, reading, settings }
    }

    /// Its job's id, under which `landfall show` has it too.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The job as it is now: its state, what it waits for, its error, its history.
    ///
    /// # Errors
    ///
    /// [`LandfallError::Engine`]: there is no such job (any more: `service.retention`), the store cannot be read, or the service does not
    /// answer. The same holds for [`Ingestion::progress`] and [`Ingestion::account`].
    pub fn job(&self) -> Result<Job, LandfallError> {
        Ok(self.door.show(&self.id.to_string())?)
    }

    /// How far it is now.
    ///
    /// # Errors
    ///
    /// As [`Ingestion::job`].
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
    ///
    /// # Errors
    ///
    /// As [`Ingestion::job`].
    pub fn account(&self) -> Result<Account, LandfallError> {
        Ok(self.job()?.account)
    }

    /// Waits until the job has ended, well or not: [`Job::state`] says which. Returns also where it waits for what does not come by itself
    /// (`job.waiting`): it can be waited for again once that is mended.
    ///
    /// Where a service does the work and ends, it waits two minutes for one that is started in its place, and goes on with that.
    ///
    /// # Errors
    ///
    /// [`LandfallError::Engine`]: there is no such job, or the work in this process stopped because of a fault.
    /// [`LandfallError::ServiceGone`]: no service came in those two minutes. A job that failed is no error: it is returned.
    pub fn wait(&self) -> Result<Job, LandfallError> {
        let mut ended_at: Option<Instant> = None;
        loop {
            let refusal = match Follower::new(self.door).follow(self.id, |_| {
                ended_at = None; // it answers
                Ok(())
            }) {
                Ok(job) => return Ok(job),
                Err(refusal) => refusal,
            };
            if !self.door.is_service() || !is_broken_off(&refusal) {
                return Err(refusal.into());
            }
            let waited = ended_at.get_or_insert_with(Instant::now).elapsed();
            // One that is there again, and answers nothing, is waited for no longer than one that is away.
            let left = RESTART_PATIENCE.saturating_sub(waited);
            if left.is_zero() || !self.door.reach_again(left) {
                return Err(LandfallError::ServiceGone { job: self.id, waited: RESTART_PATIENCE });
            }
        }
    }

    /// Ends the job, if nothing of it is published: its source goes to quarantine.
    ///
    /// # Errors
    ///
    /// [`LandfallError::Engine`]: it has ended, or is being published; or as [`Ingestion::job`].
    pub fn abort(&self) -> Result<(), LandfallError> {
        self.door.act(&Act::Abort { job: self.id.to_string() })?;
        Ok(())
    }

    /// What it published: one output for each category and, where the rule has `{entry}`, entry, of those that have records.
    ///
    /// # Errors
    ///
    /// [`LandfallError::Output`] with [`ReadError::NotPublished`](crate::ReadError::NotPublished): the job has published nothing, or not
    /// all yet. Another `ReadError`: the keys cannot be had by which outputs in the store are encrypted. Else as [`Ingestion::job`].
    pub fn outputs(&self) -> Result<impl Iterator<Item = OutputFile> + use<>, LandfallError> {
        let job = self.job()?;
        published::check_published(&job)?;
        let rule = Arc::new(self.door.rule_of(&self.id.to_string())?);
        let reading = self.reading.clone();
        let own = match self.door.keys() {
            Some(keys) => Some(keys),
            None => published::own_keys(&rule, &self.settings.service)?,
        };
        let file = move |output| OutputFile::new(output, Arc::clone(&rule), reading.clone(), own.clone());
        Ok(job.outputs.into_iter().map(file))
    }

    /// Its failed records with their errors, those that nobody has dropped or retried yet. An item is an error where the store cannot be
    /// read, or the service does not answer.
    pub fn failed_records(&self) -> impl Iterator<Item = Result<FailedRecord, LandfallError>> + use<'l> {
        let records = self.door.records(&self.id.to_string(), false);
        records.map(|found| Ok(found?.record))
    }
}
