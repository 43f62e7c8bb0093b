//! Answers from the store.

use std::path::Path;

use super::handler::{Answers, FileWaiting, Handler, JobFilter, Refusal};
use crate::model::account::FailedRecord;
use crate::model::fault::JobError;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::store::{JobMatch, Published, Store, StoreError, Verified};

/// What only a running engine can answer, or do: `control` knows none, so that whoever starts both hands one in.
pub(crate) trait Acts: Send + Sync {
    /// Takes a failed job from its source again.
    fn retry(&self, job: JobId) -> Result<(), JobError>;
    /// Lets a job go on publishing without hidden outputs that somebody removed.
    fn accept_missing(&self, job: JobId) -> Result<(), JobError>;
    /// Takes a file, given by its absolute path, under a rule, and retires it or not.
    fn ingest(&self, file: &Path, rule: &str, retire: bool) -> Result<JobId, JobError>;
    /// How far reading is, which a job's row is told only now and then.
    fn with_progress(&self, job: Job) -> Job {
        job
    }
    /// The files that wait to be taken.
    fn files_waiting(&self) -> Vec<FileWaiting> {
        Vec::new()
    }
    /// A file of the configuration that was changed since it was read.
    fn changed_configuration(&self) -> Option<OsText> {
        None
    }
}

/// Answers from the store; what only an engine can do is handed to it, if there is one.
pub(crate) struct StoreHandler {
    store: Store,
    acts: Option<Box<dyn Acts>>,
}

impl StoreHandler {
    /// Answers from this store, without a service.
    pub(crate) fn new(store: Store) -> Self {
        Self { store, acts: None }
    }

    /// The same within a service.
    pub(crate) fn running(store: Store, acts: impl Acts + 'static) -> Self {
        Self { store, acts: Some(Box::new(acts)) }
    }

    fn acts(&self) -> Result<&dyn Acts, Refusal> {
        self.acts.as_deref().ok_or(Refusal::NotRunning)
    }

    fn with_progress(&self, job: Job) -> Job {
        match &self.acts {
            Some(acts) => acts.with_progress(job),
            None => job,
        }
    }

    fn find(&self, text: &str) -> Result<JobId, Refusal> {
        match self.store.find_job(text).map_err(refused)? {
            JobMatch::One(id) => Ok(id),
            JobMatch::None => Err(Refusal::NoSuchJob { text: text.to_owned() }),
            JobMatch::Several(ids) => Err(Refusal::Ambiguous { text: text.to_owned(), ids }),
        }
    }
}

impl Handler for StoreHandler {
    fn jobs(&self, filter: &JobFilter) -> Answers<'_, Job> {
        let progress = |job| self.with_progress(job);
        match (filter.limit, filter.newest_first) {
            (None, false) => Box::new(passing(self.store.jobs(), filter).map(move |job| job.map(progress))),
            (limit, true) => {
                let newest = passing(self.store.jobs_newest_first(), filter);
                Box::new(newest.take(limit.unwrap_or(usize::MAX)).map(move |job| job.map(progress)))
            }
            (Some(limit), false) => {
                let newest = passing(self.store.jobs_newest_first(), filter).take(limit);
                // Their ids alone: the rows of thousands would take much memory.
                let ids: Result<Vec<JobId>, Refusal> = newest.map(|job| job.map(|job| job.id)).collect();
                match ids {
                    Ok(ids) => {
                        let jobs = ids.into_iter().rev().filter_map(|id| self.store.job(id).transpose());
                        Box::new(jobs.map(move |job| job.map(progress).map_err(refused)))
                    }
                    Err(refusal) => Box::new(std::iter::once(Err(refusal))),
                }
            }
        }
    }

    fn files_waiting(&self) -> Answers<'_, FileWaiting> {
        let files = self.acts.as_ref().map(|acts| acts.files_waiting()).unwrap_or_default();
        Box::new(files.into_iter().map(Ok))
    }

    fn changed_configuration(&self) -> Result<Option<OsText>, Refusal> {
        Ok(self.acts.as_ref().and_then(|acts| acts.changed_configuration()))
    }

    fn show(&self, job: &str) -> Result<Job, Refusal> {
        let id = self.find(job)?;
        // Retention may have taken it a moment ago.
        let missing = || Refusal::NoSuchJob { text: job.to_owned() };
        let job = self.store.job(id).map_err(refused)?.ok_or_else(missing)?;
        Ok(self.with_progress(job))
    }

    fn records(&self, job: &str) -> Answers<'_, FailedRecord> {
        match self.find(job) {
            Ok(id) => Box::new(self.store.failed_records(id).map(|record| record.map_err(refused))),
            Err(refusal) => Box::new(std::iter::once(Err(refusal))),
        }
    }

    fn record(&self, job: &str, number: u64) -> Result<FailedRecord, Refusal> {
        let job = self.find(job)?;
        let missing = Refusal::NoSuchRecord { job, number };
        let Some(position) = number.checked_sub(1) else { return Err(missing) };
        self.store.failed_record(job, position).map_err(refused)?.ok_or(missing)
    }

    fn retry(&self, job: &str) -> Result<JobId, Refusal> {
        let acts = self.acts()?;
        let id = self.find(job)?;
        acts.retry(id).map_err(Refusal::Fault)?;
        Ok(id)
    }

    fn accept_missing(&self, job: &str) -> Result<JobId, Refusal> {
        let acts = self.acts()?;
        let id = self.find(job)?;
        acts.accept_missing(id).map_err(Refusal::Fault)?;
        Ok(id)
    }

    fn ingest(&self, path: &OsText, rule: &str, retire: bool) -> Result<JobId, Refusal> {
        self.acts()?.ingest(path.as_path(), rule, retire).map_err(Refusal::Fault)
    }

    fn published(
        &self,
        rule: &str,
        content_hash: Option<&str>,
        delivery_key: Option<&OsText>,
    ) -> Result<Published, Refusal> {
        let nobody = JobId::from_parts(0, 0);
        self.store.published(rule, content_hash, delivery_key, nobody).map_err(refused)
    }

    fn check_store(&self) -> Answers<'_, Verified> {
        Box::new(self.store.verify().map(Ok))
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
