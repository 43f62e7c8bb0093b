//! The embedded store: sled behind a narrow interface, so that another engine can stand behind the same one later.
//!
//! Everything the service must not forget lies here; slices only pass by where the work does not get on.
//!
//! # Key layout
//!
//! Few trees, composite big-endian keys; every value starts with a version byte (see `value`).
//!
//! ```text
//! tree    key                              value
//! meta    m "format"                       the store's format, u32
//!         m "mark"                         Mark
//!         j job                            Job
//!         u job                            (index: the job is not in a final state)
//!         l job                            LedgerRow
//!         h digest(rule, content) job      (index: the job published this content)
//!         d digest(rule, key) revision job (index: the job published this revision of the delivery's key)
//!         a digest(rule) time job          ArchivedRow
//!         k device inode size mtime ctime  job          (the kept file of this identity is known)
//!         p job                            Checkpoint
//!         i job                            Intent
//!         f job position                   failed records from this position on
//!         r hash                           Rule
//!         c key index                      a further chunk of the long value under `key`
//! ```
//!
//! Slices that find no room in memory have an engine of their own, which is neither durable nor kept: see `stored_slices`.
//!
//! `digest` is BLAKE3, 32 bytes. The rows `h` and `d` are written with the intent, so that whatever is published is known; they go
//! with their ledger row. A store of a version without them has published nothing, as far as they are asked.
//!
//! # Invariants
//! - What belongs together is given to the engine in one `Batch` on one tree: visible and durable together or not at all.
//! - Durable is what was applied before a [`Store::sync`] that came back. `flush` alone is not: on Linux it ends in
//!   `sync_file_range`, so that the log file is fsynced here as well.
//! - No value is longer than 64 KiB: sled would put its page into a file that it never fsyncs.
//! - After a failed write or sync nothing is written any more: what reached the disk is unknown.
//! - All operations are idempotent and keyed by (job, number).

mod changes;
mod deliveries;
mod error;
mod failed;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod keys;
mod leftovers;
mod log_check;
mod making;
mod mark;
mod memory;
mod opening;
mod pending;
mod poison;
mod quiet;
mod retention;
mod rows;
mod slice_value;
mod slices;
mod stored_slices;
mod value;
mod verify;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use serde::{Deserialize, Serialize};

use crate::durable_fs::{self, HeldFolder};
use crate::group_sync::{Failure as _, GroupSync};
use crate::model::account::Account;
use crate::model::job::Entry;
use crate::model::job_id::JobId;
use crate::output::PartialState;

pub use changes::Changes;
pub use deliveries::{ArchivedFile, ArchivedRow, Earlier, Published};
pub use error::StoreError;
pub use mark::Mark;
pub use memory::{MemoryBudget, MemoryLease};
pub use rows::{JobMatch, LedgerOutcome, LedgerRow};
pub use slices::{SliceQueue, Taken};
pub use verify::{Finding, Verified};

use pending::Pending;
use poison::Poison;
use quiet::Closing;
use stored_slices::StoredSlices;

/// The format of keys and values; a store of a higher one is refused.
const FORMAT: u32 = 1;

/// The store of one data folder. Cheap to clone; one process at a time.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// In the order of dropping: the engine closes before the folder is let go.
struct Inner {
    meta: sled::Tree,
    slices: Arc<StoredSlices>,
    db: Closing<sled::Db>,
    /// Of the engine's files.
    path: PathBuf,
    /// sled's log, for our own fsync.
    log: File,
    commits: GroupSync<Poison>,
    /// One set of changes at a time: a long value's old chunks are read before they are replaced.
    applying: Mutex<()>,
    /// Rows that the engine does not have yet. Rows of several values are read whole or not at all, under this lock.
    pending: RwLock<Pending>,
    _folder: HeldFolder,
}

/// The durable word on how far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Under which framing it was cut.
    pub framing_version: u32,
    /// The first slice that is not in the partials.
    pub next_slice: u64,
    /// The partials, cut back to here on resume.
    pub partials: Vec<PartialState>,
    /// The counts up to here.
    pub account: Account,
    /// The entries up to here.
    pub entries: Vec<Entry>,
    /// How many failed records are in the store up to here; later ones are removed on resume.
    pub failed_records: u64,
    /// Hexadecimal: what the slices up to here were. None: of a version that did not tell; nothing is built on it.
    #[serde(default)]
    pub content: Option<String>,
}

