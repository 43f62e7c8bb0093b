//! Slices on their way, in an engine of their own that goes when they are through.
//!
//! The engine never shortens its log and never forgets its page table: a backlog that went through the store of rows would stay in it for
//! good, on the disk and in memory. So slices have their own, in a folder of its own, which is opened with the first slice that finds no
//! room in memory. When no queue has slices in it any more, and more than [`KEPT_BYTES_MAX`] went through, it is dropped with its folder.
//!
//! ```text
//! data/slices/PID-NUMBER/      one engine; keys: job sequence chunk
//! ```
//!
//! Nothing here is durable, nor need it be: slices are cut again from their source. What a stop leaves is removed at the start. After a
//! failure the engine is given up, with all that is in it: its jobs break off as for any trouble with a disk and go on from their
//! checkpoints, with a new one. The store of rows has no part in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{errors, opening};
use crate::allocator;
use crate::durable_fs;
use crate::model::job_id::JobId;
use crate::store::error::StoreError;
use crate::store::value::{self, CHUNK_PAYLOAD_BYTES_MAX};
use crate::store::{folder, keys};

/// An engine through which less went is kept for the next slices.
const KEPT_BYTES_MAX: u64 = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// Bytes of slices that the engine may hold unwritten: it writes behind, in segments that it keeps in memory until they are written, and
/// a fast loader would fill more of them than `memory_max` allows for.
const UNFLUSHED_BYTES_MAX: u64 = 8 << 20;
/// Room on the disk that slices leave to the store of rows: where there is less, loading waits instead of running ahead.
const RESERVED_BYTES: u64 = 64 << 20;
/// What the first chunk says besides: how many there are.
const COUNT_BYTES: usize = 4;
/// The folder's name in the data folder.
const FOLDER: &str = "slices";

/// Engines of this process so far. No two have one folder: threads of one that was dropped may hold its files a moment longer.
static ENGINES: AtomicU64 = AtomicU64::new(0);

/// Where slices of all jobs lie, while any do.
pub(in crate::store) struct StoredSlices {
    data_dir: PathBuf,
    folder: PathBuf,
    current: Mutex<Option<Arc<Engine>>>,
    reserved: AtomicU64,
    /// Bytes that may still be stored before the disk is looked at again.
    unlooked: AtomicU64,
}

struct Engine {
    /// None once it is being closed.
    open: Option<Open>,
    path: PathBuf,
    /// Queues that have slices in it.
    lent: AtomicU64,
    /// Bytes that went through.
    through: AtomicU64,
    /// Bytes since it last had to write all it holds.
    unflushed: AtomicU64,
    /// After a failure nothing in it is believed.
    given_up: AtomicBool,
}

struct Open {
    tree: sled::Tree,
    db: sled::Db,
    path: PathBuf,
}

/// The engine, for one queue that has slices in it.
pub(in crate::store) struct Lent {
    engine: Arc<Engine>,
    owner: Arc<StoredSlices>,
}

impl StoredSlices {
    /// Removes what a stop left there; by the process that holds the data folder.
    pub(in crate::store) fn begin(data_dir: &Path) -> Arc<Self> {
        let folder = data_dir.join(FOLDER);
        remove_patiently(&folder);
        let (reserved, unlooked) = (AtomicU64::new(RESERVED_BYTES), AtomicU64::new(0));
        let data_dir = data_dir.to_owned();
        Arc::new(Self { data_dir, folder, current: Mutex::default(), reserved, unlooked })
    }

    /// Whether the disk has room for so many bytes besides what is left to the store of rows. Looked at now and then, and at each call
    /// while there is none; a disk that does not tell is asked by writing.
    pub(in crate::store) fn has_room(&self, bytes: u64) -> bool {
        let unlooked = self.unlooked.load(Ordering::Relaxed);
        if unlooked >= bytes {
            self.unlooked.store(unlooked - bytes, Ordering::Relaxed);
            return true;
        }
        let reserved = self.reserved.load(Ordering::Relaxed);
        let has_room = match durable_fs::room_at(&self.data_dir) {
            Ok(room) if room.total > 0 => {
                room.free.saturating_sub(reserved) >= bytes.saturating_add(UNFLUSHED_BYTES_MAX)
            }
            _ => true,
        };
        self.unlooked.store(if has_room { UNFLUSHED_BYTES_MAX } else { 0 }, Ordering::Relaxed);
        has_room
    }

