//! Making writes durable: one flush and fsync for all who wait.
//!
//! ```text
//! A  write  sync ──────── leads round 1 ────────┐
//! B     write  sync  waits, round 1 began before ├─ leads round 2 ──┐
//! C       write  sync  waits ────────────────────┴─ shares round 2 ─┘
//! ```
//!
//! A round that began before a caller's write may not have seen it; the next one has.
//!
//! sled 0.34 forgets a waiting flush where the last writer of its buffer met an error (`exit_reservation` notes the error and wakes nobody).
//! Any later flush sees the error, and wakes all: so who waits long for a round asks the engine beside it. That must sync nothing itself:
//! the system tells a failed sync once, and it must be the round's leader who is told.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::StoreError;

/// How long a round takes at most before it is looked whether the engine forgot it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Commits {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    done: u64,
    leading: bool,
    /// The first failure. What reached the disk is unknown after it, so that nothing is tried again.
    poison: Option<String>,
}

impl Commits {
    /// Refuses once anything failed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        refuse_poisoned(&self.rounds())
    }

    /// Makes everything written before this call durable by `flush`, or waits for one who does. `ask` is the part of it that syncs nothing.
    pub(super) fn sync(
        &self,
        flush: impl FnOnce() -> Result<(), StoreError>,
        ask: impl Fn() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rounds = self.rounds();
        let ticket = rounds.begun + 1;
        loop {
            refuse_poisoned(&rounds)?;
            if rounds.done >= ticket {
                return Ok(());
            }
            if !rounds.leading {
                break;
            }
            rounds = self.wait(rounds, &ask)?;
        }
        rounds.leading = true;
        rounds.begun += 1;
        let round = rounds.begun;
        drop(rounds);
        let mut lead = Lead { commits: self, outcome: Err("the flush did not come back".to_owned()) };
        // What failed elsewhere meanwhile may have been a part of what this round was to make durable: the system tells an error once.
        let flushed = flush().and_then(|()| self.check());
        lead.outcome = match &flushed {
            Ok(()) => Ok(round),
            Err(error) => Err(error_chain(error)),
        };
        flushed
    }

    /// Whether somebody flushes now.
    pub(super) fn is_flushing(&self) -> bool {
        self.rounds().leading
    }

    /// Waits for the end of the round; asks whether the engine forgot it where it takes long.
    fn wait<'a>(
        &'a self,
        rounds: MutexGuard<'a, Rounds>,
        ask: impl Fn() -> Result<(), StoreError>,
    ) -> Result<MutexGuard<'a, Rounds>, StoreError> {
        let (begun, done) = (rounds.begun, rounds.done);
        let waited = self.ended.wait_timeout(rounds, FORGOTTEN_AFTER);
        let (rounds, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if !timeout.timed_out() || (rounds.begun, rounds.done) != (begun, done) || !rounds.leading {
            return Ok(rounds);
        }
        drop(rounds);
        // Its success says nothing of the round that it is beside.
        ask().inspect_err(|error| self.poison(&error_chain(error)))?;
        Ok(self.rounds())
    }

    /// Ends all writing after a failure.
    pub(super) fn poison(&self, reason: &str) {
        self.rounds().poison.get_or_insert_with(|| reason.to_owned());
        self.ended.notify_all();
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lead of a round; hands it over whatever happens, a panic in the engine included.
struct Lead<'a> {
    commits: &'a Commits,
    outcome: Result<u64, String>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut rounds = self.commits.rounds();
        rounds.leading = false;
        match &self.outcome {
            Ok(round) => rounds.done = *round,
            Err(reason) => {
                rounds.poison.get_or_insert_with(|| reason.clone());
            }
        }
        drop(rounds);
        self.commits.ended.notify_all();
    }
}

fn refuse_poisoned(rounds: &Rounds) -> Result<(), StoreError> {
    match &rounds.poison {
        None => Ok(()),
        Some(reason) => Err(StoreError::Poisoned { reason: reason.clone() }),
    }
}

/// An error and its causes in one line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Barrier, mpsc};

    use super::*;

    const ASKS_NOTHING: fn() -> Result<(), StoreError> = || Ok(());

    #[test]
    fn callers_that_wait_share_one_flush() {
        let commits = Commits::default();
        let flushes = AtomicU32::new(0);
        let (release, gate) = mpsc::sync_channel::<()>(1);
        let arrived = Barrier::new(51);
        std::thread::scope(|scope| {
            let (begun, has_begun) = mpsc::sync_channel(1);
            let commits = &commits;
            let first = scope.spawn(move || {
                commits.sync(
                    || {
                        begun.send(()).expect("the test waits");
                        gate.recv().expect("the test releases");
                        Ok(())
                    },
                    ASKS_NOTHING,
                )
            });
            has_begun.recv().expect("the first leads");
            for _ in 0..50 {
                scope.spawn(|| {
                    arrived.wait();
                    commits.sync(
                        || {
                            flushes.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        },
                        ASKS_NOTHING,
                    )
                });
            }
            arrived.wait();
            release.send(()).expect("the first waits");
            first.join().expect("no panic").expect("synced");
        });
        let count = flushes.load(Ordering::Relaxed);
        assert!((1..=50).contains(&count), "{count} flushes");
        assert_eq!(commits.rounds().done, u64::from(count) + 1);
    }

    /// Goal: an error that the engine notes without waking who waits for a flush stops the service, and does not hang it.
    #[test]
    fn a_flush_that_the_engine_forgot_is_found_by_the_next_to_wait() {
        let commits = Commits::default();
        let (fail, failed) = mpsc::sync_channel::<()>(1);
        let asked = AtomicU32::new(0);
        let (begun, has_begun) = mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let commits = &commits;
            let forgotten = scope.spawn(move || {
                commits.sync(
                    move || {
                        begun.send(()).expect("the test waits");
                        failed.recv().expect("somebody wakes it");
                        Err(StoreError::Corrupt { what: "disk", detail: "gone".into() })
                    },
                    ASKS_NOTHING,
                )
            });
            has_begun.recv().expect("the first leads");
            let ask = || {
                asked.fetch_add(1, Ordering::Relaxed);
                fail.send(()).expect("the first waits");
                Err(StoreError::Corrupt { what: "disk", detail: "gone".into() })
            };
            let second = commits.sync(|| panic!("nobody leads a second round"), ask);
            assert!(second.is_err());
            assert!(forgotten.join().expect("no panic").is_err());
        });
        assert_eq!(asked.into_inner(), 1);
        assert!(commits.check().is_err());
    }

    #[test]
    fn a_round_in_which_another_write_failed_is_not_believed() {
        let commits = Commits::default();
        let during = commits.sync(
            || {
                commits.poison("another write failed");
                Ok(())
            },
            ASKS_NOTHING,
        );
        assert!(matches!(during, Err(StoreError::Poisoned { .. })), "{during:?}");
    }

    #[test]
    fn after_a_failed_flush_nothing_is_tried_again() {
        let commits = Commits::default();
        let fail = || Err(StoreError::Corrupt { what: "disk", detail: "gone".into() });
        assert!(commits.sync(fail, ASKS_NOTHING).is_err());
        let again = commits.sync(|| panic!("must not be tried"), ASKS_NOTHING);
        assert!(matches!(again, Err(StoreError::Poisoned { .. })), "{again:?}");
        assert!(commits.check().is_err());
    }
}
