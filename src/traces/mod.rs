//! Traces: what became of each job, and when, goes to a collector of OpenTelemetry as one trace, by OTLP over HTTP as JSON.
//!
//! For whoever looks at what is slow, not for accounts: what the collector does not take in time is dropped, and told. Two threads: one reads
//! the jobs that ended, one posts; neither is waited for by any other.

mod spans;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
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
    tally: Arc<Mutex<Tally>>,
    posting: JoinHandle<()>,
}

/// What became of the jobs that ended, beside those that the collector took.
#[derive(Default)]
struct Tally {
    /// They wait, or are being posted.
    open: u64,
    /// They found no room among those that wait.
    no_room: u64,
    /// The collector did not take their traces; and why it did not take the last ones.
    not_taken: u64,
    error: String,
    /// When both were told last, and how many they were.
    told: Option<(Instant, u64)>,
    /// The service stopped: what is dropped was told for the last time.
    is_closed: bool,
}

impl Traces {
    /// From now on the jobs of this engine are told to the collector as they end.
    pub(crate) fn start(engine: &Engine, collector: Collector) -> io::Result<Self> {
        let (stop, tally) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Tally>>::default());
        let (give, taken) = sync_channel(JOBS_MAX);
        let posts = Posts {
            engine: engine.clone(),
            collector,
            poster: Poster::default(),
            stop: Arc::clone(&stop),
            tally: Arc::clone(&tally),
        };
        let posting = Builder::new().name("traces-post".into()).spawn(move || posts.run(&taken))?;
        let (engine, stops, counts) = (engine.clone(), Arc::clone(&stop), Arc::clone(&tally));
        Builder::new().name("traces".into()).spawn(move || read_ended(&engine, &give, &counts, &stops))?;
        Ok(Self { stop, tally, posting })
    }

    /// What is known is posted, if the collector takes it at once. What is dropped is told, also where the collector hangs: nobody waits for that.
    pub(crate) fn stop(self, within: Duration) {
        self.stop.store(true, Ordering::Release);
        let patience = Instant::now() + within.min(STOP_PATIENCE);
        while !self.posting.is_finished() && Instant::now() < patience {
            std::thread::sleep(LOOK_EVERY);
        }
        with(&self.tally, Tally::close);
    }
}

fn with<T>(tally: &Mutex<Tally>, act: impl FnOnce(&mut Tally) -> T) -> T {
    act(&mut tally.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Tally {
    /// So many were posted, or have nothing to be posted.
    fn settle(&mut self, jobs: usize) {
        self.open = self.open.saturating_sub(jobs as u64);
    }

    /// These were not taken.
    fn drop_some(&mut self, jobs: usize, error: String) {
        self.settle(jobs);
        self.not_taken += jobs as u64;
        self.error = error;
    }

    /// Whether more were dropped than were told, and that so long ago; then they count as told.
    fn due(&mut self, now: Instant, after: Duration) -> bool {
        let dropped = self.no_room + self.not_taken;
        let (told_at, told) = self.told.unzip();
        let is_due = told_at.is_none_or(|at| now.saturating_duration_since(at) >= after);
        if self.is_closed || dropped <= told.unwrap_or(0) || !is_due {
            return false;
        }
        self.told = Some((now, dropped));
        true
    }

    fn tell_dropped(&mut self, after: Duration) {
        if !self.due(Instant::now(), after) {
            return;
        }
        tracing::warn!(
            no_room = self.no_room,
            not_taken = self.not_taken,
            error = self.error,
            hint = "look whether the collector of `service.traces` answers there; jobs are not affected",
            "traces of jobs were dropped since the start: so many found no room among those that wait, so many were not taken"
        );
    }

    /// All that is open is dropped, and all is told that was not, whenever some were told last.
    fn close(&mut self) {
        if let Ok(open @ 1..) = usize::try_from(self.open) {
            let error = if self.error.is_empty() {
                "it did not answer before the service stopped"
            } else {
                &self.error
            };
            let error = error.to_owned();
            self.drop_some(open, error);
        }
        self.tell_dropped(Duration::ZERO);
        self.is_closed = true;
    }
}

/// Ends with the engine, which tells that it does.
fn read_ended(engine: &Engine, give: &SyncSender<JobId>, tally: &Mutex<Tally>, stop: &AtomicBool) {
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
        with(tally, |tally| tally.open += 1); // before it may be posted
        match give.try_send(change.job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => with(tally, |tally| {
                tally.settle(1);
                tally.no_room += 1;
            }),
            Err(TrySendError::Disconnected(_)) => return, // it stays open, and is told with the last ones
        }
    }
}

struct Posts {
    engine: Engine,
    collector: Collector,
    poster: Poster,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
}

impl Posts {
    fn run(mut self, taken: &Receiver<JobId>) {
        while let Some(batch) = self.next_batch(taken) {
            if !batch.is_empty() {
                self.post(&batch);
            }
            with(&self.tally, |tally| tally.tell_dropped(TELL_EVERY));
        }
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
            let why = "jobs were taken up again, or are not listed any more, before their traces were made";
            with(&self.tally, |tally| tally.drop_some(gone, why.to_owned()));
        }
        if spans.is_empty() {
            return;
        }
        let body = spans::request(&spans).to_string();
        let Collector { url, bearer_file } = &self.collector;
        let mut pauses = PAUSES.iter();
        loop {
            let posted = self.poster.post(url, bearer_file.as_deref(), body.as_bytes(), POST_TAKES);
            let Err(error) = posted else {
                return with(&self.tally, |tally| tally.settle(spans.len()));
            };
            tracing::debug!(error, "the collector of traces did not take some");
            let Some(pause) = pauses.next().filter(|_| !self.stop.load(Ordering::Acquire)) else {
                return with(&self.tally, |tally| tally.drop_some(spans.len(), error));
            };
            let until = Instant::now() + *pause;
            while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_told_once_in_a_while_and_all_of_it_at_the_end() {
        let (mut tally, begun) = (Tally::default(), Instant::now());
        let due = |tally: &mut Tally, periods: u32| tally.due(begun + periods * TELL_EVERY / 2, TELL_EVERY);
        assert!(!due(&mut tally, 0), "nothing is");
        tally.open = 5;
        tally.drop_some(2, "answers 500".into());
        assert!(due(&mut tally, 0) && !due(&mut tally, 4), "no more since");
        tally.drop_some(1, "answers 500".into());
        assert!(!due(&mut tally, 1) && due(&mut tally, 2));
        tally.close();
        assert_eq!((tally.open, tally.not_taken, tally.told.map(|(_, dropped)| dropped)), (0, 5, Some(5)));
        tally.drop_some(1, "answers 500".into());
        assert!(!due(&mut tally, 6), "the service is gone");
    }
}
