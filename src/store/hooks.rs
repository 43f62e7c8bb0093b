//! What hooks are to be told, until they were: a row for each event and hook that asks for it.
//!
//! ```text
//!  a job's row is written with another state, or the engine tells of something -> in the same batch a row for each hook
//!    -> synced with it -> the hook's thread tells it -> its row is removed
//! ```
//!
//! # Invariants
//! - What became of a job is told at least once, whatever is killed: its row and those for hooks are durable together, and theirs go once they
//!   were told.
//! - Where no hook is, a change costs one look at a flag.
//! - At most [`WAITING_MAX`] rows wait for a hook: what comes after them is lost, counted and logged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::backend::{self, Backend as _, Batch, Value};
use super::error::StoreError;
use super::keys::{self, Key};
use super::{Store, feed, value};
use crate::clock;
use crate::model::hook::{Happened, Hook, HookEvent};
use crate::model::job::Job;
use crate::model::job_state::JobState;
use crate::telemetry::metrics::METRICS;

/// Events that wait for one hook, at most.
pub(super) const WAITING_MAX: u64 = 10_000;
const LOST_LOGGED_EVERY: Duration = Duration::from_mins(1);
/// Bytes of what an event says.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

#[derive(Default)]
pub(super) struct Hooks {
    /// Whether there is one.
    is_any: AtomicBool,
    asking: RwLock<Arc<Vec<Asking>>>,
    /// The number of the newest event: never given twice.
    last: AtomicU64,
    /// How often something came.
    rung: Mutex<u64>,
    bell: Condvar,
}

/// A hook, and how many events it was not told yet.
struct Asking {
    hook: Hook,
    waiting: AtomicU64,
    lost: Mutex<Lost>,
}

/// What a hook was never told, since the service started.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    count: u64,
    last_at: Option<Timestamp>,
    /// When it was logged last, and how many were lost by then.
    logged: Option<(Instant, u64)>,
}

impl Lost {
    fn note(&mut self) {
        self.count += 1;
        self.last_at = Some(clock::now());
    }

    /// How many are to be logged now: a flood of them floods no log.
    fn due_in_log(&mut self, now: Instant) -> Option<u64> {
        let (at, count) = self.logged.map_or((None, 0), |(at, count)| (Some(at), count));
        if at.is_some_and(|at| now.saturating_duration_since(at) < LOST_LOGGED_EVERY) {
            return None;
        }
        self.logged = Some((now, self.count));
        Some(self.count - count)
    }
}

/// How a hook stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookCounts {
    /// Its name.
    pub hook: String,
    /// Events that it was not told yet.
    pub waiting: u64,
    /// Those that it never will be.
    pub lost: u64,
    /// When the last one was lost.
    pub lost_at: Option<Timestamp>,
}

impl Asking {
    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> HookCounts {
        let Lost { count, last_at, .. } = *self.lost();
        let waiting = self.waiting.load(Ordering::Acquire);
        HookCounts { hook: self.hook.name.clone(), waiting, lost: count, lost_at: last_at }
    }
}

