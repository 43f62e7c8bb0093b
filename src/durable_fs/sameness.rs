//! Whether a file is one that was seen before, by what its file system keeps stable.
//!
//! A device may have another number after a reboot, or once it is mounted again. Some file systems number files anew, too (see
//! [`numbers_last`]): there size and times have to do, of what lies at the path that it had, or at a name that only this service gives.

use std::path::Path;

use super::fs_type::{is_disk, is_numbered_anew, numbers_last};
use crate::model::identity::{FileIdentity, FolderIdentity};

/// Whether what lies at a path has the same content as when it was `known`. A rename changes only ctime.
pub(crate) fn is_same_content(path: &Path, found: &FileIdentity, known: &FileIdentity) -> bool {
    (found.size, found.mtime_ns) == (known.size, known.mtime_ns)
        && (found.inode == known.inode || !numbers_last(path))
}

/// Whether what lies at a path was neither written nor renamed nor given other rights since it was `known`.
pub(crate) fn is_unchanged(path: &Path, found: &FileIdentity, known: &FileIdentity) -> bool {
    found.ctime_ns == known.ctime_ns && is_same_content(path, found, known)
}

/// Whether what lies at a path is the file that was `known`, which may be written meanwhile. Where numbers do not last, only one that
/// was not can be told.
pub(crate) fn is_same_file(path: &Path, found: &FileIdentity, known: &FileIdentity) -> bool {
    found.same_file(known) || is_same_content(path, found, known)
}

/// Whether the folder at a path is the one that was `known`. Where numbers do not last, that it lies on such a file system, as the known one
/// did for all that is known of it, says that this is not the empty folder below a mount.
pub(crate) fn is_same_folder(path: &Path, found: &FolderIdentity, known: &FolderIdentity) -> bool {
    known.is_same(found) || is_numbered_anew(path, found, known)
}

/// The same where not knowing better does not do: the folder was made when the known one was, or has its number on a disk. In user space and
/// over the network the lowest number that is free is dealt to a device at each mount, and the topmost folders of exports share theirs.
pub(crate) fn is_same_folder_for_sure(path: &Path, found: &FolderIdentity, known: &FolderIdentity) -> bool {
    match (found.created_ns, known.created_ns) {
        (Some(found_made), Some(known_made)) => {
            found_made == known_made && (found.inode == known.inode || !numbers_last(path))
        }
        _ => found.inode == known.inode && is_device_for_sure(found.device, known.device),
    }
}

/// Whether two devices are one for sure: the number of a disk is dealt to no other file system.
pub(crate) fn is_device_for_sure(found: u64, known: u64) -> bool {
    found == known && is_disk(found)
}

/// Whether a number tells which file lies at a path, also where it had another name when it got that number.
pub(crate) fn is_known_by_number(path: &Path) -> bool {
    numbers_last(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_for_sure_by_when_it_was_made_or_by_its_number_on_a_disk() {
        let folder = std::env::temp_dir(); // its numbers last
        let is_sure = |found, known| is_same_folder_for_sure(&folder, &found, &known);
        let made = |created_ns| FolderIdentity { device: 0x801, inode: 2, created_ns };
        let without_disk = |device| FolderIdentity { device, ..made(None) };
        assert!(is_sure(made(Some(7)), FolderIdentity { device: 0x35, ..made(Some(7)) }), "mounted anew");
        assert!(!is_sure(made(Some(7)), made(Some(8))), "another file system");
        assert!(!is_sure(FolderIdentity { inode: 3, ..made(Some(7)) }, made(Some(7))));
        assert!(is_sure(made(None), made(None)), "one disk");
        assert!(!is_sure(made(None), FolderIdentity { device: 0x802, ..made(None) }), "another disk");
        if cfg!(target_os = "linux") {
            assert!(!is_sure(without_disk(0x35), without_disk(0x35)), "a number that is dealt again");
        }
    }
}
