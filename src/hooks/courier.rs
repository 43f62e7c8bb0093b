//! One hook's thread: it tells event after event, and tries again what could not be told.
//!
//! ```text
//!  oldest event -> told -> its row is removed -> the next one
//!              `-> not told -> what was not tried yet goes on, at most one failing each second
//!                          `-> a pause that grows -> a round of what was tried and not told, from the oldest
//! ```
//!
//! So what one event has that its receiver does not take holds up no other, and a receiver that is away is tried less and less, but once at once
//! for each new event. What could not be told for [`GIVEN_UP_AFTER`] is given up: by the clock that only runs on, so never at a first try.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::message::Message;
use super::{command, lock};
use crate::clock;
use crate::model::hook::{Happened, Hook, HookTarget};
use crate::model::job::Job;
use crate::posting::Poster;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::METRICS;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(5);
const GIVEN_UP_AFTER: Duration = Duration::from_hours(24);
/// How often who waits for nothing looks whether it was asked to stop.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How a hook fares: from an event that it does not take until none is owed to it that it did not take.
#[derive(Clone, Debug, Default)]
pub(super) struct Fare {
    pub failures: u32,
    /// Events that it did not take and is owed.
    pub refused: u64,
    /// Of those that it did not take, so many were given up.
    pub given_up: u64,
    pub failing_since: Option<Timestamp>,
    pub error: Option<String>,
}

/// That a thread is to end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    is_asked: AtomicBool,
    kills: AtomicBool,
}

impl Stop {
    /// Nothing more is told.
    pub(super) fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
    }

    /// What is being told ends, too.
    pub(super) fn kill(&self) {
        self.ask();
        self.kills.store(true, Ordering::Release);
    }

    fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    pub(super) fn kills(&self) -> bool {
        self.kills.load(Ordering::Acquire)
    }
}

pub(super) struct Courier {
    store: Store,
    hook: Hook,
    fare: Arc<Mutex<Fare>>,
    stop: Arc<Stop>,
    poster: Poster,
    /// How often something came that may be for a hook.
    rung: u64,
}

/// Where it is among the events.
#[derive(Debug, Default)]
struct Line {
    /// What is behind the event of this number was not tried yet; 0 while all are told.
    tried: u64,
    /// New ones are not tried before.
    rests_until: Option<Instant>,
    /// When what was tried is tried again; none: there is nothing.
    again_at: Option<Instant>,
    round: Round,
    /// Since when those are tried that could not be told, and are owed.
    since: HashMap<u64, Instant>,
    /// The newest one could not be told.
    is_away: bool,
    /// So many tries failed one after another.
    failures: u32,
}

/// What was tried and not told is tried again, from the oldest.
#[derive(Debug, Default)]
struct Round {
    /// Behind the event of this number.
    at: u64,
    /// One could not be told.
    has_failed: bool,
    /// So many rounds one after another had one.
    failed_rounds: u32,
}

/// What becomes of a try.
enum Tried {
    Told,
    /// So many failed in a row.
    Failed(u32),
    /// The hook is gone: it was not its fault.
    Stopped,
}

impl Courier {
    pub(super) fn new(store: Store, hook: Hook, fare: Arc<Mutex<Fare>>, stop: Arc<Stop>) -> Self {
        Self { store, hook, fare, stop, poster: Poster::default(), rung: 0 }
    }

    pub(super) fn run(mut self) {
        let mut line = Line::default();
        while !self.stop.is_asked() {
            if let Err(error) = self.step(&mut line) {
                // The service stops by itself where its store fails.
                tracing::warn!(hook = self.hook.name, %error, "what this hook is to be told cannot be read");
                self.pause(FIRST_PAUSE);
            }
        }
    }

