//! Who compares: one thread, which looks for what the old system wrote, waits until it stands still, and writes the word into the job's row.
//!
//! An output that is not there, or differs, is looked at again, ever less often, up to [`WAITS_FOR`] after its job ended: the old system may
//! come later, and may write slowly. Of very many that wait the oldest are given up, so that neither memory nor looks grow without end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::content::{self, Unreadable};
use super::outline::Outline;
use super::outputs::Places;
use super::rules::outputs_dir;
use super::theirs;
use crate::clock;
use crate::durable_fs;
use crate::engine::{Door as _, Engine};
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::notice::Notice;
use crate::model::os_text::escaped_path;
use crate::model::rule::Rule;
use crate::model::shadow::{Compared, Shadow, Verdict};
use crate::store::Store;

/// The old system has so long.
const WAITS_FOR: Duration = Duration::from_hours(24);
/// What is written still when that is over is waited for so long, from the first look on.
const SETTLES_WITHIN: Duration = Duration::from_mins(10);
/// A file that nobody changed for so long is read.
const STILL_FOR: Duration = Duration::from_secs(2);
/// Between looks: a twentieth of the time since the job ended, within these.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(5));

/// Jobs that are waited for at once.
const PENDING_MAX: usize = 10_000;
/// Where many wait each is looked at less often.
const LOOKS_IN_A_SECOND: u32 = 200;
/// Looks before others are heard.
const LOOKS_AT_ONCE: usize = 100;

/// Of one shadow.
pub(super) struct Comparing {
    places: Places,
    store: Store,
    /// The oldest first.
    pending: BTreeMap<JobId, Pending>,
    /// Nothing more is to be seen of them.
    compared: Vec<JobId>,
    /// When to look at which: each pending job once, and times that are over.
    due: BinaryHeap<Reverse<(Instant, JobId)>>,
    pending_max: usize,
}

/// A job whose outputs are not all compared.
struct Pending {
    look_at: Instant,
    /// What lay where the old system writes, and since when.
    seen: HashMap<PathBuf, (FileIdentity, Instant)>,
    /// What an output, by its position, was compared with.
    compared: HashMap<usize, FileIdentity>,
    /// So long theirs may still be written, whenever the job ended: what came while no service ran is seen for the first time now.
    settles_until: Instant,
    /// Too many wait: this look is the last, unless theirs is there.
    is_last: bool,
}

impl Pending {
    fn new(now: Instant) -> Self {
        let settles_until = now + SETTLES_WITHIN;
        Self { look_at: now, seen: HashMap::new(), compared: HashMap::new(), settles_until, is_last: false }
    }
}

/// What a look at one output tells.
enum Look {
    /// What was told before.
    Nothing,
    /// Theirs is there, and does not stand still yet.
    Unsettled,
    Told(Compared),
}

impl Comparing {
    pub(super) fn new(places: Places, store: Store) -> Self {
        Self {
            places,
            store,
            pending: BTreeMap::new(),
            due: BinaryHeap::new(),
            compared: Vec::new(),
            pending_max: PENDING_MAX,
        }
    }

    /// Until the engine stops.
    pub(super) fn run(mut self, engine: &Engine, done: &mpsc::SyncSender<()>) {
        let _span = tracing::info_span!("shadow").entered();
        for notice in engine.subscribe() {
            match notice {
                Ok(Notice::ReadAnew) => self.read_anew(),
                Ok(Notice::Changed(change)) if change.state.is_none_or(JobState::is_final) => {
                    self.ended(change.job);
                }
                Ok(Notice::Changed(_) | Notice::Quiet) => {}
                Err(refusal) => {
                    let hint = "mend it and restart the service; live rules go on without it";
                    tracing::error!(error = %refusal, hint, "shadow rules are not watched any more");
                }
            }
            self.look_at_due(Instant::now());
        }
        done.try_send(()).ok(); // nobody need wait
    }

    /// What earlier runs left.
    fn read_anew(&mut self) {
        for folder in [outputs_dir(&self.places.data_dir), self.places.outlines_dir()] {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let jobs: Vec<JobId> =
                entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
            for job in jobs {
                let has_ended = |row: Option<Job>| row.is_none_or(|row| row.state.is_final());
                if self.store.job(job).is_ok_and(has_ended) {
                    self.ended(job);
                }
            }
        }
    }

    /// Nothing is left of a job that ended but what is to be compared.
    fn ended(&mut self, job: JobId) {
        if let Err(error) = self.places.remove_outputs(job) {
            tracing::warn!(%error, "what a shadow wrote in the data folder stays");
        }
        let has_outlines = self.places.outlines_of(job).symlink_metadata().is_ok();
        if has_outlines && !self.pending.contains_key(&job) {
            self.wait_for(job, Pending::new(Instant::now()));
            self.give_up_oldest();
        }
    }

