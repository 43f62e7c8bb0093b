//! A folder that is found again wherever it was moved to, as long as this is there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(unix)]
use std::sync::{Mutex, PoisonError, Weak};

use super::error::FsError;

#[derive(Debug)]
pub(crate) struct FollowedFolder {
    /// Where it was.
    path: PathBuf,
    #[cfg(unix)]
    open: std::fs::File,
}

/// Those that somebody follows: jobs write to the same few folders, and one descriptor does for all of them.
#[cfg(unix)]
static FOLLOWED: Mutex<Vec<(PathBuf, Weak<FollowedFolder>)>> = Mutex::new(Vec::new());

#[cfg(unix)]
impl FollowedFolder {
    pub(crate) fn open(folder: &Path) -> Result<Arc<Self>, FsError> {
        super::note_place(folder);
        let failed = |error| FsError::new("open the folder", folder, error);
        let known = {
            let followed = FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock none is let go: a close may hang.
            let same = followed.iter().filter(|(path, _)| path == folder);
            same.filter_map(|(_, known)| known.upgrade()).collect::<Vec<_>>()
        };
        for known in known {
            // One that does not answer any more (a stale handle) is not the folder that is there.
            if known.open.metadata().is_ok_and(|own| known.is_there(&own)) {
                return Ok(known);
            }
        }
        let open = super::unix::open_folder(folder).map_err(failed)?;
        let opened = Arc::new(Self { path: folder.to_owned(), open });
        let mut followed = FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|(_, known)| known.strong_count() > 0);
        followed.push((folder.to_owned(), Arc::downgrade(&opened)));
        Ok(opened)
    }

    /// Whether it still has its name.
    fn is_there(&self, own: &std::fs::Metadata) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino()))
    }

    /// Removes those of its files, wherever it is now, if it is not where it was. Whether it is elsewhere.
    pub(crate) fn clear_if_moved(&self, is_to_go: impl Fn(&OsStr) -> bool) -> Result<bool, FsError> {
        use std::os::unix::ffi::OsStrExt as _;

        super::note_place(&self.path);
        let failed = |error| FsError::new("clear what was the folder", &self.path, error);
        let own = self.open.metadata().map_err(failed)?;
        if self.is_there(&own) {
            return Ok(false);
        }
        let entries = rustix::fs::Dir::read_from(&self.open).map_err(|error| failed(error.into()))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed(error.into()))?;
            if !is_to_go(OsStr::from_bytes(entry.file_name().to_bytes())) {
                continue;
            }
            match rustix::fs::unlinkat(&self.open, entry.file_name(), rustix::fs::AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        Ok(true)
    }
}

/// Windows renames no folder in which a file is open.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "one signature for all platforms")]
impl FollowedFolder {
    pub(crate) fn open(folder: &Path) -> Result<Arc<Self>, FsError> {
        Ok(Arc::new(Self { path: folder.to_owned() }))
    }

    pub(crate) fn clear_if_moved(&self, _: impl Fn(&OsStr) -> bool) -> Result<bool, FsError> {
        debug_assert!(!self.path.as_os_str().is_empty());
        Ok(false)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_cleared_where_it_was_moved_to_and_left_alone_where_it_is() {
        let world = tempfile::tempdir().expect("a folder");
        let (here, there) = (world.path().join("here"), world.path().join("there"));
        std::fs::create_dir(&here).expect("makes");
        for name in ["ours", "theirs"] {
            std::fs::write(here.join(name), "1").expect("writes");
        }
        let folder = FollowedFolder::open(&here).expect("opens");
        let is_ours = |name: &OsStr| name == "ours";
        assert!(!folder.clear_if_moved(is_ours).expect("looks"));
        super::super::rename_replace(&here, &there).expect("moves");
        for _ in 0..2 {
            assert!(folder.clear_if_moved(is_ours).expect("clears"));
        }
        let left: Vec<_> =
            std::fs::read_dir(&there).expect("lists").flatten().map(|it| it.file_name()).collect();
        assert_eq!(left, ["theirs"]);
    }
}