    fn step(&mut self, line: &mut Line) -> Result<(), StoreError> {
        let now = Instant::now();
        if line.again_at.is_some_and(|at| at <= now) {
            return self.go_round(line);
        }
        let rests_until = line.rests_until.filter(|until| *until > now);
        if rests_until.is_none()
            && let Some((number, happened)) = self.store.event_after(&self.hook.name, line.tried)?
        {
            return self.try_first(line, number, &happened);
        }
        let until = [line.again_at, rests_until].into_iter().flatten().min();
        let time = until.map_or(LOOK_EVERY, |until| until.saturating_duration_since(now));
        self.rung = self.store.wait_for_events(self.rung, time);
        Ok(())
    }

    /// One that was not tried yet. What is told leaves the place as it is: a batch that took its number before may be written only now.
    fn try_first(&mut self, line: &mut Line, number: u64, happened: &Happened) -> Result<(), StoreError> {
        match self.handle(line, number, happened)? {
            Tried::Told if std::mem::take(&mut line.is_away) => {
                line.round.failed_rounds = 0;
                line.again_at = line.again_at.map(|_| Instant::now()); // it is back: what waits is told
            }
            Tried::Failed(failures) => {
                let now = Instant::now();
                (line.tried, line.is_away) = (number, true);
                line.rests_until = Some(now + FIRST_PAUSE);
                line.again_at.get_or_insert(now + pause_after(failures));
            }
            Tried::Told | Tried::Stopped => {}
        }
        Ok(())
    }

    /// The next one of those that were tried.
    fn go_round(&mut self, line: &mut Line) -> Result<(), StoreError> {
        let next = self.store.event_after(&self.hook.name, line.round.at)?;
        let Some((number, happened)) = next.filter(|(number, _)| *number <= line.tried) else {
            line.end_round();
            return Ok(());
        };
        let tried = self.handle(line, number, &happened)?;
        line.round.at = number;
        if let Tried::Failed(failures) = tried {
            line.round.has_failed = true;
            line.again_at = Some(Instant::now() + pause_after(failures));
        }
        Ok(())
    }

    fn handle(&mut self, line: &mut Line, number: u64, happened: &Happened) -> Result<Tried, StoreError> {
        self.store.sync_waiting()?; // nobody is told what a crash undoes
        let begun = Instant::now();
        let told = self.tell(number, happened);
        if self.stop.kills() && told.is_err() {
            return Ok(Tried::Stopped);
        }
        let Err(error) = told else {
            METRICS.hook(&self.hook.name, "told");
            line.failures = 0;
            self.forget(line, number, false)?;
            return Ok(Tried::Told);
        };
        METRICS.hook(&self.hook.name, "failed");
        line.failures = line.failures.saturating_add(1);
        let is_given_up = line.is_given_up(number, begun);
        self.note_failed(line, happened, &error);
        if is_given_up {
            METRICS.hook(&self.hook.name, "lost");
            tracing::error!(
                hook = self.hook.name, event = %happened.event, at = %happened.at, job = happened.job.map(tracing::field::display), error,
                "an event is lost: this hook could not be told it for a day"
            );
            self.forget(line, number, true)?;
        }
        Ok(Tried::Failed(line.failures))
    }

    /// It was told that, or never will be.
    fn forget(&self, line: &mut Line, number: u64, is_lost: bool) -> Result<(), StoreError> {
        self.store.forget_event(&self.hook.name, number, is_lost)?;
        if line.since.remove(&number).is_none() {
            return Ok(()); // told at its first try: that says nothing of those that it did not take
        }
        let mut fare = lock(&self.fare);
        fare.refused = line.since.len() as u64;
        fare.given_up += u64::from(is_lost);
        if fare.refused == 0 {
            let Fare { failures, given_up, .. } = std::mem::take(&mut *fare);
            drop(fare);
            tracing::info!(
                hook = self.hook.name,
                failures,
                given_up,
                "nothing is owed any more that this hook could not be told"
            );
        }
        Ok(())
    }

