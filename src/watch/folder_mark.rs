//! Tells a folder from another of the same name.

use std::fs;
use std::io;
use std::path::Path;

/// What a name leads to, links followed: a number of its own, and when it was made, since numbers are given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderMark {
    file: (u64, u64),
    made: Option<std::time::SystemTime>,
}

impl FolderMark {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let found = fs::metadata(folder)?;
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { file: number(&found), made: found.created().ok() })
    }
}

#[cfg(unix)]
fn number(found: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

/// When it was made tells enough.
#[cfg(not(unix))]
fn number(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}
