//! Traces: what became of each job, and when, goes to a collector of OpenTelemetry as one trace, by OTLP over HTTP as JSON.
//!
//! For whoever looks at what is slow, not for accounts: what the collector does not take in time is dropped, and told. Two threads: one reads
//! the jobs that ended, one posts; neither is waited for by any other.

mod spans;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::{Door as _, Engine};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::notice::Notice;
use crate::model::traces::Collector;
use crate::posting::Poster;

/// Jobs that wait to be posted, at most.
const JOBS_MAX: usize = 4096;
/// Jobs of one post, at most, and for how long it is waited that there are so many.
const BATCH_JOBS_MAX: usize = 256;
const BATCH_TAKES: Duration = Duration::from_secs(1);
const POST_TAKES: Duration = Duration::from_secs(10);
/// So often a batch is tried, with these pauses between.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];
const TELL_EVERY: Duration = Duration::from_mins(5);
/// How long a stop waits for what is to be posted yet.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who posts the traces of a service.
pub(crate) struct Traces {
    stop: Arc<AtomicBool>,
    posting: JoinHandle<()>,
}

impl Traces {
    /// From now on the jobs of this engine are told to the collector as they end.
    pub(crate) fn start(engine: &Engine, collector: Collector) -> io::Result<Self> {
        let (stop, no_room) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (give, taken) = sync_channel(JOBS_MAX);
        let posts = Posts {
            engine: engine.clone(),
            collector,
            poster: Poster::default(),
            stop: Arc::clone(&stop),
            no_room: Arc::clone(&no_room),
            not_taken: 0,
            error: String::new(),
            told: None,
        };
        let posting = Builder::new().name("traces-post".into()).spawn(move || posts.run(&taken))?;
        let (engine, stops) = (engine.clone(), Arc::clone(&stop));
        Builder::new().name("traces".into()).spawn(move || read_ended(&engine, &give, &no_room, &stops))?;
        Ok(Self { stop, posting })
    }

    /// What is known is posted, if the collector takes it at once.
    pub(crate) fn stop(self, within: Duration) {
        self.stop.store(true, Ordering::Release);
        let patience = Instant::now() + within.min(STOP_PATIENCE);
        while !self.posting.is_finished() && Instant::now() < patience {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Ends with the engine, which tells that it does.
fn read_ended(engine: &Engine, give: &SyncSender<JobId>, no_room: &AtomicU64, stop: &AtomicBool) {
    for notice in engine.subscribe() {
        let Ok(notice) = notice else { return };
        let Notice::Changed(change) = notice else {
            if stop.load(Ordering::Acquire) {
                return;
            }
            continue; // what was missed where it says so is not read up: there may be any number
        };
        if !change.state.is_some_and(JobState::is_final) || change.before == change.state {
            continue;
        }
        match give.try_send(change.job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                no_room.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

struct Posts {
    engine: Engine,
    collector: Collector,
    poster: Poster,
    stop: Arc<AtomicBool>,
    /// Jobs that found no room among those that wait.
    no_room: Arc<AtomicU64>,
    /// Jobs whose traces were not taken, and why the last ones were not.
    not_taken: u64,
    error: String,
    /// When that was told last, and how many both were.
    told: Option<(Instant, u64)>,
}

impl Posts {
    fn run(mut self, taken: &Receiver<JobId>) {
        while let Some(batch) = self.next_batch(taken) {
            if !batch.is_empty() {
                self.post(&batch);
            }
            self.tell_dropped();
        }
        // At the end all of them, whenever some were told last.
        self.not_taken += taken.try_iter().count() as u64;
        self.told = self.told.and_then(|(at, dropped)| Some((at.checked_sub(TELL_EVERY)?, dropped)));
        self.tell_dropped();
    }

    /// None where nothing more comes.
    fn next_batch(&self, taken: &Receiver<JobId>) -> Option<Vec<JobId>> {
        let mut batch = Vec::new();
        let mut until = Instant::now() + BATCH_TAKES;
        while batch.len() < BATCH_JOBS_MAX {
            let stops = self.stop.load(Ordering::Acquire);
            if stops {
                until = Instant::now();
            }
            match taken.recv_timeout(until.saturating_duration_since(Instant::now()).min(LOOK_EVERY * 10)) {
                Ok(id) => batch.push(id),
                Err(RecvTimeoutError::Disconnected) if batch.is_empty() => return None,
                Err(RecvTimeoutError::Timeout) if stops && batch.is_empty() => return None,
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(_) => break,
            }
        }
        Some(batch)
    }

    /// A job that is retried meanwhile, or forgotten, has no end to be told.
    fn spans_of(&self, id: JobId) -> Option<Value> {
        let job = self.engine.show(&id.to_string()).ok().filter(|job| job.state.is_final())?;
        Some(spans::of_job(&job).into())
    }

    fn post(&mut self, batch: &[JobId]) {
        let spans: Vec<_> = batch.iter().filter_map(|id| self.spans_of(*id)).collect();
        let gone = batch.len() - spans.len();
        if gone > 0 {
            self.not_taken += gone as u64;
            "jobs were taken up again, or are not listed any more, before their traces were made"
                .clone_into(&mut self.error);
        }
        if spans.is_empty() {
            return;
        }
        let body = spans::request(&spans).to_string();
        let Collector { url, bearer_file } = &self.collector;
        let mut pauses = PAUSES.iter();
        loop {
            let posted = self.poster.post(url, bearer_file.as_deref(), body.as_bytes(), POST_TAKES);
            let Err(error) = posted else { return };
            tracing::debug!(error, "the collector of traces did not take some");
            let Some(pause) = pauses.next().filter(|_| !self.stop.load(Ordering::Acquire)) else {
                self.not_taken += spans.len() as u64;
                self.error = error;
                return;
            };
            let until = Instant::now() + *pause;
            while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    fn tell_dropped(&mut self) {
        let no_room = self.no_room.load(Ordering::Relaxed);
        let dropped = no_room + self.not_taken;
        let (told_at, told) = self.told.unzip();
        if dropped > told.unwrap_or(0) && told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.told = Some((Instant::now(), dropped));
            tracing::warn!(
                no_room,
                not_taken = self.not_taken,
                error = self.error,
                hint = "look whether the collector of `service.traces` answers there; jobs are not affected",
                "traces of jobs were dropped since the start: so many found no room among those that wait, so many were not taken"
            );
        }
    }
}
