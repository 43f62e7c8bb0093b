//! Files that jobs have taken, by their number: another name (hard link) of one of them is no file of its own.
//!
//! ```text
//! claim    number entered -> row -> rename           ended
//! job                               queued ... retiring: it has other names? -> row of that, durable -> moved away
//! watch      a candidate with several names: is its number entered? ......... a candidate: is there such a row?
//! ```
//!
//! As long as the job is unfinished, the file that it has is looked at beside the candidate. Once it is done that file may be gone, and its
//! other name the only one: then the row tells.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use super::lock;
use super::trouble::Trouble;
use crate::durable_fs::{self, FsError, Mounts};
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;
use crate::store::{LedgerOutcome, OtherNames, Store, StoreError};
use crate::watch::OtherName;

/// The numbers of the files that unfinished jobs have claimed, and whether their rows are written. Locks for itself.
#[derive(Default)]
pub(super) struct TakenFiles(Mutex<BTreeMap<(u64, JobId), bool>>);

impl TakenFiles {
    /// A job that renames its source is about to, or did: its row says which.
    pub(super) fn enter(&self, job: &Job) {
        self.put(job, true);
    }

    /// The same before its row is written.
    pub(super) fn begin(&self, job: &Job) {
        self.put(job, false);
    }

    fn put(&self, job: &Job, has_row: bool) {
        if job.source.claimed.is_some() {
            lock(&self.0).insert(number(job), has_row);
        }
    }

    /// The job ended.
    pub(super) fn leave(&self, job: &Job) {
        lock(&self.0).remove(&number(job));
    }

    /// The job's source is another file from now on.
    pub(super) fn exchange(&self, job: &mut Job, identity: FileIdentity) {
        let mut taken = lock(&self.0);
        let has_row = taken.remove(&number(job));
        job.source.identity = identity;
        if let Some(has_row) = has_row {
            taken.insert(number(job), has_row);
        }
    }

    fn jobs(&self, inode: u64) -> Vec<(JobId, bool)> {
        let first = (inode, JobId::from_bytes([0; 16]));
        let last = (inode, JobId::from_bytes([0xFF; 16]));
        lock(&self.0).range(first..=last).map(|((_, id), has_row)| (*id, *has_row)).collect()
    }

    /// The unfinished job, but for this one, of whose file this is another name.
    pub(super) fn unfinished(
        &self,
        store: &Store,
        path: &Path,
        identity: &FileIdentity,
        but: Option<JobId>,
    ) -> Result<Option<TakenAs>, StoreError> {
        for (id, has_row) in self.jobs(identity.inode).into_iter().filter(|(id, _)| Some(*id) != but) {
            match store.job(id)? {
                Some(job) if has_file(&job, path, identity) => {
                    return Ok(Some(TakenAs { job: id, state: job.state.get(), of: job.source.path }));
                }
                Some(_) => {}
                // Its row was dropped a moment ago.
                None if has_row => {}
                // It is being claimed.
                None => {
                    return Ok(Some(TakenAs { job: id, state: JobState::Queued, of: "a file".into() }));
                }
            }
        }
        Ok(None)
    }

    /// The same of any job that took it and did not give it back.
    pub(super) fn other_name(
        &self,
        store: &Store,
        path: &Path,
        identity: &FileIdentity,
        names: u64,
        but: Option<JobId>,
    ) -> Result<Option<TakenAs>, StoreError> {
        if names > 1
            && let Some(taken) = self.unfinished(store, path, identity, but)?
        {
            return Ok(Some(taken));
        }
        let Some(OtherNames { job: id, born_ns }) = store.other_names(identity)? else { return Ok(None) };
        // The number may be that of a file that was made since.
        let born = durable_fs::born_ns(path);
        if born.is_some() && born_ns.is_some() && born != born_ns {
            return Ok(None);
        }
        let Some(row) = store.ledger(id)? else { return Ok(None) };
        // The job's own row is forgotten when it is long done.
        let state = store.job(id)?.map_or_else(|| state_at_end(row.outcome), |job| job.state.get());
        let was_given_back = row.outcome == LedgerOutcome::GivenBack || state == JobState::Aborted;
        Ok((!was_given_back).then_some(TakenAs { job: id, state, of: row.path }))
    }
}

