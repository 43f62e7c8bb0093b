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
//! - Two locks, so that nobody waits for whom he keeps waiting: who reads, maybe in a snapshot that who writes waits for, needs the ring alone,
//!   and nobody holds that for longer than it takes to copy an `Arc`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

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
    /// None are to be sealed any more.
    #[serde(default)]
    pub(super) has_ended: bool,
    /// How all rows lie, but for those that did not open; none: it is not known of all.
    #[serde(default)]
    pub(super) rows: Option<Lie>,
    /// Rows that did not open when they were to be written anew: one of the keys may be theirs.
    #[serde(default)]
    pub(super) unopened: u64,
}

/// How a value lies there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lie {
    InClear,
    /// By the key of this public one.
    By(String),
}

/// Held for as long as it takes to copy the `Arc`, and never while anything else is asked for.
type Ring = Arc<RwLock<Option<Arc<KeyRing>>>>;

pub(super) struct Sealed {
    inner: Box<dyn Backend>,
    ring: Ring,
    seals: AtomicBool,
    /// Read while a batch is applied: once `seals` or the ring is another, nothing is written by what was before.
    applying: RwLock<()>,
    /// Who changes the list of keys, one at a time, from reading it to going by it.
    saying: Mutex<()>,
}

/// What writing values anew came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_field_names, reason = "of the values, those that were")]
pub(crate) struct Renewed {
    pub(crate) values: u64,
    pub(crate) renewed: u64,
    /// They stay as they lie there: by what key they are, or whether they are damaged, cannot be told.
    pub(crate) unopened: u64,
}

/// What became of one value.
enum Met {
    AsItShouldBe,
    Renewed,
    Unopened,
}

impl Sealed {
    pub(super) fn new(inner: Box<dyn Backend>) -> Self {
        let (ring, seals) = (Ring::default(), AtomicBool::default());
        Self { inner, ring, seals, applying: RwLock::default(), saying: Mutex::default() }
    }

    /// For who changes the list of keys.
    pub(super) fn hold_list(&self) -> MutexGuard<'_, ()> {
        self.saying.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Reads by these keys from now on, and seals by the first of them or not. They open all that is there: who is applying something yet is
    /// waited for with nothing held that anybody reads by.
    pub(super) fn go_by(&self, ring: Arc<KeyRing>, seals: bool) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Some(ring);
        let _nothing_is_applied = self.applying.write().unwrap_or_else(PoisonError::into_inner);
        self.seals.store(seals, Ordering::Release);
    }

    pub(super) fn ring(&self) -> Option<Arc<KeyRing>> {
        ring_of(&self.ring)
    }

    pub(super) fn seals(&self) -> bool {
        self.seals.load(Ordering::Acquire)
    }

    /// How a value lies that is written now.
    pub(super) fn lie(&self) -> Lie {
        let ring = self.ring().filter(|_| self.seals());
        ring.map_or(Lie::InClear, |ring| Lie::By(ring.recipient().to_owned()))
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
            match self.renew_one(key, value)? {
                Met::AsItShouldBe => {}
                Met::Unopened => done.unopened += 1,
                Met::Renewed => {
                    done.renewed += 1;
                    if done.renewed.is_multiple_of(SYNC_EVERY) {
                        self.inner.sync()?;
                    }
                }
            }
            if done.values.is_multiple_of(SYNC_EVERY) && !goes_on(done) {
                return Ok(None);
            }
        }
        self.inner.sync()?;
        Ok(Some(done))
    }

    /// A value that is changed meanwhile is written as it should be by who changes it.
    fn renew_one(&self, key: Key, value: Value) -> Result<Met, StoreError> {
        let _seals_stays = self.applying();
        let Some(ring) = self.ring() else { return Ok(Met::AsItShouldBe) };
        let is_right = if self.seals() { ring.is_by_first(&value) } else { !at_rest::is_sealed(&value) };
        if is_right || is_left_clear(&key, &value) {
            return Ok(Met::AsItShouldBe);
        }
        let clear = match opened(Some(&ring), &key, value.clone()) {
            Ok(clear) => clear,
            Err(error) => {
                tracing::debug!(%error, "a value is passed over: it does not open");
                return Ok(Met::Unopened);
            }
        };
        let mut batch = Batch { expected: vec![(key.clone(), Some(value))], ..Batch::default() };
        batch.rows.insert(key, Some(clear));
        if self.seals() {
            seal(&ring, &mut batch)?;
        }
        Ok(if self.inner.apply(batch)? == Applied::Done { Met::Renewed } else { Met::AsItShouldBe })
    }

    fn applying(&self) -> RwLockReadGuard<'_, ()> {
        self.applying.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says of what a batch expects how it lies there. False: something is not as it expects.
    fn expect_as_stored(&self, ring: &KeyRing, batch: &mut Batch) -> Result<bool, StoreError> {
        let now = self.inner.snapshot();
        for (key, expected) in &mut batch.expected {
            let stored = now.get(key)?;
            let clear = stored.clone().map(|stored| opened(Some(ring), key, stored)).transpose()?;
            if clear != *expected {
                return Ok(false);
            }
            *expected = stored;
        }
        Ok(true)
    }
}

