//! The running service of a configuration that does not say any more where its data folder is: it was changed, cannot be read, or is away.
//!
//! No file tells of it: what processes have open does, as far as this user may look into them. Others can open files of these names, too:
//! a process counts that is this user's, and where this user is root, one that runs this very program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::client::Client;
use crate::config::{self, ServiceSaid};
use crate::durable_fs::LOCK_FILE;
use crate::engine::Door as _;

impl Client {
    /// The service that runs by this main file: in the data folder that is said, else where one runs that goes by what the file said before.
    pub(crate) fn of_main(said: &ServiceSaid) -> Option<Self> {
        let is_of_main = |client: &Self| {
            let state = client.configuration().ok().flatten();
            state.is_some_and(|state| state.file.as_path() == said.main)
        };
        Self::connect(&said.data_dir).filter(is_of_main).or_else(|| Self::elsewhere(said))
    }

    /// Of one main file there may be several services, each with a data folder of its own from its environment: those are not meant.
    pub(super) fn elsewhere(said: &ServiceSaid) -> Option<Self> {
        if said.by_environment {
            return None;
        }
        let others = data_dirs_in_use().into_iter().filter(|folder| *folder != said.data_dir);
        others.filter_map(|folder| Self::connect(&folder)).find(|client| client.went_by(said))
    }

    /// Whether the file said something else when this service took its data folder from it.
    fn went_by(&self, said: &ServiceSaid) -> bool {
        let Ok(Some(state)) = self.configuration() else { return false };
        if state.file.as_path() != said.main {
            return false;
        }
        let is_named = || state.needs_restart.iter().any(|key| key == "service.data_dir");
        let text = |kept| config::texts_of(&kept).remove(&said.main);
        is_named() || self.kept_configuration().is_ok_and(|kept| text(kept) != said.text)
    }
}

#[cfg(unix)]
fn is_trusted(process: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid();
    let program = |process: &Path| {
        let found = std::fs::metadata(process.join("exe"));
        found.ok().map(|found| (found.dev(), found.ino()))
    };
    let is_this_program = || program(process).is_some_and(|it| program(Path::new("/proc/self")) == Some(it));
    let owner = std::fs::metadata(process).map(|found| found.uid());
    owner.is_ok_and(|owner| owner == own.as_raw() || own.is_root() && is_this_program())
}

#[cfg(not(unix))]
fn is_trusted(_: &Path) -> bool {
    false
}

/// Data folders of processes: each has its lock open, and its store.
fn data_dirs_in_use() -> BTreeSet<PathBuf> {
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let listed = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let processes = listed(Path::new("/proc"))
        .filter(|entry| is_process(&entry.file_name()) && is_trusted(&entry.path()));
    let of_process = |process: std::fs::DirEntry| {
        let files = listed(&process.path().join("fd"));
        let open: Vec<PathBuf> = files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect();
        let locks = open.iter().filter(|file| file.file_name().is_some_and(|name| name == LOCK_FILE));
        let folders = locks.filter_map(|lock| lock.parent()).map(Path::to_owned);
        let has_store = |folder: &PathBuf| open.iter().any(|file| file.starts_with(folder.join("store")));
        folders.filter(has_store).collect::<Vec<_>>()
    };
    processes.flat_map(of_process).collect()
}
