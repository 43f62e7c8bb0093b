//! Finishing: jobs whose work ended are published and retired, or failed, held or given back; many together, step by step, so that they
//! share what makes each step durable.
//!
//! ```text
//!  ended: outputs on their way to the disk
//!    -> files synced, one after another: the disk has them all -> folders -> intents and archive names -> the store
//!    -> outputs renamed -> folders -> manifest, marker -> sources moved -> folders -> ended rows -> the store
//! ```
//!
//! Each folder is synced once a step, the store twice, and once more where sources have other names, whatever the number of jobs; manifests,
//! markers and names that were taken meanwhile cost their own. A job that meets trouble leaves the others; after a failed sync all leave.

use std::sync::Arc;

use super::dispatch::Seat;
use super::moving;
use super::publish::{self, Balanced, Ended};
use super::retire;
use super::run::Run;
use super::schedule::Stage;
use super::shared::Shared;
use super::taken::note_other_names;
use super::trouble::{Reaction, Trouble, guard};
use super::{fail, held_records, order, resend};
use crate::durable_fs::{self, FolderRound};
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;

/// A finisher's life.
pub(super) fn finish_jobs(shared: &Arc<Shared>, seat: &mut Seat) {
    while let Some(ids) = shared.dispatch.next_batch(seat) {
        let count = ids.len() as u64;
        if let Err(trouble) = finish_batch(shared, ids) {
            // Only the store speaks for a whole batch.
            shared.fail_for_good(trouble.error);
        }
        shared.resources.memory.jobs_finished(count);
    }
}

/// Where a job is taken up.
enum TakenUp {
    Ended(Box<Ended>),
    Publishing(Box<Balanced>),
    Retiring(Box<Job>),
}

/// Jobs that are at one step together.
type Batch<T> = Vec<(JobId, T)>;

pub(super) fn finish_batch(shared: &Arc<Shared>, ids: Vec<JobId>) -> Result<(), Trouble> {
    let (mut ended, mut large, mut publishing, mut retiring) = (vec![], vec![], vec![], vec![]);
    for (id, from) in take_up(shared, ids) {
        match from {
            TakenUp::Ended(job) if job.is_large() => large.push((id, *job)),
            TakenUp::Ended(job) => ended.push((id, *job)),
            TakenUp::Publishing(job) => publishing.push((id, *job)),
            TakenUp::Retiring(job) => retiring.push((id, *job)),
        }
    }
    finish_together(shared, ended, publishing, retiring)?;
    large.into_iter().try_for_each(|job| finish_together(shared, vec![job], Vec::new(), Vec::new()))
}

fn finish_together(
    shared: &Arc<Shared>,
    ended: Batch<Ended>,
    mut publishing: Batch<Balanced>,
    retiring: Batch<Job>,
) -> Result<(), Trouble> {
    let ended = each(shared, ended, |job| attempt(shared, job, Ended::sync_files));
    let mut round = FolderRound::default();
    let ended = each(shared, ended, |job| attempt(shared, job, |job| job.sync_folders(&mut round)));
    publishing.extend(each(shared, ended, |job| {
        let run = Arc::clone(job.run());
        job.intend(shared).map(Some).or_else(|trouble| end_unpublished(shared, &run, trouble))
    }));
    if !publishing.is_empty() {
        shared.store.sync()?; // intents and archive names, before the first rename
    }
    let renamed = each(shared, publishing, |Balanced { mut job, mut intent }| {
        let mut rename = || {
            let rule = shared.rules.snapshot(&shared.store, &job)?;
            shared.resources.disk_space.check_publish(&rule, &job, &intent)?;
            publish::rename_outputs(shared, &rule, &mut job, &mut intent).map(|()| rule)
        };
        let rule = rename().map_err(|trouble| publish::remember(shared, job.id, &mut intent, trouble))?;
        Ok(Some((rule, job, intent)))
    });
    let mut round = FolderRound::default();
    let published = each(shared, renamed, |(rule, job, mut intent)| {
        let id = job.id;
        let synced = intent.sync_folders(&mut round).map_err(Trouble::from);
        let signalled = synced.and_then(|()| publish::signal(shared, &rule, job, &mut intent));
        let job = signalled.map_err(|trouble| publish::remember(shared, id, &mut intent, trouble))?;
        Ok(Some((rule, job)))
    });
    let retiring = each(shared, retiring, |job| Ok(Some((shared.rules.snapshot(&shared.store, &job)?, job))));
    let mut has_names = false;
    let leaving = each(shared, published.into_iter().chain(retiring).collect(), |(rule, job)| {
        has_names |= note_other_names(&shared.store, &job)?;
        Ok(Some((rule, job)))
    });
    if has_names || shared.publishing.aside.is_some() {
        shared.store.sync()?; // before sources leave, or outputs are removed for which no start is to look
    }
    let left = each(shared, leaving, |(rule, mut job)| {
        retire::move_away(shared, &rule, &mut job)?;
        Ok(Some((rule, job)))
    });
    let mut round = FolderRound::default();
    let arrived = each(shared, left, |(rule, job)| {
        moving::sync_arrived(&job, &mut round)?;
        Ok(Some((rule, job)))
    });
    each::<_, ()>(shared, arrived, |(rule, job)| {
        moving::sync_left(&job, &mut round)?;
        retire::end(shared, &rule, job)?;
        Ok(None)
    });
    Ok(shared.store.sync()?)
}

