//! Writing rows: several changes, all at once.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde::Serialize;

use super::error::StoreError;
use super::keys::{self, Key};
use super::{Checkpoint, LedgerRow, Store, failed, value};
use crate::model::account::FailedRecord;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::rule::Rule;
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
        values: Vec<Vec<u8>>,
    },
    /// The same, unless it is there: whether it is, is seen when the changes are applied.
    PutNew {
        key: Key,
        values: Vec<Vec<u8>>,
    },
    Remove {
        key: Key,
    },
    RemoveFailedRecords {
        job: JobId,
        from: u64,
    },
    Unclaim {
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
        self.put("job", keys::of_job(keys::JOB, job.id), job);
        if job.state.is_final() {
            self.ask(Change::Remove { key: unfinished })
        } else {
            self.ask(Change::Put { key: unfinished, values: vec![value::mark()] })
        }
    }

    /// Writes a rule's snapshot under its hash (once).
    pub fn rule(&mut self, rule: &Rule) -> &mut Self {
        match value::encode("rule", rule) {
            Ok(values) => self.ask(Change::PutNew { key: keys::rule(&rule.hash()), values }),
            Err(error) => self.fail(error),
        }
    }

    /// Removes the snapshot of a rule.
    pub(super) fn forget_rule(&mut self, key: Key) -> &mut Self {
        self.ask(Change::Remove { key })
    }

    /// Writes a ledger row; with `kept`, also the identity under which a kept file is known.
    pub fn ledger(&mut self, row: &LedgerRow, kept: bool) -> &mut Self {
        if kept {
            self.put("kept file", keys::kept(&row.identity), &row.job);
        }
        self.put("ledger row", keys::of_job(keys::LEDGER, row.job), row)
    }

    /// Forgets a kept file: it is gone, or changed, and what lies there now is a new source.
    pub fn forget_kept(&mut self, identity: &FileIdentity) -> &mut Self {
        self.ask(Change::Remove { key: keys::kept(identity) })
    }

    /// Writes a checkpoint.
    pub fn checkpoint(&mut self, job: JobId, checkpoint: &Checkpoint) -> &mut Self {
        self.put("checkpoint", keys::of_job(keys::CHECKPOINT, job), checkpoint)
    }

    /// Adds failed records from position `first` on (in chunks of at most 64 KiB).
    pub fn failed_records(&mut self, job: JobId, first: u64, records: &[FailedRecord]) -> &mut Self {
        for (position, group) in failed::groups(first, records) {
            self.put("failed records", keys::failed_group(job, position), &group);
        }
        self
    }

    /// Writes what a job is publishing.
    pub fn intent(&mut self, job: JobId, intent: &Intent) -> &mut Self {
        self.put("intent", keys::of_job(keys::INTENT, job), intent)
    }

    /// Removes checkpoint and intent (retired, or from the source again).
    pub fn forget_work(&mut self, job: JobId) -> &mut Self {
        self.ask(Change::Remove { key: keys::of_job(keys::CHECKPOINT, job) });
        self.ask(Change::Remove { key: keys::of_job(keys::INTENT, job) })
    }

    /// Removes failed records from position `from` on (cut back to a checkpoint, or a retry: 0).
    pub fn forget_failed_records(&mut self, job: JobId, from: u64) -> &mut Self {
        self.ask(Change::RemoveFailedRecords { job, from })
    }

    /// Removes a job that never came to be (its file was not claimed), with its ledger row.
    pub fn unclaim(&mut self, job: JobId) -> &mut Self {
        self.ask(Change::Unclaim { job });
        self.forget_job(job)
    }

    /// Removes a job and its work; its ledger row stays.
    pub(super) fn forget_job(&mut self, job: JobId) -> &mut Self {
        for prefix in [keys::JOB, keys::UNFINISHED] {
            self.ask(Change::Remove { key: keys::of_job(prefix, job) });
        }
        self.forget_work(job).forget_failed_records(job, 0)
    }

    /// Makes the changes visible, all at once; durable after the next `Store::sync`.
    pub fn apply(&mut self) -> Result<(), StoreError> {
        let asked = std::mem::replace(&mut self.asked, Ok(Vec::new()))?;
        if asked.is_empty() {
            return Ok(());
        }
        let inner = &self.store.inner;
        inner.refuse_poisoned()?;
        let _one_at_a_time = inner.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut staged = Staged { store: self.store, rows: BTreeMap::new() };
        for change in asked {
            staged.stage(change)?;
        }
        inner.put_rows(staged.rows)
    }

    /// Removes a ledger row with all by which its delivery is found.
    pub(super) fn forget_ledger(&mut self, row: &LedgerRow) -> &mut Self {
        if let Some(hash) = &row.content_hash {
            self.remove(keys::published_content(&row.rule, hash, row.job));
        }
        if let (Some(key), Some(revision)) = (&row.delivery_key, row.revision) {
            self.remove(keys::published_delivery(&row.rule, key, revision, row.job));
        }
        self.remove(keys::of_job(keys::LEDGER, row.job))
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

/// The rows as they will be: what is staged over what is stored.
struct Staged<'a> {
    store: &'a Store,
    rows: BTreeMap<Key, Option<sled::IVec>>,
}

