//! What an operator orders of one job: to pause, to go on, to end. Durable before it is answered, whoever has the job.
//!
//! ```text
//!  the job is                       pause                        abort
//!  queued, held, backing off        its row; no queue has it     its row; a finisher takes its source to quarantine
//!  running                          broken off, its row; what was collected becomes a checkpoint, or is dropped, once all have left it
//!  being claimed                    waits until its file is ours, or never was
//!  being taken up by a loader       waits until it runs
//!  worked to its end                too late, once its steps have ended
//!  publishing, retiring             too late
//!  failing, being given back        it ends already
//! ```
//!
//! A run that is broken off takes no slice any more from that moment on. It does not settle before its row is written
//! ([`super::run_state::RunState::begin_order`]), so that its finisher goes by the operator's word. A thread that hangs for the job keeps it
//! from settling, and not the word from being durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dispatch::Taken;
use super::handle::in_other_hands;
use super::retry::known;
use super::run::Run;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::trouble::Trouble;
use super::{checkpoint, fail, sequence};
use crate::clock;
use crate::model::fault::FaultKind;
use crate::model::halts::Halts;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::{JobEvent, JobState};
use crate::pipeline;
use crate::store::Store;
use crate::telemetry::events;

/// How long an operator's word waits for the stage that has the job.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between looks whether it is too late.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Changes a row as an operator says, or refuses to.
type Change<'a> = &'a dyn Fn(&mut Job) -> Result<(), Trouble>;

/// Stops a job until it is resumed.
pub(super) fn pause(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    by: &str,
) -> Result<JobId, Trouble> {
    let pause = |job: &mut Job| pause_row(job, by);
    let Some(shared) = stages else { return Ok(of_row(store, id, &pause)?.id) };
    let job = order(shared, id, &pause)?;
    events::paused(&job, by);
    Ok(id)
}

/// Lets a paused job go on.
pub(super) fn resume(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    by: &str,
) -> Result<JobId, Trouble> {
    let Some(shared) = stages else {
        let halts = store.said()?;
        return Ok(of_row(store, id, &|job: &mut Job| resume_row(job, &halts, by))?.id);
    };
    let halts = shared.operator.halts.now();
    let job = order(shared, id, &|job: &mut Job| resume_row(job, &halts, by))?;
    shared.dispatch.forget_back_off(id);
    shared.dispatch.queue(Stage::Load, &Owner::of(&job), id);
    events::resumed(&job, by);
    Ok(id)
}

/// Ends a job of which nothing is published; its source goes to quarantine.
pub(super) fn abort(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    by: &str,
) -> Result<JobId, Trouble> {
    let abort = |job: &mut Job| abort_row(job, by);
    let Some(shared) = stages else { return Ok(of_row(store, id, &abort)?.id) };
    let job = order(shared, id, &abort)?;
    if shared.dispatch.run(id).is_some() {
        // Its finisher comes once all have left it. Nothing is kept of what its programs would still say.
        pipeline::kill_children_of(id);
    } else {
        shared.dispatch.queue(Stage::Finish, &Owner::of(&job), id);
    }
    Ok(id)
}

/// In the row, or why not.
pub(super) fn pause_row(job: &mut Job, by: &str) -> Result<(), Trouble> {
    check_open(job, "paused")?;
    if job.state == JobState::Paused {
        let hint = format!("`landfall resume {}` lets it go on", job.id);
        return Err(refuse(job, "it is paused already", &hint));
    }
    if job.waits_for_settling() {
        let hint = job.error.as_ref().and_then(|error| error.hint.clone());
        let hint = hint.unwrap_or_else(|| format!("`landfall show {}` says what there is to decide", job.id));
        return Err(refuse(job, "it waits for an operator's word, and stands still until then", &hint));
    }
    is_no_attempt(job);
    Ok(job.pause(clock::now(), by)?)
}

/// The same.
pub(super) fn resume_row(job: &mut Job, halts: &Halts, by: &str) -> Result<(), Trouble> {
    if job.state != JobState::Paused || job.is_failing() {
        let is_open = check_open(job, "paused").is_ok();
        return Err(match halts.why_held_back(job).filter(|_| is_open) {
            Some(why) => refuse(job, "it is not paused by itself", &why),
            None => refuse(job, "it is not paused", "`landfall show` says what it waits for, or became"),
        });
    }
    Ok(job.take(JobEvent::Resumed, clock::now(), &format!("resumed by {by}"))?)
}

/// The same.
pub(super) fn abort_row(job: &mut Job, by: &str) -> Result<(), Trouble> {
    check_open(job, "aborted")?;
    Ok(job.abort(clock::now(), by)?)
}

