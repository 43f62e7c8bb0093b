//! `/metrics`: what was counted as it happened, and what is looked up for the scrape.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::config;
use crate::engine::{Door, JobFilter};
use crate::listing::{Stop, disks};
use crate::model::deadline::DeadlineState;
use crate::telemetry::metrics::METRICS;

pub(super) const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Jobs are counted anew after this long, and not before this many times what counting takes: it reads every row.
const COUNT_EVERY: Duration = Duration::from_secs(1);
const COUNT_SHARE: u32 = 50;

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct OfState {
    rule: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct OfWait {
    rule: String,
    waits_for: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfMount {
    mount: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct OfRule {
    rule: String,
}

#[derive(Default)]
struct Counted {
    jobs: BTreeMap<OfState, u64>,
    /// Those that are to be done by a time, and are not.
    deadlines: BTreeMap<OfState, u64>,
    /// Those that wait for something.
    waiting: BTreeMap<OfWait, u64>,
    not_before: Option<Instant>,
}

/// What scrapes share.
#[derive(Default)]
pub(super) struct Scrapes {
    counted: Mutex<Counted>,
}

impl Scrapes {
    pub(super) fn write(&self, door: &dyn Door, data_dir: &Path) -> Result<String, Stop> {
        let mut registry = Registry::with_prefix("landfall");
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", version);
        METRICS.register(&mut registry);
        self.register_jobs(door, &mut registry)?;
        register_halts(door, &mut registry)?;
        register_files(door, &mut registry)?;
        register_disks(door, data_dir, &mut registry);
        let mut told = String::new();
        text::encode(&mut told, &registry).map_err(std::io::Error::other)?;
        Ok(told)
    }

    fn register_jobs(&self, door: &dyn Door, to: &mut Registry) -> Result<(), Stop> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        if counted.not_before.is_none_or(|not_before| begun >= not_before) {
            // A state that no job is in any more is told as 0, not left out.
            let Counted { jobs, deadlines, waiting, .. } = &mut *counted;
            for count in jobs.values_mut().chain(deadlines.values_mut()).chain(waiting.values_mut()) {
                *count = 0;
            }
            for job in door.lines(&JobFilter::default()) {
                let job = job?;
                let deadline = job.deadline.as_ref().map(|report| report.state);
                let is_open =
                    |state: &DeadlineState| !matches!(state, DeadlineState::Met | DeadlineState::Missed);
                if let Some(state) = deadline.filter(is_open) {
                    let of = OfState { state: state.word(), rule: job.rule.clone() };
                    *deadlines.entry(of).or_default() += 1;
                }
                if let Some(found) = &job.waiting {
                    let of = OfWait { waits_for: found.waits_for.word(), rule: job.rule.clone() };
                    *waiting.entry(of).or_default() += 1;
                }
                let of = OfState { state: job.state.as_str(), rule: job.rule };
                *jobs.entry(of).or_default() += 1;
            }
            let pause = COUNT_EVERY.max(begun.elapsed() * COUNT_SHARE);
            counted.not_before = Some(Instant::now() + pause);
        }
        to.register("jobs", "Jobs that are listed, by rule and state", family(&counted.jobs));
        let about = "Jobs with a deadline that are not done, by rule and how they stand to it";
        to.register("jobs_with_deadline", about, family(&counted.deadlines));
        let about = "Jobs that wait, by rule and what for, as `waiting` of a job says it";
        to.register("jobs_waiting", about, family(&counted.waiting));
        Ok(())
    }
}

fn family<L: Clone + Hash + Eq>(counts: &BTreeMap<L, u64>) -> Family<L, Gauge> {
    let family = Family::<L, Gauge>::default();
    for (of, count) in counts {
        family.get_or_create(of).set(count.cast_signed());
    }
    family
}

/// What holds back more than one job: each is one to be looked at.
fn register_halts(door: &dyn Door, to: &mut Registry) -> Result<(), Stop> {
    let halts = door.halts()?;
    let stopped = halts.failed.values().filter(|failed| failed.stopped_at.is_some()).count();
    to.register("rules_stopped", "Rules that stopped behind failed jobs", gauge(stopped as u64));
    let sequences = gauge(halts.sequences.len() as u64);
    to.register("sequences_stopped", "Sequences that stopped behind a failed job", sequences);
    to.register("pauses", "Pauses of rules, senders, or everything", gauge(halts.pauses.len() as u64));
    Ok(())
}

fn register_files(door: &dyn Door, to: &mut Registry) -> Result<(), Stop> {
    let files = door.files_in_view()?;
    to.register("files_waiting", "Files that wait to become jobs", gauge(files.waiting));
    to.register("files_late", "Of these, those that wait longer than `ready.late_after`", gauge(files.late));
    to.register("files_unreadable", "Of these, those that cannot be read", gauge(files.unreadable));
    let overdue = door.overdue()?.into_iter().map(|of| (OfRule { rule: of.rule }, of.count)).collect();
    let about =
        "Senders, or rules as a whole, of which no file came for as long as `expect_every` says, by rule";
    to.register("senders_overdue", about, family(&overdue));
    let problems = door.configuration()?.map_or(0, |state| state.problems.len());
    to.register(
        "configuration_problems",
        "What is wrong in the configuration as it is now",
        gauge(problems as u64),
    );
    let counts = door.watch_counts()?.unwrap_or_default();
    to.register("watch_folders", "Folders that are watched", gauge(counts.folders));
    let blind = gauge(counts.folders_without_events);
    to.register("watch_folders_without_events", "Of these, those where only scans see what comes", blind);
    to.register("watch_scans", "Scans of all folders", counter(counts.scans));
    to.register(
        "watch_events_lost",
        "Times that events were lost, each followed by a scan",
        counter(counts.events_lost),
    );
    let found = counter(counts.found_by_scan);
    to.register("watch_files_found_by_scan", "Files that a scan found and no event had told of", found);
    let passed = counter(counts.passed_over);
    to.register("watch_files_passed_over", "Times that a file found no room in view", passed);
    Ok(())
}

fn register_disks(door: &dyn Door, data_dir: &Path, to: &mut Registry) {
    let (free, size) = (Family::<OfMount, Gauge>::default(), Family::<OfMount, Gauge>::default());
    let kept = door.kept_configuration().ok();
    if let Some(settings) = kept.and_then(|kept| config::read_kept(&kept, None).ok()) {
        to.register("workers", "`service.workers`", gauge(settings.service.workers as u64));
        for disk in disks::look(&settings) {
            let of = OfMount { mount: disk.mount };
            let set = |family: &Family<OfMount, Gauge>, bytes: Option<u64>| {
                if let Some(bytes) = bytes {
                    family.get_or_create(&of).set(bytes.cast_signed());
                }
            };
            set(&free, disk.free);
            set(&size, disk.total);
        }
    }
    to.register_with_unit(
        "disk_free",
        "Free on the file systems in use, by where they are mounted",
        Unit::Bytes,
        free,
    );
    to.register_with_unit("disk_size", "Their sizes", Unit::Bytes, size);
    to.register_with_unit(
        "store",
        "Files of the store",
        Unit::Bytes,
        gauge(size_of(&data_dir.join("store"))),
    );
}

/// Of all files in a folder; one that went meanwhile has none.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

fn gauge(value: u64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value.cast_signed());
    gauge
}

fn counter(value: u64) -> Counter {
    let counter = Counter::default();
    counter.inc_by(value);
    counter
}
