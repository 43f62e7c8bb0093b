//! The rounds with threads of the system.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, mpsc};

use super::{Failure, GroupSync, Told};

/// Whether it is for good.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Failed(bool);

impl Failure for Failed {
    type Error = Self;

    fn of(error: &Self) -> Self {
        *error
    }

    fn of_panic() -> Self {
        Self(true)
    }

    fn is_for_good(&self) -> bool {
        self.0
    }
}

type Group = GroupSync<Failed>;

fn shared(told: &Result<(), Told<Failed>>) -> Option<Failed> {
    match told {
        Err(Told::Shared(failure)) => Some(*failure),
        _ => None,
    }
}

#[test]
fn callers_that_wait_share_one_sync() {
    let group = Group::default();
    let syncs = AtomicU32::new(0);
    let (release, gate) = mpsc::sync_channel::<()>(1);
    let arrived = Barrier::new(51);
    std::thread::scope(|scope| {
        let (begun, has_begun) = mpsc::sync_channel(1);
        let group = &group;
        let first = scope.spawn(move || {
            let sync = || {
                begun.send(()).expect("the test waits");
                gate.recv().expect("the test releases");
                Ok(())
            };
            group.sync(sync)
        });
        has_begun.recv().expect("the first leads");
        for _ in 0..50 {
            scope.spawn(|| {
                arrived.wait();
                let sync = || {
                    syncs.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                group.sync(sync).expect("synced");
            });
        }
        arrived.wait();
        release.send(()).expect("the first waits");
        first.join().expect("no panic").expect("synced");
    });
    assert!((1..=50).contains(&syncs.load(Ordering::Relaxed)), "{syncs:?}");
}

#[test]
fn a_round_in_which_a_write_failed_is_not_believed() {
    let group = Group::default();
    let sync = || {
        group.end_by(Failed(true));
        Ok(())
    };
    assert!(shared(&group.sync(sync)).is_some());
}

#[test]
fn after_a_failure_for_good_nothing_is_tried_again_and_after_another_it_is() {
    let group = Group::default();
    group.sync(|| Err(Failed(false))).expect_err("it fails");
    group.sync(|| Ok(())).expect("another try");
    group.sync(|| Err(Failed(true))).expect_err("it fails");
    let again = group.sync(|| panic!("must not be tried"));
    assert_eq!(shared(&again), Some(Failed(true)));
}

#[test]
fn a_round_that_panics_ends_and_is_the_last() {
    let group = Group::default();
    let panics = std::panic::AssertUnwindSafe(|| group.sync(|| panic!("a bug")));
    std::panic::catch_unwind(panics).expect_err("it panics");
    assert!(shared(&group.sync(|| Ok(()))).is_some());
}
