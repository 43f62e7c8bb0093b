//! Where outputs go: what everything else in `output` asks of the place.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::OutputError;
use crate::durable_fs::{FolderRound, FsError, Renamed};
use crate::model::identity::{FileIdentity, FolderIdentity};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;

/// Where the outputs of a rule are written and appear.
///
/// It exists so that devices, inodes, mounts, links, renames and syncs of folders are known to `folder` alone, and an object store can
/// stand in its place: there a hidden output is a multipart upload, what is appended its parts, `publish` completes it, and `discard` aborts
/// it.
///
/// # What it promises
/// - A hidden output is seen by nobody, and a published one is seen whole.
/// - What was synced outlasts a power cut: content by [`Durable::sync`] and [`Upload::complete`], that it can be found again by
///   [`Self::sync_names`], a published name by [`Self::sync_published`].
/// - A [`Hidden`] that was stored finds its output in another process too, and tells what became of it ([`Standing`]).
/// - Each call can be repeated after a crash, and then leads to the same end.
pub(super) trait Destination: Send {
    /// Begins a hidden output that can become `path`; `what` tells it from the job's others. What an earlier run left of it is emptied.
    fn create(
        &mut self,
        job: JobId,
        what: &str,
        path: &Path,
    ) -> Result<(Hidden, Arc<dyn Upload>), OutputError>;

    /// Goes on with a hidden output at the length that a checkpoint has; what was appended since is dropped.
    fn resume(&mut self, hidden: &Hidden, length: u64) -> Result<(Hidden, Arc<dyn Upload>), OutputError>;

    /// That the outputs which were created are found again.
    fn names(&self) -> Arc<dyn Durable>;

    /// The same for all outputs of the job. Jobs that are published together share a round, so that each folder is synced once.
    fn sync_names(&self, round: &mut FolderRound) -> Result<(), OutputError>;

    /// A complete hidden output with what tells it from any other from now on; refused unless it has this length.
    fn identified(&self, hidden: &Hidden, length: u64) -> Result<Hidden, OutputError>;

    /// What lies in a hidden output.
    fn read(&self, hidden: &Hidden) -> io::Result<Box<dyn Read>>;

    /// Writes all of a small hidden output anew, durably; left alone is one that consumers may see as `path` already.
    fn write(&self, hidden: &Hidden, path: &Path, bytes: &[u8], mode: u32) -> Result<(), OutputError>;

    /// Whether a hidden output can still become `path`.
    fn is_beside(&self, hidden: &Hidden, path: &Path) -> bool;

    fn is_taken(&self, path: &Path) -> Result<bool, OutputError>;

    /// What became of a hidden output that was to become `path`.
    fn standing(&self, hidden: &Hidden, path: &Path) -> Result<Standing, OutputError>;

    /// Gives a hidden output its name, or says that the name is taken.
    fn publish(&self, hidden: &Hidden, path: &Path, replaces: bool) -> Result<Renamed, FsError>;

    /// Makes a published name durable. `may_be_away`: nothing is to be done where its folder is not there.
    fn sync_published(
        &self,
        path: &Path,
        may_be_away: bool,
        round: &mut FolderRound,
    ) -> Result<(), OutputError>;

    /// Takes away what was published under this name, durably.
    fn retract(&self, path: &Path) -> Result<(), OutputError>;

    /// Removes a hidden output that nobody writes.
    fn remove(&self, hidden: &Hidden) -> Result<(), OutputError>;

    /// Removes the job's hidden outputs that could become one of `paths`, those in `kept` excepted.
    fn clear(
        &self,
        job: &Job,
        paths: &mut dyn Iterator<Item = Result<PathBuf, OutputError>>,
        kept: &[&Hidden],
    ) -> Result<(), OutputError>;

    /// Removes all hidden outputs that the job has here, also where the place was moved meanwhile. An error where one of `written` is away.
    fn discard(&self, job: &Job, written: &[Hidden]) -> Result<(), OutputError>;
}

/// Something that is to be durable; synced on whatever thread.
pub(super) trait Durable: Send + Sync {
    /// Makes it durable as it is now.
    fn sync(&self) -> Result<(), OutputError>;
}

/// A hidden output that is being written. What is appended by one call is large.
pub(super) trait Upload: Durable {
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Begins to make these bytes durable, and waits for nothing.
    fn hasten(&self, from: u64, length: u64);

    /// Nothing more comes; consumers get these permissions.
    fn end(&self, length: u64, mode: u32) -> Result<(), OutputError>;

    /// Makes it durable after its end.
    fn complete(&self) -> Result<(), OutputError>;
}

/// What a row has of a hidden output: enough to find it again, and to tell it from another in its place.
///
/// It is a folder's today. Another destination has its own (the id of an upload), and this becomes one of either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// Where it lies.
    pub path: OsText,
    /// Of its folder, when it was created.
    pub folder: FolderIdentity,
    /// Of itself, once it is complete. One whose content is known and written again has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<FileIdentity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is there, and not published.
    Hidden,
    /// Another lies in its place.
    Replaced,
    Published,
    /// It has neither name: it was published and taken away, or removed.
    Gone,
    /// Its destination is another one, or away: nothing is known.
    Away,
}
