//! The slices of one job between loading and work: memory first, then the disk, then waiting.
//!
//! ```text
//! take <- [ in memory, oldest first ] <- [ stored: taken .. written ] <- put
//! ```
//!
//! Loading runs ahead onto the disk only where the work does not get on: it waits for an answer, or for a disk. Where the processor is what
//! both wait for, packing slices, storing and reading them would only take it from the work.
//!
//! While any slice is stored, later ones are stored too: order is kept without looking into either. Where and how is
//! [`super::spool`]'s business; after a crash they are cut again from the source.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::StoreError;
use super::memory::{MemoryBudget, MemoryLease};
use super::spool::{Spool, Spooled, Writer};
use super::{Store, slice_value};
use crate::model::slice::Slice;

/// How long a slice waits for memory, while none of its job's is taken, before it is stored.
const PATIENCE: Duration = Duration::from_millis(250);

/// The slices of one job between loading and work: put in order by one loader, taken in order by any worker.
pub struct SliceQueue {
    spool: Arc<Spool>,
    memory: Arc<MemoryBudget>,
    load_ahead: u64,
    /// [`PATIENCE`], but in tests.
    pub(super) patience: Duration,
    /// One put at a time, so that the order of putting is the order in which they are stored.
    putting: Mutex<Writer>,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    in_memory: VecDeque<(Slice, MemoryLease)>,
    /// Behind those in memory.
    stored: VecDeque<Stored>,
    stored_count: u64,
    /// Bytes stored, those being read included.
    stored_bytes: u64,
    taken: u64,
    ended: bool,
    stopped: bool,
}

impl Line {
    fn next_bytes(&self) -> Option<u64> {
        let in_memory = self.in_memory.front().map(|(slice, _)| slice.memory_bytes());
        in_memory.or_else(|| self.stored.front().map(|stored| stored.memory_bytes))
    }
}

struct Stored {
    slice: Spooled,
    memory_bytes: u64,
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

/// A slice that waits for its job's work to get on.
struct Wait {
    /// Since when nothing was taken, as far as it was seen.
    since: Instant,
    /// Slices taken by then.
    taken: u64,
}

impl Wait {
    /// What is left of the patience, which begins anew with each slice that is taken.
    fn left(&mut self, now: Instant, taken: u64, patience: Duration) -> Duration {
        if self.taken != taken {
            *self = Self { since: now, taken };
        }
        patience.saturating_sub(now.saturating_duration_since(self.since))
    }
}

/// Where a slice that is put goes.
enum Place {
    Memory(MemoryLease),
    Disk,
    Nowhere,
}

impl SliceQueue {
    pub(super) fn new(store: &Store, memory: Arc<MemoryBudget>, load_ahead: u64) -> Self {
        let spool = Arc::clone(&store.inner.spool);
        let (putting, line) = (Mutex::new(spool.writer(load_ahead)), Mutex::default());
        Self { spool, memory, load_ahead, patience: PATIENCE, putting, line }
    }

    /// Takes a slice in; in memory, or there after a while, else on the disk up to `load_ahead` and as long as there is room, else waits.
    /// False: the queue was closed by `stop`.
    ///
    /// A job with nothing in its queue never waits: whatever other jobs hold, each of them gets on.
    pub fn put(&self, slice: Slice) -> Result<bool, StoreError> {
        self.put_resting(slice, |wait| wait())
    }

    /// As [`Self::put`]; `resting` is given what waits, and runs it.
    pub(crate) fn put_resting(&self, slice: Slice, resting: impl Fn(&dyn Fn())) -> Result<bool, StoreError> {
        let mut writer = self.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = slice.memory_bytes();
        let mut waits = None;
        loop {
            let (seen, drains) = (self.memory.changes(), self.memory.drains());
            match self.place_for(bytes) {
                Some(Place::Memory(lease)) => return Ok(self.push(slice, lease)),
                Some(Place::Disk) => match self.patience_left(&mut waits) {
                    Some(left) => resting(&|| self.memory.wait_until_drained(drains, left)),
                    None => return self.store_slice(&mut writer, &slice),
                },
                Some(Place::Nowhere) => return Ok(false),
                None => resting(&|| self.memory.wait_for_change(seen)),
            }
        }
    }

