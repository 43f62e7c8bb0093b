//! Rows in memory alone: for tests of what does not depend on the engine. Nothing of it outlives its last handle.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::backend::{self, Applied, Backend, Batch, KeyRange, Rows, Snapshot, Value};
use super::error::StoreError;
use super::keys::Key;
use super::poison::Poison;
use crate::group_sync::GroupSync;

#[derive(Default)]
pub(super) struct InMemory {
    rows: RwLock<BTreeMap<Key, Value>>,
    commits: GroupSync<Poison>,
}

impl InMemory {
    /// As after a write that failed.
    pub(super) fn break_by(&self, error: &StoreError) {
        self.commits.end_by(crate::group_sync::Failure::of(error));
    }

    fn rows(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Value>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for InMemory {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.rows().get(key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(self.rows())
    }

    fn scan(&self, range: KeyRange) -> Rows {
        if backend::is_empty(&range) {
            return Box::new(std::iter::empty());
        }
        let found: Vec<_> =
            self.rows().range(range).map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
        Box::new(found.into_iter())
    }

    fn apply(&self, batch: Batch) -> Result<Applied, StoreError> {
        self.commits.refuse()?;
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if !batch.is_current(&*rows, None)? {
            return Ok(Applied::Outdated);
        }
        for (key, value) in batch.rows {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(Applied::Done)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(self.commits.sync(|| Ok(()))?)
    }

    fn has_unsynced(&self) -> bool {
        false
    }
}

impl Snapshot for RwLockReadGuard<'_, BTreeMap<Key, Value>> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Snapshot::get(&**self, key)
    }
}
