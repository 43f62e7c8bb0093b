//! What an operator sets of a job that waits or runs.

use std::sync::Arc;

use super::handle::with_job_in_hand;
use super::retry::known;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::priority::Priority;
use crate::store::Store;

/// Has a job go before others from now on, or behind them; durably.
pub(super) fn priority(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    priority: Priority,
    by: &str,
) -> Result<JobId, Trouble> {
    let set = |job: &mut Job| {
        let before = std::mem::replace(&mut job.priority, priority);
        (before != priority).then(|| format!("priority {} -> {} by {by}", before.get(), priority.get()))
    };
    in_row(store, stages, id, &set)?;
    if let Some(shared) = stages {
        shared.dispatch.set_priority(id, priority);
    }
    Ok(id)
}

/// Limits the workers that a job has at once; durably. 0: no limit of its own.
pub(super) fn workers(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    workers_max: u32,
    by: &str,
) -> Result<JobId, Trouble> {
    let set = |job: &mut Job| {
        let before = std::mem::replace(&mut job.workers_max, workers_max);
        (before != workers_max).then(|| format!("workers_max {before} -> {workers_max} by {by}"))
    };
    in_row(store, stages, id, &set)?;
    // One that has not begun is told when it begins.
    if let Some(shared) = stages.filter(|shared| shared.dispatch.run(id).is_some()) {
        shared.dispatch.limit_job(id, Some(workers_max as usize).filter(|max| *max > 0));
    }
    Ok(id)
}

/// Changes the row of a job that waits or runs, whoever has it. `set` says what it changed, if it did.
fn in_row(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    set: &dyn Fn(&mut Job) -> Option<String>,
) -> Result<(), Trouble> {
    let set = |job: &mut Job| {
        if job.state.is_final() || job.state.is_past_intent() {
            return Err(too_late(job));
        }
        if let Some(told) = set(job) {
            job.note(clock::now(), &told);
            store.change().job(job).apply()?;
            store.sync()?;
        }
        Ok(())
    };
    let of_row = || set(&mut known(store, id)?);
    let Some(shared) = stages else { return of_row() };
    let result = match shared.dispatch.run(id) {
        // Whoever finishes a settled one takes its row under this same lock: what is written behind that would be over his.
        Some(run) => run.with_row(|job| if run.is_settled() { Err(too_late(job)) } else { set(job) }),
        None => with_job_in_hand(shared, id, of_row),
    };
    result.inspect_err(|trouble| shared.stop_if_poisoned(trouble))
}

fn too_late(job: &Job) -> Trouble {
    let message = format!("job {} is {}: it waits for its turn no more", job.id, job.state);
    Trouble::new(FaultKind::Input, message, Some("what is set of a job counts until it is published"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schedule::Owner;
    use crate::engine::tests::World;
    use crate::model::job_state::JobEvent;

    fn urgent() -> Priority {
        Priority::new(1).expect("one")
    }

    fn set(world: &World, job: &Job, stages: Option<&Arc<Shared>>) -> Result<JobId, Trouble> {
        priority(&world.shared.store, stages, job.id, urgent(), "root")
    }

    #[test]
    fn it_is_in_the_row_and_in_its_history_with_and_without_a_service() {
        for has_service in [true, false] {
            let world = World::new();
            let job = world.job();
            for _ in 0..2 {
                set(&world, &job, has_service.then_some(&world.shared)).expect("is set");
            }
            let row = world.row(&job).expect("is there");
            assert_eq!(row.priority, urgent());
            assert_eq!(row.remarks().collect::<Vec<_>>(), ["priority 50 -> 1 by root"], "once");
            assert_eq!(Owner::of(&row).priority, urgent());
        }
    }

    #[test]
    fn the_workers_of_a_job_are_in_its_row_and_its_history() {
        let world = World::new();
        let job = world.job();
        for _ in 0..2 {
            workers(&world.shared.store, Some(&world.shared), job.id, 2, "root").expect("is set");
        }
        let row = world.row(&job).expect("is there");
        assert_eq!(row.workers_max, 2);
        assert_eq!(row.remarks().collect::<Vec<_>>(), ["workers_max 0 -> 2 by root"], "once");
    }

    #[test]
    fn of_a_job_that_runs_its_run_has_the_row() {
        let world = World::new();
        let run = world.unread_run();
        world.shared.dispatch.begin_run(&run.owner, Arc::clone(&run));
        set(&world, &run.row(), Some(&world.shared)).expect("is set");
        assert_eq!(run.row().priority, urgent());
        assert_eq!(world.row(&run.row()).expect("is there").priority, urgent());
    }

    #[test]
    fn a_job_that_ended_is_told_to_be_past_that() {
        let world = World::new();
        let mut job = world.job();
        job.take(JobEvent::GivenBack, clock::now(), "").expect("ends");
        world.shared.save(&job).expect("writes");
        let refused = set(&world, &job, Some(&world.shared)).expect_err("it is over");
        assert!(refused.error.message.contains("waits for its turn no more"), "{}", refused.error);
        assert_eq!(world.row(&job), Some(job));
    }
}
