//! The memory limit that all jobs share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A putter looks again after this long even if nobody woke it: a bug then costs time, not a stuck job.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Bytes of slices and results in memory, all jobs together.
#[derive(Debug)]
pub struct MemoryBudget {
    bytes_max: u64,
    room: Mutex<Room>,
    changed: Condvar,
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Room {
    used: u64,
    /// Moves on with every change a putter may wait for: memory given back, a queue taken from or stopped.
    changes: u64,
    waiting: u32,
    /// Moves on when those who wait for much room are to look again; see [`MemoryBudget::wait_until_drained`].
    drains: u64,
    draining: u32,
}

/// Bytes of the memory limit in use; given back on drop.
#[derive(Debug)]
pub struct MemoryLease {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of `memory_max` bytes.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, room: Mutex::default(), changed: Condvar::new(), drained: Condvar::new() })
    }

    /// Accounts for bytes that are there already; never waits, and may go over the limit.
    pub(crate) fn lease(self: &Arc<Self>, bytes: u64) -> MemoryLease {
        let mut room = self.room();
        room.used = room.used.saturating_add(bytes);
        MemoryLease { budget: Arc::clone(self), bytes }
    }

    /// Bytes if there is room for them.
    pub(super) fn try_lease(self: &Arc<Self>, bytes: u64) -> Option<MemoryLease> {
        let mut room = self.room();
        let used = room.used.checked_add(bytes).filter(|used| *used <= self.bytes_max)?;
        room.used = used;
        Some(MemoryLease { budget: Arc::clone(self), bytes })
    }

    /// Whether as much is leased as there is.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.bytes_max
    }

    pub(crate) fn used(&self) -> u64 {
        self.room().used
    }

    /// The number of changes so far; see [`Self::wait_for_change`].
    pub(super) fn changes(&self) -> u64 {
        self.room().changes
    }

    /// Waits until something changed since `seen` was read. Reading `seen` first and then looking at the state misses nothing.
    pub(super) fn wait_for_change(&self, seen: u64) {
        let mut room = self.room();
        room.waiting += 1;
        let waited = self.changed.wait_timeout_while(room, LOOK_AGAIN, |room| room.changes == seen);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
    }

    /// To be read before looking for room, and then given to [`Self::wait_until_drained`]: no change between the two is missed.
    pub(super) fn drains(&self) -> u64 {
        self.room().drains
    }

    /// Waits until, since `seen` was read, memory was given back with room for many left, or a queue was emptied or stopped; or until
    /// `patience` is over. Woken once for many changes: a putter that is woken for each costs its workers more than it brings.
    pub(super) fn wait_until_drained(&self, seen: u64, patience: Duration) {
        let mut room = self.room();
        room.draining += 1;
        let waited = self.drained.wait_timeout_while(room, patience, |room| room.drains == seen);
        waited.unwrap_or_else(PoisonError::into_inner).0.draining -= 1;
    }

    /// Says that a queue has nothing left, or takes nothing any more: its putter must not wait for others.
    pub(super) fn announce_empty(&self) {
        let mut room = self.room();
        self.tell_drained(&mut room);
        self.announce_in(room);
    }

    fn tell_drained(&self, room: &mut Room) {
        room.drains += 1;
        if room.draining > 0 {
            self.drained.notify_all();
        }
    }

    pub(super) fn announce(&self) {
        self.announce_in(self.room());
    }

    fn announce_in(&self, mut room: MutexGuard<'_, Room>) {
        room.changes += 1;
        if room.waiting > 0 {
            self.changed.notify_all();
        }
        let low_water = self.bytes_max / 8 * 7;
        if room.used <= low_water {
            self.tell_drained(&mut room);
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        let mut room = self.budget.room();
        room.used = room.used.saturating_sub(self.bytes);
        self.budget.announce_in(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_gives_its_bytes_back_when_it_is_dropped() {
        let budget = MemoryBudget::new(10);
        let first = budget.try_lease(8).expect("there is room");
        assert!(budget.try_lease(3).is_none());
        let over = budget.lease(100);
        assert_eq!((budget.used(), over.bytes), (108, 100));
        drop((first, over));
        assert_eq!(budget.used(), 0);
        assert!(budget.try_lease(10).is_some());
        assert!(budget.try_lease(u64::MAX).is_none());
    }

    #[test]
    fn who_waits_for_much_room_goes_on_when_there_is_or_a_queue_is_empty_and_misses_neither() {
        let budget = MemoryBudget::new(80);
        let (_kept, given_back) = (budget.lease(70), budget.lease(10));
        let long = Duration::from_hours(1);
        let seen = budget.drains();
        drop(budget.lease(0));
        assert_eq!(budget.drains(), seen, "there is no room for many");
        budget.wait_until_drained(seen, Duration::ZERO); // patience ends
        budget.announce_empty();
        budget.wait_until_drained(seen, long); // it came before the wait
        let seen = budget.drains();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| budget.wait_until_drained(seen, long));
            while budget.room().draining == 0 {
                std::thread::yield_now();
            }
            drop(given_back);
            waits.join().expect("no panic");
        });
    }
}