impl Hooks {
    fn asking(&self) -> Arc<Vec<Asking>> {
        Arc::clone(&self.asking.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Numbers go on behind what the store has.
    pub(super) fn begin(&self, store: &Store) {
        let newest = store.keys_beginning_with(&[keys::HOOK]).filter_map(Result::ok);
        let newest = newest.filter_map(|key| keys::event_of(&key)).max();
        self.last.store(newest.unwrap_or(0), Ordering::Release);
    }

    /// Adds to a batch what hooks are to be told of it.
    pub(super) fn stage(&self, store: &Store, batch: &mut Batch) -> Result<Staged, StoreError> {
        let mut staged = Staged::default();
        if !self.is_any.load(Ordering::Acquire) {
            return Ok(staged);
        }
        for change in feed::changes_of(store, batch) {
            let Some(state) = change.state.filter(|_| change.before != change.state) else { continue };
            let asking = self.asking();
            let wants =
                |event: HookEvent| asking.iter().any(|asking| asking.hook.wants(event, Some(&change.rule)));
            let wanted = || HookEvent::of_state(state).iter().copied().filter(|event| wants(*event));
            if wanted().next().is_none() {
                continue;
            }
            let key = keys::of_job(keys::JOB, change.job);
            let Some(job) = written_job(batch, &key)? else { continue };
            if was_held_for_this(store, &job)? {
                continue;
            }
            for event in wanted() {
                if event != HookEvent::SetAside || job.account.records_failed > 0 {
                    self.add(&happened_to(&job, event), batch, &mut staged)?;
                }
            }
        }
        Ok(staged)
    }

    /// Adds to a batch what happened, for each hook that asks for it.
    fn add(&self, happened: &Happened, batch: &mut Batch, staged: &mut Staged) -> Result<(), StoreError> {
        let number = next_number(&self.last);
        let values = value::encode("event for a hook", happened)?;
        for (at, asking) in self.asking().iter().enumerate() {
            if !asking.hook.wants(happened.event, happened.rule.as_deref()) {
                continue;
            }
            if asking.waiting.load(Ordering::Acquire) >= WAITING_MAX {
                staged.lost.push((at, happened.event));
                continue;
            }
            let key = keys::event(&asking.hook.name, number);
            for (index, value) in (1..).zip(values.iter().skip(1)) {
                batch.rows.insert(keys::continued(&key, index), Some(value.clone()));
            }
            batch.rows.insert(key, values.first().cloned());
            staged.waiting.push(at);
        }
        Ok(())
    }

    /// That is written.
    pub(super) fn done(&self, staged: &Staged) {
        if staged.waiting.is_empty() && staged.lost.is_empty() {
            return;
        }
        let asking = self.asking();
        for asking in staged.waiting.iter().filter_map(|at| asking.get(*at)) {
            asking.waiting.fetch_add(1, Ordering::AcqRel);
        }
        for (asking, event) in staged.lost.iter().filter_map(|(at, event)| Some((asking.get(*at)?, event))) {
            METRICS.hook(&asking.hook.name, "lost");
            let mut lost = asking.lost();
            lost.note();
            let due_in_log = lost.due_in_log(Instant::now());
            drop(lost);
            let Some(events) = due_in_log else { continue };
            tracing::warn!(
                hook = asking.hook.name, %event, events, waiting = WAITING_MAX,
                "events are lost, this one the newest: too many wait for this hook already"
            );
        }
        self.ring();
    }

    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.bell.notify_all();
    }
}

/// Which hooks a batch has a row for, and which it has none for because too many wait.
#[derive(Default)]
pub(super) struct Staged {
    waiting: Vec<usize>,
    lost: Vec<(usize, HookEvent)>,
}

/// By time, so that they are in order and other ones after each start.
pub(super) fn next_number(last: &AtomicU64) -> u64 {
    let now = u64::try_from(clock::now().as_microsecond()).unwrap_or(0);
    let next = |last: u64| Some(now.max(last.saturating_add(1)));
    let before = last.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    before.map_or(now, |last| now.max(last.saturating_add(1)))
}

/// A job's row as a batch writes it.
pub(super) fn written_job(batch: &Batch, key: &Key) -> Result<Option<Job>, StoreError> {
    let get = |key: &[u8]| batch.rows.get(key).cloned().flatten();
    let Some(head) = get(key) else { return Ok(None) };
    let head = value::read_head("job", &head)?;
    value::decode::<_, Value>("job", &head, |index| Ok(get(&keys::continued(key, index)))).map(Some)
}

/// It goes back and forth: that is told once.
fn was_held_for_this(store: &Store, job: &Job) -> Result<bool, StoreError> {
    if job.state != JobState::Held {
        return Ok(false);
    }
    let held = job.timeline.iter().rev().find(|moment| moment.state == JobState::Held);
    let Some(held) = held else { return Ok(false) };
    Ok(store.job(job.id)?.is_some_and(|before| before.was_held_for(&held.detail)))
}

fn happened_to(job: &Job, event: HookEvent) -> Happened {
    let (message, hint) = match (&job.error, &job.waiting) {
        (_, Some(waiting)) if event == HookEvent::Held => {
            (waiting.detail.clone(), job.error.as_ref().and_then(|error| error.hint.clone()))
        }
        _ if event == HookEvent::SetAside => {
            let (read, failed) = (job.account.records_in, job.account.records_failed);
            let records = if read == 1 { "record" } else { "records" };
            let hint = format!(
                "`landfall records {}` lists them, and why each failed; there they are settled",
                job.id
            );
            (
                format!("{failed} of {read} {records} failed, and are kept beside what was published"),
                Some(hint),
            )
        }
        (Some(error), _) if event != HookEvent::Completed => (error.message.clone(), error.hint.clone()),
        _ => {
            let account = &job.account;
            let (read, written, failed) =
                (account.records_in, account.records_written(), account.records_failed);
            let records = if read == 1 { "record" } else { "records" };
            (format!("{read} {records} read, {written} published, {failed} failed"), None)
        }
    };
    Happened {
        event,
        at: clock::now(),
        rule: Some(job.rule.clone()),
        job: Some(job.id),
        path: Some(job.source.path.clone()),
        message: shortened(&message),
        hint,
    }
}

fn shortened(message: &str) -> String {
    let end = (0..=MESSAGE_BYTES_MAX.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    message.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

impl Store {
    /// These are the hooks from now on. What others were not told yet is lost: how many events.
    pub(crate) fn take_hooks(&self, hooks: &[Hook]) -> Result<u64, StoreError> {
        let _nothing_is_changed = self.inner.changing.write().unwrap_or_else(PoisonError::into_inner);
        let inner = &self.inner.hooks;
        let mut waiting = HashMap::<Key, u64>::new();
        let mut lost = Batch { as_of: self.inner.rows.applied_count(), ..Batch::default() };
        let known: Vec<Key> = hooks.iter().map(|hook| keys::events_of(&hook.name)).collect();
        for key in self.keys_beginning_with(&[keys::HOOK]) {
            let key = key?;
            match known.iter().find(|known| key.starts_with(known)) {
                Some(known) => *waiting.entry(known.clone()).or_default() += 1,
                None => drop(lost.rows.insert(key, None)),
            }
        }
        let count = lost.rows.len() as u64;
        if count > 0 {
            self.inner.rows.apply(lost).map(drop)?; // it expects nothing
        }
        let before = inner.asking();
        let lost_of = |name: &str| {
            before
                .iter()
                .find(|asking| asking.hook.name == name)
                .map_or_else(Lost::default, |asking| *asking.lost())
        };
        let asking = hooks.iter().zip(&known).map(|(hook, known)| Asking {
            hook: hook.clone(),
            waiting: AtomicU64::new(waiting.get(known).copied().unwrap_or(0)),
            lost: Mutex::new(lost_of(&hook.name)),
        });
        *inner.asking.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(asking.collect());
        inner.is_any.store(!hooks.is_empty(), Ordering::Release);
        inner.ring();
        Ok(count)
    }

    /// Hooks are to be told of something that is no job's new state. What it says is made only where one asks.
    pub(crate) fn happened(
        &self,
        event: HookEvent,
        rule: Option<&str>,
        tell: impl FnOnce(&mut Happened),
    ) -> Result<(), StoreError> {
        let hooks = &self.inner.hooks;
        if !hooks.is_any.load(Ordering::Acquire)
            || !hooks.asking().iter().any(|asking| asking.hook.wants(event, rule))
        {
            return Ok(());
        }
        let (rule, message) = (rule.map(str::to_owned), String::new());
        let mut happened =
            Happened { event, at: clock::now(), rule, job: None, path: None, message, hint: None };
        tell(&mut happened);
        happened.message = shortened(&happened.message);
        let _changing = self.inner.changing.read().unwrap_or_else(PoisonError::into_inner);
        let (mut batch, mut staged) =
            (Batch { as_of: self.inner.rows.applied_count(), ..Batch::default() }, Staged::default());
        hooks.add(&happened, &mut batch, &mut staged)?;
        if !batch.rows.is_empty() {
            self.inner.rows.apply(batch).map(drop)?; // it expects nothing
        }
        hooks.done(&staged);
        Ok(())
    }

    /// What a hook is to be told next, behind the event of this number.
    pub(crate) fn event_after(&self, hook: &str, number: u64) -> Result<Option<(u64, Happened)>, StoreError> {
        let (_, upto) = backend::beginning_with(&keys::events_of(hook));
        let from = std::ops::Bound::Excluded(keys::event(hook, number));
        let Some(row) = self.scan((from, upto)).next() else { return Ok(None) };
        let (key, value) = row?;
        let number = keys::event_of(&key)
            .ok_or_else(|| StoreError::corrupt("event for a hook", "its key has no number"))?;
        Ok(self.whole_row("event for a hook", &key, &value)?.map(|happened| (number, happened)))
    }

    /// A hook was told that, or never will be.
    pub(crate) fn forget_event(&self, hook: &str, number: u64, is_lost: bool) -> Result<(), StoreError> {
        self.change().remove(keys::event(hook, number)).apply()?;
        let asking = self.inner.hooks.asking();
        if let Some(asking) = asking.iter().find(|asking| asking.hook.name == hook) {
            let one_less = |waiting: u64| Some(waiting.saturating_sub(1));
            asking.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).ok();
            if is_lost {
                asking.lost().note();
            }
        }
        Ok(())
    }

    /// How each hook stands.
    pub(crate) fn hook_counts(&self) -> Vec<HookCounts> {
        self.inner.hooks.asking().iter().map(Asking::counts).collect()
    }

    /// Waits until something came that a hook may be to be told, since it came so often; how often now.
    pub(crate) fn wait_for_events(&self, since: u64, time: Duration) -> u64 {
        let hooks = &self.inner.hooks;
        let rung = hooks.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = hooks.bell.wait_timeout_while(rung, time, |rung| *rung == since);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Has those who wait for events look.
    pub(crate) fn ring_hooks(&self) {
        self.inner.hooks.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hook::HookTarget;
    use crate::model::job::Waiting;
    use crate::model::job_state::JobEvent;
    use crate::model::job_view::tests::sample_job;

    fn hook(name: &str, events: &[HookEvent]) -> Hook {
        let target = HookTarget::Command { command: vec!["true".into()], folder: "/".into() };
        let (name, timeout) = (name.to_owned(), Duration::from_secs(1));
        Hook { name, events: events.to_vec(), rules: Vec::new(), target, timeout }
    }

    fn told(store: &Store, name: &str) -> Vec<HookEvent> {
        let (mut told, mut at) = (Vec::new(), 0);
        while let Some((number, happened)) = store.event_after(name, at).expect("reads") {
            told.push(happened.event);
            at = number;
        }
        told
    }

    #[test]
    fn the_end_of_a_job_is_kept_for_each_hook_that_asks_for_it_until_it_is_told_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let hooks = [hook("a", &[HookEvent::Completed]), hook("b", &[HookEvent::Failed])];
        store.take_hooks(&hooks).expect("takes them");
        let mut job = running_job();
        store.change().job(&job).apply().expect("writes");
        job.take(JobEvent::AccountBalanced, clock::now(), "").expect("is publishing");
        job.take(JobEvent::Published, clock::now(), "").expect("is retiring");
        job.take(JobEvent::Retired, clock::now(), "").expect("is completed");
        store.change().job(&job).apply().expect("writes");
        store.change().job(&job).apply().expect("writes it again");
        store.sync().expect("is durable");
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.take_hooks(&hooks).expect("takes them"), 0);
        assert_eq!((told(&store, "a"), told(&store, "b")), (vec![HookEvent::Completed], vec![]));
        let counts = HookCounts { hook: "a".to_owned(), waiting: 1, lost: 0, lost_at: None };
        assert_eq!(store.hook_counts()[0], counts);
        let (number, happened) = store.event_after("a", 0).expect("reads").expect("is there");
        assert_eq!((happened.job, happened.rule), (Some(job.id), Some(job.rule)));
        store.forget_event("a", number, false).expect("is told");
        assert_eq!((told(&store, "a"), store.hook_counts()[0].waiting), (vec![], 0));
    }

    #[test]
    fn a_job_that_sets_failed_records_aside_is_told_beside_its_end_and_one_without_is_not() {
        let store = Store::in_memory();
        let both = [HookEvent::Completed, HookEvent::SetAside];
        store.take_hooks(&[hook("both", &both), hook("aside", &both[1..])]).expect("takes them");
        for failed in [0, 2] {
            let mut job = running_job();
            (job.account.records_in, job.account.records_failed) = (3, failed);
            store.change().job(&job).apply().expect("writes");
            for event in [JobEvent::AccountBalanced, JobEvent::Published, JobEvent::Retired] {
                job.take(event, clock::now(), "").expect("goes on");
            }
            store.change().job(&job).apply().expect("writes");
        }
        assert_eq!(told(&store, "both"), [both[0], both[0], both[1]]);
        assert_eq!(told(&store, "aside"), both[1..]);
        let (_, happened) = store.event_after("aside", 0).expect("reads").expect("is there");
        assert!(
            happened.message.starts_with("2 of 3 records failed") && happened.hint.is_some(),
            "{happened:?}"
        );
    }

    #[test]
    fn a_job_that_is_held_again_for_the_same_is_told_once() {
        let store = Store::in_memory();
        store.take_hooks(&[hook("a", &[HookEvent::Held])]).expect("takes it");
        let mut job = running_job();
        for _ in 0..3 {
            store.change().job(&job).apply().expect("writes");
            job.take(JobEvent::Hindered, clock::now(), "the disk is away").expect("is held");
            let (waits_for, detail) = (crate::model::fault::WaitsFor::Disk, "the disk is away".to_owned());
            job.waiting = Some(Waiting { behind: None, waits_for, until: None, detail });
            store.change().job(&job).apply().expect("writes");
            job.take(JobEvent::Mended, clock::now(), "").expect("goes on");
            job.waiting = None;
            job.take(JobEvent::Started, clock::now(), "").expect("runs");
        }
        assert_eq!(told(&store, "a"), [HookEvent::Held]);
    }

    #[test]
    fn what_hooks_that_are_gone_were_not_told_is_lost_and_what_no_hook_asks_for_is_no_row() {
        let store = Store::in_memory();
        let tell = |rule| store.happened(HookEvent::Late, rule, |happened| happened.message = "late".into());
        tell(None).expect("nobody asks");
        let mut of_rule = hook("b", &[HookEvent::Late]);
        of_rule.rules.push("pay".into());
        store.take_hooks(&[hook("a", &[HookEvent::Late]), of_rule.clone()]).expect("takes them");
        tell(None).expect("is written");
        tell(Some("pay")).expect("is written");
        assert_eq!((told(&store, "a").len(), told(&store, "b").len()), (2, 1));
        assert_eq!(store.take_hooks(&[of_rule]).expect("takes it"), 2);
        assert_eq!((told(&store, "a").len(), told(&store, "b").len()), (0, 1));
    }

    #[test]
    fn more_than_a_hook_can_wait_for_is_lost_and_counted() {
        let store = Store::in_memory();
        store.take_hooks(&[hook("a", &[HookEvent::Late])]).expect("takes it");
        store.inner.hooks.asking()[0].waiting.store(WAITING_MAX, Ordering::Release);
        store.happened(HookEvent::Late, None, |_| {}).expect("is counted");
        let counts = &store.hook_counts()[0];
        assert_eq!((told(&store, "a"), counts.lost), (vec![], 1));
        assert!(counts.lost_at.is_some());
    }

    #[test]
    fn events_that_are_lost_are_logged_once_a_minute_with_their_number() {
        let (mut lost, begun) = (Lost::default(), Instant::now());
        let mut logged = |seconds| {
            lost.note();
            lost.due_in_log(begun + Duration::from_secs(seconds))
        };
        let told: Vec<_> = [0, 1, 59, 60, 61, 121].into_iter().map(&mut logged).collect();
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
    }

    fn running_job() -> Job {
        let mut job = crate::model::job::Job::queued(
            sample_job().id,
            "pay",
            "blake3:00",
            sample_job().source,
            clock::now(),
        );
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        job
    }
}
