//! Changes to the file system that survive a power cut.
//!
//! A rename is durable once its folder was synced, a file once its data and its folder were. The single renames here do not
//! sync folders (their callers rename many and sync once); what is called a move, or writes a whole file, does.
//!
//! Nothing but [`rename_replace`] and [`write_file`] with `replace` ever puts a file over another. Everything may be called
//! again after a crash. A failed sync is told apart ([`FsError::is_failed_sync`]): the kernel may have dropped what it
//! could not write, so trying again would report success for lost data.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::model::fault::{Fault, FaultKind, WaitsFor};
use crate::model::identity::{FileIdentity, FolderIdentity};
use crate::model::os_text::escaped_path;

#[cfg(unix)]
mod fuse;
mod held;
#[cfg(target_os = "linux")]
mod kept;
mod landing;
mod mounts;
mod moving;
#[cfg(target_os = "linux")]
mod reach;
#[cfg(not(target_os = "linux"))]
#[path = "reach_by_path.rs"]
mod reach;
mod rounds;
#[cfg(unix)]
mod shared_sync;
mod space;
#[cfg(unix)]
mod unix;
mod whereabouts;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

pub use held::{HeldFolder, Hold, Holder, hold_folder, was_held};
#[cfg(target_os = "linux")]
pub use kept::{KeepsReached, keep_reached};
pub use landing::{CLAIM_FOLDER, add_landing_root, is_in_landing_root};
pub use mounts::Mounts;
pub use moving::{Moving, move_by, move_file, move_unsynced, remove_for_good};
#[cfg(not(target_os = "linux"))]
pub use reach::{KeepsReached, keep_reached};
pub use rounds::FolderRound;
pub use space::{Room, is_mount_point, room_at};
pub use whereabouts::{leave_place, note_place, place_of};

/// The action of an [`FsError`] after which nothing may be trusted.
const SYNC: &str = "sync";

/// A file operation that failed: what was tried, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}{}", escaped_path(path), to.as_deref().map(|to| format!(" to {}", escaped_path(to))).unwrap_or_default())]
pub struct FsError {
    /// An infinitive phrase: `rename`, `sync`.
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Where to, of a rename or a move.
    pub to: Option<PathBuf>,
    /// Why.
    pub source: io::Error,
}

impl FsError {
    /// An error of `action` at `path`.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), to: None, source }
    }

    /// An error of `action` from one place to another.
    pub fn between(action: &'static str, from: &Path, to: &Path, source: io::Error) -> Self {
        Self { action, path: from.to_owned(), to: Some(to.to_owned()), source }
    }

    /// Which of the two folders is in the way; none where neither is, or where what was refused says itself what to do.
    fn hint_between(&self) -> Option<String> {
        if landing::hint_of(&self.source).is_some() {
            return None;
        }
        let (old, new) = (parent_of(&self.path), parent_of(self.to.as_ref()?));
        match self.source.kind() {
            io::ErrorKind::PermissionDenied => {
                let mut closed: Vec<String> =
                    [old, new].into_iter().filter(|folder| !may_write_in(folder)).map(escaped_path).collect();
                closed.dedup();
                (!closed.is_empty()).then(|| {
                    format!(
                        "let the service's user write in {}; what waits goes on by itself",
                        closed.join(" and in ")
                    )
                })
            }
            io::ErrorKind::NotFound => {
                Some(format!("check that {} is there and its file system is mounted", escaped_path(new)))
            }
            _ => None,
        }
    }

    /// Whether an fsync failed: what was written before may be lost, and the service must stop instead of trying again.
    pub fn is_failed_sync(&self) -> bool {
        self.action == SYNC
    }
}

impl Fault for FsError {
    fn kind(&self) -> FaultKind {
        FaultKind::Storage
    }

    fn hint(&self) -> Option<String> {
        if self.is_failed_sync() {
            let hint = "look at that disk (room, errors in the system's log), then start the service again: it recovers everything";
            return Some(hint.to_owned());
        }
        Some(self.hint_between().unwrap_or_else(|| hint_of(&self.source).to_owned()))
    }

    fn waits_for(&self) -> WaitsFor {
        waits_for(&self.source)
    }
}

