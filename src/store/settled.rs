//! What became of failed records: acts of operators, beside the records, which stay as they were.

use std::sync::{MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::backend;
use super::error::StoreError;
use super::{Store, keys};
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::settling::Settlement;
use crate::model::slice::EntryShape;

/// An entry of which some records failed: what they need to be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedEntry {
    /// Its path in the archive; empty for a plain file.
    pub name: OsText,
    /// What its records look like.
    pub shape: EntryShape,
}

impl Store {
    /// Nobody else decides on failed records as long as this is held. An act is made from what was decided before, and numbered behind it.
    pub(crate) fn settling(&self) -> MutexGuard<'_, ()> {
        self.inner.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done with failed records of a job, in order.
    pub(crate) fn settlements(&self, job: JobId) -> Result<Vec<Settlement>, StoreError> {
        let prefix = keys::of_job(keys::SETTLED, job);
        self.whole_rows("act on failed records", backend::beginning_with(&prefix)).collect()
    }

    /// One of these acts.
    pub(crate) fn settlement(&self, job: JobId, act: u64) -> Result<Option<Settlement>, StoreError> {
        self.row("act on failed records", &keys::settlement(job, act))
    }

    /// What is kept of an entry of which records failed.
    pub(crate) fn failed_entry(&self, job: JobId, entry: u32) -> Result<Option<FailedEntry>, StoreError> {
        self.row("entry of failed records", &keys::shape(job, entry))
    }
}