    fn tell(&mut self, number: u64, happened: &Happened) -> Result<(), String> {
        // One that cannot be read is told of all the same.
        let job = happened.job.and_then(|id| self.store.job(id).ok().flatten());
        let job = job.map(|job| without_quotes(&self.store, job));
        let message = Message { hook: &self.hook.name, number, happened, job };
        let timeout = self.hook.timeout;
        match &self.hook.target {
            HookTarget::Command { command, folder } => {
                let stops = || self.stop.kills();
                command::run(
                    command,
                    folder,
                    &message.variables(),
                    message.json().as_bytes(),
                    timeout,
                    &stops,
                )
            }
            HookTarget::Url { url, bearer_file } => {
                self.poster.post(url, bearer_file.as_deref(), message.json().as_bytes(), timeout)
            }
        }
    }

    /// Logged once, until nothing is owed any more that could not be told.
    fn note_failed(&self, line: &Line, happened: &Happened, error: &str) {
        let mut fare = lock(&self.fare);
        let is_first = fare.failures == 0;
        fare.failures = fare.failures.saturating_add(1);
        fare.refused = line.since.len() as u64;
        fare.failing_since.get_or_insert_with(clock::now);
        fare.error = Some(error.to_owned());
        let failures = fare.failures;
        drop(fare);
        if is_first {
            tracing::warn!(
                hook = self.hook.name, event = %happened.event, error,
                "this hook cannot be told; it is tried again, for a day at most"
            );
        } else {
            tracing::debug!(hook = self.hook.name, event = %happened.event, failures, error, "this hook cannot be told");
        }
    }

    /// Unless it is asked to stop.
    fn pause(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while !self.stop.is_asked() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.rung = self.store.wait_for_events(self.rung, left);
        }
    }
}

fn pause_after(failures: u32) -> Duration {
    let doubled =
        FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(PAUSE_MAX)
}

impl Line {
    /// The next round comes after a pause, unless all were told.
    fn end_round(&mut self) {
        self.round.at = 0;
        if std::mem::take(&mut self.round.has_failed) {
            self.round.failed_rounds = self.round.failed_rounds.saturating_add(1);
            self.again_at = Some(Instant::now() + pause_after(self.round.failed_rounds));
        } else {
            *self = Self { rests_until: self.rests_until, ..Self::default() };
        }
    }

    /// It failed now, and is tried for too long.
    fn is_given_up(&mut self, number: u64, now: Instant) -> bool {
        let since = self.since.entry(number).or_insert(now);
        now.saturating_duration_since(*since) > GIVEN_UP_AFTER
    }
}

