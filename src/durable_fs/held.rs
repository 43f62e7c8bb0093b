//! Folders that one process has for itself, told by a lock file in them.
//!
//! A lock that is held keeps a file system from being unmounted. So a process may let go of the lock of a folder that it does not use just
//! now: its note stays there, with a sign that it runs, and whoever comes is refused as long as the sign is shown.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::FsError;
use super::platform;
use super::running_sign::RunningSign;

/// In the folder.
pub(crate) const LOCK_FILE: &str = "landfall.lock";
/// Who has the folder. On Windows a locked file cannot be read by others, so that it stands in a file of its own.
const HOLDER_FILE: &str = if cfg!(windows) { "landfall.holder" } else { LOCK_FILE };
/// A holder's note is shorter; whatever else lies there is not read in whole.
const HOLDER_BYTES_MAX: u64 = 4096;

/// A folder, ours until this is dropped or the process ends, however that happens: the lock is the operating system's. Where a
/// [`RunningSign`] was left there it is ours as long as that is shown.
#[derive(Debug)]
pub(crate) struct HeldFolder {
    lock: File,
}

impl HeldFolder {
    /// Whether its lock file still has a name: a folder that was removed and made anew may have the number of the old one.
    pub(crate) fn has_name(&self) -> bool {
        platform::open_link_count(&self.lock).is_ok_and(|names| names > 0)
    }
}

#[derive(Debug)]
pub(crate) enum Hold {
    Ours(HeldFolder),
    Theirs(Holder),
    NoLocks(io::Error),
}

/// Who has a folder, as far as its note tells.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    note: Option<Note>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    pid: u32,
    host: Option<String>,
    started_at: jiff::Timestamp,
    /// The name of the holder's [`RunningSign`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sign: Option<String>,
}

impl Holder {
    pub(crate) fn pid(&self) -> Option<u32> {
        self.note.as_ref().map(|note| note.pid)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.note {
            Some(Note { pid, host: Some(host), started_at, .. }) => {
                write!(f, "process {pid} on {host}, since {started_at}")
            }
            Some(Note { pid, host: None, started_at, .. }) => write!(f, "process {pid}, since {started_at}"),
            None => f.write_str("another process"),
        }
    }
}

/// Whether any process ever took this folder: who only looks must not leave a lock that its owner cannot open.
pub(crate) fn was_held(folder: &Path) -> bool {
    platform::kind_at(&folder.join(LOCK_FILE)).is_ok()
}

/// Who has a folder; none where nobody has, or where it is not there. It is not taken: who takes it in the moment of the look tries again.
pub(crate) fn holder_of(folder: &Path) -> Result<Option<Holder>, FsError> {
    let path = folder.join(LOCK_FILE);
    let lock = match platform::open_own(&path, false) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FsError::new("open", &path, error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder { note: read_note(&folder.join(HOLDER_FILE)) })),
        Err(TryLockError::Error(error)) => Err(FsError::new("lock", &path, error)),
    }
}

/// Takes an existing folder for this process; a second take is refused within one process too. `sign` is left there, if it is given.
pub(crate) fn hold_folder(folder: &Path, sign: Option<&RunningSign>) -> Result<Hold, FsError> {
    let path = folder.join(LOCK_FILE);
    let lock = platform::open_own(&path, true).map_err(|error| FsError::new("open", &path, error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Ok(Hold::Theirs(Holder { note: read_note(&folder.join(HOLDER_FILE)) }));
        }
        Err(TryLockError::Error(error)) if platform::has_no_locks(&error) => return Ok(Hold::NoLocks(error)),
        Err(TryLockError::Error(error)) => return Err(FsError::new("lock", &path, error)),
    }
    let note = read_note(&folder.join(HOLDER_FILE));
    let sign = sign.map(RunningSign::name);
    match note.as_ref().and_then(|note| note.sign.as_deref()) {
        Some(left) if Some(left) == sign => return Ok(Hold::Ours(HeldFolder { lock })),
        Some(left) if RunningSign::is_shown(left) => return Ok(Hold::Theirs(Holder { note })),
        _ => {}
    }
    write_note(&folder.join(HOLDER_FILE), sign)?;
    Ok(Hold::Ours(HeldFolder { lock }))
}

fn write_note(path: &Path, sign: Option<&str>) -> Result<(), FsError> {
    let (host, started_at) = (host(), crate::clock::now());
    let note = Note { pid: std::process::id(), host, started_at, sign: sign.map(str::to_owned) };
    let write = || -> io::Result<()> {
        let mut file = platform::open_own(path, true)?;
        file.set_len(0)?;
        file.rewind()?;
        let mut text = serde_json::to_vec(&note)?;
        text.push(b'\n');
        file.write_all(&text)
    };
    write().map_err(|error| FsError::new("write", path, error))
}

fn read_note(path: &Path) -> Option<Note> {
    let mut text = Vec::new();
    // A note that cannot be read leaves its folder held all the same, by somebody whom we cannot name.
    platform::open_own(path, false).ok()?.take(HOLDER_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn host() -> Option<String> {
    let name = if cfg!(windows) {
        std::env::var("COMPUTERNAME").ok()
    } else {
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())
    };
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_is_refused_with_its_holder_until_it_is_let_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let Hold::Ours(held) = hold_folder(folder.path(), None).expect("holds") else {
            panic!("nobody has it")
        };
        let Hold::Theirs(holder) = hold_folder(folder.path(), None).expect("asks") else {
            panic!("it is held")
        };
        assert_eq!(holder.pid(), Some(std::process::id()));
        assert!(holder.to_string().starts_with(&format!("process {}", std::process::id())), "{holder}");
        drop(held);
        assert!(matches!(hold_folder(folder.path(), None).expect("holds"), Hold::Ours(_)));
    }

    #[test]
    fn who_has_a_folder_is_told_without_taking_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let holder = || holder_of(folder.path()).expect("asks");
        assert!(holder().is_none() && holder_of(&folder.path().join("away")).expect("asks").is_none());
        let Hold::Ours(held) = hold_folder(folder.path(), None).expect("holds") else {
            panic!("nobody has it")
        };
        assert_eq!(holder().and_then(|holder| holder.pid()), Some(std::process::id()));
        drop(held);
        assert!(holder().is_none());
        assert!(matches!(hold_folder(folder.path(), None).expect("holds"), Hold::Ours(_)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_was_let_go_is_its_holders_as_long_as_he_shows_that_he_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let sign = RunningSign::new().expect("a sign");
        let take = |sign: Option<&RunningSign>| hold_folder(folder.path(), sign).expect("asks");
        for _ in 0..2 {
            assert!(matches!(take(Some(&sign)), Hold::Ours(_)));
            let Hold::Theirs(holder) = take(None) else { panic!("its holder runs") };
            assert_eq!(holder.pid(), Some(std::process::id()));
        }
        drop(sign);
        assert!(matches!(take(None), Hold::Ours(_)));
    }

    #[cfg(unix)]
    #[test]
    fn a_note_that_cannot_be_read_still_leaves_the_folder_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let Hold::Ours(_held) = hold_folder(folder.path(), None).expect("holds") else {
            panic!("nobody has it")
        };
        std::fs::write(folder.path().join(HOLDER_FILE), "no note").expect("writes");
        let Hold::Theirs(holder) = hold_folder(folder.path(), None).expect("asks") else {
            panic!("it is held")
        };
        assert_eq!((holder.pid(), holder.to_string()), (None, "another process".to_owned()));
    }
}
