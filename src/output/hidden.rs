//! The names of hidden files: whose they are, and which.

use std::ffi::OsStr;
use std::path::Path;

use crate::model::job_id::JobId;

const PREFIX: &str = ".landfall-";
const SUFFIX: &str = ".partial";

/// The job whose partial has this name.
pub(crate) fn job_of_partial(name: &OsStr) -> Option<JobId> {
    let (job, number) = name.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    number.parse::<u64>().ok()?;
    job.parse().ok()
}

/// Of a partial with this number, or of what becomes a manifest or marker.
pub(super) fn hidden_name(job: JobId, what: &str) -> String {
    format!("{}{what}{SUFFIX}", prefix(job))
}

fn prefix(job: JobId) -> String {
    format!("{PREFIX}{job}-")
}

/// The number in a partial's name, if it is one of this job's.
pub(super) fn number_of(path: &Path, job: JobId) -> Option<u64> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    name.strip_prefix(&prefix(job))?.strip_suffix(SUFFIX)?.parse().ok()
}