    fn wait_for(&mut self, job: JobId, pending: Pending) {
        self.due.push(Reverse((pending.look_at, job)));
        self.pending.insert(job, pending);
    }

    /// Where too many wait, the oldest is looked at for the last time.
    fn give_up_oldest(&mut self) {
        let oldest = || self.pending.iter().find(|(_, it)| !it.is_last).map(|(job, _)| *job);
        if self.pending.len() > self.pending_max
            && let Some(job) = oldest()
            && let Some(mut oldest) = self.pending.remove(&job)
        {
            oldest.is_last = true;
            self.look_now(job, oldest);
        }
    }

    fn look_at_due(&mut self, now: Instant) {
        for _ in 0..LOOKS_AT_ONCE {
            let Some(Reverse((at, job))) = self.due.peek().copied().filter(|due| due.0.0 <= now) else {
                break;
            };
            self.due.pop();
            if self.pending.get(&job).is_some_and(|it| it.look_at == at)
                && let Some(pending) = self.pending.remove(&job)
            {
                self.look_now(job, pending);
            }
        }
        self.forget_compared();
    }

    /// What is told of them is durable first: who has lost that in a power cut compares them again.
    fn forget_compared(&mut self) {
        if self.compared.is_empty() {
            return;
        }
        if let Err(error) = self.store.sync() {
            tracing::warn!(%error, "what was compared is not removed");
            return;
        }
        for job in std::mem::take(&mut self.compared) {
            if let Err(error) = durable_fs::remove_file(&self.places.outlines_of(job)) {
                tracing::warn!(%error, "what was compared is not removed");
            }
        }
    }

    fn look_now(&mut self, job: JobId, mut pending: Pending) {
        match self.look(job, &mut pending, clock::now()) {
            Some(pause) => {
                let others = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
                let share = Duration::from_secs(1) / LOOKS_IN_A_SECOND * others;
                pending.look_at = Instant::now() + pause.max(share);
                self.wait_for(job, pending);
            }
            None => self.compared.push(job),
        }
    }

    /// One look at what became of a job's outputs. When to look again; none: there is nothing more to see.
    fn look(&self, id: JobId, pending: &mut Pending, now: Timestamp) -> Option<Duration> {
        let mut job = match self.store.job(id) {
            Ok(job) => job.filter(|job| job.state == JobState::Completed)?,
            Err(error) => {
                tracing::warn!(job = %id, %error, "not compared now");
                return Some(LOOK_EVERY.1);
            }
        };
        let current = self.places.rule_of(&job);
        let compare = current.as_ref().and_then(|rule| rule.compare.clone());
        let is_asked = |shadow: &Shadow| shadow.outputs.iter().any(|output| output.compared.is_some());
        if compare.is_none() && !job.shadow.as_deref().is_some_and(is_asked) {
            return None;
        }
        let rule = match self.store.rule(&job.rule_hash) {
            Ok(rule) => rule.or(current)?,
            Err(error) => {
                tracing::warn!(job = %id, %error, "not compared now");
                return Some(LOOK_EVERY.1);
            }
        };
        let there = compare.as_deref().filter(|folder| folder.is_dir());
        let outlines = match self.places.read_outlines(id) {
            Ok(outlines) => outlines?,
            Err(error) => {
                tracing::warn!(job = %id, %error, "its outputs are not compared now");
                return Some(LOOK_EVERY.1);
            }
        };
        let age = job.finished_at.map_or(Duration::ZERO, |at| age_of(at, now));
        let before = job.shadow.clone();
        let may_settle = Instant::now() < pending.settles_until;
        let is_over = age >= WAITS_FOR || pending.is_last;
        let (mut is_open, mut settles) = (false, false);
        for (position, outline) in outlines.iter().enumerate() {
            let look = there.map_or(Look::Nothing, |compare| {
                self.look_at_output(&job, position, outline, &rule, compare, pending)
            });
            let Some(shadowed) = job.shadow.as_mut().and_then(|it| it.outputs.get_mut(position)) else {
                continue;
            };
            let is_unsettled = matches!(look, Look::Unsettled);
            settles |= is_unsettled && may_settle;
            if let Look::Told(compared) = look {
                shadowed.compared = Some(compared);
            }
            let compared = shadowed.compared.get_or_insert_default();
            if compared.verdict == Verdict::NotThereYet && is_over && !(is_unsettled && may_settle) {
                let why_not = if is_unsettled {
                    Some("it does not stand still".to_owned())
                } else if there.is_none() {
                    Some(folder_away(compare.as_deref()))
                } else {
                    None
                };
                compared.verdict = if why_not.is_some() { Verdict::NotCompared } else { Verdict::OursOnly };
                let given_up =
                    || format!("not waited for any longer: more than {} files wait", self.pending_max);
                compared.detail = why_not.or_else(|| (age < WAITS_FOR).then(given_up));
            }
            is_open |= compared.verdict != Verdict::Match;
        }
        if job.shadow != before
            && let Err(error) = self.store.change().job(&job).apply()
        {
            tracing::warn!(job = %id, %error, "how its outputs compare is not written down");
            return Some(LOOK_EVERY.1);
        }
        if settles {
            return Some(STILL_FOR);
        }
        (is_open && !is_over).then(|| (age / 20).clamp(LOOK_EVERY.0, LOOK_EVERY.1))
    }

