//! Outputs that are kept in the data folder (`keep_output = "store"`): they go with the rows of their jobs.
//!
//! The rows go first, durably: a crash in between leaves a folder that the next look finds.

use std::io;
use std::str::FromStr as _;

use jiff::Timestamp;

use super::shared::Shared;
use super::trouble::Trouble;
use crate::durable_fs::{self, FsError};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::OUTPUTS_FOLDER;

/// Removes those of jobs that are listed no more. One that is newer than what is forgotten stays all the same: a store that was restored
/// from a backup may not know its job.
pub(super) fn forget(shared: &Shared, before: Timestamp) -> Result<(), Trouble> {
    let folder = shared.service.data_dir.join(OUTPUTS_FOLDER);
    let before_ms = u64::try_from(before.as_millisecond()).unwrap_or(0);
    let entries = match durable_fs::list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| FsError::new("list", &folder, error))?,
    };
    let mut failed = None;
    let mut is_synced = false;
    for entry in entries {
        let entry = entry.map_err(|error| FsError::new("list", &folder, error))?;
        let name = entry.path.file_name().and_then(|name| name.to_str());
        let Some(id) = name.and_then(|name| JobId::from_str(name).ok()) else { continue };
        let job = shared.store.job(id)?;
        if job.as_ref().is_some_and(|job| is_over(job.state.get())) {
            std::fs::remove_dir(&entry.path).ok(); // only where nothing lies in it: its hidden files are gone
        }
        if id.unix_ms() < before_ms && job.is_none() {
            // A row that a power cut brought back would be without them.
            if !std::mem::replace(&mut is_synced, true) {
                shared.store.sync()?;
            }
            let path = &entry.path;
            match std::fs::remove_dir_all(path) {
                Ok(()) => tracing::debug!(job = %id, "its outputs in the store are removed with it"),
                // Somebody may be reading one: the next look removes it.
                Err(error) => failed = Some(FsError::new("remove", path, error)),
            }
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Whether a job writes nothing there any more.
fn is_over(state: JobState) -> bool {
    matches!(state, JobState::Completed | JobState::Aborted)
}

/// Removes those of these jobs, whose rows are durably gone; says of which none is left, durably.
pub(super) fn remove(shared: &Shared, jobs: &[JobId]) -> Result<Vec<JobId>, Trouble> {
    let folder = shared.service.data_dir.join(OUTPUTS_FOLDER);
    let mut gone = Vec::with_capacity(jobs.len());
    let mut is_changed = false;
    for id in jobs {
        let path = folder.join(id.to_string());
        match std::fs::remove_dir_all(&path) {
            Ok(()) => is_changed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Somebody may be reading one: the next look removes it.
            Err(error) => {
                tracing::warn!(job = %id, path = %path.display(), %error, "outputs in the store are not removed yet");
                continue;
            }
        }
        gone.push(*id);
    }
    if is_changed {
        durable_fs::sync_folder(&folder)?;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn outputs_of_jobs_that_are_listed_or_too_new_stay_and_so_does_what_is_no_jobs() {
        let world = World::new();
        let shared = &world.shared;
        assert!(forget(shared, Timestamp::MAX).is_ok(), "there are none yet");
        let outputs = shared.service.data_dir.join(OUTPUTS_FOLDER);
        let listed = world.job();
        shared.store.change().job(&listed).apply().expect("is written");
        let (old, new) = (JobId::from_parts(1_000, 7), JobId::from_parts(9_000, 7));
        let names = [listed.id.to_string(), old.to_string(), new.to_string(), "lost+found".to_owned()];
        for name in &names {
            std::fs::create_dir_all(outputs.join(name)).expect("makes");
            std::fs::write(outputs.join(name).join("main.zst"), "x").expect("writes");
        }
        let before = Timestamp::from_millisecond(5_000).expect("is one");
        forget(shared, before).expect("removes");
        let left = names.each_ref().map(|name| outputs.join(name).is_dir());
        assert_eq!(left, [true, false, true, true]);
    }
}
