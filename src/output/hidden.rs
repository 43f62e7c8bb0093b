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
