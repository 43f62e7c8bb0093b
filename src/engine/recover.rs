//! Recovery at the start: every unfinished job is found on one side of its last rename and goes on from there.

use std::collections::HashSet;
use std::time::Duration;

use super::companions::return_companions;
use super::give_back::end_given_back;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::source::{Place, look_at, place};
use super::trouble::Trouble;
use super::{archive, delivery, fail, in_hand, retry};
use crate::clock;
use crate::durable_fs;
use crate::model::fault::{FaultKind, WaitsFor};
use crate::model::job::{Job, Waiting};
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;

/// Names in an archive under which a lost source is looked for.
const ARCHIVE_NAMES_MAX: usize = 100;

/// Gives every unfinished job to the stage that goes on with it.
pub(super) fn recover(shared: &Shared) -> Result<(), Trouble> {
    let mut jobs = shared.store.unfinished_jobs()?;
    judge(shared, &mut jobs)?;
    let unfinished: HashSet<_> = jobs.iter().map(|job| job.id).collect();
    delivery::enter_recovered(shared, &jobs)?;
    shared.reach.begin(&shared.settings.service.data_dir, |id| unfinished.contains(&id));
    for job in &jobs {
        requeue(shared, job);
    }
    if !jobs.is_empty() {
        tracing::info!(jobs = jobs.len(), "unfinished jobs found: they go on");
    }
    Ok(())
}

/// Gives one unfinished job to the stage that goes on with it.
pub(super) fn requeue(shared: &Shared, job: &Job) {
    let owner = Owner::of(job);
    match job.state {
        JobState::Publishing | JobState::Retiring => shared.dispatch.queue(Stage::Finish, &owner, job.id),
        _ if job.is_failing() => shared.dispatch.queue(Stage::Finish, &owner, job.id),
        JobState::Queued | JobState::Running | JobState::Held => {
            match forget_unclaimed(shared, job) {
                Ok(false) => {}
                Ok(true) => return,
                Err(trouble) => return shared.job_hindered(job.id, trouble),
            }
            shared.unsynced_claims.doubt(job);
            match pause_for_suspicion(shared, job) {
                Ok(Some(pause)) => shared.dispatch.queue_after(Stage::Load, &owner, pause, job.id),
                Ok(None) => {}
                Err(trouble) => shared.job_hindered(job.id, trouble),
            }
        }
        JobState::Paused | JobState::Completed | JobState::Failed | JobState::Aborted | JobState::Refused => {
        }
    }
}

/// Holds the last process's death against the jobs that were in hand.
fn judge(shared: &Shared, jobs: &mut [Job]) -> Result<(), Trouble> {
    let in_hand = shared.in_hand.begin(&shared.settings.service.data_dir);
    let runs = |job: &Job| matches!(job.state, JobState::Queued | JobState::Running | JobState::Held);
    let mut suspects: Vec<&mut Job> =
        jobs.iter_mut().filter(|job| runs(job) && !job.is_failing() && in_hand.contains(&job.id)).collect();
    let before: Vec<_> = suspects.iter().map(|job| job.deaths).collect();
    let mut changes = shared.store.change();
    for (job, deaths) in suspects.iter_mut().zip(in_hand::judged(&before)) {
        job.deaths = Some(deaths);
        job.attempts += u32::from(job.state == JobState::Queued); // its start was not durable yet
        if job.state != JobState::Running {
            job.note(clock::now(), "the service ended while it was being taken up");
        }
        changes.job(job);
    }
    changes.apply()?;
    Ok(shared.store.sync()?)
}

/// Forgets a job whose file was not renamed before the service ended: it is a candidate again. Before anything is watched: else the file
/// might be claimed once more and this job find neither name. True: it was forgotten.
fn forget_unclaimed(shared: &Shared, job: &Job) -> Result<bool, Trouble> {
    let never_began = job.state == JobState::Queued && job.started_at.is_none();
    Ok(never_began && place(job)? == Place::NotClaimed && !is_here(shared, &mut job.clone())?)
}