    /// The engine, made if there is none, or none that can be used.
    pub(in crate::store) fn lend(self: &Arc<Self>) -> Result<Lent, StoreError> {
        let mut current = self.current();
        let usable = current.as_ref().filter(|engine| !engine.given_up.load(Ordering::SeqCst));
        let engine = if let Some(engine) = usable {
            Arc::clone(engine)
        } else {
            let engine = Arc::new(Engine::open(&self.folder)?);
            *current = Some(Arc::clone(&engine));
            engine
        };
        engine.lent.fetch_add(1, Ordering::SeqCst);
        drop(current);
        Ok(Lent { engine, owner: Arc::clone(self) })
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Engine>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no engine is open, or one without slices.
    #[cfg(test)]
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.current().as_ref().is_none_or(|engine| engine.usable().is_ok_and(|open| open.tree.is_empty()))
    }

    /// As if so many bytes had to be left on the disk.
    #[cfg(test)]
    pub(in crate::store) fn reserve(&self, bytes: u64) {
        self.reserved.store(bytes, Ordering::Relaxed);
        self.unlooked.store(0, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(in crate::store) fn is_open(&self) -> bool {
        self.current().is_some()
    }
}

impl Drop for StoredSlices {
    fn drop(&mut self) {
        let engine = self.current().take().and_then(Arc::into_inner);
        if let Some(open) = engine.and_then(|mut engine| engine.open.take()) {
            open.close();
        }
        // Empty by now; one that is being closed still has its own in it, and goes with it or at the next start.
        std::fs::remove_dir(&self.folder).ok();
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut current = self.owner.current();
        let was_last = self.engine.lent.fetch_sub(1, Ordering::SeqCst) == 1;
        let is_used_up = self.engine.through.load(Ordering::SeqCst) > KEPT_BYTES_MAX
            || self.engine.given_up.load(Ordering::SeqCst);
        let is_current = current.as_ref().is_some_and(|engine| Arc::ptr_eq(engine, &self.engine));
        let dropped = if was_last && is_used_up && is_current { current.take() } else { None };
        drop((current, dropped));
        // Ours is the last hold on it, if it was taken or replaced: `Engine::drop` sees to the rest.
    }
}

impl Lent {
    /// Stores a slice's bytes, as they were packed.
    pub(in crate::store) fn put(&self, job: JobId, sequence: u64, packed: &[u8]) -> Result<(), StoreError> {
        let tree = &self.engine.usable()?.tree;
        let (first, rest) = packed.split_at(packed.len().min(CHUNK_PAYLOAD_BYTES_MAX - COUNT_BYTES));
        let further = rest.chunks(CHUNK_PAYLOAD_BYTES_MAX);
        let count = u32::try_from(further.len() + 1)
            .map_err(|_| StoreError::Encode { what: "slice", detail: "it is too long".into() })?;
        let mut head = Vec::with_capacity(COUNT_BYTES + first.len());
        head.extend_from_slice(&count.to_be_bytes());
        head.extend_from_slice(first);
        for (chunk, payload) in (0..).zip(std::iter::once(head.as_slice()).chain(further)) {
            let insert =
                tree.insert(keys::slice_chunk(job, sequence, chunk), value::seal(&[payload]).as_ref());
            self.engine.done("written", insert)?;
        }
        self.engine.hold_back(packed.len() as u64)
    }

    /// A slice's bytes, as they were packed.
    pub(in crate::store) fn get(&self, job: JobId, sequence: u64) -> Result<Vec<u8>, StoreError> {
        let (count, mut packed) = {
            let head = self.chunk(job, sequence, 0)?;
            match value::unseal("slice", &head)? {
                [a, b, c, d, payload @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), payload.to_vec()),
                _ => return Err(StoreError::corrupt("slice", "it is too short")),
            }
        };
        for chunk in 1..count {
            let further = self.chunk(job, sequence, chunk)?;
            packed.extend_from_slice(value::unseal("slice", &further)?);
        }
        Ok(packed)
    }

    /// Removes a slice's chunks; ends at the first that is not there. An engine that is given up goes as a whole.
    pub(in crate::store) fn remove(&self, job: JobId, sequence: u64) -> Result<(), StoreError> {
        for chunk in 0.. {
            let Ok(open) = self.engine.usable() else { break };
            let removed = open.tree.remove(keys::slice_chunk(job, sequence, chunk));
            if self.engine.done("removed", removed)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Removes slices that nobody takes any more; where nobody else has any, they go with the engine.
    pub(in crate::store) fn remove_all(&self, job: JobId, sequences: Range<u64>) -> Result<(), StoreError> {
        let goes_with_it = self.engine.lent.load(Ordering::SeqCst) == 1
            && self.engine.through.load(Ordering::SeqCst) > KEPT_BYTES_MAX;
        // Where another queue comes in between they stay there unread: a slice says how many chunks it has.
        if !goes_with_it {
            for sequence in sequences {
                self.remove(job, sequence)?;
            }
        }
        Ok(())
    }

    fn chunk(&self, job: JobId, sequence: u64, chunk: u32) -> Result<sled::IVec, StoreError> {
        let read = self.engine.usable()?.tree.get(keys::slice_chunk(job, sequence, chunk));
        let found = self.engine.done("read", read)?;
        found.ok_or_else(|| StoreError::corrupt("slice", format!("part {chunk} is missing")))
    }

    #[cfg(test)]
    pub(in crate::store) fn give_up(&self) {
        self.engine.given_up.store(true, Ordering::SeqCst);
    }
}

impl Engine {
    fn open(folder: &Path) -> Result<Self, StoreError> {
        let number = ENGINES.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}-{number}", std::process::id()));
        folder::make_passing(&path).map_err(|error| failed("made", &path, error.into()))?;
        let open = || {
            let db = opening::open_passing(&path)?;
            let tree = db.open_tree(FOLDER)?;
            Ok(Open { tree, db, path: path.clone() })
        };
        let open = open().map_err(|error| failed("made", &path, error))?;
        Ok(Self {
            open: Some(open),
            path,
            lent: AtomicU64::new(0),
            through: AtomicU64::new(0),
            unflushed: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
        })
    }

    fn usable(&self) -> Result<&Open, StoreError> {
        match &self.open {
            Some(open) if !self.given_up.load(Ordering::SeqCst) => Ok(open),
            _ => Err(StoreError::Slices {
                action: "used any more",
                path: self.path.clone(),
                source: "a write or read failed before".into(),
            }),
        }
    }

    fn done<T>(&self, action: &'static str, result: sled::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.given_up.store(true, Ordering::SeqCst);
            failed(action, &self.path, error)
        })
    }

