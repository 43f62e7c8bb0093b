//! The end of the engine, within `stop_timeout` whatever hangs.
//!
//! ```text
//!  asked to stop ──> threads end ──────────────> last checkpoints, store ──> steps' children ──> the process ends
//!                    up to 3/4 of the time       up to 7/8                                      whoever is left ends with it
//! ```
//!
//! A thread in a system call that does not come back cannot be ended, only left behind: what it was at is not durable, and the next start
//! goes on from what is. So nothing here waits for a lock or a thread without a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use super::run::Run;
use super::running::Running;
use super::shared::Shared;
use super::threads::spawn;
use super::trouble::Trouble;
use super::{EngineError, checkpoint};
use crate::durable_fs;
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::pipeline::{self, PipelineWorker};

/// The watch has nothing to finish: where it hangs, others are not kept from their end.
const WATCH_PATIENCE: Duration = Duration::from_millis(500);
/// How often the store is asked whether it forgot somebody who waits for it.
const ASK_STORE_EVERY: Duration = Duration::from_millis(250);
/// What the threads leave of the time at most.
const CHECKPOINTS_TAKE: Duration = Duration::from_secs(5);
/// What the checkpoints leave of it at most.
const CLOSING_TAKES: Duration = Duration::from_secs(2);

/// Until when each part of a stop has to be done.
struct Deadlines {
    threads: Instant,
    checkpoints: Instant,
}

impl Deadlines {
    fn within(timeout: Duration) -> Self {
        let begun = Instant::now();
        let threads = timeout.saturating_sub((timeout / 4).min(CHECKPOINTS_TAKE));
        let checkpoints = timeout.saturating_sub((timeout / 8).min(CLOSING_TAKES));
        Self { threads: begun + threads, checkpoints: begun + checkpoints }
    }
}

impl Running {
    /// Finishes the slices in hand, checkpoints, and ends within `stop_timeout`. The error that stopped it, if one did.
    pub(crate) fn stop(self) -> Result<(), EngineError> {
        let shared = self.shared;
        let deadlines = Deadlines::within(shared.service.stop_timeout);
        shared.ask_to_stop();
        let asking = AskStore::start(&shared);
        let watches = shared.claims.watches.all();
        for watch in &watches {
            watch.ask_to_stop();
        }
        // The watch that an intake waits for may hang.
        for intake in shared.claims.watches.lock().intakes.values().chain(shared.claims.held.intake.get()) {
            intake.try_send(Vec::new()).ok(); // wakes it; one that has offers is awake
        }
        let late: Vec<_> =
            self.threads.take().into_iter().filter(|thread| !join_until(thread, deadlines.threads)).collect();
        let watches_until = Instant::now() + WATCH_PATIENCE;
        for watch in watches.iter().filter(|watch| !join_until(watch.thread(), watches_until)) {
            tell_late(watch.thread(), "no file was claimed since; the next start sees them all");
        }
        for thread in &late {
            tell_late(thread, "what it was at is done again by the next start");
        }
        let result = match shared.stop.fatal() {
            Some(error) => Err(EngineError(error.clone())),
            None => save_runs(&shared, deadlines.checkpoints).map_err(EngineError::from),
        };
        shared.footprints.in_hand.clear_all();
        end_steps(&shared, deadlines.checkpoints);
        drop(asking);
        if shared.publishing.aside.is_none() {
            pipeline::kill_children(); // of steps that were not waited for; one that stands aside has none
        }
        result
    }
}

fn tell_late(thread: &JoinHandle<()>, what_follows: &str) {
    let name = thread.thread().name().unwrap_or_default();
    if let Some((path, time)) = durable_fs::place_of(thread.thread().id()) {
        let (path, seconds) = (escaped_path(&path), time.as_secs());
        tracing::warn!(
            thread = name,
            path,
            seconds,
            "did not stop in time: it is at the file system of this path; {what_follows}"
        );
    } else {
        tracing::warn!(thread = name, "did not stop in time: it is at a step; {what_follows}");
    }
}

/// Where a thread is that hangs in a file system.
pub(crate) fn place_of(thread: ThreadId) -> String {
    match durable_fs::place_of(thread) {
        Some((path, _)) => format!(" at {}", escaped_path(path.as_path())),
        None => String::new(),
    }
}

/// Asks the store during a stop whether it forgot a flush that somebody waits for: see `Store::sync`.
struct AskStore(Arc<AtomicBool>);

impl AskStore {
    fn start(shared: &Arc<Shared>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (shared, until) = (Arc::clone(shared), Arc::clone(&is_over));
        let ask = move || {
            while !until.load(Ordering::Acquire) {
                if let Err(error) = shared.store.sync_waiting() {
                    shared.stop_if_poisoned(&error.into());
                    return;
                }
                std::thread::park_timeout(ASK_STORE_EVERY);
            }
        };
        // Without it a stop only takes longer where a disk fails.
        if let Err(trouble) = spawn("ask-store", ask) {
            tracing::debug!(error = %trouble.error, "the store is not asked");
        }
        Self(is_over)
    }
}

