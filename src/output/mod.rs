//! File names, partials, codecs and publishing: SKELETON, owned by the output helper.
//!
//! Order of durable steps, per job: partials are appended to (worker threads, in slice order); a checkpoint syncs what
//! it names; `finish` syncs everything; the engine makes the `Intent` durable in the store; `roll_forward` renames and syncs folders.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::category::Category;
use crate::model::fault::{Fault, FaultKind};
use crate::model::job::{Job, PublishedOutput};
use crate::model::os_text::OsText;
use crate::model::rule::Rule;

/// An output cannot be written or published.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// SKELETON
    #[error(transparent)]
    Fs(#[from] crate::durable_fs::FsError),
}

impl Fault for OutputError {
    fn kind(&self) -> FaultKind { unimplemented!() }
}

/// A rule's outputs, checked and parsed; shared.
pub struct OutputPlan;

impl OutputPlan {
    /// Parses templates and recipients. `categories` fixes the order that `append` uses.
    pub fn build(rule: &Rule, categories: &[Category]) -> Result<Self, OutputError> { let _ = (rule, categories); unimplemented!() }
    /// Whether a job can go on from a checkpoint (no output is age-encrypted).
    pub fn resumable(&self) -> bool { unimplemented!() }
    /// Encodes a slice's chunk as far as a worker can by itself (gzip: sync-flushed deflate blocks and their CRC). Called on workers.
    pub fn encode(&self, category: usize, raw: Vec<u8>, records: u64) -> EncodedChunk { let _ = (category, raw, records); unimplemented!() }
}

/// What a worker hands to the partials.
pub struct EncodedChunk;

impl EncodedChunk {
    /// Bytes of memory it holds.
    pub fn memory_bytes(&self) -> u64 { unimplemented!() }
}

/// The output files of one job while they are being written.
pub struct Partials;

/// Where a partial stood at a checkpoint: everything needed to cut it back and go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialState {
    /// Position of its category.
    pub category: Category,
    /// Its entry, where the template has `{entry}`.
    pub entry: Option<EntryName>,
    /// The partial's own path.
    pub partial: OsText,
    /// Synced bytes.
    pub length: u64,
    /// Records in them.
    pub records: u64,
    // SKELETON: gzip CRC and length so far, sha256 state is not kept (recomputed by reading), header written or not, ...
}

/// An entry of the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryName {
    /// Position within the source.
    pub position: u32,
    /// Its raw name.
    pub name: OsText,
}

impl Partials {
    /// No partial yet. Old partials of this job that `resume` does not name are removed.
    pub fn start(plan: Arc<OutputPlan>, rule: Arc<Rule>, job: &Job) -> Result<Self, OutputError> { let _ = (plan, rule, job); unimplemented!() }
    /// Opens the partials of a checkpoint and cuts them back to it.
    pub fn resume(plan: Arc<OutputPlan>, rule: Arc<Rule>, job: &Job, states: &[PartialState]) -> Result<Self, OutputError> { let _ = (plan, rule, job, states); unimplemented!() }
    /// A new entry begins: `headers` by category position. One output over several entries writes it once and refuses a differing one.
    pub fn begin_entry(&mut self, entry: &EntryName, headers: &[Option<Vec<u8>>]) -> Result<(), OutputError> { let _ = (entry, headers); unimplemented!() }
    /// Appends a slice's chunk of the current entry; called in slice order.
    pub fn append(&mut self, category: usize, chunk: EncodedChunk) -> Result<(), OutputError> { let _ = (category, chunk); unimplemented!() }
    /// The state to put in a checkpoint (streams and frames are ended here), and what must be synced before it counts.
    pub fn checkpoint(&mut self) -> Result<(Vec<PartialState>, PendingSync), OutputError> { unimplemented!() }
    /// Ends all outputs, makes those of `empty = "write"`, syncs files. The result is what can be published.
    pub fn finish(&mut self) -> Result<Vec<FinishedOutput>, OutputError> { unimplemented!() }
    /// Removes every partial (a failed job).
    pub fn discard(self) -> Result<(), OutputError> { unimplemented!() }
}

/// Descriptors whose data must be durable before a checkpoint counts; synced on another thread.
pub struct PendingSync;

impl PendingSync {
    /// fdatasync of each.
    pub fn sync(self) -> Result<(), OutputError> { unimplemented!() }
}

/// A complete, synced partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedOutput {
    /// The hidden file.
    pub partial: OsText,
    /// What it will be; `path` is the wanted final path until the intent chooses.
    pub output: PublishedOutput,
}

/// The durable word on what is being published: partials and their final names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// In the order of publishing.
    pub outputs: Vec<FinishedOutput>,
    // SKELETON: manifest and marker paths, ...
}

impl Intent {
    /// Chooses the final names by `on_exists`; two outputs of one job in one path, or `fail` with a taken name, are errors.
    pub fn choose(rule: &Rule, job: &Job, finished: Vec<FinishedOutput>) -> Result<Self, OutputError> { let _ = (rule, job, finished); unimplemented!() }
    /// Renames everything into place and syncs the folders; idempotent. `NameTaken` leads to new names in `self`, to be made
    /// durable by the caller before it is called again.
    pub fn roll_forward(&mut self, rule: &Rule) -> Result<RolledForward, OutputError> { let _ = rule; unimplemented!() }
    /// Writes manifest, then marker; idempotent. `job_json` is what goes into the manifest.
    pub fn signal(&self, rule: &Rule, job: &Job, job_json: &[u8]) -> Result<(), OutputError> { let _ = (rule, job, job_json); unimplemented!() }
}

/// How a roll-forward ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolledForward {
    /// Everything is there and durable.
    Done,
    /// Another file took a name in the meantime: names were chosen anew.
    ChoseAgain,
}

/// For callers that show where outputs would go.
pub fn final_path(rule: &Rule, job: &Job, category: &Category, entry: Option<&OsText>) -> Result<std::path::PathBuf, OutputError> { let _ = (rule, job, category, entry, Path::new("")); unimplemented!() }
