//! Reading rows.

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::backend::{self, Backend as _, KeyRange, Rows, Value};
use super::error::StoreError;
use super::keys::Key;
use super::{JobRow, Store, keys, value};
use crate::durable_fs::{self, Mounts, Presence};
use crate::model::identity::{FileIdentity, FolderIdentity, KeptAs};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;

/// A job may be named by so many characters of its id's beginning or end.
const SHORT_ID_LENGTH_MIN: usize = 4;
/// So many jobs are listed where a short id fits several.
const MATCHES_MAX: usize = 10;

/// One row per source ever claimed: what it was, what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The job that it became.
    pub job: JobId,
    /// The rule's name.
    pub rule: String,
    /// Where it lay when it was found; of a file that stays where it lies, and was renamed: where it was seen last.
    pub path: OsText,
    /// What it was then.
    pub identity: FileIdentity,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// What became of it.
    pub outcome: LedgerOutcome,
    /// When that was.
    pub finished_at: Option<Timestamp>,
    /// `blake3:` and the hash of its decoded content, once all was read.
    pub content_hash: Option<String>,
    /// The delivery's key, where the rule has one.
    pub delivery_key: Option<OsText>,
    /// Which delivery of that key it was.
    pub revision: Option<u64>,
    /// Of a file that stays where it lies: its folder. Another one of the same path has nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderIdentity>,
    /// Of such a file: what more is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_as: Option<KeptAs>,
    /// Of one that was renamed: where it lay when it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lay_at: Option<OsText>,
}

impl LedgerRow {
    /// The row for a job's source.
    pub fn of(job: &Job, outcome: LedgerOutcome) -> Self {
        Self {
            job: job.id,
            rule: job.rule.clone(),
            path: job.source.path.clone(),
            identity: job.source.identity,
            claimed_at: job.created_at,
            outcome,
            finished_at: job.finished_at,
            content_hash: job.content_hash.clone(),
            delivery_key: job.delivery.key.clone(),
            revision: job.delivery.key.as_ref().map(|_| job.delivery.revision),
            folder: job.source.claim_folder.filter(|_| job.source.claimed.is_none()),
            kept_as: job.source.kept_as.clone(),
            lay_at: None,
        }
    }

    /// Where it lay when it was found.
    pub(crate) fn found_at(&self) -> &OsText {
        self.lay_at.as_ref().unwrap_or(&self.path)
    }

    /// The same file, which lies there by now.
    fn moved_to(&self, path: OsText) -> Self {
        let lay_at = Some(self.found_at()).filter(|found| **found != path).cloned();
        Self { path, lay_at, ..self.clone() }
    }
}

/// What is known of a file that a job took while it had other names (hard links).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OtherNames {
    /// That has its records.
    pub job: JobId,
    /// When the file was made, nanoseconds since 1970, where the file system tells: another of its number was made later.
    pub born_ns: Option<i128>,
    /// Of one that lies where numbers are dealt anew: what it begins with, as a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

impl OtherNames {
    /// Those of a file that cannot be looked at.
    pub(crate) fn unseen(job: JobId) -> Self {
        Self { job, born_ns: None, head: None }
    }

    /// Whether a file of the same number, size and time is another one all the same.
    pub(crate) fn is_another(&self, born_ns: Option<i128>, head: impl FnOnce() -> Option<String>) -> bool {
        let differ =
            |known: Option<_>, found: Option<_>| known.is_some() && found.is_some() && known != found;
        differ(self.born_ns, born_ns)
            || self.head.as_ref().is_some_and(|known| head().is_some_and(|found| found != *known))
    }
}

/// What became of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerOutcome {
    /// It is ours, or about to be: written before the rename.
    Claimed,
    /// Published and retired.
    Completed,
    /// In quarantine.
    Failed,
    /// Back where it lay, to wait on.
    GivenBack,
    /// A resend that the rule refuses.
    Refused,
    /// An operator ended it: in quarantine, or, where the job was abandoned, where it was.
    Aborted,
    /// No job: an operator said that it had been dealt with. It stays where it lies.
    Adopted,
}

/// Of which job a file is that stays where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptFile {
    Of(JobId),
    None,
    /// It has to be read.
    ByItsBytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobMatch {
    One(JobId),
    None,
    /// Several begin or end with it; some of them.
    Several(Vec<JobId>),
}

