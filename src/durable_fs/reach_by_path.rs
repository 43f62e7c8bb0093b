//! How a name is reached where folders cannot be held open for it: by its path, each folder below a landing root looked at before.
//!
//! On Windows links, junctions and mount points are told by their reparse points; making one needs a right that senders seldom have.

use std::fs;
use std::io;
use std::path::Path;

use super::landing;
#[cfg(unix)]
use super::names::parent_of;
use super::whereabouts::note_place;

/// A name by its whole path.
#[cfg(unix)]
pub(super) struct At<'a> {
    pub(super) name: &'a Path,
}

#[cfg(unix)]
impl At<'_> {
    /// What [`Self::name`] is relative to.
    #[allow(clippy::unused_self, reason = "one signature for all platforms")]
    pub(super) fn folder(&self) -> std::os::fd::BorrowedFd<'static> {
        rustix::fs::CWD
    }
}

/// Reaches the folder of a path.
#[cfg(unix)]
pub(super) fn at(path: &Path) -> io::Result<At<'_>> {
    check(parent_of(path))?;
    note_place(path);
    Ok(At { name: path })
}

/// Looks at the way to a folder; there is never a descriptor for it.
#[cfg(unix)]
pub(super) fn folder(folder: &Path) -> io::Result<Option<std::os::fd::OwnedFd>> {
    check(folder).map(|()| None)
}

#[cfg(unix)]
pub(super) fn on<T>(path: &Path, act: impl Fn(&At<'_>) -> rustix::io::Result<T>) -> io::Result<T> {
    Ok(act(&at(path)?)?)
}

#[cfg(unix)]
pub(super) fn on_both<T>(
    from: &Path,
    to: &Path,
    act: impl Fn(&At<'_>, &At<'_>) -> rustix::io::Result<T>,
) -> io::Result<T> {
    Ok(act(&at(from)?, &at(to)?)?)
}

/// Folders are held nowhere here.
#[must_use]
pub(crate) struct KeepsReached(());

pub(crate) fn keep_reached() -> KeepsReached {
    KeepsReached(())
}

/// Refuses a folder that is reached through a link below its landing root, or through one of somebody else's below what we write into.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    note_place(folder);
    if let Some((root, below)) = landing::root_of(folder) {
        return check_way(root, below, |_| Err(landing::link_below_root(folder)));
    }
    let Some((root, below)) = landing::target_root_of(folder) else { return Ok(()) };
    check_way(root, below, |link| check_own_link(link, folder))
}

fn check_way(
    root: &Path,
    below: &Path,
    check_link: impl Fn(&fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = root.to_owned();
    for name in below.components() {
        at.push(name);
        let found = fs::symlink_metadata(&at)?;
        if is_link(&found) {
            check_link(&found)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn check_own_link(link: &fs::Metadata, folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = link.uid();
    if owner == 0 || owner == landing::own_user() {
        Ok(())
    } else {
        Err(landing::foreign_link(folder, owner))
    }
}

/// Who made it is not told there in one look.
#[cfg(not(unix))]
fn check_own_link(_link: &fs::Metadata, folder: &Path) -> io::Result<()> {
    Err(landing::link_below_target(folder))
}

#[cfg(windows)]
pub(super) fn is_link(found: &fs::Metadata) -> bool {
    use std::os::windows::fs::MetadataExt as _;
    const FILE_ATTRIBUTE_REPARSE_POINT: u32 = 0x400;
    found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0
}

#[cfg(not(windows))]
fn is_link(found: &fs::Metadata) -> bool {
    found.is_symlink()
}

/// Opens a name without following a link or waiting for a pipe's other end.
#[cfg(unix)]
pub(super) fn open(path: &Path, flags: rustix::fs::OFlags, mode: rustix::fs::Mode) -> io::Result<fs::File> {
    use rustix::fs::{CWD, OFlags, openat};
    check(parent_of(path))?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(fs::File::from(rustix::io::retry_on_intr(|| openat(CWD, path, flags, mode))?))
}