    /// How long a slice still waits before it is stored. Work of its job that is getting on, whatever others do, needs the processor more
    /// than a slice needs to be packed. None: it is stored now, since nothing was taken for long, or what is before it is stored too.
    fn patience_left(&self, waits: &mut Option<Wait>) -> Option<Duration> {
        let line = self.line();
        let is_stored = !line.stored.is_empty();
        let now = Instant::now();
        let wait = waits.get_or_insert(Wait { since: now, taken: line.taken });
        let left = wait.left(now, line.taken, self.patience);
        (!is_stored && !left.is_zero()).then_some(left)
    }

    /// No slice follows.
    pub(crate) fn end(&self) {
        self.line().ended = true;
    }

    /// The next slice without waiting.
    pub fn take(&self) -> Result<Taken, StoreError> {
        self.take_if(|_| true)
    }

    /// The next slice without waiting, if `wanted` says so of its bytes of memory.
    pub(crate) fn take_if(&self, wanted: impl FnOnce(u64) -> bool) -> Result<Taken, StoreError> {
        let mut line = self.line();
        if !line.next_bytes().is_none_or(wanted) {
            return Ok(Taken::Empty);
        }
        if let Some((slice, lease)) = line.in_memory.pop_front() {
            line.taken += 1;
            let is_empty = line.in_memory.is_empty();
            drop(line);
            if is_empty {
                self.memory.announce_empty(); // its loader may put one more
            } else {
                self.memory.announce();
            }
            return Ok(Taken::Slice(slice, lease));
        }
        if let Some(stored) = line.stored.pop_front() {
            line.taken += 1;
            drop(line);
            return self.take_stored(stored);
        }
        Ok(if line.ended || line.stopped { Taken::Ended } else { Taken::Empty })
    }

    /// Slices that wait to be taken.
    pub fn waiting(&self) -> u64 {
        let line = self.line();
        (line.in_memory.len() + line.stored.len()) as u64
    }

    /// What the next slice takes of memory, if one waits.
    pub(crate) fn next_bytes(&self) -> Option<u64> {
        self.line().next_bytes()
    }

    /// Ends waiting puts and drops all slices (also those that are stored).
    pub(crate) fn stop(&self) {
        let mut line = self.line();
        line.stopped = true;
        let (in_memory, stored) = (std::mem::take(&mut line.in_memory), std::mem::take(&mut line.stored));
        drop(line);
        drop((in_memory, stored));
        self.memory.announce_empty();
    }

    /// (slices that were stored so far, bytes stored now)
    #[cfg(test)]
    pub(super) fn stored(&self) -> (u64, u64) {
        let line = self.line();
        (line.stored_count, line.stored_bytes)
    }

    fn place_for(&self, bytes: u64) -> Option<Place> {
        let line = self.line();
        let stored_waiting = !line.stored.is_empty();
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
        drop(line); // the disk may not answer, and who looks for slices must not wait for it
        (after <= self.load_ahead && self.spool.has_room(bytes)).then_some(Place::Disk)
    }

    fn push(&self, slice: Slice, lease: MemoryLease) -> bool {
        let mut line = self.line();
        if line.stopped {
            return false;
        }
        line.in_memory.push_back((slice, lease));
        true
    }

    fn store_slice(&self, writer: &mut Writer, slice: &Slice) -> Result<bool, StoreError> {
        let (memory_bytes, slice) = (slice.memory_bytes(), writer.put(&slice_value::pack(slice)?)?);
        let mut line = self.line();
        if line.stopped {
            return Ok(false);
        }
        line.stored_count += 1;
        line.stored_bytes += slice.bytes();
        line.stored.push_back(Stored { slice, memory_bytes });
        Ok(true)
    }

    fn take_stored(&self, stored: Stored) -> Result<Taken, StoreError> {
        let slice = stored.slice.read(slice_value::unpack)?;
        let lease = self.memory.lease(slice.memory_bytes());
        let mut line = self.line();
        line.stored_bytes = line.stored_bytes.saturating_sub(stored.slice.bytes());
        drop(line);
        drop(stored);
        self.memory.announce();
        Ok(Taken::Slice(slice, lease))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_begins_anew_with_each_slice_that_is_taken_and_ends_without() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut wait = Wait { since: begun, taken: 7 };
        let mut left = |millis, taken| wait.left(at(millis), taken, Duration::from_millis(250)).as_millis();
        assert_eq!(
            [left(0, 7), left(200, 7), left(240, 8), left(480, 8), left(490, 8), left(900, 8)],
            [250, 50, 250, 10, 0, 0]
        );
    }
}
