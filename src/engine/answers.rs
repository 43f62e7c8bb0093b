//! The engine's answers: from its store, and from its stages where they run.

use std::time::Duration;

use super::door::{Act, Answers, Door, FileWaiting, JobFilter, Refusal};
use super::handle::Engine;
use crate::model::account::FailedRecord;
use crate::model::configuration::{ConfigurationState, KeptConfiguration, Reloaded};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::notice::Notice;
use crate::model::os_text::OsText;
use crate::store::{JobMatch, Published, StoreError, Verified};

/// A subscriber hears something within this.
const QUIET_MAX: Duration = Duration::from_millis(100);
/// How long the watches may take, which may be in a file system that hangs.
const WATCH_PATIENCE: Duration = Duration::from_millis(500);

impl Engine {
    fn find(&self, text: &str) -> Result<JobId, Refusal> {
        match self.store().find_job(text).map_err(refused)? {
            JobMatch::One(id) => Ok(id),
            JobMatch::None => Err(Refusal::NoSuchJob { text: text.to_owned() }),
            JobMatch::Several(ids) => Err(Refusal::Ambiguous { text: text.to_owned(), ids }),
        }
    }

    /// The newest jobs, oldest first. Their ids are kept, not their rows, which would take much memory.
    fn newest(&self, filter: &JobFilter, limit: usize) -> Result<Answers<'_, Job>, Refusal> {
        let newest = passing(self.store().jobs().rev(), filter).take(limit);
        let ids = newest.map(|job| job.map(|job| job.id)).collect::<Result<Vec<JobId>, _>>()?;
        let jobs = ids.into_iter().rev().filter_map(|id| self.store().job(id).transpose());
        Ok(Box::new(jobs.map(|job| job.map_err(refused))))
    }
}

impl Door for Engine {
    fn list(&self, filter: &JobFilter) -> Answers<'_, Job> {
        let jobs: Answers<'_, Job> = match (filter.limit, filter.newest_first) {
            (None, false) => Box::new(passing(self.store().jobs(), filter)),
            (limit, true) => {
                Box::new(passing(self.store().jobs().rev(), filter).take(limit.unwrap_or(usize::MAX)))
            }
            (Some(limit), false) => match self.newest(filter, limit) {
                Ok(jobs) => jobs,
                Err(refusal) => Box::new(std::iter::once(Err(refusal))),
            },
        };
        Box::new(jobs.map(|job| job.map(|job| self.with_progress(job))))
    }

    fn show(&self, job: &str) -> Result<Job, Refusal> {
        let id = self.find(job)?;
        // Retention may have taken it a moment ago.
        let missing = || Refusal::NoSuchJob { text: job.to_owned() };
        let job = self.store().job(id).map_err(refused)?.ok_or_else(missing)?;
        Ok(self.with_progress(job))
    }

    fn act(&self, act: &Act) -> Result<JobId, Refusal> {
        let stages = self.stages_to_be()?;
        let done = match act {
            Act::Retry { job } => self.retry(stages, self.find(job)?),
            Act::AcceptMissing { job } => self.accept_missing(stages, self.find(job)?),
            Act::Ingest { path, rule, retire } => {
                Self::ingest(stages.ok_or(Refusal::NotRunning)?, path.as_path(), rule, *retire)
            }
        };
        done.map_err(|trouble| Refusal::Fault(trouble.error))
    }

    /// Ends when the engine does: with the fault that ended it, if one did.
    fn subscribe(&self) -> Answers<'_, Notice> {
        let subscription = self.store().subscribe();
        let mut has_ended = false;
        Box::new(std::iter::from_fn(move || {
            let notice = subscription.next_within(QUIET_MAX);
            let stages = self.stages().filter(|stages| stages.stopping() && notice == Notice::Quiet);
            match stages {
                None => Some(Ok(notice)),
                Some(_) if std::mem::replace(&mut has_ended, true) => None,
                Some(stages) => stages.fatal().map(|fault| Err(Refusal::Fault(fault.clone()))),
            }
        }))
    }

    fn records(&self, job: &str) -> Answers<'_, FailedRecord> {
        match self.find(job) {
            Ok(id) => Box::new(self.store().failed_records(id).map(|record| record.map_err(refused))),
            Err(refusal) => Box::new(std::iter::once(Err(refusal))),
        }
    }

    fn record(&self, job: &str, number: u64) -> Result<FailedRecord, Refusal> {
        let job = self.find(job)?;
        let missing = Refusal::NoSuchRecord { job, number };
        let Some(position) = number.checked_sub(1) else { return Err(missing) };
        self.store().failed_record(job, position).map_err(refused)?.ok_or(missing)
    }

    fn published(
        &self,
        rule: &str,
        content_hash: Option<&str>,
        delivery_key: Option<&OsText>,
    ) -> Result<Published, Refusal> {
        let nobody = JobId::from_parts(0, 0);
        self.store().published(rule, content_hash, delivery_key, nobody).map_err(refused)
    }

    fn files_waiting(&self) -> Answers<'_, FileWaiting> {
        let watches = self.stages().map(|stages| &stages.claims.watches);
        let files = watches.map(|watches| watches.waiting(WATCH_PATIENCE)).unwrap_or_default().into_iter();
        Box::new(files.map(|(path, reason)| Ok(FileWaiting { path: path.into(), reason })))
    }

    fn check_store(&self) -> Answers<'_, Verified> {
        Box::new(self.store().verify().map(Ok))
    }

    fn reload(&self) -> Result<Reloaded, Refusal> {
        self.service().ok_or(Refusal::NotRunning)?.reload()
    }

    fn configuration(&self) -> Result<Option<ConfigurationState>, Refusal> {
        Ok(self.service().map(|service| service.state()))
    }

    fn kept_configuration(&self) -> Result<KeptConfiguration, Refusal> {
        Ok(self.service().ok_or(Refusal::NotRunning)?.kept())
    }
}

/// The jobs that pass the filter, in the order of the rows.
fn passing<I: Iterator<Item = Result<Job, StoreError>>>(
    jobs: I,
    filter: &JobFilter,
) -> impl Iterator<Item = Result<Job, Refusal>> + use<I> {
    let filter = filter.clone();
    jobs.filter(move |job| job.as_ref().map_or(true, |job| filter.takes(job))).map(|job| job.map_err(refused))
}

#[allow(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn refused(error: StoreError) -> Refusal {
    Refusal::from_fault(&error)
}
