//! Answers while the service starts, which may take long: a file system that it looks at may hang.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::handler::{Answers, FileWaiting, Handler, JobFilter, Refusal};
use super::store_handler::StoreHandler;
use crate::model::account::FailedRecord;
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::store::{Published, Store, Verified};

/// A service that starts, or another command, lets go of the store or answers within this.
pub(super) const STARTING_PATIENCE: Duration = Duration::from_secs(3);
pub(super) const STARTING_PAUSE: Duration = Duration::from_millis(50);

/// Answers from the store from the first moment on, and does what only an engine can do once there is one.
pub(crate) struct StartingHandler {
    store: StoreHandler,
    started: OnceLock<StoreHandler>,
}

impl StartingHandler {
    /// No engine yet.
    pub(crate) fn new(store: Store) -> Self {
        Self { store: StoreHandler::new(store), started: OnceLock::new() }
    }

    /// From now on the engine is asked too.
    pub(crate) fn started(&self, handler: StoreHandler) {
        self.started.get_or_init(|| handler);
    }

    fn asked(&self) -> &StoreHandler {
        self.started.get().unwrap_or(&self.store)
    }

    /// The engine; most starts are over in a moment.
    fn engine(&self) -> Result<&StoreHandler, Refusal> {
        let begun = Instant::now();
        loop {
            match self.started.get() {
                Some(handler) => return Ok(handler),
                None if begun.elapsed() < STARTING_PATIENCE => std::thread::sleep(STARTING_PAUSE),
                None => return Err(is_starting()),
            }
        }
    }
}

fn is_starting() -> Refusal {
    Refusal::Fault(JobError {
        kind: FaultKind::Transient,
        message: "the service is still starting".into(),
        hint: Some(
            "try again when its log says `watching`; if that does not come, one of its file systems hangs"
                .into(),
        ),
    })
}

impl Handler for StartingHandler {
    fn jobs(&self, filter: &JobFilter) -> Answers<'_, Job> {
        self.asked().jobs(filter)
    }

    fn files_waiting(&self) -> Answers<'_, FileWaiting> {
        self.asked().files_waiting()
    }

    fn changed_configuration(&self) -> Result<Option<OsText>, Refusal> {
        self.asked().changed_configuration()
    }

    fn show(&self, job: &str) -> Result<Job, Refusal> {
        self.asked().show(job)
    }

    fn records(&self, job: &str) -> Answers<'_, FailedRecord> {
        self.asked().records(job)
    }

    fn record(&self, job: &str, number: u64) -> Result<FailedRecord, Refusal> {
        self.asked().record(job, number)
    }

    fn retry(&self, job: &str) -> Result<JobId, Refusal> {
        self.engine()?.retry(job)
    }

    fn accept_missing(&self, job: &str) -> Result<JobId, Refusal> {
        self.engine()?.accept_missing(job)
    }

    fn ingest(&self, path: &OsText, rule: &str, retire: bool) -> Result<JobId, Refusal> {
        self.engine()?.ingest(path, rule, retire)
    }

    fn published(
        &self,
        rule: &str,
        content_hash: Option<&str>,
        delivery_key: Option<&OsText>,
    ) -> Result<Published, Refusal> {
        self.asked().published(rule, content_hash, delivery_key)
    }

    fn check_store(&self) -> Answers<'_, Verified> {
        self.asked().check_store()
    }
}
