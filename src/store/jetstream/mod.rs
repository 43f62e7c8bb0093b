//! NATS JetStream as the store's backend: the rows of a cluster, which one node at a time has.
//!
//! ```text
//!  apply -> the rows in memory, and a queue -> the writer's thread: one batch at the brokers, all or nothing
//!                                               [ the word of this node | rows ... ]   if nothing came since our last one
//! ```
//!
//! All rows lie in one key-value bucket, and in the memory of the node that has them. Whoever takes them reads them, and is from then on the
//! only one that writes: each batch says what its last message must have been, and begins with the word of its node. So a node that another
//! one took the rows from can write nothing any more, however late it wakes.
//!
//! # Invariants
//! - One batch is under way. Whether one was taken of which the answer is lost is told by the word, which came with it.
//! - What is queued is written in its order: what the brokers have is what was applied up to some batch.
//! - Durable is what a majority of the brokers has acknowledged.

mod bucket;
mod lease;
mod looking;
mod redo;
mod subjects;
mod taking;
mod writer;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::backend::{self, Applied, Backend, Batch, KeyRange, Row, Rows, Snapshot, Value};
use super::error::StoreError;
use super::keys::Key;
use super::poison::Poison;
use crate::group_sync::GroupSync;
use crate::model::cluster::Cluster;

pub(crate) use looking::look;
pub(super) use looking::read;
pub(super) use taking::stands_by;
use writer::Queue;

/// At the end what is queued gets so long to be written; the rest is lost, as after a kill.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
const CLOSE_LOOK_EVERY: Duration = Duration::from_millis(2);

type Table = RwLock<BTreeMap<Key, Value>>;

/// The rows of a cluster, which this process has.
pub(super) struct JetStream {
    epoch: u64,
    rows: Arc<Table>,
    queue: Arc<Queue>,
    commits: GroupSync<Poison>,
    /// None: it was closed.
    writer: Option<JoinHandle<()>>,
}

/// What to do while another node has the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhileTaken {
    /// Stand by.
    Wait,
    Refuse,
}

impl JetStream {
    /// Takes the rows of a cluster, once no other node has them.
    pub(super) fn open(cluster: &Cluster, taken: WhileTaken) -> Result<Self, StoreError> {
        let (rows, queue) = (Arc::<Table>::default(), Arc::<Queue>::default());
        let (writer, epoch) = writer::start(cluster, taken, &rows, &queue)?;
        Ok(Self { epoch, rows, queue, commits: GroupSync::default(), writer: Some(writer) })
    }

    /// Grows by one whenever another process takes the rows.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    fn rows(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Value>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// As after a write that failed.
    #[cfg(test)]
    pub(super) fn break_by(&self, error: &StoreError) {
        self.commits.end_by(crate::group_sync::Failure::of(error));
    }

    /// As after a kill: nothing more is said.
    #[cfg(test)]
    fn killed(mut self) {
        self.queue.trip.end_behind(0);
        self.writer = None;
    }
}

impl Backend for JetStream {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(BTreeMap::get(&self.rows(), key).cloned())
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(View(self.rows()))
    }

    fn scan(&self, (from, upto): KeyRange) -> Rows {
        Box::new(Scan { rows: Arc::clone(&self.rows), from, upto })
    }

    fn applied_count(&self) -> Option<u64> {
        Some(self.queue.applied())
    }

    fn apply(&self, batch: Batch) -> Result<Applied, StoreError> {
        self.commits.refuse()?;
        let Some(mut queue) = self.queue.with_room() else {
            // Why it ended the writer says.
            return self.sync().map(|()| Applied::Outdated);
        };
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if !batch.is_current(&*rows, Some(queue.applied))? {
            return Ok(Applied::Outdated);
        }
        for (key, value) in &batch.rows {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        drop(rows);
        queue.put(batch.rows);
        drop(queue);
        self.queue.wake_writer();
        Ok(Applied::Done)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(self.commits.sync(|| self.queue.wait_until_written())?)
    }

    fn has_unsynced(&self) -> bool {
        self.queue.has_unwritten()
    }
}

impl Drop for JetStream {
    /// What is queued is written, and the rows are given up for the next node.
    fn drop(&mut self) {
        self.queue.close();
        let until = Instant::now() + CLOSE_WITHIN;
        let Some(writer) = self.writer.take() else { return };
        while !writer.is_finished() && Instant::now() < until {
            std::thread::sleep(CLOSE_LOOK_EVERY);
        }
        if !writer.is_finished() {
            tracing::warn!(
                "the brokers did not take the last word of this node: the next one waits for the end of its lease"
            );
        }
    }
}

struct View<'r>(RwLockReadGuard<'r, BTreeMap<Key, Value>>);

impl Snapshot for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(BTreeMap::get(&self.0, key).cloned())
    }
}

impl Snapshot for BTreeMap<Key, Value> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(self.get(key).cloned())
    }
}

/// Looks each row up anew: nobody who writes waits for who reads.
struct Scan {
    rows: Arc<Table>,
    from: Bound<Key>,
    upto: Bound<Key>,
}

impl Scan {
    fn next_of(&mut self, is_from_the_end: bool) -> Option<Result<Row, StoreError>> {
        let range = (self.from.clone(), self.upto.clone());
        if backend::is_empty(&range) {
            return None;
        }
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = rows.range(range);
        let found = if is_from_the_end { found.next_back() } else { found.next() };
        let (key, value) = found.map(|(key, value)| (key.clone(), value.clone()))?;
        let end = if is_from_the_end { &mut self.upto } else { &mut self.from };
        *end = Bound::Excluded(key.clone());
        Some(Ok((key, value)))
    }
}

impl Iterator for Scan {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of(false)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_of(true)
    }
}

#[cfg(test)]
#[path = "tests/broker.rs"]
pub(super) mod broker;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "tests/trip.rs"]
mod trip;
