//! Running again: a completed job from its archive, as a new job that names it.
//!
//! The archived file is read where it lies and stays there; the new job has the name, and with it the values, of the first one, and goes by
//! the rule as it is now. What the first job published is an operator's to have twice: it is taken whatever the rule says of resends.
//!
//! Twice by an operator's word, and not because that word came twice: a connection may break after it was heard. So a job is not run again
//! while a rerun of it is unfinished, and who gives a word of his own with what he asks for (`Idempotency-Key`) is told the job that it became.

use std::sync::Arc;

use super::handle::InHand;
use super::retire::is_same_time;
use super::retry::{current_rule, known, once_more, refuse};
use super::shared::Shared;
use super::source::{ask_folder, folder_of, identity_of, out_of_reach};
use super::trouble::Trouble;
use super::{child, landing_roots};
use crate::clock::{self, JobIds};
use crate::durable_fs::{self, Presence};
use crate::model::delivery::Delivery;
use crate::model::identity::FileIdentity;
use crate::model::job::{Companion, Job, Rerun};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;
use crate::store::{LedgerOutcome, LedgerRow, Store};

/// Of one job are remembered at most.
const RERUNS_MAX: usize = 32;

/// Who asks, and by which word he knows it again.
pub(super) struct Asked<'a> {
    pub by: &'a str,
    pub key: Option<&'a str>,
}

/// Makes the new job, and gives it to the stages where they run; or says which job was made for the same word.
pub(super) fn rerun(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    rules: &[Rule],
    id: JobId,
    asked: &Asked<'_>,
) -> Result<JobId, Trouble> {
    // Of two who ask at once the second one finds what the first one made.
    let _in_hand = stages.map(|shared| InHand::take(shared, id)).transpose()?;
    if let Some(made) = made_for(store, id, asked)? {
        return Ok(made);
    }
    child::begin(store, stages, rules, |rules, ids| new_job(store, rules, ids, id, asked))
}

/// The job that was made before for this word, if it was said.
fn made_for(store: &Store, id: JobId, asked: &Asked<'_>) -> Result<Option<JobId>, Trouble> {
    let Some(key) = asked.key.map(hash_of) else { return Ok(None) };
    let first = known(store, id)?;
    Ok(first.reruns.iter().find(|rerun| rerun.asked_as.as_ref() == Some(&key)).map(|rerun| rerun.job))
}

fn hash_of(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex().to_string()
}

/// Refuses while a job that takes this one again has not ended.
fn check_none_runs(store: &Store, first: &Job) -> Result<(), Trouble> {
    for Rerun { job, .. } in first.reruns.iter().rev() {
        if store.job(*job)?.is_some_and(|job| !job.state.is_final()) {
            let message = format!("job {job} runs job {} again already, and has not ended", first.id);
            let hint = format!("`landfall show {job}` says how far it is; once it has ended, ask again");
            return Err(refuse(message, &hint));
        }
    }
    Ok(())
}

fn new_job(
    store: &Store,
    rules: &[&Rule],
    ids: &JobIds,
    id: JobId,
    &Asked { by, key }: &Asked<'_>,
) -> Result<Job, Trouble> {
    let Found { mut first, kept, identity } = find(store, id)?;
    landing_roots::distrust_those_of(store, &first.rule_hash)?;
    let rule = current_rule(rules.iter().copied(), &first)?;
    let told = format!("job {id} is run again by {by}, from {kept}");
    let mut job = child::of(&first, rule, ids, identity, &told);
    let companions = first.source.companions.iter().filter(|companion| companion.retired_to.is_some());
    job.source.companions =
        companions.map(|companion| Companion { claimed: None, ..companion.clone() }).collect();
    job.source.claim_folder = identity_of(durable_fs::parent_of(kept.as_path()))?;
    job.source.lies_at = Some(kept).filter(|kept| *kept != first.source.path);
    job.priority = rule.priority_for(identity.size);
    job.delivery = Delivery { key_approved: true, content_approved: true, ..Delivery::default() };
    first.note(clock::now(), &format!("run again by {by}, as job {}", job.id));
    if first.reruns.len() >= RERUNS_MAX {
        first.reruns.remove(0);
    }
    first.reruns.push(Rerun { job: job.id, asked_as: key.map(hash_of) });
    let row = LedgerRow::of(&job, LedgerOutcome::Claimed);
    store.change().rule(rule).ended_job(&first).job(&job).ledger(&row, false).apply()?;
    store.sync()?;
    Ok(job)
}

/// A completed job, and what it was made from.
struct Found {
    first: Job,
    kept: OsText,
    identity: FileIdentity,
}

/// What would be taken again, or why nothing.
fn find(store: &Store, id: JobId) -> Result<Found, Trouble> {
    let first = known(store, id)?;
    let kept = kept_at(&first)?;
    let identity = match ask_folder(&kept)? {
        Presence::Here(found) => found,
        Presence::FolderAway => return Err(out_of_reach(&folder_of(&kept))),
        Presence::Gone(_) => {
            let message = format!("the source of job {id} is not at {kept} any more");
            return Err(refuse(message, "put it back there, or have it sent again"));
        }
    };
    // What was copied into the archive has the time of what it was copied from.
    if identity.size != first.source.identity.size || !is_same_time(&identity, &first.source.identity) {
        let message = format!("what lies at {kept} is not what job {id} was made from");
        return Err(refuse(message, "`landfall ingest` takes it as it is now"));
    }
    check_none_runs(store, &first)?;
    Ok(Found { first, kept, identity })
}