impl Store {
    pub(crate) fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.job_row(id)
    }

    /// All jobs, oldest first; from the back: newest first. Read as they are asked for.
    pub(crate) fn jobs(&self) -> impl DoubleEndedIterator<Item = Result<Job, StoreError>> + use<> {
        self.job_rows()
    }

    /// The same, of each row what `R` reads of it.
    pub(crate) fn job_rows<R: JobRow>(
        &self,
    ) -> impl DoubleEndedIterator<Item = Result<R, StoreError>> + use<R> {
        let store = self.clone();
        self.rows_of("job", keys::JOB).map(move |row| row.map(|row| store.placed(row)))
    }

    /// Those that are not in a final state, without reading the others.
    pub(crate) fn unfinished_job_rows<R: JobRow>(
        &self,
    ) -> impl DoubleEndedIterator<Item = Result<R, StoreError>> + use<R> {
        let store = self.clone();
        let ids = self.job_ids(keys::UNFINISHED);
        ids.filter_map(move |id| id.and_then(|id| store.job_row(id)).transpose())
    }

    /// How many jobs are not in a final state. No row is read.
    pub(crate) fn count_unfinished(&self) -> Result<u64, StoreError> {
        self.job_ids(keys::UNFINISHED).try_fold(0, |count, id| id.map(|_| count + 1))
    }

    pub(crate) fn job_row<R: JobRow>(&self, id: JobId) -> Result<Option<R>, StoreError> {
        let row = self.row("job", &keys::of_job(keys::JOB, id))?;
        Ok(row.map(|row| self.placed(row)))
    }

    pub(crate) fn jobs_newest_first(&self) -> impl Iterator<Item = Result<Job, StoreError>> + use<> {
        self.jobs().rev()
    }

    /// Every source that was claimed then or later, and is remembered, oldest first. Read as they are asked for.
    pub(crate) fn ledger_since(
        &self,
        since: Option<Timestamp>,
    ) -> impl Iterator<Item = Result<LedgerRow, StoreError>> + use<> {
        let since_ms = since.and_then(|since| u64::try_from(since.as_millisecond()).ok()).unwrap_or(0);
        let (_, upto) = backend::beginning_with(&[keys::LEDGER]);
        let from = keys::of_job(keys::LEDGER, JobId::from_parts(since_ms, 0));
        self.whole_rows("ledger row", (Bound::Included(from), upto))
    }

    /// Jobs that are not in a final state, oldest first (without reading the others).
    pub fn unfinished_jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.unfinished_job_rows().collect()
    }

    /// The job that a text names: its id, or at least four characters of its beginning or end.
    pub(crate) fn find_job(&self, text: &str) -> Result<JobMatch, StoreError> {
        if let Ok(id) = text.parse() {
            return Ok(if self.job(id)?.is_some() { JobMatch::One(id) } else { JobMatch::None });
        }
        if text.len() < SHORT_ID_LENGTH_MIN {
            return Ok(JobMatch::None);
        }
        let text = text.to_ascii_lowercase();
        let mut matches = Vec::new();
        for id in self.job_ids(keys::JOB) {
            let id = id?;
            let shown = id.to_string();
            if shown.starts_with(&text) || shown.ends_with(&text) {
                matches.push(id);
                if matches.len() == MATCHES_MAX {
                    break;
                }
            }
        }
        Ok(match matches.as_slice() {
            [] => JobMatch::None,
            [id] => JobMatch::One(*id),
            _ => JobMatch::Several(matches),
        })
    }

    pub(crate) fn ledger(&self, job: JobId) -> Result<Option<LedgerRow>, StoreError> {
        self.row("ledger row", &keys::of_job(keys::LEDGER, job))
    }

    /// The job that has this kept file, if any has. Its device may have had another number, and where files are numbered anew, so may it.
    pub(crate) fn kept(&self, path: &OsText, identity: &FileIdentity) -> Result<Option<JobId>, StoreError> {
        Ok(match self.kept_by(path, identity, true)? {
            KeptFile::Of(job) => Some(job),
            KeptFile::None | KeptFile::ByItsBytes => None,
        })
    }

    /// The same; a file that has to be read for it is, if `reads`.
    pub(crate) fn kept_by(
        &self,
        path: &OsText,
        identity: &FileIdentity,
        reads: bool,
    ) -> Result<KeptFile, StoreError> {
        if !self.inner.keeps_files.load(Ordering::Acquire) {
            return Ok(KeptFile::None);
        }
        if let Some(job) = self.row("kept file", &keys::kept(identity))? {
            // Where numbers are dealt anew, that of one file may be another's by now.
            let row: Option<LedgerRow> = self.ledger(job)?;
            let is_given_back = row.as_ref().is_some_and(|row| row.outcome == LedgerOutcome::GivenBack);
            let is_at = |row: LedgerRow| row.path == *path;
            if !is_given_back && (row.is_some_and(is_at) || durable_fs::is_known_by_number(path.as_path())) {
                return Ok(KeptFile::Of(job));
            }
        }
        let Some(job) = self.row("kept file", &keys::kept_at(path, identity))? else {
            return self.kept_with_other_ctime(path, identity, reads);
        };
        let row = self.ledger(job)?.filter(|row| row.outcome != LedgerOutcome::GivenBack);
        let is_it = row.is_some_and(|row| durable_fs::is_unchanged(path.as_path(), identity, &row.identity));
        if is_it {
            return Ok(KeptFile::Of(job));
        }
        self.kept_with_other_ctime(path, identity, reads)
    }

    /// The job of a kept file that has another ctime, and for all else is the same: it got or lost a name, or its rights were set. From then on
    /// it is known as it is now.
    fn kept_with_other_ctime(
        &self,
        path: &OsText,
        identity: &FileIdentity,
        reads: bool,
    ) -> Result<KeptFile, StoreError> {
        let at = path.as_path();
        for row in self.kept_alike(path, identity)? {
            let Some(before) = &row.kept_as else { continue };
            if !reads {
                return Ok(KeptFile::ByItsBytes);
            }
            // One that cannot be read just now is not taken a second time for that.
            let Some(now) = durable_fs::kept_as(at, identity) else {
                return Ok(KeptFile::Of(row.job));
            };
            if !before.explains(&now) {
                continue;
            }
            // It was read for seconds, perhaps: its job may have gone on meanwhile, and then it is looked at again.
            if self.ledger(row.job)?.as_ref() != Some(&row) {
                return self.kept_with_other_ctime(path, identity, reads);
            }
            let is_moved = row.path != *path && has_left(row.path.as_path(), identity);
            match row.outcome {
                LedgerOutcome::Claimed => {}
                // Nothing of it is published, and its job finds it no more.
                LedgerOutcome::Failed | LedgerOutcome::Refused if is_moved => continue,
                // Its row goes when the file does from where the row has it.
                _ => {
                    let lies_at = if is_moved { path } else { &row.path };
                    let folder = match row.folder {
                        Some(known) if !is_moved => Some(known),
                        _ => durable_fs::folder_identity(durable_fs::parent_of(lies_at.as_path()))
                            .ok()
                            .flatten(),
                    };
                    let kept_as = Some(now);
                    let now =
                        LedgerRow { identity: *identity, folder, kept_as, ..row.moved_to(lies_at.clone()) };
                    self.change().kept_again(&row, now).apply()?;
                }
            }
            return Ok(KeptFile::Of(row.job));
        }
        Ok(KeptFile::None)
    }

    /// The rows of kept files that this one may be, for all but the bytes and the ctime, and that nobody gave back. Those whose records
    /// are out, or may be, come first: another job that failed with the same file is not what became of it.
    pub(crate) fn kept_alike(
        &self,
        path: &OsText,
        identity: &FileIdentity,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        let at = path.as_path();
        let mut alike: Vec<LedgerRow> = Vec::new();
        let known = [keys::kept_whatever_ctime(identity), keys::kept_at_whatever_ctime(path, identity)];
        for job in
            known.iter().flat_map(|prefix| self.whole_rows("kept file", backend::beginning_with(prefix)))
        {
            let Some(row) = self.ledger(job?)? else { continue };
            let may_be_it = || {
                // Copies of a whole file system have files of the same numbers, size and time.
                let are_of_one = || Mounts::now().are_of_one(row.path.as_path(), at);
                durable_fs::is_known_by_number(at) && (row.identity.device == identity.device || are_of_one())
            };
            let is_alike = row.outcome != LedgerOutcome::GivenBack
                && durable_fs::is_same_content(at, identity, &row.identity)
                && (row.path == *path || may_be_it());
            if is_alike && !alike.contains(&row) {
                alike.push(row);
            }
        }
        let ended_badly = |row: &LedgerRow| {
            matches!(row.outcome, LedgerOutcome::Failed | LedgerOutcome::Refused | LedgerOutcome::Aborted)
        };
        alike.sort_by_key(ended_badly);
        Ok(alike)
    }

    /// Whether a key of a kept file names the job of this row.
    pub(super) fn knows_as_kept(&self, row: &LedgerRow) -> Result<bool, StoreError> {
        let (path, identity) = (&row.path, &row.identity);
        let known = [keys::kept_whatever_ctime(identity), keys::kept_at_whatever_ctime(path, identity)];
        for prefix in &known {
            for job in self.whole_rows::<JobId>("kept file", backend::beginning_with(prefix)) {
                if job? == row.job {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The jobs of all kept files that are known; a row goes when its file does ([`super::Changes::forget_kept`]).
    pub(crate) fn kept_jobs(&self) -> impl Iterator<Item = Result<JobId, StoreError>> + use<> {
        self.rows_of("kept file", keys::KEPT)
    }

    /// The job that took this very file, if it had other names then.
    pub(crate) fn other_names(&self, identity: &FileIdentity) -> Result<Option<OtherNames>, StoreError> {
        if !self.inner.knows_other_names.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.row("other names of a file", &keys::other_names(identity))
    }

    /// The newest id that a job or a source was given, as far as that is known.
    pub(crate) fn newest_id(&self) -> Result<Option<JobId>, StoreError> {
        let mut newest = None;
        for prefix in [keys::JOB, keys::LEDGER] {
            newest = newest.max(self.job_ids(prefix).next_back().transpose()?);
        }
        Ok(newest)
    }

    fn job_ids(&self, prefix: u8) -> impl DoubleEndedIterator<Item = Result<JobId, StoreError>> + use<> {
        self.keys_beginning_with(&[prefix])
            .map(|key| keys::job_of(&key?).ok_or_else(|| StoreError::corrupt("job's key", "it is too short")))
    }

    pub(super) fn row<T: DeserializeOwned>(
        &self,
        what: &'static str,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        self.whole_row(what, key, &value)
    }

    pub(super) fn rows_of<T: DeserializeOwned>(
        &self,
        what: &'static str,
        prefix: u8,
    ) -> impl DoubleEndedIterator<Item = Result<T, StoreError>> + use<T> {
        self.whole_rows(what, backend::beginning_with(&[prefix]))
    }

    /// The rows in a range of keys, read as they are asked for.
    pub(super) fn whole_rows<T: DeserializeOwned>(
        &self,
        what: &'static str,
        range: KeyRange,
    ) -> impl DoubleEndedIterator<Item = Result<T, StoreError>> + use<T> {
        let store = self.clone();
        self.scan(range).filter_map(move |row| {
            row.and_then(|(key, value)| store.whole_row(what, &key, &value)).transpose()
        })
    }

    /// The row whose head was just read; none if it went in the meantime.
    pub(super) fn whole_row<T: DeserializeOwned>(
        &self,
        what: &'static str,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let head = value::read_head(what, value)?;
        if head.chunks <= 1 {
            return value::decode(what, &head, |_| Ok(None::<Value>)).map(Some);
        }
        // Head and chunks of one writing: the head is read again, too.
        let now = self.inner.rows.snapshot();
        let Some(value) = now.get(key)? else { return Ok(None) };
        let head = value::read_head(what, &value)?;
        value::decode(what, &head, |index| now.get(&keys::continued(key, index))).map(Some)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.rows.get(key)
    }

    pub(super) fn scan(&self, range: KeyRange) -> Rows {
        self.inner.rows.scan(range)
    }

    pub(super) fn keys_beginning_with(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<Key, StoreError>> + use<> {
        self.scan(backend::beginning_with(prefix)).map(|row| row.map(|(key, _)| key))
    }
}

/// Whether a file lies no more where it lay; not where that cannot be told.
fn has_left(path: &Path, identity: &FileIdentity) -> bool {
    durable_fs::presence(path).is_ok_and(|seen| match seen {
        Presence::Here(found) => !found.same_file(identity),
        Presence::Gone(_) => true,
        Presence::FolderAway => false,
    })
}
