//! The slices of one job between loading and work: memory first, then sled, then waiting.
//!
//! ```text
//! take <- [ in memory, oldest first ] <- [ in sled: taken .. written ] <- put
//! ```
//!
//! While any slice is in sled, later ones go there too: order is kept without looking into either. Slices in sled need not be
//! durable: after a crash they are cut again from the source.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::StoreError;
use super::memory::{MemoryBudget, MemoryLease};
use super::value::{self, CHUNK_PAYLOAD_BYTES_MAX};
use super::{Store, keys, slice_value};
use crate::model::job_id::JobId;
use crate::model::slice::Slice;

/// What the first chunk says besides: how many there are.
const COUNT_BYTES: usize = 4;

/// Bytes of stored slices that the engine may hold unwritten.
const UNFLUSHED_BYTES_MAX: u64 = 8 << 20;

/// The slices of one job between loading and work: put in order by one loader, taken in order by any worker.
pub struct SliceQueue {
    store: Store,
    job: JobId,
    memory: Arc<MemoryBudget>,
    load_ahead: u64,
    /// One put at a time, so that the order of putting is the order in sled.
    putting: Mutex<()>,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    in_memory: VecDeque<(Slice, MemoryLease)>,
    /// In sled: from here …
    first_stored: u64,
    /// … up to here.
    end_stored: u64,
    /// Bytes in sled, those being read and removed included.
    stored_bytes: u64,
    ended: bool,
    stopped: bool,
}

/// What a queue had.
#[derive(Debug)]
pub enum Taken {
    /// The next slice. Its bytes count against the memory limit until the lease is dropped: when its work is done.
    Slice(Slice, MemoryLease),
    /// None yet.
    Empty,
    /// None, and none will come.
    Ended,
}

/// Where a slice that is put goes.
enum Place {
    Memory(MemoryLease),
    Sled,
    Nowhere,
}

impl SliceQueue {
    pub(super) fn new(store: Store, job: JobId, memory: Arc<MemoryBudget>, load_ahead: u64) -> Self {
        Self { store, job, memory, load_ahead, putting: Mutex::default(), line: Mutex::default() }
    }

    /// Takes a slice in; in memory, else in sled up to `load_ahead`, else waits. False: the queue was closed by `stop`.
    ///
    /// A job with nothing in its queue never waits: whatever other jobs hold, each of them gets on.
    pub fn put(&self, slice: Slice) -> Result<bool, StoreError> {
        let _one_at_a_time = self.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = slice.memory_bytes();
        loop {
            let seen = self.memory.changes();
            match self.place_for(bytes) {
                Some(Place::Memory(lease)) => return Ok(self.push(slice, lease)),
                Some(Place::Sled) => return self.store_slice(&slice),
                Some(Place::Nowhere) => return Ok(false),
                None => self.memory.wait_for_change(seen),
            }
        }
    }

    /// No slice follows.
    pub fn end(&self) {
        self.line().ended = true;
    }

    /// The next slice without waiting.
    pub fn take(&self) -> Result<Taken, StoreError> {
        let mut line = self.line();
        if let Some((slice, lease)) = line.in_memory.pop_front() {
            drop(line);
            // The queue may be empty now, and its loader may put one more.
            self.memory.announce();
            return Ok(Taken::Slice(slice, lease));
        }
        if line.first_stored < line.end_stored {
            let sequence = line.first_stored;
            line.first_stored += 1;
            drop(line);
            return self.take_stored(sequence);
        }
        Ok(if line.ended || line.stopped { Taken::Ended } else { Taken::Empty })
    }

    /// Ends waiting puts and drops all slices (also those in sled).
    pub fn stop(&self) -> Result<(), StoreError> {
        let mut line = self.line();
        line.stopped = true;
        let in_memory = std::mem::take(&mut line.in_memory);
        let stored = line.first_stored..line.end_stored;
        line.first_stored = line.end_stored;
        drop(line);
        drop(in_memory);
        self.memory.announce();
        for sequence in stored {
            self.remove(sequence)?;
        }
        Ok(())
    }

    /// (slices that went through sled, bytes in sled now)
    pub fn stored(&self) -> (u64, u64) {
        let line = self.line();
        (line.end_stored, line.stored_bytes)
    }

    /// Slices that wait to be taken.
    pub fn waiting(&self) -> u64 {
        let line = self.line();
        line.in_memory.len() as u64 + (line.end_stored - line.first_stored)
    }

