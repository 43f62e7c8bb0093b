//! What belongs to a source and goes where it goes: markers, totals.

use std::path::Path;

use super::source::look_at;
use super::trouble::Trouble;
use crate::durable_fs::{self, Renamed};
use crate::model::job::{Companion, Job};
use crate::store::Store;

/// Where a source's companions lie now, each with its own name.
pub(super) fn claimed_companions(job: &Job) -> impl Iterator<Item = (&Path, &Path)> {
    let claimed = |companion: &'_ Companion| companion.claimed.is_some();
    job.source.companions.iter().filter(move |companion| claimed(companion)).filter_map(|companion| {
        companion.claimed.as_ref().map(|claimed| (claimed.as_path(), companion.path.as_path()))
    })
}

/// Takes a source's companions with it. A newer file of a companion's name belongs to the next source and stays.
pub(super) fn take_companions(job: &Job) -> Result<(), Trouble> {
    for companion in &job.source.companions {
        let Some(claimed) = &companion.claimed else { continue };
        let path = companion.path.as_path();
        let found = look_at(path)?;
        // Not by its times: a marker is seen while it is made, and gets them a moment later (`touch`).
        if found.is_some_and(|found| found.same_file(&companion.identity)) {
            durable_fs::rename_no_replace(path, claimed.as_path())?;
        }
    }
    Ok(())
}

/// Renames a source's companions to where they lay; where a newer one has the name, ours means nothing any more.
pub(super) fn return_companions(job: &Job) -> Result<(), Trouble> {
    for (companion, lay) in claimed_companions(job) {
        if durable_fs::rename_no_replace(companion, lay)? == Renamed::NameTaken {
            durable_fs::remove_file(companion)?;
        }
    }
    Ok(())
}

/// Moves what belongs to the source, its totals for instance, from quarantine to its claimed name; what is gone is gone. May be repeated.
pub(super) fn bring_companions(store: &Store, job: &mut Job) -> Result<(), Trouble> {
    let mut changed = false;
    for companion in &mut job.source.companions {
        let (Some(claimed), Some(from)) = (&companion.claimed, companion.retired_to.take()) else { continue };
        changed = true;
        if durable_fs::move_file(from.as_path(), claimed.as_path())? == Renamed::NameTaken {
            tracing::warn!(job = %job.id, path = %from, "stays where it lies: its claimed name is taken");
        }
        // An operator may have mended it.
        if let Some(found) = look_at(claimed.as_path())? {
            companion.identity = found;
        }
    }
    if changed {
        store.change().job(job).apply()?;
    }
    Ok(())
}
