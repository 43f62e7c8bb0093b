//! Pausing rules and senders, and letting them go on.
//!
//! What is said is visible first, so that nothing new begins; then what runs is set back to its queue, with a checkpoint; then the row is
//! durable, and only then the operator is answered. When a pause is lifted, what was held back is looked for among the unfinished jobs.

use std::path::Path;
use std::sync::Arc;

use super::file_systems::folders_of;
use super::handle::{Engine, no_such_rule};
use super::operator::Kept;
use super::order::set_back_paused;
use super::places::{KnownPlaces, LetThrough};
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::durable_fs::{self, Mounts};
use crate::model::fault::FaultKind;
use crate::model::halts::{Halting, Halts, Scope};
use crate::model::job_state::JobState;
use crate::model::rule::{Mode, Rule};
use crate::telemetry::events;

impl Engine {
    /// Pauses a scope, or lets it go on; false: nothing was to be changed.
    pub(super) fn halt(
        &self,
        stages: Option<&Arc<Shared>>,
        halting: &Halting,
        by: &str,
    ) -> Result<bool, Trouble> {
        match stages {
            Some(shared) => {
                let rules = shared.rules.now();
                let rules: Vec<_> = rules.iter().map(AsRef::as_ref).collect();
                check(&rules, &shared.operator.halts.now(), halting)?;
            }
            None => check(
                &self.rules_without_stages().iter().collect::<Vec<_>>(),
                &self.store().said()?,
                halting,
            )?,
        }
        let change = |halts: &mut Halts| match halting {
            Halting::Pause(scope) => halts.pause(scope.clone(), clock::now(), by),
            Halting::Resume(scope) => halts.resume(scope),
        };
        let Some(shared) = stages else {
            let mut is_said = Kept::load(self.store())?.change(self.store(), change, |_| ())?;
            let is_away = |mount: &Path| !durable_fs::is_mount_point(mount).unwrap_or(false);
            if let Some(of) = let_through(self.rules_without_stages(), halting).filter(|_| !is_said) {
                is_said = KnownPlaces::load(self.store())?.let_through(self.store(), &of, is_away)?;
            }
            self.store().sync()?;
            return Ok(is_said);
        };
        let said = shared.operator.halts.change(&shared.store, change, |_| ()).map_err(Trouble::from);
        let done = said.and_then(|mut is_said| {
            match halting {
                Halting::Pause(_) => {
                    set_back_paused(shared, &shared.dispatch.runs())?;
                }
                // It was paused, or stopped: of mounts nothing is said.
                Halting::Resume(scope) if is_said => note_away(shared, scope),
                Halting::Resume(_) => {
                    let rules = shared.rules.now();
                    if let Some(of) = let_through(rules.iter().map(AsRef::as_ref), halting) {
                        is_said = shared.resources.disk_space.let_through(&shared.store, &of)?;
                    }
                }
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

/// Has the mounts told, with all that is waited for, that rules wait for which go on now.
fn note_away(shared: &Shared, scope: &Scope) {
    let mounts = Mounts::now();
    let is_in = |rule: &&Arc<Rule>| scope.rule.as_ref().is_none_or(|name| *name == rule.name);
    for rule in shared.rules.now().iter().filter(is_in) {
        // One that cannot be made ready has its files wait for that.
        if let Ok(rule) = shared.rules.ready(rule) {
            shared.resources.disk_space.note_away(&rule, &mounts);
        }
    }
}

/// A rule that is let go on though it was neither paused nor stopped: where the mounts of its folders are away, that is right as it is. Of one
/// of its senders nothing is said of mounts.
fn let_through<'r>(rules: impl IntoIterator<Item = &'r Rule>, halting: &Halting) -> Option<LetThrough> {
    let Halting::Resume(Scope { rule: Some(name), sender: None }) = halting else { return None };
    let mut of = LetThrough { rule: name.clone(), folders: Vec::new(), mounts: Vec::new() };
    for rule in rules.into_iter().filter(|rule| rule.name == *name) {
        of.folders.extend(folders_of(rule));
        of.mounts.extend(rule.publish.mount.clone());
    }
    Some(of)
}

/// Refuses a scope of no rule, and to pause one that touches nothing. A pause outlives its rule, and is taken back all the same.
fn check(rules: &[&Rule], halts: &Halts, halting: &Halting) -> Result<(), Trouble> {
    let (Halting::Pause(scope) | Halting::Resume(scope)) = halting;
    let Some(name) = scope.rule.as_ref().filter(|_| !halts.is_said(scope)) else { return Ok(()) };
    let base = rules.iter().find(|rule| rule.is_base() && rule.name == *name);
    match (base, halting) {
        (None, _) => Err(no_such_rule(rules.iter().copied(), name)),
        (Some(rule), Halting::Pause(_)) if rule.mode == Mode::Shadow => {
            let message = format!("{scope} touches nothing (`mode = \"shadow\"`), and is not paused");
            Err(Trouble::new(FaultKind::Config, message, Some("`mode = \"off\"` stops it")))
        }
        _ => Ok(()),
    }
}

/// Jobs that were held back, and files that were not claimed.
fn go_on(shared: &Arc<Shared>, scope: &Scope) -> Result<(), Trouble> {
    let halts = shared.operator.halts.now();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn a_scope_of_no_rule_is_refused_and_so_is_a_pause_of_what_touches_nothing_whoever_asks() {
        for has_stages in [false, true] {
            let world = World::new();
            let live = Rule::clone(&world.rule());
            let shadow = Rule { name: "shadow".into(), mode: Mode::Shadow, ..live.clone() };
            let rules = [live, shadow];
            let engine = Engine::over(world.shared.store.clone(), &rules);
            if has_stages {
                Engine::exchange_rules(&world.shared, rules.to_vec()).expect("are right");
            }
            let stages = has_stages.then_some(&world.shared);
            let of = |rule: &str| Scope { rule: Some(rule.to_owned()), sender: None };
            let said = |halting| engine.halt(stages, &halting, "root");
            let refused = said(Halting::Pause(of("paymnets"))).expect_err("there is no such rule");
            assert!(refused.error.message.contains("paymnets"), "{}", refused.error);
            said(Halting::Resume(of("paymnets"))).expect_err("nor was it paused");
            let refused = said(Halting::Pause(of("shadow"))).expect_err("it touches nothing");
            assert!(refused.error.message.contains("shadow"), "{}", refused.error);
            assert!(said(Halting::Pause(of("payments"))).expect("is paused"));
            if has_stages {
                Engine::exchange_rules(&world.shared, Vec::new()).expect("are right");
            }
            assert!(said(Halting::Resume(of("payments"))).expect("a pause outlives its rule"));
        }
    }
}
