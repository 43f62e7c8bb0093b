//! A file operation that failed: what was tried, where, what it waits for and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::landing;
use super::names::{Need, parent_of};
use super::platform::{self, is_out_of_descriptors};
use super::rights;
use crate::model::fault::{Fault, FaultKind, WaitsFor};
use crate::model::os_text::escaped_path;

/// The action of an [`FsError`] after which nothing may be trusted.
pub(super) const SYNC: &str = "sync";
/// The actions that only look.
const READING: [&str; 6] =
    ["read", "open", "look at", "list", "look at the folder", "find the file system of"];

/// A file operation that failed: what was tried, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}{}", escaped_path(path), to.as_deref().map(|to| format!(" to {}", escaped_path(to))).unwrap_or_default())]
pub struct FsError {
    /// An infinitive phrase: `rename`, `sync`.
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Where to, of a rename or a move.
    pub to: Option<PathBuf>,
    /// Why.
    pub source: io::Error,
}

impl FsError {
    /// An error of `action` at `path`.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), to: None, source }
    }

    /// An error of `action` from one place to another.
    pub fn between(action: &'static str, from: &Path, to: &Path, source: io::Error) -> Self {
        Self { action, path: from.to_owned(), to: Some(to.to_owned()), source }
    }

    /// Which of the two folders is in the way; none where neither is, or where what was refused says itself what to do.
    fn hint_between(&self) -> Option<String> {
        if landing::hint_of(&self.source).is_some() {
            return None;
        }
        let (old, new) = (parent_of(&self.path), parent_of(self.to.as_ref()?));
        match self.source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                let refusals =
                    [old, new].into_iter().filter_map(|folder| rights::refusal(folder, Need::Write));
                let mut refusals: Vec<String> = refusals.map(|refusal| refusal.to_string()).collect();
                refusals.dedup();
                if refusals.is_empty() {
                    refusals.extend(rights::sticky_refusal(old).map(|refusal| refusal.to_string()));
                }
                (!refusals.is_empty()).then(|| going_on(&refusals.join("; and ")))
            }
            io::ErrorKind::NotFound => {
                Some(format!("check that {} is there and its file system is mounted", escaped_path(new)))
            }
            _ => None,
        }
    }

    /// Whether an fsync failed: what was written before may be lost, and the service must stop instead of trying again.
    pub fn is_failed_sync(&self) -> bool {
        self.action == SYNC
    }
}

impl Fault for FsError {
    fn kind(&self) -> FaultKind {
        FaultKind::Storage
    }

    fn hint(&self) -> Option<String> {
        if self.is_failed_sync() {
            let hint = "look at that disk (room, errors in the system's log), then start the service again: it recovers everything";
            return Some(hint.to_owned());
        }
        let need = if READING.contains(&self.action) { Need::Read } else { Need::Write };
        Some(self.hint_between().unwrap_or_else(|| hint_at(&self.path, need, &self.source)))
    }

    fn waits_for(&self) -> WaitsFor {
        waits_for(&self.source)
    }
}

pub(crate) fn waits_for(error: &io::Error) -> WaitsFor {
    if is_out_of_descriptors(error) {
        return WaitsFor::Retry;
    }
    if platform::is_link_loop(error) {
        return WaitsFor::Config;
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename => WaitsFor::Config,
        io::ErrorKind::StaleNetworkFileHandle
        | io::ErrorKind::NotConnected
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::TimedOut => WaitsFor::Mount,
        io::ErrorKind::OutOfMemory
        | io::ErrorKind::ResourceBusy
        | io::ErrorKind::ExecutableFileBusy
        | io::ErrorKind::WouldBlock
        | io::ErrorKind::Interrupted => WaitsFor::Retry,
        _ => WaitsFor::Disk,
    }
}

fn going_on(what_to_do: &str) -> String {
    format!("{what_to_do}; what waits goes on by itself")
}

/// What to do about an error at a path: whoever needed something there. What the system refuses is told with its reason and the commands
/// that grant it.
pub(crate) fn hint_at(path: &Path, need: Need, error: &io::Error) -> String {
    let is_refused =
        matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
    let refusal = || match need {
        Need::Read if path.is_dir() => rights::after_refusal(path, Need::List),
        // What is made anew or removed is its folder's matter.
        Need::Write if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) => {
            rights::after_refusal(parent_of(path), need)
        }
        _ => rights::after_refusal(path, need),
    };
    match Some(error).filter(|error| is_refused && landing::hint_of(error).is_none()).and_then(|_| refusal())
    {
        Some(refusal) => going_on(&refusal.to_string()),
        None => hint_of(error).to_owned(),
    }
}

/// What to do about an error of which only the kind is known.
pub(crate) fn hint_of(error: &io::Error) -> &str {
    if let Some(hint) = landing::hint_of(error) {
        return hint;
    }
    if is_out_of_descriptors(error) {
        return "raise the limit of open files of the service (`ulimit -n`, `LimitNOFILE`); until then it goes on as files are closed";
    }
    if platform::is_link_loop(error) {
        return "take the symbolic link away that lies there: none is followed in this place; what waits goes on by itself";
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on that disk; what waits goes on by itself"
        }
        io::ErrorKind::PermissionDenied => {
            "let the service's user into that folder, and write there; what waits goes on by itself"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount that file system writable; what waits goes on by itself",
        io::ErrorKind::NotFound => "check that the folder is there and its file system is mounted",
        io::ErrorKind::NotADirectory => {
            "take the file away that lies where a folder is wanted; what waits goes on by itself"
        }
        io::ErrorKind::StaleNetworkFileHandle
        | io::ErrorKind::NotConnected
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::TimedOut => {
            "mount that file system again, or look at its server; what waits goes on by itself"
        }
        io::ErrorKind::IsADirectory => {
            "take the folder away that lies where a file is wanted; what waits goes on by itself"
        }
        io::ErrorKind::InvalidFilename => {
            "shorten the name: set the rule's path so that it fits that file system"
        }
        io::ErrorKind::FileTooLarge => {
            "that file system takes no file of this size: choose another one for this path"
        }
        io::ErrorKind::OutOfMemory => {
            "give the service, or the machine, more memory; what waits goes on by itself"
        }
        io::ErrorKind::ResourceBusy | io::ErrorKind::ExecutableFileBusy | io::ErrorKind::WouldBlock => {
            "somebody else holds that file; what waits goes on by itself when it is let go"
        }
        io::ErrorKind::Interrupted => "nothing is to be done: it is tried again by itself",
        _ => "look at the disk and at the system's log; what waits goes on by itself when it works again",
    }
}

/// Whether this process may make and rename files in a folder, by its rights as they are; where nobody can tell, it may.
pub(crate) fn may_write_in(folder: &Path) -> bool {
    platform::may(folder, true)
}

/// Whether this process may list a folder and go into it.
pub(crate) fn may_list(folder: &Path) -> bool {
    platform::may(folder, false)
}

/// An [`FsError`] that can be told several times: the system tells a failed sync once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) action: &'static str,
    pub(super) kind: io::ErrorKind,
    pub(super) code: Option<i32>,
}

impl Failure {
    pub(super) fn of(error: &FsError) -> Self {
        Self { action: error.action, kind: error.source.kind(), code: error.source.raw_os_error() }
    }

    pub(super) fn tell(self, folder: &Path) -> FsError {
        let source = self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error);
        FsError::new(self.action, folder, source)
    }
}
