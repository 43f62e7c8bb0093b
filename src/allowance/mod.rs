//! What reading sources may take of the machine beside their slices: memory before it is allocated, and time.
//!
//! Decoder windows, long records, headers and lists of entries are asked for by content that somebody else wrote. All jobs share one
//! limit (`memory`). A source that needs more than the limit by itself is refused, with its need; one that would fit, but not beside
//! what others hold now, waits. Only where sources wait for each other does one give everything back: the youngest, which begins again
//! once the one it gave way to is done.

mod memory;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use memory::{Kind, Wait};
pub(crate) use memory::{Permit, ReadingMemory};

/// The limit is never less: what ordinary compression needs (`zstd -19`, `xz -6`, `bzip2 -9`), or records of 8 MiB.
pub(crate) const BYTES_MIN: u64 = 18 << 20;
/// A source that waits for memory for longer says so.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two steps that counts as reading, at most.
const GAP_MAX: Duration = Duration::from_secs(1);
/// How often one looks that waits for work of its own.
const LOOK_SOON: Duration = Duration::from_millis(2);
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
    /// Asked now and then while the reader waits for memory: has what was read so far worked, so that what the source holds in passing
    /// comes back. False: nothing of it is on its way any more.
    fn get_on(&self) -> bool;
    /// The reader has waited for long: for so many bytes.
    fn tell_waiting(&self, what: &'static str, bytes: u64);
}

/// Reads on without a pause.
pub(crate) struct AtOnce;

impl Pace for AtOnce {
    fn step(&self) -> bool {
        true
    }
    fn is_stopped(&self) -> bool {
        false
    }
    fn rest(&self) {}
    fn resume(&self) {}
    fn get_on(&self) -> bool {
        false
    }
    fn tell_waiting(&self, _: &'static str, _: u64) {}
}

/// Why a source is not read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{what} need {} of memory{}, more than the {} that `service.memory_max` allows", size(*.need), beside(*.held), size(*.limit))]
    TooMuch { what: &'static str, need: u64, held: u64, limit: u64 },
    /// It would fit, but others hold what it needs, and one of them needs what it has.
    #[error("{what} need {} of memory, which other files are using", size(*.need))]
    Busy { what: &'static str, need: u64 },
    #[error("{what} need more memory further on than the {} that its beginning told", size(*.told))]
    MoreThanTold { what: &'static str, told: u64 },
    #[error("reading it takes longer than `decode.time_max` ({limit:?})")]
    TooLong { limit: Duration },
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
            Self::Busy { .. } => "it begins again by itself when they are done; raise `service.memory_max` if that takes too long".into(),
            Self::MoreThanTold { .. } => {
                "ask the sender to pack it with one dictionary size from beginning to end".into()
            }
            Self::TooLong { .. } => "raise `decode.time_max` if such data is expected, and take the file again with `landfall retry`".into(),
            Self::Stopped => return None,
        })
    }
}

/// A size as a person would write it, never less than it is.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..=0x3ff => format!("{bytes} bytes"),
        0x400..=0xf_ffff => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

fn beside(held: u64) -> String {
    if held == 0 { String::new() } else { format!(" beside the {} it has", size(held)) }
}

/// What one source may take.
pub struct Allowance {
    pool: Arc<ReadingMemory>,
    /// Its place in the order, whenever it is read anew.
    source: u128,
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

impl Allowance {
    /// For one source; of several the one with the lowest `order` comes first.
    pub fn new(pool: &Arc<ReadingMemory>, order: u128, pace: Box<dyn Pace>, time_max: Duration) -> Arc<Self> {
        let clock = Mutex::new(Clock { spent: Duration::ZERO, since: Some(Instant::now()) });
        Arc::new(Self { pool: Arc::clone(pool), source: order, pace, time_max, clock })
    }

    /// For a source that is read alone.
    pub fn alone(bytes_max: u64) -> Arc<Self> {
        Self::new(&ReadingMemory::new(bytes_max), 0, Box::new(AtOnce), Duration::MAX)
    }

