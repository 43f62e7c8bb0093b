//! The rounds of a group's syncs.
//!
//! ```text
//! A  write  sync ──────── leads round 1 ────────┐
//! B     write  sync  waits, round 1 began before ├─ leads round 2 ──┐
//! C       write  sync  waits ────────────────────┴─ shares round 2 ─┘
//! ```
//!
//! A round that began before a caller's write may not have seen it; the next one has.
//!
//! # Invariants
//! - One round at a time; who shares a round is told what came of it, for the system tells a failed sync once.
//! - After a failure for good no round begins: what reached the disk is unknown, and a later sync would be believed.
//! - A round ends whatever happens in it, a panic included.

use super::primitives::{Condvar, Mutex, MutexGuard, PoisonError};

/// What is told of a failed round to those who did not lead it.
pub(crate) trait Failure: Clone {
    type Error;

    /// Of the error that the leader met.
    fn of(error: &Self::Error) -> Self;
    /// Of a round whose leader panicked.
    fn of_panic() -> Self;
    /// Whether no round may follow it.
    fn is_for_good(&self) -> bool;
}

/// Why a caller's writes are not durable.
#[derive(Debug)]
pub(crate) enum Told<F: Failure> {
    /// The caller led the round, and met this.
    Led(F::Error),
    /// Another's round failed, or a write of another's.
    Shared(F),
}

/// Those who write to one thing and make it durable together.
#[derive(Debug)]
pub(crate) struct GroupSync<F> {
    rounds: Mutex<Rounds<F>>,
    ended: Condvar,
}

#[derive(Debug)]
struct Rounds<F> {
    begun: u64,
    done: u64,
    is_led: bool,
    /// The last round that failed, and how.
    failed: Option<(u64, F)>,
}

impl<F> Default for GroupSync<F> {
    fn default() -> Self {
        let rounds = Rounds { begun: 0, done: 0, is_led: false, failed: None };
        Self { rounds: Mutex::new(rounds), ended: Condvar::new() }
    }
}

impl<F: Failure> GroupSync<F> {
    /// Makes everything written before this call durable by `sync`, or waits for one who does.
    pub(crate) fn sync(&self, sync: impl FnOnce() -> Result<(), F::Error>) -> Result<(), Told<F>> {
        let mut rounds = self.lock();
        let ticket = rounds.begun + 1;
        loop {
            if rounds.done >= ticket {
                return rounds.outcome_since(ticket);
            }
            rounds.refuse_after_the_last()?;
            if !rounds.is_led {
                break;
            }
            rounds = self.ended.wait(rounds).unwrap_or_else(PoisonError::into_inner);
        }
        rounds.is_led = true;
        rounds.begun += 1;
        drop(rounds);
        let mut lead = Lead { group: self, outcome: Some(F::of_panic()) };
        let synced = sync();
        lead.outcome = synced.as_ref().err().map(F::of);
        let ended = lead.end();
        synced.map_err(Told::Led).and(ended)
    }

    pub(crate) fn failed_for_good(&self) -> Option<F> {
        self.lock().failed_for_good().cloned()
    }

    /// Ends the group after the failure of a write, which no round under way or to come made durable.
    pub(crate) fn end_by(&self, failure: F) {
        let mut rounds = self.lock();
        if rounds.failed_for_good().is_none() {
            rounds.failed = Some((u64::MAX, failure));
        }
        drop(rounds);
        self.ended.notify_all();
    }
}

impl<F> GroupSync<F> {
    fn lock(&self) -> MutexGuard<'_, Rounds<F>> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Failure> Rounds<F> {
    fn failed_for_good(&self) -> Option<&F> {
        self.failed.as_ref().map(|(_, failure)| failure).filter(|failure| failure.is_for_good())
    }

    fn refuse_after_the_last(&self) -> Result<(), Told<F>> {
        self.failed_for_good().map_or(Ok(()), |failure| Err(Told::Shared(failure.clone())))
    }

    fn outcome_since(&self, ticket: u64) -> Result<(), Told<F>> {
        match &self.failed {
            Some((round, failure)) if *round >= ticket => Err(Told::Shared(failure.clone())),
            _ => Ok(()),
        }
    }
}

/// A round under way; one that panics ends when it is dropped.
struct Lead<'a, F: Failure> {
    group: &'a GroupSync<F>,
    /// None: all went well.
    outcome: Option<F>,
}

impl<F: Failure> Lead<'_, F> {
    /// Ends the round. Where a write failed meanwhile it is not believed: that may have been a part of what it was to make durable.
    fn end(&mut self) -> Result<(), Told<F>> {
        let mut rounds = self.group.lock();
        rounds.is_led = false;
        rounds.done = rounds.begun;
        let ended = rounds.refuse_after_the_last();
        if let (Some(failure), Ok(())) = (self.outcome.take(), &ended) {
            rounds.failed = Some((rounds.done, failure));
        }
        drop(rounds);
        self.group.ended.notify_all();
        ended
    }
}

impl<F: Failure> Drop for Lead<'_, F> {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            self.end().ok();
        }
    }
}
