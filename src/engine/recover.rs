//! Recovery at the start: every unfinished job is found on one side of its last rename and goes on from there.

use std::sync::Arc;

use super::shared::Shared;
use super::trouble::Trouble;
use super::{fail, retry};
use crate::clock;
use crate::durable_fs;
use crate::model::fault::FaultKind;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_state::{JobEvent, JobState};
use crate::model::os_text::OsText;
use crate::store::{LedgerOutcome, LedgerRow};

/// What recovery does with a job, decided from what lies where.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Its source is ours: from its last checkpoint.
    Queue,
    /// Publishing, retiring or quarantining was under way.
    Finish,
    /// A retry had not yet moved the source out of quarantine.
    TakeOut,
    /// The crash came before the rename: the file is still a candidate.
    Unclaim,
    /// A kept file was changed or removed: whatever lies there now is a new candidate.
    Drop,
    /// The source lies neither here nor there.
    Lost,
}

/// Puts every unfinished job where it belongs.
pub(super) fn recover(shared: &Arc<Shared>) -> Result<(), Trouble> {
    let jobs = shared.store.unfinished_jobs()?;
    let count = jobs.len();
    for job in jobs {
        recover_one(shared, job)?;
    }
    shared.store.sync()?;
    if count > 0 {
        tracing::info!(jobs = count, "unfinished jobs found: they go on");
    }
    Ok(())
}

pub(super) fn recover_one(shared: &Arc<Shared>, mut job: Job) -> Result<(), Trouble> {
    match next(&job)? {
        Next::Finish => shared.finishing.push(job.id),
        Next::TakeOut => {
            if let Some(quarantined) = job.source.moved_from.clone() {
                retry::take_out(&job, &quarantined)?;
            }
            shared.queued.push(job.id);
        }
        Next::Unclaim => shared.store.change().unclaim(job.id).apply()?,
        Next::Queue => {
            if job.state.next(JobEvent::Recovered).is_ok() && job.state != JobState::Queued {
                job.take(JobEvent::Recovered, clock::now(), "the service started again")?;
                shared.save(&job)?;
            }
            if job.state == JobState::Queued {
                shared.queued.push(job.id);
            }
        }
        Next::Drop => {
            job.take(JobEvent::GivenBack, clock::now(), "the file was changed or removed")?;
            let row = LedgerRow::of(&job, LedgerOutcome::GivenBack);
            shared.store.change().job(&job).ledger(&row, false).forget_work(job.id).apply()?;
        }
        Next::Lost => {
            let message = format!(
                "the claimed source is gone: it lies neither at {} nor at {}",
                job.source_path(),
                job.source.path
            );
            let hint = "find who removed it; whatever the sender still has can be sent again";
            tracing::error!(job = %job.id, message);
            job.retired_to = None;
            job.error = Some(Trouble::new(FaultKind::Storage, message, Some(hint)).error);
            fail::finish_failing(shared, job)?;
        }
    }
    Ok(())
}

fn next(job: &Job) -> Result<Next, Trouble> {
    if matches!(job.state, JobState::Publishing | JobState::Retiring) || job.is_failing() {
        return Ok(Next::Finish);
    }
    let here = identity_at(job.source_path())?;
    let Some(claimed) = &job.source.claimed else {
        let same = here.is_some_and(|identity| identity == job.source.identity);
        return Ok(if same { Next::Queue } else { Next::Drop });
    };
    debug_assert_eq!(claimed, job.source_path());
    if here.is_some() {
        return Ok(Next::Queue);
    }
    if let Some(quarantined) = &job.source.moved_from {
        // A retry was cut short between its row and its rename.
        return Ok(if identity_at(quarantined)?.is_some() { Next::TakeOut } else { Next::Lost });
    }
    let there = identity_at(&job.source.path)?;
    if job.started_at.is_none() && there.is_some() {
        return Ok(Next::Unclaim);
    }
    Ok(if there.is_some_and(|identity| identity.same_content(&job.source.identity)) {
        Next::Unclaim
    } else {
        Next::Lost
    })
}

fn identity_at(path: &OsText) -> Result<Option<FileIdentity>, Trouble> {
    durable_fs::identity_at(path.as_path())
        .map_err(|error| Trouble::new(FaultKind::Storage, format!("cannot look at {path}: {error}"), None))
}
