//! The sync of a folder, which makes the names in it durable.

use std::path::Path;

use super::error::FsError;
#[cfg(unix)]
use super::error::SYNC;
#[cfg(unix)]
use super::shared_sync;
#[cfg(unix)]
use super::unix::{is_unsupported, open_folder};
#[cfg(unix)]
use crate::telemetry::metrics::timed;

/// Makes the names in a folder durable (nothing to do on Windows).
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FsError> {
    shared_sync::share(folder, || sync_now(folder))
}

#[cfg(unix)]
fn sync_now(folder: &Path) -> Result<(), FsError> {
    let open = open_folder(folder).map_err(|e| FsError::new("open the folder", folder, e))?;
    match timed("folder", || open.sync_all()) {
        // Some network and FUSE file systems have no sync of folders; there is nothing else to ask them for.
        Err(error) if is_unsupported(&error) => Ok(()),
        done => done.map_err(|e| FsError::new(SYNC, folder, e)),
    }
}

/// Renames are written through, and the file system's journal keeps the order of names.
#[allow(clippy::unnecessary_wraps, reason = "one signature for all platforms")]
#[cfg(windows)]
pub(crate) fn sync_folder(_folder: &Path) -> Result<(), FsError> {
    Ok(())
}