fn state_at_end(outcome: LedgerOutcome) -> JobState {
    match outcome {
        LedgerOutcome::Completed => JobState::Completed,
        LedgerOutcome::Failed => JobState::Failed,
        LedgerOutcome::Refused => JobState::Refused,
        LedgerOutcome::GivenBack => JobState::Aborted,
        LedgerOutcome::Claimed | LedgerOutcome::Adopted => JobState::Queued,
    }
}

fn number(job: &Job) -> (u64, JobId) {
    (job.source.identity.inode, job.id)
}

/// Whether this is the file that a job has, under another name than where it lay. A claim renames it from there: it is looked for in that
/// order. What cannot be on the file system of the candidate, which answers, is not looked at: its own may hang.
fn has_file(job: &Job, path: &Path, identity: &FileIdentity) -> bool {
    let is_it = |at: &Path| {
        at != path
            && durable_fs::identity_at(at)
                .is_ok_and(|found| found.is_some_and(|found| found.same_file(identity)))
    };
    let claimed = job.source_path().as_path();
    let may_be_it =
        || job.source.identity.device == identity.device || Mounts::now().are_of_one(claimed, path);
    !job.state.is_final() && may_be_it() && (is_it(job.source.path.as_path()) || is_it(claimed))
}

/// Of which job a file is that was taken by another name.
#[derive(Debug)]
pub(super) struct TakenAs {
    job: JobId,
    state: JobState,
    /// The name by which it was taken.
    of: OsText,
}

impl TakenAs {
    /// Why it waits.
    pub(super) fn told(&self) -> String {
        let Self { job, of, .. } = self;
        match self.state {
            JobState::Completed => format!(
                "it is another name of {of}, whose records job {job} has published: it is not taken as long as it is the same; remove it, or \
                 have it once more by `landfall ingest`, or as a copy"
            ),
            JobState::Failed => format!(
                "it is another name of {of}, with which job {job} failed: `landfall show {job}` says why; to have it taken by this name, \
                 name it to `landfall ingest`, or copy it"
            ),
            JobState::Refused => format!(
                "it is another name of {of}, which job {job} was for, and it was refused: `landfall show {job}` says why; to have it taken \
                 by this name, name it to `landfall ingest`, or copy it"
            ),
            _ => {
                format!("it is another name of {of}, which job {job} has taken: nothing is taken twice")
            }
        }
    }
}

impl From<TakenAs> for OtherName {
    fn from(taken: TakenAs) -> Self {
        Self {
            reason: taken.told(),
            is_done: taken.state.is_final(),
            may_be_retried: taken.state == JobState::Failed,
        }
    }
}

/// Before a job lets its source go: other names of it stay known. True: a row says so, which the caller makes durable.
pub(super) fn note_other_names(store: &Store, job: &Job) -> Result<bool, Trouble> {
    let other = match other_names(job) {
        Ok(None) => return Ok(false),
        Ok(Some(other)) => other,
        // It ends where it lies: what is away with it must not keep it from that.
        Err(error) if job.is_failing() && job.retired_to.is_none() => {
            tracing::warn!(job = %job.id, %error, "whether the source has other names is not seen: it is taken to have some");
            OtherNames { job: job.id, born_ns: None }
        }
        Err(error) => return Err(error.into()),
    };
    store.change().other_names(&job.source.identity, &other).apply()?;
    Ok(true)
}

