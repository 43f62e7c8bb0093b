//! File systems in user space: what they do otherwise.

use std::io;
use std::path::Path;

#[cfg(target_os = "linux")]
use super::names::parent_of;
#[cfg(target_os = "linux")]
use super::reach::on;
#[cfg(target_os = "linux")]
use super::unix::folder_metadata;

/// Whether a file that gets this name by a link would be another file: such file systems (sshfs) may number names, and what was claimed
/// would look exchanged. A rename keeps the number, but what keeps it from replacing is a placeholder: only in a folder without rights for
/// group and others, where nobody sees an empty file for a moment.
#[cfg(target_os = "linux")]
pub(super) fn loses_its_number(to: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;
    const OTHERS: u32 = 0o077;
    let found = on(to, |at| match at.name.parent() {
        Some(folder) if at.name.is_absolute() => rustix::fs::statfs(folder),
        _ => rustix::fs::fstatfs(at.folder()),
    })?;
    if found.f_type != FUSE_SUPER_MAGIC {
        return Ok(false);
    }
    let mode = folder_metadata(parent_of(to))?.mode();
    Ok(mode & OTHERS == 0)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn loses_its_number(_to: &Path) -> io::Result<bool> {
    Ok(false)
}
