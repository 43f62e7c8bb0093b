//! The store: jobs, their work and the ledger as rows of a backend, which another engine can stand in for (`backend`).
//!
//! Everything the service must not forget lies here; slices only pass by where the work does not get on.
//!
//! # Key layout
//!
//! Composite big-endian keys; every value starts with a version byte (see `value`).
//!
//! ```text
//! key                              value
//! m "format"                       the store's format, u32
//! m "seals"                        Seals: by which keys values are encrypted (see `sealed`)
//! m "mark"                         Mark
//! m "configuration"                KeptConfiguration
//! m "halts"                        Halts
//! m "paces"                        PacesSet
//! m "expected"                     Expected
//! m "clock"                        ClockSteps
//! m "places"                       Places
//! m "moved"                        where the store moved to: text, in clear
//! m "homes"                        where the data folder lay, and lies: paths
//! m "auditing"                     (mark: an audit trail is kept)
//! m "audit"                        AuditHead: where the trail ends
//! j job                            Job
//! u job                            (index: the job is not in a final state)
//! x job                            (index: the job is done, and its records are to be destroyed)
//! l job                            LedgerRow
//! h digest(rule, content) job      (index: the job published this content)
//! d digest(rule, key) revision job (index: the job published this revision of the delivery's key)
//! a digest(rule) time job          ArchivedRow
//! w inode size mtime ctime device  job          (the kept file of this identity is known)
//! K digest(path) size mtime ctime  job          (the same, where its numbers are others now)
//! n inode size mtime               OtherNames
//! M digest(path) size mtime        Marked: the marker of its folder stood for it, or it was beside a kept one
//! p job                            Checkpoint
//! i job                            Intent
//! f job position                   failed records from this position on
//! s job act                        Settlement of some of them
//! e job entry                      FailedEntry: what records of an entry look like, where some failed
//! r hash                           Rule
//! g digest(hook) number            Happened: the hook was not told it yet
//! t number                         AuditEvent: it is not in the audit trail yet
//! c key index                      a further chunk of the long value under `key`
//! ```
//!
//! Slices that find no room in memory lie in files of their own, neither durable nor kept: see `spool`.
//!
//! `digest` is BLAKE3, 32 bytes. The rows `h` and `d` are written with the intent, so that whatever is published is known; they go
//! with their ledger row.
//!
//! # Invariants
//! - What belongs together is given to the backend in one `Batch`: visible and durable together or not at all.
//! - Durable is what was applied before a [`Store::sync`] that came back.
//! - After a failed write or sync nothing is written any more: what reached the disk is unknown.
//! - All operations are idempotent and keyed by (job, number).
//! - Rows that are changed are as they were read, or the change is made again: a batch says what it expects. The rows of one job are
//!   changed by the one stage that has it in its hands.

mod audit;
mod backend;
mod changes;
mod clock_steps;
mod configuration;
mod deliveries;
mod destroyed;
mod error;
mod failed;
mod feed;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod homes;
mod hooks;
#[cfg(test)]
#[path = "tests/in_memory.rs"]
mod in_memory;
mod jetstream;
mod keys;
mod mark;
mod marked;
mod memory;
mod moving;
mod operator;
mod placed;
mod poison;
mod retention;
mod rows;
mod sealed;
mod sealing;
mod settled;
mod sled;
mod slice_value;
mod slices;
mod spool;
mod value;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::durable_fs::HeldFolder;
use crate::model::account::Account;
use crate::model::at_rest::AtRest;
use crate::model::cluster::Cluster;
use crate::model::job::Entry;
use crate::model::os_text::escaped_path;
use crate::model::rule::Service;
use crate::output::PartialState;
use crate::telemetry::metrics::timed;

