//! Recovery at the start: every unfinished job is found on one side of its last rename and goes on from there.

use std::collections::HashSet;
use std::time::Duration;

use super::shared::Shared;
use super::trouble::Trouble;
use super::{claim, delivery, fail, in_hand, retire, retry};
use crate::clock;
use crate::durable_fs;
use crate::model::fault::{FaultKind, WaitsFor};
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Waiting};
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;

/// Names in an archive under which a lost source is looked for.
const ARCHIVE_NAMES_MAX: usize = 100;

/// What a job's next step is, decided from what lies where.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its source is where the row says.
    Here,
    /// It still has its old name as well.
    UnderBothNames,
    /// A retry had not yet moved the source out of quarantine.
    InQuarantine(OsText),
    /// The crash came before the rename: the file is still a candidate.
    NotClaimed,
    /// A kept file was changed or removed, or one that was given back: whatever lies there now is a new candidate.
    Changed,
    /// The folder is not there: its file system may not be mounted yet.
    OutOfReach(OsText),
    /// The source lies neither here nor there.
    Lost,
}

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
    match job.state {
        JobState::Publishing | JobState::Retiring => shared.finishing.push(job.id),
        _ if job.is_failing() => shared.finishing.push(job.id),
        JobState::Queued | JobState::Running | JobState::Held => {
            match forget_unclaimed(shared, job) {
                Ok(false) => {}
                Ok(true) => return,
                Err(trouble) => return shared.job_hindered(job.id, trouble),
            }
            claim::doubt_claim(shared, job);
            match pause_for_suspicion(shared, job) {
                Ok(Some(pause)) => shared.queued.push_after_for(&job.rule, pause, job.id),
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
            until: jiff::SignedDuration::try_from(pause)
                .ok()
                .and_then(|pause| clock::now().checked_add(pause).ok()),
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
            claim::doubt_claim(shared, job);
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
            claim::return_companions(job)?;
            shared.store.change().unclaim(job.id).apply()?;
            shared.delivery_decided(job.id);
        }
        Place::Changed => {
            fail::remove_hidden(shared, job)?;
            claim::end_given_back(shared, job, "the file was changed or removed")?;
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
    for path in retire::archive_names(&rule, job)?.take(ARCHIVE_NAMES_MAX) {
        // A copy from another file system keeps size and time alone.
        let is_ours = claim::look_at(&path)?.is_some_and(|found| {
            (found.size, found.mtime_ns) == (job.source.identity.size, job.source.identity.mtime_ns)
        });
        if is_ours {
            return Ok(Some(path.into()));
        }
    }
    Ok(None)
}

pub(super) fn place(job: &Job) -> Result<Place, Trouble> {
    let here = identity_at(job.source_path())?;
    if job.source.claimed.is_none() {
        return match here {
            Some(identity) if identity == job.source.identity => Ok(Place::Here),
            None if !folder_is_there(&job.source.path)? => Ok(Place::OutOfReach(folder_of(&job.source.path))),
            _ => Ok(Place::Changed),
        };
    }
    if let Some(here) = here {
        // Where renames are a link and an unlink, a crash between them leaves both names.
        let there = identity_at(&job.source.path)?;
        let is_same = there.is_some_and(|there| there.same_file(&here));
        return Ok(if is_same { Place::UnderBothNames } else { Place::Here });
    }
    if let Some(quarantined) = &job.source.moved_from {
        // A retry was cut short between its row and its rename.
        return match identity_at(quarantined)? {
            Some(_) => Ok(Place::InQuarantine(quarantined.clone())),
            None if !folder_is_there(quarantined)? => Ok(Place::OutOfReach(folder_of(quarantined))),
            None => Ok(Place::Lost),
        };
    }
    let there = identity_at(&job.source.path)?;
    if there.is_some_and(|there| there.same_file(&job.source.identity)) {
        return Ok(Place::NotClaimed);
    }
    if !claim_folder_is_there(job)? {
        return Ok(Place::OutOfReach(folder_of(job.source_path())));
    }
    if job.giving_back {
        return Ok(Place::Changed);
    }
    // The rename comes before anything is started; what lies there now is a candidate again, whatever it is.
    if job.started_at.is_none() && there.is_some() {
        return Ok(Place::NotClaimed);
    }
    Ok(Place::Lost)
}

/// Whether the folder that the source was claimed into is there: where its file system is not mounted there is none, or one that was made
/// in its place since. Only then a source that is not there is gone.
pub(super) fn claim_folder_is_there(job: &Job) -> Result<bool, Trouble> {
    let folder = durable_fs::parent_of(job.source_path().as_path());
    Ok(claim::identity_of(folder)?.is_some_and(|found| {
        // Windows mounts volumes under letters and folders that are then not there, or empty of claim folders; not all of its file
        // systems number folders for good.
        cfg!(windows) || job.source.claim_folder.is_none_or(|claimed_into| claimed_into.is_same(&found))
    }))
}

fn folder_of(path: &OsText) -> OsText {
    OsText::from(durable_fs::parent_of(path.as_path()))
}

fn folder_is_there(path: &OsText) -> Result<bool, Trouble> {
    let folder = durable_fs::parent_of(path.as_path());
    let found = durable_fs::folder_identity(folder);
    Ok(found.map_err(|error| Trouble::unseen(folder, error))?.is_some())
}

fn identity_at(path: &OsText) -> Result<Option<FileIdentity>, Trouble> {
    durable_fs::identity_at(path.as_path()).map_err(|error| Trouble::unseen(path.as_path(), error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::model::job::Source;
    use crate::model::job_id::JobId;
    use crate::model::job_state::JobEvent;

    /// A job whose source was at `inbox` and is claimed at `claimed`; the caller makes the files.
    fn job(folder: &Path, identity_of: &Path) -> Job {
        let identity =
            durable_fs::identity_at(identity_of).expect("a file to look at").expect("a regular file");
        let source = Source {
            claimed: Some(folder.join("claimed").into()),
            ..Source::found(folder.join("inbox"), identity)
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
        assert_eq!(place(&waiting).expect("decided"), Place::NotClaimed);
        durable_fs::rename_no_replace(&file, &folder.path().join("claimed")).expect("renamed");
        assert_eq!(place(&waiting).expect("decided"), Place::Here);
    }

    #[test]
    fn a_source_that_lies_nowhere_is_told_and_not_forgotten() {
        let (folder, file) = folder_with("inbox");
        let mut lost = job(folder.path(), &file);
        lost.take(JobEvent::Started, clock::now(), "").expect("starts");
        durable_fs::remove_file(&file).expect("removed");
        assert_eq!(place(&lost).expect("decided"), Place::Lost);
    }

    #[test]
    fn another_file_under_the_old_name_is_not_taken_for_the_claimed_one() {
        let (folder, file) = folder_with("inbox");
        let mut lost = job(folder.path(), &file);
        lost.take(JobEvent::Started, clock::now(), "").expect("starts");
        fs::write(folder.path().join("new"), "something else\n").expect("a newer file");
        durable_fs::rename_replace(&folder.path().join("new"), &file).expect("the newer file takes the name");
        assert_eq!(place(&lost).expect("decided"), Place::Lost);
    }

    #[test]
    fn a_source_that_was_given_back_and_then_replaced_by_its_sender_is_not_lost() {
        let (folder, file) = folder_with("inbox");
        let mut returned = job(folder.path(), &file);
        returned.take(JobEvent::Started, clock::now(), "").expect("starts");
        returned.giving_back = true;
        assert_eq!(place(&returned).expect("decided"), Place::NotClaimed);
        fs::write(folder.path().join("new"), "something else\n").expect("a newer file");
        durable_fs::rename_replace(&folder.path().join("new"), &file).expect("the newer file takes the name");
        assert_eq!(place(&returned).expect("decided"), Place::Changed);
        fs::write(folder.path().join("claimed"), "1\n").expect("a file");
        assert_eq!(place(&returned).expect("decided"), Place::Here, "the crash came before the rename");
    }

    #[test]
    fn a_retry_that_was_cut_short_finds_its_source_in_quarantine() {
        let (folder, file) = folder_with("quarantined");
        let mut retried = job(folder.path(), &file);
        retried.source.moved_from = Some(file.clone().into());
        assert_eq!(place(&retried).expect("decided"), Place::InQuarantine(file.into()));
    }

    #[test]
    fn a_folder_that_is_not_mounted_yet_holds_its_jobs_and_fails_none() {
        let (folder, file) = folder_with("inbox");
        let mut waiting = job(folder.path(), &file);
        waiting.take(JobEvent::Started, clock::now(), "").expect("starts");
        waiting.source.path = folder.path().join("away").join("inbox").into();
        waiting.source.claimed = Some(folder.path().join("away").join(".landfall").join("claimed").into());
        let away = folder.path().join("away").join(".landfall").into();
        assert_eq!(place(&waiting).expect("decided"), Place::OutOfReach(away));
    }

    #[cfg(unix)]
    #[test]
    fn another_folder_in_the_place_of_the_claim_folder_holds_its_jobs_and_fails_none() {
        let (folder, file) = folder_with("inbox");
        let mut waiting = job(folder.path(), &file);
        waiting.take(JobEvent::Started, clock::now(), "").expect("starts");
        waiting.source.claim_folder = claim::identity_of(folder.path()).expect("can be looked at");
        durable_fs::remove_file(&file).expect("removed");
        assert_eq!(place(&waiting).expect("decided"), Place::Lost);
        // The folder itself is still there, so that the one in its place cannot get its number.
        let there = folder.path().join("there");
        fs::create_dir(&there).expect("a folder");
        waiting.source.claimed = Some(there.join("claimed").into());
        assert_eq!(place(&waiting).expect("decided"), Place::OutOfReach(there.into()));
    }

    #[test]
    fn a_kept_file_that_changed_is_a_new_source() {
        let (folder, file) = folder_with("inbox");
        let mut kept = job(folder.path(), &file);
        kept.source.claimed = None;
        assert_eq!(place(&kept).expect("decided"), Place::Here);
        fs::write(&file, "1\n2\n").expect("grows");
        assert_eq!(place(&kept).expect("decided"), Place::Changed);
    }
}
