//! Giving way: the jobs that run when disk space gets short, or a mount goes, and what waited for either when it is there again.
//!
//! A job that runs when disk space gets short makes a checkpoint and gives way, of the rules that use the same file systems the newest
//! first, one at a time, so that those before it may still come to their end. One that could not be continued (an encrypted output) runs
//! on: giving up its work would free only what the next try fills again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkpoint;
use super::lookers::Lookers;
use super::run::{Collecting, Run};
use super::shared::Shared;
use super::threads::Threads;
use super::trouble::Trouble;
use crate::model::fault::WaitsFor;

/// Between looks while jobs run, which fill a disk soon, while something lacks, and otherwise.
const PAUSE_RUNNING: Duration = Duration::from_millis(100);
const PAUSE_LACKING: Duration = Duration::from_millis(500);
pub(super) const PAUSE_IDLE: Duration = Duration::from_secs(2);

/// A slice is written within this; else its disk takes long, or hangs.
const COLLECTING_TAKES: Duration = Duration::from_millis(500);
const COLLECTING_PAUSE: Duration = Duration::from_millis(1);

/// The life of the thread that has disk space and mounts looked after. It asks no file system: those who do may hang, each at its own.
pub(super) fn watch_disk_space(shared: &Arc<Shared>, threads: &Threads) {
    let mut rounds_after_end = 0_u32;
    let mut lookers = Lookers::new(threads, "disk-space");
    loop {
        let pause = if shared.dispatch.is_running() {
            PAUSE_RUNNING
        } else if rounds_after_end > 0 || shared.resources.disk_space.lacks_anything() {
            PAUSE_LACKING
        } else {
            PAUSE_IDLE
        };
        shared.resources.disk_space.wait(pause);
        shared.resources.pulse.disk_space.turn();
        if shared.stop.is_asked() {
            return;
        }
        let ended = shared.resources.disk_space.take_ended();
        // A second time for the files that were refused in the last moment.
        rounds_after_end = if ended { 2 } else { rounds_after_end.saturating_sub(1) };
        if ended || rounds_after_end > 0 {
            shared.claims.watches.hasten();
        }
        let parked = shared.resources.disk_space.take_parked(ended);
        if !parked.is_empty() {
            shared.dispatch.hasten(&parked);
        }
        if shared.resources.memory.large.take_wanted() {
            shared.dispatch.slices_again(); // one that is stuck may count no more
        }
        let mut groups = shared.resources.disk_space.groups_that_lack();
        groups.extend(shared.dispatch.runs().iter().map(|run| Arc::clone(&run.rule.group)));
        for group in groups {
            let of = Arc::clone(&group);
            lookers.look(shared, &group, move |shared| {
                shared.resources.disk_space.look_again(&of);
                give_way(shared, &of);
            });
        }
    }
}

/// Lets the newest running job of these rules that lacks disk space, or its mount, wait.
fn give_way(shared: &Arc<Shared>, group: &str) {
    let runs = shared.dispatch.runs();
    let of_group = runs.iter().rev().filter(|run| *run.rule.group == *group);
    for run in of_group.filter(|run| !run.is_broken_off()) {
        let Err(lack) = shared.resources.disk_space.check_start(&run.rule, || run.goals.clone()) else {
            continue;
        };
        if !run.rule.outputs.resumable() {
            continue;
        }
        // A checkpoint on its way would come after ours: the next round is soon.
        if !run.begin_checkpoint() {
            return;
        }
        match run.guard("checkpoint", || checkpoint_now(shared, run)) {
            // Its disk takes long, or hangs: the next round is soon.
            Ok(false) => {
                run.end_checkpoint();
                continue;
            }
            Ok(true) => {}
            Err(trouble) if trouble.is_poisoned() => {
                shared.fail_for_good(trouble.error);
                return;
            }
            // That it cannot be written where the mount is away says no more than that.
            Err(_) if lack.waits_for == WaitsFor::Mount => {}
            Err(trouble) => run.break_off(trouble),
        }
        run.break_off(lack);
        run.end_checkpoint();
        shared.dispatch.slices_again();
        shared.settle(run);
        return;
    }
}

/// False: somebody collects all the time.
fn checkpoint_now(shared: &Shared, run: &Run) -> Result<bool, Trouble> {
    let until = Instant::now() + COLLECTING_TAKES;
    let order = loop {
        match run.try_with_collector(|collector| collector.checkpoint(true)) {
            Ok(order) => break order.transpose()?.flatten(),
            Err(Collecting) if Instant::now() >= until => return Ok(false),
            Err(Collecting) => std::thread::sleep(COLLECTING_PAUSE),
        }
    };
    match order {
        Some(order) => checkpoint::write_checkpoint(&shared.store, run, order).map(|()| true),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::disk_space::DiskSpace;
    use crate::engine::tests::{World, worked};
    use crate::engine::trouble::Reaction;
    use crate::model::rule::FreeMin;

    #[test]
    fn a_job_that_lacks_room_makes_a_checkpoint_and_waits_until_there_is_some() {
        let mut world = World::new();
        let short = DiskSpace::new(FreeMin::Bytes(u64::MAX), world.path("data"));
        Arc::get_mut(&mut world.shared).expect("nobody else has it").resources.disk_space = short;
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.loading_ended();
        give_way(&world.shared, &run.rule.group);
        let trouble = run.trouble().expect("nobody has so much room");
        assert!(matches!(trouble.reaction, Reaction::Park { .. }), "{trouble:?}");
        let point = world.shared.store.checkpoint(run.id).expect("reads").expect("was made");
        assert_eq!(point.next_slice, 1);
        assert!(run.is_settled());
    }

    #[test]
    fn a_job_that_lacks_nothing_runs_on() {
        let world = World::new();
        let run = world.run();
        give_way(&world.shared, &run.rule.group);
        assert!(run.trouble().is_none());
    }
}
