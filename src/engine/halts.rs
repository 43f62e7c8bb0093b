//! Rules and senders that are paused, rules that stopped after failures: what the stages go by.
//!
//! One value in memory, and in its row. Jobs that are held back are in no queue: a loader that takes one up puts it down.

use std::sync::{Arc, Mutex};

use super::lock;
use super::trouble::Trouble;
use crate::clock;
use crate::model::fault::WaitsFor;
use crate::model::halts::Halts;
use crate::model::job::{Job, Waiting};
use crate::model::job_state::JobState;
use crate::model::rule::Rule;
use crate::store::{Store, StoreError};
use crate::telemetry::events;

/// The value that the stages go by.
#[derive(Debug, Default)]
pub(super) struct HaltBook {
    /// Held while it is changed and written.
    changing: Mutex<()>,
    now: Mutex<Arc<Halts>>,
}

impl HaltBook {
    /// As it was kept.
    pub(super) fn load(&self, store: &Store) -> Result<(), StoreError> {
        *lock(&self.now) = Arc::new(store.halts()?);
        Ok(())
    }

    pub(super) fn now(&self) -> Arc<Halts> {
        Arc::clone(&lock(&self.now))
    }

    /// Changes it, and its row where the change says that it is one; not yet durable.
    pub(super) fn change(
        &self,
        store: &Store,
        change: impl FnOnce(&mut Halts) -> bool,
    ) -> Result<bool, StoreError> {
        let _changing = lock(&self.changing);
        let before = self.now();
        let mut halts = Halts::clone(&before);
        let is_said = change(&mut halts);
        if halts != *before {
            store.change().halts(&halts).apply()?;
            *lock(&self.now) = Arc::new(halts);
        }
        Ok(is_said)
    }

    /// A job failed: its rule may stop. Durable with the end of its job.
    pub(super) fn note_failed(&self, store: &Store, rule: &Rule, job: &Job) -> Result<(), Trouble> {
        let Some(stop_after) = rule.errors.stop_after else { return Ok(()) };
        let stops =
            self.change(store, |halts| halts.note_failed(&job.rule, job.id, stop_after, clock::now()))?;
        if stops {
            events::rule_stopped(&job.rule, stop_after, job.id);
        }
        Ok(())
    }

    /// A job was completed: what failed before it counts no more.
    pub(super) fn note_completed(&self, store: &Store, job: &Job) -> Result<(), Trouble> {
        if self.now().failed.contains_key(&job.rule) {
            self.change(store, |halts| halts.note_completed(&job.rule))?;
        }
        Ok(())
    }
}

/// Says of a job that is held back what it waits for. It is written nowhere.
pub(super) fn tell(halts: &Halts, job: &mut Job) {
    let waits = matches!(job.state.get(), JobState::Queued | JobState::Running | JobState::Held);
    if waits
        && !job.is_failing()
        && let Some(pause) = halts.pause_of(job)
    {
        job.waiting = Some(Waiting { waits_for: WaitsFor::Pause, until: None, detail: pause.told() });
    }
}
