//! The data folder: made private, and held by one process at a time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::durable_fs::{self, HeldFolder, Hold, OpenTo, Renamed};

/// Makes the folder, if need be, and takes it for this process.
pub(super) fn hold(data_dir: &Path) -> Result<HeldFolder, StoreError> {
    make_private(data_dir)?;
    match durable_fs::hold_folder(data_dir, None)? {
        Hold::Ours(held) => Ok(held),
        Hold::Theirs(holder) => Err(StoreError::InUse {
            data_dir: data_dir.to_owned(),
            pid: holder.pid(),
            holder: holder.to_string(),
        }),
        Hold::NoLocks(error) => Err(failed("lock", data_dir, error)),
    }
}

/// Makes a folder that only its owner may enter, durably; one that is there already keeps its permissions.
pub(super) fn make_private(folder: &Path) -> Result<(), StoreError> {
    Ok(durable_fs::make_folder(folder, OpenTo::Owner)?)
}

/// Makes a folder, and those above it, that only its owner may enter; not durably.
pub(super) fn make_passing(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Removes a folder with all that is in it; not finding it is fine.
pub(super) fn remove_all(folder: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", folder, error)),
        _ => Ok(()),
    }
}

/// Gives a folder another name, at which nothing lies. Does not sync the folder above.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    // What stands in for a rename without replacing, where a file system has none, is for files.
    let renamed =
        if cfg!(windows) { durable_fs::rename_no_replace } else { durable_fs::rename_replace }(from, to);
    match renamed? {
        Renamed::Done => Ok(()),
        Renamed::NameTaken => Err(failed("rename", from, io::ErrorKind::AlreadyExists.into())),
        Renamed::Missing => Err(failed("rename", from, io::ErrorKind::NotFound.into())),
    }
}

/// Makes the names in a folder durable; Windows does so by itself.
pub(super) fn sync_names(folder: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let sync = || File::open(folder)?.sync_all();
        sync().map_err(|error| failed("sync the folder", folder, error))?;
    }
    Ok(())
}

/// Refuses a data folder of another user: files that root left there could not be read by the service.
#[cfg(unix)]
pub(super) fn check_owner(data_dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt as _;

    use crate::durable_fs::user_name;
    let owner = match std::fs::metadata(data_dir) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", data_dir, error)),
    };
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(StoreError::OtherOwner {
        data_dir: data_dir.to_owned(),
        owner: user_name(owner).unwrap_or_else(|| format!("#{owner}")),
    })
}

/// Refuses root a data folder of another user: the service's user could not open what root leaves there.
pub(super) fn check_root(data_dir: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    if !rustix::process::geteuid().is_root() {
        return Ok(()); // it may be allowed into a folder of its group
    }
    check_owner(data_dir)
}

/// Windows gives files in the data folder the folder's permissions, whoever makes them.
#[cfg(windows)]
#[allow(clippy::unnecessary_wraps, reason = "the Unix twin can refuse")]
pub(super) fn check_owner(_data_dir: &Path) -> Result<(), StoreError> {
    Ok(())
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { action, path: PathBuf::from(path), source }
}
