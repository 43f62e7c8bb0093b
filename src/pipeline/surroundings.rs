//! What a step's program has around it: where folders of its own are made, and what is not its to reach.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::confinement::{Private, real_of};
use crate::durable_fs::{self, Mounts, OpenTo};
use crate::model::os_text::escaped_path;

/// Who does not tell within this where a path leads is left alone: its file system hangs.
const TELLS_WITHIN: Duration = Duration::from_millis(500);
/// Who did not tell is asked again after this, by who needs it then.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// One for each engine.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// None: the system's folder for temporary ones.
    work_dir: Option<PathBuf>,
    private: Mutex<Arc<PrivatePaths>>,
}

/// By whose they are. Where they lead is looked up by who needs it first.
#[derive(Debug, Default)]
pub(crate) struct PrivatePaths {
    named: BTreeMap<&'static str, Vec<PathBuf>>,
    /// Folders in which no file is a program's.
    closed: BTreeMap<&'static str, Vec<PathBuf>>,
    found: Mutex<Option<Looked>>,
}

/// Where these paths lead, as far as their file systems told.
#[derive(Debug)]
struct Looked {
    private: Arc<Private>,
    /// Some did not tell: they are asked again then.
    again_at: Option<Instant>,
}

impl PrivatePaths {
    pub(crate) fn found(&self) -> Arc<Private> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |looked: &Looked| looked.again_at.is_some_and(|at| at <= Instant::now());
        match found.as_ref().filter(|looked| !is_due(looked)) {
            Some(looked) => Arc::clone(&looked.private),
            None => Arc::clone(&found.insert(self.look()).private),
        }
    }

    fn look(&self) -> Looked {
        let all =
            |named: &BTreeMap<_, Vec<PathBuf>>| named.values().flatten().cloned().collect::<BTreeSet<_>>();
        let (named, closed) = (all(&self.named), all(&self.closed));
        let both: BTreeSet<_> = named.union(&closed).cloned().collect();
        let (led, silent) = where_they_lead(&both);
        let with_real = |paths: &BTreeSet<PathBuf>| {
            let real = paths.iter().filter_map(|path| led.get(path).cloned()).collect::<Vec<_>>();
            paths.iter().cloned().chain(real).collect::<Vec<_>>()
        };
        if let Some(first) = silent.first() {
            tracing::warn!(
                path = escaped_path(first),
                paths = silent.len(),
                "what is private to the service does not answer: programs of steps are kept from it by its name alone, until it does"
            );
        }
        Looked {
            private: Arc::new(Private::of(with_real(&named), with_real(&closed))),
            again_at: (!silent.is_empty()).then(|| Instant::now() + ASKED_AGAIN_AFTER),
        }
    }
}

/// What these paths are without links, and those that did not tell. Each file system is asked by a thread of its own; paths that hang behind
/// another one once more, each by its own: what a link leads to may hang on another file system.
fn where_they_lead(paths: &BTreeSet<PathBuf>) -> (BTreeMap<PathBuf, PathBuf>, Vec<PathBuf>) {
    let mounts = Mounts::now();
    let mut by_mount: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for path in paths {
        by_mount.entry(mounts.of(path)).or_default().push(path.clone());
    }
    let mut told = asked(by_mount.into_values().collect());
    let silent = |told: &BTreeMap<PathBuf, Option<PathBuf>>| {
        paths.iter().filter(|path| !told.contains_key(*path)).cloned().collect::<Vec<_>>()
    };
    let left = silent(&told);
    if !left.is_empty() {
        told.extend(asked(left.into_iter().map(|path| vec![path]).collect()));
    }
    let left = silent(&told);
    (told.into_iter().filter_map(|(path, real)| Some((path, real?))).collect(), left)
}

/// What each path is without links, none where nothing lies there; each list by a thread.
fn asked(lists: Vec<Vec<PathBuf>>) -> BTreeMap<PathBuf, Option<PathBuf>> {
    let (tell, told) = sync_channel(lists.iter().map(Vec::len).sum());
    for paths in lists {
        let tell = tell.clone();
        let ask = move || {
            for path in paths {
                let real = real_of(&path);
                tell.send((path, real)).ok(); // nobody may wait any more
            }
        };
        if let Err(error) = std::thread::Builder::new().name("private".to_owned()).spawn(ask) {
            tracing::debug!(%error, "no thread can be had that asks where paths lead");
        }
    }
    drop(tell);
    let until = Instant::now() + TELLS_WITHIN;
    std::iter::from_fn(|| told.recv_timeout(until.saturating_duration_since(Instant::now())).ok()).collect()
}

impl Surroundings {
    /// Folders for programs are made in this one, which is made where it is needed first.
    pub(crate) fn in_folder(work_dir: PathBuf) -> Self {
        Self { work_dir: Some(work_dir), ..Self::default() }
    }

    /// The same, with what is private around others.
    pub(crate) fn with_private_of(self, others: &Self) -> Self {
        Self { private: Mutex::new(others.private()), ..self }
    }

    /// Paths that no program reaches unless its step says so, and folders in which it reaches no file beside its own; in place of those that
    /// were named for the same before.
    pub(crate) fn keep_private(&self, named_for: &'static str, paths: Vec<PathBuf>, closed: Vec<PathBuf>) {
        let mut private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut paths_named, mut folders_closed) = (private.named.clone(), private.closed.clone());
        paths_named.insert(named_for, paths);
        folders_closed.insert(named_for, closed);
        *private =
            Arc::new(PrivatePaths { named: paths_named, closed: folders_closed, found: Mutex::new(None) });
    }

    pub(crate) fn private(&self) -> Arc<PrivatePaths> {
        Arc::clone(&self.private.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where folders are made.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.work_dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// A folder for one program, for its user alone; removed with what is returned.
    pub(crate) fn make_folder(&self) -> io::Result<OwnFolder> {
        let within = self.work_dir();
        let made = match private_folder(&within) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.work_dir.is_some() => {
                durable_fs::make_folder(&within, OpenTo::Owner).map_err(io::Error::other)?;
                private_folder(&within)
            }
            made => made,
        };
        made.map(OwnFolder)
    }
}

