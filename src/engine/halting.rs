//! Pausing rules and senders, and letting them go on.
//!
//! What is said is visible first, so that nothing new begins; then what runs is set back to its queue, with a checkpoint; then the row is
//! durable, and only then the operator is answered. When a pause is lifted, what was held back is looked for among the unfinished jobs.

use std::sync::Arc;

use super::handle::Engine;
use super::order::set_back_if_paused;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::halts::{Halting, Halts, Scope};
use crate::model::job_state::JobState;
use crate::telemetry::events;

impl Engine {
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
            shared.store.sync()?; // durable before what was held back goes on
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
