//! Files that jobs have taken, by their number: another name (hard link) of one of them is no file of its own, nor is one that a job reads
//! where it lies.
//!
//! ```text
//! claim    number entered -> row -> rename           ended
//! job                               queued ... retiring: it has other names? -> row of that, durable -> moved away
//! watch      a candidate: is its number entered? ............................ a candidate: is there such a row?
//! ```
//!
//! As long as the job is unfinished, the file that it has is looked at beside the candidate. Once it is done that file may be gone, and its
//! other name the only one: then the row tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use super::lock;
use super::trouble::Trouble;
use crate::durable_fs::{self, FsError, Mounts};
use crate::model::identity::{FileIdentity, KeptAs};
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;
use crate::store::{LedgerOutcome, OtherNames, Store, StoreError};
use crate::watch::OtherName;

/// The files that unfinished jobs have, or read where they lie. Locks for itself.
#[derive(Default)]
pub(super) struct TakenFiles(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    by_number: BTreeMap<(u64, JobId), Entry>,
    /// Those that are read where they lie: after a remount, say, their numbers may be others.
    in_place: BTreeSet<(OsText, JobId)>,
}

#[derive(Clone)]
enum Entry {
    /// Before its row is written: where it lies, on which device.
    Begun(OsText, u64),
    /// The row says more. Whether its job reads it where it lies.
    HasRow { stays: bool },
}

impl TakenFiles {
    /// Those of a store that no service has.
    pub(super) fn of(store: &Store) -> Result<Self, StoreError> {
        let taken = Self::default();
        store.unfinished_jobs()?.iter().for_each(|job| taken.enter(job));
        Ok(taken)
    }

    /// A job has, or reads, its source: its row says which.
    pub(super) fn enter(&self, job: &Job) {
        let (mut taken, stays) = (lock(&self.0), job.source.claimed.is_none());
        taken.by_number.insert(number(job), Entry::HasRow { stays });
        if stays {
            taken.in_place.insert((job.source.path.clone(), job.id));
        }
    }

    /// The same of one whose number may have been another when it began.
    pub(super) fn enter_as(&self, begun: &Job, job: &Job) {
        self.enter(job);
        if number(begun) != number(job) {
            lock(&self.0).by_number.remove(&number(begun));
        }
    }

    /// The same before its row is written. Of two that begin with one file the later one is told of the other.
    pub(super) fn begin(&self, job: &Job) -> Option<TakenAs> {
        let Source { path, identity, .. } = &job.source;
        let others = {
            let mut taken = lock(&self.0);
            let others: Vec<_> = of_number(&taken.by_number, identity.inode).collect();
            taken.by_number.insert(number(job), Entry::Begun(path.clone(), identity.device));
            others
        };
        others.into_iter().find_map(|(id, entry)| entry.begun_with(id, path.as_path(), identity))
    }

    /// The job ended.
    pub(super) fn leave(&self, job: &Job) {
        let mut taken = lock(&self.0);
        taken.by_number.remove(&number(job));
        taken.in_place.remove(&(job.source.path.clone(), job.id));
    }

    /// The jobs that have a file of this number, or begin with one. It may be another file.
    pub(super) fn jobs_of(&self, identity: &FileIdentity) -> Vec<JobId> {
        of_number(&lock(&self.0).by_number, identity.inode).map(|(id, _)| id).collect()
    }

    /// The job's source is another file from now on.
    pub(super) fn exchange(&self, job: &mut Job, identity: FileIdentity) {
        let mut taken = lock(&self.0);
        let entry = taken.by_number.remove(&number(job));
        job.source.identity = identity;
        if let Some(entry) = entry {
            taken.by_number.insert(number(job), entry);
        }
    }

    /// The unfinished jobs that read a file of this name where it lies; it may be another one by now.
    pub(super) fn readers(&self, path: &Path) -> Vec<JobId> {
        lock(&self.0).readers(path).collect()
    }

