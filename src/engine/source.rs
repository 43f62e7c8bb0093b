//! A source: where it lies, and whether it is still what was claimed. Looks only, changes nothing.

use std::fs::File;
use std::io;
use std::path::Path;

use super::trouble::{Reaction, Trouble};
use crate::decode::DecodeError;
use crate::durable_fs::{self, Presence};
use crate::model::fault::FaultKind;
use crate::model::identity::{FileIdentity, FolderIdentity};
use crate::model::job::Job;
use crate::model::os_text::OsText;

/// How often a file is read whose rights or names are set while it is.
const LOOKS_MAX: usize = 10;

/// What a job's next step is, decided from what lies where.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its source is where the row says.
    Here,
    /// A retry had not yet moved the source out of quarantine.
    InQuarantine(OsText),
    /// The crash came before the rename: the file is still a candidate.
    NotClaimed,
    /// The crash came behind the rename that gave it back: the file is a candidate again.
    GivenBack,
    /// A kept file was changed or removed, or one that was given back: whatever lies there now is a new candidate.
    Changed,
    /// The folder is not there: its file system may not be mounted yet.
    OutOfReach(OsText),
    /// The source lies neither here nor there.
    Lost,
}

/// Where a job's source lies now.
pub(super) fn place(job: &Job) -> Result<Place, Trouble> {
    if job.retries.is_some() {
        return Ok(Place::Here); // in the store
    }
    let away = |path: &OsText| Ok(Place::OutOfReach(folder_of(path)));
    let here = ask_folder(job.source_path())?;
    if job.source.claimed.is_none() {
        return match here {
            Presence::Here(found) if is_source(job, &found) => Ok(Place::Here),
            Presence::Gone(_) if is_gone(job, here) => Ok(Place::Changed),
            Presence::FolderAway | Presence::Gone(_) => away(job.source_path()),
            Presence::Here(_) => Ok(Place::Changed),
        };
    }
    if let Presence::Here(_) = here {
        return Ok(Place::Here);
    }
    if let Some(quarantined) = job.retrieved_from() {
        // A retry was cut short between its row and its rename.
        return match ask_folder(quarantined)? {
            Presence::Here(_) => Ok(Place::InQuarantine(quarantined.clone())),
            Presence::FolderAway => away(quarantined),
            Presence::Gone(_) => Ok(Place::Lost),
        };
    }
    let there = ask_folder(&job.source.path)?;
    let path = job.source.path.as_path();
    if there.file().is_some_and(|there| durable_fs::is_same_file(path, &there, &job.source.identity)) {
        return Ok(if job.is_given_back() { Place::GivenBack } else { Place::NotClaimed });
    }
    if !is_gone(job, here) {
        return away(job.source_path());
    }
    let may_lie_there = job.is_given_back() || job.started_at.is_none();
    if may_lie_there && there == Presence::FolderAway {
        return away(&job.source.path);
    }
    if job.is_given_back() {
        return Ok(Place::Changed);
    }
    // The rename comes before anything is started; what lies there now is a candidate again, whatever it is.
    if job.started_at.is_none() && there.file().is_some() {
        return Ok(Place::NotClaimed);
    }
    Ok(Place::Lost)
}

/// Whether the folder that the source was claimed into is there.
pub(super) fn claim_folder_is_there(job: &Job) -> Result<bool, Trouble> {
    let folder = durable_fs::parent_of(job.source_path().as_path());
    Ok(identity_of(folder)?.is_some_and(|found| is_claimed_into(job, folder, &found)))
}

/// Whether the source's folder says that it is gone. Where its file system is not mounted there is none, or one that was made in its place since.
pub(super) fn is_gone(job: &Job, seen: Presence) -> bool {
    let path = durable_fs::parent_of(job.source_path().as_path());
    matches!(seen, Presence::Gone(folder) if is_claimed_into(job, path, &folder))
}