/// Refuses what a rerun would refuse.
pub(super) fn check(store: &Store, rules: &[&Rule], id: JobId) -> Result<(), Trouble> {
    current_rule(rules.iter().copied(), &find(store, id)?.first).map(drop)
}

/// Where what a completed job was made from is kept.
pub(super) fn kept_at(job: &Job) -> Result<OsText, Trouble> {
    if job.state != JobState::Completed {
        let message = format!("job {} is {}: only a completed job is run again", job.id, job.state);
        return Err(refuse(message, "`landfall retry` is for jobs that failed, or were refused or aborted"));
    }
    if let (Some(parent), Some(_)) = (job.parent, &job.retries) {
        let message = format!("job {} has failed records of job {parent}, and no source", job.id);
        return Err(refuse(message, "run that one again"));
    }
    if job.shadow.is_some() {
        return Err(refuse(format!("job {} touched nothing, and has no source", job.id), &once_more(job)));
    }
    if job.source.is_set_apart {
        let message = format!("the source of job {} was written to after it was read", job.id);
        return Err(refuse(message, "it lies in quarantine; `landfall ingest` takes it as it is now"));
    }
    match (&job.retired_to, &job.source.claimed, &job.source.lies_at) {
        (Some(archived), Some(_), _) => Ok(archived.clone()),
        // It was left where it was claimed.
        (None, Some(claimed), _) if job.abandoned.is_some() => Ok(claimed.clone()),
        (None, Some(_), _) => {
            Err(refuse(format!("the source of job {} is not kept", job.id), &once_more(job)))
        }
        (_, None, lies_at) => Ok(lies_at.clone().unwrap_or_else(|| job.source.path.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::engine::tests::World;
    use crate::model::job_state::JobEvent;

    /// A completed job, and where its source is archived.
    fn completed(world: &World) -> (Job, PathBuf) {
        let archived = world.path("archive/pay.txt");
        let mut job = world.job();
        std::fs::create_dir_all(world.path("archive")).expect("makes");
        durable_fs::rename_no_replace(&world.source(), &archived).expect("renames");
        for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published] {
            job.take(event, clock::now(), "").expect("goes on");
        }
        job.retired_to = Some(archived.as_path().into());
        job.take(JobEvent::Retired, clock::now(), "").expect("is completed");
        world.shared.save(&job).expect("writes");
        (job, archived)
    }

    fn again(world: &World, job: &Job) -> Result<Job, Trouble> {
        let rule = world.rule();
        let asked = Asked { by: "root", key: None };
        new_job(&world.shared.store, &[&rule], &JobIds::default(), job.id, &asked)
    }

    #[test]
    fn the_new_job_reads_the_archived_file_where_it_lies_by_the_name_that_it_had() {
        let world = World::new();
        let (first, archived) = completed(&world);
        let job = again(&world, &first).expect("is made");
        assert_eq!(world.row(&job).as_ref(), Some(&job), "it is kept");
        assert_eq!(job.source.path, first.source.path);
        assert_eq!(job.source.lies_at, Some(archived.as_path().into()));
        assert!(!job.source.retire, "the archive keeps it");
        assert_eq!((job.parent, job.state.get()), (Some(first.id), JobState::Queued));
        assert!(job.delivery.key_approved && job.delivery.content_approved, "no resend is asked about");
        let told = format!("run again by root, as job {}", job.id);
        assert!(world.row(&first).expect("is there").remarks().any(|remark| remark == told));
    }

    #[test]
    fn a_job_is_run_again_once_at_a_time_and_once_for_each_word_with_which_that_is_asked() {
        let world = World::new();
        let (first, _) = completed(&world);
        let (store, stages) = (&world.shared.store, Some(&world.shared));
        let asked = |key| rerun(store, stages, &[], first.id, &Asked { by: "root", key });
        let made = asked(Some("a")).expect("is made");
        assert_eq!(asked(Some("a")).expect("was made"), made);
        for key in [None, Some("b")] {
            let refused = asked(key).expect_err("one at a time");
            assert!(refused.error.message.contains(&made.to_string()), "{}", refused.error);
        }
        let mut job = store.job(made).expect("reads").expect("is there");
        job.take(JobEvent::GivenBack, clock::now(), "").expect("ends");
        world.shared.save(&job).expect("writes");
        assert_eq!(asked(Some("a")).expect("was made"), made, "also when it has ended");
        let again = asked(None).expect("is made");
        assert!(again != made && asked(None).is_err());
    }

    #[test]
    fn what_is_gone_or_is_another_file_by_now_or_was_never_completed_is_refused_and_leaves_no_job() {
        let world = World::new();
        let (first, archived) = completed(&world);
        let refused = |why: &str| {
            let trouble = again(&world, &first).expect_err(why);
            assert!(trouble.error.message.contains(why), "{}", trouble.error);
            assert_eq!(world.shared.store.unfinished_jobs().expect("reads"), []);
        };
        std::fs::write(&archived, "another one\n").expect("writes");
        refused("is not what job");
        durable_fs::remove_file(&archived).expect("removes");
        refused("is not at");
        let mut failed = first.clone();
        failed.state = world.second_job("b.txt").state;
        world.shared.save(&failed).expect("writes");
        let trouble = again(&world, &failed).expect_err("it is queued");
        assert!(trouble.error.message.contains("only a completed job"), "{}", trouble.error);
    }
}
