//! What reading sources may take of the machine beside their slices: memory before it is allocated, and time.
//!
//! Decoder windows, long records, headers and lists of entries are asked for by content that somebody else wrote. All jobs share one
//! limit. A source that needs more than the limit by itself is refused, with its need; one that would fit, but not beside what others
//! hold now, waits. Of those that wait only the oldest holder waits without an end: the others give everything back and begin again
//! later, so that two halves never wait for each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The limit is never less: what ordinary compression needs (`zstd -19`, `xz -6`, `bzip2 -9`).
pub const BYTES_MIN: u64 = 16 << 20;
/// How long a source waits for others' memory before it gives back what it has.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two steps that counts as reading, at most.
const GAP_MAX: Duration = Duration::from_secs(1);
/// How often one that waits looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Who lets a source be read: called often, from the thread that reads.
pub trait Pace: Send + Sync {
    /// May wait for its turn. False: reading is to stop.
    fn step(&self) -> bool;
    /// Whether reading is to stop, without a turn.
    fn is_stopped(&self) -> bool;
    /// The reader waits for something else than its turn.
    fn rest(&self);
    /// The reader goes on; may wait for its turn.
    fn resume(&self);
}

/// Reads on without a pause.
struct AtOnce;

impl Pace for AtOnce {
    fn step(&self) -> bool {
        true
    }
    fn is_stopped(&self) -> bool {
        false
    }
    fn rest(&self) {}
    fn resume(&self) {}
}

/// Why a source is not read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It needs more than the limit.
    #[error("{what} need {} of memory{}, more than the {} that `service.memory_max` allows", size(*.need), beside(*.held), size(*.limit))]
    TooMuch {
        /// What for.
        what: &'static str,
        /// Bytes asked for.
        need: u64,
        /// Bytes that it has already.
        held: u64,
        /// Bytes of all.
        limit: u64,
    },
    /// It would fit, but not beside what others hold.
    #[error("{what} need {} of memory, which other files are using", size(*.need))]
    Busy {
        /// What for.
        what: &'static str,
        /// Bytes asked for.
        need: u64,
    },
    /// It asks for more than its beginning told; how much cannot be known.
    #[error("{what} need more memory further on than the {} that its beginning told", size(*.told))]
    MoreThanTold {
        /// What for.
        what: &'static str,
        /// What was told, and taken.
        told: u64,
    },
    /// It took too long.
    #[error("reading it takes longer than `decode.time_max` ({limit:?})")]
    TooLong {
        /// `decode.time_max`.
        limit: Duration,
    },
    /// Nobody wants it read any more.
    #[error("reading was stopped")]
    Stopped,
}

impl Refusal {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooMuch { need, held, .. } => {
                let needed = size(need.saturating_add(*held));
                format!("raise `service.memory_max` to {needed} at least, restart the service, and take the file again with `landfall retry`")
            }
            Self::Busy { .. } => "it is tried again by itself; raise `service.memory_max` if that takes too long".into(),
            Self::MoreThanTold { .. } => {
                "ask the sender to pack it with one dictionary size from beginning to end".into()
            }
            Self::TooLong { .. } => "raise `decode.time_max` if such data is expected, and take the file again with `landfall retry`".into(),
            Self::Stopped => return None,
        })
    }
}

/// A size as a person would write it, never less than it is.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=0x3ff => format!("{bytes} bytes"),
        0x400..=0xf_ffff => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

fn beside(held: u64) -> String {
    if held == 0 { String::new() } else { format!(" beside the {} it has", size(held)) }
}

/// The memory that all sources share while they are read.
#[derive(Debug)]
pub struct ReadingMemory {
    bytes_max: u64,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    next: u64,
    /// Of each source that has any, the oldest first.
    holders: BTreeMap<u64, Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Until the source is read.
    kept: u64,
    /// Until it is worked, which happens by itself.
    passing: u64,
}

/// How long memory is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kept,
    Passing,
}

