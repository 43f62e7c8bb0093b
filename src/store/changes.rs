//! Writing rows: several changes, all at once.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::Serialize;

use super::audit::Audit;
use super::backend::{self, Applied, Backend as _, Batch, Value};
use super::error::StoreError;
use super::keys::{self, Key};
use super::{
    Checkpoint, FailedEntry, Inner, LedgerOutcome, LedgerRow, Marked, OtherNames, Store, failed, feed, value,
};
use crate::model::account::FailedRecord;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;
use crate::model::settling::{Retry, Settled, Settlement};
use crate::output::Intent;

/// Several changes that become visible and durable together or not at all.
///
/// They take effect in the order in which they were asked for. Nothing happens before [`Self::apply`]; an error of an
/// earlier call comes out there.
pub struct Changes<'a> {
    store: &'a Store,
    asked: Result<Vec<Change>, StoreError>,
}

enum Change {
    /// The head first, then further chunks.
    Put {
        key: Key,
        values: Vec<Value>,
    },
    /// The same, unless it is there: whether it is, is seen when the changes are applied.
    PutNew {
        key: Key,
        values: Vec<Value>,
    },
    Remove {
        key: Key,
    },
    RemoveFailedRecords {
        job: JobId,
        from: u64,
    },
    /// All rows whose keys begin so.
    RemoveAll {
        prefix: Key,
    },
    /// A job that takes failed records of another is at its end.
    EndRetry {
        key: Key,
        retry: Retry,
    },
    Unclaim {
        job: JobId,
    },
    /// A job and its work, as long as it ended at that time: one that was taken up again stays.
    ForgetEnded {
        job: JobId,
        finished_at: Option<Timestamp>,
    },
    /// A row, where it is there already.
    PutAgain {
        key: Key,
        values: Vec<Value>,
    },
    /// A kept file's row, as it was and as it is to be.
    KeptAgain {
        rows: Box<(LedgerRow, LedgerRow)>,
    },
    /// Those of the rows whose keys begin so that name this job.
    ForgetKept {
        job: JobId,
        prefix: Key,
    },
    /// The file of this row was given back, if there is one.
    MarkGivenBack {
        key: Key,
    },
    /// Unless they are those of a later job.
    ForgetOtherNames {
        key: Key,
        job: JobId,
    },
}