/// Reasons are what steps said of records: of a private rule they stay here.
fn without_quotes(store: &Store, mut job: Job) -> Job {
    let rule = store.rule(&job.rule_hash).ok().flatten();
    if rule.is_none_or(|rule| job.is_private(&rule)) {
        job.account.reasons.clear();
    }
    job
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use crate::model::hook::HookEvent;

    #[test]
    fn pauses_grow_to_five_minutes() {
        assert_eq!(pause_after(1), Duration::from_secs(1));
        assert_eq!(pause_after(4), Duration::from_secs(8));
        for failures in [9, 10, 32, 33, u32::MAX] {
            assert_eq!(
                pause_after(failures),
                if failures == 9 { Duration::from_secs(256) } else { PAUSE_MAX }
            );
        }
    }

    #[test]
    fn what_could_not_be_told_for_a_day_is_given_up_and_nothing_at_its_first_try() {
        let (mut line, begun) = (Line::default(), Instant::now());
        let hours = |hours| begun + Duration::from_hours(hours);
        assert!(!line.is_given_up(7, begun) && !line.is_given_up(7, hours(23)));
        assert!(!line.is_given_up(8, hours(25)), "whatever it says of its time");
        assert!(line.is_given_up(7, hours(25)) && !line.is_given_up(8, hours(26)));
    }

    /// A courier whose program notes each path, and takes those that have no `bad` in them.
    #[cfg(unix)]
    fn courier(folder: &std::path::Path) -> Courier {
        let program =
            "echo \"$LANDFALL_PATH\" >> tries; case \"$LANDFALL_PATH\" in *bad*) test -e mended;; esac";
        let hook = Hook {
            name: "ops".into(),
            events: vec![HookEvent::Late],
            rules: Vec::new(),
            target: HookTarget::Command {
                command: ["/bin/sh", "-c", program].map(Into::into).to_vec(),
                folder: folder.into(),
            },
            timeout: Duration::from_mins(1),
        };
        let store = Store::in_memory();
        store.take_hooks(std::slice::from_ref(&hook)).expect("takes it");
        Courier::new(store, hook, Arc::default(), Arc::default())
    }

    #[cfg(unix)]
    fn happens(courier: &Courier, path: &str) {
        let tell = |happened: &mut Happened| happened.path = Some(std::path::Path::new(path).into());
        courier.store.happened(HookEvent::Late, None, tell).expect("is written");
    }

    #[cfg(unix)]
    fn go_on(courier: &mut Courier, line: &mut Line, folder: &std::path::Path, tries: usize) -> Vec<String> {
        loop {
            let told = std::fs::read_to_string(folder.join("tries")).unwrap_or_default();
            if told.lines().count() >= tries {
                return told.lines().map(str::to_owned).collect();
            }
            courier.step(line).expect("goes on");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_comes_while_a_refused_event_pauses_is_told_before_that_is_tried_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut courier, mut line) = (courier(folder.path()), Line::default());
        happens(&courier, "bad-1");
        go_on(&mut courier, &mut line, folder.path(), 1);
        line.again_at = Some(Instant::now() + PAUSE_MAX);
        happens(&courier, "good-1");
        let tried = go_on(&mut courier, &mut line, folder.path(), 3);
        assert_eq!(tried[1..], ["good-1", "bad-1"], "with the first that is taken it may be back");
        let later = Instant::now() + PAUSE_MAX;
        line.again_at = Some(later);
        happens(&courier, "good-2");
        happens(&courier, "good-3");
        let tried = go_on(&mut courier, &mut line, folder.path(), 5);
        assert_eq!(tried[3..], ["good-2", "good-3"]);
        assert_eq!((line.again_at, courier.store.hook_counts()[0].waiting), (Some(later), 1));
        let fare = lock(&courier.fare).clone();
        assert!(fare.refused == 1 && fare.failures == 2 && fare.failing_since.is_some(), "{fare:?}");
    }

    #[cfg(unix)]
    #[test]
    fn what_was_refused_is_tried_again_from_the_oldest_with_pauses_that_grow_until_it_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut courier, mut line) = (courier(folder.path()), Line::default());
        happens(&courier, "bad-1");
        go_on(&mut courier, &mut line, folder.path(), 1);
        line.again_at = Some(Instant::now() + PAUSE_MAX);
        happens(&courier, "bad-2");
        go_on(&mut courier, &mut line, folder.path(), 2);
        for (tries, round) in [(4, 1), (6, 2)] {
            let begun = Instant::now();
            while line.round.failed_rounds < round {
                line.again_at = Some(Instant::now());
                courier.step(&mut line).expect("goes on");
            }
            let tried = go_on(&mut courier, &mut line, folder.path(), tries);
            assert_eq!(tried[tries - 2..], ["bad-1", "bad-2"]);
            assert!(line.again_at.expect("another round") >= begun + pause_after(round), "{round}");
        }
        std::fs::write(folder.path().join("mended"), "").expect("writes");
        while line.again_at.is_some() {
            line.again_at = Some(Instant::now());
            courier.step(&mut line).expect("goes on");
        }
        assert_eq!((courier.store.hook_counts()[0].waiting, line.tried, line.since.len()), (0, 0, 0));
        let fare = lock(&courier.fare).clone();
        assert!(fare.refused == 0 && fare.failures == 0 && fare.failing_since.is_none(), "{fare:?}");
    }
}
