//! The shell without threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Crew, Dispatch, Workable};
use crate::engine::schedule::{Limits, Owner, Schedule};
use crate::model::job_id::JobId;
use crate::model::priority::{Priority, Sharing};

struct Run {
    id: JobId,
    has_slices: AtomicBool,
}

impl Workable for Run {
    fn id(&self) -> JobId {
        self.id
    }

    fn has_work(&self) -> bool {
        self.has_slices.load(Ordering::SeqCst)
    }
}

fn dispatch() -> Dispatch<Run> {
    let (millisecond, one) = (Duration::from_millis(1), 1);
    let limits = Limits {
        workers: one,
        readers: one,
        runs: 8,
        settled: 8,
        finishers: one,
        batch: one,
        sharing: Sharing::default(),
        turn: millisecond,
        patience: millisecond,
    };
    Dispatch::new(Schedule::new(limits))
}

#[test]
fn a_crew_that_grew_shrinks_again_when_nothing_is_to_be_done() {
    let dispatch = dispatch();
    let (ended, ends) = std::sync::mpsc::sync_channel(6);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            let (mut seat, ended, dispatch) = (dispatch.seat(Crew::Workers), ended.clone(), &dispatch);
            scope.spawn(move || {
                let is_none = dispatch.next_work(&mut seat).is_none();
                ended.send(is_none).expect("is heard");
            });
        }
        assert!(ends.iter().take(4).all(|is_none| is_none), "four of six end");
        ends.try_recv().expect_err("two wait for a task");
        dispatch.stop();
        assert!(ends.iter().take(2).all(|is_none| is_none));
    });
}

/// Else the clock would not look whether whoever has the right is stuck.
#[test]
fn a_slice_is_told_also_after_a_loader_gave_its_right_to_work_back_and_another_took_it() {
    let dispatch = dispatch();
    let runs = [1, 2].map(|number| {
        let run = Arc::new(Run { id: JobId::from_parts(number, 0), has_slices: AtomicBool::new(false) });
        let owner = Owner::of_source(&format!("rule {number}"), Path::new("in/a.csv"), Priority::default());
        dispatch.begin_run(&owner, Arc::clone(&run));
        run
    });
    let [hangs, small] = &runs;
    let first = dispatch.try_work(hangs.id).expect("it is free");
    dispatch.slices();
    dispatch.end_work(first);
    let _hung = dispatch.try_work(hangs.id).expect("it is free again");
    assert_eq!(dispatch.next_tick(), None, "nobody wants it");
    small.has_slices.store(true, Ordering::SeqCst);
    dispatch.slices();
    assert!(dispatch.next_tick().is_some(), "somebody does");
}
