//! Files that hold keys: read within a deadline, into memory that is wiped, and never shown.
//!
//! A file may lie on a mount that hangs. Then its reader, a thread, is left behind, and as long as it is, nobody waits for that file again.

mod dpapi;

use std::collections::BTreeSet;
use std::fs::Metadata;
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
    /// A file that they may read or change is refused. `service_user`: the one who owns the data folder, where it is there. Root takes a
    /// key of his, since a command may be root's while the service is not.
    Judged { service_user: Option<u32> },
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
    if let Rights::Judged { service_user } = rights {
        check_rights(&file.metadata()?, service_user)?;
    }
    Ok(dpapi::unprotected(bytes_of(file, bytes_max)?)?)
}

/// Who owns the data folder, and so is the service's user.
#[cfg(unix)]
pub(crate) fn service_user(data_dir: &Path) -> Option<u32> {
    std::fs::metadata(data_dir).ok().map(|found| std::os::unix::fs::MetadataExt::uid(&found))
}

/// Windows keeps rights in another way.
#[cfg(not(unix))]
pub(crate) fn service_user(_: &Path) -> Option<u32> {
    None
}

/// Who may come by a key in a file that is not refused for it, besides the service's user; in words.
pub(crate) fn exposed(path: &Path, service_user: Option<u32>) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    match check_rights(&found, service_user) {
        #[cfg(unix)]
        Err(Unusable::Open { by, mode }) => Some(format!("may be {by} (mode {mode:o})")),
        Ok(()) | Err(Unusable::Read(_)) => None,
    }
}

#[cfg(unix)]
fn check_rights(found: &Metadata, service_user: Option<u32>) -> Result<(), Unusable> {
    use std::os::unix::fs::MetadataExt as _;
    let (mode, us) = (found.mode() & 0o7777, rustix::process::geteuid().as_raw());
    // Root may look at what a service has; and what root has, root alone changes.
    let service_user = if us == 0 { service_user.unwrap_or(us) } else { us };
    // A shell's pipe (`/dev/fd/63`) is whose process it is.
    let by = match mode {
        _ if !found.is_file() => return Ok(()),
        _ if ![0, service_user].contains(&found.uid()) => "changed by its owner, who is another user",
        mode if mode & 0o007 != 0 => "read or changed by every user",
        mode if mode & 0o020 != 0 => "changed by its group",
        _ => return Ok(()),
    };
    Err(Unusable::Open { by, mode })
}

/// Who may read it there is in its list of rights, which is not looked at.
#[cfg(not(unix))]
fn check_rights(_: &Metadata, _: Option<u32>) -> Result<(), Unusable> {
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
        let kind = |timeout| match read_within(timeout, &path, 100, Rights::Judged { service_user: None }) {
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

    /// Root alone may give a file to somebody else.
    #[cfg(unix)]
    #[test]
    fn a_key_of_another_user_is_refused_also_by_root_unless_he_is_the_services() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        durable_fs::write_secret(&path, b"key").expect("writes");
        let is_taken = |service_user| read(&path, 100, Rights::Judged { service_user }).is_ok();
        assert!(is_taken(None) && is_taken(Some(4711)) && exposed(&path, None).is_none(), "it is root's");
        std::os::unix::fs::chown(&path, Some(4711), None).expect("root may");
        assert_eq!([None, Some(0), Some(4712), Some(4711)].map(is_taken), [false, false, false, true]);
        let said = exposed(&path, Some(4712)).expect("is told");
        assert!(said.contains("its owner, who is another user"), "{said}");
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
