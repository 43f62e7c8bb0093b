//! Runs whose work ended, until a finisher takes them up.
//!
//! Each has its partials open: loading waits while so many wait, else thousands of small files at once would run out of descriptors and
//! memory.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::lock;
use super::run::Run;
use crate::model::job_id::JobId;

/// Enough for every finisher to find a batch when it comes back.
const WAITING_MAX: usize = 128;

/// Runs that settled and wait for the finishing stage.
#[derive(Default)]
pub(super) struct Settled {
    runs: Mutex<HashMap<JobId, Arc<Run>>>,
    bell: Condvar,
}

impl Settled {
    pub(super) fn put(&self, run: Arc<Run>) {
        lock(&self.runs).insert(run.id, run);
    }

    pub(super) fn take(&self, id: JobId) -> Option<Arc<Run>> {
        let mut runs = lock(&self.runs);
        let taken = runs.remove(&id);
        if taken.is_some() && runs.len() + 1 == WAITING_MAX {
            self.bell.notify_all();
        }
        taken
    }

    /// Waits until few enough wait that another job may be loaded, or `time` is over. Whether it may.
    pub(super) fn wait_for_room(&self, time: Duration) -> bool {
        let waited = self.bell.wait_timeout_while(lock(&self.runs), time, |runs| runs.len() >= WAITING_MAX);
        waited.map_or_else(|e| e.into_inner().0.len(), |(runs, _)| runs.len()) < WAITING_MAX
    }
}