    fn place_for(&self, bytes: u64) -> Option<Place> {
        let line = self.line();
        let stored_waiting = line.first_stored < line.end_stored;
        if line.stopped {
            return Some(Place::Nowhere);
        }
        if line.in_memory.is_empty() && !stored_waiting {
            return Some(Place::Memory(self.memory.lease(bytes)));
        }
        if !stored_waiting && let Some(lease) = self.memory.try_lease(bytes) {
            return Some(Place::Memory(lease));
        }
        let after = line.stored_bytes.checked_add(bytes)?;
        (after <= self.load_ahead).then_some(Place::Sled)
    }

    fn push(&self, slice: Slice, lease: MemoryLease) -> bool {
        let mut line = self.line();
        if line.stopped {
            return false;
        }
        line.in_memory.push_back((slice, lease));
        true
    }

    fn store_slice(&self, slice: &Slice) -> Result<bool, StoreError> {
        self.store.inner.commits.check()?;
        let sequence = self.line().end_stored;
        let written = self.write(sequence, slice)?;
        self.hold_back(written)?;
        let mut line = self.line();
        if line.stopped {
            drop(line);
            self.remove(sequence)?;
            return Ok(false);
        }
        line.end_stored += 1;
        line.stored_bytes += written;
        Ok(true)
    }

    /// The engine writes behind, in segments that it keeps in memory until they are written: without this a fast loader would fill more
    /// of them than `memory_max` allows for.
    fn hold_back(&self, written: u64) -> Result<(), StoreError> {
        let inner = &self.store.inner;
        if inner.unflushed.fetch_add(written, Ordering::Relaxed) + written < UNFLUSHED_BYTES_MAX {
            return Ok(());
        }
        inner.unflushed.store(0, Ordering::Relaxed);
        self.store.written("write stored slices", inner.db.flush())?;
        Ok(())
    }

    fn write(&self, sequence: u64, slice: &Slice) -> Result<u64, StoreError> {
        let packed = slice_value::pack(slice)?;
        let (first, rest) = packed.split_at(packed.len().min(CHUNK_PAYLOAD_BYTES_MAX - COUNT_BYTES));
        let further = rest.chunks(CHUNK_PAYLOAD_BYTES_MAX);
        let count = u32::try_from(further.len() + 1)
            .map_err(|_| StoreError::Encode { what: "slice", detail: "it is too long".into() })?;
        let mut head = Vec::with_capacity(COUNT_BYTES + first.len());
        head.extend_from_slice(&count.to_be_bytes());
        head.extend_from_slice(first);
        for (chunk, payload) in (0..).zip(std::iter::once(head.as_slice()).chain(further)) {
            let key = keys::slice_chunk(self.job, sequence, chunk);
            let insert = self.store.inner.slices.insert(key, value::chunk(payload));
            self.store.written("store a slice", insert)?;
        }
        Ok(packed.len() as u64)
    }

    fn take_stored(&self, sequence: u64) -> Result<Taken, StoreError> {
        let packed = self.store.stored_slice(self.job, sequence)?;
        let slice = slice_value::unpack(&packed)?;
        let lease = self.memory.lease(slice.memory_bytes());
        self.remove(sequence)?;
        let mut line = self.line();
        line.stored_bytes = line.stored_bytes.saturating_sub(packed.len() as u64);
        drop(line);
        self.memory.announce();
        Ok(Taken::Slice(slice, lease))
    }

    /// Removes a slice's chunks; ends at the first that is not there.
    fn remove(&self, sequence: u64) -> Result<(), StoreError> {
        for chunk in 0.. {
            let removed = self.store.inner.slices.remove(keys::slice_chunk(self.job, sequence, chunk));
            if self.store.written("forget a slice", removed)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// A stored slice's bytes, as they were packed.
    pub(super) fn stored_slice(&self, job: JobId, sequence: u64) -> Result<Vec<u8>, StoreError> {
        let (count, mut packed) = {
            let head = self.slice_chunk(job, sequence, 0)?;
            match value::read_chunk("slice", &head)? {
                [a, b, c, d, payload @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), payload.to_vec()),
                _ => return Err(StoreError::corrupt("slice", "it is too short")),
            }
        };
        for chunk in 1..count {
            let further = self.slice_chunk(job, sequence, chunk)?;
            packed.extend_from_slice(value::read_chunk("slice", &further)?);
        }
        Ok(packed)
    }

    fn slice_chunk(&self, job: JobId, sequence: u64, chunk: u32) -> Result<sled::IVec, StoreError> {
        self.inner
            .slices
            .get(keys::slice_chunk(job, sequence, chunk))
            .map_err(StoreError::engine("read a slice"))?
            .ok_or_else(|| StoreError::corrupt("slice", format!("part {chunk} is missing")))
    }
}

impl Drop for SliceQueue {
    fn drop(&mut self) {
        // What nobody took must not lie there for a later queue of the job; what stays is forgotten at the next start.
        self.stop().ok();
    }
}
