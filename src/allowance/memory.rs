//! The memory that all sources share while they are read, and who of them comes first.
//!
//! ```text
//! kept      until the source is read (windows, lists)
//! passing   until what was read is worked, which happens by itself; "stuck" where nothing of it is on its way any more
//! ```
//!
//! A source that reads gives back in the end what it has. So sources hold each other up for ever only where what those that *wait* keep
//! leaves too little for the oldest of them: then the youngest gives way. The oldest always gets on, and whoever gave way begins again
//! only when the one it gave way to is done: nobody begins again and again beside the same other.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{BYTES_MIN, Refusal};

/// The memory that all sources share while they are read.
#[derive(Debug)]
pub struct ReadingMemory {
    bytes_max: u64,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    /// Of each source that has any, the oldest first.
    holders: BTreeMap<u128, Held>,
    waiting: BTreeMap<u128, Wait>,
    /// Who gave way to whom, and has not begun again.
    gave_way: BTreeMap<u128, u128>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    kept: u64,
    passing: u64,
}

/// What a source waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub bytes: u64,
    /// What it holds in passing does not come back before it gets on.
    pub is_stuck: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Kept,
    Passing,
}

/// Memory that is taken; given back on drop.
#[derive(Debug)]
pub struct Permit {
    pool: Arc<ReadingMemory>,
    source: u128,
    kind: Kind,
    bytes: u64,
}

impl State {
    fn held(&self, source: u128) -> Held {
        self.holders.get(&source).copied().unwrap_or_default()
    }

    fn is_at_it(&self, source: u128) -> bool {
        self.holders.contains_key(&source) || self.waiting.contains_key(&source)
    }

    /// Whether a source that holds nothing may begin to.
    fn may_begin(&self, source: u128, limit: u64) -> bool {
        if self.gave_way.get(&source).is_some_and(|to| self.is_at_it(*to)) {
            return false;
        }
        // Nor does it come before an older one that only younger ones are in the way of.
        let fits_without_younger = |(order, wait): (&u128, &Wait)| {
            let older: u64 = self.holders.range(..=order).map(|(_, held)| held.kept + held.passing).sum();
            older.saturating_add(wait.bytes) <= limit
        };
        !self.waiting.range(..source).any(fits_without_younger)
    }

    /// What one that waits holds for as long as it waits.
    fn withheld(&self, source: u128, wait: &Wait) -> u64 {
        let held = self.held(source);
        if wait.is_stuck { held.kept + held.passing } else { held.kept }
    }

    /// The oldest that waits, if this source has to give way to it.
    fn must_give_way_to(&self, source: u128, limit: u64) -> Option<u128> {
        let (oldest, need) = self.waiting.first_key_value()?;
        let withheld: u64 = self.waiting.iter().map(|(source, wait)| self.withheld(*source, wait)).sum();
        if withheld.saturating_add(need.bytes) <= limit {
            return None; // others read, and give back
        }
        let youngest = self.waiting.iter().rev().find(|(source, wait)| self.withheld(**source, wait) > 0)?.0;
        (*youngest == source && source != *oldest).then_some(*oldest)
    }
}

impl ReadingMemory {
    /// For all sources together; no less than [`BYTES_MIN`].
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max: bytes_max.max(BYTES_MIN), state: Mutex::default(), freed: Condvar::new() })
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        self.state().used
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: not now.
    pub(super) fn try_take(
        self: &Arc<Self>,
        source: u128,
        kind: Kind,
        what: &'static str,
        bytes: u64,
    ) -> Result<Option<Permit>, Refusal> {
        let limit = self.bytes_max;
        let mut state = self.state();
        let held = state.held(source);
        if held.kept.saturating_add(bytes) > limit {
            return Err(Refusal::TooMuch { what, need: bytes, held: held.kept, limit });
        }
        let has_any = held.kept + held.passing > 0;
        if state.used.saturating_add(bytes) > limit || !(has_any || state.may_begin(source, limit)) {
            return Ok(None);
        }
        state.used += bytes;
        state.gave_way.remove(&source);
        let held = state.holders.entry(source).or_default();
        match kind {
            Kind::Kept => held.kept += bytes,
            Kind::Passing => held.passing += bytes,
        }
        Ok(Some(Permit { pool: Arc::clone(self), source, kind, bytes }))
    }

    /// Waits until something was given back, or for `time`; unless it would wait for ever.
    pub(super) fn wait(
        &self,
        source: u128,
        what: &'static str,
        wait: Wait,
        time: Duration,
    ) -> Result<(), Refusal> {
        let limit = self.bytes_max;
        let mut state = self.state();
        state.waiting.insert(source, wait);
        let withheld = state.withheld(source, &wait);
        if withheld.saturating_add(wait.bytes) > limit {
            return Err(Refusal::TooMuch { what, need: wait.bytes, held: withheld, limit });
        }
        if let Some(oldest) = state.must_give_way_to(source, limit) {
            let mut gave_way = std::mem::take(&mut state.gave_way);
            gave_way.retain(|_, to| state.is_at_it(*to)); // some never begin again
            gave_way.insert(source, oldest);
            state.gave_way = gave_way;
            return Err(Refusal::Busy { what, need: wait.bytes });
        }
        drop(self.freed.wait_timeout(state, time));
        Ok(())
    }

    /// The source has what it waited for, or waits no more.
    pub(super) fn wait_no_more(&self, source: u128) {
        let mut state = self.state();
        state.waiting.remove(&source);
        self.tell_freed(&state); // it may have been before others
    }

    /// Whoever waits stands in the list. To wake nobody is a call of the system, too, and each source would make it.
    fn tell_freed(&self, state: &State) {
        if !state.waiting.is_empty() {
            self.freed.notify_all();
        }
    }
}

impl Permit {
    /// Bytes taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.used = state.used.saturating_sub(self.bytes);
        if let Some(held) = state.holders.get_mut(&self.source) {
            match self.kind {
                Kind::Kept => held.kept = held.kept.saturating_sub(self.bytes),
                Kind::Passing => held.passing = held.passing.saturating_sub(self.bytes),
            }
            if held.kept + held.passing == 0 {
                state.holders.remove(&self.source);
            }
        }
        self.pool.tell_freed(&state);
    }
}