/// Memory that is taken; given back on drop.
#[derive(Debug)]
pub struct Permit {
    pool: Arc<ReadingMemory>,
    source: u64,
    kind: Kind,
    bytes: u64,
}

/// What one source may take.
pub struct Allowance {
    pool: Arc<ReadingMemory>,
    source: u64,
    pace: Box<dyn Pace>,
    time_max: Duration,
    clock: Mutex<Clock>,
}

/// Counts the time of reading, without that of waiting.
#[derive(Debug)]
struct Clock {
    spent: Duration,
    since: Option<Instant>,
}

impl ReadingMemory {
    /// For all sources together; no less than [`BYTES_MIN`].
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max: bytes_max.max(BYTES_MIN), state: Mutex::default(), freed: Condvar::new() })
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        self.state().used
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Allowance {
    /// For one source.
    pub fn new(pool: &Arc<ReadingMemory>, pace: Box<dyn Pace>, time_max: Duration) -> Arc<Self> {
        let mut state = pool.state();
        let source = state.next;
        state.next += 1;
        drop(state);
        let clock = Mutex::new(Clock { spent: Duration::ZERO, since: Some(Instant::now()) });
        Arc::new(Self { pool: Arc::clone(pool), source, pace, time_max, clock })
    }

    /// For a source that is read alone.
    pub fn alone(bytes_max: u64) -> Arc<Self> {
        Self::new(&ReadingMemory::new(bytes_max), Box::new(AtOnce), Duration::MAX)
    }

    /// The limit of all sources.
    pub fn bytes_max(&self) -> u64 {
        self.pool.bytes_max
    }

    /// To be asked now and then while reading: waits for a turn, and says whether to go on.
    pub fn step(&self) -> Result<(), Refusal> {
        let before = Instant::now();
        if !self.pace.step() {
            return Err(Refusal::Stopped);
        }
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        // From here on: what the turn was waited for is no reading.
        if let Some(since) = clock.since.replace(Instant::now()) {
            // A turn is short: a longer gap was a wait of another kind.
            clock.spent += before.saturating_duration_since(since).min(GAP_MAX);
        }
        if clock.spent > self.time_max { Err(Refusal::TooLong { limit: self.time_max }) } else { Ok(()) }
    }

    /// Does something that waits; others have the turn meanwhile.
    pub fn resting<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).since = None;
        self.pace.rest();
        let done = wait();
        self.pace.resume();
        done
    }

    /// Memory until the source is read; waits for it where it may.
    pub fn take(&self, what: &'static str, bytes: u64) -> Result<Permit, Refusal> {
        self.take_as(Kind::Kept, what, bytes)
    }

    /// Memory that comes back by itself as the work gets on.
    pub fn take_passing(&self, what: &'static str, bytes: u64) -> Result<Permit, Refusal> {
        self.take_as(Kind::Passing, what, bytes)
    }

    fn take_as(&self, kind: Kind, what: &'static str, bytes: u64) -> Result<Permit, Refusal> {
        let limit = self.pool.bytes_max;
        if let Some(permit) = self.try_take(kind, what, bytes)? {
            return Ok(permit);
        }
        self.resting(|| {
            let mut begun = Instant::now();
            let mut last = self.pool.used();
            loop {
                if self.pace.is_stopped() {
                    return Err(Refusal::Stopped);
                }
                let waited = self.pool.freed.wait_timeout(self.pool.state(), LOOK_EVERY);
                drop(waited);
                if let Some(permit) = self.try_take(kind, what, bytes)? {
                    return Ok(permit);
                }
                let state = self.pool.state();
                if state.used < last {
                    begun = Instant::now(); // it gets on
                }
                last = state.used;
                let held = state.holders.get(&self.source).copied().unwrap_or_default();
                let is_oldest =
                    state.holders.first_key_value().is_none_or(|(source, _)| *source == self.source);
                drop(state);
                let own = held.kept + held.passing;
                if begun.elapsed() < PATIENCE {
                    continue;
                }
                if own.saturating_add(bytes) > limit {
                    return Err(Refusal::TooMuch { what, need: bytes, held: own, limit });
                }
                if !is_oldest {
                    return Err(Refusal::Busy { what, need: bytes });
                }
            }
        })
    }

    /// None: not now.
    fn try_take(&self, kind: Kind, what: &'static str, bytes: u64) -> Result<Option<Permit>, Refusal> {
        let limit = self.pool.bytes_max;
        let mut state = self.pool.state();
        let held = state.holders.get(&self.source).copied().unwrap_or_default();
        if held.kept.saturating_add(bytes) > limit {
            return Err(Refusal::TooMuch { what, need: bytes, held: held.kept, limit });
        }
        if state.used.saturating_add(bytes) > limit {
            return Ok(None);
        }
        state.used += bytes;
        let held = state.holders.entry(self.source).or_default();
        match kind {
            Kind::Kept => held.kept += bytes,
            Kind::Passing => held.passing += bytes,
        }
        Ok(Some(Permit { pool: Arc::clone(&self.pool), source: self.source, kind, bytes }))
    }
}

