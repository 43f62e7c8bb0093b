//! The rounds under schedules of `shuttle`: each wait and each lock is a place at which another thread may go on.

use std::sync::atomic::{AtomicU32, Ordering};

use shuttle::sync as primitives;
use shuttle::sync::Arc;
use shuttle::thread;

use rounds::{Failure, GroupSync};

#[path = "rounds.rs"]
#[allow(clippy::duplicate_mod, dead_code, reason = "the same algorithm with other primitives")]
mod rounds;

/// Random ones, and those in which few threads overtake another: each finds what the other seldom does.
const SCHEDULES: usize = 500;
const WRITERS: u32 = 3;
const WRITES: u32 = 2;

#[derive(Clone, Copy, Debug)]
struct Failed;

impl Failure for Failed {
    type Error = Self;

    fn of(_: &Self) -> Self {
        Self
    }

    fn of_panic() -> Self {
        Self
    }

    fn is_for_good(&self) -> bool {
        true
    }
}

/// A disk: what was written, and what of it is durable.
#[derive(Default)]
struct Disk {
    written: AtomicU32,
    durable: AtomicU32,
    syncs: AtomicU32,
    /// The sync that fails, counted from 1; 0: none.
    fails_at: u32,
}

impl Disk {
    fn sync(&self) -> Result<(), Failed> {
        let number = self.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        let seen = self.written.load(Ordering::SeqCst);
        thread::yield_now();
        if number == self.fails_at {
            return Err(Failed);
        }
        self.durable.fetch_max(seen, Ordering::SeqCst);
        Ok(())
    }
}

/// Writers that each make their writes durable. How many were told that they are.
fn write_and_sync(fails_at: u32) {
    let group = Arc::new(GroupSync::<Failed>::default());
    let disk = Arc::new(Disk { fails_at, ..Disk::default() });
    let writer = |(group, disk): (Arc<GroupSync<Failed>>, Arc<Disk>)| {
        let mut failures = 0;
        for _ in 0..WRITES {
            let mine = disk.written.fetch_add(1, Ordering::SeqCst) + 1;
            let mut own = None;
            let told = group.sync(|| own.insert(disk.sync()).to_owned());
            assert!(own.is_none_or(|own| own.is_ok() == told.is_ok()), "told something else than it met");
            match told {
                Ok(()) => assert!(disk.durable.load(Ordering::SeqCst) >= mine, "it is not durable"),
                Err(_) => failures += 1,
            }
        }
        failures
    };
    let threads: Vec<_> = (0..WRITERS)
        .map(|_| {
            let own = (Arc::clone(&group), Arc::clone(&disk));
            thread::spawn(move || writer(own))
        })
        .collect();
    let failures: u32 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    let syncs = disk.syncs.load(Ordering::SeqCst);
    assert_eq!(failures > 0, fails_at != 0 && syncs >= fails_at, "{failures} were told, {syncs} syncs");
    assert!(fails_at == 0 || syncs <= fails_at, "a sync after one that failed");
    assert!(syncs <= WRITERS * WRITES);
}

fn under_all_schedulers(test: fn()) {
    shuttle::check_random(test, SCHEDULES);
    shuttle::check_pct(test, SCHEDULES, 3);
}

#[test]
fn whoever_is_told_so_is_durable_and_nobody_waits_for_ever_in_any_order_of_steps() {
    under_all_schedulers(|| write_and_sync(0));
}

#[test]
fn a_sync_that_fails_is_the_last_and_all_whom_it_covers_are_told_in_any_order_of_steps() {
    under_all_schedulers(|| write_and_sync(1));
    under_all_schedulers(|| write_and_sync(2));
}