/// Takes each job a step on. Those that came to an end, or met trouble, leave the batch.
fn each<T, U>(
    shared: &Shared,
    jobs: Batch<T>,
    mut step: impl FnMut(T) -> Result<Option<U>, Trouble>,
) -> Batch<U> {
    let mut on = Vec::with_capacity(jobs.len());
    let _keeps = durable_fs::keep_reached();
    for (id, job) in jobs {
        if shared.stop.fatal().is_some() {
            // A sync failed, and the system tells that once: a second one of the same folder would be believed. The next start goes on.
            shared.dispatch.put_down(id);
            continue;
        }
        match guard("finish", || step(job)) {
            Ok(Some(job)) => on.push((id, job)),
            Ok(None) => {
                shared.footprints.reach.clear(id); // nothing of it runs again
                shared.dispatch.put_down(id);
            }
            Err(trouble) => {
                shared.job_hindered(id, Stage::Finish, trouble);
                shared.dispatch.put_down(id); // the row is written: whoever takes it up next finds it
            }
        }
    }
    on
}

/// The jobs of these that no other stage has in its hands, and that do not end here.
fn take_up(shared: &Arc<Shared>, ids: Vec<JobId>) -> Batch<TakenUp> {
    let mut taken = Vec::with_capacity(ids.len());
    for id in ids {
        let settled = shared.dispatch.take_settled(id);
        if settled.is_some() || shared.dispatch.take_up(id, Stage::Finish) {
            taken.push((id, (id, settled)));
        }
    }
    each(shared, taken, |(id, settled)| match settled {
        Some(run) => settled_run(shared, &run),
        None => found_in_store(shared, id),
    })
}

/// A run whose work ended: its outputs are ended, or it is failed, held or given back.
fn settled_run(shared: &Arc<Shared>, run: &Arc<Run>) -> Result<Option<TakenUp>, Trouble> {
    let trouble = run.trouble();
    if trouble.as_ref().is_some_and(|trouble| trouble.reaction == Reaction::Ordered) {
        return match order::end_ordered(shared, run)? {
            order::Ended::ForGood => Ok(None),
            order::Ended::ToGoOn => Err(Trouble::ordered()), // what ran is remembered until it goes on
        };
    }
    let ended = match trouble {
        Some(trouble) => Err((*trouble).clone()),
        None => publish::end(shared, run),
    };
    match ended {
        Ok(ended) => Ok(Some(TakenUp::Ended(Box::new(ended)))),
        Err(trouble) => end_unpublished(shared, run, trouble),
    }
}

/// A step towards the intent.
fn attempt(
    shared: &Arc<Shared>,
    mut job: Ended,
    step: impl FnOnce(&mut Ended) -> Result<(), Trouble>,
) -> Result<Option<Ended>, Trouble> {
    let Err(trouble) = step(&mut job) else { return Ok(Some(job)) };
    let run = Arc::clone(job.run());
    let trouble = job.give_up(shared, trouble);
    end_unpublished(shared, &run, trouble)
}

