//! What can go wrong in the store, and what the operator can do about it.

use std::io;
use std::path::PathBuf;

use crate::durable_fs::{self, FsError};
use crate::model::fault::{Fault, FaultKind, JobError};
use crate::model::os_text::escaped_path;

/// The store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum StoreError {
    #[error("the data folder {} is in use by {holder}", escaped_path(data_dir))]
    InUse { data_dir: PathBuf, pid: Option<u32>, holder: String },
    /// The same, and it does not answer commands either. Whether the file is there by which they would reach it.
    #[error("the data folder {} is in use by {holder}, which answers no command{}", escaped_path(data_dir), lacks(*has_address))]
    Silent { data_dir: PathBuf, pid: Option<u32>, holder: String, has_address: bool },
    #[error("the system's clock says {now}, which is before 1970")]
    Clock { now: jiff::Timestamp },
    #[error("the data folder {} belongs to user {owner}", escaped_path(data_dir))]
    OtherOwner { data_dir: PathBuf, owner: String },
    /// No service has run on this data folder yet.
    #[error("there is no store in {}", escaped_path(data_dir))]
    NoStore { data_dir: PathBuf },
    #[error(
        "the store in {} has format {found}, and this version knows formats up to {known}",
        escaped_path(data_dir)
    )]
    Newer { data_dir: PathBuf, found: u32, known: u32 },
    /// The keys of `service.at_rest` cannot be read. The public key of one that the store is encrypted by, where it is.
    #[error("the keys of the store cannot be had{}", encrypted_by(sealed_by.as_deref()))]
    Keys { sealed_by: Option<String>, hint: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// There are keys, and not the one that is needed.
    #[error(
        "the store in {} is encrypted by the key of {key}, which {from} does not hold",
        escaped_path(data_dir)
    )]
    NoKey { data_dir: PathBuf, key: String, from: String },
    #[error("a {what} in the store has version {found}, which this version does not know")]
    UnknownVersion { what: &'static str, found: u8 },
    #[error("a {what} in the store is damaged: {detail}")]
    Corrupt { what: &'static str, detail: String },
    #[error("the store in {} is damaged: {detail}", escaped_path(path))]
    Damaged { path: PathBuf, detail: String },
    /// A value cannot be written down: a bug of this program.
    #[error("a {what} cannot be written to the store: {detail}")]
    Encode { what: &'static str, detail: String },
    #[error("cannot {action} {}", escaped_path(path))]
    Folder { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the store cannot {action}")]
    Engine { action: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A write or sync failed: what reached the disk is not known any more.
    #[error("the store in {} cannot {action}", escaped_path(path))]
    Failed { action: &'static str, path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// Slices on their way cannot be stored or read back: their jobs go on from their checkpoints.
    #[error("slices on their way cannot be {action} in {}", escaped_path(path))]
    Slices { action: &'static str, path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// Its files were removed, or others put in their place, while it is open: what is written now nobody will read.
    #[error("the store in {} was removed or replaced under the running service", escaped_path(path))]
    Removed { path: PathBuf },
    /// The store of a cluster. Nothing was changed.
    #[error("the store at {servers} cannot {action}: {detail}")]
    Brokers { action: &'static str, servers: String, detail: String },
    #[error("node {node} has the cluster {cluster}")]
    Taken { cluster: String, node: String },
    /// Nobody works with it any more, or not yet; none: it is being filled.
    #[error("the {place} has no store to work with: {}", moved_to(to.as_deref()))]
    Moved { place: String, to: Option<String> },
    #[error("the store stays where it is: {detail}")]
    NotMoved { detail: String, hint: &'static str },
    /// What this node did since its last sync that came back well nobody else knows.
    #[error("{} has taken the cluster {cluster}", taker(node.as_deref()))]
    TakenOver { cluster: String, node: Option<String> },
    /// A write or sync failed before: what reached the disk is not known any more.
    #[error("the store takes nothing more after a failed write or sync: {reason}")]
    Poisoned { reason: String, hint: Option<String> },
}

fn moved_to(to: Option<&str>) -> String {
    to.map_or_else(
        || "a move into it did not come to its end".to_owned(),
        |to| format!("it moved to the {to}"),
    )
}

fn taker(node: Option<&str>) -> String {
    node.map_or_else(|| "somebody who emptied its bucket".to_owned(), |node| format!("node {node}"))
}

fn lacks(has_address: bool) -> &'static str {
    if has_address { "" } else { ": its `control.json` is not there" }
}

fn encrypted_by(key: Option<&str>) -> String {
    key.map(|key| format!(", which is encrypted by that of {key}")).unwrap_or_default()
}

/// What to do about a process that has the data folder and does not answer.
fn about_silent(pid: Option<u32>, has_address: bool) -> String {
    if let Some(pid) = pid.filter(|pid| is_stopped(*pid)) {
        return format!(
            "that process stands still: it was stopped by a signal (SIGSTOP, Ctrl-Z, a debugger); `kill -CONT {pid}` lets it go on"
        );
    }
    let stop = pid.map_or_else(|| "stop it".to_owned(), |pid| format!("stop it (`kill {pid}`)"));
    let it = if has_address {
        "a service that starts, stops or is very busy answers later"
    } else {
        "a service that runs writes that file anew within a second, unless its disk is full"
    };
    format!(
        "try again: {it}, and a command at work ends by itself; else its log says what it is at: {stop} and start the service again, which goes \
         on with what it had"
    )
}

/// Whether a signal, or who traces it, has stopped a process. Only Linux tells.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program stands in brackets before it, and may have any letters in it.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

impl From<FsError> for StoreError {
    fn from(FsError { action, path, source, .. }: FsError) -> Self {
        Self::Folder { action, path, source }
    }
}

impl StoreError {
    pub(super) fn corrupt(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Corrupt { what, detail: detail.into() }
    }

    /// It and its causes in one line.
    pub(super) fn chain(&self) -> String {
        JobError::from_fault(self).message
    }

    /// Whether a flush or fsync failed, now or before: nothing may be tried again before a restart.
    pub(crate) fn is_poisoned(&self) -> bool {
        matches!(
            self,
            Self::Failed { .. } | Self::Poisoned { .. } | Self::Removed { .. } | Self::TakenOver { .. }
        )
    }

    fn is_denied(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::PermissionDenied)
    }

    fn is_full(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        let source = match self {
            Self::Folder { source, .. } => Some(source),
            Self::Engine { source, .. } | Self::Failed { source, .. } | Self::Slices { source, .. } => {
                source.downcast_ref::<io::Error>()
            }
            _ => None,
        };
        source.map(io::Error::kind)
    }
}

impl Fault for StoreError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Encode { .. } => FaultKind::Bug,
            Self::InUse { .. }
            | Self::Silent { .. }
            | Self::OtherOwner { .. }
            | Self::NoStore { .. }
            | Self::Clock { .. }
            | Self::Keys { .. }
            | Self::NoKey { .. }
            | Self::Taken { .. }
            | Self::Moved { .. }
            | Self::NotMoved { .. }
            | Self::Newer { .. } => FaultKind::Config,
            _ => FaultKind::Storage,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Silent { pid, has_address, .. } => return Some(about_silent(*pid, *has_address)),
            Self::Keys { hint, .. } | Self::Poisoned { hint: Some(hint), .. } => return Some(hint.clone()),
            Self::NoKey { .. } => {
                "put that key back behind the first one (`service.at_rest`; one that was made for the store lies in `at_rest.key` of the data folder); `landfall rekey` has the store written anew before a key is taken \
                 away. Nothing was changed, and nothing is lost while it is away"
            }
            Self::Clock { .. } => {
                "set it right (`timedatectl`; a dead battery, a machine that starts before its network), then start again: the store is whole"
            }
            Self::InUse { .. } => "stop that process first, or give this one its own `service.data_dir`",
            Self::OtherOwner { owner, .. } => {
                let user = if owner.starts_with('#') { format!("'{owner}'") } else { owner.clone() };
                return Some(format!("run the command as that user: `sudo -u {user} landfall …`"));
            }
            Self::NoStore { .. } => "start the service once, or check `service.data_dir`",
            Self::Newer { .. } | Self::UnknownVersion { .. } => {
                "it was written by a later version of landfall: run that version on this data folder"
            }
            Self::Removed { .. } => {
                "put the data folder back (its last backup), then start the service again: it recovers; what was claimed since lies in the claim \
                 folders, see `landfall recover`"
            }
            Self::Brokers { .. } => {
                "see that a majority of the brokers of `service.cluster.servers` runs, has JetStream (2.12 or newer), and lets this node in"
            }
            Self::Taken { node, .. } => {
                return Some(format!(
                    "ask there: run the command on {node}; or stop the service there first"
                ));
            }
            Self::Moved { to, .. } if to.is_some() => {
                "configure where it is now (`service.cluster`, or no such table); `landfall store copy` brings it back"
            }
            Self::Moved { .. } => "say the same `landfall store copy` again: it begins anew",
            Self::NotMoved { hint, .. } => hint,
            Self::TakenOver { .. } => {
                "start this node again: it stands by. It had been silent for longer than its lease (a machine that slept, a network that was cut)"
            }
            Self::Corrupt { .. } => {
                "check the disk; keep a copy of the data folder before anything else is tried"
            }
            Self::Damaged { .. } => {
                "keep a copy of the data folder, then restore its last backup; without one move its `store` folder away and start \
                 anew: `landfall recover CLAIM_DIR` lists the claimed sources that the lost store leaves behind"
            }
            denied if denied.is_denied() => {
                "run the command as the user that the service runs as, who must own the data folder and all in it"
            }
            Self::Slices { .. } => {
                "check the disk of `service.data_dir` (room, errors in the kernel's log): the job then goes on by itself"
            }
            Self::Folder { source, .. } if durable_fs::is_out_of_descriptors(source) => {
                durable_fs::hint_of(source)
            }
            Self::Engine { source, .. } | Self::Failed { source, .. }
                if source.downcast_ref().is_some_and(durable_fs::is_out_of_descriptors) =>
            {
                "raise the limit of open files of the service (`ulimit -n`, `LimitNOFILE`), then start it again"
            }
            full if full.is_full() => {
                "make room on the disk of `service.data_dir` (bytes, or inodes: `df -i`), then start the service again: it recovers everything"
            }
            Self::Folder { .. } => {
                "check that the service's user may write there, and that the disk has room"
            }
            Self::Engine { .. } => {
                "check the disk (room, errors in the kernel's log); a service that runs must then be restarted"
            }
            Self::Failed { .. } | Self::Poisoned { .. } => {
                "check the disk of `service.data_dir` (room, errors in the kernel's log), then start the service again: it recovers everything"
            }
            Self::Encode { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_look_is_told_to_come_as_the_owner() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let folder = StoreError::Folder { action: "look at", path: "/data".into(), source: denied() };
        let engine = StoreError::Engine { action: "be opened", source: Box::new(denied()) };
        for error in [folder, engine] {
            let hint = error.hint().expect("there is one");
            assert!(hint.starts_with("run the command as") && !hint.contains("restart"), "{hint}");
        }
        let full = Box::new(io::Error::from(io::ErrorKind::StorageFull));
        let full = StoreError::Engine { action: "be opened", source: full };
        assert!(full.hint().is_some_and(|hint| hint.starts_with("make room on the disk")));
    }

    #[test]
    fn a_clock_before_1970_is_told_as_that_and_not_as_damage() {
        let error = StoreError::Clock { now: jiff::Timestamp::from_second(-1).expect("a time") };
        assert!(error.to_string().contains("1969-12-31"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("the store is whole")));
        assert_eq!(error.kind(), FaultKind::Config);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_was_stopped_by_a_signal_is_told_with_what_lets_it_go_on() {
        use rustix::process::{Pid, Signal, kill_process};
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("starts");
        let pid = Pid::from_child(&child);
        assert!(!is_stopped(child.id()));
        kill_process(pid, Signal::STOP).expect("is ours");
        while !is_stopped(child.id()) {
            std::thread::yield_now();
        }
        let words = format!("kill -CONT {}", child.id());
        assert!(about_silent(Some(child.id()), true).contains(&words));
        child.kill().expect("is ours");
        child.wait().expect("ends");
    }
}
