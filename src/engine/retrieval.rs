//! Retrieval of a job's source: it is brought to where its row says it is, before it is read.
//!
//! A crash, or an operator's retry, leaves it on either side of a rename. Where there is nothing to read, the job is ended here.

use super::claim_names::reason_of;
use super::give_back::{end_given_back, give_back};
use super::shared::Shared;
use super::source::{
    Place, ask_folder, folder_of, identity_of, look_at, note_what_it_is, out_of_reach, place,
};
use super::trouble::Trouble;
use super::{archive, fail};
use crate::durable_fs::{self, OpenTo, Renamed};
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::os_text::OsText;

/// Names in an archive under which a lost source is looked for.
const ARCHIVE_NAMES_MAX: usize = 100;

/// Why a file is given back that was being given back when that failed, or when the service ended.
const CUT_SHORT: &str = "giving it back was cut short before";

/// Brings a job's source to where its row says it is. False: there is nothing to load, the job is ended or gone.
pub(super) fn is_here(shared: &Shared, job: &mut Job) -> Result<bool, Trouble> {
    if shared.claims.held.has(&job.source.identity) {
        return Ok(true);
    }
    match place(job)? {
        // Cut short in the rename, or before it. Where that is a link and an unlink it may lie under both names: its old one is the sender's.
        Place::Here if job.is_given_back() && job.source.claimed.is_some() => {
            return Ok(!give_back(shared, job, CUT_SHORT)?);
        }
        Place::Here => {
            // A retry was cut short behind its rename. Over file systems that is the rename of a copy, which is durable before the
            // quarantined file goes: the same move again unlinks it, and leaves another source that came to its name since.
            if let Some(quarantined) = job.retrieved_from().cloned() {
                durable_fs::move_file(quarantined.as_path(), job.source_path().as_path())?;
                taken_out(shared, job, &quarantined)?;
            }
            note_what_it_is(job);
            return Ok(true);
        }
        Place::InQuarantine(quarantined) => {
            take_out(shared, job, &quarantined)?;
            return Ok(true);
        }
        Place::OutOfReach(folder) => {
            return Err(out_of_reach(&folder));
        }
        Place::NotClaimed => {
            fail::drop_unclaimed(shared, job)?;
        }
        Place::GivenBack => {
            fail::remove_hidden(shared, job)?;
            end_given_back(shared, job, CUT_SHORT)?;
        }
        Place::Changed if shared.claims.held.has(&job.source.identity) => return Ok(true), // it was taken away meanwhile
        Place::Changed => {
            fail::remove_hidden(shared, job)?;
            let at = if job.is_given_back() { &job.source.path } else { job.source_path() };
            job.is_gone = look_at(at.as_path())?.is_none();
            let why =
                if job.is_gone { "the file was gone before it was read" } else { "the file was changed" };
            end_given_back(shared, job, why)?;
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
            job.fail(Trouble::new(FaultKind::Storage, message, Some(hint)).error)?;
            job.retire_to(None);
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

/// Moves the source from quarantine to its claimed name; the reason file goes. What it is now is what will be ingested: an operator
/// may have mended it.
fn take_out(shared: &Shared, job: &mut Job, quarantined: &OsText) -> Result<(), Trouble> {
    let Some(claimed) = job.source.claimed.clone() else { return Ok(()) };
    if let Some(folder) = claimed.as_path().parent() {
        durable_fs::make_folder_within(
            durable_fs::parent_of(job.source.path.as_path()),
            folder,
            OpenTo::Owner,
        )?;
    }
    match durable_fs::move_file(quarantined.as_path(), claimed.as_path())? {
        Renamed::Done | Renamed::Missing => {}
        Renamed::NameTaken => {
            let message = format!("{claimed} exists already");
            return Err(Trouble::new(
                FaultKind::Storage,
                message,
                Some("look at both files; one claimed name is one source"),
            ));
        }
    }
    taken_out(shared, job, quarantined)
}

/// The source has its claimed name again; may be repeated after a crash.
fn taken_out(shared: &Shared, job: &mut Job, quarantined: &OsText) -> Result<(), Trouble> {
    let claimed = job.source_path().clone();
    // Another source may have come to the name since; the reason is its own then.
    if look_at(quarantined.as_path())?.is_none() {
        durable_fs::remove_for_good(&reason_of(quarantined.as_path()))?;
        // Before the row forgets where the source was: else a power cut could bring the reason back, to lie there for ever.
        durable_fs::sync_folder(durable_fs::parent_of(quarantined.as_path()))?;
    }
    // Else it is looked for again: a job without its claim folder would take any other for it.
    let away = || out_of_reach(&folder_of(&claimed));
    let identity = ask_folder(&claimed)?.file().ok_or_else(away)?;
    shared.claims.taken.exchange(job, identity);
    let folder = identity_of(durable_fs::parent_of(claimed.as_path()))?; // it may have been made anew
    job.source.claim_folder = Some(folder.ok_or_else(away)?);
    job.is_here_again()?;
    shared.save(job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::engine::tests::{World, failed_record, is_there};
    use crate::model::job_state::{JobEvent, JobState};

    #[test]
    fn a_kept_file_that_changed_leaves_nothing_of_the_job_that_it_ends() {
        let world = World::new();
        let mut job = world.job();
        job.source.claimed = None;
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        job.account.records_failed = 1;
        let store = &world.shared.store;
        store
            .change()
            .job(&job)
            .failed_records(job.id, 0, &[failed_record(1, "too long")])
            .apply()
            .expect("writes");
        let partial = world.partial_of(&job);
        std::fs::write(world.source(), "1\n2\n").expect("grows");
        assert!(!is_here(&world.shared, &mut job).expect("is decided"));
        let row = world.row(&job).expect("is there");
        assert_eq!((row.state.get(), row.account.records_failed), (JobState::Aborted, 0), "{row:#?}");
        assert_eq!(store.failed_records_count(job.id).expect("reads"), 0);
        assert!(!is_there(&partial));
    }

    #[test]
    fn a_job_whose_source_is_lost_leaves_no_partials() {
        let world = World::new();
        let mut job = world.job();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        let partial = world.partial_of(&job);
        durable_fs::remove_file(&world.source()).expect("removes");
        assert!(!is_here(&world.shared, &mut job).expect("is decided"));
        assert_eq!(world.row(&job).expect("is there").state, JobState::Failed);
        assert!(!is_there(&partial));
    }
}
