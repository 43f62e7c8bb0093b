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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::model::fault::JobError;
    use crate::model::job::Source;
    use crate::model::job_id::JobId;

    /// A job whose source was at `inbox` and is claimed at `claimed`; the caller makes the files.
    fn job(folder: &Path, identity_of: &Path) -> Job {
        let identity =
            durable_fs::identity_at(identity_of).expect("a file to look at").expect("a regular file");
        let source = Source {
            path: folder.join("inbox").into(),
            claimed: Some(folder.join("claimed").into()),
            identity,
            moved_from: None,
            companions: Vec::new(),
            may_be_early: false,
            retire: true,
        };
        Job::queued(JobId::from_parts(1, 1), "rule", "hash", source, clock::now())
    }

    fn folder_with(name: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(name);
        fs::write(&file, "1\n").expect("a file");
        (folder, file)
    }

    #[test]
    fn a_crash_before_the_rename_leaves_a_candidate_and_after_it_a_job() {
        let (folder, file) = folder_with("inbox");
        let waiting = job(folder.path(), &file);
        assert_eq!(next(&waiting).expect("decided"), Next::Unclaim);
        durable_fs::rename_no_replace(&file, &folder.path().join("claimed")).expect("renamed");
        assert_eq!(next(&waiting).expect("decided"), Next::Queue);
    }

    #[test]
    fn a_source_that_lies_nowhere_is_told_and_not_forgotten() {
        let (folder, file) = folder_with("inbox");
        let mut lost = job(folder.path(), &file);
        lost.take(JobEvent::Started, clock::now(), "").expect("starts");
        durable_fs::remove_file(&file).expect("removed");
        assert_eq!(next(&lost).expect("decided"), Next::Lost);
    }

    #[test]
    fn another_file_under_the_old_name_is_not_taken_for_the_claimed_one() {
        let (folder, file) = folder_with("inbox");
        let mut lost = job(folder.path(), &file);
        lost.take(JobEvent::Started, clock::now(), "").expect("starts");
        fs::write(folder.path().join("new"), "something else\n").expect("a newer file");
        durable_fs::rename_replace(&folder.path().join("new"), &file).expect("the newer file takes the name");
        assert_eq!(next(&lost).expect("decided"), Next::Lost);
    }

    #[test]
    fn a_retry_that_was_cut_short_finds_its_source_in_quarantine() {
        let (folder, file) = folder_with("quarantined");
        let mut retried = job(folder.path(), &file);
        retried.source.moved_from = Some(file.clone().into());
        assert_eq!(next(&retried).expect("decided"), Next::TakeOut);
    }

    #[test]
    fn a_job_on_its_way_to_quarantine_goes_on_there() {
        let (folder, file) = folder_with("claimed");
        let mut failing = job(folder.path(), &file);
        failing.take(JobEvent::Started, clock::now(), "").expect("starts");
        failing.error = Some(JobError { kind: FaultKind::Input, message: "corrupt".into(), hint: None });
        assert_eq!(next(&failing).expect("decided"), Next::Finish);
    }

    #[test]
    fn a_kept_file_that_changed_is_a_new_source() {
        let (folder, file) = folder_with("inbox");
        let mut kept = job(folder.path(), &file);
        kept.source.claimed = None;
        assert_eq!(next(&kept).expect("decided"), Next::Queue);
        fs::write(&file, "1\n2\n").expect("grows");
        assert_eq!(next(&kept).expect("decided"), Next::Drop);
    }
}
