//! Whether a file is one that was seen before, by what its file system keeps stable.
//!
//! A device may have another number after a reboot, or once it is mounted again. Some file systems number files anew, too (see
//! [`numbers_last`]): there size and times have to do, of what lies at the path that it had, or at a name that only this service gives.

use std::path::Path;

use super::fs_type::{is_numbered_anew, numbers_last};
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

/// Whether a number tells which file lies at a path, also where it had another name when it got that number.
pub(crate) fn is_known_by_number(path: &Path) -> bool {
    numbers_last(path)
}
