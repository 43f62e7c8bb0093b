//! The ways out that publish nothing: failed, refused or aborted with quarantine, given back to wait.

use std::time::Duration;

use super::companions::{return_companions, take_companions};
use super::give_back::{end_given_back, give_back};
use super::moving::{Mover, plan_companions, sync_moved};
use super::retire::check_place;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::source::Place;
use super::taken::note_other_names;
use super::trouble::{Reaction, Trouble};
use super::{quarantine, sequence, source};
use crate::clock;
use crate::durable_fs::{self, Renamed};
use crate::model::complete_by::CompleteBy;
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_state::JobState;
use crate::model::rule::{ArchiveOwner, Rule};
use crate::output::remove_partials;
use crate::store::{LedgerOutcome, LedgerRow};
use crate::telemetry::events;

/// A checksum that does not fit, and has no line end, is whole once it has stood for so long, or for `ready.stable_for` where that is more.
const UNENDED_FOR: Duration = Duration::from_mins(1);
/// The same of one that only names other files: its sender may add a line for each file.
const OF_OTHERS_FOR: Duration = Duration::from_hours(1);

/// Ends a job that cannot be done. A source that ended too early goes back to wait, once for the same bytes.
pub(super) fn give_back_or_fail(shared: &Shared, mut job: Job, trouble: &Trouble) -> Result<(), Trouble> {
    if trouble.reaction == Reaction::Gone {
        job.is_gone = true;
        return end_given_back(shared, &mut job, &trouble.error.message);
    }
    if is_to_wait(shared, &job, &trouble.reaction)? {
        if give_back(shared, &mut job, &trouble.error.message)? {
            return Ok(());
        }
        shared.claims.given_back.forget(job.source.path.as_path());
    }
    job.fail(trouble.error.clone())?;
    quarantine(shared, job)
}

/// Ends a job whose error is written down; a source whose content is at fault goes to quarantine.
pub(super) fn quarantine(shared: &Shared, mut job: Job) -> Result<(), Trouble> {
    let is_input = job.error.as_ref().is_some_and(|error| error.kind == FaultKind::Input);
    write_down(shared, &mut job, is_input)?;
    finish_failing(shared, job)
}

/// Where it goes is durable before it goes: a restart looks on both sides.
fn write_down(shared: &Shared, job: &mut Job, quarantines: bool) -> Result<(), Trouble> {
    let rule = shared.rules.snapshot(&shared.store, job)?;
    if quarantines && job.source.claimed.is_some() && job.retired_to.is_none() {
        job.retire_to(Some(quarantine::name(&rule.rule, job)?.into()));
        plan_companions(&quarantine::folder(&rule.rule, job), job);
    }
    let mut changes = shared.store.change();
    changes.forget_work(job.id).job(job);
    if job.is_refusing() {
        // Nobody decides on what was published before. A retry goes by what was decided earlier.
        changes.forget_failed_records(job.id, job.held_records.decided);
    }
    changes.apply()?;
    Ok(shared.store.sync()?)
}

/// Gives up a job that ended the process again and again. Its source goes to quarantine, so that its folder goes on; the finishing stage
/// moves it.
pub(super) fn give_up(shared: &Shared, mut job: Job) -> Result<(), Trouble> {
    let deaths = job.state.deaths().unwrap_or(0);
    let message = format!("the service died {deaths} times while it was at this job, and it did not get on");
    let hint = "see in the log of the service and of the system what ended it (a step of its own, memory); then `landfall retry`";
    let rule = shared.rules.snapshot(&shared.store, &job)?;
    job.fail(Trouble::new(FaultKind::Bug, message, Some(hint)).error)?;
    write_down(shared, &mut job, true)?;
    shared.dispatch.queue(Stage::Finish, &Owner::of(&job), job.id);
    Ok(remove_partials(&rule.rule, &job, &[])?)
}

/// Removes what a job that is about to end without a run has hidden beside its outputs. Before its row is final: a crash in between repeats
/// it, and of a job that ended nobody looks for partials.
pub(super) fn remove_hidden(shared: &Shared, job: &Job) -> Result<(), Trouble> {
    let rule = shared.rules.snapshot(&shared.store, job)?;
    Ok(remove_partials(&rule.rule, job, &[])?)
}

/// The same of a job that has begun to go by another rule, as far as it can be done: the job goes on all the same.
pub(super) fn remove_hidden_of(left: &Rule, job: &Job) {
    if let Err(error) = remove_partials(left, job, &[]) {
        tracing::warn!(job = %job.id, rule = left.name, %error, "hidden partials of the rule as it was may be left");
    }
}