impl<'a> Changes<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, asked: Ok(Vec::new()) }
    }

    /// Writes a job's row.
    pub fn job(&mut self, job: &Job) -> &mut Self {
        let unfinished = keys::of_job(keys::UNFINISHED, job.id);
        self.put("job", keys::of_job(keys::JOB, job.id), &*self.store.row_of(job));
        if let (Some(parent), Some(retries), true) = (job.parent, &job.retries, job.state.is_final()) {
            let retry = match job.state.get() {
                JobState::Completed => Retry::Completed,
                // What may be out would come twice.
                _ if !job.outputs.is_empty() => Retry::Abandoned,
                _ => Retry::GivenBack,
            };
            self.ask(Change::EndRetry { key: keys::settlement(parent, retries.act), retry });
        }
        if job.state.is_final() { self.remove(unfinished) } else { self.put_mark(unfinished) }
    }

    /// Writes the row of a job that has ended; nothing where it was forgotten since it was read.
    pub(crate) fn ended_job(&mut self, job: &Job) -> &mut Self {
        match value::encode("job", &*self.store.row_of(job)) {
            Ok(values) => self.ask(Change::PutAgain { key: keys::of_job(keys::JOB, job.id), values }),
            Err(error) => self.fail(error),
        }
    }

    /// Writes a rule's snapshot under its hash (once).
    pub fn rule(&mut self, rule: &Rule) -> &mut Self {
        match value::encode("rule", rule) {
            Ok(values) => self.ask(Change::PutNew { key: keys::rule(&rule.hash()), values }),
            Err(error) => self.fail(error),
        }
    }

    /// Writes a ledger row; with `kept`, also the identity under which a kept file is known.
    pub fn ledger(&mut self, row: &LedgerRow, kept: bool) -> &mut Self {
        if kept {
            self.store.inner.keeps_files.store(true, Ordering::Release);
            self.put("kept file", keys::kept(&row.identity), &row.job);
            self.put("kept file", keys::kept_at(&row.path, &row.identity), &row.job);
        }
        self.end_marked(row).put("ledger row", keys::of_job(keys::LEDGER, row.job), row)
    }

    /// Forgets the row of a file that was adopted.
    pub(crate) fn forget_ledger_row(&mut self, job: JobId) -> &mut Self {
        self.remove(keys::of_job(keys::LEDGER, job))
    }

    /// Forgets that a job has a kept file, whatever ctime it is known with: it is gone, or changed, and what lies there now is a new source.
    pub(crate) fn forget_kept(&mut self, job: JobId, path: &OsText, identity: &FileIdentity) -> &mut Self {
        for prefix in [keys::kept_whatever_ctime(identity), keys::kept_at_whatever_ctime(path, identity)] {
            self.ask(Change::ForgetKept { job, prefix });
        }
        self
    }

    /// A kept file is known by where it lies and what it is `now`, if its row is still the one that it was compared with: its job may have
    /// gone on meanwhile.
    pub(crate) fn kept_again(&mut self, before: &LedgerRow, now: LedgerRow) -> &mut Self {
        self.store.inner.keeps_files.store(true, Ordering::Release);
        self.ask(Change::KeptAgain { rows: Box::new((before.clone(), now)) })
    }

    /// A file that a job took has other names, by which it is not to be taken again.
    pub(crate) fn other_names(&mut self, identity: &FileIdentity, other: &OtherNames) -> &mut Self {
        self.store.inner.knows_other_names.store(true, Ordering::Release);
        self.put("other names of a file", keys::other_names(identity), other)
    }

    /// The marker of its folder stands for a file that lies at a path.
    pub(crate) fn marked(&mut self, path: &OsText, marked: &Marked) -> &mut Self {
        self.store.inner.knows_marked.store(true, Ordering::Release);
        self.put("marked file", keys::marked(path, &marked.identity), marked)
    }

    /// What becomes of what is known of a marked file, by what becomes of the file.
    fn end_marked(&mut self, row: &LedgerRow) -> &mut Self {
        let key = keys::marked(&row.path, &row.identity);
        match row.outcome {
            _ if !self.store.inner.knows_marked.load(Ordering::Acquire) => self,
            LedgerOutcome::Claimed => self,
            LedgerOutcome::GivenBack => self.ask(Change::MarkGivenBack { key }),
            LedgerOutcome::Completed
            | LedgerOutcome::Failed
            | LedgerOutcome::Refused
            | LedgerOutcome::Aborted
            | LedgerOutcome::Adopted => self.remove(key),
        }
    }

    /// A job that ends is to be destroyed; see [`Store::destroy_ended`].
    pub(crate) fn mark_to_destroy(&mut self, job: JobId) -> &mut Self {
        self.put_mark(keys::of_job(keys::DESTROY, job))
    }

    /// Writes a checkpoint.
    pub fn checkpoint(&mut self, job: JobId, checkpoint: &Checkpoint) -> &mut Self {
        self.put("checkpoint", keys::of_job(keys::CHECKPOINT, job), checkpoint)
    }

    /// Adds failed records from position `first` on (in chunks of at most 64 KiB).
    pub(crate) fn failed_records(&mut self, job: JobId, first: u64, records: &[FailedRecord]) -> &mut Self {
        for (position, group) in failed::groups(first, records) {
            self.put("failed records", keys::failed_group(job, position), &group);
        }
        self
    }

    /// Writes an act on failed records down.
    pub(crate) fn settlement(&mut self, job: JobId, act: u64, settlement: &Settlement) -> &mut Self {
        self.put("act on failed records", keys::settlement(job, act), settlement)
    }

    /// Keeps what the records of an entry look like, for those that failed.
    pub(crate) fn failed_entry(&mut self, job: JobId, position: u32, entry: &FailedEntry) -> &mut Self {
        self.put("entry of failed records", keys::shape(job, position), entry)
    }

    /// Writes what a job is publishing.
    pub fn intent(&mut self, job: JobId, intent: &Intent) -> &mut Self {
        self.put("intent", keys::of_job(keys::INTENT, job), intent)
    }

    /// Removes checkpoint and intent (retired, or from the source again).
    pub fn forget_work(&mut self, job: JobId) -> &mut Self {
        self.remove(keys::of_job(keys::CHECKPOINT, job)).remove(keys::of_job(keys::INTENT, job))
    }

    /// Removes failed records from position `from` on (cut back to a checkpoint, or a retry: 0).
    pub(crate) fn forget_failed_records(&mut self, job: JobId, from: u64) -> &mut Self {
        self.ask(Change::RemoveFailedRecords { job, from })
    }

    /// Removes all acts on failed records of a job that are forgotten too.
    pub(crate) fn forget_settlements(&mut self, job: JobId) -> &mut Self {
        self.ask(Change::RemoveAll { prefix: keys::of_job(keys::SETTLED, job) })
    }

    /// Removes a job that never came to be (its file was not claimed), with its ledger row.
    pub(crate) fn unclaim(&mut self, job: JobId) -> &mut Self {
        self.ask(Change::Unclaim { job });
        self.forget_job(job)
    }

    /// Removes a job and its work; its ledger row stays.
    fn forget_job(&mut self, job: JobId) -> &mut Self {
        forgetting(job).into_iter().fold(self, Self::ask)
    }

    /// The same for a job that has ended; nothing where it was taken up again since its row was read.
    pub(super) fn forget_ended(&mut self, job: &Job) -> &mut Self {
        self.ask(Change::ForgetEnded { job: job.id, finished_at: job.finished_at })
    }

    /// Makes the changes visible, all at once; durable after the next `Store::sync`.
    pub fn apply(&mut self) -> Result<(), StoreError> {
        let asked = std::mem::replace(&mut self.asked, Ok(Vec::new()))?;
        if asked.is_empty() {
            return Ok(());
        }
        let _changing = self.store.inner.changing.read().unwrap_or_else(PoisonError::into_inner);
        let Inner { rows: backend, feed, hooks, audit, .. } = &*self.store.inner;
        // Where another changed a row that these changes were made from, they are made again from what it is now.
        loop {
            let mut telling = feed.telling();
            let mut staged = Staged {
                store: self.store,
                batch: Batch { as_of: backend.applied_count(), ..Batch::default() },
            };
            for change in &asked {
                staged.stage(change)?;
            }
            let Staged { mut batch, .. } = staged;
            let for_trail = audit.stage(self.store, &mut batch)?;
            let for_hooks = hooks.stage(self.store, &mut batch)?;
            let told = telling.as_ref().map(|_| feed::changes_of(self.store, &batch));
            if backend.apply(batch)? == Applied::Done {
                if let (Some(telling), Some(changes)) = (&mut telling, told) {
                    telling.tell(&changes);
                }
                hooks.done(&for_hooks);
                Audit::done(self.store, for_trail);
                return Ok(());
            }
        }
    }

    /// Removes a ledger row with all by which its delivery is found.
    pub(super) fn forget_ledger(&mut self, row: &LedgerRow) -> &mut Self {
        if let Some(hash) = &row.content_hash {
            self.remove(keys::published_content(&row.rule, hash, row.job));
        }
        if let (Some(key), Some(revision)) = (&row.delivery_key, row.revision) {
            self.remove(keys::published_delivery(&row.rule, key, revision, row.job));
        }
        self.forget_other_names(keys::other_names(&row.identity), row.job);
        self.remove(keys::of_job(keys::LEDGER, row.job))
    }

    /// Forgets what is known of a file's other names, as long as it is this job that took it.
    pub(super) fn forget_other_names(&mut self, key: Key, job: JobId) -> &mut Self {
        self.ask(Change::ForgetOtherNames { key, job })
    }

    pub(super) fn put_mark(&mut self, key: Key) -> &mut Self {
        self.ask(Change::Put { key, values: vec![value::mark()] })
    }

    pub(super) fn remove(&mut self, key: Key) -> &mut Self {
        self.ask(Change::Remove { key })
    }

    pub(super) fn put<T: Serialize>(&mut self, what: &'static str, key: Key, row: &T) -> &mut Self {
        match value::encode(what, row) {
            Ok(values) => self.ask(Change::Put { key, values }),
            Err(error) => self.fail(error),
        }
    }

    fn ask(&mut self, change: Change) -> &mut Self {
        if let Ok(asked) = &mut self.asked {
            asked.push(change);
        }
        self
    }

    fn fail(&mut self, error: StoreError) -> &mut Self {
        if self.asked.is_ok() {
            self.asked = Err(error);
        }
        self
    }
}