    fn look_at_output(
        &self,
        job: &Job,
        position: usize,
        ours: &Outline,
        rule: &Rule,
        compare: &Path,
        pending: &mut Pending,
    ) -> Look {
        let shadowed = job.shadow.as_ref().and_then(|shadow| shadow.outputs.get(position));
        let (Some(output), Some(shadowed)) = (job.outputs.get(position), shadowed) else {
            return Look::Nothing;
        };
        if shadowed.compared.as_ref().is_some_and(|told| told.verdict == Verdict::Match) {
            return Look::Nothing;
        }
        let meant = rule.stands_for.as_ref().map(|it| it.outputs.get(&output.category).map(String::as_str));
        let template = meant.unwrap_or_else(|| Some(rule.outputs.get(&output.category)?.path.as_str()));
        let template = template.unwrap_or_default();
        let candidates = theirs::candidates(compare, template, output.path.as_path());
        let Some((path, identity)) = theirs::find(&candidates) else {
            pending.compared.remove(&position);
            return without_theirs(&candidates, shadowed.compared.as_ref());
        };
        let now = Instant::now();
        let (seen, since) = *pending.seen.entry(path.clone()).or_insert((identity, now));
        if seen != identity {
            pending.seen.insert(path, (identity, now));
            return Look::Unsettled;
        }
        if pending.compared.get(&position) == Some(&identity) {
            return Look::Nothing;
        }
        if now.saturating_duration_since(since) < STILL_FOR {
            return Look::Unsettled;
        }
        let theirs = content::outline_theirs(&path, rule, &self.places.spool_dir());
        if !matches!(durable_fs::identity_at(&path), Ok(Some(found)) if found == identity) {
            pending.seen.remove(&path); // it was written meanwhile
            return Look::Unsettled;
        }
        pending.compared.insert(position, identity);
        let compared = judge(ours, theirs, &path);
        if compared.verdict == Verdict::Differs {
            let (ours, detail) = (output.path.to_string(), compared.detail.as_deref());
            tracing::warn!(job = %job.id, rule = job.rule, ours, theirs = escaped_path(&path), detail, "differs");
        }
        Look::Told(compared)
    }
}

/// Where no file of theirs is there: what else has its name; the word on what is not there any more counts no more.
fn without_theirs(candidates: &[PathBuf], told: Option<&Compared>) -> Look {
    if let Some((path, kind)) = theirs::no_file(candidates) {
        let detail = format!("what has that name is {kind}, and only a regular file is compared");
        return Look::Told(Compared {
            verdict: Verdict::NotCompared,
            theirs: Some(path.into()),
            detail: Some(detail),
            ..Compared::default()
        });
    }
    let was_not_compared =
        told.is_some_and(|told| told.verdict == Verdict::NotCompared && told.theirs.is_some());
    if was_not_compared { Look::Told(Compared::default()) } else { Look::Nothing }
}

/// Why nothing is compared where there is no folder of theirs.
fn folder_away(compare: Option<&Path>) -> String {
    match compare {
        Some(folder) => format!("`compare` is no folder: {}", escaped_path(folder)),
        None => "`compare` names no folder any more".to_owned(),
    }
}

fn judge(ours: &Outline, theirs: Result<Outline, Unreadable>, path: &Path) -> Compared {
    let mut compared = Compared { theirs: Some(path.into()), ..Compared::default() };
    match theirs {
        Ok(theirs) => {
            compared.detail = ours.difference(&theirs, ("ours", "theirs"));
            compared.verdict = if compared.detail.is_none() { Verdict::Match } else { Verdict::Differs };
            compared.their_bytes = Some(theirs.bytes);
            compared.their_lines = Some(theirs.lines);
        }
        Err(error) => {
            compared.verdict = Verdict::NotCompared;
            compared.detail = Some(error.to_string());
        }
    }
    compared
}

fn age_of(at: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(at).try_into().unwrap_or(Duration::ZERO)
}

/// Starts the thread; it says when it has ended.
pub(super) fn start(comparing: Comparing, engine: Engine) -> std::io::Result<mpsc::Receiver<()>> {
    let (done, is_done) = mpsc::sync_channel(1);
    let engine = Arc::new(engine);
    std::thread::Builder::new().name("shadow-compare".into()).spawn(move || comparing.run(&engine, &done))?;
    Ok(is_done)
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
