//! Files and folders, one at a time, as each system does it.

use std::fs::File;
use std::io;
use std::path::Path;

use super::error::{FsError, SYNC};
use super::folder_sync::sync_folder;
use super::names::{Entry, Kind, Reach, parent_of};
#[cfg(unix)]
use super::unix as platform;
use super::whereabouts::note_place;
#[cfg(windows)]
use super::windows as platform;
use crate::model::identity::{FileIdentity, FolderIdentity};

/// How many files the process may have open; none: any number.
pub(crate) fn open_files_max() -> Option<u64> {
    platform::open_files_max()
}

/// Makes the content of an open file durable, and its size; `path` is for the message.
pub fn sync_data(file: &File, path: &Path) -> Result<(), FsError> {
    note_place(path);
    file.sync_data().map_err(|e| FsError::new(SYNC, path, e))
}

/// Makes the content of an open file durable, and everything about it; `path` is for the message.
pub(crate) fn sync_all(file: &File, path: &Path) -> Result<(), FsError> {
    note_place(path);
    file.sync_all().map_err(|e| FsError::new(SYNC, path, e))
}

/// Asks the kernel to begin writing a part of a file, so that a later sync is short. A hint: nothing is promised.
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    platform::start_writeback(file, offset, length);
}

/// Writes bytes at a place of a file, whatever else is read or written there.
pub(crate) fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    platform::write_at(file, at, bytes)
}

/// Fills the buffer from a place of a file.
pub(crate) fn read_at(file: &File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    platform::read_at(file, at, bytes)
}

/// Asks the kernel to drop what it has in memory of a file and need not write any more, so that the next read is of the disk. After a
/// failed sync the two may differ (Linux; elsewhere nothing is done).
pub(crate) fn forget_cached(file: &File) {
    platform::forget_cached(file);
}

/// Gives a file its Unix permissions, whatever the umask says (nothing to do on Windows).
pub(crate) fn set_mode(file: &File, path: &Path, mode: u32) -> Result<(), FsError> {
    platform::set_mode(file, mode).map_err(|e| FsError::new("set the permissions of", path, e))
}

/// Makes a folder and its parents, each durable; `private`: mode 0700 for those that are made.
pub(crate) fn make_folder(folder: &Path, private: bool) -> Result<(), FsError> {
    let mut missing = Vec::new();
    for ancestor in folder.ancestors().filter(|a| !a.as_os_str().is_empty()) {
        match platform::folder_identity(ancestor) {
            Ok(Some(_)) => break,
            Ok(None) => {
                return Err(FsError::new("make the folder", folder, io::ErrorKind::NotADirectory.into()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(ancestor),
            Err(error) => return Err(FsError::new("make the folder", folder, error)),
        }
    }
    for wanted in missing.into_iter().rev() {
        match platform::make_one_folder(wanted, private) {
            Ok(()) => {}
            // Another thread was faster; it may not have synced yet, so the sync below is ours to do as well.
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && matches!(platform::folder_identity(wanted), Ok(Some(_))) => {}
            Err(error) => return Err(FsError::new("make the folder", wanted, error)),
        }
        sync_folder(parent_of(wanted))?;
    }
    Ok(())
}

/// Removes a file; not finding it is fine. Does not sync the folder.
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    match platform::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FsError::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// The identity of an open file.
pub fn identity(file: &File) -> io::Result<FileIdentity> {
    platform::identity(file)
}

/// The identity of what lies at a path, links not followed; none where nothing lies or where it is no regular file.
pub(crate) fn identity_at(path: &Path) -> io::Result<Option<FileIdentity>> {
    match platform::identity_at(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        found => found,
    }
}

/// The identity of a folder, links followed; none where nothing lies or where it is no folder.
pub(crate) fn folder_identity(folder: &Path) -> io::Result<Option<FolderIdentity>> {
    match platform::folder_identity(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        found => found,
    }
}

/// Makes a new file, in the place of what had its name, that only its owner can read until its mode is set.
pub fn create_private(path: &Path) -> Result<File, FsError> {
    platform::create_private(path).map_err(|e| FsError::new("create", path, e))
}

/// Opens a source for reading: no link, and no pipe or device that somebody put in its place.
pub(crate) fn open_source(path: &Path) -> io::Result<File> {
    platform::open_source(path)
}

/// Opens whatever lies there for reading, without following a link or waiting for a pipe's other end.
#[cfg(unix)]
pub(crate) fn open_unblocked(path: &Path) -> io::Result<File> {
    platform::open_unblocked(path)
}

/// Opens for reading a small file that only this service writes.
pub(crate) fn open_own(path: &Path) -> io::Result<File> {
    platform::open_own(path, false)
}

/// Lists a folder as a stream; what vanishes meanwhile is left out.
pub(crate) fn list(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
    platform::Listing::of(folder)
}

/// What lies at a path, links not followed; none where nothing does.
pub(crate) fn kind_at(path: &Path) -> io::Result<Option<Kind>> {
    match platform::kind_at(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// Whether a file has more names than one: who has another of them can change it wherever it is moved. Not where nothing lies.
pub(crate) fn has_other_names(path: &Path) -> Result<bool, FsError> {
    match platform::link_count(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        names => names.map(|names| names > 1).map_err(|e| FsError::new("look at", path, e)),
    }
}

/// Takes a file out of others' reach as far as this user may: it becomes his, and only he may write it. Nothing there: none.
pub(crate) fn take_over(path: &Path) -> Result<Reach, FsError> {
    match platform::take_over(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Reach::None),
        taken => taken.map_err(|e| FsError::new("take over", path, e)),
    }
}

/// Whether a file belongs to another user. Not to root: that may take it.
pub(crate) fn is_foreign(path: &Path) -> bool {
    platform::is_foreign(path)
}

/// Whether an open file was removed, or another put in its place: it is gone with whoever has it open. Unknown counts as no.
pub(crate) fn has_no_name(file: &File) -> bool {
    platform::has_no_name(file)
}

/// Lets nobody else write what this process makes, whatever the umask that it was started under. Once, at the start.
pub(crate) fn narrow_umask() {
    platform::narrow_umask();
}

/// Refuses a folder that is not the service's own, or that others can write into.
pub(crate) fn check_own_folder(folder: &Path) -> Result<(), FsError> {
    platform::check_own_folder(folder).map_err(|error| FsError::new("use the folder", folder, error))
}

pub(super) fn is_missing(path: &Path) -> Result<bool, FsError> {
    match platform::kind_at(path) {
        Ok(_) => Ok(false),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Ok(true),
        Err(error) => Err(FsError::new("look at", path, error)),
    }
}

/// Which folder this is, none where nothing lies; refused where it is not the service's own, or others can write into it.
pub(crate) fn own_folder(folder: &Path) -> Result<Option<FolderIdentity>, FsError> {
    match platform::own_folder(folder) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            // Nothing, or something else that has the name.
            match kind_at(folder) {
                Ok(None) => Ok(None),
                Ok(Some(_)) => check_own_folder(folder).and(Ok(None)),
                Err(error) => Err(FsError::new("look at the folder", folder, error)),
            }
        }
        Err(error) => Err(FsError::new("use the folder", folder, error)),
    }
}