/// A job against which deaths of the process are held waits ever longer, and is given up in the end. None: it was given up.
fn pause_for_suspicion(shared: &Shared, job: &Job) -> Result<Option<Duration>, Trouble> {
    let deaths = job.deaths.unwrap_or(0);
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
            waits_for: WaitsFor::Retry,
            until: clock::after(pause),
            detail: format!("the service died {deaths} times while it was at this job"),
        });
        shared.save(&waiting)?;
    }
    Ok(Some(pause))
}

/// Brings a job's source to where its row says it is. False: there is nothing to load, the job is ended or gone.
pub(super) fn is_here(shared: &Shared, job: &mut Job) -> Result<bool, Trouble> {
    match place(job)? {
        Place::Here => {
            // A retry was cut short behind its rename. Over file systems that is the rename of a copy, which is durable before the
            // quarantined file goes: the same move again unlinks it, and leaves another source that came to its name since.
            if let Some(quarantined) = job.source.moved_from.clone() {
                durable_fs::move_file(quarantined.as_path(), job.source_path().as_path())?;
                retry::taken_out(shared, job, &quarantined)?;
            }
            return Ok(true);
        }
        Place::UnderBothNames => {
            durable_fs::rename_no_replace(job.source.path.as_path(), job.source_path().as_path())?;
            shared.unsynced_claims.doubt(job);
            return Ok(true);
        }
        Place::InQuarantine(quarantined) => {
            retry::take_out(shared, job, &quarantined)?;
            return Ok(true);
        }
        Place::OutOfReach(folder) => {
            let message = format!("the folder {folder} of the claimed source is not there");
            let hint = "mount its file system; the job goes on by itself";
            return Err(Trouble::new(FaultKind::Storage, message, Some(hint)));
        }
        Place::NotClaimed => {
            tracing::info!(job = %job.id, path = %job.source.path, "not claimed before the last stop: a candidate again");
            return_companions(job)?;
            shared.store.change().unclaim(job.id).apply()?;
            shared.delivery_decided(job.id);
        }
        Place::Changed => {
            fail::remove_hidden(shared, job)?;
            end_given_back(shared, job, "the file was changed or removed")?;
        }
        Place::Lost => {
            let (message, hint) = match archived_as(shared, job)? {
                Some(archived) => (
                    format!(
                        "its source lies in the archive as {archived}: this row is older than that, like one of a restored backup"
                    ),
                    "nothing is lost: the job was published before its source was archived",
                ),
                None => (
                    format!(
                        "the claimed source is gone: it lies neither at {} nor at {}",
                        job.source_path(),
                        job.source.path
                    ),
                    // The service may have ended between the row and the rename: which it was cannot be told any more.
                    if job.started_at.is_none() {
                        "its claim was under way when the service ended: the sender may have renamed or removed it just before; else find who removed it"
                    } else {
                        "find who removed it; whatever the sender still has can be sent again"
                    },
                ),
            };
            job.retired_to = None;
            job.error = Some(Trouble::new(FaultKind::Storage, message, Some(hint)).error);
            fail::remove_hidden(shared, job)?;
            fail::finish_failing(shared, job.clone())?;
        }
    }
    Ok(false)
}

/// Where the archive has the source of a job whose row does not know of it. An archive that cannot be looked at may have it: the job waits,
/// since one that failed as lost would have its records sent again.
fn archived_as(shared: &Shared, job: &Job) -> Result<Option<OsText>, Trouble> {
    let rule = shared.rules.snapshot(&shared.store, job)?;
    if rule.rule.source.archive_dir.is_none() {
        return Ok(None);
    }
    for path in archive::names(&rule, job)?.take(ARCHIVE_NAMES_MAX) {
        // A copy from another file system keeps size and time alone.
        let is_ours = look_at(&path)?.is_some_and(|found| {
            (found.size, found.mtime_ns) == (job.source.identity.size, job.source.identity.mtime_ns)
        });
        if is_ours {
            return Ok(Some(path.into()));
        }
    }
    Ok(None)
}