/// A run that is not published: it is failed or given back here; else its trouble holds it.
fn end_unpublished<T>(shared: &Arc<Shared>, run: &Arc<Run>, trouble: Trouble) -> Result<Option<T>, Trouble> {
    shared.publishing.names.release(run.id);
    run.with_row(|_| ()); // a checkpoint under way has it until it has written it: ours comes after it
    let trouble = blame(shared, run, trouble);
    match trouble.reaction {
        Reaction::Stop => return Err(trouble),
        Reaction::Resend(resend) => {
            let job = run.row();
            return resend::end_or_hold(shared, job, &trouble, resend).map(|()| None);
        }
        Reaction::StartOver | Reaction::SuspectRule { starts_over: true } => forget_work(shared, run)?,
        Reaction::HoldRecords => return held_records::hold(shared, run.row(), &trouble).map(|()| None),
        Reaction::ByKind
        | Reaction::GiveBack
        | Reaction::GiveBackUnfit(_)
        | Reaction::Gone
        | Reaction::Park { .. }
        | Reaction::SuspectRule { starts_over: false }
        | Reaction::JudgeRecords
        | Reaction::Ordered => {
            if run.lost_count() {
                forget_work(shared, run)?;
            }
        }
    }
    if !trouble.error.kind.fails_job() {
        drop_what_no_checkpoint_names(shared, run);
        return Err(trouble);
    }
    let mut job = run.row();
    run.copy_progress(&mut job);
    if let Some(collector) = run.take_collector() {
        collector.discard(&mut job)?;
    }
    fail::give_back_or_fail(shared, job, &trouble)?;
    Ok(None)
}

/// What was collected before may be wrong too.
fn forget_work(shared: &Shared, run: &Run) -> Result<(), Trouble> {
    let decided = run.with_row(|job| job.held_records.decided); // those are of the starts before
    shared.store.change().forget_work(run.id).forget_failed_records(run.id, decided).apply()?;
    Ok(shared.store.sync()?) // else a crash could bring the checkpoint back, and build on what cannot be trusted
}

/// Too many records may be at fault because the rule misspells a column: then the rule is to blame, as long as no file has fitted it.
fn blame(shared: &Shared, run: &Run, trouble: Trouble) -> Trouble {
    if trouble.reaction != Reaction::JudgeRecords {
        return trouble;
    }
    let Some(missing) = run.misspelt() else { return trouble };
    let job = run.row();
    let mut found = run.quotes().within(|| Trouble::from(missing.clone()));
    found.error.message = format!("{}: {}", found.error.message, trouble.error.message);
    let judged = run.rule.fit.judge(&shared.store, &job, run.rule.rule.sequence, true, found);
    match judged.reaction {
        Reaction::SuspectRule { .. } => judged.with(Reaction::SuspectRule { starts_over: true }),
        _ if judged.error.kind == FaultKind::Input => trouble,
        _ => judged, // the store does not say whom to blame: nothing is decided
    }
}

/// A held job without a checkpoint starts from its first slice: its partials would only fill a disk that may be full already.
fn drop_what_no_checkpoint_names(shared: &Shared, run: &Run) {
    // Where the store does not say, it may have one, and the partials stay.
    let has_none = shared.store.checkpoint(run.id).is_ok_and(|point| point.is_none());
    let Some(collector) = run.take_collector().filter(|_| has_none) else { return };
    let mut job = run.row();
    if let Err(trouble) = collector.discard(&mut job) {
        tracing::warn!(job = %run.id, error = %trouble.error, "hidden partials of a held job are left behind until it goes on");
    }
}

