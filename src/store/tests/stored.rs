//! Slices that go through the disk leave nothing behind, neither there nor in the store of rows; a disk that fails costs doing them again.

use super::*;

/// Twenty-two of them are more than one file takes.
const LARGE: usize = 50_000;

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let listed = std::fs::read_dir(folder.join("slices")).into_iter().flatten();
    listed.map(|entry| entry.expect("listed").path()).collect()
}

/// Puts slices of which one goes to memory and the others to the disk.
fn stored(store: &Store, count: u64, length: usize) -> SliceQueue {
    let queue = store.slice_queue(MemoryBudget::new(0), 4 << 20);
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

#[test]
fn a_backlog_gives_its_disk_back_as_it_goes_and_leaves_the_rows_alone() {
    let folder = folder();
    let store = open(folder.path());
    assert_eq!(files(folder.path()).len(), 0, "made only when it is needed");
    let log = || std::fs::metadata(folder.path().join("store/db")).expect("the log").len();
    let before = log();
    let queue = stored(&store, 70, LARGE);
    assert_eq!(files(folder.path()).len(), 4);
    let mut left = Vec::new();
    for number in 0..70 {
        assert!(matches!(queue.take().expect("taken"), Taken::Slice(taken, _) if taken.number == number));
        left.push(files(folder.path()).len());
    }
    assert!(left.is_sorted_by(|before, after| before >= after), "{left:?}");
    assert_eq!(left.last(), Some(&1), "the last one is written on");
    drop(queue);
    assert_eq!(files(folder.path()).len(), 0);
    store.sync().expect("synced");
    assert_eq!(log(), before);
}

#[test]
fn slices_that_come_and_go_take_no_more_room_than_those_that_are_there_at_once() {
    let folder = folder();
    let store = open(folder.path());
    let mut queue = store.slice_queue(MemoryBudget::new(0), u64::MAX);
    queue.patience = std::time::Duration::ZERO;
    for round in 0..50 {
        for number in [3 * round, 3 * round + 1, 3 * round + 2] {
            assert!(queue.put(slice(number, LARGE)).expect("put"));
        }
        for number in [3 * round, 3 * round + 1, 3 * round + 2] {
            assert!(matches!(queue.take(), Ok(Taken::Slice(taken, _)) if taken == slice(number, LARGE)));
        }
    }
    assert_eq!(queue.stored(), (100, 0));
    let [file] = files(folder.path()).try_into().expect("one file");
    let length = file.metadata().expect("is there").len();
    assert!(length < 3 * LARGE as u64, "{length}");
}

#[test]
fn each_job_has_files_of_its_own_and_none_outlives_the_store() {
    let folder = folder();
    let store = open(folder.path());
    let (one, other) = (stored(&store, 3, 1000), stored(&store, 3, 1000));
    assert_eq!(files(folder.path()).len(), 2);
    one.stop();
    assert!(matches!(one.take(), Ok(Taken::Ended)));
    assert_eq!(take_all(&other, 1000), 3);
    drop((one, other, store));
    assert!(!folder.path().join("slices").try_exists().expect("can be looked at"));
}

/// Goal: what a disk changed is not taken for a slice, and costs its own job alone.
#[test]
fn a_failure_breaks_off_the_job_that_it_hits_and_nobody_else() {
    use crate::model::fault::{Fault as _, FaultKind};
    let folder = folder();
    let store = open(folder.path());
    let breaks = |damage: fn(&Path)| {
        let broken = stored(&store, 3, 1000);
        let [file] = files(folder.path()).try_into().expect("one file");
        damage(&file);
        assert!(matches!(broken.take(), Ok(Taken::Slice(..))), "that one is in memory");
        let error = broken.take().expect_err("refused");
        assert!(matches!(error, StoreError::Slices { .. }), "{error}");
        assert!(!error.is_poisoned() && error.kind() == FaultKind::Storage);
        assert!(error.hint().is_some_and(|hint| hint.contains("goes on by itself")), "{error}");
    };
    breaks(|file| std::fs::write(file, "short").expect("written"));
    breaks(|file| {
        let mut bytes = std::fs::read(file).expect("read");
        bytes[500] ^= 1;
        std::fs::write(file, bytes).expect("written");
    });
    std::fs::remove_dir(folder.path().join("slices")).expect("is empty");
    std::fs::write(folder.path().join("slices"), "in the way").expect("written");
    let refused = store.slice_queue(MemoryBudget::new(0), u64::MAX);
    assert!(refused.put(slice(0, 1000)).expect("in memory"));
    assert!(matches!(refused.put(slice(1, 1000)), Err(StoreError::Slices { action: "made", .. })));
    crate::durable_fs::remove_file(&folder.path().join("slices")).expect("removed");
    assert_eq!(take_all(&stored(&store, 3, 1000), 1000), 3);
    store.change().job(&job(1)).apply().expect("rows are written all the same");
    store.sync().expect("synced");
}

#[test]
fn without_room_on_the_disk_loading_waits_for_its_own_slices_to_be_taken() {
    let store = Store::in_memory();
    store.inner.spool.reserve(u64::MAX);
    let queue = store.slice_queue(MemoryBudget::new(0), u64::MAX);
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
    assert_eq!(queue.stored().0, 0);
}

#[test]
fn a_job_whose_work_does_not_get_on_runs_ahead_to_the_disk_however_busy_others_are() {
    let store = Store::in_memory();
    let memory = MemoryBudget::new(0);
    let stuck = store.slice_queue(Arc::clone(&memory), u64::MAX);
    let busy = store.slice_queue(Arc::clone(&memory), u64::MAX);
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
    let mut queue = store.slice_queue(Arc::clone(&memory), u64::MAX);
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
    assert_eq!(files(folder.path()).len(), 0);
}
