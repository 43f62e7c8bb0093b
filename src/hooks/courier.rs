//! One hook's thread: it tells event after event, and tries again what could not be told.
//!
//! ```text
//!  oldest event -> told -> its row is removed -> the next one
//!              `-> not told -> a pause that grows -> the next one, as far as there is one -> from the oldest again
//! ```
//!
//! So what one event has that its receiver does not take holds up no other, and a receiver that is away is not flooded. What is older than
//! [`GIVEN_UP_AFTER`] when a try of it fails is given up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::message::Message;
use super::post::Poster;
use super::{command, lock};
use crate::clock;
use crate::model::hook::{Happened, Hook, HookTarget};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::METRICS;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(5);
const GIVEN_UP_AFTER: Duration = Duration::from_hours(24);
/// How often who waits for nothing looks whether it was asked to stop.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How a hook fares.
#[derive(Clone, Debug, Default)]
pub(super) struct Fare {
    pub failures: u32,
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
struct Round {
    /// Behind the event of this number.
    at: u64,
    /// One could not be told.
    has_failed: bool,
    /// So many rounds one after another had one.
    failed_rounds: u32,
}

impl Courier {
    pub(super) fn new(store: Store, hook: Hook, fare: Arc<Mutex<Fare>>, stop: Arc<Stop>) -> Self {
        Self { store, hook, fare, stop, poster: Poster::default(), rung: 0 }
    }

    pub(super) fn run(mut self) {
        let mut round = Round::default();
        while !self.stop.is_asked() {
            if let Err(error) = self.step(&mut round) {
                // The service stops by itself where its store fails.
                tracing::warn!(hook = self.hook.name, %error, "what this hook is to be told cannot be read");
                self.pause(FIRST_PAUSE);
            }
        }
    }

    fn step(&mut self, round: &mut Round) -> Result<(), StoreError> {
        match self.store.event_after(&self.hook.name, round.at)? {
            Some((number, happened)) => self.handle(round, number, &happened),
            None if round.at == 0 => {
                self.rung = self.store.wait_for_events(self.rung, LOOK_EVERY);
                Ok(())
            }
            None => {
                round.at = 0;
                round.failed_rounds =
                    if round.has_failed { round.failed_rounds.saturating_add(1) } else { 0 };
                if std::mem::take(&mut round.has_failed) {
                    self.pause(pause_after(round.failed_rounds));
                }
                Ok(())
            }
        }
    }

    fn handle(&mut self, round: &mut Round, number: u64, happened: &Happened) -> Result<(), StoreError> {
        self.store.sync_waiting()?; // nobody is told what a crash undoes
        let told = self.tell(number, happened);
        if self.stop.kills() && told.is_err() {
            return Ok(()); // it was not its fault
        }
        let Err(error) = told else {
            METRICS.hook(&self.hook.name, "told");
            self.note_told();
            if round.has_failed {
                round.at = number;
            }
            return self.store.forget_event(&self.hook.name, number, false);
        };
        METRICS.hook(&self.hook.name, "failed");
        (round.at, round.has_failed) = (number, true);
        let failures = self.note_failed(happened, &error);
        if is_given_up(happened, clock::now()) {
            METRICS.hook(&self.hook.name, "lost");
            tracing::error!(
                hook = self.hook.name, event = %happened.event, at = %happened.at, job = happened.job.map(tracing::field::display), error,
                "an event is lost: this hook could not be told it for a day"
            );
            self.store.forget_event(&self.hook.name, number, true)?;
        }
        self.pause(pause_after(failures));
        Ok(())
    }

    fn tell(&mut self, number: u64, happened: &Happened) -> Result<(), String> {
        // One that cannot be read is told of all the same.
        let job = happened.job.and_then(|id| self.store.job(id).ok().flatten());
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

    fn note_told(&self) {
        let before = std::mem::take(&mut *lock(&self.fare));
        if before.failures > 0 {
            tracing::info!(hook = self.hook.name, failures = before.failures, "this hook can be told again");
        }
    }

    fn note_failed(&self, happened: &Happened, error: &str) -> u32 {
        let mut fare = lock(&self.fare);
        fare.failures = fare.failures.saturating_add(1);
        fare.failing_since.get_or_insert_with(clock::now);
        fare.error = Some(error.to_owned());
        let failures = fare.failures;
        drop(fare);
        if failures == 1 {
            tracing::warn!(
                hook = self.hook.name, event = %happened.event, error,
                "this hook cannot be told; it is tried again, for a day at most"
            );
        } else {
            tracing::debug!(hook = self.hook.name, event = %happened.event, failures, error, "this hook cannot be told");
        }
        failures
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

fn is_given_up(happened: &Happened, now: Timestamp) -> bool {
    now.duration_since(happened.at).unsigned_abs() > GIVEN_UP_AFTER && now > happened.at
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn what_could_not_be_told_for_a_day_is_given_up_and_nothing_before() {
        let now = Timestamp::UNIX_EPOCH + Duration::from_hours(48);
        let at = |hours| Happened {
            event: HookEvent::Failed,
            at: now - Duration::from_hours(hours),
            rule: None,
            job: None,
            path: None,
            message: String::new(),
            hint: None,
        };
        assert!(is_given_up(&at(25), now) && !is_given_up(&at(23), now));
        assert!(!is_given_up(&at(0), now - Duration::from_hours(30)), "a clock that was set back");
    }
}