/// What a job waits for after an error of the file system.
pub fn waits_for(error: &io::Error) -> WaitsFor {
    if is_out_of_descriptors(error) {
        return WaitsFor::Retry;
    }
    if platform::is_link_loop(error) {
        return WaitsFor::Config;
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename => WaitsFor::Config,
        io::ErrorKind::StaleNetworkFileHandle
        | io::ErrorKind::NotConnected
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::TimedOut => WaitsFor::Mount,
        io::ErrorKind::OutOfMemory
        | io::ErrorKind::ResourceBusy
        | io::ErrorKind::ExecutableFileBusy
        | io::ErrorKind::WouldBlock
        | io::ErrorKind::Interrupted => WaitsFor::Retry,
        _ => WaitsFor::Disk,
    }
}

/// How many files the process may have open; none: any number.
pub fn open_files_max() -> Option<u64> {
    platform::open_files_max()
}

/// What an operator can do about an error of the file system.
pub fn hint_of(error: &io::Error) -> &'static str {
    if let Some(hint) = landing::hint_of(error) {
        return hint;
    }
    if is_out_of_descriptors(error) {
        return "raise the limit of open files of the service (`ulimit -n`, `LimitNOFILE`); until then it goes on as files are closed";
    }
    if platform::is_link_loop(error) {
        return "take the symbolic link away that lies there: none is followed in this place; what waits goes on by itself";
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on that disk; what waits goes on by itself"
        }
        io::ErrorKind::PermissionDenied => {
            "let the service's user into that folder, and write there; what waits goes on by itself"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount that file system writable; what waits goes on by itself",
        io::ErrorKind::NotFound => "check that the folder is there and its file system is mounted",
        io::ErrorKind::NotADirectory => {
            "take the file away that lies where a folder is wanted; what waits goes on by itself"
        }
        io::ErrorKind::StaleNetworkFileHandle
        | io::ErrorKind::NotConnected
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::TimedOut => {
            "mount that file system again, or look at its server; what waits goes on by itself"
        }
        io::ErrorKind::IsADirectory => {
            "take the folder away that lies where a file is wanted; what waits goes on by itself"
        }
        io::ErrorKind::InvalidFilename => {
            "shorten the name: set the rule's path so that it fits that file system"
        }
        io::ErrorKind::FileTooLarge => {
            "that file system takes no file of this size: choose another one for this path"
        }
        io::ErrorKind::OutOfMemory => {
            "give the service, or the machine, more memory; what waits goes on by itself"
        }
        io::ErrorKind::ResourceBusy | io::ErrorKind::ExecutableFileBusy | io::ErrorKind::WouldBlock => {
            "somebody else holds that file; what waits goes on by itself when it is let go"
        }
        io::ErrorKind::Interrupted => "nothing is to be done: it is tried again by itself",
        _ => "look at the disk and at the system's log; what waits goes on by itself when it works again",
    }
}

/// Whether this process may make and rename files in a folder, by its rights as they are; where nobody can tell, it may.
pub fn may_write_in(folder: &Path) -> bool {
    platform::may(folder, true)
}

/// Whether this process may list a folder and go into it.
pub fn may_list(folder: &Path) -> bool {
    platform::may(folder, false)
}

/// Whether the process, or the whole system, has as many files open as it may.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    platform::is_out_of_descriptors(error)
}

/// What became of a rename that must not replace anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renamed {
    /// The file has its new name.
    Done,
    /// The new name is taken; nothing happened.
    NameTaken,
    /// There is no file under the old name; nothing happened.
    Missing,
}

/// Renames on one file system, never over an existing file. Does not sync folders.
///
/// Where the file system has no such rename, a hard link and an unlink stand in, and without hard links an empty file, made
/// exclusively, that the rename then replaces. A crash between link and unlink leaves both names on one file: the next call finishes it.
pub fn rename_no_replace(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    platform::rename_no_replace(from, to)
}

/// Renames over whatever is there, atomically. Does not sync folders.
pub fn rename_replace(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    match platform::rename_replace(from, to) {
        Ok(()) => Ok(Renamed::Done),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_missing(from)? => Ok(Renamed::Missing),
        Err(error) => Err(FsError::between("rename", from, to, error)),
    }
}

