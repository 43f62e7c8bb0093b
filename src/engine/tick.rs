//! The slow clock: progress of long jobs, checkpoints of slow ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use super::trouble::Trouble;
use super::{deadlines, delivery, noticed, sequence, watching, window_closing};
use crate::model::job_id::JobId;
use crate::telemetry::events;

/// Between looks, also at folders.
pub(super) const TICK: Duration = Duration::from_secs(10);

/// The ticker's life. It asks nothing but the store: what looks at folders, which may hang, is done by [`super::care`].
pub(super) fn tick(shared: &Arc<Shared>) {
    let mut last_read = HashMap::new();
    let mut told = deadlines::Told::new();
    let mut told_disks = noticed::Told::new();
    loop {
        let pause = hours_looked_at(shared).map_or(TICK, |next| next.min(TICK));
        if shared.stop.pause(pause) {
            return;
        }
        shared.resources.pulse.tick.turn();
        if let Err(error) = shared.store.check_there() {
            shared.fail_for_good(Trouble::from(error).error);
            return;
        }
        if let Err(trouble) = delivery::look_at_the_first(shared) {
            tracing::warn!(error = %trouble.error, "deliveries wait longer for the earlier one of their key");
        }
        if let Err(trouble) = sequence::look_at_those_in_front(shared) {
            tracing::warn!(error = %trouble.error, "jobs wait longer for the one before them in their sequence");
        }
        if let Err(trouble) = deadlines::look(shared, &mut told) {
            tracing::warn!(error = %trouble.error, "deadlines are looked at again at the next tick");
        }
        // Who watches nothing does not know that nothing came.
        let watches = shared.claims.watches.lock().begin_intake.is_some();
        if let Err(trouble) = if watches { noticed::look(shared, &mut told_disks) } else { Ok(()) } {
            tracing::warn!(error = %trouble.error, "what hooks are to be told is looked for again at the next tick");
        }
        watching::watch_owed(shared);
        tell_progress(shared, &mut last_read);
        shared.store.wait_for_changes();
        if let Err(error) = shared.store.sync_waiting() {
            tracing::warn!(%error, "rows wait longer to be made durable");
            shared.stop_if_poisoned(&error.into());
        }
    }
}

/// The time to the next change of a window.
fn hours_looked_at(shared: &Arc<Shared>) -> Option<Duration> {
    window_closing::look(shared).unwrap_or_else(|trouble| {
        shared.stop_if_poisoned(&trouble);
        tracing::warn!(error = %trouble.error, "windows of rules are looked at again at the next tick");
        None
    })
}

fn tell_progress(shared: &Arc<Shared>, last_read: &mut HashMap<JobId, u64>) {
    let runs = shared.dispatch.runs();
    last_read.retain(|id, _| runs.iter().any(|run| run.id == *id));
    for run in runs {
        shared.order_due_checkpoint(&run);
        let mut job = run.row();
        run.copy_progress(&mut job);
        run.copy_counts(&mut job);
        let before = last_read.insert(run.id, job.bytes_read);
        if before.is_some() {
            events::progress(&job, run.rule.rule.outputs.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn the_progress_of_a_run_is_told_by_what_is_new_and_forgotten_with_the_run() {
        let world = World::new();
        let run = world.run();
        let mut last_read = HashMap::from([(JobId::from_parts(9, 9), 7)]);
        tell_progress(&world.shared, &mut last_read);
        assert_eq!(last_read, HashMap::from([(run.id, 0)]));
    }
}
