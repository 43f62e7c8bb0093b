//! Values encrypted on their way to the backend, and decrypted on their way from it; whoever writes rows knows nothing of it.
//!
//! ```text
//! rows ── clear ──> Sealed ── sealed, each bound to its key ──> the backend
//! ```
//!
//! - All values are, but for the store's format, the list of its keys, and entries that say all by their key. Keys of rows are in clear: ids of
//!   jobs, hashes, positions, numbers of files.
//! - The list names a key, durably, before the first value is sealed by it: a store that was sealed by a key that is away is refused whole, so
//!   that nothing is taken for damaged or unknown.
//! - Values in clear go on being read: from before, or where `encrypt = false`. [`Sealed::renew`] writes them anew.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

use super::backend::{Applied, Backend, Batch, KeyRange, Rows, Snapshot, Value};
use super::error::StoreError;
use super::keys::{self, Key};
use super::value;
use crate::at_rest::{self, KeyRing, Unopened};

/// Bytes of a value that has a version and nothing else.
const EMPTY_BYTES: usize = 1;
/// Values that are written anew before they are made durable.
const SYNC_EVERY: u64 = 1000;

/// The list of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seals {
    /// Public keys, one for each by which a value may be sealed.
    pub(super) keys: Vec<String>,
    /// Values may lie there in clear from before.
    pub(super) has_clear: bool,
    /// None are to be sealed any more.
    #[serde(default)]
    pub(super) has_ended: bool,
}

#[derive(Default)]
struct State {
    ring: Option<Arc<KeyRing>>,
    seals: bool,
}

type Shared = Arc<RwLock<State>>;

pub(super) struct Sealed {
    inner: Box<dyn Backend>,
    /// Read while a batch is applied: once it is exchanged, nothing is written by what was before.
    state: Shared,
}

/// What writing values anew came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Renewed {
    pub(crate) values: u64,
    pub(crate) renewed: u64,
}

impl Sealed {
    pub(super) fn new(inner: Box<dyn Backend>) -> Self {
        Self { inner, state: Shared::default() }
    }

    /// What is said of its keys.
    pub(super) fn said(&self) -> Result<Option<Seals>, StoreError> {
        let Some(value) = self.inner.get(keys::SEALS)? else { return Ok(None) };
        let head = value::read_head("list of keys", &value)?;
        value::decode("list of keys", &head, |_| Ok(None::<Value>)).map(Some)
    }

    /// Says it, durably.
    pub(super) fn say(&self, seals: &Seals) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let values = value::encode("list of keys", seals)?;
        if values.len() > 1 {
            let detail = "there are too many keys".to_owned();
            return Err(StoreError::Encode { what: "list of keys", detail });
        }
        batch.rows.insert(keys::SEALS.to_vec(), values.into_iter().next());
        self.inner.apply(batch).map(drop)?; // it expects nothing
        self.inner.sync()
    }

    /// Reads by these keys from now on, and seals by the first of them or not.
    pub(super) fn go_by(&self, ring: Arc<KeyRing>, seals: bool) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State { ring: Some(ring), seals };
    }

    pub(super) fn ring(&self) -> Option<Arc<KeyRing>> {
        read(&self.state).ring.clone()
    }

    pub(super) fn seals(&self) -> bool {
        read(&self.state).seals
    }

    /// Has every value as it would be written now. False from `goes_on` ends it.
    pub(super) fn renew(
        &self,
        goes_on: &mut dyn FnMut(Renewed) -> bool,
    ) -> Result<Option<Renewed>, StoreError> {
        let mut done = Renewed::default();
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        for row in self.inner.scan(everything) {
            let (key, value) = row?;
            done.values += 1;
            if self.renew_one(key, value)? {
                done.renewed += 1;
                if done.renewed.is_multiple_of(SYNC_EVERY) {
                    self.inner.sync()?;
                }
            }
            if done.values.is_multiple_of(SYNC_EVERY) && !goes_on(done) {
                return Ok(None);
            }
        }
        self.inner.sync()?;
        Ok(Some(done))
    }

    /// Whether it was another one. A value that is changed meanwhile is written as it should be by who changes it.
    fn renew_one(&self, key: Key, value: Value) -> Result<bool, StoreError> {
        let state = read(&self.state);
        let Some(ring) = state.ring.as_deref() else { return Ok(false) };
        let is_right = if state.seals { ring.is_by_first(&value) } else { !at_rest::is_sealed(&value) };
        if is_right || is_left_clear(&key, &value) {
            return Ok(false);
        }
        let clear = opened(&state, &key, value.clone())?;
        let mut batch = Batch { expected: vec![(key.clone(), Some(value))], ..Batch::default() };
        batch.rows.insert(key, Some(clear));
        seal(&state, &mut batch)?;
        Ok(self.inner.apply(batch)? == Applied::Done)
    }

    /// Says of what a batch expects how it lies there. False: something is not as it expects.
    fn expect_as_stored(&self, state: &State, batch: &mut Batch) -> Result<bool, StoreError> {
        let now = self.inner.snapshot();
        for (key, expected) in &mut batch.expected {
            let stored = now.get(key)?;
            let clear = stored.clone().map(|stored| opened(state, key, stored)).transpose()?;
            if clear != *expected {
                return Ok(false);
            }
            *expected = stored;
        }
        Ok(true)
    }
}