/// Moves the source of a failed, refused or aborted job to quarantine, with the reason beside it.
pub(super) fn finish_failing(shared: &Shared, mut job: Job) -> Result<(), Trouble> {
    let rule = shared.rules.snapshot(&shared.store, &job)?;
    if job.is_aborting() {
        // Nothing is made where the folder of its source was.
        if job.source.claimed.is_some() && job.retired_to.is_none() && !source::claim_folder_is_there(&job)? {
            return Err(source::out_of_reach(&source::folder_of(job.source_path())));
        }
        if !take_unclaimed(shared, &job)? {
            return Ok(());
        }
        remove_partials(&rule.rule, &job, &[])?; // of an earlier start
        write_down(shared, &mut job, true)?;
    }
    if note_other_names(&shared.store, &job)? {
        shared.store.sync()?;
    }
    if job.retired_to.is_some() {
        check_place(shared, &rule, &quarantine::folder(&rule.rule, &job))?;
        let folder = quarantine::make(&rule.rule, &job)?;
        let mover = Mover::new(&shared.store, &shared.resources.disk_space, ArchiveOwner::Service);
        mover.move_source(&mut job, |job| quarantine::name(&rule.rule, job))?;
        mover.move_companions(&mut job, &folder)?;
        sync_moved(&job)?;
    }
    if shared.publishing.aside.is_none() && job.retired_to.is_some() {
        shared.resources.disk_space.places.learn(&shared.store, &rule, &job)?;
    }
    job.end_failing(clock::now())?;
    sequence::note_end(shared, &mut job)?;
    quarantine::write_reason(&shared.store, &job, None)?;
    let outcome = match job.state.get() {
        JobState::Refused => LedgerOutcome::Refused,
        JobState::Aborted => LedgerOutcome::Aborted,
        _ => LedgerOutcome::Failed,
    };
    let row = LedgerRow::of(&job, outcome);
    if outcome == LedgerOutcome::Failed {
        shared.operator.halts.note_failed(&shared.store, &rule.rule, &job)?;
    }
    shared.store.change().job(&job).ledger(&row, false).apply()?;
    shared.store.sync()?;
    shared.claims.taken.leave(&job);
    shared.dispatch.forget_back_off(job.id);
    shared.claims.held.forget(&job.source.identity);
    shared.delivery_decided(job.id);
    sequence::ended(shared, &job);
    match outcome {
        LedgerOutcome::Refused => events::refused(&job),
        LedgerOutcome::Aborted => events::aborted(&job),
        _ => events::failed(&job),
    }
    Ok(())
}

/// Takes the file of a job that an operator aborted between its row and its rename, which the service did not live to see. False: its sender
/// had it first, and the job never was.
fn take_unclaimed(shared: &Shared, job: &Job) -> Result<bool, Trouble> {
    let Some(claimed) = job.source.claimed.as_ref().filter(|_| job.started_at.is_none()) else {
        return Ok(true);
    };
    if source::place(job)? != Place::NotClaimed {
        return Ok(true);
    }
    let path = job.source.path.as_path();
    let found = source::look_at(path)?;
    let is_ours = found.is_some_and(|found| durable_fs::is_same_file(path, &found, &job.source.identity));
    if is_ours && durable_fs::take_file(path, claimed.as_path())? == Renamed::Done {
        take_companions(job)?;
        return Ok(true);
    }
    if job.retired_to.is_some() {
        return Ok(true); // it was moved there, and another one has its old name
    }
    drop_unclaimed(shared, job)?;
    Ok(false)
}

/// Drops a job whose file was never claimed.
pub(super) fn drop_unclaimed(shared: &Shared, job: &Job) -> Result<(), Trouble> {
    tracing::info!(job = %job.id, path = %job.source.path, "not claimed before the last stop: a candidate again");
    return_companions(job)?;
    shared.store.change().unclaim(job.id).apply()?;
    shared.claims.taken.leave(job);
    shared.claims.came_back(job);
    shared.delivery_decided(job.id);
    sequence::ended(shared, job);
    Ok(())
}

