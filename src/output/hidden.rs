//! The names of hidden files: whose they are, and which.

use std::ffi::OsStr;
use std::path::Path;

use crate::durable_fs::HIDDEN_PREFIX;
use crate::model::job_id::JobId;

const SUFFIX: &str = ".partial";

/// What hidden files of manifest and marker have in place of a number.
pub(super) const MANIFEST: &str = "manifest";
/// See [`MANIFEST`].
pub(super) const MARKER: &str = "marker";

/// Partials of one epoch of a cluster, at most.
const OF_AN_EPOCH: u32 = 24;

/// Numbers of partials that a node writes which has the cluster in this epoch; 0: there is no cluster.
///
/// A node that another one took the job from may not know it yet: it must not meet the other's partials, nor remove them.
pub(super) fn numbers_of(epoch: u64) -> std::ops::Range<u64> {
    if epoch == 0 { 0..u64::MAX } else { epoch << OF_AN_EPOCH..(epoch + 1) << OF_AN_EPOCH }
}

/// Whether a node of this epoch may remove a hidden file of a job: it is of its own or an earlier one.
pub(super) fn may_remove(path: &Path, job: JobId, epoch: u64) -> bool {
    number_of(path, job).is_none_or(|number| number < numbers_of(epoch).end)
}

/// Whether a partial of a job was begun by a node that had the cluster before this epoch.
pub(crate) fn is_of_earlier(path: &Path, job: JobId, epoch: u64) -> bool {
    epoch > 0 && number_of(path, job).is_some_and(|number| number < numbers_of(epoch).start)
}

pub(crate) fn job_of_partial(name: &OsStr) -> Option<JobId> {
    let (job, number) = name.to_str()?.strip_prefix(HIDDEN_PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    number.parse::<u64>().ok()?;
    job.parse().ok()
}

/// Of a partial with this number, or of what becomes a manifest or marker.
pub(super) fn hidden_name(job: JobId, what: &str) -> String {
    format!("{}{what}{SUFFIX}", prefix(job))
}

fn prefix(job: JobId) -> String {
    format!("{HIDDEN_PREFIX}{job}-")
}

/// Whether a file is a partial of this job, or becomes its manifest or marker.
pub(super) fn is_hidden_of(path: &Path, job: JobId) -> bool {
    number_of(path, job).is_some() || [MANIFEST, MARKER].contains(&what(path, job).unwrap_or_default())
}

/// The number in a partial's name, if it is one of this job's.
pub(super) fn number_of(path: &Path, job: JobId) -> Option<u64> {
    what(path, job)?.parse().ok()
}

fn what(path: &Path, job: JobId) -> Option<&str> {
    path.file_name()?.to_str()?.strip_prefix(&prefix(job))?.strip_suffix(SUFFIX)
}