    /// The unfinished job, but for this one, that has this file of so many names, under another one or where it lies.
    pub(super) fn unfinished(
        &self,
        store: &Store,
        path: &Path,
        identity: &FileIdentity,
        names: u64,
        but: Option<JobId>,
    ) -> Result<Option<TakenAs>, StoreError> {
        let entered = lock(&self.0).like(path, identity.inode);
        let may_have_it = |(id, entry): &(JobId, Entry)| {
            Some(*id) != but && (names > 1 || matches!(entry, Entry::HasRow { stays: true }))
        };
        for (id, entry) in entered.into_iter().filter(may_have_it) {
            match store.job(id)? {
                Some(job) if has_file(&job, path, identity) => {
                    return Ok(Some(TakenAs::new(id, job.state.get(), job.source.path, path)));
                }
                // Who claims another name himself was told when he began.
                None if but.is_none() => {
                    let begun = entry.begun_with(id, path, identity);
                    if let Some(taken) = begun.filter(|taken| !taken.is_itself) {
                        return Ok(Some(taken));
                    }
                }
                // Its row was dropped a moment ago.
                _ => {}
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
        if let Some(taken) = self.unfinished(store, path, identity, names, but)? {
            return Ok(Some(taken));
        }
        Self::done(store, path, identity, || durable_fs::born_ns(path))
    }

    /// The same of a job that is done. When the file was made, where that is known, is asked only if there is one: that opens it.
    pub(super) fn done(
        store: &Store,
        path: &Path,
        identity: &FileIdentity,
        born: impl FnOnce() -> Option<i128>,
    ) -> Result<Option<TakenAs>, StoreError> {
        let Some(other) = store.other_names(identity)? else { return Ok(None) };
        // The number may be that of a file that was made since, or, where numbers are dealt anew, of any other.
        if other.is_another(born(), || durable_fs::head_digest(path)) {
            return Ok(None);
        }
        let id = other.job;
        let Some(row) = store.ledger(id)? else { return Ok(None) };
        // The job's own row is forgotten when it is long done.
        let state = store.job(id)?.map_or_else(|| state_at_end(row.outcome), |job| job.state.get());
        // One that an operator aborted is in quarantine.
        let was_given_back = row.outcome == LedgerOutcome::GivenBack
            || state == JobState::Aborted && row.outcome != LedgerOutcome::Aborted;
        Ok((!was_given_back).then(|| TakenAs::new(id, state, row.path, path)))
    }
}

/// The jobs that published a file and left it where it lies because their rules keep it: the row of such a file knows it by any name, and
/// has none of other names. It lay at a path, and was this then; it is compared by the bytes that it has `now`.
pub(super) fn kept_by(
    store: &Store,
    path: &OsText,
    identity: &FileIdentity,
    now: (&Path, &FileIdentity),
) -> Result<Vec<TakenAs>, StoreError> {
    let (at, found) = now;
    let mut read = None;
    let mut is_it = |before: &KeptAs| {
        // What cannot be read, or could not then, is not published a second time for that.
        let now = read.get_or_insert_with(|| durable_fs::kept_as(at, found)).as_ref();
        before.digest.is_none() || now.is_none_or(|now| before.explains(now))
    };
    let rows = store.kept_alike(path, identity)?.into_iter();
    let published = rows.filter(|row| row.outcome == LedgerOutcome::Completed);
    let kept = published.filter(|row| row.kept_as.as_ref().is_none_or(&mut is_it));
    Ok(kept.map(|row| TakenAs::new(row.job, JobState::Completed, row.path, at)).collect())
}

fn state_at_end(outcome: LedgerOutcome) -> JobState {
    match outcome {
        LedgerOutcome::Completed => JobState::Completed,
        LedgerOutcome::Failed => JobState::Failed,
        LedgerOutcome::Refused => JobState::Refused,
        LedgerOutcome::GivenBack | LedgerOutcome::Aborted => JobState::Aborted,
        LedgerOutcome::Claimed | LedgerOutcome::Adopted => JobState::Queued,
    }
}

impl Taken {
    /// Those that may have a file.
    fn like(&self, path: &Path, inode: u64) -> Vec<(JobId, Entry)> {
        let mut like: Vec<_> = of_number(&self.by_number, inode).collect();
        for job in self.readers(path) {
            if like.iter().all(|(known, _)| *known != job) {
                like.push((job, Entry::HasRow { stays: true }));
            }
        }
        like
    }

    fn readers(&self, path: &Path) -> impl Iterator<Item = JobId> + use<'_> {
        let at = |job| (OsText::from(path), job);
        let here = self.in_place.range(at(JobId::from_bytes([0; 16]))..=at(JobId::from_bytes([0xFF; 16])));
        here.map(|(_, job)| *job)
    }
}

impl Entry {
    /// The job of this entry, if it has begun with a file and has no row yet.
    fn begun_with(&self, job: JobId, path: &Path, identity: &FileIdentity) -> Option<TakenAs> {
        let Self::Begun(of, device) = self else { return None };
        let may_be_it = *device == identity.device || Mounts::now().are_of_one(of.as_path(), path);
        may_be_it.then(|| TakenAs::new(job, JobState::Queued, of.clone(), path))
    }
}

fn number(job: &Job) -> (u64, JobId) {
    (job.source.identity.inode, job.id)
}

fn of_number(
    taken: &BTreeMap<(u64, JobId), Entry>,
    inode: u64,
) -> impl Iterator<Item = (JobId, Entry)> + use<'_> {
    let first = (inode, JobId::from_bytes([0; 16]));
    let last = (inode, JobId::from_bytes([0xFF; 16]));
    taken.range(first..=last).map(|((_, id), entry)| (*id, entry.clone()))
}

