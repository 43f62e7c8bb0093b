//! How much space a file system has, and whether a folder is where one is mounted.

use std::io;
use std::path::Path;

use super::files::if_there;
use super::names::nearest_existing;
use super::platform;
use super::whereabouts::note_place;

/// The space on one file system, as far as it is for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// Tells file systems apart while they are mounted.
    pub device: u64,
    /// Bytes that this process may still write; without what is reserved for root.
    pub free: u64,
    /// Bytes in all; 0 where the file system does not tell, and then `free` says nothing.
    pub total: u64,
    /// Files that may still be made there (inodes).
    pub files_free: u64,
    /// Files in all; 0 where the file system has no such bound, or does not tell, and then `files_free` says nothing.
    pub files_total: u64,
}

/// The space on the file system of a folder, or of the nearest folder above it that is there.
pub(crate) fn space_at(folder: &Path) -> io::Result<Space> {
    note_place(folder);
    let folder = nearest_existing(folder)?;
    let (free, total) = platform::free_and_total(folder)?;
    let (files_free, files_total) = platform::files_free_and_total(folder)?;
    Ok(Space { device: platform::device_of(folder)?, free, total, files_free, files_total })
}

/// Whether a file system is mounted at exactly this folder (bind mounts count; on Windows: the root of a volume, also one mounted in
/// a folder). A folder that is not there is none.
pub(crate) fn is_mount_point(folder: &Path) -> io::Result<bool> {
    note_place(folder);
    Ok(if_there(platform::is_mount_point(folder))?.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_folder_that_is_not_there_is_that_of_the_one_above() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = space_at(folder.path()).expect("it is there");
        let below = space_at(&folder.path().join("a").join("b")).expect("the folder above is there");
        assert_eq!((here.device, here.total), (below.device, below.total));
        assert!(here.total > 0 && here.free <= here.total, "{here:?}");
    }

    #[cfg(unix)]
    #[test]
    fn the_root_is_a_mount_point_and_a_folder_or_a_missing_one_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(is_mount_point(Path::new("/")).expect("it is there"));
        assert!(!is_mount_point(folder.path()).expect("it is there"));
        assert!(!is_mount_point(&folder.path().join("gone")).expect("that is an answer"));
    }
}
