//! The embedded store: SKELETON, owned by the store helper.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::account::{Account, FailedRecord};
use crate::model::fault::{Fault, FaultKind};
use crate::model::identity::FileIdentity;
use crate::model::job::{Entry, Job};
use crate::model::job_id::JobId;
use crate::model::rule::Rule;
use crate::model::slice::Slice;
use crate::output::{Intent, PartialState};

/// The store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SKELETON
    #[error("SKELETON")]
    Skeleton,
}

impl Fault for StoreError {
    fn kind(&self) -> FaultKind { FaultKind::Storage }
}

/// The store of one data folder. Cheap to clone; one process at a time.
#[derive(Clone)]
pub struct Store;

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
}

/// One row per source ever claimed: what it was, what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The job that it became.
    pub job: JobId,
    /// SKELETON: path, identity, rule, outcome, times, content hash.
    pub identity: FileIdentity,
}

/// Several changes that become visible and durable together or not at all.
pub struct Changes<'a> { _store: &'a Store }

impl Store {
    /// Opens or makes the store in `data_dir` (made 0700). Another process that has it is named in the error.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> { let _ = data_dir; unimplemented!() }
    /// Makes everything written so far durable; concurrent callers share one flush and fsync.
    pub fn sync(&self) -> Result<(), StoreError> { unimplemented!() }
    /// Begins a set of changes.
    pub fn change(&self) -> Changes<'_> { unimplemented!() }
    /// A job by id.
    pub fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> { let _ = id; unimplemented!() }
    /// All jobs, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = Result<Job, StoreError>> + use<> { std::iter::empty() }
    /// Jobs that are not in a final state, oldest first (without reading the others).
    pub fn unfinished_jobs(&self) -> Result<Vec<Job>, StoreError> { unimplemented!() }
    /// The snapshot of a rule.
    pub fn rule(&self, hash: &str) -> Result<Option<Rule>, StoreError> { let _ = hash; unimplemented!() }
    /// The job that has this kept file, if any has.
    pub fn kept(&self, identity: &FileIdentity) -> Result<Option<JobId>, StoreError> { let _ = identity; unimplemented!() }
    /// Where a job's checkpoint stands.
    pub fn checkpoint(&self, job: JobId) -> Result<Option<Checkpoint>, StoreError> { let _ = job; unimplemented!() }
    /// What a job is publishing.
    pub fn intent(&self, job: JobId) -> Result<Option<Intent>, StoreError> { let _ = job; unimplemented!() }
    /// A job's failed records, in order.
    pub fn failed_records(&self, job: JobId) -> impl Iterator<Item = Result<FailedRecord, StoreError>> + use<> { let _ = job; std::iter::empty() }
    /// The queue of slices of one job, memory first.
    pub fn slice_queue(&self, job: JobId, memory: Arc<MemoryBudget>, load_ahead: u64) -> SliceQueue { let _ = (job, memory, load_ahead); unimplemented!() }
    /// Removes completed and aborted jobs that finished before then, with all that belongs to them. Failed ones, and those with failed records, stay.
    pub fn forget_finished(&self, before: jiff::Timestamp) -> Result<u64, StoreError> { let _ = before; unimplemented!() }
}

impl Changes<'_> {
    /// Writes a job's row.
    pub fn job(&mut self, job: &Job) -> &mut Self { let _ = job; unimplemented!() }
    /// Writes a rule's snapshot under its hash (once).
    pub fn rule(&mut self, rule: &Rule) -> &mut Self { let _ = rule; unimplemented!() }
    /// Writes a ledger row; with `kept`, also the identity under which a kept file is known.
    pub fn ledger(&mut self, row: &LedgerRow, kept: bool) -> &mut Self { let _ = (row, kept); unimplemented!() }
    /// Writes a checkpoint.
    pub fn checkpoint(&mut self, job: JobId, checkpoint: &Checkpoint) -> &mut Self { let _ = (job, checkpoint); unimplemented!() }
    /// Adds failed records from position `first` on (in chunks of at most 64 KiB).
    pub fn failed_records(&mut self, job: JobId, first: u64, records: &[FailedRecord]) -> &mut Self { let _ = (job, first, records); unimplemented!() }
    /// Writes what a job is publishing.
    pub fn intent(&mut self, job: JobId, intent: &Intent) -> &mut Self { let _ = (job, intent); unimplemented!() }
    /// Removes checkpoint and intent (retired), or also failed records from `from` on (cut back, or a retry: 0).
    pub fn forget_work(&mut self, job: JobId) -> &mut Self { let _ = job; unimplemented!() }
    /// Removes failed records from position `from` on.
    pub fn forget_failed_records(&mut self, job: JobId, from: u64) -> &mut Self { let _ = (job, from); unimplemented!() }
    /// Removes a job that never came to be (its file was not claimed), with its ledger row.
    pub fn unclaim(&mut self, job: JobId) -> &mut Self { let _ = job; unimplemented!() }
    /// Makes the changes visible, all at once; durable after the next `Store::sync`.
    pub fn apply(&mut self) -> Result<(), StoreError> { unimplemented!() }
}

/// Bytes of slices and results in memory, all jobs together.
pub struct MemoryBudget;

impl MemoryBudget {
    /// `memory_max`.
    pub fn new(bytes_max: u64) -> Arc<Self> { let _ = bytes_max; unimplemented!() }
}

/// The slices of one job between loading and work: put in order, taken in order.
pub struct SliceQueue;

impl SliceQueue {
    /// Takes a slice in; in memory, else in sled up to `load_ahead`, else waits. False: the queue was closed by `stop`.
    pub fn put(&self, slice: Slice) -> Result<bool, StoreError> { let _ = slice; unimplemented!() }
    /// No slice follows.
    pub fn end(&self) { unimplemented!() }
    /// The next slice without waiting.
    pub fn take(&self) -> Result<Taken, StoreError> { unimplemented!() }
    /// Ends waiting puts and drops all slices (also those in sled).
    pub fn stop(&self) -> Result<(), StoreError> { unimplemented!() }
    /// (slices that went through sled, bytes in sled now)
    pub fn stored(&self) -> (u64, u64) { unimplemented!() }
}

/// What a queue had.
#[derive(Debug)]
pub enum Taken {
    /// The next slice.
    Slice(Slice),
    /// None yet.
    Empty,
    /// None, and none will come.
    Ended,
}