impl Staged<'_> {
    fn stage(&mut self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::Put { key, values } => self.put(key, values),
            Change::PutNew { key, values } => match self.get(&key)? {
                Some(_) => Ok(()),
                None => self.put(key, values),
            },
            Change::Remove { key } => self.put(key, Vec::new()),
            Change::RemoveFailedRecords { job, from } => self.remove_failed_records(job, from),
            Change::Unclaim { job } => self.remove_ledger_row(job),
        }
    }

    /// Writes the head and its chunks, and removes old chunks that nothing took the place of. What is not there is not removed, what is
    /// there not written again: either would cost the engine as much as a write.
    fn put(&mut self, key: Key, values: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let old = self.get(&key)?;
        let is_the_same = match values.as_slice() {
            [] => old.is_none(),
            [value] => old.as_deref() == Some(value.as_slice()),
            _ => false,
        };
        if is_the_same {
            return Ok(());
        }
        let new_count = values.len() as u32;
        for index in new_count.max(1)..chunks_of(old.as_deref())? {
            self.rows.insert(keys::continued(&key, index), None);
        }
        let mut values = values.into_iter().map(sled::IVec::from);
        let head = values.next();
        for (index, value) in (1..).zip(values) {
            self.rows.insert(keys::continued(&key, index), Some(value));
        }
        self.rows.insert(key, head);
        Ok(())
    }

    fn remove_ledger_row(&mut self, job: JobId) -> Result<(), StoreError> {
        let key = keys::of_job(keys::LEDGER, job);
        if let Some(row) = self.row::<LedgerRow>("ledger row", &key)? {
            let kept = keys::kept(&row.identity);
            if self.row::<JobId>("kept file", &kept)? == Some(job) {
                self.put(kept, Vec::new())?;
            }
        }
        self.put(key, Vec::new())
    }

    fn remove_failed_records(&mut self, job: JobId, from: u64) -> Result<(), StoreError> {
        let prefix = keys::of_job(keys::FAILED, job);
        let mut groups: Vec<Key> = Vec::new();
        for key in self.store.scan_prefix("list failed records", &prefix).keys() {
            groups.push(key?.to_vec());
        }
        groups.extend(
            self.rows
                .range(prefix.clone()..)
                .map(|(key, _)| key.clone())
                .take_while(|key| key.starts_with(&prefix)),
        );
        for key in groups {
            let first = keys::position_of(&key)
                .ok_or_else(|| StoreError::corrupt("failed record's key", "it is too short"))?;
            if first >= from {
                self.put(key, Vec::new())?;
                continue;
            }
            let mut group: Vec<FailedRecord> = self.row("failed records", &key)?.unwrap_or_default();
            let kept = usize::try_from(from - first).unwrap_or(usize::MAX);
            if group.len() > kept {
                group.truncate(kept);
                self.put(key, value::encode("failed records", &group)?)?;
            }
        }
        Ok(())
    }

    fn row<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let head = value::read_head(what, &value)?;
        value::decode(what, &head, |index| self.get(&keys::continued(key, index))).map(Some)
    }

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        match self.rows.get(key) {
            Some(staged) => Ok(staged.clone()),
            None => self.store.get(key),
        }
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
