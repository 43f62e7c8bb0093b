//! What a step's program has around it: where folders of its own are made, and what is not its to reach.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::confinement::{Private, real_of};
use crate::durable_fs::{self, Mounts, OpenTo};

/// Who does not tell within this where a path leads is left alone: its file system hangs.
const TELLS_WITHIN: Duration = Duration::from_millis(500);

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
    found: OnceLock<Private>,
}

impl PrivatePaths {
    pub(crate) fn found(&self) -> &Private {
        self.found.get_or_init(|| {
            let of = |named: &BTreeMap<_, Vec<PathBuf>>| {
                let named: BTreeSet<_> = named.values().flatten().cloned().collect();
                let led_to = where_they_lead(&named);
                named.into_iter().chain(led_to)
            };
            Private::of(of(&self.named), of(&self.closed))
        })
    }
}

/// What these paths are without links, each file system asked by a thread of its own: one that hangs holds up nobody for long.
fn where_they_lead(named: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mounts = Mounts::now();
    let mut by_mount: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for path in named {
        by_mount.entry(mounts.of(path)).or_default().push(path.clone());
    }
    let (tell, told) = sync_channel(named.len());
    for paths in by_mount.into_values() {
        let tell = tell.clone();
        let ask =
            move || paths.iter().filter_map(|path| real_of(path)).for_each(|real| drop(tell.send(real)));
        if let Err(error) = std::thread::Builder::new().name("private".to_owned()).spawn(ask) {
            tracing::debug!(%error, "paths that are private to the service are known by their names alone");
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
            Arc::new(PrivatePaths { named: paths_named, closed: folders_closed, found: OnceLock::new() });
    }

    pub(crate) fn private(&self) -> Arc<PrivatePaths> {
        Arc::clone(&self.private.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where folders are made.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.work_dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// A folder for one program, for its user alone; removed with what is returned.
    pub(crate) fn make_folder(&self) -> io::Result<TempDir> {
        let within = self.work_dir();
        match private_folder(&within) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.work_dir.is_some() => {
                durable_fs::make_folder(&within, OpenTo::Owner).map_err(io::Error::other)?;
                private_folder(&within)
            }
            made => made,
        }
    }
}

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
}
