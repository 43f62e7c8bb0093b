//! The making of folders, each durable before anything is put into it.
//!
//! That a folder is there does not say that its name would outlast a power cut: another thread may have made it and still be syncing it, or
//! an earlier process may have died before it did. What is renamed into such a folder would be lost with it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::FsError;
use super::folder_sync::sync_folder;
use super::names::{OpenTo, parent_of};
use super::platform;

/// Folders whose names this process has seen made durable. One that is made goes out first, however it went away before.
static DURABLE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// More are forgotten, and synced once more.
const DURABLE_MAX: usize = 10_000;

/// Makes a folder and its parents, each durable, for these users.
pub(crate) fn make_folder(folder: &Path, open_to: OpenTo) -> Result<(), FsError> {
    make(folder, open_to, None)
}

/// The same of a folder within another one, which is somebody else's and never made: it may have been moved away, or its file system may
/// not be mounted. One that lies elsewhere is made with its parents.
pub(crate) fn make_folder_within(theirs: &Path, folder: &Path, open_to: OpenTo) -> Result<(), FsError> {
    make(folder, open_to, Some(theirs).filter(|theirs| folder.starts_with(theirs)))
}

fn make(folder: &Path, open_to: OpenTo, theirs: Option<&Path>) -> Result<(), FsError> {
    let mut missing = Vec::new();
    for ancestor in folder.ancestors().filter(|a| !a.as_os_str().is_empty()) {
        match platform::folder_identity(ancestor) {
            Ok(Some(_)) => {
                // Those above it were made durable before it was made.
                make_durable(ancestor)?;
                break;
            }
            Ok(None) => {
                return Err(FsError::new("make the folder", folder, io::ErrorKind::NotADirectory.into()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && theirs != Some(ancestor) => {
                missing.push(ancestor);
            }
            Err(error) => return Err(FsError::new("make the folder", folder, error)),
        }
    }
    for wanted in missing.into_iter().rev() {
        durable().remove(wanted);
        match platform::make_one_folder(wanted, open_to) {
            Ok(()) => {}
            // Another thread was faster; it may not have synced yet, so the sync below is ours to do as well.
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && matches!(platform::folder_identity(wanted), Ok(Some(_))) => {}
            Err(error) => return Err(FsError::new("make the folder", wanted, error)),
        }
        sync_folder(parent_of(wanted))?;
        note_durable(wanted);
    }
    Ok(())
}

/// Makes the name of a folder durable that was found.
fn make_durable(folder: &Path) -> Result<(), FsError> {
    if folder.parent().is_none() || durable().contains(folder) {
        return Ok(());
    }
    match sync_folder(parent_of(folder)) {
        // Whoever made it could do more there than this process can.
        Err(error) if !error.is_failed_sync() && error.source.kind() == io::ErrorKind::PermissionDenied => {}
        synced => synced?,
    }
    note_durable(folder);
    Ok(())
}

fn note_durable(folder: &Path) {
    let mut durable = durable();
    if durable.len() >= DURABLE_MAX {
        durable.clear();
    }
    durable.insert(folder.to_owned());
}

fn durable() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    DURABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_durable(folder: &Path) -> bool {
        durable().contains(folder)
    }

    #[test]
    fn a_folder_that_was_found_is_made_durable_before_it_is_used() {
        let world = tempfile::tempdir().expect("a folder");
        let found = world.path().join("found"); // by a thread or a process that did not come to sync it
        std::fs::create_dir(&found).expect("makes");
        assert!(!is_durable(&found));
        make_folder(&found, OpenTo::Group).expect("is there");
        assert!(is_durable(&found));
    }

    #[test]
    fn folders_that_are_made_are_durable_each_before_the_next() {
        let world = tempfile::tempdir().expect("a folder");
        let below = world.path().join("a/b");
        make_folder(&below, OpenTo::Owner).expect("makes");
        assert!(is_durable(world.path()) && is_durable(&world.path().join("a")) && is_durable(&below));
    }

    #[test]
    fn a_folder_that_is_made_anew_is_not_taken_for_durable_before_it_is() {
        let world = tempfile::tempdir().expect("a folder");
        let folder = world.path().join("a");
        make_folder(&folder, OpenTo::Group).expect("makes");
        std::fs::remove_dir(&folder).expect("removes");
        std::fs::write(world.path().join("file"), "").expect("writes");
        make_folder(&world.path().join("file/b"), OpenTo::Group).expect_err("no folder");
        make_folder(&folder, OpenTo::Group).expect("makes");
        assert!(is_durable(&folder) && !is_durable(&world.path().join("file/b")));
    }

    #[test]
    fn a_folder_of_somebody_else_is_never_made_for_what_is_to_lie_within() {
        let world = tempfile::tempdir().expect("a folder");
        let theirs = world.path().join("in");
        let ours = theirs.join(".landfall/quarantine");
        let away = make_folder_within(&theirs, &ours, OpenTo::Owner).expect_err("it is away");
        assert_eq!(away.source.kind(), io::ErrorKind::NotFound);
        assert!(std::fs::symlink_metadata(&theirs).is_err());
        make_folder_within(&theirs, &world.path().join("elsewhere/quarantine"), OpenTo::Owner)
            .expect("that is ours");
        std::fs::create_dir(&theirs).expect("comes back");
        make_folder_within(&theirs, &ours, OpenTo::Owner).expect("makes");
        assert!(ours.is_dir());
    }
}
