//! File systems in user space: what they do otherwise.

use std::io;
use std::path::Path;

#[cfg(target_os = "linux")]
use super::fs_type::{file_system_number, is_fuse};
#[cfg(target_os = "linux")]
use super::names::parent_of;
#[cfg(target_os = "linux")]
use super::unix::folder_metadata;

/// Whether a file that gets this name by a link would be another file: such file systems (sshfs) may number names, and what was claimed
/// would look exchanged. A rename keeps the number, but what keeps it from replacing is a placeholder: only in a folder without rights for
/// group and others, where nobody sees an empty file for a moment.
#[cfg(target_os = "linux")]
pub(super) fn loses_its_number(to: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    const OTHERS: u32 = 0o077;
    if !is_fuse(file_system_number(to)?) {
        return Ok(false);
    }
    let mode = folder_metadata(parent_of(to))?.mode();
    Ok(mode & OTHERS == 0)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn loses_its_number(_to: &Path) -> io::Result<bool> {
    Ok(false)
}