pub(crate) use changes::Changes;
pub(crate) use deliveries::{ArchivedFile, ArchivedRow, Earlier, Published};
pub(crate) use error::StoreError;
pub(crate) use feed::Subscription;
pub(crate) use jetstream::{WhileTaken, look as look_at_cluster};
pub(crate) use mark::Mark;
pub(crate) use marked::Marked;
pub use memory::MemoryBudget;
pub(crate) use memory::MemoryLease;
pub(crate) use moving::{MoveTo, Moved, move_store};
pub(crate) use operator::Said;
pub(crate) use placed::JobRow;
pub(crate) use rows::OtherNames;
pub(crate) use rows::{JobMatch, KeptFile};
pub use rows::{LedgerOutcome, LedgerRow};
pub(crate) use sealed::Renewed;
pub(crate) use sealing::{Due, judge_keys};
pub(crate) use settled::FailedEntry;
pub use slices::{SliceQueue, Taken};
pub(crate) use verify::Verified;

use self::jetstream::JetStream;
use self::sled::Sled;
use audit::Audit;
use backend::{Applied, Backend, Batch};
use feed::Feed;
use homes::Homes;
use hooks::Hooks;
use sealed::Sealed;
use spool::Spool;

/// The format of keys and values; a store of a higher one is refused.
const FORMAT: u32 = 1;
/// Of a store in which values are encrypted, or were.
const FORMAT_SEALED: u32 = 2;

/// The store of one data folder. Cheap to clone; one process at a time.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// In the order of dropping: the backend closes before the folder is let go.
struct Inner {
    rows: Sealed,
    spool: Arc<Spool>,
    /// Read by all who change rows; written by who judges several rows against each other, or begins to listen.
    changing: RwLock<()>,
    /// Who decides on failed records, one at a time.
    settling: Mutex<()>,
    feed: Feed,
    hooks: Hooks,
    audit: Audit,
    /// Whether there may be a kept file: where none is, nobody need look each new file up.
    keeps_files: AtomicBool,
    /// The same of files with other names.
    knows_other_names: AtomicBool,
    /// The same of files that the marker of their folder stood for.
    knows_marked: AtomicBool,
    /// None: there is no folder.
    data_dir: Option<PathBuf>,
    homes: OnceLock<Homes>,
    /// In which this process has the rows of a cluster; 0: there is none.
    epoch: u64,
    _folder: Option<HeldFolder>,
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
    /// Hexadecimal: what the slices up to here were.
    pub content: String,
}

/// The engine's crate takes a time before 1970 for a reason to end.
fn check_clock(now: jiff::Timestamp) -> Result<(), StoreError> {
    if now < jiff::Timestamp::UNIX_EPOCH { Err(StoreError::Clock { now }) } else { Ok(()) }
}