fn read(state: &Shared) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

/// What opens the store must be read before there is a key, and what is empty says nothing.
fn is_left_clear(key: &[u8], value: &[u8]) -> bool {
    key == keys::FORMAT || key == keys::SEALS || value.len() <= EMPTY_BYTES
}

fn seal(state: &State, batch: &mut Batch) -> Result<(), StoreError> {
    let Some(ring) = state.ring.as_deref().filter(|_| state.seals) else { return Ok(()) };
    for (key, value) in &mut batch.rows {
        if let Some(value) = value.as_mut().filter(|value| !is_left_clear(key, value)) {
            let sealed = ring.seal(key, value);
            *value = sealed.map_err(|error| unsealed(&error))?.into();
        }
    }
    Ok(())
}

fn opened(state: &State, key: &[u8], value: Value) -> Result<Value, StoreError> {
    if !at_rest::is_sealed(&value) {
        return Ok(value);
    }
    let from = "this process".to_owned();
    let ring = state.ring.as_deref().ok_or(Unopened::NoKey { from });
    let clear = ring.and_then(|ring| ring.open(key, &value));
    clear.map(Value::from).map_err(|error| StoreError::corrupt(keys::name_of(key), error.to_string()))
}

fn unsealed(error: &Unopened) -> StoreError {
    StoreError::Encode { what: "value", detail: error.to_string() }
}

impl Backend for Sealed {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.get(key)?.map(|value| opened(&read(&self.state), key, value)).transpose()
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(OpenedSnapshot { inner: self.inner.snapshot(), state: &self.state })
    }

    fn scan(&self, range: KeyRange) -> Rows {
        let state = Arc::clone(&self.state);
        Box::new(self.inner.scan(range).map(move |row| {
            let (key, value) = row?;
            let value = opened(&read(&state), &key, value)?;
            Ok((key, value))
        }))
    }

    fn applied_count(&self) -> Option<u64> {
        self.inner.applied_count()
    }

    fn apply(&self, mut batch: Batch) -> Result<Applied, StoreError> {
        let state = read(&self.state);
        if state.ring.is_some() {
            // Where nothing was applied since, nobody looks at what is expected; if something is right now, it is not met and all is made again.
            let applied = self.inner.applied_count();
            let is_as_of_now = applied.is_some() && applied == batch.as_of;
            if !is_as_of_now && !self.expect_as_stored(&state, &mut batch)? {
                return Ok(Applied::Outdated);
            }
            seal(&state, &mut batch)?;
        }
        self.inner.apply(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }

    fn has_unsynced(&self) -> bool {
        self.inner.has_unsynced()
    }

    fn check_there(&self) -> Result<(), StoreError> {
        self.inner.check_there()
    }

    fn unknown_tables(&self) -> Vec<String> {
        self.inner.unknown_tables()
    }
}

struct OpenedSnapshot<'a> {
    inner: Box<dyn Snapshot + 'a>,
    state: &'a Shared,
}

impl Snapshot for OpenedSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.get(key)?.map(|value| opened(&read(self.state), key, value)).transpose()
    }
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
