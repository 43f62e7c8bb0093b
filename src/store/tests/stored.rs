//! Slices that go through the disk leave nothing behind, neither there nor in the store of rows; a disk that fails costs doing them again.

use super::*;

/// Seventy of them are more than an engine is kept for.
const LARGE: usize = 50_000;

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("slices")).map_or(0, Iterator::count)
}

/// Puts slices of which one goes to memory and the others to the disk.
fn stored(store: &Store, job: JobId, count: u64, length: usize) -> SliceQueue {
    let queue = store.slice_queue(job, MemoryBudget::new(0), u64::MAX);
    for number in 0..count {
        assert!(queue.put(slice(number, length)).expect("put"));
    }
    queue
}

fn take_all(queue: &SliceQueue, length: usize) -> u64 {
    let mut next = 0;
    while let Taken::Slice(taken, _lease) = queue.take().expect("taken") {
        assert_eq!(taken, slice(next, length));
        next += 1;
    }
    next
}

/// An engine is closed by a thread of its own.
fn wait_for_no_folder(folder: &Path) {
    let begun = std::time::Instant::now();
    while entries(folder) > 0 {
        assert!(begun.elapsed().as_secs() < 20, "its folder stays");
        std::thread::yield_now();
    }
}

#[test]
fn a_backlog_that_is_through_gives_its_disk_back_and_leaves_the_rows_alone() {
    let folder = folder();
    let store = open(folder.path());
    let log = || std::fs::metadata(folder.path().join("store/db")).expect("the log").len();
    store.sync().expect("synced");
    let before = log();
    for round in 0..2 {
        let queue = stored(&store, id(round), 70, LARGE);
        assert_eq!(entries(folder.path()), 1);
        assert_eq!(take_all(&queue, LARGE), 70);
        assert!(!store.inner.slices.is_open(), "nothing holds it while the queue is still there");
        wait_for_no_folder(folder.path());
    }
    store.sync().expect("synced");
    assert_eq!(log(), before);
}

#[test]
fn an_engine_stays_for_the_next_slices_until_much_went_through_and_while_another_job_has_some() {
    let folder = folder();
    let store = open(folder.path());
    assert_eq!(entries(folder.path()), 0, "made only when it is needed");
    let small = stored(&store, id(1), 3, 1000);
    assert_eq!(take_all(&small, 1000), 3);
    assert!(store.inner.slices.is_open() && store.inner.slices.is_empty());
    let waiting = stored(&store, id(2), 3, 1000);
    let large = stored(&store, id(1), 70, LARGE);
    assert_eq!(entries(folder.path()), 1, "all jobs share it");
    drop(large);
    assert!(store.inner.slices.is_open());
    assert_eq!(take_all(&waiting, 1000), 3);
    assert!(!store.inner.slices.is_open());
    let last = stored(&store, id(3), 3, 1000);
    drop((store, small, waiting, last));
    wait_for_no_folder(folder.path());
}

#[test]
fn a_failure_breaks_off_whoever_has_slices_there_and_nobody_else() {
    use crate::model::fault::{Fault as _, FaultKind};
    let store = Store::in_memory();
    let broken = stored(&store, id(1), 3, 1000);
    store.inner.slices.lend().expect("lent").give_up();
    assert!(matches!(broken.take(), Ok(Taken::Slice(..))), "that one is in memory");
    for error in [broken.take().err(), broken.put(slice(3, 1000)).err()] {
        let error = error.expect("refused");
        assert!(matches!(error, StoreError::Slices { .. }), "{error}");
        assert!(!error.is_poisoned() && error.kind() == FaultKind::Storage);
        assert!(error.hint().is_some_and(|hint| hint.contains("goes on by itself")), "{error}");
    }
    broken.stop().expect("what is given up need not be removed");
    let again = stored(&store, id(1), 3, 1000);
    drop(broken);
    assert_eq!(take_all(&again, 1000), 3);
    store.change().job(&job(1)).apply().expect("rows are written all the same");
    store.sync().expect("synced");
}

#[test]
fn without_room_on_the_disk_loading_waits_for_its_own_slices_to_be_taken() {
    let store = Store::in_memory();
    store.inner.slices.reserve(u64::MAX);
    let queue = store.slice_queue(id(1), MemoryBudget::new(0), u64::MAX);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..50 {
                assert!(queue.put(slice(number, 1000)).expect("put"));
            }
            queue.end();
        });
        let mut next = 0;
        loop {
            match queue.take().expect("taken") {
                Taken::Slice(taken, _lease) => {
                    assert_eq!(taken.number, next);
                    next += 1;
                }
                Taken::Empty => std::thread::yield_now(),
                Taken::Ended => break,
            }
        }
        assert_eq!(next, 50);
    });
    assert_eq!((queue.stored().0, store.inner.slices.is_open()), (0, false));
}

#[test]
fn a_job_whose_work_does_not_get_on_runs_ahead_to_the_disk_however_busy_others_are() {
    let store = Store::in_memory();
    let memory = MemoryBudget::new(0);
    let stuck = store.slice_queue(id(0), Arc::clone(&memory), u64::MAX);
    let busy = store.slice_queue(id(1), Arc::clone(&memory), u64::MAX);
    std::thread::scope(|scope| {
        let putting = scope.spawn(|| (0..2).all(|number| stuck.put(slice(number, 100)).expect("put")));
        while !putting.is_finished() {
            assert!(busy.put(slice(0, 100)).expect("put"));
            assert!(matches!(busy.take().expect("taken"), Taken::Slice(..)));
        }
        assert!(putting.join().expect("no panic"));
    });
    assert_eq!(stuck.stored().0, 1);
}

#[test]
fn a_slice_waits_for_memory_while_those_before_it_are_taken_however_often_others_are_done() {
    let folder = folder();
    let store = open(folder.path());
    let memory = MemoryBudget::new(0);
    let mut queue = store.slice_queue(id(0), Arc::clone(&memory), u64::MAX);
    queue.patience = std::time::Duration::from_hours(1);
    std::thread::scope(|scope| {
        let putting =
            scope.spawn(|| (0..200).for_each(|number| assert!(queue.put(slice(number, 100)).expect("put"))));
        scope.spawn(move || {
            while !putting.is_finished() {
                memory.announce_empty(); // another's queue
            }
        });
        let mut next = 0;
        while next < 200 {
            match queue.take().expect("taken") {
                Taken::Slice(taken, _lease) => {
                    assert_eq!(taken.number, next);
                    next += 1;
                }
                _ => std::thread::yield_now(),
            }
        }
    });
    assert_eq!(queue.stored().0, 0, "none went through the disk");
    assert_eq!(entries(folder.path()), 0);
}
