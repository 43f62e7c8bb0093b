//! Checkpoints: synced and written on a thread of their own, so that no worker waits for a disk.

use std::sync::Arc;

use super::collect::CheckpointOrder;
use super::dispatch::Seat;
use super::run::Run;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::model::job::Job;
use crate::store::{Checkpoint, Store};

/// The checkpointer's life.
pub(super) fn write_checkpoints(shared: &Arc<Shared>, seat: &mut Seat) {
    let runs = std::iter::from_fn(|| shared.dispatch.next_batch(seat)).flatten();
    for run in runs.filter_map(|id| shared.dispatch.run(id)) {
        match run.guard("checkpoint", || write_what_is_due(&shared.store, &run)) {
            Ok(true) => shared.footprints.in_hand.clear(run.id), // it got on
            Ok(false) => {}
            Err(trouble) if trouble.is_poisoned() => {
                shared.fail_for_good(trouble.error);
                return;
            }
            Err(trouble) => {
                run.break_off(trouble);
                shared.settle(&run);
            }
        }
        run.end_checkpoint();
        shared.dispatch.slices_again(); // its workers may have waited for this
    }
}

/// False: none is due any more, or whoever collects looks himself afterwards.
fn write_what_is_due(store: &Store, run: &Run) -> Result<bool, Trouble> {
    let order = match run.take_checkpoint_order() {
        Some(order) => Some(order),
        None => run.due_checkpoint()?,
    };
    order.map_or(Ok(false), |order| write_checkpoint(store, run, order).map(|()| true))
}

/// Partials first, then the row that names their lengths: a row never promises bytes that a power cut could take back.
pub(super) fn write_checkpoint(store: &Store, run: &Run, order: CheckpointOrder) -> Result<(), Trouble> {
    let CheckpointOrder { sync, checkpoint, slices_broken } = order;
    sync.sync()?;
    let is_written = run.with_row(|job| {
        if run.is_settled() {
            return Ok::<_, Trouble>(false); // it is being finished, under this same lock: its next row says more than this checkpoint
        }
        run.copy_progress(job);
        fill_in(job, &checkpoint, slices_broken);
        if !job.is_failing() {
            job.suspect(None)?;
        }
        store.change().checkpoint(run.id, &checkpoint).job(job).apply()?;
        Ok(true)
    })?;
    if is_written { Ok(store.sync()?) } else { Ok(()) }
}

/// The same of a job that nobody works for any more; its row is the finisher's.
pub(super) fn write_last(store: &Store, mut job: Job, order: CheckpointOrder) -> Result<(), Trouble> {
    let CheckpointOrder { sync, checkpoint, slices_broken } = order;
    sync.sync()?;
    fill_in(&mut job, &checkpoint, slices_broken);
    job.suspect(None)?;
    store.change().checkpoint(job.id, &checkpoint).job(&job).apply()?;
    Ok(store.sync()?)
}

fn fill_in(job: &mut Job, checkpoint: &Checkpoint, slices_broken: u64) {
    job.account.clone_from(&checkpoint.account);
    job.entries.clone_from(&checkpoint.entries);
    job.slices.done = checkpoint.next_slice;
    job.slices.total = job.slices.total.max(checkpoint.next_slice);
    job.reckon_worked();
    job.slices.failed = slices_broken;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::collect::WorkedSlice;
    use crate::engine::tests::{World, loaded, settles, worked};

    fn order(run: &Run) -> CheckpointOrder {
        let order = run.with_collector(|collector| collector.checkpoint(true)).expect("it runs");
        order.expect("is made").expect("is due")
    }

    #[test]
    fn a_checkpoint_and_the_row_that_tells_of_it_are_written_together() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.with_row(|job| job.suspect(Some(2))).expect("is running");
        let store = &world.shared.store;
        write_checkpoint(store, &run, order(&run)).expect("is written");
        let row = store.job(run.id).expect("reads").expect("is there");
        let point = store.checkpoint(run.id).expect("reads").expect("is there");
        assert_eq!((point.next_slice, row.slices.done, row.account.records_in), (1, 1, 1));
        assert_eq!(row.state.deaths(), None, "it got on");
    }

    #[test]
    fn a_checkpoint_that_is_only_asked_for_touches_outputs_by_the_checkpointers_hand() {
        let world = World::new();
        let run = world.run();
        world.shared.order_due_checkpoint(&run);
        assert!(run.begin_checkpoint(), "none was due");
        run.end_checkpoint();
        run.collect(WorkedSlice { text_bytes: 1 << 30, ..worked(&run, 0, "a") });
        world.shared.order_due_checkpoint(&run);
        assert!(!run.begin_checkpoint(), "one is on its way");
        assert!(run.take_checkpoint_order().is_none(), "whoever asked made none");
        let store = &world.shared.store;
        assert!(write_what_is_due(store, &run).expect("is written"));
        assert_eq!(store.checkpoint(run.id).expect("reads").expect("is there").next_slice, 1);
        assert!(!write_what_is_due(store, &run).expect("none is due any more"));
    }

    #[test]
    fn a_checkpoint_that_comes_after_the_run_settled_writes_nothing_over_its_finishers_row() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        let late = order(&run);
        run.set_loaded(loaded(1));
        assert!(settles(&run));
        let store = &world.shared.store;
        let before = store.job(run.id).expect("reads");
        write_checkpoint(store, &run, late).expect("is passed over");
        assert_eq!(store.job(run.id).expect("reads"), before);
        assert!(store.checkpoint(run.id).expect("reads").is_none());
    }
}