/// A program's folder, and what it wrote there. It goes with this, whatever the program made of its modes.
pub(crate) struct OwnFolder(TempDir);

impl OwnFolder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        match remove_whole(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(
                path = escaped_path(self.path()),
                %error,
                "what a program wrote into its folder lies there in clear until the next start"
            ),
            Ok(()) | Err(_) => {}
        }
    }
}

/// Removes a folder of ours with all that is in it, also what lies in folders that nobody may write.
pub(crate) fn remove_whole(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_again(folder);
            std::fs::remove_dir_all(folder)
        }
        removed => removed,
    }
}

/// Gives folders back the modes by which what is in them can be removed. No link is followed, and a path may be longer than a call takes.
#[cfg(target_os = "linux")]
fn open_again(folder: &Path) {
    use std::ffi::{CStr, CString};
    use std::os::fd::{AsRawFd as _, BorrowedFd};

    use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, chmodat, openat};
    // What was found is changed, whatever has its name by now.
    let open = |at: BorrowedFd<'_>, name: &CStr| -> Option<Dir> {
        let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(at, name, place, Mode::empty()).ok()?;
        let again = format!("/proc/self/fd/{}", found.as_raw_fd());
        chmodat(CWD, again.as_str(), Mode::RWXU, rustix::fs::AtFlags::empty()).ok()?;
        Dir::new(
            openat(CWD, again.as_str(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .ok()?,
        )
        .ok()
    };
    let Ok(first) = CString::new(folder.as_os_str().as_encoded_bytes()) else { return };
    // The way down: nothing else is held open.
    let mut way: Vec<Dir> = open(CWD, &first).into_iter().collect();
    while let Some(folder) = way.last_mut() {
        let Some(Ok(entry)) = folder.read() else {
            way.pop(); // the removal says what is left
            continue;
        };
        let is_below = entry.file_name() != c"." && entry.file_name() != c"..";
        if is_below && entry.file_type() == FileType::Directory {
            let below = folder.fd().ok().and_then(|at| open(at, entry.file_name()));
            way.extend(below);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn open_again(_: &Path) {}

fn private_folder(within: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.prefix("landfall-").tempdir_in(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_its_user_alone_and_goes_with_whom_it_was_made_for() {
        let world = tempfile::tempdir().expect("a folder");
        let surroundings = Surroundings::in_folder(world.path().join("data/work"));
        let folder = surroundings.make_folder().expect("makes");
        let path = folder.path().to_owned();
        assert!(path.starts_with(surroundings.work_dir()));
        #[cfg(unix)]
        {
            let mode =
                std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("is there").permissions());
            assert_eq!(mode & 0o777, 0o700);
        }
        std::fs::write(path.join("scratch"), "").expect("writes");
        drop(folder);
        assert!(!path.try_exists().expect("asks"));
    }

    /// Root removes it all the same: what nobody may write is met by who runs as a user of its own.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_program_wrote_goes_also_where_it_took_all_rights_from_its_folders() {
        use std::os::unix::fs::PermissionsExt;
        let world = tempfile::tempdir().expect("a folder");
        let folder = Surroundings::in_folder(world.path().to_owned()).make_folder().expect("makes");
        let path = folder.path().to_owned();
        std::fs::create_dir_all(path.join("a/b")).expect("makes");
        std::fs::write(path.join("a/b/clear"), "4111").expect("writes");
        std::os::unix::fs::symlink(world.path(), path.join("a/b/away")).expect("links");
        for closed in ["a/b", "a", ""] {
            std::fs::set_permissions(path.join(closed), PermissionsExt::from_mode(0o000)).expect("sets");
        }
        open_again(&path);
        assert_eq!(path.join("a/b").metadata().expect("is there").permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.try_exists().expect("asks"));
        assert!(world.path().try_exists().expect("asks"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_program_hid_behind_a_path_that_is_longer_than_a_call_takes_goes_as_well() {
        use std::os::fd::AsFd as _;
        use std::os::unix::fs::PermissionsExt;

        use rustix::fs::{Mode, OFlags, mkdirat, openat};
        let world = tempfile::tempdir().expect("a folder");
        let folder = Surroundings::in_folder(world.path().to_owned()).make_folder().expect("makes");
        let (path, name) = (folder.path().to_owned(), "d".repeat(200));
        let mut deepest = std::fs::File::open(&path).expect("opens");
        for _ in 0..30 {
            mkdirat(deepest.as_fd(), name.as_str(), Mode::RWXU).expect("makes");
            let below =
                openat(deepest.as_fd(), name.as_str(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
            deepest = below.expect("opens").into();
        }
        deepest.set_permissions(PermissionsExt::from_mode(0o000)).expect("sets");
        open_again(&path);
        assert_eq!(deepest.metadata().expect("is there").permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.try_exists().expect("asks"));
    }

    #[test]
    fn where_private_paths_lead_is_known_and_what_is_not_there_is_no_silence() {
        let world = tempfile::tempdir().expect("a folder");
        let root = world.path().canonicalize().expect("is there");
        let paths = BTreeSet::from([root.join("keys/none"), root.clone()]);
        let (led, silent) = where_they_lead(&paths);
        assert_eq!((led.get(&root), silent.len()), (Some(&root), 0));
    }
}
