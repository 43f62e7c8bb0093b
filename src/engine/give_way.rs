//! Giving way: the jobs that run when room gets short, or a mount goes, and what waited for either when it is there again.
//!
//! A job that runs when room gets short makes a checkpoint and gives way, the newest first, one at a time, so that those before it may
//! still come to their end. One that could not be continued (an encrypted output) runs on: giving up its work would make room only for
//! the next try to fill it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkpoint;
use super::run::{Collecting, Run};
use super::shared::Shared;
use super::trouble::{Trouble, guard};

/// Between looks while jobs run, which fill a disk soon, while something lacks, and otherwise.
const PAUSE_RUNNING: Duration = Duration::from_millis(100);
const PAUSE_LACKING: Duration = Duration::from_millis(500);
const PAUSE_IDLE: Duration = Duration::from_secs(2);

/// A slice is written within this; else its disk takes long, or hangs.
const COLLECTING_TAKES: Duration = Duration::from_millis(500);
const COLLECTING_PAUSE: Duration = Duration::from_millis(1);

/// The life of the thread that looks after room and mounts.
pub(super) fn watch_rooms(shared: &Arc<Shared>) {
    let mut rounds_after_end = 0_u32;
    loop {
        let pause = if shared.dispatch.is_running() {
            PAUSE_RUNNING
        } else if rounds_after_end > 0 || shared.rooms.lacks_anything() {
            PAUSE_LACKING
        } else {
            PAUSE_IDLE
        };
        shared.rooms.wait(pause);
        if shared.stopping() {
            return;
        }
        let ended = shared.rooms.look_again();
        // A second time for the files that were refused in the last moment.
        rounds_after_end = if ended { 2 } else { rounds_after_end.saturating_sub(1) };
        if ended || rounds_after_end > 0 {
            shared.claims.watches.hasten();
        }
        let parked = shared.rooms.take_parked(ended);
        if !parked.is_empty() {
            shared.dispatch.hasten(&parked);
        }
        give_way(shared);
    }
}

/// Lets the newest running job that lacks room, or its mount, wait.
fn give_way(shared: &Arc<Shared>) {
    for run in shared.dispatch.runs().iter().rev().filter(|run| !run.is_broken_off()) {
        let Err(lack) = shared.rooms.check_start(&run.rule) else { continue };
        if !run.rule.outputs.resumable() {
            continue;
        }
        // A checkpoint on its way would come after ours: the next round is soon.
        if !run.begin_checkpoint() {
            return;
        }
        match guard("checkpoint", || checkpoint_now(shared, run)) {
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
    use crate::engine::rooms::Rooms;
    use crate::engine::tests::{World, worked};
    use crate::engine::trouble::Reaction;
    use crate::model::rule::FreeMin;

    #[test]
    fn a_job_that_lacks_room_makes_a_checkpoint_and_waits_until_there_is_some() {
        let mut world = World::new();
        let short = Rooms::new(FreeMin::Bytes(u64::MAX), world.path("data"));
        Arc::get_mut(&mut world.shared).expect("nobody else has it").rooms = short;
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.loading_ended();
        give_way(&world.shared);
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
        give_way(&world.shared);
        assert!(run.trouble().is_none());
    }
}
