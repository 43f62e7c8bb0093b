//! Rows that wait for the next sync. A small job's row is written several times between two syncs: the engine gets it once, and what
//! many jobs wrote as one batch. Each batch costs the engine two writes that it waits for, however small it is.
//!
//! ```text
//!  apply ──> waiting rows ──(sync, a scan, too many)──> engine ──flush, fsync──> durable
//!               │ read first                               │ read else
//! ```

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::PoisonError;

use super::error::StoreError;
use super::keys::Key;
use super::{Inner, Store};

/// Bytes of rows that wait at most: as many again are in the engine's batch while it is made.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Rows as they will be in the engine; none: removed.
#[derive(Debug, Default)]
pub(super) struct Pending {
    rows: BTreeMap<Key, Option<sled::IVec>>,
    /// Of all rows that were put here since it was empty.
    bytes: usize,
}

impl Pending {
    /// What waits for a key: a value, or its removal.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<sled::IVec>> {
        self.rows.get(key)
    }

    fn put(&mut self, rows: BTreeMap<Key, Option<sled::IVec>>) {
        for (key, value) in rows {
            self.bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            self.rows.insert(key, value);
        }
    }
}

impl Inner {
    /// Rows that belong together become visible together.
    pub(super) fn put_rows(&self, rows: BTreeMap<Key, Option<sled::IVec>>) -> Result<(), StoreError> {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.put(rows);
        if pending.bytes >= WAITING_BYTES_MAX { self.give(&mut pending) } else { Ok(()) }
    }

    /// Gives what waits to the engine, all or nothing.
    pub(super) fn give_rows(&self) -> Result<(), StoreError> {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        self.give(&mut pending)
    }

    /// What waits stays readable until the engine has it. After an error nothing is written any more.
    fn give(&self, pending: &mut Pending) -> Result<(), StoreError> {
        if pending.rows.is_empty() {
            return Ok(());
        }
        self.refuse_poisoned()?;
        let mut batch = sled::Batch::default();
        for (key, value) in &pending.rows {
            match value {
                Some(value) => batch.insert(key.as_slice(), value),
                None => batch.remove(key.as_slice()),
            }
        }
        self.written("write rows", self.meta.apply_batch(batch))?;
        *pending = Pending::default();
        Ok(())
    }
}

impl Drop for Inner {
    /// Nobody was promised what was not synced; a clean end keeps it all the same.
    fn drop(&mut self) {
        if let Err(error) = self.give_rows() {
            tracing::debug!(%error, "rows that were not synced are lost");
        }
    }
}

impl Store {
    /// The rows in a range of keys, read as they are asked for; `action` is for errors.
    pub(super) fn scan(&self, action: &'static str, range: impl RangeBounds<Key>) -> Scan {
        let refused = self.inner.give_rows().err();
        Scan { refused, rows: self.inner.meta.range(range), action }
    }

    /// The rows whose keys begin so.
    pub(super) fn scan_prefix(&self, action: &'static str, prefix: impl AsRef<[u8]>) -> Scan {
        let refused = self.inner.give_rows().err();
        Scan { refused, rows: self.inner.meta.scan_prefix(prefix), action }
    }

    /// Makes durable what nobody waits for, and sees that a flush under way comes to its end.
    pub fn sync_waiting(&self) -> Result<(), StoreError> {
        let is_empty = self.inner.pending.read().unwrap_or_else(PoisonError::into_inner).rows.is_empty();
        if is_empty && !self.inner.commits.is_syncing() { Ok(()) } else { self.sync() }
    }
}

/// Rows of the engine, which got before what waited.
pub(super) struct Scan {
    /// It did not take it.
    refused: Option<StoreError>,
    rows: sled::Iter,
    action: &'static str,
}

type Row = (sled::IVec, sled::IVec);

impl Scan {
    pub(super) fn keys(self) -> impl DoubleEndedIterator<Item = Result<sled::IVec, StoreError>> {
        self.map(|row| row.map(|(key, _)| key))
    }

    fn next_of(
        &mut self,
        next: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<Row>>,
    ) -> Option<Result<Row, StoreError>> {
        match self.refused.take() {
            Some(error) => Some(Err(error)),
            None => next(&mut self.rows).map(|row| row.map_err(StoreError::engine(self.action))),
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of(Iterator::next)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_of(DoubleEndedIterator::next_back)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{id, job};
    use super::*;
    use crate::store::keys;

    fn is_in_engine(store: &Store, number: u64) -> bool {
        let key = keys::of_job(keys::JOB, id(number));
        store.inner.meta.get(key).expect("can be read").is_some()
    }

    #[test]
    fn a_row_is_read_before_the_engine_has_it_and_after() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        store.change().job(&job(1)).apply().expect("applied");
        assert!(!is_in_engine(&store, 1));
        assert_eq!(store.job(id(1)).expect("read"), Some(job(1)));
        store.sync().expect("synced");
        assert!(is_in_engine(&store, 1));
        assert_eq!(store.job(id(1)).expect("read"), Some(job(1)));
        store.change().unclaim(id(1)).apply().expect("applied");
        assert_eq!(store.job(id(1)).expect("read"), None, "its removal waits");
    }

    #[test]
    fn a_list_has_the_rows_that_waited() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        for number in 1..4 {
            store.change().job(&job(number)).apply().expect("applied");
        }
        let ids: Vec<_> = store.jobs().map(|job| job.expect("read").id).collect();
        assert_eq!(ids, [id(1), id(2), id(3)]);
    }

    #[test]
    fn rows_do_not_wait_in_any_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let mut number = 0;
        while !is_in_engine(&store, 1) {
            number += 1;
            store.change().job(&job(number)).apply().expect("applied");
            let waiting = store.inner.pending.read().expect("nobody panicked").bytes;
            assert!(waiting < WAITING_BYTES_MAX);
        }
        assert_eq!(store.jobs().count() as u64, number);
    }

    #[test]
    fn a_store_that_is_closed_without_a_sync_keeps_its_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        store.change().job(&job(1)).apply().expect("applied");
        drop(store);
        let store = Store::open(folder.path()).expect("opens again");
        assert!(store.job(id(1)).expect("read").is_some());
    }
}