/// Sets those runs back to their queue whose rule or sender is paused: they wait there until that is lifted. After they became known as runs,
/// so that either side sees the other. One sync of the store serves them all.
pub(super) fn set_back_paused(shared: &Arc<Shared>, runs: &[Arc<Run>]) -> Result<(), Trouble> {
    let halts = shared.operator.halts.now();
    if halts.pauses.is_empty() {
        return Ok(());
    }
    let pause_of = |run: &Arc<Run>| halts.pause_of(&run.row()).map(ToString::to_string);
    let paused = runs.iter().filter_map(|run| Some((run, pause_of(run)?)));
    set_back(shared, paused)
}

/// Sets runs back to their queue, each with the reason.
pub(super) fn set_back<'r>(
    shared: &Arc<Shared>,
    runs: impl Iterator<Item = (&'r Arc<Run>, String)>,
) -> Result<(), Trouble> {
    // Others come to their end, or are broken off.
    let begun: Vec<_> = runs.filter(|(run, _)| run.begin_order()).collect();
    if begun.is_empty() {
        return Ok(());
    }
    let changed = begun.iter().try_for_each(|(run, why)| {
        let set_back = |job: &mut Job| {
            if job.state == JobState::Running && !job.is_failing() {
                is_no_attempt(job);
                job.take(JobEvent::Recovered, clock::now(), why)?;
            }
            Ok(())
        };
        break_off(shared, run, &set_back).map(drop)
    });
    let_go(shared, begun.iter().map(|(run, _)| *run), changed)
}

/// Whether something can be ordered of the job at all.
fn check_open(job: &Job, what: &str) -> Result<(), Trouble> {
    let why = if job.state.is_final() {
        "it has ended"
    } else if job.state.is_past_intent() {
        return Err(too_late(job, what));
    } else if job.is_failing() || job.is_given_back() {
        "it is being ended already"
    } else {
        return Ok(());
    };
    Err(refuse(job, why, "`landfall show` says how"))
}

fn too_late(job: &Job, what: &str) -> Trouble {
    let message =
        format!("it is too late: the outputs of job {} are on their way, and it is not {what}", job.id);
    let hint =
        "it ends by itself; if it waits for what never comes back, `landfall abandon` ends it as it stands";
    Trouble::new(FaultKind::Input, message, Some(hint))
}

/// It may be published, or meet what holds or fails it.
fn comes_to_its_end(id: JobId) -> Trouble {
    let message =
        format!("it is too late: job {id} is worked to its end, and what becomes of it is being decided");
    let hint = "look again in a moment: it is published then, or `landfall show` says what it waits for";
    Trouble::new(FaultKind::Input, message, Some(hint))
}

fn refuse(job: &Job, why: &str, hint: &str) -> Trouble {
    Trouble::new(FaultKind::Input, format!("job {} is {}: {why}", job.id, job.state), Some(hint))
}

/// A start that an operator cut short is none.
fn is_no_attempt(job: &mut Job) {
    if job.state == JobState::Running {
        job.attempts = job.attempts.saturating_sub(1);
    }
}

/// Where no stage runs.
fn of_row(store: &Store, id: JobId, change: Change<'_>) -> Result<Job, Trouble> {
    let mut job = known(store, id)?;
    change(&mut job)?;
    store.change().job(&job).apply()?;
    store.sync()?;
    Ok(job)
}

/// Changes the row of a job that is in nobody's hands or runs; a run is broken off. The caller says who goes on with it.
fn order(shared: &Arc<Shared>, id: JobId, change: Change<'_>) -> Result<Job, Trouble> {
    let until = Instant::now() + PATIENCE;
    loop {
        // What is refused breaks nothing off.
        change(&mut known(&shared.store, id)?)?;
        let ends = |settled: &Run| !settled.is_broken_off();
        match shared.dispatch.take_up_or_run(id, LOOK_EVERY, Run::begin_order, ends) {
            Taken::Run(run) => {
                let changed = break_off(shared, &run, change);
                return let_go(shared, std::iter::once(&run), changed);
            }
            Taken::Job => {
                let job = of_row(&shared.store, id, change);
                if job.is_ok() {
                    shared.dispatch.withdraw(id);
                    sequence::put_down(shared, id); // of one that had begun, and backs off
                }
                shared.dispatch.put_down(id);
                return job.inspect_err(|trouble| shared.stop_if_poisoned(trouble));
            }
            Taken::Ends => return Err(comes_to_its_end(id)),
            Taken::Not if Instant::now() < until => {}
            Taken::Not | Taken::Stops => return Err(in_other_hands(shared, id)),
        }
    }
}

/// Of a run that has begun to take an order; [`let_go`] follows.
fn break_off(shared: &Arc<Shared>, run: &Arc<Run>, change: Change<'_>) -> Result<Job, Trouble> {
    run.queue.stop(); // its loader leaves
    run.with_row(|row| {
        let mut job = row.clone();
        change(&mut job)?;
        shared.save(&job)?;
        row.clone_from(&job);
        Ok(job)
    })
}