/// Whether this is the file that a job has. It is looked for in the order in which it moves, so that it is not missed on its way:
///
/// ```text
/// claim       where it lay      -> claimed name
/// retry       quarantine        -> claimed name
/// give back   claimed name      -> where it lay
/// ```
///
/// Giving back goes the other way, and a miss is harmless there: the file is about to be anybody's. At the candidate's own path it is not
/// looked for: it may have been given back to there. One that is read where it lies is the same under any name, as long as nobody writes it
/// anew. What cannot be on the candidate's file system, which answers, is not looked at: its own may hang.
fn has_file(job: &Job, path: &Path, identity: &FileIdentity) -> bool {
    let Source { path: lay, claimed, identity: known, .. } = &job.source;
    let found = |at: &Path| {
        let found = durable_fs::identity_at(at).ok().flatten();
        found.filter(|found| found.same_file(identity))
    };
    let may_be_it =
        || known.device == identity.device || Mounts::now().are_of_one(job.source_path().as_path(), path);
    if job.state.is_final() || !may_be_it() {
        return false;
    }
    let lay = lay.as_path();
    let Some(claimed) = claimed else {
        let is_read = |found| durable_fs::is_same_content(lay, &found, known);
        return !job.is_given_back() && found(lay).is_some_and(is_read);
    };
    let is_at = |at: &Path| found(at).is_some();
    let quarantined = job.retrieved_from().map(OsText::as_path);
    (lay != path && is_at(lay)) || quarantined.is_some_and(is_at) || is_at(claimed.as_path())
}

/// Of which job a file is that was taken.
#[derive(Debug)]
pub(super) struct TakenAs {
    job: JobId,
    state: JobState,
    /// The name by which it was taken.
    of: OsText,
    /// It is this name: the job leaves the file where it lies.
    is_itself: bool,
}

impl TakenAs {
    fn new(job: JobId, state: JobState, of: OsText, path: &Path) -> Self {
        let is_itself = of.as_path() == path;
        Self { job, state, of, is_itself }
    }

    pub(super) fn job(&self) -> JobId {
        self.job
    }

    pub(super) fn is_published(&self) -> bool {
        self.state == JobState::Completed
    }

    /// Why it waits.
    pub(super) fn told(&self) -> String {
        let Self { job, of, state, is_itself } = self;
        let another = match (is_itself, state) {
            (true, _) => String::new(),
            // That name may be gone.
            (false, JobState::Completed) => format!("it is, or was, another name of {of}: "),
            (false, _) => format!("it is another name of {of}: "),
        };
        let once_more = "to have it taken by this name, name it to `landfall ingest`, or copy it";
        match state {
            JobState::Completed => format!(
                "{another}job {job} has published its records, and it is not taken as long as it is the same; remove it, or have it once \
                 more by `landfall ingest`, or as a copy"
            ),
            JobState::Failed => {
                format!("{another}job {job} failed with it: `landfall show {job}` says why; {once_more}")
            }
            JobState::Aborted => {
                format!(
                    "{another}job {job}, which was for it, was aborted: `landfall show {job}` says why; {once_more}"
                )
            }
            JobState::Refused => {
                format!(
                    "{another}job {job}, which was for it, was refused: `landfall show {job}` says why; {once_more}"
                )
            }
            _ => format!("{another}job {job} has taken it, and nothing is taken twice"),
        }
    }
}

impl From<TakenAs> for OtherName {
    fn from(taken: TakenAs) -> Self {
        Self {
            reason: taken.told(),
            is_done: taken.state.is_final(),
            // Refused and aborted ones may be retried, too; but somebody has decided on them.
            waits_for_word: taken.state == JobState::Failed,
        }
    }
}

