//! The process's own limits.

use crate::durable_fs;

/// Enough for some dozens of folders, and for two outputs each of all jobs that are running, settled or being finished at once: some 400.
#[cfg(unix)]
const OPEN_FILES_WANTED: u64 = 1024;

/// Raises the limit of open files as far as the system lets us: each claim folder keeps one for its lock, each running job some.
#[cfg(unix)]
pub(super) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Some(max) = limit.maximum.filter(|max| *max < OPEN_FILES_WANTED) {
        tracing::warn!(
            max,
            hint = "raise it for the service (`ulimit -n`, `LimitNOFILE`)",
            "the limit of open files is low: jobs may have to wait for each other"
        );
    }
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is; raise it for the service's user if there are many folders");
    }
}

/// Claim folders are held by a share of the descriptors; each lock is one.
const CLAIM_FOLDERS_SHARE: u64 = 4;
/// Taking a folder again costs little: more are not worth their memory.
const CLAIM_FOLDERS_MAX: u64 = 4096;

/// So many claim folders are held at once.
pub(super) fn claim_folders_max() -> usize {
    let share = durable_fs::open_files_max().map(|max| max / CLAIM_FOLDERS_SHARE);
    share.unwrap_or(CLAIM_FOLDERS_MAX).min(CLAIM_FOLDERS_MAX) as usize
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub(super) fn raise_open_files() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_folders_leave_most_descriptors_to_the_jobs() {
        let max = claim_folders_max() as u64;
        assert!((1..=CLAIM_FOLDERS_MAX).contains(&max), "{max}");
        assert!(durable_fs::open_files_max().is_none_or(|all| max * 2 <= all), "{max}");
    }
}