/// Runs whose rows are changed settle once all have left them, and once that is durable.
fn let_go<'r, T>(
    shared: &Arc<Shared>,
    runs: impl Iterator<Item = &'r Arc<Run>>,
    changed: Result<T, Trouble>,
) -> Result<T, Trouble> {
    // Others take their places meanwhile.
    shared.dispatch.slices_again();
    let changed = changed.and_then(|changed| Ok(shared.store.sync().map(|()| changed)?));
    for run in runs {
        run.let_go();
        shared.settle(run);
    }
    changed.inspect_err(|trouble| shared.stop_if_poisoned(trouble))
}

/// What became of a job that an order broke off.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    ForGood,
    ToGoOn,
}

/// Finishes what an order broke off: a job that goes on some time keeps what was collected, unless its steps lost count; one that ends does
/// not.
pub(super) fn end_ordered(shared: &Shared, run: &Run) -> Result<Ended, Trouble> {
    let mut job = run.row();
    run.copy_progress(&mut job);
    if job.is_failing() {
        if let Some(collector) = run.take_collector() {
            collector.discard(&mut job)?;
        }
        return fail::finish_failing(shared, job).map(|()| Ended::ForGood);
    }
    if job.state == JobState::Running {
        // The word was taken back before it was written down.
        job.take(JobEvent::Recovered, clock::now(), "")?;
    }
    shared.save(&job)?;
    sequence::put_down(shared, job.id);
    if job.state != JobState::Paused && shared.operator.halts.now().pause_of(&job).is_none() {
        // Resumed before it had settled; whoever lifted its pause may not have seen that it was broken off.
        shared.dispatch.queue(Stage::Load, &Owner::of(&job), job.id);
    }
    if !run.lost_count() {
        return keep_work(shared, run, job).map(|()| Ended::ToGoOn);
    }
    let decided = run.with_row(|job| job.held_records.decided);
    shared.store.change().forget_work(run.id).forget_failed_records(run.id, decided).apply()?;
    shared.store.sync()?;
    Ok(Ended::ToGoOn)
}

