//! Trying an act without doing it: it is refused for what the act itself would be refused for.

use super::door::{Act, Refusal};
use super::handle::Engine;
use super::trouble::Trouble;
use super::{abandon, order, rerun, retry, settle};
use crate::model::rule::Rule;

/// Where it is not refused, the act may be all the same: by what comes meanwhile.
pub(super) fn would(engine: &Engine, act: &Act) -> Result<(), Refusal> {
    let (store, stages, by) = (engine.store(), engine.stages(), "");
    let now = engine.rules_now(stages);
    let rules: Vec<&Rule> = now.iter().map(AsRef::as_ref).collect();
    let known = |job: &str| engine.id_of(job).map(|id| retry::known(store, id));
    let done: Result<(), Trouble> = match act {
        Act::Retry { job, forgets_decisions, same_rule } => {
            let asked = retry::Asked { forgets_decisions: *forgets_decisions, same_rule: *same_rule, by };
            let taken = stages.map(|shared| &*shared.claims.taken);
            retry::would(store, taken, &rules, engine.id_of(job)?, &asked)
        }
        Act::Pause { job } => known(job)?.and_then(|mut job| order::pause_row(&mut job, by)),
        Act::Resume { job } => {
            let halts = engine.halts_now().map_err(|error| Refusal::from_fault(&error))?;
            known(job)?.and_then(|mut job| order::resume_row(&mut job, &halts, by))
        }
        Act::Abort { job } => known(job)?.and_then(|mut job| order::abort_row(&mut job, by)),
        Act::Abandon { job, .. } => known(job)?.and_then(|job| abandon::check(&job)),
        Act::Rerun { job, .. } => rerun::check(store, &rules, engine.id_of(job)?),
        Act::DropRecords { job, records, .. } => {
            settle::would_drop(store, engine.id_of(job)?, records.numbers())
        }
        Act::RetryRecords { job, records } => {
            settle::would_retry(store, &rules, engine.id_of(job)?, records.numbers())
        }
        Act::EditRecord { job, number, .. } => settle::would_edit(store, &rules, engine.id_of(job)?, *number),
        Act::AcceptMissing { .. }
        | Act::Set { .. }
        | Act::SetWorkers { .. }
        | Act::Ingest { .. }
        | Act::HandOver { .. }
        | Act::Adopt { .. }
        | Act::GiveUp { .. } => Ok(()),
    };
    done.map_err(|trouble| Refusal::Fault(trouble.error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::door::Door as _;
    use crate::engine::fail;
    use crate::engine::tests::World;
    use crate::model::fault::FaultKind;
    use crate::model::job_state::JobEvent;

    /// Goal: a dry run that says yes where the act says no sends somebody on a way that leads nowhere.
    #[test]
    fn a_retry_that_would_be_refused_is_refused_when_it_is_only_tried() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.take(JobEvent::Started, crate::clock::now(), "").expect("starts");
        let fault = Trouble::new(FaultKind::Input, "not what the rule expects", None);
        fail::give_back_or_fail(&world.shared, job.clone(), &fault).expect("fails");
        let retry = Act::retry(job.id.to_string());
        let without_rules = Engine::over(world.shared.store.clone(), &[]);
        let with_rules = Engine::over(world.shared.store.clone(), &[Rule::clone(&world.rule())]);
        let said = |engine: &Engine, act: &Act| engine.would(act).err().map(|refusal| refusal.to_string());
        assert_eq!(said(&with_rules, &retry), None);
        assert!(said(&without_rules, &retry).is_some_and(|said| said.contains("no rule is named")));
        let same_rule = Act::Retry { job: job.id.to_string(), forgets_decisions: false, same_rule: true };
        assert_eq!(said(&without_rules, &same_rule), None, "it has its own");
        let row = world.row(&job).expect("is there");
        crate::durable_fs::remove_file(row.retired_to.expect("in quarantine").as_path()).expect("removes");
        for act in [&retry, &same_rule] {
            let (tried, done) = (said(&with_rules, act), with_rules.act_for(act, "root").err());
            assert!(tried.as_ref().is_some_and(|said| said.contains("is not at")), "{tried:?}");
            assert_eq!(tried, done.map(|refusal| refusal.to_string()));
        }
    }
}