    fn hold_back(&self, written: u64) -> Result<(), StoreError> {
        self.through.fetch_add(written, Ordering::SeqCst);
        if self.unflushed.fetch_add(written, Ordering::Relaxed) + written < UNFLUSHED_BYTES_MAX {
            return Ok(());
        }
        self.unflushed.store(0, Ordering::Relaxed);
        self.done("written", self.usable()?.db.flush()).map(drop)
    }
}

impl Drop for Engine {
    /// Gigabytes take a moment to go, and whoever took the last slice has work to do.
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let closing = std::thread::Builder::new().name("slices".into()).spawn(move || open.close());
        if let Err(error) = closing {
            tracing::warn!(%error, "stored slices that are through were removed in the way of others");
        }
    }
}

impl Open {
    /// Drops the engine, and then its folder, as soon as its threads let go of it.
    fn close(self) {
        let Self { tree, db, path } = self;
        drop((tree, db));
        remove_patiently(&path);
        allocator::give_memory_back();
    }
}

/// Removes a folder as soon as an engine's threads let go of it. One that stays is in nobody's way, but takes its room.
fn remove_patiently(folder: &Path) {
    let begun = Instant::now();
    while let Err(error) = folder::remove_all(folder) {
        if begun.elapsed() >= opening::REOPEN_PATIENCE {
            tracing::warn!(%error, "stored slices that are through stay on the disk until the next start");
            break;
        }
        std::thread::sleep(opening::REOPEN_PAUSE);
    }
}

fn failed(action: &'static str, path: &Path, error: sled::Error) -> StoreError {
    errors::slices(action, path, error)
}