/// Whether a folder is the one that the source was claimed into.
pub(super) fn is_claimed_into(job: &Job, path: &Path, folder: &FolderIdentity) -> bool {
    // Windows mounts volumes under letters and folders that are then not there, or empty of claim folders; not all of its file
    // systems number folders for good.
    let is_same = |claimed_into| durable_fs::is_same_folder(path, folder, claimed_into);
    cfg!(windows) || job.source.claim_folder.as_ref().is_none_or(is_same)
}

pub(super) fn folder_of(path: &OsText) -> OsText {
    OsText::from(durable_fs::parent_of(path.as_path()))
}

/// Whether a file lies at a path, or is gone, or its folder is away.
pub(super) fn ask_folder(path: &OsText) -> Result<Presence, Trouble> {
    durable_fs::presence(path.as_path()).map_err(|error| Trouble::unseen(path.as_path(), error))
}

/// What lies at a path; that it cannot be looked at does not mean that nothing does.
pub(super) fn look_at(path: &Path) -> Result<Option<FileIdentity>, Trouble> {
    durable_fs::identity_at(path).map_err(|error| Trouble::unseen(path, error))
}

/// Which folder a claim folder is; none where nothing lies.
pub(super) fn identity_of(folder: &Path) -> Result<Option<FolderIdentity>, Trouble> {
    durable_fs::folder_identity(folder).map_err(|error| Trouble::unseen(folder, error))
}

/// Opens the source and sees that it is still the file that was claimed.
pub(super) fn open_source(job: &Job) -> Result<File, Trouble> {
    let path = job.source_path().as_path();
    let read_error = |source| DecodeError::Read { path: path.to_owned(), source };
    let file = match durable_fs::open_source(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && job.source.claimed.is_none() => {
            return Err(missing_source(job)?);
        }
        opened => opened.map_err(read_error)?,
    };
    let identity = durable_fs::identity(&file).map_err(read_error)?;
    if durable_fs::is_same_content(path, &identity, &job.source.identity) {
        Ok(file)
    } else {
        Err(changed_source(job))
    }
}

/// Whether this is the file that was claimed: a rename changes its ctime.
pub(super) fn is_source(job: &Job, found: &FileIdentity) -> bool {
    let (path, known) = (job.source_path().as_path(), &job.source.identity);
    match job.source.claimed {
        Some(_) => durable_fs::is_same_content(path, found, known),
        None => durable_fs::is_unchanged(path, found, known) || is_kept_source(job, *found),
    }
}

/// Whether nobody could read a source that stays where it lies when its job was made: there is nothing that it could be compared with, and
/// nothing of it was worked.
fn is_unread(job: &Job) -> bool {
    job.source.claimed.is_none() && job.source.kept_as.is_none() && job.slices.done == 0
}

/// What such a source is now that somebody has made it readable counts from here on.
pub(super) fn note_what_it_is(job: &mut Job) {
    let path = job.source_path().as_path();
    if is_unread(job)
        && let Ok(Some(found)) = durable_fs::identity_at(path)
        && found.inode == job.source.identity.inode
        && let Some(kept_as) = durable_fs::kept_as(path, &found)
    {
        job.source.identity = found;
        job.source.kept_as = Some(kept_as);
    }
}

/// Whether this is the file that the job found there, given a name or other rights since: as the watch knows it again, but by all its bytes.
/// A large one is given back, and taken anew.
fn is_kept_source(job: &Job, mut found: FileIdentity) -> bool {
    let (path, known) = (job.source_path().as_path(), &job.source.identity);
    let Some(before) = job.source.kept_as.as_ref().filter(|before| before.is_of_all_bytes()) else {
        return is_unread(job) && durable_fs::is_same_content(path, &found, known);
    };
    for _ in 0..LOOKS_MAX {
        if !durable_fs::is_same_content(path, &found, known) {
            return false;
        }
        if let Some(now) = durable_fs::kept_as(path, &found) {
            return before.explains(&now);
        }
        // Again something about it was set while it was read.
        let Ok(Some(again)) = durable_fs::identity_at(path) else { return false };
        found = again;
    }
    false
}

