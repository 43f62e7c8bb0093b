//! Renames, and whole files written and renamed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::FsError;
use super::files::{create_private, is_missing, remove_file, set_mode, sync_all};
use super::folder_sync::sync_folder;
use super::names::{Renamed, hidden_sibling, parent_of};
use super::platform;
#[cfg(all(unix, test))]
pub(crate) use super::unix_rename::note_link;
#[cfg(unix)]
pub(crate) use super::unix_rename::{forget_note, rename_no_replace, take_file};
#[cfg(windows)]
pub(crate) use super::windows_rename::{forget_note, rename_no_replace, rename_no_replace as take_file};

/// Renames over whatever is there, atomically. Does not sync folders.
pub(crate) fn rename_replace(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    match platform::rename_replace(from, to) {
        Ok(()) => Ok(Renamed::Done),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_missing(from)? => Ok(Renamed::Missing),
        Err(error) => Err(FsError::between("rename", from, to, error)),
    }
}

/// Writes a small file durably under its final name (hidden partial, fsync, rename, folder sync).
///
/// `Done`, or `NameTaken` where a file lies there and `replace` is false. `mode` are Unix permissions, the umask aside.
pub(crate) fn write_file(path: &Path, bytes: &[u8], replace: bool, mode: u32) -> Result<Renamed, FsError> {
    write(path, replace, |partial| write_partial(partial, bytes, |file| set_mode(file, partial, mode)))
}

/// The same for what its owner alone may read, on Windows too, whatever the folder allows; it replaces what is there.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let keep = |partial: &Path| {
        platform::keep_to_owner(partial).map_err(|e| FsError::new("close to others", partial, e))
    };
    write(path, true, |partial| write_partial(partial, bytes, |_| keep(partial))).map(drop)
}

fn write(
    path: &Path,
    replace: bool,
    write_partial: impl FnOnce(&Path) -> Result<(), FsError>,
) -> Result<Renamed, FsError> {
    let partial = PartialName::of(path);
    let partial = partial.0.as_path();
    write_partial(partial)?;
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
pub(super) struct PartialName(pub(super) PathBuf);

impl PartialName {
    pub(super) fn of(path: &Path) -> Self {
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

/// `permit` comes before the first byte.
fn write_partial(
    partial: &Path,
    bytes: &[u8],
    permit: impl FnOnce(&File) -> Result<(), FsError>,
) -> Result<(), FsError> {
    let mut file = create_private(partial)?;
    let permitted = permit(&file);
    let mut write = || file.write_all(bytes).map_err(|e| FsError::new("write", partial, e));
    if let Err(error) = permitted.and_then(|()| write()) {
        drop(file);
        // The first error is the one to tell.
        remove_file(partial).ok();
        return Err(error);
    }
    sync_all(&file, partial)
}
