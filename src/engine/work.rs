//! Work: slices through the pipeline, on all cores.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::collect::WorkedSlice;
use super::content::SliceHash;
use super::dispatch::Seat;
use super::held_records;
use super::run::{Run, Take, TakenSlice};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::durable_fs;
use crate::model::fault::FaultKind;
use crate::model::slice::{EntryShape, Slice};
use crate::pipeline::{PipelineWorker, SliceResult};
use crate::store::MemoryBudget;
use crate::telemetry::metrics::METRICS;

/// Pause before the second try of a slice whose step broke; doubles for each further try.
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// One worker's life: takes slices of any running job until the engine stops.
pub(super) fn work_slices(shared: &Arc<Shared>, seat: &mut Seat) {
    while let Some(run) = shared.dispatch.next_work(seat) {
        match run.take_slice() {
            Ok(Take::Slice(taken)) => {
                shared.dispatch.took(seat, taken.slice.records.len());
                work_slice(shared, &run, taken);
            }
            Ok(Take::StepsToEnd) => end_steps(shared, &run),
            Ok(Take::Nothing) => {} // another one took it, or the memory for it
            Ok(Take::BrokeOff) => shared.settle_at_work(&run),
            Err(error) => {
                run.break_off(error.into());
                shared.settle_at_work(&run);
            }
        }
    }
}

/// Works what is left of a run on this thread, if one more may work; else a worker is told of it.
pub(super) fn work_here(shared: &Arc<Shared>, run: &Arc<Run>) {
    let Some(permit) = shared.dispatch.try_work(run.id) else { return shared.dispatch.slices() };
    loop {
        match run.take_slice() {
            Ok(Take::Slice(taken)) => {
                let is_counted = shared.dispatch.took_by(permit, taken.slice.records.len());
                work_slice(shared, run, taken);
                if is_counted {
                    break;
                }
            }
            Ok(Take::StepsToEnd) => {
                end_steps(shared, run);
                break;
            }
            Ok(Take::Nothing | Take::BrokeOff) => break, // the loader settles it
            Err(error) => {
                run.break_off(error.into());
                break;
            }
        }
    }
    shared.dispatch.end_work(permit); // a worker takes what is left
}

fn work_slice(shared: &Arc<Shared>, run: &Arc<Run>, taken: TakenSlice) {
    let TakenSlice { slice, lease, large } = taken;
    durable_fs::leave_place(); // a step may take long
    let _at_work = METRICS.at_work(&run.rule.rule.name);
    let worked = run.guard("work", || {
        let mut steps = run.take_steps();
        let worked = work(shared, run, &mut steps, &slice);
        note_time(run, &mut steps);
        run.put_steps(steps);
        worked
    });
    drop((slice, lease)); // before anybody is told that there is room
    match worked {
        Ok(Some(worked)) => {
            if run.collect(worked) {
                shared.dispatch.slices_left();
            }
            shared.checkpoint_if_due(run);
        }
        Ok(None) => {} // the slice is cut again, if the job goes on
        Err(trouble) => run.break_off(trouble),
    }
    run.let_go();
    if large.is_some() {
        drop(large);
        shared.dispatch.slices_again(); // another one may wait for it
    }
    durable_fs::leave_place(); // so may its end
    shared.settle_at_work(run);
}

/// Of a run whose last thread might not wait for them.
fn end_steps(shared: &Shared, run: &Arc<Run>) {
    durable_fs::leave_place();
    run.end_steps();
    shared.settle_ended(run);
}

/// Which steps took how long.
fn note_time(run: &Run, steps: &mut PipelineWorker) {
    let rule = &run.rule.rule;
    for (places, time) in steps.take_spent() {
        let names = rule.pipeline.get(places).into_iter().flatten().map(|step| step.step.as_str());
        METRICS.spent(&rule.name, names.collect::<Vec<_>>().join("+"), time);
    }
}

fn work(
    shared: &Shared,
    run: &Run,
    worker: &mut PipelineWorker,
    slice: &Slice,
) -> Result<Option<WorkedSlice>, Trouble> {
    let shape = run.entries.shape(slice.entry as usize).ok_or_else(|| {
        Trouble::new(
            FaultKind::Bug,
            format!("slice {} names an entry that was not loaded", slice.number),
            None,
        )
    })?;
    let act_at = |act| Ok(shared.store.settlement(run.id, act)?.map(Cow::Owned));
    let decided = held_records::as_decided(&run.decisions, slice, &run.rule.rule.records, act_at)?;
    let left = decided.as_ref().map_or(slice, |decided| &decided.slice);
    let Some((mut result, broken)) = run_with_attempts(shared, run, worker, left, &shape)? else {
        return Ok(None);
    };
    if let Some(decided) = decided {
        decided.count(&mut result.account);
    }
    result.account.balance()?;
    Ok(Some(encode(run, slice, result, broken, &shared.resources.memory.at_work)))
}

