//! Giving way: the jobs that run when room gets short, or a mount goes, and what waited for either when it is there again.
//!
//! A job that runs when room gets short makes a checkpoint and gives way, of the rules that use the same file systems the newest first, one
//! at a time, so that those before it may still come to their end. One that could not be continued (an encrypted output) runs on: giving up its work would make room only for
//! the next try to fill it again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::checkpoint;
use super::run::{Collecting, Run};
use super::shared::Shared;
use super::threads::Threads;
use super::trouble::{Trouble, guard};
use crate::durable_fs;

/// Between looks while jobs run, which fill a disk soon, while something lacks, and otherwise.
const PAUSE_RUNNING: Duration = Duration::from_millis(100);
const PAUSE_LACKING: Duration = Duration::from_millis(500);
const PAUSE_IDLE: Duration = Duration::from_secs(2);

/// A slice is written within this; else its disk takes long, or hangs.
const COLLECTING_TAKES: Duration = Duration::from_millis(500);
const COLLECTING_PAUSE: Duration = Duration::from_millis(1);

/// The life of the thread that has room and mounts looked after. It asks no file system: those who do may hang, each at its own.
pub(super) fn watch_rooms(shared: &Arc<Shared>, threads: &Threads) {
    let mut rounds_after_end = 0_u32;
    let mut looking = HashMap::new();
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
        let ended = shared.rooms.take_ended();
        // A second time for the files that were refused in the last moment.
        rounds_after_end = if ended { 2 } else { rounds_after_end.saturating_sub(1) };
        if ended || rounds_after_end > 0 {
            shared.claims.watches.hasten();
        }
        let parked = shared.rooms.take_parked(ended);
        if !parked.is_empty() {
            shared.dispatch.hasten(&parked);
        }
        if shared.memory.large.take_wanted() {
            shared.dispatch.slices_again(); // one that is stuck may count no more
        }
        let mut groups = shared.rooms.groups_that_lack();
        groups.extend(shared.dispatch.runs().iter().map(|run| Arc::clone(&run.rule.group)));
        for group in groups {
            if let Err(trouble) = look(shared, threads, &mut looking, &group) {
                tracing::warn!(error = %trouble.error, "disk space is not looked at");
            }
        }
    }
}

/// Has the thread of these file systems look once; one that still looks, or hangs, is left alone.
fn look(
    shared: &Arc<Shared>,
    threads: &Threads,
    looking: &mut HashMap<Arc<str>, SyncSender<()>>,
    group: &Arc<str>,
) -> Result<(), Trouble> {
    if !looking.contains_key(group) {
        let (wake, woken) = sync_channel(1);
        let of = Arc::clone(group);
        let look = move |shared: &Arc<Shared>| {
            while woken.recv().is_ok() && !shared.stopping() {
                shared.rooms.look_again(&of);
                give_way(shared, &of);
                durable_fs::leave_place();
            }
        };
        threads.spawn(shared, &threads.next_name("rooms"), look)?;
        looking.insert(Arc::clone(group), wake);
    }
    if let Some(wake) = looking.get(group) {
        wake.try_send(()).ok();
    }
    Ok(())
}

/// Lets the newest running job of these rules that lacks room, or its mount, wait.
fn give_way(shared: &Arc<Shared>, group: &str) {
    let runs = shared.dispatch.runs();
    let of_group = runs.iter().rev().filter(|run| *run.rule.group == *group);
    for run in of_group.filter(|run| !run.is_broken_off()) {
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
