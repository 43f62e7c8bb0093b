//! Files that hold keys: read within a deadline, into memory that is wiped, and never shown.
//!
//! A file may lie on a mount that hangs. Then its reader, a thread, is left behind, and as long as it is, nobody waits for that file again.

mod dpapi;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::durable_fs;

/// Bytes that are wiped when they are dropped.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// What a mount that works may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Files whose readers were left behind.
static HANGING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Whether others than the service's user may come by a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// A file that they may read or change is refused.
    Judged,
    /// They are the operator's business.
    AsTheyAre,
}

/// A key file that cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    Read(io::Error),
    #[cfg(unix)]
    Open {
        by: &'static str,
        mode: u32,
    },
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// All of a file, which has no more than so many bytes.
pub(crate) fn read(path: &Path, bytes_max: usize, rights: Rights) -> Result<Secret, Unusable> {
    read_within(TIMEOUT, path, bytes_max, rights)
}

/// The same, where nothing but its bytes is looked at.
pub(crate) fn bytes(path: &Path, bytes_max: usize) -> io::Result<Secret> {
    read(path, bytes_max, Rights::AsTheyAre).map_err(|unusable| match unusable {
        Unusable::Read(error) => error,
        #[cfg(unix)]
        Unusable::Open { by, .. } => io::Error::other(by),
    })
}

/// The same, of a file that is text.
pub(crate) fn text(path: &Path, bytes_max: usize) -> io::Result<Zeroizing<String>> {
    text_of(&bytes(path, bytes_max)?)
}

pub(crate) fn text_of(bytes: &Secret) -> io::Result<Zeroizing<String>> {
    let text = std::str::from_utf8(bytes).map_err(|_| io::Error::other("it is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Whether a key is itself encrypted by age, which no service can open.
pub(crate) fn is_encrypted(text: &str) -> bool {
    text.trim_start().starts_with("age-encryption.org/") || text.contains("BEGIN AGE ENCRYPTED FILE")
}

/// All that comes, in a buffer that is wiped and never grown: no copy is left behind.
pub(crate) fn bytes_of(from: impl Read, bytes_max: usize) -> io::Result<Secret> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    from.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!("more than {} KiB are no keys", bytes_max >> 10)));
    }
    Ok(bytes)
}

fn hanging() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    HANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_answer() -> Unusable {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer: its mount may hang").into()
}

fn read_within(timeout: Duration, path: &Path, bytes_max: usize, rights: Rights) -> Result<Secret, Unusable> {
    if hanging().contains(path) {
        return Err(no_answer());
    }
    let (give, taken) = sync_channel(1);
    let named = path.to_owned();
    let done = Arc::new(Mutex::new(false));
    let is_done = Arc::clone(&done);
    let reader = std::thread::Builder::new().name("key-file".into());
    reader.spawn(move || {
        give.send(read_file(&named, bytes_max, rights)).unwrap_or_default(); // nobody waits any more
        *is_done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        hanging().remove(&named);
    })?;
    taken.recv_timeout(timeout).unwrap_or_else(|_| {
        // The lock is held meanwhile: what is put on the list is taken off it.
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        if !*done {
            hanging().insert(path.to_owned());
        }
        Err(no_answer())
    })
}

fn read_file(path: &Path, bytes_max: usize, rights: Rights) -> Result<Secret, Unusable> {
    let file = durable_fs::open_named(path)?;
    if rights == Rights::Judged {
        check_rights(&file)?;
    }
    Ok(dpapi::unprotected(bytes_of(file, bytes_max)?)?)
}

#[cfg(unix)]
fn check_rights(file: &File) -> Result<(), Unusable> {
    use std::os::unix::fs::MetadataExt as _;
    let found = file.metadata()?;
    let (mode, us) = (found.mode() & 0o7777, rustix::process::geteuid().as_raw());
    // A shell's pipe (`/dev/fd/63`) is whose process it is.
    let by = match mode {
        _ if !found.is_file() => return Ok(()),
        // Root may look at what a service has; and what root has, root alone changes.
        _ if us != 0 && ![0, us].contains(&found.uid()) => "changed by its owner, who is another user",
        mode if mode & 0o007 != 0 => "read or changed by every user",
        mode if mode & 0o020 != 0 => "changed by its group",
        _ => return Ok(()),
    };
    Err(Unusable::Open { by, mode })
}

/// Who may read it there is in its list of rights, which is not looked at.
#[cfg(not(unix))]
fn check_rights(_: &File) -> Result<(), Unusable> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who reads a pipe to which nobody writes waits.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_key_file_that_does_not_answer_is_refused_in_time_and_waited_for_once() {
        use std::os::fd::AsRawFd as _;
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        let kind = |timeout| match read_within(timeout, &path, 100, Rights::Judged) {
            Err(Unusable::Read(error)) => Some(error.kind()),
            Err(Unusable::Open { .. }) | Ok(_) => None,
        };
        assert_eq!(kind(Duration::from_millis(50)), Some(io::ErrorKind::TimedOut));
        // Nobody waits the hour.
        assert_eq!(kind(Duration::from_hours(1)), Some(io::ErrorKind::TimedOut));
        drop(writer);
        while hanging().contains(&path) {
            std::thread::yield_now();
        }
        assert!(bytes(&path, 100).expect("it ends").is_empty());
    }

    #[test]
    fn a_key_file_that_is_too_long_or_no_text_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        for (content, word) in [(vec![b'#'; (64 << 10) + 1], "more than 64 KiB"), (vec![0xff], "no text")] {
            durable_fs::write_secret(&path, &content).expect("writes");
            let error = text(&path, 64 << 10).expect_err("holds no keys");
            assert!(error.to_string().contains(word), "{error}");
            durable_fs::remove_file(&path).expect("removes");
        }
    }
}
