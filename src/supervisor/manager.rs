//! The service control manager of Windows, told by the words that systemd is told by.
//!
//! ```text
//!  StartPending ──READY──> Running ──STOPPING──> StopPending ──> Stopped
//!    `- STATUS, EXTEND_TIMEOUT: a checkpoint -'     `- the same
//! ```
//!
//! - A status has no text there: a new one is a checkpoint while something is pending, and nothing else.
//! - Nothing follows `Stopped`: what is told later by another thread is lost.
//!
//! Who talks to the system hands in how ([`begin`]), once in a process.

use std::fmt;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How long a start may take, at most.
const START_MAX: Duration = Duration::from_mins(15);
/// Of a stop that did not say yet how long it takes.
const STOP_TAKES: Duration = Duration::from_secs(30);
/// The system counts milliseconds in 32 bits.
const TAKES_MAX: Duration = Duration::from_hours(24);

static MANAGER: OnceLock<Manager> = OnceLock::new();

/// Where in its life the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Running,
    Stopping,
    /// 0: as it was asked to.
    Stopped {
        code: u32,
    },
}

/// What the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// Grows while something is pending: it gets on.
    pub(crate) checkpoint: u32,
    /// How long until the next checkpoint, at most.
    pub(crate) takes: Duration,
}

impl Status {
    const STARTING: Self = Self { state: State::Starting, checkpoint: 1, takes: START_MAX };

    fn at_rest(state: State) -> Self {
        Self { state, checkpoint: 0, takes: Duration::ZERO }
    }

    fn is_pending(self) -> bool {
        matches!(self.state, State::Starting | State::Stopping)
    }

    /// What these words make of it; none where they say nothing to the manager.
    fn after(self, text: &str) -> Option<Self> {
        let next = text.lines().fold(self, Self::after_word);
        (next != self).then_some(next)
    }

    fn after_word(self, word: &str) -> Self {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let checkpoint = self.checkpoint + 1;
        match (name, self.state) {
            ("READY", State::Starting) => Self::at_rest(State::Running),
            ("STOPPING", State::Starting | State::Running) => {
                Self { state: State::Stopping, checkpoint: 1, takes: STOP_TAKES }
            }
            ("STATUS", _) if self.is_pending() => Self { checkpoint, ..self },
            ("EXTEND_TIMEOUT_USEC", _) if self.is_pending() => {
                let takes = value.parse().map_or(self.takes, Duration::from_micros).min(TAKES_MAX);
                Self { checkpoint, takes, ..self }
            }
            _ => self,
        }
    }
}

/// Tells the system a status.
type Tell = Box<dyn Fn(&Status) -> io::Result<()> + Send + Sync>;
/// Hears of each new state, once the system was told.
type Hear = Box<dyn Fn(State) + Send + Sync>;

struct Manager {
    tell: Tell,
    hear: Hear,
    known: Mutex<Status>,
}

impl fmt::Debug for Manager {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Manager").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Manager {
    fn new(tell: Tell, hear: Hear) -> Self {
        Self { tell, hear, known: Mutex::new(Status::STARTING) }
    }

    /// In order: locked while it is told.
    fn tell_if(&self, news: impl FnOnce(Status) -> Option<Status>) -> io::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(known.state, State::Stopped { .. }) {
            return Ok(());
        }
        let Some(next) = news(*known) else { return Ok(()) };
        let told = (self.tell)(&next);
        let (before, is_known) = (known.state, told.is_ok() || matches!(next.state, State::Stopped { .. }));
        if is_known {
            *known = next;
        }
        // Who hears may take its time.
        drop(known);
        if is_known && next.state != before {
            (self.hear)(next.state);
        }
        told
    }
}

/// A service that the manager started: it is told by `tell` from now on, and then `hear` of what is new.
pub(crate) fn begin(
    tell: impl Fn(&Status) -> io::Result<()> + Send + Sync + 'static,
    hear: impl Fn(State) + Send + Sync + 'static,
) -> io::Result<()> {
    let manager = MANAGER.get_or_init(|| Manager::new(Box::new(tell), Box::new(hear)));
    (manager.tell)(&Status::STARTING)
}

/// One that may wait for ever for its turn: the manager lets nobody stop what is still starting.
pub(crate) fn runs_already() -> io::Result<()> {
    tell(|status| (status.state == State::Starting).then(|| Status::at_rest(State::Running)))
}

