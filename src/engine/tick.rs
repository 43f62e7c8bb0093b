//! The slow clock: progress of long jobs, checkpoints of slow ones, retention, archives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Purpose;
use super::shared::Shared;
use super::thin::Thinning;
use super::trouble::Trouble;
use super::{delivery, late_writes, strays};
use crate::clock;
use crate::durable_fs;
use crate::model::job_id::JobId;
use crate::store::StoreError;
use crate::telemetry::events;

const TICK: Duration = Duration::from_secs(10);
const RETENTION_EVERY: Duration = Duration::from_hours(1);
/// Ledger rows forgotten at a time, at most.
const LEDGER_ROWS_MAX: usize = 100_000;

/// The ticker's life. It asks nothing but the store: what looks at folders, which may hang, is done by [`look_after_folders`].
pub(super) fn tick(shared: &Arc<Shared>) {
    let mut last_read = HashMap::new();
    loop {
        if shared.pause(TICK) {
            return;
        }
        if let Err(error) = shared.store.check_there() {
            shared.fail_for_good(Trouble::from(error).error);
            return;
        }
        if let Err(trouble) = delivery::look_at_the_first(shared) {
            tracing::warn!(error = %trouble.error, "deliveries wait longer for the earlier one of their key");
        }
        tell_progress(shared, &mut last_read);
        if let Err(error) = shared.store.sync_waiting() {
            tracing::warn!(%error, "rows wait longer to be made durable");
            shared.stop_if_poisoned(&error.into());
        }
    }
}

/// Looks after archives, kept files and claim folders, and forgets what is old. Only a service thins archives: a command does what it was asked to.
pub(super) fn look_after_folders(shared: &Arc<Shared>, purpose: Purpose) {
    let mut last_look: Option<Instant> = None;
    let mut thinning = Thinning::default();
    loop {
        if last_look.is_none_or(|last| last.elapsed() >= RETENTION_EVERY) {
            let is_first = last_look.replace(Instant::now()).is_none();
            // One after another: a ledger row outlives its job, and a file in quarantine whose row is gone would be told as a stray.
            forget_finished(shared);
            if purpose != Purpose::Rehearse {
                strays::tell_strays(shared, is_first); // its store knows of no claimed file
            }
            forget_ledger(shared);
            // Not at the start: a file system may be mounted later, and its files be taken for new ones.
            if !is_first && let Err(error) = forget_removed(shared) {
                tracing::warn!(%error, "kept files that are gone stay known");
            }
        }
        if purpose == Purpose::Serve {
            thinning.tick(shared);
        }
        if shared.pause(TICK) {
            return;
        }
        late_writes::look(&shared.claims.late_writes, &shared.store);
    }
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

/// The word on a kept file goes when the file does: another may have its identity later.
fn forget_removed(shared: &Shared) -> Result<(), StoreError> {
    for id in shared.store.kept_jobs() {
        let Some(row) = shared.store.ledger(id?)? else { continue };
        let path = row.path.as_path();
        let is_gone = durable_fs::identity_at(path).is_ok_and(|found| found != Some(row.identity));
        // Its folder must be there, on the file system where the file was: else it is away, not gone.
        let folder = durable_fs::folder_identity(durable_fs::parent_of(path)).ok().flatten();
        if is_gone && folder.is_some_and(|folder| folder.device == row.identity.device) {
            shared.store.change().forget_kept(&row.identity).apply()?;
        }
    }
    Ok(())
}

fn forget_ledger(shared: &Shared) {
    let Some(before) = clock::ago(shared.service.ledger_retention) else { return };
    let rules = shared.rules.now();
    let removes_archived =
        |name: &str| rules.iter().any(|rule| rule.name == name && rule.source.archive_keep.is_some());
    match shared.store.forget_ledger(before, LEDGER_ROWS_MAX, &removes_archived) {
        Ok(0) => {}
        Ok(sources) => tracing::info!(
            sources,
            "sources are no longer in the ledger: they are older than `service.ledger_retention`"
        ),
        Err(error) => tracing::warn!(%error, "old rows of the ledger could not be removed"),
    }
}

fn forget_finished(shared: &Shared) {
    let Some(before) = clock::ago(shared.service.retention) else { return };
    match shared.store.forget_finished(before) {
        Ok(0) => {}
        Ok(jobs) => tracing::info!(
            jobs,
            "finished jobs are no longer listed: they are older than `service.retention`"
        ),
        Err(error) => tracing::warn!(%error, "old finished jobs could not be removed from the list"),
    }
    match shared.store.forget_rules(&shared.rules.known_hashes()) {
        Ok(0) => {}
        Ok(rules) => tracing::debug!(rules, "snapshots of rules that no job refers to any more are removed"),
        Err(error) => tracing::warn!(%error, "unused snapshots of rules could not be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::job::Job;
    use crate::store::{LedgerOutcome, LedgerRow};

    /// A kept file, known as ingested.
    fn kept() -> (World, Job) {
        let world = World::with("source = { on_success = \"keep\" }\n");
        let mut job = world.job();
        job.source.claimed = None;
        let row = LedgerRow::of(&job, LedgerOutcome::Completed);
        world.shared.store.change().job(&job).ledger(&row, true).apply().expect("writes");
        (world, job)
    }

    fn is_known(world: &World, job: &Job) -> bool {
        forget_removed(&world.shared).expect("looks");
        world.shared.store.kept(&job.source.identity).expect("reads").is_some()
    }

    #[test]
    fn a_kept_file_is_known_until_it_is_gone_and_another_one_may_have_its_identity() {
        let (world, job) = kept();
        assert!(is_known(&world, &job));
        durable_fs::remove_file(&world.source()).expect("its sender removes it");
        assert!(!is_known(&world, &job));
    }

    #[test]
    fn a_kept_file_whose_folder_is_away_is_not_gone() {
        let (world, job) = kept();
        durable_fs::rename_replace(&world.path("in"), &world.path("away")).expect("unmounts");
        assert!(is_known(&world, &job));
    }

    #[test]
    fn the_progress_of_a_run_is_told_by_what_is_new_and_forgotten_with_the_run() {
        let world = World::new();
        let run = world.run();
        let mut last_read = HashMap::from([(JobId::from_parts(9, 9), 7)]);
        tell_progress(&world.shared, &mut last_read);
        assert_eq!(last_read, HashMap::from([(run.id, 0)]));
    }
}
