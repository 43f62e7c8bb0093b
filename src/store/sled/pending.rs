//! Rows that wait for the next sync. A small job's row is written several times between two syncs: the engine gets it once, and what
//! many jobs wrote as one batch. Each batch costs the engine two writes that it waits for, however small it is.
//!
//! ```text
//!  apply ──> waiting rows ──(sync, a scan, too many)──> engine ──flush, fsync──> durable
//!               │ read first                               │ read else
//! ```

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{PoisonError, RwLockReadGuard};

use super::{Sled, read};
use crate::store::backend::{Applied, Batch, Snapshot, Value};
use crate::store::error::StoreError;
use crate::store::keys::Key;

/// Bytes of rows that wait at most: as many again are in the engine's batch while it is made.
pub(super) const WAITING_BYTES_MAX: usize = 1 << 20;

/// Rows as they will be in the engine; none: removed.
#[derive(Debug, Default)]
pub(super) struct Pending {
    rows: BTreeMap<Key, Option<Value>>,
    /// Of all rows that were put here since it was empty.
    bytes: usize,
    /// Batches that were put here so far.
    applied_count: u64,
}

/// What waits over what the engine has; nothing is applied while it lives.
pub(super) struct View<'a, P> {
    engine: &'a Sled,
    pending: P,
}

impl<P: Deref<Target = Pending>> Snapshot for View<'_, P> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        if let Some(waiting) = self.pending.rows.get(key) {
            return Ok(waiting.clone());
        }
        let found = read(&self.engine.path, || self.engine.table.get(key))?;
        Ok(found.map(Value::from_owner))
    }
}

impl Sled {
    pub(super) fn view(&self) -> View<'_, RwLockReadGuard<'_, Pending>> {
        View { engine: self, pending: self.pending.read().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(super) fn batches_put(&self) -> u64 {
        self.view().pending.applied_count
    }

    /// Rows that belong together become visible together.
    pub(super) fn put_rows(&self, batch: Batch) -> Result<Applied, StoreError> {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        let applied_count = Some(pending.applied_count);
        if !batch.is_current(&View { engine: self, pending: &*pending }, applied_count)? {
            return Ok(Applied::Outdated);
        }
        pending.applied_count += 1;
        for (key, value) in batch.rows {
            pending.bytes += key.len() + value.as_ref().map_or(0, Value::len);
            pending.rows.insert(key, value);
        }
        if pending.bytes >= WAITING_BYTES_MAX {
            self.give(&mut pending)?;
        }
        Ok(Applied::Done)
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
        self.commits.refuse()?;
        let mut batch = sled::Batch::default();
        for (key, value) in &pending.rows {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_ref()),
                None => batch.remove(key.as_slice()),
            }
        }
        self.written("write rows", self.table.apply_batch(batch))?;
        *pending = Pending { applied_count: pending.applied_count, ..Pending::default() };
        Ok(())
    }
}

impl Drop for Sled {
    /// Nobody was promised what was not synced; a clean end keeps it all the same.
    fn drop(&mut self) {
        if let Err(error) = self.give_rows() {
            tracing::debug!(%error, "rows that were not synced are lost");
        }
    }
}