/// The last word; 0: as it was asked to. What ends with another code is started anew.
pub(crate) fn ended(code: u32) {
    let told = tell(|_| Some(Status::at_rest(State::Stopped { code })));
    if let Err(error) = told {
        tracing::warn!(%error, "the service control manager was not told that the service ended");
    }
}

fn tell(news: impl FnOnce(Status) -> Option<Status>) -> io::Result<()> {
    MANAGER.get().map_or(Ok(()), |manager| manager.tell_if(news))
}

/// The way there for [`super::Supervisor`].
#[derive(Debug)]
pub(super) struct Socket(&'static Manager);

impl Socket {
    pub(super) fn of_environment() -> Option<Self> {
        MANAGER.get().map(Self)
    }

    pub(super) fn send(&self, text: &str) -> io::Result<()> {
        self.0.tell_if(|status| status.after(text))
    }
}

/// Nobody compares it here.
#[cfg(windows)]
pub(super) fn monotonic_usec() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn after(words: &[&str]) -> Status {
        words.iter().fold(Status::STARTING, |status, word| status.after(word).unwrap_or(status))
    }

    #[test]
    fn a_start_has_checkpoints_until_it_is_ready_and_none_after() {
        assert_eq!(after(&["STATUS=starting", "STATUS=no jobs"]).checkpoint, 3);
        let ready = after(&[
            "STATUS=starting",
            "READY=1",
            "STATUS=1 job",
            "WATCHDOG=1",
            "RELOADING=1\nMONOTONIC_USEC=0",
        ]);
        assert_eq!(ready, Status::at_rest(State::Running));
        assert_eq!(ready.after("READY=1"), None, "the end of a reload is no news");
    }

    #[test]
    fn what_is_pending_takes_as_long_as_it_says() {
        let status = after(&["EXTEND_TIMEOUT_USEC=60000000"]);
        assert_eq!((status.state, status.takes), (State::Starting, Duration::from_mins(1)));
        let status = after(&["READY=1", "STOPPING=1\nSTATUS=stopping", "EXTEND_TIMEOUT_USEC=31000000"]);
        assert_eq!((status.state, status.takes), (State::Stopping, Duration::from_secs(31)));
        assert_eq!(status.checkpoint, 3);
        assert_eq!(after(&[&format!("EXTEND_TIMEOUT_USEC={}", u64::MAX)]).takes, TAKES_MAX);
    }

    #[test]
    fn a_stop_that_comes_early_is_told_and_is_not_ready_any_more() {
        let status = after(&["STOPPING=1", "READY=1"]);
        assert_eq!(status.state, State::Stopping);
    }

    #[test]
    fn nothing_follows_the_end_and_what_was_not_taken_is_told_again() {
        let [told, heard] = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
        let (own_told, own_heard) = (Arc::clone(&told), Arc::clone(&heard));
        let refuses = std::sync::atomic::AtomicBool::new(true);
        let tell = move |status: &Status| {
            if refuses.swap(false, std::sync::atomic::Ordering::Relaxed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            own_told.lock().expect("a list").push(status.state);
            Ok(())
        };
        let hear = move |state| own_heard.lock().expect("a list").push(state);
        let manager = Manager::new(Box::new(tell), Box::new(hear));
        manager.tell_if(|status| status.after("READY=1")).expect_err("refused");
        assert!(heard.lock().expect("a list").is_empty(), "nobody hears of what was not told");
        manager.tell_if(|status| status.after("READY=1")).expect("told");
        manager.tell_if(|_| Some(Status::at_rest(State::Stopped { code: 2 }))).expect("told");
        manager.tell_if(|status| status.after("STOPPING=1")).expect("lost");
        let expected = [State::Running, State::Stopped { code: 2 }];
        assert_eq!(*told.lock().expect("a list"), expected);
        assert_eq!(*heard.lock().expect("a list"), expected);
    }

    #[test]
    fn who_hears_is_not_waited_for_by_who_tells() {
        static KNOWN: OnceLock<Manager> = OnceLock::new();
        let hear = |_| assert!(KNOWN.get().is_some_and(|manager| manager.known.try_lock().is_ok()));
        let manager = KNOWN.get_or_init(|| Manager::new(Box::new(|_| Ok(())), Box::new(hear)));
        manager.tell_if(|status| status.after("READY=1")).expect("told");
    }
}
