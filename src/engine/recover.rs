//! Recovery at the start: every unfinished job is found on one side of its last rename and goes on from there.

use std::collections::HashSet;
use std::time::Duration;

use super::claim::SECOND_NAME;
use super::give_back::give_back;
use super::retrieval::is_here;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::source::{Place, place};
use super::trouble::Trouble;
use super::{delivery, fail, in_hand};
use crate::clock;
use crate::durable_fs;
use crate::model::complete_by::CompleteBy;
use crate::model::fault::WaitsFor;
use crate::model::job::{Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;

/// What the rows and the data folder say of the last run, before any job goes on. No other file system is asked.
pub(super) fn begin(shared: &Shared) -> Result<(), Trouble> {
    let mut jobs = shared.store.unfinished_jobs()?;
    judge(shared, &mut jobs)?;
    let unfinished: HashSet<_> = jobs.iter().map(|job| job.id).collect();
    delivery::enter_recovered(shared, &jobs)?;
    shared.footprints.reach.begin(&shared.service.data_dir, |id| unfinished.contains(&id));
    // Where the source of any other lies is for the thread of its file system.
    for job in jobs.iter().filter(|job| job.is_failing() || job.state.is_past_intent()) {
        requeue(shared, job);
    }
    if !jobs.is_empty() {
        tracing::info!(jobs = jobs.len(), "unfinished jobs found: they go on");
    }
    Ok(())
}

/// Gives an unfinished job to the stage that goes on with it.
pub(super) fn go_on(shared: &Shared, id: JobId) {
    with_free_job(shared, id, |job| {
        requeue(shared, &job);
        Ok(())
    });
}

/// Until the file system of its source answers, a job says what it waits for.
pub(super) fn wait_for_mount(shared: &Shared, id: JobId, detail: &str) {
    with_free_job(shared, id, |mut job| {
        if !needs_source(&job) {
            return Ok(());
        }
        job.waiting = Some(Waiting {
            behind: None,
            waits_for: WaitsFor::Mount,
            until: None,
            detail: detail.to_owned(),
        });
        shared.save(&job)
    });
}

/// Does something with a job that nobody has in hand: an operator's word may have come first.
pub(super) fn with_free_job(shared: &Shared, id: JobId, act: impl FnOnce(Job) -> Result<(), Trouble>) {
    if !shared.dispatch.take_up_within(id, Duration::ZERO) {
        return;
    }
    let job = shared.store.job(id).map_err(Trouble::from);
    if let Err(trouble) = job.and_then(|job| job.map_or(Ok(()), act)) {
        shared.job_hindered(id, Stage::Load, trouble);
    }
    shared.dispatch.put_down(id);
}

/// Whether a job goes on from its source by itself.
fn needs_source(job: &Job) -> bool {
    !job.is_failing() && matches!(job.state.get(), JobState::Queued | JobState::Running | JobState::Held)
}

/// Gives one unfinished job to the stage that goes on with it.
pub(super) fn requeue(shared: &Shared, job: &Job) {
    let owner = Owner::of(job);
    let job = &mut job.clone(); // what they do may come to nothing, and be in its row
    match job.state.get() {
        JobState::Publishing | JobState::Retiring => shared.dispatch.queue(Stage::Finish, &owner, job.id),
        _ if job.is_failing() => shared.dispatch.queue(Stage::Finish, &owner, job.id),
        JobState::Queued | JobState::Running | JobState::Held => {
            for ends in [forget_unclaimed, finish_giving_back] {
                match ends(shared, job) {
                    Ok(false) => {}
                    Ok(true) => return,
                    Err(trouble) => return shared.job_hindered(job.id, Stage::Load, trouble),
                }
            }
            shared.claims.unsynced.doubt(job);
            match give_back_second_names(shared, job) {
                Ok(false) => {}
                Ok(true) => return,
                Err(trouble) => return shared.job_hindered(job.id, Stage::Load, trouble),
            }
            match pause_for_suspicion(shared, job) {
                Ok(Some(pause)) => shared.dispatch.queue_after(Stage::Load, &owner, pause, job.id),
                Ok(None) => {}
                Err(trouble) => shared.job_hindered(job.id, Stage::Load, trouble),
            }
        }
        JobState::Paused => match forget_unclaimed(shared, job) {
            Ok(true) => {}
            Ok(false) => shared.claims.unsynced.doubt(job), // for when it is resumed
            Err(trouble) => {
                shared.claims.unsynced.doubt(job);
                tracing::warn!(job = %job.id, error = %trouble.error, "the source of a paused job cannot be looked at");
            }
        },
        JobState::Completed | JobState::Failed | JobState::Aborted | JobState::Refused => {}
    }
}

/// Holds the last process's death against the jobs that were in hand.
fn judge(shared: &Shared, jobs: &mut [Job]) -> Result<(), Trouble> {
    let in_hand = shared.footprints.in_hand.begin(&shared.service.data_dir);
    let runs = |job: &Job| !job.state.is_final() && !job.state.is_past_intent();
    let mut suspects: Vec<&mut Job> =
        jobs.iter_mut().filter(|job| runs(job) && !job.is_failing() && in_hand.contains(&job.id)).collect();
    let before: Vec<_> = suspects.iter().map(|job| job.state.deaths()).collect();
    let mut changes = shared.store.change();
    for (job, deaths) in suspects.iter_mut().zip(in_hand::judged(&before)) {
        job.suspect(Some(deaths))?;
        job.attempts += u32::from(job.state == JobState::Queued); // its start was not durable yet
        if !matches!(job.state.get(), JobState::Running | JobState::Paused) {
            job.note(clock::now(), "the service ended while it was being taken up");
        }
        changes.job(job);
    }
    changes.apply()?;
    Ok(shared.store.sync()?)
}

/// Forgets a job whose file was not renamed before the service ended: it is a candidate again. Before anything is watched: else the file
/// might be claimed once more and this job find neither name. True: it was forgotten.
fn forget_unclaimed(shared: &Shared, job: &mut Job) -> Result<bool, Trouble> {
    let waits = matches!(job.state.get(), JobState::Queued | JobState::Paused);
    let never_began = waits && job.started_at.is_none();
    Ok(never_began && place(job)? == Place::NotClaimed && !is_here(shared, job)?)
}

/// Ends a job whose file is on its way back to its sender. Before anything is watched: it may have both names, and by the old one it would be
/// taken for another. True: it was ended.
fn finish_giving_back(shared: &Shared, job: &mut Job) -> Result<bool, Trouble> {
    if !job.is_given_back() {
        return Ok(false);
    }
    shared.claims.comes_back(job);
    Ok(!is_here(shared, job)?)
}

/// Gives a file back that has another name, if nothing of its job has begun: the last process may have ended before it looked for that. Not
/// one that an operator named: nobody asked how many names it has.
fn give_back_second_names(shared: &Shared, job: &mut Job) -> Result<bool, Trouble> {
    let never_began = job.state == JobState::Queued
        && job.started_at.is_none()
        && job.source.retire
        && job.source.complete_by != Some(CompleteBy::Command);
    let Some(claimed) = job.source.claimed.as_ref().filter(|_| never_began) else { return Ok(false) };
    // One that cannot be looked at is met by its loader.
    let has_others = durable_fs::has_other_names(claimed.as_path()).unwrap_or(false);
    if has_others {
        fail::remove_hidden(shared, job)?; // that it was started may not have become durable
    }
    Ok(has_others && give_back(shared, job, SECOND_NAME)?)
}

/// A job against which deaths of the process are held waits ever longer, and is given up in the end. None: it was given up.
fn pause_for_suspicion(shared: &Shared, job: &Job) -> Result<Option<Duration>, Trouble> {
    let deaths = job.state.deaths().unwrap_or(0);
    if deaths >= in_hand::DEATHS_MAX {
        fail::give_up(shared, job.clone())?;
        return Ok(None);
    }
    let pause = in_hand::pause_after(deaths);
    if !pause.is_zero() {
        tracing::warn!(
            job = %job.id, rule = job.rule, path = %job.source.path, deaths,
            "the service died while it was at this job: taken up again after a pause"
        );
        let mut waiting = job.clone();
        waiting.waiting = Some(Waiting {
            behind: None,
            waits_for: WaitsFor::Retry,
            until: clock::after(pause),
            detail: format!("the service died {deaths} times while it was at this job"),
        });
        shared.save(&waiting)?;
    }
    Ok(Some(pause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, is_there};
    use crate::model::job_state::JobEvent;

    fn recover(world: &World) {
        begin(&world.shared).expect("recovers");
        for job in world.shared.store.unfinished_jobs().expect("reads") {
            go_on(&world.shared, job.id);
        }
    }

    #[test]
    fn a_job_whose_file_was_not_renamed_is_forgotten_and_its_file_a_candidate_again() {
        let world = World::new();
        let job = world.job();
        recover(&world);
        assert!(world.row(&job).is_none() && is_there(&world.source()));
    }

    /// Whether a rule takes it by the other, its watch says.
    #[test]
    fn a_claimed_file_with_another_name_is_given_back_unless_its_job_had_begun() {
        for begun in [false, true] {
            let world = World::new();
            let mut job = world.job();
            world.rename();
            std::fs::hard_link(world.claimed(), world.path("in/second.txt")).expect("links");
            if begun {
                job.take(JobEvent::Started, clock::now(), "").expect("starts");
                world.shared.save(&job).expect("writes");
            }
            recover(&world);
            assert_eq!((is_there(&world.source()), is_there(&world.claimed())), (!begun, begun));
        }
    }

    /// Where a rename is a link and an unlink; numbers may differ between the two names.
    #[cfg(unix)]
    #[test]
    fn a_file_that_was_being_given_back_has_its_old_name_alone_before_anything_is_watched() {
        for names in ["the new one", "both", "both, with two numbers", "the old one"] {
            let world = World::new();
            let mut job = world.job();
            world.rename();
            job.give_back().expect("begins");
            world.shared.save(&job).expect("writes");
            match names {
                "both" => std::fs::hard_link(world.claimed(), world.source()).expect("links"),
                "both, with two numbers" => {
                    std::fs::copy(world.claimed(), world.source()).expect("copies");
                    durable_fs::note_link(&world.claimed(), &world.source()).expect("notes");
                }
                "the old one" => {
                    assert_eq!(
                        durable_fs::rename_replace(&world.claimed(), &world.source()).expect("renames"),
                        durable_fs::Renamed::Done
                    );
                }
                _ => {}
            }
            recover(&world);
            assert!(is_there(&world.source()) && !is_there(&world.claimed()), "{names}");
            let row = world.row(&job);
            assert!(row.is_some_and(|row| row.state.is_final()), "{names}: its history stays");
        }
    }

    #[test]
    fn a_file_whose_old_name_was_taken_while_it_was_given_back_is_kept() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.give_back().expect("begins");
        job.suspect(Some(in_hand::DEATHS_MAX - 1)).expect("is queued"); // it waits, and its row is written again for that
        world.shared.save(&job).expect("writes");
        std::fs::write(world.source(), "another").expect("writes");
        recover(&world);
        let row = world.row(&job).expect("is there");
        assert!(row.waiting.is_some(), "{row:#?}");
        assert!(!row.is_given_back() && row.state == JobState::Queued && is_there(&world.claimed()));
    }

    #[test]
    fn a_job_whose_file_is_claimed_goes_on() {
        let world = World::new();
        let job = world.job();
        world.rename();
        recover(&world);
        assert_eq!(
            world.row(&job).map(|row| (row.state.get(), row.waiting.is_some())),
            Some((JobState::Queued, false))
        );
    }

    #[test]
    fn a_job_in_hand_when_the_process_died_waits_longer_each_time_and_is_given_up_in_the_end() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        world.shared.save(&job).expect("writes");
        for death in 1..=in_hand::DEATHS_MAX {
            let died = in_hand::InHand::default();
            let data_dir = &world.shared.service.data_dir;
            died.begin(data_dir);
            assert!(died.take(job.id, true));
            drop(died);
            recover(&world);
            let row = world.row(&job).expect("is there");
            assert_eq!(row.state.deaths(), Some(death));
            let waits = !in_hand::pause_after(death).is_zero() && death < in_hand::DEATHS_MAX;
            assert_eq!(
                (row.waiting.is_some(), row.is_failing()),
                (waits, death == in_hand::DEATHS_MAX),
                "{row:#?}"
            );
            world.shared.save(&Job { waiting: None, ..row }).expect("writes");
        }
    }

    #[test]
    fn a_job_that_an_operator_has_in_hand_is_left_to_him() {
        let world = World::new();
        let job = world.job(); // not renamed: it would be forgotten
        assert!(world.shared.dispatch.take_up_within(job.id, Duration::ZERO));
        recover(&world);
        assert!(world.row(&job).is_some());
    }

    /// Goal: a file system that hangs does not hold up the start.
    #[test]
    fn what_the_rows_say_is_told_before_any_source_is_looked_at() {
        let world = World::new();
        let (queued, mut paused) = (world.job(), world.second_job("b.txt"));
        paused.pause(clock::now(), "root").expect("is queued");
        world.shared.save(&paused).expect("writes");
        begin(&world.shared).expect("recovers");
        wait_for_mount(&world.shared, paused.id, "in does not answer");
        let waiting = world.row(&paused).expect("nobody looked where its file is").waiting.expect("it waits");
        assert_eq!(waiting.waits_for, WaitsFor::Pause);
        assert!(world.row(&queued).is_some());
        for job in [&queued, &paused] {
            go_on(&world.shared, job.id);
        }
        assert!(world.row(&queued).is_none() && world.row(&paused).is_none(), "neither was renamed");
    }

    #[test]
    fn a_job_whose_file_system_hangs_waits_for_its_mount_and_one_that_needs_no_source_does_not() {
        let world = World::new();
        let job = world.job();
        wait_for_mount(&world.shared, job.id, "in does not answer");
        let waiting = world.row(&job).and_then(|row| row.waiting).expect("it waits");
        assert_eq!((waiting.waits_for, waiting.detail.as_str()), (WaitsFor::Mount, "in does not answer"));
        let mut failing = world.second_job("b.txt");
        failing
            .fail(Trouble::new(crate::model::fault::FaultKind::Bug, "is failed", None).error)
            .expect("fails");
        world.shared.save(&failing).expect("writes");
        wait_for_mount(&world.shared, failing.id, "in does not answer");
        assert_eq!(world.row(&failing).expect("is there").waiting, None);
    }
}
