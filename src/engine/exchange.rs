//! Other rules in place of those so far, while all goes on.
//!
//! ```text
//!  patterns parse -> their folders count as senders' -> the book -> groups -> limits -> sequences -> watches -> windows -> jobs that waited for a mended rule
//! ```
//!
//! - Everything that can be wrong about the rules is known before the first step. What comes after it asks no file system: files of recipients are
//!   read on a thread of their own, so that a folder that hangs holds up no rule of others.
//! - The book comes before the watches: an offer under a new rule finds that rule known. What the watches offered before carries its rule, and
//!   is claimed under it, unless a rule of that name takes nothing any more.
//! - A job keeps the rule that it was claimed under, through restarts too. One that is held for what its rule says is looked at again, and
//!   takes the rule as it is then.

use std::collections::HashSet;
use std::sync::Arc;

use super::door::Refusal;
use super::handle::Engine;
use super::rule_book::Unready;
use super::shared::Shared;
use super::trouble::Trouble;
use super::{file_systems, landing_roots, private, sequence, threads, watching, window_closing};
use crate::durable_fs::Mounts;
use crate::model::configuration::ConfigurationChange;
use crate::model::fault::WaitsFor;
use crate::model::hook::Hook;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::of_no_rule;
use crate::model::rule::Rule;
use crate::watch::rules::RuleSet;

impl Engine {
    /// Works under these rules from now on, in place of all others. Refused while the service is starting.
    pub(crate) fn take_rules(&self, rules: Vec<Rule>) -> Result<ConfigurationChange, Refusal> {
        let stages = self.stages_to_be()?.ok_or(Refusal::NotRunning)?;
        Self::exchange_rules(stages, rules).map_err(|trouble| Refusal::Fault(trouble.error))
    }

    /// Programs of steps do not reach what hooks keep to themselves.
    pub(crate) fn know_hooks(&self, hooks: &[Hook]) {
        if let Some(stages) = self.stages() {
            stages.resources.surroundings.keep_private("hooks", private::paths_of_hooks(hooks), Vec::new());
        }
    }

    /// Makes these rules ready anew, with the files that are read with them; those for which that fails.
    pub(crate) fn renew_rules(&self, names: &[String]) -> Vec<Unready> {
        let Some(stages) = self.stages() else { return Vec::new() };
        let failed = names.iter().filter_map(|name| stages.rules.renew(name)).collect();
        stages.dispatch.hasten(&waiting_jobs(stages, names));
        failed
    }

    /// What it changed. Files that wait go on waiting, under the rule that has them now. What is claimed already goes on as after a restart.
    pub(super) fn exchange_rules(
        shared: &Arc<Shared>,
        rules: Vec<Rule>,
    ) -> Result<ConfigurationChange, Trouble> {
        RuleSet::new(rules.clone()).map_err(|error| Trouble::from_fault(&error))?; // before anything is changed
        rules.iter().for_each(landing_roots::distrust);
        shared.resources.surroundings.keep_private(
            "rules",
            private::paths_of(&shared.service, &rules),
            private::folders_closed(&rules),
        );
        let (before, next) = shared.rules.exchange(rules);
        shared.dispatch.know_groups(file_systems::groups(next.iter(), &Mounts::now()));
        shared.operator.paces.tell(|paces| shared.tell_limits(paces));
        shared.operator.expected.take(&next);
        sequence::exchanged(shared, &before, &next)?;
        watching::watch(shared)?;
        window_closing::look(shared)?;
        if let Err(trouble) = threads::spawn("rules", shared.rules.make_ready(&next)) {
            tracing::debug!(error = %trouble.error, "rules are made ready with their first files");
        }
        let mut change = before.change_to(&next);
        let rules: Vec<&Rule> = next.iter().map(AsRef::as_ref).collect();
        let (halts, paces) = (shared.operator.halts.now(), shared.operator.paces.now());
        change.of_no_rule = of_no_rule::told(&halts, &paces, &rules);
        for told in &change.of_no_rule {
            tracing::warn!("{told}");
        }
        let mut mended = before.held_until(&next);
        if before.generation > 0 {
            let names: Vec<_> = change.changed.iter().chain(&change.added).cloned().collect();
            mended.extend(waiting_jobs(shared, &names));
        }
        shared.dispatch.hasten(&mended);
        Ok(change)
    }
}

/// Jobs of these rules that wait for what a rule says, a key or a place: tried again now, they see what it became.
fn waiting_jobs(shared: &Shared, rules: &[String]) -> HashSet<JobId> {
    if rules.is_empty() {
        return HashSet::new();
    }
    let waits = |job: &Job| {
        let waits_for = job.waiting.as_ref().map(|waiting| waiting.waits_for);
        waits_for.is_some_and(WaitsFor::may_be_mended_in_rule) && rules.contains(&job.rule)
    };
    // Where the rows cannot be read, they are tried again by themselves.
    let jobs = shared.store.unfinished_jobs().unwrap_or_default();
    jobs.into_iter().filter(waits).map(|job| job.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::job::Waiting;

    /// The rule of the world, changed.
    fn changed(world: &World) -> Rule {
        let mut changed = Rule::clone(&world.rule());
        changed.source.archive_keep = Some(std::time::Duration::from_hours(1));
        changed
    }

    #[test]
    fn rules_that_cannot_be_watched_change_nothing() {
        let world = World::new();
        let before = world.shared.rules.now();
        let broken = Rule { paths: vec!["in/[".into()].into(), ..Rule::clone(&world.rule()) };
        Engine::exchange_rules(&world.shared, vec![broken]).expect_err("no such pattern");
        assert!(Arc::ptr_eq(&before, &world.shared.rules.now()));
    }

    #[test]
    fn jobs_that_wait_for_a_mended_rule_are_looked_at_when_it_is_changed_and_others_are_not() {
        let world = World::new();
        let waits_for = |mut job: Job, waits_for| {
            job.waiting = Some(Waiting { behind: None, waits_for, until: None, detail: String::new() });
            world.shared.save(&job).expect("writes");
            job.id
        };
        let mended = waits_for(world.job(), WaitsFor::Config);
        waits_for(world.second_job("b.txt"), WaitsFor::Delivery);
        let names = ["payments".to_owned()];
        assert_eq!(waiting_jobs(&world.shared, &names), HashSet::from([mended]));
        assert!(waiting_jobs(&world.shared, &["other".to_owned()]).is_empty());
    }

    #[test]
    fn an_exchange_says_which_rules_it_changed() {
        let world = World::new();
        let other = Rule { name: "other".into(), ..changed(&world) };
        let change = Engine::exchange_rules(&world.shared, vec![changed(&world), other]).expect("are right");
        assert_eq!((change.changed, change.added), (vec!["payments".to_owned()], vec!["other".to_owned()]));
    }
}
