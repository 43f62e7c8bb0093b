//! The seam between what is stored and the engine that stores it.
//!
//! A new backend implements [`Backend`], passes the suite in `conformance_tests`, and gets a constructor of [`super::Store`].

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::error::StoreError;
use super::keys::Key;

/// Bytes of a value, at most: what is longer is stored in several.
pub(super) const VALUE_BYTES_MAX: usize = 64 << 10;

pub(super) type Value = Bytes;
pub(super) type Row = (Key, Value);
pub(super) type Rows = Box<dyn DoubleEndedIterator<Item = Result<Row, StoreError>> + Send>;
pub(super) type KeyRange = (Bound<Key>, Bound<Key>);

/// Keeps values of bytes under keys of bytes, in the order of the keys.
///
/// It exists so that the engine is a choice: jobs, ledger and checkpoints with their formats and their promises stay as they are whether they
/// lie in the embedded engine, in memory (for tests), or one day on the network. So it knows no row, and whoever writes rows knows no engine.
///
/// There is one space of keys: its first byte tells the kinds apart, and one batch may change all of them.
///
/// # Promises
/// - A batch becomes visible and durable as a whole or not at all; what was applied is read at once.
/// - Durable is what was applied before a [`Self::sync`] that came back well. What was not may be lost, never in part or out of order.
/// - After a write or a sync that failed all later ones are refused with [`StoreError::Poisoned`]: what is durable is no longer known.
///   Reading goes on, but for a scan that would have to give rows first.
/// - Damage is an error, never a panic.
pub(super) trait Backend: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError>;

    /// For several values of one moment.
    fn snapshot(&self) -> Box<dyn Snapshot + '_>;

    /// The rows in a range, in order from either end; nothing where it ends before it begins.
    ///
    /// Each is read whole. One that is there from the first to the last look is met once; one that comes or goes meanwhile may be.
    fn scan(&self, range: KeyRange) -> Rows;

    /// Batches applied so far, those of other processes included, if that is known: it saves looking at what a batch expects.
    fn applied_count(&self) -> Option<u64> {
        None
    }

    /// Applies a batch, if all is as it expects.
    fn apply(&self, batch: Batch) -> Result<Applied, StoreError>;

    /// Makes durable what was applied so far. Many may call it at once.
    fn sync(&self) -> Result<(), StoreError>;

    /// Whether anything that was applied is not durable yet.
    fn has_unsynced(&self) -> bool;

    /// Refuses where what was opened is no longer what the next start will find.
    fn check_there(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The names of what lies in the same place and is none of ours.
    fn unknown_tables(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Values that stay as they are while it lives. Whoever writes may have to wait for its end: it is to be short, and nothing else is asked of the
/// backend meanwhile.
pub(super) trait Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError>;
}

/// What is changed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What must still be so; none: nothing is there.
    pub(super) expected: Vec<(Key, Option<Value>)>,
    /// [`Backend::applied_count`] from before any of this was read: where it is the same still, all is as expected.
    pub(super) as_of: Option<u64>,
    /// What will be so; none: nothing is there.
    pub(super) rows: BTreeMap<Key, Option<Value>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Applied {
    Done,
    /// Something was not as the batch expects. Nothing was changed.
    Outdated,
}

impl Batch {
    /// Whether all is as it expects, of a backend that applied so many batches.
    pub(super) fn is_current(
        &self,
        now: &dyn Snapshot,
        applied_count: Option<u64>,
    ) -> Result<bool, StoreError> {
        if applied_count.is_some() && applied_count == self.as_of {
            return Ok(true);
        }
        for (key, expected) in &self.expected {
            if now.get(key)? != *expected {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The rows whose keys begin so.
pub(super) fn beginning_with(prefix: &[u8]) -> KeyRange {
    let behind = prefix.iter().rposition(|byte| *byte != u8::MAX).map_or(Bound::Unbounded, |last| {
        let mut behind = prefix[..=last].to_vec();
        behind[last] += 1;
        Bound::Excluded(behind)
    });
    (Bound::Included(prefix.to_vec()), behind)
}

/// Whether no key can lie in it: what engines do with a range that ends before it begins differs.
pub(super) fn is_empty((from, upto): &KeyRange) -> bool {
    match (from, upto) {
        (Bound::Included(from), Bound::Included(upto)) => from > upto,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(upto) | Bound::Excluded(upto)) => {
            from >= upto
        }
        _ => false,
    }
}