/// Tries the slice as often as the rule says, then record by record. None: the engine stops, or the job broke off. A step that cannot
/// start says nothing about the records: it holds the job.
fn run_with_attempts(
    shared: &Shared,
    run: &Run,
    worker: &mut PipelineWorker,
    slice: &Slice,
    shape: &Arc<EntryShape>,
) -> Result<Option<(SliceResult, bool)>, Trouble> {
    let mut back_off = FIRST_BACK_OFF;
    for attempt in 1..=run.rule.rule.errors.attempts {
        match worker.run(slice, shape) {
            Ok(result) => return Ok(Some((result, false))),
            Err(broken) if broken.holds_job() => return Err(broken.into()),
            Err(_) if run.is_broken_off() => return Ok(None),
            Err(broken) => {
                tracing::warn!(job = %run.id, slice = slice.number, attempt, %broken, "a step broke");
            }
        }
        if attempt < run.rule.rule.errors.attempts && shared.stop.pause(back_off) {
            return Ok(None);
        }
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
    if shared.stop.is_asked() {
        return Ok(None); // record by record takes longest
    }
    let result = worker.run_each(slice, shape).map_err(|broken| Trouble::from_fault(&broken))?;
    Ok(Some((result, true)))
}

fn encode(
    run: &Run,
    slice: &Slice,
    result: SliceResult,
    broken: bool,
    memory: &Arc<MemoryBudget>,
) -> WorkedSlice {
    let chunks: Vec<_> = result
        .chunks
        .into_iter()
        .enumerate()
        .map(|(category, chunk)| {
            (chunk.records > 0).then(|| run.rule.outputs.encode(category, chunk.bytes, chunk.records))
        })
        .collect();
    let encoded: u64 = chunks.iter().flatten().map(crate::output::EncodedChunk::memory_bytes).sum();
    let held = encoded + result.failed.iter().map(|failed| failed.bytes.capacity() as u64).sum::<u64>();
    WorkedSlice {
        number: slice.number,
        entry: slice.entry,
        text_bytes: slice.bytes.len() as u64,
        hash: SliceHash::of(slice),
        chunks,
        account: result.account,
        failed: result.failed,
        broken,
        lease: MemoryBudget::lease(memory, held),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dispatch::Workable as _;
    use crate::engine::tests::{World, loaded, slice, worked};

    #[test]
    fn what_is_left_of_a_run_is_worked_on_the_thread_that_asks() {
        let world = World::new();
        let run = world.run();
        for number in 0..2 {
            assert!(run.queue.put(slice(number, 0)).expect("there is room"));
        }
        run.queue.end();
        work_here(&world.shared, &run);
        assert!(run.trouble().is_none(), "{:?}", run.trouble());
        assert_eq!(run.with_collector(|collector| collector.next_slice()), Some(2));
        assert!(world.shared.dispatch.try_work(run.id).is_some(), "the permit is given back");
    }

    /// All that its child is asked is answered; it ends once there is a file `go`.
    #[cfg(unix)]
    const ENDS_LATE: &str = r#"
        source = { on_success = "delete" }
        pipeline = [{ step = "exec", confine = false, timeout = "1h", command = ["sh", "-c",
            "read -r line; echo $line; until [ -e go ]; do sleep 0.01; done"] }]
    "#;

    #[cfg(unix)]
    #[test]
    fn who_may_not_wait_for_a_step_leaves_its_end_to_a_worker() {
        for is_killed in [false, true] {
            let world = World::with(ENDS_LATE);
            let run = world.run();
            let mut steps = run.take_steps();
            let shape = run.entries.shape(0).expect("it has one");
            steps.run(&slice(0, 0), &shape).expect("is answered");
            run.put_steps(steps);
            run.collect(worked(&run, 0, "1"));
            run.set_loaded(loaded(1));
            world.shared.settle(&run);
            assert!(!run.is_settled() && run.has_work(), "nobody has ended them");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(matches!(run.take_slice(), Ok(Take::StepsToEnd)));
                    end_steps(&world.shared, &run);
                });
                while run.has_work() {
                    std::thread::yield_now();
                }
                world.shared.settle(&run);
                assert!(!run.is_settled(), "they are being ended");
                if is_killed {
                    crate::pipeline::kill_children_of(run.id);
                } else {
                    std::fs::write(world.path("go"), "").expect("writes");
                }
            });
            assert!(run.is_settled() && run.trouble().is_none());
        }
    }

    #[test]
    fn a_run_whose_steps_have_nothing_to_say_at_last_settles_at_once() {
        let world = World::new();
        let run = world.run();
        run.put_steps(run.take_steps());
        run.collect(worked(&run, 0, "1"));
        run.set_loaded(loaded(1));
        world.shared.settle(&run);
        assert!(run.is_settled() && !run.has_work());
    }

    #[test]
    fn a_slice_of_an_entry_that_nobody_loaded_breaks_its_job_off_as_a_bug() {
        let world = World::new();
        let run = world.run();
        run.queue.put(slice(0, 7)).expect("there is room");
        work_here(&world.shared, &run);
        assert_eq!(run.trouble().map(|trouble| trouble.error.kind), Some(FaultKind::Bug));
    }
}
