//! A job that an operator has made from another one: of its archive, or of its failed records.
//!
//! Its row is durable before the stages have it, as that of any job; nothing is claimed for it.

use std::sync::Arc;

use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::trouble::Trouble;
use super::{claims, delivery};
use crate::clock::{self, JobIds};
use crate::model::complete_by::CompleteBy;
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::rule::Rule;
use crate::store::Store;

/// Makes it, and gives it to the stages where they run: from then on it is known as after a restart.
pub(super) fn begin(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    rules: &[Rule],
    make: impl FnOnce(&[&Rule], &JobIds) -> Result<Job, Trouble>,
) -> Result<JobId, Trouble> {
    let Some(shared) = stages else {
        return Ok(make(&rules.iter().collect::<Vec<_>>(), &JobIds::after(store.newest_id()?))?.id);
    };
    let now = shared.rules.now();
    let rules: Vec<_> = now.iter().map(AsRef::as_ref).collect();
    let job = make(&rules, &shared.claims.ids).inspect_err(|trouble| shared.stop_if_poisoned(trouble))?;
    shared.claims.taken.enter(&job);
    if let Some(rule) = store.rule(&job.rule_hash)? {
        delivery::enter(shared, &rule, &job);
    }
    shared.dispatch.queue(Stage::Load, &Owner::of(&job), job.id);
    Ok(job.id)
}

/// Such a job, with the values that the first one has from its name; the first moment of its life says how it came to be.
pub(super) fn of(first: &Job, rule: &Rule, ids: &JobIds, identity: FileIdentity, told: &str) -> Job {
    let source = Source {
        complete_by: Some(CompleteBy::Command),
        retire: false,
        ..Source::found(first.source.path.clone(), identity)
    };
    let id = ids.next(claims::random_tail());
    let mut job = Job {
        vars: first.vars.clone(),
        workers_max: rule.pace.job_workers_max,
        parent: Some(first.id),
        ..Job::queued(id, &rule.name, &rule.hash(), source, clock::now())
    };
    if let Some(moment) = job.timeline.first_mut() {
        told.clone_into(&mut moment.detail);
    }
    job
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable_fs;
    use crate::engine::tests::World;
    use crate::store::{LedgerOutcome, LedgerRow};

    /// Goal: what is refused of the file that such a job reads is refused before a restart, too.
    #[test]
    fn the_file_that_it_reads_is_known_as_taken_from_its_beginning_and_its_turn_is_in_the_schedule() {
        let world = World::new();
        let first = world.job();
        let found = durable_fs::identity_at(&world.source()).expect("looks").expect("a file");
        let make = |rules: &[&Rule], ids: &JobIds| {
            let rule = rules.first().expect("there is one");
            let job = of(&first, rule, ids, found, "run again");
            let row = LedgerRow::of(&job, LedgerOutcome::Claimed);
            world.shared.store.change().job(&job).ledger(&row, false).apply()?;
            Ok(job)
        };
        let id = begin(&world.shared.store, Some(&world.shared), &[], make).expect("begins");
        assert_eq!(world.shared.claims.taken.jobs_of(&found), [id]);
        assert!(world.shared.dispatch.take_up(id, Stage::Load), "it is queued");
        let row = world.shared.store.job(id).expect("reads").expect("is there");
        assert_eq!((row.parent, row.source.retire), (Some(first.id), false));
        assert_eq!(row.timeline.first().map(|moment| &*moment.detail), Some("run again"));
    }
}