/// Makes the names in a folder durable (nothing to do on Windows).
pub fn sync_folder(folder: &Path) -> Result<(), FsError> {
    platform::sync_folder(folder)
}

/// Makes the content of an open file durable, and its size; `path` is for the message.
pub fn sync_data(file: &File, path: &Path) -> Result<(), FsError> {
    note_place(path);
    file.sync_data().map_err(|e| FsError::new(SYNC, path, e))
}

/// Makes the content of an open file durable, and everything about it; `path` is for the message.
pub fn sync_all(file: &File, path: &Path) -> Result<(), FsError> {
    note_place(path);
    file.sync_all().map_err(|e| FsError::new(SYNC, path, e))
}

/// Asks the kernel to begin writing a part of a file, so that a later sync is short. A hint: nothing is promised.
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    platform::start_writeback(file, offset, length);
}

/// Writes bytes at a place of a file, whatever else is read or written there.
pub fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    platform::write_at(file, at, bytes)
}

/// Fills the buffer from a place of a file.
pub fn read_at(file: &File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    platform::read_at(file, at, bytes)
}

/// Asks the kernel to drop what it has in memory of a file and need not write any more, so that the next read is of the disk. After a
/// failed sync the two may differ (Linux; elsewhere nothing is done).
pub fn forget_cached(file: &File) {
    platform::forget_cached(file);
}

/// Gives a file its Unix permissions, whatever the umask says (nothing to do on Windows).
pub fn set_mode(file: &File, path: &Path, mode: u32) -> Result<(), FsError> {
    platform::set_mode(file, mode).map_err(|e| FsError::new("set the permissions of", path, e))
}