impl Permit {
    /// Bytes taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.used = state.used.saturating_sub(self.bytes);
        if let Some(held) = state.holders.get_mut(&self.source) {
            match self.kind {
                Kind::Kept => held.kept = held.kept.saturating_sub(self.bytes),
                Kind::Passing => held.passing = held.passing.saturating_sub(self.bytes),
            }
            if held.kept + held.passing == 0 {
                state.holders.remove(&self.source);
            }
        }
        drop(state);
        self.pool.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn allowance(pool: &Arc<ReadingMemory>) -> Arc<Allowance> {
        Allowance::new(pool, Box::new(AtOnce), Duration::MAX)
    }

    #[test]
    fn more_than_the_limit_is_refused_at_once_with_its_need() {
        let pool = ReadingMemory::new(20 * MIB);
        let one = allowance(&pool);
        let refused = one.take("windows", 21 * MIB).expect_err("it never fits");
        assert_eq!(refused, Refusal::TooMuch { what: "windows", need: 21 * MIB, held: 0, limit: 20 * MIB });
        let _first = one.take("windows", 15 * MIB).expect("it fits");
        let refused = one.take("windows", 6 * MIB).expect_err("both together never fit");
        assert!(refused.to_string().contains("6 MiB of memory beside the 15 MiB it has"), "{refused}");
        assert_eq!(pool.used(), 15 * MIB);
    }

    #[test]
    fn what_fits_later_waits_until_others_give_back() {
        let pool = ReadingMemory::new(20 * MIB);
        let (one, other) = (allowance(&pool), allowance(&pool));
        let held = one.take("windows", 15 * MIB).expect("it fits");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| other.take("windows", 15 * MIB).map(drop));
            drop(held);
            waits.join().expect("no panic").expect("it fits now");
        });
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn of_two_halves_that_wait_for_each_other_the_younger_gives_way() {
        let pool = ReadingMemory::new(20 * MIB);
        let (old, young) = (allowance(&pool), allowance(&pool));
        let first = old.take("windows", 10 * MIB).expect("it fits");
        let second = young.take("windows", 10 * MIB).expect("it fits");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| old.take("windows", 5 * MIB));
            let gives_way = young.take("windows", 5 * MIB).expect_err("the older one waits for it");
            assert_eq!(gives_way, Refusal::Busy { what: "windows", need: 5 * MIB });
            drop(second);
            drop(waits.join().expect("no panic").expect("the younger gave way"));
        });
        drop(first);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn reading_ends_after_its_time_and_waiting_does_not_count() {
        let slow = Allowance::new(&ReadingMemory::new(0), Box::new(AtOnce), Duration::from_millis(1));
        slow.resting(|| std::thread::sleep(Duration::from_millis(5)));
        slow.step().expect("it has only waited");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        assert_eq!(slow.step(), Err(Refusal::TooLong { limit: Duration::from_millis(1) }));
    }
}
