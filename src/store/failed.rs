//! Failed records: kept in groups, in order, until somebody settles them.

use std::ops::Bound::Included;

use super::backend::{self, Rows};
use super::error::StoreError;
use super::{Store, keys};
use crate::model::account::FailedRecord;
use crate::model::job_id::JobId;

/// Bytes of records in one group, as far as whole records allow: with Base64 and field names still one value.
const GROUP_BYTES_MAX: usize = 32 << 10;
/// What a record's numbers and field names take in JSON, about.
const RECORD_FIELDS_BYTES: usize = 200;

/// Cuts records into the groups they are stored in, each with the position of its first.
pub(super) fn groups(first: u64, records: &[FailedRecord]) -> Vec<(u64, &[FailedRecord])> {
    let mut groups = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (index, record) in records.iter().enumerate() {
        let size = record.bytes.len() + record.error.len() + record.entry_name.len() + RECORD_FIELDS_BYTES;
        if index > begin && bytes + size > GROUP_BYTES_MAX {
            groups.push((first.saturating_add(begin as u64), &records[begin..index]));
            (begin, bytes) = (index, 0);
        }
        bytes += size;
    }
    if begin < records.len() {
        groups.push((first.saturating_add(begin as u64), &records[begin..]));
    }
    groups
}

impl Store {
    /// A job's failed records, in order. Read group by group as they are asked for.
    pub(crate) fn failed_records(
        &self,
        job: JobId,
    ) -> impl Iterator<Item = Result<FailedRecord, StoreError>> + use<> {
        let store = self.clone();
        let mut next = 0;
        self.groups(job).flat_map(move |pair| {
            let group = pair.and_then(|(key, value)| {
                refuse_gap(next, first_of(&key)?)?;
                store.group_after(next, &key, &value)
            });
            match group {
                Ok(records) => {
                    next += records.len() as u64;
                    records.into_iter().map(Ok).collect()
                }
                Err(error) => vec![Err(error)],
            }
        })
    }

    /// A job's failed record by its position, from 0.
    pub(crate) fn failed_record(
        &self,
        job: JobId,
        position: u64,
    ) -> Result<Option<FailedRecord>, StoreError> {
        let upto = (Included(keys::of_job(keys::FAILED, job)), Included(keys::failed_group(job, position)));
        let Some(pair) = self.scan(upto).next_back() else { return Ok(None) };
        let (key, value) = pair?;
        let mut records = self.group_after(position, &key, &value)?;
        Ok(if records.is_empty() { None } else { Some(records.swap_remove(0)) })
    }

    /// How many failed records of a job are kept.
    pub(crate) fn failed_records_count(&self, job: JobId) -> Result<u64, StoreError> {
        let Some(pair) = self.groups(job).next_back() else { return Ok(0) };
        let (key, value) = pair?;
        let records = self.group_after(0, &key, &value)?;
        Ok(first_of(&key)?.saturating_add(records.len() as u64))
    }

    fn groups(&self, job: JobId) -> Rows {
        self.scan(backend::beginning_with(&keys::of_job(keys::FAILED, job)))
    }

    /// The records of a group from position `next` on.
    fn group_after(&self, next: u64, key: &[u8], value: &[u8]) -> Result<Vec<FailedRecord>, StoreError> {
        let first = first_of(key)?;
        let mut records: Vec<FailedRecord> =
            self.whole_row("failed records", key, value)?.unwrap_or_default();
        let known = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX).min(records.len());
        records.drain(..known);
        Ok(records)
    }
}

fn refuse_gap(next: u64, first: u64) -> Result<(), StoreError> {
    if first <= next {
        return Ok(());
    }
    Err(StoreError::corrupt("list of failed records", format!("those from {next} to {first} are missing")))
}

fn first_of(key: &[u8]) -> Result<u64, StoreError> {
    keys::position_of(key).ok_or_else(|| StoreError::corrupt("failed record's key", "it is too short"))
}