/// Makes a folder and its parents, each durable; `private`: mode 0700 for those that are made.
pub fn make_folder(folder: &Path, private: bool) -> Result<(), FsError> {
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
pub fn identity_at(path: &Path) -> io::Result<Option<FileIdentity>> {
    match platform::identity_at(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        found => found,
    }
}

/// The identity of a folder, links followed; none where nothing lies or where it is no folder.
pub fn folder_identity(folder: &Path) -> io::Result<Option<FolderIdentity>> {
    match platform::folder_identity(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        found => found,
    }
}

/// Writes a small file durably under its final name (hidden partial, fsync, rename, folder sync).
///
/// `Done`, or `NameTaken` where a file lies there and `replace` is false. `mode` are Unix permissions, the umask aside.
pub fn write_file(path: &Path, bytes: &[u8], replace: bool, mode: u32) -> Result<Renamed, FsError> {
    let partial = PartialName::of(path);
    let partial = partial.0.as_path();
    write_partial(partial, bytes, mode)?;
    let renamed = if replace { rename_replace(partial, path)? } else { rename_no_replace(partial, path)? };
    match renamed {
        Renamed::Done => sync_folder(parent_of(path))?,
        Renamed::NameTaken => remove_file(partial)?,
        Renamed::Missing => return Err(FsError::new("rename", partial, io::ErrorKind::NotFound.into())),
    }
    Ok(renamed)
}

/// Names of partials that are being written by this process.
static BEING_WRITTEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The name of a small file's partial. Two threads may write the same path at once, and each needs its own; else it is always the
/// first one, so that what a crash left is met and replaced by the next write.
struct PartialName(PathBuf);

impl PartialName {
    fn of(path: &Path) -> Self {
        let mut names = BEING_WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut number = 0_u64;
        loop {
            let name = hidden_sibling(path, path, &format!("{number}.partial"));
            if names.insert(name.clone()) {
                return Self(name);
            }
            number += 1;
        }
    }
}

impl Drop for PartialName {
    fn drop(&mut self) {
        BEING_WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

fn write_partial(partial: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let mut file = create_private(partial)?;
    let written = file.write_all(bytes).map_err(|e| FsError::new("write", partial, e));
    if let Err(error) = written.and_then(|()| set_mode(&file, partial, mode)) {
        drop(file);
        // The first error is the one to tell.
        remove_file(partial).ok();
        return Err(error);
    }
    sync_all(&file, partial)
}

/// Makes a new file, in the place of what had its name, that only its owner can read until its mode is set.
pub fn create_private(path: &Path) -> Result<File, FsError> {
    platform::create_private(path).map_err(|e| FsError::new("create", path, e))
}

/// Opens a source for reading: no link, and no pipe or device that somebody put in its place.
pub fn open_source(path: &Path) -> io::Result<File> {
    platform::open_source(path)
}

/// Opens whatever lies there for reading, without following a link or waiting for a pipe's other end.
#[cfg(unix)]
pub fn open_unblocked(path: &Path) -> io::Result<File> {
    platform::open_unblocked(path)
}

/// Opens for reading a small file that only this service writes.
pub fn open_own(path: &Path) -> io::Result<File> {
    platform::open_own(path, false)
}

/// What a name in a folder stands for; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a pipe, a socket or a device.
    Other,
}

/// A name in a folder.
#[derive(Debug)]
pub struct Entry {
    /// The folder as it was named, with the name.
    pub path: PathBuf,
    /// What it stands for.
    pub kind: Kind,
}

/// Lists a folder as a stream; what vanishes meanwhile is left out.
pub fn list(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
    platform::Listing::of(folder)
}

/// What lies at a path, links not followed; none where nothing does.
pub fn kind_at(path: &Path) -> io::Result<Option<Kind>> {
    match platform::kind_at(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// Whether a file has more names than one: who has another of them can change it wherever it is moved. Not where nothing lies.
pub fn has_other_names(path: &Path) -> Result<bool, FsError> {
    match platform::link_count(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        names => names.map(|names| names > 1).map_err(|e| FsError::new("look at", path, e)),
    }
}

/// How others can still change a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They cannot.
    None,
    /// They could open it for writing until now, and may have it open.
    Open,
    /// By another name that it has.
    Named,
    /// It is theirs, and this user may not take it.
    Owned,
}

/// Takes a file out of others' reach as far as this user may: it becomes his, and only he may write it. Nothing there: none.
pub fn take_over(path: &Path) -> Result<Reach, FsError> {
    match platform::take_over(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Reach::None),
        taken => taken.map_err(|e| FsError::new("take over", path, e)),
    }
}

/// Whether a file belongs to another user. Not to root: that may take it.
pub fn is_foreign(path: &Path) -> bool {
    platform::is_foreign(path)
}

/// Whether an open file was removed, or another put in its place: it is gone with whoever has it open. Unknown counts as no.
pub fn has_no_name(file: &File) -> bool {
    platform::has_no_name(file)
}

/// Lets nobody else write what this process makes, whatever the umask that it was started under. Once, at the start.
pub fn narrow_umask() {
    platform::narrow_umask();
}

/// Refuses a folder that is not the service's own, or that others can write into.
pub fn check_own_folder(folder: &Path) -> Result<(), FsError> {
    platform::check_own_folder(folder).map_err(|error| FsError::new("use the folder", folder, error))
}

/// Which folder this is, none where nothing lies; refused where it is not the service's own, or others can write into it.
pub fn own_folder(folder: &Path) -> Result<Option<FolderIdentity>, FsError> {
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

/// The folder in which a path's name stands.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The path itself where it is a folder, else the nearest folder above it that exists.
fn nearest_existing(path: &Path) -> io::Result<&Path> {
    for ancestor in path.ancestors() {
        let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match fs::metadata(ancestor) {
            Ok(found) if found.is_dir() => return Ok(ancestor),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn is_missing(path: &Path) -> Result<bool, FsError> {
    match platform::kind_at(path) {
        Ok(_) => Ok(false),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Ok(true),
        Err(error) => Err(FsError::new("look at", path, error)),
    }
}

/// A hidden name beside `path`, the same for the same `key`: a leftover of a crash is found again instead of
/// piling up.
fn hidden_sibling(path: &Path, key: &Path, suffix: &str) -> PathBuf {
    let hash = blake3::hash(key.as_os_str().as_encoded_bytes()).to_hex();
    parent_of(path).join(format!(".landfall-{}-{suffix}", &hash.as_str()[..16]))
}

#[cfg(test)]
mod tests;