impl Store {
    /// Opens or makes the store in `data_dir` (made 0700). Another process that has it is named in the error.
    ///
    /// One that is encrypted is read by the key in its own folder; see [`Self::open_with`].
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(data_dir, &AtRest::default())
    }

    /// The same, encrypted as is asked for. A key that is away refuses it whole.
    pub(crate) fn open_with(data_dir: &Path, at_rest: &AtRest) -> Result<Self, StoreError> {
        check_clock(crate::clock::now())?;
        folder::check_root(data_dir)?;
        let held = folder::hold(data_dir)?;
        let spool = Spool::begin(data_dir);
        let rows = Sled::open(data_dir)?;
        moving::refuse_moved(&rows, || format!("data folder {}", escaped_path(data_dir)))?;
        let rows = Sealed::new(Box::new(rows));
        let is_new = check_format(data_dir, &rows)?;
        sealing::begin(&rows, at_rest, data_dir, is_new)?;
        rows.sync()?;
        if rows.seals() {
            spool.seal()?;
        }
        let store = Self::over(rows, spool, Some((held, data_dir.to_owned())), 0);
        store.note_home()?;
        Ok(store)
    }

    /// The store that the configuration names: that of the data folder, or of a cluster.
    pub(crate) fn of_service(service: &Service, taken: WhileTaken) -> Result<Self, StoreError> {
        match &service.cluster {
            Some(cluster) => Self::of_cluster(&service.data_dir, &service.at_rest, cluster, taken),
            None => Self::open_with(&service.data_dir, &service.at_rest),
        }
    }

    /// The store of a cluster, once no other node has it. What is not shared lies in the data folder.
    fn of_cluster(
        data_dir: &Path,
        at_rest: &AtRest,
        cluster: &Cluster,
        taken: WhileTaken,
    ) -> Result<Self, StoreError> {
        check_clock(crate::clock::now())?;
        folder::check_root(data_dir)?;
        let rows = JetStream::open(cluster, taken)?;
        let held = folder::hold(data_dir)?;
        let spool = Spool::begin(data_dir);
        moving::refuse_moved(&rows, || moving::place_of(cluster))?;
        let epoch = rows.epoch();
        let rows = Sealed::new(Box::new(rows));
        let is_new = check_format(data_dir, &rows)?;
        sealing::begin(&rows, at_rest, data_dir, is_new)?;
        rows.sync()?;
        if rows.seals() {
            spool.seal()?;
        }
        Ok(Self::over(rows, spool, Some((held, data_dir.to_owned())), epoch))
    }

    /// Whether this process waits for the store of a cluster, with nothing in hand.
    pub(crate) fn stands_by() -> bool {
        jetstream::stands_by()
    }

    /// In which epoch of its cluster this process has the store; 0: there is no cluster.
    pub(crate) fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// An empty one, of which nothing outlives its last handle.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        use std::sync::atomic::AtomicU32;
        static STORES: AtomicU32 = AtomicU32::new(0);
        let name = format!("landfall-{}-{}", std::process::id(), STORES.fetch_add(1, Ordering::Relaxed));
        // Made only where slices go to the disk, and removed with the store.
        let spool = Spool::begin(&std::env::temp_dir().join(name));
        Self::over(Sealed::new(Box::<in_memory::InMemory>::default()), spool, None, 0)
    }

    fn over(rows: Sealed, spool: Arc<Spool>, folder: Option<(HeldFolder, PathBuf)>, epoch: u64) -> Self {
        let (folder, data_dir) = folder.unzip();
        let inner = Inner {
            rows,
            spool,
            changing: RwLock::default(),
            settling: Mutex::default(),
            feed: Feed::default(),
            hooks: Hooks::default(),
            audit: Audit::default(),
            keeps_files: AtomicBool::default(),
            knows_other_names: AtomicBool::default(),
            knows_marked: AtomicBool::default(),
            data_dir,
            homes: OnceLock::new(),
            epoch,
            _folder: folder,
        };
        let store = Self { inner: Arc::new(inner) };
        store.inner.hooks.begin(&store);
        store.inner.audit.begin(&store);
        // What cannot be read counts as one: it is told when it is looked up.
        let has_any = |kind: u8| store.keys_beginning_with(&[kind]).next().is_some();
        store.inner.keeps_files.store(has_any(keys::KEPT) || has_any(keys::KEPT_AT), Ordering::Release);
        store.inner.knows_other_names.store(has_any(keys::OTHER_NAMES), Ordering::Release);
        store.inner.knows_marked.store(has_any(keys::MARKED), Ordering::Release);
        store
    }

    /// Refuses a data folder of another user: the service runs as its owner, and so must a command that does the service's work.
    pub(crate) fn check_owner(data_dir: &Path) -> Result<(), StoreError> {
        folder::check_owner(data_dir)
    }

    /// Opens a store for a command: only one that is there, and only as its owner, so that nothing is left behind that
    /// the service's user cannot read.
    pub(crate) fn open_as_owner(service: &Service) -> Result<Self, StoreError> {
        if service.cluster.is_some() {
            folder::check_owner(&service.data_dir)?;
            return Self::of_service(service, WhileTaken::Refuse);
        }
        Self::open_own(&service.data_dir, &service.at_rest)
    }

    fn open_own(data_dir: &Path, at_rest: &AtRest) -> Result<Self, StoreError> {
        folder::check_owner(data_dir)?;
        match self::sled::is_there(data_dir) {
            Ok(true) => Self::open_with(data_dir, at_rest),
            Ok(false) => Err(StoreError::NoStore { data_dir: data_dir.to_owned() }),
            Err(error) => Err(folder::failed("look at", data_dir, error)),
        }
    }

    /// Opens the store in `data_dir` only if there is one, which is ours.
    pub(crate) fn open_if_there(data_dir: &Path, at_rest: &AtRest) -> Result<Option<Self>, StoreError> {
        match Self::open_own(data_dir, at_rest) {
            Ok(store) => Ok(Some(store)),
            Err(StoreError::NoStore { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Public keys by which something in the store of a data folder may be encrypted, where no process has it: nobody need have its keys for
    /// that.
    pub(crate) fn keys_needed_in(data_dir: &Path) -> Result<Vec<String>, StoreError> {
        check_clock(crate::clock::now())?;
        folder::check_owner(data_dir)?;
        match self::sled::is_there(data_dir) {
            Ok(true) => {}
            Ok(false) => return Ok(Vec::new()),
            Err(error) => return Err(folder::failed("look at", data_dir, error)),
        }
        let _held = folder::hold(data_dir)?;
        let rows = Sealed::new(Box::new(Sled::open(data_dir)?));
        Ok(rows.said()?.unwrap_or_default().keys)
    }

    /// Refuses to go on where what was opened is no longer there: everything since would be forgotten.
    pub(crate) fn check_there(&self) -> Result<(), StoreError> {
        self.inner.rows.check_there()
    }

    /// Makes everything written so far durable; concurrent callers share the work.
    ///
    /// A failure is for good: the store takes nothing more, and the service must stop.
    pub fn sync(&self) -> Result<(), StoreError> {
        timed("store", || self.inner.rows.sync())
    }

    /// Makes durable what nobody waits for, and sees that a flush under way comes to its end.
    pub(crate) fn sync_waiting(&self) -> Result<(), StoreError> {
        if self.inner.rows.has_unsynced() { self.sync() } else { Ok(()) }
    }

    /// Returns once rows can be changed: whoever judges several of them against each other does that in moments.
    pub(crate) fn wait_for_changes(&self) {
        drop(self.inner.changing.read());
    }

    /// Begins a set of changes.
    pub fn change(&self) -> Changes<'_> {
        Changes::new(self)
    }

    /// The changes of all jobs from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        let _nothing_is_changed = self.inner.changing.write().unwrap_or_else(PoisonError::into_inner);
        self.inner.feed.subscribe()
    }

    /// A queue for the slices of one job, memory first.
    pub fn slice_queue(&self, memory: Arc<MemoryBudget>, load_ahead: u64) -> SliceQueue {
        SliceQueue::new(self, memory, load_ahead)
    }
}

/// Refuses rows of a later format; marks those of a new store, and says whether it is one.
fn check_format(data_dir: &Path, rows: &dyn Backend) -> Result<bool, StoreError> {
    let Some(mark) = rows.get(keys::FORMAT)? else {
        put_format(rows, FORMAT)?;
        return Ok(true);
    };
    let digits = value::unseal("format mark", &mark)?;
    let found = digits
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| StoreError::corrupt("format mark", "it is no number"))?;
    if found > FORMAT_SEALED {
        return Err(StoreError::Newer { data_dir: data_dir.to_owned(), found, known: FORMAT_SEALED });
    }
    Ok(false)
}

fn put_format(rows: &dyn Backend, format: u32) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.rows.insert(keys::FORMAT.to_vec(), Some(value::seal(&[&format.to_be_bytes()])));
    rows.apply(batch).map(|_: Applied| ())
}

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod values_tests;