/// Whether it goes back: bytes that ended early once; what its checksum does not fit, until something of them changed, or the checksum has
/// stood for long enough to be whole. An operator who named the file waits for nobody.
fn is_to_wait(shared: &Shared, job: &Job, reaction: &Reaction) -> Result<bool, Trouble> {
    let (path, identity) = (job.source.path.as_path(), &job.source.identity);
    let given_back = &shared.claims.given_back;
    Ok(match reaction {
        Reaction::GiveBackUnfit(unfit) if job.source.complete_by != Some(CompleteBy::Command) => {
            let stable_for = shared.rules.snapshot(&shared.store, job)?.rule.ready.stable_for;
            let at_most = if unfit.is_unended { UNENDED_FOR } else { OF_OTHERS_FOR };
            given_back.waits(path, identity, unfit, at_most.max(stable_for))
        }
        Reaction::GiveBack | Reaction::GiveBackUnfit(_) => {
            given_back.is_first(path, identity, job.source.retire)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, is_there};
    use crate::model::job_state::JobEvent;

    fn started(world: &World) -> Job {
        let mut job = world.job();
        world.rename();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        job
    }

    #[test]
    fn a_source_that_ended_early_goes_back_once_and_the_same_bytes_go_to_quarantine_then() {
        let world = World::new();
        let early = Trouble::new(FaultKind::Input, "it breaks off", None).with(Reaction::GiveBack);
        let job = started(&world);
        give_back_or_fail(&world.shared, job.clone(), &early).expect("is given back");
        assert_eq!(world.row(&job).expect("is there").state, JobState::Aborted);
        assert!(is_there(&world.source()));

        let job = started(&world);
        give_back_or_fail(&world.shared, job.clone(), &early).expect("fails");
        assert_eq!(world.row(&job).expect("is there").state, JobState::Failed);
        assert!(is_there(&world.path("in/.landfall/quarantine/pay.txt.error.json")));
        assert!(is_there(&world.path("in/.landfall/quarantine/pay.txt")) && !is_there(&world.claimed()));
    }

    /// Goal: the word of an operator counts who has stopped the service in that moment.
    #[test]
    fn a_job_that_is_aborted_between_its_row_and_its_rename_leaves_its_source_in_quarantine() {
        for is_another in [false, true] {
            let world = World::new();
            let mut job = world.job();
            job.abort(clock::now(), "root").expect("is queued");
            world.shared.save(&job).expect("writes");
            if is_another {
                std::fs::write(world.path("in/new"), "another\n").expect("writes");
                durable_fs::rename_replace(&world.path("in/new"), &world.source()).expect("renames");
            }
            finish_failing(&world.shared, job.clone()).expect("ends");
            let row = world.row(&job).map(|row| (row.state.get(), row.retired_to));
            let quarantined = world.path("in/.landfall/quarantine/pay.txt");
            let ended = (JobState::Aborted, Some(quarantined.as_path().into()));
            assert_eq!(row, (!is_another).then_some(ended));
            assert_eq!((is_there(&quarantined), is_there(&world.source())), (!is_another, is_another));
        }
    }

    #[test]
    fn a_source_that_is_not_at_fault_stays_where_it_is_claimed() {
        let world = World::new();
        let job = started(&world);
        let bug = Trouble::new(FaultKind::Bug, "an internal error", None);
        give_back_or_fail(&world.shared, job.clone(), &bug).expect("fails");
        assert_eq!(world.row(&job).expect("is there").state, JobState::Failed);
        assert!(is_there(&world.claimed()));
    }

    #[test]
    fn a_job_that_is_given_up_before_it_is_retrieved_leaves_its_source_in_quarantine_and_says_where() {
        let world = World::new();
        let mut job = world.job();
        let quarantined = world.path("in/.landfall/quarantine/pay.txt");
        std::fs::create_dir(quarantined.parent().expect("a folder")).expect("makes");
        crate::durable_fs::rename_no_replace(&world.source(), &quarantined).expect("renames");
        job.retrieve(quarantined.as_path().into()).expect("is queued");
        job.suspect(Some(5)).expect("is queued");
        give_up(&world.shared, job.clone()).expect("is written down");
        finish_failing(&world.shared, world.row(&job).expect("is there")).expect("is there already");
        let row = world.row(&job).expect("is there");
        assert_eq!((row.state.get(), row.retired_to), (JobState::Failed, Some(quarantined.as_path().into())));
        assert!(is_there(&quarantined));
    }

    #[test]
    fn a_job_that_is_given_up_is_moved_by_its_finisher_and_leaves_no_partials() {
        let world = World::new();
        let mut job = started(&world);
        job.suspect(Some(5)).expect("is running");
        let partial = world.partial_of(&job);
        give_up(&world.shared, job.clone()).expect("is written down");
        let row = world.row(&job).expect("is there");
        assert!(row.is_failing() && row.retired_to.is_some() && !is_there(&partial));
        assert!(is_there(&world.claimed()), "its finisher moves it");
        finish_failing(&world.shared, row).expect("moves");
        assert!(is_there(&world.path("in/.landfall/quarantine/pay.txt")));
    }
}