/// Before a job lets its source go: what is left of it under other names stays known, and so does what was read where it lies. True: a row
/// says so, which the caller makes durable.
pub(super) fn note_other_names(store: &Store, job: &Job) -> Result<bool, Trouble> {
    let other = names_left(store, job)?;
    if let Some(other) = &other {
        store.change().other_names(&job.source.identity, other).apply()?;
    }
    Ok(other.is_some())
}

/// What such a row is to say; none where none is wanted. The source is looked at, and may hang.
pub(super) fn names_left(store: &Store, job: &Job) -> Result<Option<OtherNames>, Trouble> {
    if job.retries.is_some() {
        return Ok(None); // no file is its source
    }
    let known = store.other_names(&job.source.identity)?;
    let other = match other_names(job, known.is_some()) {
        Ok(None) => return Ok(None),
        Ok(Some(other)) => other,
        // It ends where it lies: what is away with it must not keep it from that.
        Err(error) if job.is_failing() && job.retired_to.is_none() => {
            tracing::warn!(job = %job.id, %error, "whether the source has other names is not seen: it is taken to have some");
            OtherNames::unseen(job.id)
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(known) = known.filter(|_| job.is_failing())
        && tells_of_published(store, &known, &other)?
    {
        return Ok(None);
    }
    Ok(Some(other))
}

/// The same where the source does not answer: it is taken to have other names. What is known of them already says more.
pub(super) fn names_unseen(store: &Store, job: &Job) -> Result<Option<OtherNames>, StoreError> {
    if job.retries.is_some() {
        return Ok(None);
    }
    let other = OtherNames::unseen(job.id);
    let is_known = match store.other_names(&job.source.identity)? {
        Some(known) => known.job == job.id || tells_of_published(store, &known, &other)?,
        None => false,
    };
    Ok((!is_known).then_some(other))
}

/// Whether another job has published the file, or some of it: one that fails does not take its row over. Given back, the file would be
/// anybody's to take.
fn tells_of_published(store: &Store, known: &OtherNames, other: &OtherNames) -> Result<bool, StoreError> {
    if known.job == other.job || known.is_another(other.born_ns, || other.head.clone()) {
        return Ok(false);
    }
    let row = store.ledger(known.job)?;
    Ok(row.is_some_and(|row| matches!(row.outcome, LedgerOutcome::Completed | LedgerOutcome::Aborted)))
}

/// What is to be known of the source, if it has other names, or had some when another job took it (`is_known`), or stays although its rule
/// does not keep it. One that somebody removed may have any, and one that a crash left moved already has those that it has there.
fn other_names(job: &Job, is_known: bool) -> Result<Option<OtherNames>, FsError> {
    // What an archive has is run again from there, and nobody watches that.
    let stays = !job.source.retire && job.parent.is_none();
    if stays && job.is_failing() {
        return Ok(None); // it is its rule's to take
    }
    let is_it = |at: &Path| {
        let is_it = |file: &FileIdentity| durable_fs::is_same_file(at, file, &job.source.identity);
        durable_fs::identity_at(at).is_ok_and(|there| there.is_some_and(|file| is_it(&file)))
    };
    let lies_at = job.source_path().as_path();
    // The row of a kept file knows it by any name, and by its bytes, where files are known by their numbers.
    if job.source.claimed.is_none() && !stays && durable_fs::is_known_by_number(lies_at) {
        return Ok(None);
    }
    // Where it was not claimed, its name may be another file's by now.
    let mut lies = (lies_at, None);
    if job.source.claimed.is_some() || is_it(lies_at) {
        lies.1 = durable_fs::names_and_birth(lies_at)?;
    }
    if let (None, Some(moved)) = (lies.1, job.retired_to.as_ref().map(OsText::as_path))
        && is_it(moved)
    {
        lies = (moved, durable_fs::names_and_birth(moved)?);
    }
    let (at, found) = lies;
    let Some((names, born_ns)) = found else {
        // What is not past its intent has nothing out.
        return Ok(job.state.is_past_intent().then(|| OtherNames::unseen(job.id)));
    };
    let is_wanted = names > 1 || is_known || stays;
    Ok(is_wanted.then(|| {
        let head = if durable_fs::is_known_by_number(at) { None } else { durable_fs::head_digest(at) };
        OtherNames { job: job.id, born_ns, head }
    }))
}

#[cfg(all(test, unix))]
#[path = "taken_tests.rs"]
mod tests;