/// What removes a job and its work.
fn forgetting(job: JobId) -> [Change; 7] {
    let row = |kind| Change::Remove { key: keys::of_job(kind, job) };
    let all = |kind| Change::RemoveAll { prefix: keys::of_job(kind, job) };
    [
        row(keys::JOB),
        row(keys::UNFINISHED),
        all(keys::SETTLED),
        all(keys::SHAPE),
        row(keys::CHECKPOINT),
        row(keys::INTENT),
        Change::RemoveFailedRecords { job, from: 0 },
    ]
}

/// The rows as they will be: what is staged over what is stored. What was read of it is expected to be so still.
struct Staged<'a> {
    store: &'a Store,
    batch: Batch,
}

impl Staged<'_> {
    fn stage(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Put { key, values } => self.put(key, values),
            Change::PutNew { key, values } => match self.get(key)? {
                Some(_) => Ok(()),
                None => self.put(key, values),
            },
            Change::Remove { key } => self.put(key, &[]),
            Change::RemoveFailedRecords { job, from } => self.remove_failed_records(*job, *from),
            Change::RemoveAll { prefix } => self.remove_all(prefix),
            Change::EndRetry { key, retry } => self.end_retry(key, *retry),
            Change::Unclaim { job } => self.remove_ledger_row(*job),
            Change::ForgetEnded { job, finished_at } => self.forget_ended(*job, *finished_at),
            Change::PutAgain { key, values } => match self.get(key)? {
                Some(_) => self.put(key, values),
                None => Ok(()),
            },
            Change::KeptAgain { rows } => self.kept_again(&rows.0, &rows.1),
            Change::ForgetKept { job, prefix } => self.forget_kept(*job, prefix),
            Change::MarkGivenBack { key } => self.mark_given_back(key),
            Change::ForgetOtherNames { key, job } => self.remove_other_names(key, *job),
        }
    }

    /// Writes the head and its chunks, and removes old chunks that nothing took the place of. What is not there is not removed, what is
    /// there not written again: either would cost the engine as much as a write.
    fn put(&mut self, key: &Key, values: &[Value]) -> Result<(), StoreError> {
        let old = self.get(key)?;
        let is_the_same = match values {
            [] => old.is_none(),
            [value] => old.as_ref() == Some(value),
            _ => false,
        };
        if is_the_same {
            return Ok(());
        }
        let rows = &mut self.batch.rows;
        for index in (values.len() as u32).max(1)..chunks_of(old.as_deref())? {
            rows.insert(keys::continued(key, index), None);
        }
        for (index, value) in (1..).zip(values.iter().skip(1)) {
            rows.insert(keys::continued(key, index), Some(value.clone()));
        }
        rows.insert(key.clone(), values.first().cloned());
        Ok(())
    }

    fn remove_ledger_row(&mut self, job: JobId) -> Result<(), StoreError> {
        let key = keys::of_job(keys::LEDGER, job);
        if let Some(row) = self.row::<LedgerRow>("ledger row", &key)? {
            for kept in [keys::kept(&row.identity), keys::kept_at(&row.path, &row.identity)] {
                if self.row::<JobId>("kept file", &kept)? == Some(job) {
                    self.put(&kept, &[])?;
                }
            }
        }
        self.put(&key, &[])
    }

    fn forget_ended(&mut self, job: JobId, finished_at: Option<Timestamp>) -> Result<(), StoreError> {
        let row = self.row::<Job>("job", &keys::of_job(keys::JOB, job))?;
        if !row.is_some_and(|row| row.state.is_final() && row.finished_at == finished_at) {
            return Ok(());
        }
        forgetting(job).iter().try_for_each(|change| self.stage(change))
    }

    fn forget_kept(&mut self, job: JobId, prefix: &Key) -> Result<(), StoreError> {
        for key in self.keys_beginning_with(prefix)? {
            if self.row::<JobId>("kept file", &key)? == Some(job) {
                self.put(&key, &[])?;
            }
        }
        Ok(())
    }

    fn kept_again(&mut self, before: &LedgerRow, now: &LedgerRow) -> Result<(), StoreError> {
        let key = keys::of_job(keys::LEDGER, before.job);
        if self.row::<LedgerRow>("ledger row", &key)?.as_ref() != Some(before) {
            return Ok(());
        }
        let (path, identity) = (&before.path, &before.identity);
        for prefix in [keys::kept_whatever_ctime(identity), keys::kept_at_whatever_ctime(path, identity)] {
            self.forget_kept(before.job, &prefix)?;
        }
        for kept in [keys::kept(&now.identity), keys::kept_at(&now.path, &now.identity)] {
            self.put(&kept, &value::encode("kept file", &now.job)?)?;
        }
        self.put(&key, &value::encode("ledger row", now)?)
    }

    fn mark_given_back(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(mut marked) = self.row::<Marked>("marked file", key)? else { return Ok(()) };
        marked.was_given_back = true;
        self.put(key, &value::encode("marked file", &marked)?)
    }

    fn remove_other_names(&mut self, key: &Key, job: JobId) -> Result<(), StoreError> {
        match self.row::<OtherNames>("other names of a file", key)? {
            Some(other) if other.job == job => self.put(key, &[]),
            _ => Ok(()),
        }
    }

    fn remove_all(&mut self, prefix: &Key) -> Result<(), StoreError> {
        for key in self.keys_beginning_with(prefix)? {
            self.put(&key, &[])?;
        }
        Ok(())
    }

    fn end_retry(&mut self, key: &Key, now: Retry) -> Result<(), StoreError> {
        let Some(mut settlement) = self.row::<Settlement>("act on failed records", key)? else {
            return Ok(());
        };
        if let Settled::Retried { retry, .. } = &mut settlement.how {
            *retry = now;
        }
        self.put(key, &value::encode("act on failed records", &settlement)?)
    }

    fn remove_failed_records(&mut self, job: JobId, from: u64) -> Result<(), StoreError> {
        let prefix = keys::of_job(keys::FAILED, job);
        for key in self.keys_beginning_with(&prefix)? {
            let first = keys::position_of(&key)
                .ok_or_else(|| StoreError::corrupt("failed record's key", "it is too short"))?;
            if first >= from {
                self.put(&key, &[])?;
                continue;
            }
            let mut group: Vec<FailedRecord> = self.row("failed records", &key)?.unwrap_or_default();
            let kept = usize::try_from(from - first).unwrap_or(usize::MAX);
            if group.len() > kept {
                group.truncate(kept);
                self.put(&key, &value::encode("failed records", &group)?)?;
            }
        }
        Ok(())
    }

    /// Of what is stored, and of what is staged.
    fn keys_beginning_with(&self, prefix: &[u8]) -> Result<Vec<Key>, StoreError> {
        let mut keys = self.store.keys_beginning_with(prefix).collect::<Result<Vec<Key>, _>>()?;
        keys.extend(self.batch.rows.range(backend::beginning_with(prefix)).map(|(key, _)| key.clone()));
        Ok(keys)
    }

    fn row<T: serde::de::DeserializeOwned>(
        &mut self,
        what: &'static str,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let head = value::read_head(what, &value)?;
        value::decode(what, &head, |index| self.get(&keys::continued(key, index))).map(Some)
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        let Batch { expected, rows, .. } = &mut self.batch;
        if let Some(staged) = rows.get(key) {
            return Ok(staged.clone());
        }
        let found = self.store.inner.rows.get(key)?;
        expected.push((key.to_vec(), found.clone()));
        Ok(found)
    }
}

/// How many values a row has.
fn chunks_of(value: Option<&[u8]>) -> Result<u32, StoreError> {
    match value {
        // An index row is its version alone.
        Some(value) if value.len() > 1 => Ok(value::read_head("row", value)?.chunks),
        _ => Ok(0),
    }
}
