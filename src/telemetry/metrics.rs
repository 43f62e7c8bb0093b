//! What is counted and timed as it happens, for all of the process: Prometheus' client keeps it, and nobody but a scrape looks.
//!
//! Counted is per slice, job or sync, never per record: what it costs is lost in them.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::model::job::Job;

/// Those of this process.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRule {
    rule: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    rule: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Steps {
    rule: String,
    steps: String,
}

/// Of what a sync was.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Synced {
    of: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfHook {
    hook: String,
    result: &'static str,
}

type Counts<L> = Family<L, Counter>;
type Times<L> = Family<L, Histogram, fn() -> Histogram>;

pub(crate) struct Metrics {
    claimed: Counts<OfRule>,
    ended: Counts<Ended>,
    read: Counts<OfRule>,
    written: Counts<OfRule>,
    dropped: Counts<OfRule>,
    failed: Counts<OfRule>,
    bytes_read: Counts<OfRule>,
    bytes_written: Counts<OfRule>,
    waits: Times<OfRule>,
    durations: Times<OfRule>,
    slices: Counts<OfRule>,
    steps: Family<Steps, Counter<f64, AtomicU64>>,
    busy: Gauge,
    syncs: Times<Synced>,
    hooks: Counts<OfHook>,
}

/// From a millisecond to more than an hour.
fn of_jobs() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 12))
}

/// From a tenth of a millisecond to more than ten seconds.
fn of_syncs() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

impl Metrics {
    fn new() -> Self {
        Self {
            claimed: Family::default(),
            ended: Family::default(),
            read: Family::default(),
            written: Family::default(),
            dropped: Family::default(),
            failed: Family::default(),
            bytes_read: Family::default(),
            bytes_written: Family::default(),
            waits: Family::new_with_constructor(of_jobs),
            durations: Family::new_with_constructor(of_jobs),
            slices: Family::default(),
            steps: Family::default(),
            busy: Gauge::default(),
            syncs: Family::new_with_constructor(of_syncs),
            hooks: Family::default(),
        }
    }

    /// Adds them to what a scrape gets.
    #[rustfmt::skip] // a line each
    pub(crate) fn register(&self, to: &mut Registry) {
        to.register("jobs_claimed", "Files that became jobs", self.claimed.clone());
        to.register("jobs_ended", "Jobs that reached their end, by the state in which they did", self.ended.clone());
        to.register("records_read", "Records of completed jobs", self.read.clone());
        to.register("records_written", "Records that completed jobs published, in all categories", self.written.clone());
        to.register("records_dropped", "Records that steps of completed jobs dropped", self.dropped.clone());
        to.register("records_failed", "Failed records of completed jobs, which are kept", self.failed.clone());
        to.register_with_unit("sources_read", "Bytes of the sources of completed jobs", Unit::Bytes, self.bytes_read.clone());
        to.register_with_unit("outputs_written", "Bytes of the outputs of completed jobs", Unit::Bytes, self.bytes_written.clone());
        to.register_with_unit("job_wait", "From claim to the first read, of completed jobs", Unit::Seconds, self.waits.clone());
        to.register_with_unit("job_duration", "From claim to end, of completed jobs", Unit::Seconds, self.durations.clone());
        to.register("slices_worked", "Slices that went through the steps", self.slices.clone());
        to.register_with_unit("steps", "Time in steps, all threads together; steps that see each record in turn count together", Unit::Seconds, self.steps.clone());
        to.register("workers_busy", "Slices at work now", self.busy.clone());
        to.register("hooks", "Tries to tell hooks, by what became of them; and events that were given up", self.hooks.clone());
        to.register_with_unit("sync_duration", "Syncs of files, folders and the store's log", Unit::Seconds, self.syncs.clone());
    }

    pub(crate) fn claimed(&self, job: &Job) {
        self.claimed.get_or_create(&of(job)).inc();
    }

    /// It reached this end.
    pub(crate) fn ended(&self, job: &Job) {
        let rule = job.rule.clone();
        self.ended.get_or_create(&Ended { rule, state: job.state.get().as_str() }).inc();
    }

    pub(crate) fn completed(&self, job: &Job) {
        self.ended(job);
        let (of, account) = (of(job), &job.account);
        self.read.get_or_create(&of).inc_by(account.records_in);
        self.written.get_or_create(&of).inc_by(account.records_written());
        self.dropped.get_or_create(&of).inc_by(account.records_dropped());
        self.failed.get_or_create(&of).inc_by(account.records_failed);
        self.bytes_read.get_or_create(&of).inc_by(job.bytes_read);
        self.bytes_written.get_or_create(&of).inc_by(job.outputs.iter().map(|output| output.bytes).sum());
        let since_claim = |at: jiff::Timestamp| at.duration_since(job.created_at).as_secs_f64().max(0.0);
        if let Some(started_at) = job.started_at {
            self.waits.get_or_create(&of).observe(since_claim(started_at));
        }
        if let Some(finished_at) = job.finished_at {
            self.durations.get_or_create(&of).observe(since_claim(finished_at));
        }
    }

    /// A slice is at work until this is dropped.
    pub(crate) fn at_work(&'static self, rule: &str) -> AtWork {
        self.busy.inc();
        self.slices.get_or_create(&OfRule { rule: rule.to_owned() }).inc();
        AtWork(self)
    }

    /// So long was spent in these steps.
    pub(crate) fn spent(&self, rule: &str, steps: String, time: Duration) {
        let rule = rule.to_owned();
        self.steps.get_or_create(&Steps { rule, steps }).inc_by(time.as_secs_f64());
    }

    /// What a hook was to be told: `told`, `failed` (and tried again), or `lost`.
    pub(crate) fn hook(&self, hook: &str, result: &'static str) {
        self.hooks.get_or_create(&OfHook { hook: hook.to_owned(), result }).inc();
    }

    pub(crate) fn synced(&self, of: &'static str, time: Duration) {
        self.syncs.get_or_create(&Synced { of }).observe(time.as_secs_f64());
    }
}

fn of(job: &Job) -> OfRule {
    OfRule { rule: job.rule.clone() }
}

/// Times what is done.
pub(crate) fn timed<T>(of: &'static str, sync: impl FnOnce() -> T) -> T {
    let begun = std::time::Instant::now();
    let done = sync();
    METRICS.synced(of, begun.elapsed());
    done
}

pub(crate) struct AtWork(&'static Metrics);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.busy.dec();
    }
}
