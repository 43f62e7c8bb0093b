//! A file operation that failed: what was tried, where, what it waits for and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::confined::hint_if_confined;
use super::landing;
use super::names::{Need, Refusal, parent_of};
use super::platform::{self, is_out_of_descriptors};
use super::rights;
use crate::model::fault::{Fault, FaultKind, WaitsFor};
use crate::model::os_text::escaped_path;

/// The action of an [`FsError`] after which nothing may be trusted.
pub(super) const SYNC: &str = "sync";
/// The actions that only look.
const READING: [&str; 10] = [
    "read",
    "read what its sender says of it",
    "open",
    "open the folder",
    "look at",
    "look at the folder",
    "list",
    "find the file system of",
    "compare",
    "verify the copy",
];
/// The actions that are about the folder which is named; others are about a file, and its folder lets them be done or not.
const OF_FOLDERS: [&str; 2] = ["make the folder", "use the folder"];

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
                let mut refusals: Vec<_> = refusals.collect();
                if refusals.is_empty() {
                    refusals.extend(rights::sticky_refusal(old));
                }
                all_told(&refusals)
            }
            io::ErrorKind::NotFound => {
                Some(format!("check that {} is there and its file system is mounted", escaped_path(new)))
            }
            _ => None,
        }
    }

    /// What keeps everybody from the file itself that was to be renamed, replaced or removed.
    fn closed(&self) -> Option<String> {
        let is_by_folder = READING.contains(&self.action) || OF_FOLDERS.contains(&self.action);
        let is_refused = self.source.kind() == io::ErrorKind::PermissionDenied && is_refused(&self.source);
        if is_by_folder || !is_refused {
            return None;
        }
        let mut files = [Some(&self.path), self.to.as_ref()].into_iter().flatten();
        files.find_map(|file| Some(rights::closed_file(file)?.to_string()))
    }

    /// Where what was needed.
    fn need(&self) -> (&Path, Need) {
        if READING.contains(&self.action) {
            (&self.path, Need::Read)
        } else if OF_FOLDERS.contains(&self.action) {
            (&self.path, Need::Write)
        } else {
            (parent_of(&self.path), Need::Write)
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
        if let Some(closed) = self.closed() {
            return Some(going_on(&closed));
        }
        let (path, need) = self.need();
        Some(self.hint_between().unwrap_or_else(|| hint_at(path, need, &self.source)))
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
    match platform::kind_of_error(error) {
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

/// What keeps files from being taken out of a folder into a claim folder, and what lifts it; all of it at once: who lifts the one thing is not
/// to be told of the next one then. None where nothing that is known does.
pub(crate) fn what_to_claim(landing: &Path, claims: &Path) -> Option<String> {
    let mut lacks: Vec<_> = rights::refusal(landing, Need::Take).into_iter().collect();
    if parent_of(claims) != landing {
        let elsewhere = rights::refusal(claims, Need::Write);
        lacks.extend(elsewhere.filter(|lack| lacks.iter().all(|known| known.at != lack.at)));
    }
    all_told(&lacks)
}

/// What to do where a file could not be claimed, or where it was tried whether one can be.
pub(crate) fn hint_of_claim(landing: &Path, claims: &Path, error: &FsError) -> Option<String> {
    let lacks = is_refused(&error.source).then(|| what_to_claim(landing, claims)).flatten();
    match error.source.kind() {
        io::ErrorKind::CrossesDevices => Some(
            "set `source.claim_dir` to a folder of the file system, and of the mount, where the files land: a file is claimed by renaming it"
                .to_owned(),
        ),
        _ => match (error.closed(), lacks) {
            (Some(closed), Some(lacks)) => Some(format!("{closed}; and {lacks}")),
            (_, lacks) => lacks.or_else(|| error.hint()),
        },
    }
}

/// What to do where a file may not be read that is to be taken then.
pub(crate) fn hint_to_take(file: &Path, error: &io::Error) -> String {
    let refusals = |_| {
        let folder = rights::refusal(parent_of(file), Need::Take);
        let own = rights::refusal(file, Need::Read);
        // What keeps from the folder keeps from its files.
        let own = own.filter(|own| folder.as_ref().is_none_or(|folder| folder.at != own.at));
        all_told(&folder.into_iter().chain(own).collect::<Vec<_>>())
    };
    let told = Some(error).filter(|error| is_refused(error)).and_then(refusals);
    told.unwrap_or_else(|| hint_at(file, Need::Read, error))
}

/// Refused by the system's rights, not by a rule of ours.
fn is_refused(error: &io::Error) -> bool {
    let by_rights =
        matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
    by_rights && landing::hint_of(error).is_none()
}

fn all_told(refusals: &[Refusal]) -> Option<String> {
    let mut told: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    told.dedup();
    (!told.is_empty()).then(|| going_on(&told.join("; and ")))
}

fn going_on(what_to_do: &str) -> String {
    format!("{what_to_do}; what waits goes on by itself")
}

/// What to do about an error at a path: whoever needed something there. What the system refuses is told with its reason and the commands
/// that grant it.
pub(crate) fn hint_at(path: &Path, need: Need, error: &io::Error) -> String {
    let refusal = || match need {
        Need::Read if path.is_dir() => rights::after_refusal(path, Need::List),
        // What is made anew or removed is its folder's matter.
        Need::Write if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) => {
            rights::after_refusal(parent_of(path), need)
        }
        _ => rights::after_refusal(path, need),
    };
    match Some(error).filter(|error| is_refused(error)).and_then(|_| refusal()) {
        Some(refusal) => going_on(&refusal.to_string()),
        None if error.kind() == io::ErrorKind::StorageFull && has_no_inodes(path) => {
            "no inode is left on that file system, whatever room it has (`df -i`): remove files there, or make it anew with more; what \
             waits goes on by itself"
                .to_owned()
        }
        None if error.kind() == io::ErrorKind::InvalidFilename && is_path_too_long(path) => {
            "the whole path is longer than the system takes, not a name in it: have senders use fewer folders in each other, or shorter \
             names of folders; or watch, and write to, a folder nearer to the root"
                .to_owned()
        }
        None => hint_if_confined(error).unwrap_or_else(|| hint_of(error)).to_owned(),
    }
}

/// Whether it is the path that has no room, its file or what is made beside it in its folder.
fn is_path_too_long(path: &Path) -> bool {
    path.as_os_str().len() + NAME_BYTES >= PATH_BYTES_MAX
}

/// Linux takes no longer path, with its end.
const PATH_BYTES_MAX: usize = 4096;
/// What is made beside a file has a name of so many bytes at most.
const NAME_BYTES: usize = 256;

/// Whether no file can be made where a path lies, or would lie.
fn has_no_inodes(path: &Path) -> bool {
    let found = path.ancestors().find_map(|path| platform::files_free_and_total(path).ok());
    found.is_some_and(|(free, total)| free == 0 && total > 0)
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
    match platform::kind_of_error(error) {
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
        io::ErrorKind::CrossesDevices => {
            "name two places on one file system, and below one mount of it: a file is renamed from the one to the other"
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