    /// The limit of all sources.
    pub fn bytes_max(&self) -> u64 {
        self.pool.bytes_max()
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

    /// As [`Self::take_passing`], if there is as much now.
    pub fn take_at_once(&self, what: &'static str, bytes: u64) -> Result<Option<Permit>, Refusal> {
        self.pool.try_take(self.source, Kind::Passing, what, bytes)
    }

    /// Waits for something that comes by itself as the work gets on.
    pub fn wait_until(&self, has_come: impl Fn() -> bool) -> Result<(), Refusal> {
        self.resting(|| {
            while !has_come() {
                if self.pace.is_stopped() {
                    return Err(Refusal::Stopped);
                }
                self.pace.get_on();
                std::thread::sleep(LOOK_SOON);
            }
            Ok(())
        })
    }

    fn take_as(&self, kind: Kind, what: &'static str, bytes: u64) -> Result<Permit, Refusal> {
        if let Some(permit) = self.pool.try_take(self.source, kind, what, bytes)? {
            return Ok(permit);
        }
        self.resting(|| {
            let waited = self.wait_for(kind, what, bytes);
            self.pool.wait_no_more(self.source);
            waited
        })
    }

    fn wait_for(&self, kind: Kind, what: &'static str, bytes: u64) -> Result<Permit, Refusal> {
        let begun = Instant::now();
        let mut is_told = false;
        loop {
            if self.pace.is_stopped() {
                return Err(Refusal::Stopped);
            }
            let wait = Wait { bytes, is_stuck: !self.pace.get_on() };
            if let Some(permit) = self.pool.try_take(self.source, kind, what, bytes)? {
                return Ok(permit);
            }
            self.pool.wait(self.source, what, wait, LOOK_EVERY)?;
            if !is_told && begun.elapsed() >= PATIENCE {
                is_told = true;
                self.pace.tell_waiting(what, bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn allowance(pool: &Arc<ReadingMemory>, order: u128) -> Arc<Allowance> {
        Allowance::new(pool, order, Box::new(AtOnce), Duration::MAX)
    }

    #[test]
    fn more_than_the_limit_is_refused_at_once_with_its_need() {
        let pool = ReadingMemory::new(20 * MIB);
        let one = allowance(&pool, 1);
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
        let (one, other) = (allowance(&pool, 1), allowance(&pool, 2));
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
        let (old, young) = (allowance(&pool, 1), allowance(&pool, 2));
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

    /// Reads as an archive is read: a piece at a time, all of it kept to the end. Whether it came to its end.
    fn read_pieces(one: &Allowance, pieces: u64) -> bool {
        let mut kept = Vec::new();
        for _ in 0..pieces {
            match one.take("pieces", MIB) {
                Ok(permit) => kept.push(permit),
                Err(Refusal::Busy { .. }) => return false,
                Err(other) => panic!("{other}"),
            }
            std::thread::yield_now();
        }
        true
    }

    #[test]
    fn sources_that_need_more_together_than_there_is_all_end_and_the_oldest_never_begins_anew() {
        let pool = ReadingMemory::new(16 * MIB);
        let starts: Vec<u32> = std::thread::scope(|scope| {
            let reads = |order: u128| {
                let pool = &pool;
                move || {
                    let one = allowance(pool, order);
                    (1..1_000_000).find(|_| read_pieces(&one, 12)).expect("it ends")
                }
            };
            let all: Vec<_> = (0..6).map(|order| scope.spawn(reads(order))).collect();
            all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(starts[0], 1);
        assert!(starts[1] <= 2, "it begins anew when the oldest is done: {starts:?}");
        assert_eq!(pool.used(), 0);
    }

    /// What was read is worked at the third look.
    #[derive(Default)]
    struct Worked {
        looks: std::sync::atomic::AtomicU32,
        passing: Arc<Mutex<Vec<Permit>>>,
    }

    impl Pace for Worked {
        fn step(&self) -> bool {
            true
        }
        fn is_stopped(&self) -> bool {
            false
        }
        fn rest(&self) {}
        fn resume(&self) {}
        fn get_on(&self) -> bool {
            let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if looks == 2 {
                self.passing.lock().expect("no panic").clear();
            }
            looks < 2
        }
        fn tell_waiting(&self, _: &'static str, _: u64) {}
    }

    #[test]
    fn memory_that_comes_back_by_itself_is_waited_for_and_what_does_not_is_refused() {
        let pool = ReadingMemory::new(20 * MIB);
        let passing = Arc::new(Mutex::new(Vec::new()));
        let pace = Worked { passing: Arc::clone(&passing), ..Worked::default() };
        let one = Allowance::new(&pool, 1, Box::new(pace), Duration::MAX);
        passing.lock().expect("no panic").push(one.take_passing("columns", 15 * MIB).expect("it fits"));
        let next = one.take_passing("columns", 15 * MIB).expect("the first came back");
        let refused = one.take_passing("columns", 15 * MIB).expect_err("this one does not come back");
        let too_much = Refusal::TooMuch { what: "columns", need: 15 * MIB, held: 15 * MIB, limit: 20 * MIB };
        assert_eq!(refused, too_much);
        drop(next);
    }

    #[test]
    fn reading_ends_after_its_time_and_waiting_does_not_count() {
        let slow = Allowance::new(&ReadingMemory::new(0), 0, Box::new(AtOnce), Duration::from_millis(1));
        slow.resting(|| std::thread::sleep(Duration::from_millis(5)));
        slow.step().expect("it has only waited");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        assert_eq!(slow.step(), Err(Refusal::TooLong { limit: Duration::from_millis(1) }));
    }
}