/// The last checkpoint of a run that was broken off between two slices. Where there is none, its partials go: it starts from its first slice.
fn keep_work(shared: &Shared, run: &Run, mut job: Job) -> Result<(), Trouble> {
    let Some(mut collector) = run.take_collector() else { return Ok(()) };
    match collector.last_checkpoint() {
        Ok(Some(order)) => return checkpoint::write_last(&shared.store, job, order),
        Ok(None) => {}
        Err(trouble) if trouble.is_poisoned() => return Err(trouble),
        Err(trouble) => {
            tracing::warn!(job = %run.id, error = %trouble.error, "no last checkpoint is made: the job goes on from the one before");
        }
    }
    if shared.store.checkpoint(run.id)?.is_none()
        && let Err(trouble) = collector.discard(&mut job)
    {
        tracing::warn!(job = %run.id, error = %trouble.error, "hidden partials are left behind until the job goes on");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::finish::finish_batch;
    use crate::engine::tests::{World, is_there, loaded, worked};
    use crate::engine::trouble::Reaction;

    /// A run with a record collected, as its loader had it.
    fn running(world: &World) -> Arc<Run> {
        let run = world.run();
        assert!(world.shared.dispatch.take_up(run.id, Stage::Load));
        run.collect(worked(&run, 0, "a"));
        run
    }

    /// Its loader has left, and a finisher comes.
    fn left(world: &World, run: &Arc<Run>) -> Job {
        run.loading_ended();
        world.shared.settle(run);
        finish_batch(&world.shared, vec![run.id]).expect("the store speaks for nobody");
        world.shared.store.job(run.id).expect("reads").expect("is there")
    }

    type Order = fn(&Store, Option<&Arc<Shared>>, JobId, &str) -> Result<JobId, Trouble>;

    fn say(world: &World, order: Order, id: JobId) -> Result<Job, Trouble> {
        order(&world.shared.store, Some(&world.shared), id, "root")?;
        Ok(world.shared.store.job(id)?.expect("is there"))
    }

    #[test]
    fn a_run_is_paused_while_its_loader_hangs_and_keeps_what_was_collected_once_that_has_left() {
        let world = World::new();
        let run = running(&world);
        let row = say(&world, pause, run.id).expect("is paused");
        assert_eq!((row.state.get(), row.attempts), (JobState::Paused, 0));
        assert!(run.is_broken_off() && !run.is_settled(), "its loader has not left");
        say(&world, pause, run.id).expect_err("it is paused");
        let row = left(&world, &run);
        assert_eq!((row.state.get(), row.account.records_in), (JobState::Paused, 1), "{row:#?}");
        let point = world.shared.store.checkpoint(run.id).expect("reads").expect("was made");
        assert_eq!(point.next_slice, 1);
        assert!(world.shared.dispatch.take_up(run.id, Stage::Load), "it is put down");
    }

    #[test]
    fn a_run_is_resumed_before_its_loader_has_left_and_goes_to_a_loader_then() {
        let world = World::new();
        let run = running(&world);
        say(&world, pause, run.id).expect("is paused");
        let row = say(&world, resume, run.id).expect("goes on");
        assert_eq!((row.state.get(), row.waiting), (JobState::Queued, None));
        let row = left(&world, &run);
        assert_eq!(row.state, JobState::Queued, "{row:#?}");
        assert!(world.shared.store.checkpoint(run.id).expect("reads").is_some());
    }

    #[test]
    fn a_run_that_is_aborted_leaves_nothing_hidden_and_its_source_in_quarantine_also_if_it_was_paused_before()
    {
        for is_paused in [false, true] {
            let world = World::new();
            let run = running(&world);
            if is_paused {
                say(&world, pause, run.id).expect("is paused");
            }
            let row = say(&world, abort, run.id).expect("is ended");
            assert!(row.is_aborting(), "{row:#?}");
            say(&world, resume, run.id).expect_err("nothing but its end follows");
            let row = left(&world, &run);
            assert_eq!(row.state, JobState::Aborted, "{row:#?}");
            assert!(is_there(&world.path("in/.landfall/quarantine/pay.txt")) && !is_there(&world.claimed()));
            assert!(!is_there(&world.path(&format!("out/.landfall-{}-0.partial", run.id))));
            assert!(!is_there(&world.path("out/pay.main")));
        }
    }

    #[test]
    fn what_is_refused_breaks_nothing_off() {
        let world = World::new();
        let run = running(&world);
        say(&world, resume, run.id).expect_err("it is not paused");
        assert!(!run.is_broken_off());
        run.set_loaded(loaded(1));
        run.loading_ended();
        world.shared.settle(&run);
        for order in [pause as Order, abort] {
            let refused = say(&world, order, run.id).expect_err("it comes to its end");
            assert!(refused.error.message.contains("too late"), "{}", refused.error);
        }
        let row = left(&world, &run);
        assert_eq!(row.state, JobState::Completed, "{row:#?}");
    }

    #[test]
    fn a_job_that_nobody_has_is_aborted_by_a_finisher_and_one_whose_folder_is_away_makes_nothing_in_its_place()
     {
        let world = World::new();
        let job = world.job();
        world.rename();
        let partial = world.partial_of(&job);
        say(&world, abort, job.id).expect("is ended");
        crate::durable_fs::rename_no_replace(&world.path("in"), &world.path("away")).expect("unmounts");
        finish_batch(&world.shared, vec![job.id]).expect("the store speaks for nobody");
        let row = world.row(&job).expect("is there");
        assert!(row.is_aborting() && row.waiting.is_some() && !is_there(&world.path("in")), "{row:#?}");
        crate::durable_fs::rename_no_replace(&world.path("away"), &world.path("in")).expect("mounts");
        finish_batch(&world.shared, vec![job.id]).expect("the store speaks for nobody");
        assert_eq!(world.row(&job).expect("is there").state, JobState::Aborted);
        assert!(is_there(&world.path("in/.landfall/quarantine/pay.txt")) && !is_there(&partial));
    }

    #[test]
    fn a_run_whose_rule_is_paused_is_queued_again_and_no_attempt() {
        let world = World::new();
        let run = running(&world);
        run.with_row(|job| job.attempts = 1);
        let why = "its rule is paused".to_owned();
        set_back(&world.shared, std::iter::once((&run, why))).expect("is set back");
        let row = left(&world, &run);
        assert_eq!((row.state.get(), row.attempts), (JobState::Queued, 0), "{row:#?}");
        assert!(
            row.remarks().count() == 0
                && row.timeline.iter().any(|moment| moment.detail == "its rule is paused")
        );
    }

    #[test]
    fn a_word_that_comes_when_the_service_stops_is_refused_at_once() {
        let world = World::new();
        let job = world.job();
        assert!(world.shared.dispatch.take_up(job.id, Stage::Load));
        world.shared.ask_to_stop();
        let begun = Instant::now();
        let refused = say(&world, abort, job.id).expect_err("it stops");
        assert!(refused.error.message.contains("the service stops"), "{}", refused.error);
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn a_run_that_ends_for_a_reason_of_its_own_takes_no_order() {
        let world = World::new();
        let run = running(&world);
        run.break_off(Trouble::new(FaultKind::Storage, "the disk is away", None));
        assert!(!run.begin_order());
        assert!(run.trouble().is_some_and(|trouble| trouble.reaction == Reaction::ByKind));
    }
}
