//! Destroying the records of jobs that are done (`source.on_complete = "destroy"`).
//!
//! ```text
//!  the end of the job's row, with a mark that it is to be destroyed
//!    -> its row, failed records and acts are removed; the mark stays -> synced
//!    -> its folder of outputs in the store is removed -> synced -> the mark is removed
//! ```
//!
//! A crash in between leaves the mark, by which the next look goes on. What outlives the job: its row of the ledger, by which its source stays
//! known and later deliveries are compared with it, and what lies in the archive, which is removed by its age.
//!
//! Nothing of a job is destroyed while somebody has to decide on its failed records, while a hook is to be told of it, or while somebody reads
//! it ([`super::readers`]).

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::readers::READER_SILENT_MAX;
use super::shared::Shared;
use super::stored_outputs;
use super::trouble::Trouble;
use crate::model::job::Job;
use crate::model::job_id::JobId;

/// Whoever follows a job sees its end, and says that he reads it, within this.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Jobs of one batch.
const BATCH_JOBS: usize = 256;

/// When jobs are destroyed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    /// None: at once. Who reads a job says so anew to a service that has started anew.
    not_before: Option<Instant>,
    last: Option<Instant>,
    every: Duration,
}

impl Looks {
    /// `has_readers`: not all of those who read jobs began with this engine.
    pub(super) fn new(shared: &Shared, has_readers: bool, now: Instant) -> Self {
        let retention = shared.service.retention;
        let not_before = has_readers.then(|| now + READER_SILENT_MAX.min(retention));
        Self { not_before, last: None, every: seen_within(shared).max(Duration::from_millis(500)) }
    }

    /// How long until the next.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let due = self.last.map_or(now, |last| last + self.every);
        self.not_before.map_or(due, |first| first.max(due)).saturating_duration_since(now)
    }

    pub(super) fn look(&mut self, shared: &Shared, now: Instant) {
        if !self.pause(now).is_zero() {
            return;
        }
        self.last = Some(now);
        let Some(before) = shared.resources.wall_clock.old_before(&shared.store, seen_within(shared)) else {
            return;
        };
        if let Err(trouble) = destroy(shared, before) {
            tracing::warn!(
                error = %trouble.error,
                "the records of jobs that are done could not be destroyed; it is tried again"
            );
        }
    }
}

/// Whoever has jobs forgotten sooner waits for nobody longer.
fn seen_within(shared: &Shared) -> Duration {
    SEEN_WITHIN.min(shared.service.retention)
}

/// Destroys what is to be destroyed of jobs that ended before then, and goes on with what a crash left.
pub(super) fn destroy(shared: &Shared, ended_before: Timestamp) -> Result<(), Trouble> {
    let store = &shared.store;
    // Before what hooks are owed: one that ends in between would be destroyed untold.
    let marked = store.marked_to_destroy().collect::<Result<Vec<_>, _>>()?;
    if marked.is_empty() {
        return Ok(());
    }
    let for_hooks = store.jobs_for_hooks()?;
    let read_now = shared.resources.readers.read_now(Instant::now());
    let mut batch = Batch::default();
    for id in marked {
        match store.job(id)? {
            None => batch.gone.push(id),
            Some(job) => {
                let has_ended = job.finished_at.is_some_and(|finished| finished < ended_before);
                let is_needed = !has_ended || for_hooks.contains(&id) || read_now.contains(&id);
                if !is_needed && store.is_done_with(&job)? {
                    batch.done.push(job);
                }
            }
        }
        if batch.done.len() + batch.gone.len() >= BATCH_JOBS {
            std::mem::take(&mut batch).destroy(shared)?;
        }
    }
    batch.destroy(shared)
}

#[derive(Default)]
struct Batch {
    done: Vec<Job>,
    /// Their rows are gone already.
    gone: Vec<JobId>,
}