impl Drop for AskStore {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A last checkpoint of every running job, each on a thread of its own: their disks have nothing to do with each other. A clean stop is no attempt.
fn save_runs(shared: &Arc<Shared>, deadline: Instant) -> Result<(), Trouble> {
    let runs = shared.dispatch.runs();
    for run in &runs {
        run.with_row(|job| {
            if job.state == JobState::Running {
                job.attempts = job.attempts.saturating_sub(1); // of one that was paused it is no attempt already
            }
            shared.save(job)
        })?;
    }
    let mut writing = Vec::new();
    for run in &runs {
        let (shared, of) = (Arc::clone(shared), Arc::clone(run));
        writing.push((run, spawn("last-checkpoint", move || last_checkpoint(&shared, &of))?));
    }
    // One that hangs leaves the store its time.
    let now = Instant::now();
    let half = now + deadline.saturating_duration_since(now) / 2;
    for (run, thread) in &writing {
        if !join_until(thread, half) {
            let at = place_of(thread.thread().id());
            tracing::warn!(job = %run.id, "its last checkpoint was not written in time: the file system{at} does not answer; it goes on from the one before");
        }
    }
    let syncing = Arc::clone(shared);
    let synced = spawn("last-sync", move || {
        if let Err(error) = syncing.store.sync() {
            syncing.fail_for_good(Trouble::from(error).error);
        }
    })?;
    if !join_until(&synced, deadline) {
        let data_dir = escaped_path(&shared.service.data_dir);
        tracing::warn!(
            path = data_dir,
            "the data folder's disk did not answer in time; the next start goes on from what it has"
        );
    }
    match shared.stop.fatal() {
        Some(error) => Err(Trouble::from_error(error.clone())),
        None => Ok(()),
    }
}

fn last_checkpoint(shared: &Arc<Shared>, run: &Run) {
    let written = run.guard("checkpoint", || {
        let order = run.with_collector(|collector| collector.checkpoint(true)).transpose()?.flatten();
        order.map_or(Ok(()), |order| checkpoint::write_checkpoint(&shared.store, run, order))
    });
    if let Err(trouble) = written {
        if trouble.is_poisoned() {
            shared.fail_for_good(trouble.error);
        } else {
            tracing::warn!(job = %run.id, error = %trouble.error, "its last checkpoint cannot be written: it goes on from the one before");
        }
    }
}

/// Lets the children of steps end by themselves, which may have something to write down: the process's end would not wait for them. Each
/// worker's steps have a thread: one that hangs keeps no other from its end.
fn end_steps(shared: &Shared, deadline: Instant) {
    let mut ending = Vec::new();
    for run in shared.dispatch.runs() {
        for steps in run.take_idle_steps().into_iter().filter(PipelineWorker::has_last_word) {
            let (job, quotes) = (run.id, run.quotes());
            let end = move || {
                if let Err(broken) = quotes.within(|| steps.end()) {
                    tracing::warn!(%job, %broken, "a step did not end well at the stop");
                }
            };
            ending.extend(spawn("end-steps", end));
        }
    }
    for thread in &ending {
        join_until(thread, deadline);
    }
}

fn join_until(thread: &JoinHandle<()>, deadline: Instant) -> bool {
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, worked};

    #[test]
    fn each_part_of_a_stop_leaves_time_to_the_next_however_long_all_of_it_may_take() {
        for seconds in [0, 1, 10, 600] {
            let timeout = Duration::from_secs(seconds);
            let (before, deadlines) = (Instant::now(), Deadlines::within(timeout));
            assert!(before <= deadlines.threads && deadlines.threads <= deadlines.checkpoints);
            assert!(deadlines.checkpoints <= Instant::now() + timeout);
        }
    }

    #[test]
    fn a_thread_that_hangs_is_waited_for_until_the_deadline_and_no_longer() {
        let (release, hangs) = std::sync::mpsc::sync_channel::<()>(0);
        let thread =
            spawn("hangs", move || assert!(hangs.recv().is_err(), "nobody sends")).expect("a thread");
        assert!(!join_until(&thread, Instant::now()));
        drop(release);
        assert!(join_until(&thread, Instant::now() + Duration::from_mins(1)));
    }

    #[test]
    fn a_clean_stop_writes_a_last_checkpoint_and_is_no_attempt() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.with_row(|job| job.attempts = 3);
        save_runs(&world.shared, Instant::now() + Duration::from_mins(1)).expect("saves");
        let store = &world.shared.store;
        assert_eq!(store.checkpoint(run.id).expect("reads").map(|point| point.next_slice), Some(1));
        assert_eq!(store.job(run.id).expect("reads").map(|row| row.attempts), Some(2));
    }
}
