//! Whether a file is gone, or only its folder is away.
//!
//! To look for the file first and for its folder afterwards does not tell: a folder that comes back in between, as one whose file system is
//! mounted again, has its files, and the one that was not seen would be taken for lost. So absence is said by the folder itself.

use std::io;
use std::path::{Path, PathBuf};

use super::files::{identity_at, if_there};
use super::platform;
use super::whereabouts::note_place;
use crate::model::identity::{FileIdentity, FolderIdentity};

/// What a path's folder says of the path's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// A regular file has the name, links not followed.
    Here(FileIdentity),
    /// The folder is there, and no regular file has the name in it.
    Gone(FolderIdentity),
    /// The folder is not there.
    FolderAway,
}

impl Presence {
    pub(crate) fn file(self) -> Option<FileIdentity> {
        match self {
            Self::Here(found) => Some(found),
            Self::Gone(_) | Self::FolderAway => None,
        }
    }
}

/// A path as it is without links. It is noted before: a link may lead to a file system that hangs.
pub(crate) fn real_path(path: &Path) -> io::Result<PathBuf> {
    note_place(path);
    path.canonicalize()
}

/// Whether a regular file lies at a path.
pub(crate) fn presence(path: &Path) -> io::Result<Presence> {
    if let Some(found) = identity_at(path)? {
        return Ok(Presence::Here(found));
    }
    Ok(match if_there(platform::look_in_folder(path))? {
        Some((_, Some(found))) => Presence::Here(found),
        Some((folder, None)) => Presence::Gone(folder),
        None => Presence::FolderAway,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    #[cfg(unix)]
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::durable_fs::{folder_identity, rename_replace};

    #[test]
    fn a_file_is_gone_only_where_its_folder_says_so() {
        let world = tempfile::tempdir().expect("a folder");
        let (folder, away) = (world.path().join("in"), world.path().join("away"));
        let path = folder.join("pay");
        assert_eq!(presence(&path).expect("looks"), Presence::FolderAway);
        fs::create_dir(&folder).expect("makes");
        let is_gone = || {
            let there = folder_identity(&folder).expect("looks").expect("a folder");
            // Not every system keeps the time of its making.
            matches!(presence(&path).expect("looks"), Presence::Gone(found) if found.is_same(&there) || cfg!(windows))
        };
        assert!(is_gone());
        fs::create_dir(&path).expect("makes");
        assert!(is_gone(), "no regular file");
        fs::remove_dir(&path).expect("removes");
        fs::write(&path, "1\n").expect("writes");
        assert_eq!(presence(&path).expect("looks").file(), identity_at(&path).expect("looks"));
        rename_replace(&folder, &away).expect("renames");
        assert_eq!(presence(&path).expect("looks"), Presence::FolderAway);
        fs::write(&folder, "").expect("writes");
        assert_eq!(presence(&path).expect("looks"), Presence::FolderAway, "a file has the folder's name");
    }

    /// As a file system that is unmounted and mounted again, at any moment. By paths alone, as on Windows, one that goes and comes back
    /// between two looks is not seen to.
    #[cfg(unix)]
    #[test]
    fn a_file_whose_folder_goes_and_comes_back_is_never_gone() {
        let world = tempfile::tempdir().expect("a folder");
        let (folder, away) = (world.path().join("in"), world.path().join("away"));
        fs::create_dir(&folder).expect("makes");
        fs::write(folder.join("pay"), "1\n").expect("writes");
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    for (from, to) in [(&folder, &away), (&away, &folder)] {
                        rename_replace(from, to).expect("renames");
                    }
                }
            });
            let mut seen = [0, 0];
            while seen.into_iter().any(|times| times < 500) {
                match presence(&folder.join("pay")).expect("looks") {
                    Presence::Here(_) => seen[0] += 1,
                    Presence::FolderAway => seen[1] += 1,
                    Presence::Gone(_) => {
                        is_done.store(true, Ordering::Relaxed);
                        panic!("its folder never was without it; seen there and away: {seen:?}");
                    }
                }
            }
            is_done.store(true, Ordering::Relaxed);
        });
    }
}