impl Store {
    /// Opens or makes the store in `data_dir` (made 0700). Another process that has it is named in the error.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        folder::check_root(data_dir)?;
        let held = folder::hold(data_dir)?;
        let slices = StoredSlices::begin(data_dir);
        let path = data_dir.join("store");
        making::make_missing(data_dir, &path)?;
        leftovers::remove(&path)?;
        log_check::refuse_lost_log(&path)?;
        let (db, meta) = opening::guarded(&path, || open_tables(data_dir, &path))?;
        let log_path = path.join("db");
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&log_path)
            .map_err(|error| folder::failed("open", &log_path, error))?;
        let inner = Inner {
            meta,
            slices,
            db: Closing::new(db),
            path,
            log,
            commits: GroupSync::default(),
            applying: Mutex::default(),
            pending: RwLock::default(),
            _folder: held,
        };
        let store = Self { inner: Arc::new(inner) };
        store.sync()?;
        leftovers::sync_settings(&store.inner.path)?;
        folder::sync_names(&store.inner.path)?;
        folder::sync_names(data_dir)?;
        Ok(store)
    }

    /// Refuses a data folder of another user: the service runs as its owner, and so must a command that does the service's work.
    pub fn check_owner(data_dir: &Path) -> Result<(), StoreError> {
        folder::check_owner(data_dir)
    }

    /// Opens a store for a command: only one that is there, and only as its owner, so that nothing is left behind that
    /// the service's user cannot read.
    pub fn open_as_owner(data_dir: &Path) -> Result<Self, StoreError> {
        folder::check_owner(data_dir)?;
        match std::fs::metadata(data_dir.join("store")) {
            Ok(_) => Self::open(data_dir),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::NoStore { data_dir: data_dir.to_owned() })
            }
            Err(error) => Err(folder::failed("look at", data_dir, error)),
        }
    }

    /// Refuses to go on where the engine's log is no longer the file that was opened: everything since would be forgotten.
    pub fn check_there(&self) -> Result<(), StoreError> {
        let (inner, log) = (&self.inner, self.inner.path.join("db"));
        let opened =
            durable_fs::identity(&inner.log).map_err(|error| folder::failed("look at", &log, error))?;
        match durable_fs::identity_at(&log) {
            Ok(found) if !found.is_some_and(|found| found.same_file(&opened)) => {
                Err(StoreError::Removed { path: inner.path.clone() })
            }
            // One that cannot be looked at may be there: the next write will tell.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Makes everything written so far durable; concurrent callers share one flush and fsync.
    ///
    /// A failure is for good: the store takes nothing more, and the service must stop.
    pub fn sync(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        let flush = || match inner.db.flush() {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::failed("flush its log", &inner.path, error)),
        };
        let make_durable = || {
            inner.give_rows()?;
            flush()?;
            inner
                .log
                .sync_all()
                .map_err(|error| StoreError::failed("sync its log", &inner.path, error.into()))?;
            // What is durable in a file without a name nobody will read: nothing may be published on its word.
            if durable_fs::has_no_name(&inner.log) {
                return Err(StoreError::Removed { path: inner.path.clone() });
            }
            Ok(())
        };
        // sled 0.34 forgets a waiting flush where the last writer of its buffer met an error (`exit_reservation` notes the error and wakes
        // nobody). Any later flush sees the error, and wakes all.
        Ok(inner.commits.sync(make_durable, Some(&flush))?)
    }

    /// Begins a set of changes.
    pub fn change(&self) -> Changes<'_> {
        Changes::new(self)
    }

    /// The queue of slices of one job, memory first.
    pub fn slice_queue(&self, job: JobId, memory: Arc<MemoryBudget>, load_ahead: u64) -> SliceQueue {
        SliceQueue::new(self.clone(), job, memory, load_ahead)
    }
}

impl Inner {
    fn refuse_poisoned(&self) -> Result<(), StoreError> {
        self.commits.failed_for_good().map_or(Ok(()), |poison| Err(poison.into()))
    }

    /// An engine's write that failed ends all writing.
    fn written<T>(&self, action: &'static str, result: sled::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = StoreError::failed(action, &self.path, error);
            self.commits.end_by(Poison::of(&error));
            error
        })
    }
}

/// The engine and its tables; everything here reads what may be damaged.
fn open_tables(data_dir: &Path, path: &Path) -> Result<(sled::Db, sled::Tree), StoreError> {
    let db = opening::open_engine(path)?;
    let meta = db.open_tree("meta").map_err(StoreError::engine("open its tables"))?;
    check_format(data_dir, &meta)?;
    // Earlier versions had slices among the rows; they are cut again from their source.
    db.drop_tree("slices").map_err(StoreError::engine("forget old slices"))?;
    Ok((db, meta))
}

fn check_format(data_dir: &Path, meta: &sled::Tree) -> Result<(), StoreError> {
    let mark = meta.get(keys::FORMAT).map_err(StoreError::engine("read its format"))?;
    let Some(mark) = mark else {
        meta.insert(keys::FORMAT, value::chunk(&FORMAT.to_be_bytes()))
            .map_err(StoreError::engine("write its format"))?;
        return Ok(());
    };
    let digits = value::read_chunk("format mark", &mark)?;
    let found = digits
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| StoreError::corrupt("format mark", "it is no number"))?;
    if found > FORMAT {
        return Err(StoreError::Newer { data_dir: data_dir.to_owned(), found, known: FORMAT });
    }
    Ok(())
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod values_tests;