impl Batch {
    fn destroy(self, shared: &Shared) -> Result<(), Trouble> {
        let Self { done, mut gone } = self;
        if done.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let store = &shared.store;
        store.destroy_ended(&done)?;
        for job in &done {
            if store.job(job.id)?.is_none() {
                gone.push(job.id);
                tracing::info!(job = %job.id, rule = job.rule, "its records are destroyed: it is done");
            }
        }
        store.sync()?; // a row that a power cut brought back would be without its outputs
        let removed = stored_outputs::remove(shared, &gone)?;
        store.forget_destroyed(&removed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, failed_record};
    use crate::model::account::Account;
    use crate::model::hook::{Hook, HookEvent, HookTarget};
    use crate::model::job_state::JobEvent;
    use crate::model::rule::OUTPUTS_FOLDER;
    use crate::store::{LedgerOutcome, LedgerRow};

    /// A completed job that is marked, with an output in the store.
    fn done(world: &World, change: impl FnOnce(&mut Job)) -> Job {
        let mut job = world.job();
        for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published, JobEvent::Retired] {
            job.take(event, crate::clock::now(), "").expect("a legal life");
        }
        change(&mut job);
        let row = LedgerRow::of(&job, LedgerOutcome::Completed);
        world
            .shared
            .store
            .change()
            .job(&job)
            .ledger(&row, false)
            .mark_to_destroy(job.id)
            .apply()
            .expect("writes");
        std::fs::create_dir_all(folder_of(world, &job)).expect("makes");
        std::fs::write(folder_of(world, &job).join("main.zst"), "x").expect("writes");
        job
    }

    fn folder_of(world: &World, job: &Job) -> std::path::PathBuf {
        world.shared.service.data_dir.join(OUTPUTS_FOLDER).join(job.id.to_string())
    }

    /// Whether the job's row, its folder and its mark are there.
    fn left(world: &World, job: &Job) -> (bool, bool, bool) {
        let store = &world.shared.store;
        let is_marked = store.marked_to_destroy().any(|id| id.expect("reads") == job.id);
        (store.job(job.id).expect("reads").is_some(), folder_of(world, job).is_dir(), is_marked)
    }

    fn destroy_now(world: &World) {
        destroy(&world.shared, Timestamp::MAX).expect("destroys");
    }

    #[test]
    fn of_a_job_that_is_done_only_what_its_source_is_known_by_is_left() {
        let world = World::new();
        let job = done(&world, |_| {});
        destroy(&world.shared, Timestamp::UNIX_EPOCH).expect("looks");
        assert_eq!(left(&world, &job), (true, true, true), "who follows it has not seen its end");
        destroy_now(&world);
        assert_eq!(left(&world, &job), (false, false, false));
        assert!(world.shared.store.ledger(job.id).expect("reads").is_some());
    }

    #[test]
    fn what_a_crash_left_between_the_row_and_the_outputs_goes_with_the_next_look() {
        let world = World::new();
        let job = done(&world, |_| {});
        world.shared.store.destroy_ended(std::slice::from_ref(&job)).expect("writes");
        assert_eq!(left(&world, &job), (false, true, true));
        destroy_now(&world);
        assert_eq!(left(&world, &job), (false, false, false));
    }

    #[test]
    fn a_job_stays_while_it_is_read_or_told_of_or_its_failed_records_are_not_decided_on() {
        let world = World::new();
        let store = &world.shared.store;
        let job = done(&world, |job| job.account.records_failed = 1);
        store.change().failed_records(job.id, 0, &[failed_record(1, "not today")]).apply().expect("writes");
        destroy_now(&world);
        assert_eq!(left(&world, &job), (true, true, true), "its failed record");
        let settled = Job { account: Account::default(), ..job.clone() };
        store.change().job(&settled).apply().expect("writes");

        world.shared.resources.readers.note("a program", &[job.id], Instant::now());
        destroy_now(&world);
        assert_eq!(left(&world, &job), (true, true, true), "it is read");
        world.shared.resources.readers.note("a program", &[], Instant::now());

        destroy_now(&world);
        assert_eq!(left(&world, &job), (false, false, false));
    }

    #[test]
    fn a_job_stays_until_hooks_were_told_of_it() {
        let world = World::new();
        let store = &world.shared.store;
        store.take_hooks(&[hook()]).expect("are taken");
        let job = done(&world, |_| {});
        destroy_now(&world);
        assert_eq!(left(&world, &job), (true, true, true));
        store.take_hooks(&[]).expect("what it was not told is lost");
        destroy_now(&world);
        assert_eq!(left(&world, &job), (false, false, false));
    }

    fn hook() -> Hook {
        let target = HookTarget::Command { command: vec!["true".into()], folder: "/".into() };
        let (name, timeout) = ("operators".to_owned(), Duration::from_secs(1));
        Hook { name, events: vec![HookEvent::Completed], rules: Vec::new(), target, timeout }
    }
}
