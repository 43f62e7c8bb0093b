//! Changes to the file system that survive a power cut: SKELETON, owned by the output helper.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::identity::FileIdentity;

/// A file operation that failed: what was tried, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", crate::model::os_text::escaped_path(path))]
pub struct FsError {
    /// An infinitive phrase: `rename`, `sync`.
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
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

/// Renames on one file system, never over an existing file (renameat2 NOREPLACE, else link + unlink). Does not sync folders.
pub fn rename_no_replace(from: &Path, to: &Path) -> Result<Renamed, FsError> { let _ = (from, to); unimplemented!() }
/// Renames over whatever is there, atomically. Does not sync folders.
pub fn rename_replace(from: &Path, to: &Path) -> Result<Renamed, FsError> { let _ = (from, to); unimplemented!() }
/// Makes the names in a folder durable (nothing to do on Windows).
pub fn sync_folder(folder: &Path) -> Result<(), FsError> { let _ = folder; unimplemented!() }
/// Makes a folder and its parents, each durable; `private`: mode 0700 for those that are made.
pub fn make_folder(folder: &Path, private: bool) -> Result<(), FsError> { let _ = (folder, private); unimplemented!() }
/// Removes a file; not finding it is fine. Does not sync the folder.
pub fn remove_file(path: &Path) -> Result<(), FsError> { let _ = path; unimplemented!() }
/// Moves a file, never over an existing one: rename on one file system; else copy, fsync, verify length and hash, rename without
/// replace into place, sync folder, unlink, sync. Syncs both folders in every case. After a crash it can be called again.
pub fn move_file(from: &Path, to: &Path) -> Result<Renamed, FsError> { let _ = (from, to); unimplemented!() }
/// The identity of an open file.
pub fn identity(file: &File) -> io::Result<FileIdentity> { let _ = file; unimplemented!() }
/// The identity of what lies at a path, links not followed; none where nothing lies or where it is no regular file.
pub fn identity_at(path: &Path) -> io::Result<Option<FileIdentity>> { let _ = path; unimplemented!() }
/// Writes a small file durably under its final name (hidden partial, fsync, rename, folder sync).
pub fn write_file(path: &Path, bytes: &[u8], replace: bool, mode: u32) -> Result<Renamed, FsError> { let _ = (path, bytes, replace, mode); unimplemented!() }
/// Whether two paths are on one file system (of their nearest existing folders).
pub fn same_file_system(a: &Path, b: &Path) -> io::Result<bool> { let _ = (a, b); unimplemented!() }
