//! Rules and senders that are paused, rules that stopped after failures: what the engine goes by, and who goes on when it is lifted.
//!
//! The value is in memory, and in its row. What is said is visible first, so that nothing new begins; then what runs is set back to its queue,
//! with a checkpoint; then the row is durable, and only then the operator is answered. Jobs that are held back are in no queue: a loader that
//! takes one up puts it down ([`super::load`]). When a pause is lifted, they are looked for among the unfinished jobs.

use std::sync::{Arc, Mutex};

use super::handle::Engine;
use super::lock;
use super::order;
use super::run::Run;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::fault::WaitsFor;
use crate::model::halts::{Halts, Scope};
use crate::model::job::{Job, Waiting};
use crate::model::job_state::JobState;
use crate::model::rule::Rule;
use crate::store::{Store, StoreError};
use crate::telemetry::events;

/// What an operator says of a scope.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Halting {
    /// Nothing of it goes on, and no file of it is claimed.
    Pause(Scope),
    /// It goes on; a rule that stopped by itself, too.
    Resume(Scope),
}

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
    fn change(&self, store: &Store, change: impl FnOnce(&mut Halts) -> bool) -> Result<bool, StoreError> {
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

/// Sets a run back if what it belongs to is paused; after it became known as a run, so that either side sees the other.
pub(super) fn set_back_if_paused(shared: &Arc<Shared>, run: &Arc<Run>) -> Result<(), Trouble> {
    let halts = shared.halts.now();
    if halts.pauses.is_empty() {
        return Ok(());
    }
    let pause = halts.pause_of(&run.row()).cloned();
    pause.map_or(Ok(()), |pause| order::set_back(shared, run, &pause.to_string()))
}

impl Engine {
    /// What is halted now.
    pub(super) fn halts_now(&self) -> Result<Arc<Halts>, StoreError> {
        match self.stages() {
            Some(shared) => Ok(shared.halts.now()),
            None => self.store().halts().map(Arc::new),
        }
    }

    /// Pauses a scope, or lets it go on; false: nothing was to be changed.
    pub(super) fn halt(
        &self,
        stages: Option<&Arc<Shared>>,
        halting: &Halting,
        by: &str,
    ) -> Result<bool, Trouble> {
        let change = |halts: &mut Halts| match halting {
            Halting::Pause(scope) => halts.pause(scope.clone(), clock::now(), by),
            Halting::Resume(scope) => halts.resume(scope),
        };
        let Some(shared) = stages else {
            let mut halts = self.store().halts()?;
            let is_said = change(&mut halts);
            self.store().change().halts(&halts).apply()?;
            self.store().sync()?;
            return Ok(is_said);
        };
        let said = shared.halts.change(&shared.store, change).map_err(Trouble::from);
        let done = said.and_then(|is_said| {
            match halting {
                Halting::Pause(_) => {
                    shared.dispatch.runs().iter().try_for_each(|run| set_back_if_paused(shared, run))?;
                }
                Halting::Resume(_) => {}
            }
            shared.store.sync()?; // what is lifted is durably so before anything goes on
            if let Halting::Resume(scope) = halting {
                go_on(shared, scope)?;
            }
            Ok(is_said)
        });
        let is_said = done.inspect_err(|trouble| shared.stop_if_poisoned(trouble))?;
        if is_said {
            match halting {
                Halting::Pause(scope) => events::scope_paused(scope, by),
                Halting::Resume(scope) => events::scope_resumed(scope, by),
            }
        }
        Ok(is_said)
    }
}

/// Jobs that were held back, and files that were not claimed.
fn go_on(shared: &Arc<Shared>, scope: &Scope) -> Result<(), Trouble> {
    let halts = shared.halts.now();
    for job in shared.store.unfinished_jobs()? {
        let goes_on = matches!(job.state.get(), JobState::Queued | JobState::Running | JobState::Held)
            && !job.is_failing()
            && scope.takes_job(&job)
            && halts.pause_of(&job).is_none();
        // One that runs was not held back.
        if goes_on && shared.dispatch.run(job.id).is_none_or(|run| run.is_broken_off()) {
            shared.dispatch.queue(Stage::Load, &Owner::of(&job), job.id);
        }
    }
    shared.claims.watches.hasten();
    Ok(())
}
