//! A rename without replace on Windows.

use std::io;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::MOVEFILE_WRITE_THROUGH;

use super::error::FsError;
use super::files::is_missing;
use super::names::Renamed;
use super::windows::{is_taken, move_file_ex};

pub(crate) fn rename_no_replace(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    match move_file_ex(from, to, MOVEFILE_WRITE_THROUGH) {
        Ok(()) => Ok(Renamed::Done),
        Err(error) if is_taken(&error) => Ok(Renamed::NameTaken),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_missing(from)? => Ok(Renamed::Missing),
        Err(error) => Err(FsError::between("rename", from, to, error)),
    }
}

/// Renames are never noted.
#[allow(clippy::unnecessary_wraps, reason = "one signature for all platforms")]
pub(crate) fn forget_note(_from: &Path, _to: &Path) -> Result<(), FsError> {
    Ok(())
}