/// A job that a restart, or an earlier try, left on its way.
fn found_in_store(shared: &Arc<Shared>, id: JobId) -> Result<Option<TakenUp>, Trouble> {
    let Some(job) = shared.store.job(id)? else { return Ok(None) };
    match job.state.get() {
        JobState::Publishing => {
            let intent = shared.store.intent(id)?.ok_or_else(|| {
                Trouble::new(FaultKind::Bug, format!("job {id} is publishing without an intent"), None)
            })?;
            shared.publishing.names.reserve(id, publish::names_of(&intent)); // again, after a restart
            if intent.knows() {
                // What it knows holds until it is tried again. Synced with the others before the first rename.
                shared.store.change().intent(id, &intent.begun()).apply()?;
            }
            Ok(Some(TakenUp::Publishing(Box::new(Balanced { job, intent }))))
        }
        JobState::Retiring => Ok(Some(TakenUp::Retiring(Box::new(job)))),
        _ if job.is_failing() => {
            fail::finish_failing(shared, job)?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use crate::engine::checkpoint;
    #[cfg(unix)]
    use crate::engine::tests::slice;
    use crate::engine::tests::{World, is_there, loaded, worked};

    fn finished(world: &World, run: &Arc<Run>) -> Job {
        run.loading_ended();
        assert!(world.shared.dispatch.take_up(run.id, Stage::Load), "as its loader had it");
        world.shared.settle(run);
        finish_batch(&world.shared, vec![run.id]).expect("the store speaks for nobody");
        world.shared.store.job(run.id).expect("reads").expect("is there")
    }

    #[test]
    fn a_job_that_is_worked_to_its_end_is_published_and_its_source_archived() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.set_loaded(loaded(1));
        let row = finished(&world, &run);
        assert_eq!(row.state, JobState::Completed, "{row:#?}");
        assert_eq!(std::fs::read_to_string(world.path("out/pay.main")).expect("is published"), "a\n");
        assert!(is_there(&world.path("archive/pay.txt")) && !is_there(&world.claimed()));
        assert!(world.shared.dispatch.take_up(run.id, Stage::Finish), "it is put down");
    }

    #[test]
    fn a_job_whose_file_is_at_fault_is_failed_and_nothing_of_it_published() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.break_off(Trouble::new(FaultKind::Input, "not what the rule expects", None));
        let row = finished(&world, &run);
        assert_eq!((row.state.get(), row.account.records_in), (JobState::Failed, 1), "{row:#?}");
        assert!(!is_there(&world.path("out/pay.main")));
        assert!(row.retired_to.is_some_and(|path| is_there(path.as_path())), "it is in quarantine");
    }

    /// Whatever broke the job off: its checkpoint may hold the answers of other records.
    #[cfg(unix)]
    #[test]
    fn a_job_whose_step_finds_at_its_end_that_it_lost_count_starts_over() {
        let world = World::with(
            "source = { on_success = \"delete\" }
             pipeline = [{ step = \"exec\", command = [\"sh\", \"-c\", \"read -r l; echo $l; cat; echo more\"] }]",
        );
        let run = world.run();
        let mut steps = run.take_steps();
        let shape = run.entries.shape(0).expect("it has one");
        steps.run(&slice(0, 0), &shape).expect("is answered");
        run.put_steps(steps);
        run.collect(worked(&run, 0, "a"));
        let order = run.with_collector(|collector| collector.checkpoint(true)).expect("it runs");
        let store = &world.shared.store;
        checkpoint::write_checkpoint(store, &run, order.expect("is made").expect("is due")).expect("writes");
        run.break_off(Trouble::new(FaultKind::Storage, "the disk is away", None));
        run.loading_ended();
        world.shared.settle_at_work(&run);
        let row = finished(&world, &run);
        assert_eq!(row.state, JobState::Held, "{row:#?}");
        assert!(store.checkpoint(run.id).expect("reads").is_none());
    }

    #[test]
    fn a_job_whose_disk_is_at_fault_is_held_and_keeps_its_source() {
        let world = World::new();
        let run = world.run();
        run.break_off(Trouble::new(FaultKind::Storage, "the disk is away", None));
        let row = finished(&world, &run);
        assert_eq!(row.state, JobState::Held, "{row:#?}");
        assert!(is_there(&world.claimed()));
    }

    /// Windows renames no folder in which a file is open.
    #[cfg(unix)]
    #[test]
    fn a_job_that_fails_after_its_output_folder_was_moved_leaves_no_hidden_file_there() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.break_off(Trouble::new(FaultKind::Input, "not what the rule expects", None));
        durable_fs::rename_no_replace(&world.path("out"), &world.path("away")).expect("renames");
        let row = finished(&world, &run);
        assert_eq!(row.state, JobState::Failed, "{row:#?}");
        assert_eq!(std::fs::read_dir(world.path("away")).expect("lists").count(), 0);
    }

    #[test]
    fn a_job_whose_source_folder_is_away_when_it_ends_is_held_and_not_taken_for_changed() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.set_loaded(loaded(1));
        durable_fs::rename_no_replace(&world.path("in"), &world.path("away")).expect("renames");
        let row = finished(&world, &run);
        assert_eq!(row.state, JobState::Held, "{row:#?}");
        assert!(!is_there(&world.path("out/pay.main")));
    }

    #[test]
    fn after_a_failed_sync_no_job_goes_a_step_further() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.set_loaded(loaded(1));
        let failed = Trouble::new(FaultKind::Storage, "a sync failed", None);
        world.shared.fail_for_good(failed.error);
        let row = finished(&world, &run);
        assert_eq!(row.state, JobState::Running, "the next start goes on: {row:#?}");
        assert!(!is_there(&world.path("out/pay.main")));
    }
}
