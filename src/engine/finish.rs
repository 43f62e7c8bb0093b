//! Finishing: jobs whose work ended are published and retired, or failed, held or given back; many at a time, so that
//! they share the store's syncs. Several finishers at once share those of folders.
//!
//! Order, for a batch: outputs synced (each job) -> intents and planned archive names durable (one sync) -> renames, folder
//! syncs, manifest, marker (each job) -> sources retired (each job) -> rows durable (one sync).

use std::sync::Arc;

use super::publish::{self, Balanced};
use super::retire;
use super::run::Run;
use super::shared::{Shared, Stage};
use super::trouble::{Trouble, guard};
use super::{delivery, fail, lock};
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::output::Intent;

/// Jobs finished together at most: few, so that all finishers have some and share the syncs of folders.
const BATCH_MAX: usize = 8;

/// A finisher's life.
pub(super) fn finish_jobs(shared: &Arc<Shared>) {
    while let Some(ids) = shared.finishing.next_batch(BATCH_MAX) {
        if let Err(trouble) = finish_batch(shared, ids) {
            // Only the store speaks for a whole batch.
            shared.fail_for_good(trouble.error);
        }
    }
}

fn finish_batch(shared: &Arc<Shared>, ids: Vec<JobId>) -> Result<(), Trouble> {
    let mut publishing = Vec::new();
    for id in ids {
        let settled = lock(&shared.settled).remove(&id);
        if settled.is_none() && !shared.take_up(id, Stage::Finish) {
            continue; // a stage has it in its hands
        }
        let next = guard("finish", || match settled {
            Some(run) => settled_run(shared, &run),
            None => found_in_store(shared, id),
        });
        match next {
            Ok(Some(job)) => publishing.push(job),
            Ok(None) => shared.put_down(id),
            Err(trouble) => {
                shared.put_down(id);
                shared.job_hindered(id, trouble);
            }
        }
    }
    if publishing.is_empty() {
        return shared.store.sync().map_err(Trouble::from);
    }
    shared.store.sync()?; // intents and archive names, before the first rename
    for (job, intent) in publishing {
        let id = job.id;
        let done = guard("publish", || publish_and_retire(shared, job, intent));
        shared.put_down(id);
        if let Err(trouble) = done {
            shared.job_hindered(id, trouble);
        }
    }
    Ok(shared.store.sync()?)
}

/// A run whose work ended: its intent is written, or it is failed, held or given back.
fn settled_run(shared: &Arc<Shared>, run: &Arc<Run>) -> Result<Option<(Job, Intent)>, Trouble> {
    if let Err(broken) = run.end_steps() {
        run.break_off(broken.into()); // unless it broke off before
    }
    let trouble = match run.trouble() {
        Some(trouble) => trouble.clone(),
        None => match publish::balance(shared, run) {
            Ok(Balanced { job, intent }) => return Ok(Some((job, intent))),
            Err(trouble) => {
                shared.release_names(run.id);
                trouble
            }
        },
    };
    // A checkpoint under way has this lock while it writes the job's row: ours comes after it.
    drop(lock(&run.job));
    if trouble.poisoned {
        return Err(trouble);
    }
    if trouble.starts_over {
        shared.store.change().forget_work(run.id).forget_failed_records(run.id, 0).apply()?;
        shared.store.sync()?; // else a crash could bring the checkpoint back, and build on what cannot be trusted
    }
    if let Some(resend) = trouble.resend {
        let job = lock(&run.job).clone();
        return delivery::settle(shared, job, &trouble, resend).map(|()| None);
    }
    if !trouble.error.kind.fails_job() {
        drop_what_no_checkpoint_names(shared, run);
        return Err(trouble);
    }
    let mut job = lock(&run.job).clone();
    super::load::copy_progress(run, &mut job);
    if let Some(collector) = run.take_collector() {
        collector.discard(&mut job)?;
    }
    fail::give_back_or_fail(shared, job, &trouble)?;
    Ok(None)
}

/// A held job without a checkpoint starts from its first slice: its partials would only fill a disk that may be full already.
fn drop_what_no_checkpoint_names(shared: &Shared, run: &Run) {
    let resumes = shared.store.checkpoint(run.id).is_ok_and(|point| point.is_some());
    let Some(collector) = run.take_collector().filter(|_| !resumes) else { return };
    let mut job = lock(&run.job).clone();
    if let Err(trouble) = collector.discard(&mut job) {
        tracing::warn!(job = %run.id, error = %trouble.error, "hidden partials of a held job are left behind until it goes on");
    }
}

/// A job that a restart, or an earlier try, left on its way.
fn found_in_store(shared: &Arc<Shared>, id: JobId) -> Result<Option<(Job, Intent)>, Trouble> {
    let Some(job) = shared.store.job(id)? else { return Ok(None) };
    match job.state {
        JobState::Publishing => {
            let intent = shared.store.intent(id)?.ok_or_else(|| {
                Trouble::new(FaultKind::Bug, format!("job {id} is publishing without an intent"), None)
            })?;
            shared.reserve_names(id, publish::names_of(&intent)); // again, after a restart
            Ok(Some((job, intent)))
        }
        JobState::Retiring => {
            let rule = shared.rules.snapshot(&shared.store, &job)?;
            retire::retire(shared, &rule, job)?;
            Ok(None)
        }
        _ if job.is_failing() => {
            fail::finish_failing(shared, job)?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn publish_and_retire(shared: &Arc<Shared>, job: Job, intent: Intent) -> Result<(), Trouble> {
    let rule = shared.rules.snapshot(&shared.store, &job)?;
    shared.rooms.check_publish(&rule, &intent)?;
    let job = publish::roll_forward(shared, &rule, job, intent)?;
    retire::retire(shared, &rule, job)
}