/// What is to be known of the source, if it has other names. One that somebody removed may have any, and one that a crash
/// left moved already has those that it has there.
fn other_names(job: &Job) -> Result<Option<OtherNames>, FsError> {
    let Some(claimed) = &job.source.claimed else { return Ok(None) };
    let mut found = durable_fs::names_and_birth(claimed.as_path())?;
    if let (None, Some(moved)) = (found, job.retired_to.as_ref().map(OsText::as_path)) {
        let is_it = |file: &FileIdentity| durable_fs::is_same_file(moved, file, &job.source.identity);
        if durable_fs::identity_at(moved).is_ok_and(|there| there.is_some_and(|file| is_it(&file))) {
            found = durable_fs::names_and_birth(moved)?;
        }
    }
    Ok(match found {
        None if job.state.is_past_intent() => Some(OtherNames { job: job.id, born_ns: None }),
        None => None, // nothing of it is out
        Some((names, born_ns)) => (names > 1).then_some(OtherNames { job: job.id, born_ns }),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::clock;
    use crate::engine::tests::World;
    use crate::model::job_state::JobEvent;

    fn of_which(world: &World, link: &Path) -> Option<JobId> {
        let identity = durable_fs::identity_at(link).expect("looks").expect("a file");
        let found = world.shared.claims.taken.unfinished(&world.shared.store, link, &identity, None);
        found.expect("asks").map(|taken| taken.job)
    }

    fn link(world: &World, name: &str) -> std::path::PathBuf {
        let link = world.path(name);
        std::fs::hard_link(world.source(), &link).expect("links");
        link
    }

    #[test]
    fn a_name_is_that_of_a_job_before_its_row_is_written_and_no_more_once_the_row_is_dropped() {
        let world = World::new();
        let (job, link) = (world.job(), link(&world, "in/second.txt"));
        let (store, taken) = (&world.shared.store, &world.shared.claims.taken);
        assert_eq!(of_which(&world, &link), None);
        taken.enter(&job);
        assert_eq!(of_which(&world, &link), Some(job.id));
        store.change().unclaim(job.id).apply().expect("drops");
        assert_eq!(of_which(&world, &link), None, "nobody is at it");
        taken.begin(&job);
        assert_eq!(of_which(&world, &link), Some(job.id), "it is being claimed");
        taken.leave(&job);
        assert_eq!(of_which(&world, &link), None);
    }

    #[test]
    fn a_job_whose_source_was_exchanged_is_known_by_the_new_one() {
        let world = World::new();
        let (mut job, old) = (world.job(), link(&world, "in/old.txt"));
        world.shared.claims.taken.enter(&job);
        durable_fs::remove_file(&world.source()).expect("removes");
        std::fs::write(world.source(), "2\n").expect("writes");
        let (new, claimed) = (link(&world, "in/new.txt"), world.claimed());
        world.rename();
        let identity = durable_fs::identity_at(&claimed).expect("looks").expect("a file");
        world.shared.claims.taken.exchange(&mut job, identity);
        assert_eq!((of_which(&world, &old), of_which(&world, &new)), (None, Some(job.id)));
        world.shared.claims.taken.leave(&job);
        assert_eq!(of_which(&world, &new), None);
    }

    #[test]
    fn other_names_of_a_source_that_somebody_removed_are_known_once_its_outputs_may_be_out() {
        let world = World::new();
        let (mut job, link) = (world.job(), link(&world, "in/second.txt"));
        world.rename();
        durable_fs::remove_file(&world.claimed()).expect("removes");
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        let store = &world.shared.store;
        assert!(!note_other_names(store, &job).expect("looks"), "nothing is out");
        job.take(JobEvent::AccountBalanced, clock::now(), "").expect("is publishing");
        assert!(note_other_names(store, &job).expect("looks"));
        let left = durable_fs::identity_at(&link).expect("looks").expect("a file");
        assert_eq!(store.other_names(&left).expect("reads").map(|row| row.job), Some(job.id));
    }

    #[test]
    fn a_source_that_a_crash_left_moved_has_no_other_names_for_that() {
        let world = World::new();
        let mut job = world.job();
        for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published] {
            job.take(event, clock::now(), "").expect("goes on");
        }
        let archived = world.path("out/pay.txt");
        durable_fs::rename_no_replace(&world.source(), &archived).expect("moves");
        job.retired_to = Some(archived.as_path().into());
        assert!(!note_other_names(&world.shared.store, &job).expect("looks"));
        std::fs::hard_link(&archived, world.path("in/second.txt")).expect("links");
        assert!(note_other_names(&world.shared.store, &job).expect("looks"));
    }
}
