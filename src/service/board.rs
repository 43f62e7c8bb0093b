//! What a service goes by, for whoever asks; and who asks that its configuration be read anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::TrailTrouble;
use crate::engine::{Configuration, Refusal};
use crate::hooks::Hooks;
use crate::model::configuration::{ConfigurationState, KeptConfiguration, Reloaded};
use crate::model::fault::{FaultKind, JobError};
use crate::model::mode::all_off;
use crate::model::os_text::escaped_path;
use crate::model::rule::Rule;
use crate::supervisor::Supervisor;

/// How long who asks waits: a file that is being written is waited for, and a file system may hang.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// The lock is held for no call that may wait.
pub(super) struct Board {
    posted: Mutex<Posted>,
    changed: Condvar,
    rung: AtomicBool,
    /// Every rule is off.
    watches_nothing: AtomicBool,
    hooks: OnceLock<Arc<Hooks>>,
    trail: TrailTrouble,
    supervisor: OnceLock<Arc<Supervisor>>,
}

struct Posted {
    state: ConfigurationState,
    kept: KeptConfiguration,
    /// Counts who asked.
    asked: u64,
    /// Those who are not answered yet, each with his number and name.
    askers: Vec<(u64, String)>,
    /// The last of those who are answered.
    answered: u64,
    answer: Option<Result<Reloaded, Refusal>>,
    stops: bool,
    /// Why nobody reads the configuration again.
    unread: Option<JobError>,
}

/// Why the reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The last who asked.
    pub asked: u64,
    pub stops: bool,
}

impl Board {
    pub(super) fn new(state: ConfigurationState, kept: KeptConfiguration) -> Self {
        let posted = Posted {
            state,
            kept,
            asked: 0,
            askers: Vec::new(),
            answered: 0,
            answer: None,
            stops: false,
            unread: None,
        };
        Self {
            posted: Mutex::new(posted),
            changed: Condvar::new(),
            rung: AtomicBool::new(false),
            watches_nothing: AtomicBool::new(false),
            hooks: OnceLock::new(),
            trail: TrailTrouble::default(),
            supervisor: OnceLock::new(),
        }
    }

    /// These rules count from now on. Where all are off it is said, once: whoever installed the service is to edit them.
    pub(super) fn take_rules(&self, rules: &[Rule], file: &Path) {
        let is_nothing = all_off(rules.iter().map(|rule| rule.mode));
        if !self.watches_nothing.swap(is_nothing, Ordering::Relaxed) && is_nothing {
            let hint = if rules.is_empty() {
                "write a `[[rule]]` there: it is taken when it is saved, and `landfall check` says what is wrong"
            } else {
                "name your folders there and take `mode = \"off\"` out: it is taken when it is saved, and `landfall check` says what is wrong"
            };
            tracing::info!(config = escaped_path(file), hint, "no rule watches anything");
        }
    }

    /// Whether every rule is off.
    pub(super) fn watches_nothing(&self) -> bool {
        self.watches_nothing.load(Ordering::Relaxed)
    }

    /// Who writes the audit trail says there why it cannot be written.
    pub(super) fn trail(&self) -> TrailTrouble {
        self.trail.clone()
    }

    /// From now on it says how they fare.
    pub(super) fn tell_of(&self, hooks: &Arc<Hooks>) {
        self.hooks.get_or_init(|| Arc::clone(hooks));
    }

    /// From now on it is told of each reload that somebody asks for.
    pub(super) fn tell_reloads_to(&self, supervisor: &Arc<Supervisor>) {
        self.supervisor.get_or_init(|| Arc::clone(supervisor));
    }

    fn lock(&self) -> MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may have changed. Takes no more than a moment.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            drop(self.lock());
            self.changed.notify_all();
        }
    }

    /// Asks without waiting for the answer; for a user, unless it is a signal.
    fn ask(&self, by: Option<&str>) -> u64 {
        let mut posted = self.lock();
        posted.asked += 1;
        let mine = posted.asked;
        posted.askers.extend(by.map(|by| (mine, by.to_owned())));
        // Under the lock, so that it is told in order; it waits for nothing.
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.reloading();
        }
        self.changed.notify_all();
        mine
    }

    /// The users up to this number who wait for an answer, each once.
    pub(super) fn askers(&self, asked: u64) -> BTreeSet<String> {
        let posted = self.lock();
        let waiting = posted.askers.iter().filter(|(number, _)| *number <= asked);
        waiting.map(|(_, by)| by.clone()).collect()
    }

    /// Nobody reads the configuration again, as long as the service runs.
    pub(super) fn leave_unread(&self, why: String, hint: &str) {
        let (kind, hint) = (FaultKind::Config, Some(hint.to_owned()));
        self.lock().unread = Some(JobError { kind, message: why, hint });
    }

    /// Whether somebody reads the configuration again.
    pub(super) fn is_read(&self) -> bool {
        self.lock().unread.is_none()
    }

    /// Asks, unless nobody reads it again.
    pub(super) fn try_to_ask(&self) -> Result<(), Refusal> {
        if let Some(why) = self.lock().unread.clone() {
            return Err(Refusal::Fault(why));
        }
        self.ask(None);
        Ok(())
    }

    /// Nobody is answered any more.
    pub(super) fn stop(&self) {
        self.lock().stops = true;
        self.changed.notify_all();
    }

    /// Waits until somebody else asks than `seen`, it rings, or `pause` is over. It is not before `least` that a bell counts.
    pub(super) fn wait(&self, seen: u64, least: Duration, pause: Duration) -> Call {
        let begun = Instant::now();
        let mut posted = self.lock();
        loop {
            let passed = begun.elapsed();
            let rings = passed >= least && self.rung.load(Ordering::Acquire);
            if posted.stops || posted.asked > seen || rings || passed >= pause {
                self.rung.store(false, Ordering::Release);
                return Call { asked: posted.asked, stops: posted.stops };
            }
            let until = if passed < least { least.min(pause) } else { pause };
            let left = until.saturating_sub(passed);
            posted = self.changed.wait_timeout(posted, left).map_or_else(|e| e.into_inner().0, |(it, _)| it);
        }
    }

    /// Whether somebody up to this one waits for an answer.
    pub(super) fn owes(&self, asked: u64) -> bool {
        self.lock().answered < asked
    }

    /// Answers all who asked so far up to this one.
    pub(super) fn answer(&self, asked: u64, answer: Result<Reloaded, Refusal>) {
        let mut posted = self.lock();
        if posted.answered < asked {
            posted.answered = asked;
            posted.askers.retain(|(number, _)| *number > asked);
            posted.answer = Some(answer);
            if posted.asked == asked
                && let Some(supervisor) = self.supervisor.get()
            {
                supervisor.reloaded();
            }
            self.changed.notify_all();
        }
    }

    /// Changes what is posted.
    pub(super) fn post(&self, change: impl FnOnce(&mut ConfigurationState)) {
        change(&mut self.lock().state);
    }

    pub(super) fn keep(&self, kept: KeptConfiguration) {
        let mut posted = self.lock();
        posted.state.taken_at = kept.taken_at;
        posted.kept = kept;
    }
}