/// The source was not at its name: somebody removed it, or its folder is away with it, or was.
pub(super) fn missing_source(job: &Job) -> Result<Trouble, Trouble> {
    let is_gone = is_gone(job, ask_folder(job.source_path())?);
    if is_gone && job.source.claimed.is_none() {
        let message = format!("{} was gone before it was read to its end", job.source_path());
        let hint = "somebody took it away meanwhile: have it sent again, unless that was meant";
        return Ok(Trouble::new(FaultKind::Input, message, Some(hint)).with(Reaction::Gone));
    }
    Ok(if is_gone { changed_source(job) } else { out_of_reach(&folder_of(job.source_path())) })
}

/// The folder of a source is not there.
pub(super) fn out_of_reach(folder: &OsText) -> Trouble {
    let message = format!("the folder {folder} of the claimed source is not there, or is another one now");
    let hint = "mount its file system: the job goes on by itself; if the folder was removed, so was the source, which has to be sent again";
    Trouble::not_mounted(message, hint)
}

/// The source is not what was claimed.
pub(super) fn changed_source(job: &Job) -> Trouble {
    let message = format!("{} changed while it was being processed", job.source_path());
    let hint = "let senders write under another name and rename, or use a marker";
    Trouble::new(FaultKind::Input, message, Some(hint)).with(Reaction::GiveBack)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock;
    use crate::model::job::Source;
    use crate::model::job_id::JobId;
    use crate::model::job_state::JobEvent;

    /// A job whose source was at `inbox` and is claimed at `claimed`; the caller makes the files.
    fn job(folder: &Path, file: &Path) -> Job {
        let identity = durable_fs::identity_at(file).expect("a file to look at").expect("a regular file");
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

    /// A landing folder that is the root of a mount, which is away at the start: an empty folder lies in its place.
    #[cfg(unix)]
    #[test]
    fn a_file_that_is_read_where_it_lies_is_out_of_reach_where_another_folder_lies_in_the_place_of_its_own() {
        let base = tempfile::tempdir().expect("a folder");
        let (mount, aside) = (base.path().join("mnt"), base.path().join("aside"));
        fs::create_dir(&mount).expect("makes");
        let file = mount.join("inbox");
        fs::write(&file, "1\n").expect("writes");
        let mut kept = job(&mount, &file);
        kept.source.claimed = None;
        kept.source.claim_folder = durable_fs::folder_identity(&mount).expect("looks");
        assert_eq!(place(&kept).expect("decided"), Place::Here);
        durable_fs::rename_no_replace(&mount, &aside).expect("is unmounted");
        fs::create_dir(&mount).expect("makes");
        assert_eq!(place(&kept).expect("decided"), Place::OutOfReach(mount.as_path().into()));
        let trouble = open_source(&kept).expect_err("it is away");
        assert_eq!(trouble.error.kind, FaultKind::Storage, "{}", trouble.error);
        fs::remove_dir(&mount).expect("removes");
        durable_fs::rename_no_replace(&aside, &mount).expect("is mounted again");
        assert_eq!(place(&kept).expect("decided"), Place::Here);
        durable_fs::remove_file(&file).expect("removes");
        assert_eq!(place(&kept).expect("decided"), Place::Changed, "its own folder says that it is gone");
    }

    #[test]
    fn a_crash_behind_the_rename_that_gave_it_back_is_no_crash_before_the_claim() {
        let (folder, file) = folder_with("inbox");
        let mut returned = job(folder.path(), &file);
        returned.take(JobEvent::Started, clock::now(), "").expect("starts");
        returned.give_back().expect("begins");
        assert_eq!(place(&returned).expect("decided"), Place::GivenBack);
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
        returned.give_back().expect("is on its way");
        assert_eq!(place(&returned).expect("decided"), Place::GivenBack);
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
        retried.retrieve(file.clone().into()).expect("is queued");
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
        waiting.source.claim_folder = identity_of(folder.path()).expect("can be looked at");
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