fn ring_of(ring: &Ring) -> Option<Arc<KeyRing>> {
    ring.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What opens the store must be read before there is a key, and what is empty says nothing.
fn is_left_clear(key: &[u8], value: &[u8]) -> bool {
    key == keys::FORMAT || key == keys::SEALS || value.len() <= EMPTY_BYTES
}

fn seal(ring: &KeyRing, batch: &mut Batch) -> Result<(), StoreError> {
    for (key, value) in &mut batch.rows {
        if let Some(value) = value.as_mut().filter(|value| !is_left_clear(key, value)) {
            let sealed = ring.seal(key, value);
            *value = sealed.map_err(|error| unsealed(&error))?.into();
        }
    }
    Ok(())
}

/// By the ring that is asked for where the value is sealed.
fn opened_by(ring: &Ring, key: &[u8], value: Value) -> Result<Value, StoreError> {
    if at_rest::is_sealed(&value) { opened(ring_of(ring).as_deref(), key, value) } else { Ok(value) }
}

fn opened(ring: Option<&KeyRing>, key: &[u8], value: Value) -> Result<Value, StoreError> {
    if !at_rest::is_sealed(&value) {
        return Ok(value);
    }
    let from = "this process".to_owned();
    let ring = ring.ok_or(Unopened::NoKey { from });
    let clear = ring.and_then(|ring| ring.open(key, &value));
    clear.map(Value::from).map_err(|error| StoreError::corrupt(keys::name_of(key), error.to_string()))
}

fn unsealed(error: &Unopened) -> StoreError {
    StoreError::Encode { what: "value", detail: error.to_string() }
}

impl Backend for Sealed {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.get(key)?.map(|value| opened_by(&self.ring, key, value)).transpose()
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(OpenedSnapshot { inner: self.inner.snapshot(), ring: &self.ring })
    }

    fn scan(&self, range: KeyRange) -> Rows {
        let ring = Arc::clone(&self.ring);
        Box::new(self.inner.scan(range).map(move |row| {
            let (key, value) = row?;
            let value = opened_by(&ring, &key, value)?;
            Ok((key, value))
        }))
    }

    fn applied_count(&self) -> Option<u64> {
        self.inner.applied_count()
    }

    fn apply(&self, mut batch: Batch) -> Result<Applied, StoreError> {
        let _seals_stays = self.applying();
        if let Some(ring) = self.ring() {
            // Where nothing was applied since, nobody looks at what is expected; if something is right now, it is not met and all is made again.
            let applied = self.inner.applied_count();
            let is_as_of_now = applied.is_some() && applied == batch.as_of;
            if !is_as_of_now && !self.expect_as_stored(&ring, &mut batch)? {
                return Ok(Applied::Outdated);
            }
            if self.seals() {
                seal(&ring, &mut batch)?;
            }
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
    ring: &'a Ring,
}

impl Snapshot for OpenedSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.inner.get(key)?.map(|value| opened_by(self.ring, key, value)).transpose()
    }
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