impl Configuration for Board {
    fn reload(&self, by: &str) -> Result<Reloaded, Refusal> {
        if let Some(why) = self.lock().unread.clone() {
            return Err(Refusal::Fault(why));
        }
        let mine = self.ask(Some(by));
        let until = Instant::now() + ANSWER_PATIENCE;
        let mut posted = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match &posted.answer {
                Some(answer) if posted.answered >= mine => return answer.clone(),
                _ if posted.stops => return Err(Refusal::NotRunning),
                _ if left.is_zero() => return Err(no_answer(&posted.state)),
                _ => {}
            }
            posted = self.changed.wait_timeout(posted, left).map_or_else(|e| e.into_inner().0, |(it, _)| it);
        }
    }

    fn state(&self) -> ConfigurationState {
        let hooks = self.hooks.get().map(|hooks| hooks.states()).unwrap_or_default();
        ConfigurationState { hooks, trail_trouble: self.trail.now(), ..self.lock().state.clone() }
    }

    fn kept(&self) -> KeptConfiguration {
        self.lock().kept.clone()
    }
}

fn no_answer(state: &ConfigurationState) -> Refusal {
    Refusal::Fault(JobError {
        kind: FaultKind::Transient,
        message: format!("the configuration {} cannot be read: its file system does not answer", state.file),
        hint: Some(
            "what it says is taken once it can be read; until then the service goes on as it is".into(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn board() -> Board {
        let state = ConfigurationState {
            file: "landfall.toml".into(),
            taken_at: Timestamp::UNIX_EPOCH,
            problems: Vec::new(),
            wrong_since: None,
            needs_restart: Vec::new(),
            unsettled: None,
            last_change: None,
            hooks: Vec::new(),
            trail_trouble: None,
        };
        let kept = KeptConfiguration {
            main: "landfall.toml".into(),
            taken_at: Timestamp::UNIX_EPOCH,
            files: Vec::new(),
            rules_mount: None,
        };
        Board::new(state, kept)
    }

    #[test]
    fn all_who_asked_before_a_reading_get_its_answer_and_who_asks_later_the_next() {
        let board = Arc::new(board());
        let ask = || {
            let board = Arc::clone(&board);
            std::thread::spawn(move || board.reload("alice").expect("is answered").rules.generation)
        };
        let generation = |generation| {
            let rules = crate::model::configuration::ConfigurationChange { generation, ..Default::default() };
            Ok(Reloaded { rules, ..Reloaded::default() })
        };
        let first = [ask(), ask()];
        let mut seen = 0;
        while seen < 2 {
            seen = board.wait(seen, Duration::ZERO, LONG).asked;
        }
        let later = ask();
        assert_eq!(
            board.wait(seen, Duration::ZERO, LONG).asked,
            3,
            "it came while those before are being answered"
        );
        assert_eq!(board.askers(3).len(), 1, "each user once");
        board.answer(2, generation(7));
        assert_eq!(first.map(|asking| asking.join().expect("no panic")), [7, 7]);
        assert!(board.owes(3));
        board.answer(3, generation(8));
        assert_eq!(later.join().expect("no panic"), 8);
        assert!(board.askers(3).is_empty(), "they are answered");
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let board = Arc::new(board());
        let asking = {
            let board = Arc::clone(&board);
            std::thread::spawn(move || board.reload("alice"))
        };
        while board.wait(0, Duration::ZERO, LONG).asked == 0 {}
        board.stop();
        assert_eq!(asking.join().expect("no panic"), Err(Refusal::NotRunning));
        assert!(board.wait(1, LONG, LONG).stops);
    }

    #[test]
    fn a_bell_counts_once_and_not_before_its_time() {
        let board = board();
        board.ring();
        let begun = Instant::now();
        board.wait(0, Duration::from_millis(20), LONG);
        assert!(begun.elapsed() >= Duration::from_millis(20));
        let pause = Duration::from_millis(20);
        let begun = Instant::now();
        board.wait(0, Duration::ZERO, pause);
        assert!(begun.elapsed() >= pause, "it has been heard");
    }
}
