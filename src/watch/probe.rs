//! A close look at one file: what it is, whether somebody writes it, how it begins.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::durable_fs;
use crate::model::identity::FileIdentity;

/// How much of a file's beginning is read to tell its format.
const HEAD_BYTES: u64 = 4096;

/// What a close look found.
pub(super) enum Examined {
    /// Nothing lies there, or no regular file.
    Gone,
    /// Somebody has it open for writing.
    HasWriter,
    /// Nobody has; or, where not even that can be asked (`is_blind`), the system does not tell.
    Quiet { identity: FileIdentity, head: Vec<u8>, is_blind: bool },
}

/// Set by the first file of which the system does not tell.
static MET_UNKNOWN: AtomicBool = AtomicBool::new(cfg!(not(any(target_os = "linux", windows))));

pub(super) fn is_blind() -> bool {
    MET_UNKNOWN.load(Ordering::Relaxed)
}

/// Whether somebody has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writers {
    None,
    Some,
    /// The system does not tell this user, or not on this file system.
    Unknown,
}

/// Looks at a file; with `peek`, its first bytes are read.
pub(super) fn examine(path: &Path, peek: bool) -> io::Result<Examined> {
    examine_by(path, peek, Manner::Asks)
}

/// How writers are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// By a lease, or on Windows by opening without sharing: for that moment it holds up who would write.
    Asks,
    /// Nobody is held up: by what the system tells of its processes.
    Looks,
}

pub(super) fn examine_by(path: &Path, peek: bool, manner: Manner) -> io::Result<Examined> {
    let opened = match manner {
        Manner::Asks => open(path),
        Manner::Looks => open_beside(path),
    };
    let file = match opened {
        Ok(file) => file,
        Err(error) => return refused(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(Examined::Gone);
    }
    let writers = match manner {
        Manner::Asks => writers_of(&file),
        Manner::Looks => seen_writers_of(&file),
    };
    if writers == Writers::Some {
        return Ok(Examined::HasWriter);
    }
    if writers == Writers::Unknown && manner == Manner::Asks {
        MET_UNKNOWN.store(true, Ordering::Relaxed);
    }
    let mut head = Vec::new();
    if peek {
        (&file).take(HEAD_BYTES).read_to_end(&mut head)?;
    }
    Ok(Examined::Quiet {
        identity: durable_fs::identity(&file)?,
        head,
        is_blind: writers == Writers::Unknown,
    })
}

/// Whether somebody has a file open for writing that no sender has to do with.
pub(super) fn is_written(path: &Path) -> bool {
    match open(path) {
        Ok(file) => writers_of(&file) == Writers::Some,
        Err(error) => matches!(refused(error), Ok(Examined::HasWriter)),
    }
}

/// Shared with everybody.
fn open_beside(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    let opened = durable_fs::open_unblocked(path);
    #[cfg(windows)]
    let opened = durable_fs::open_source(path);
    opened
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    durable_fs::open_unblocked(path)
}

#[cfg(unix)]
fn refused(error: io::Error) -> io::Result<Examined> {
    match error.raw_os_error() {
        // Gone, a link, or a socket by now.
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENXIO) => Ok(Examined::Gone),
        _ => Err(error),
    }
}

/// Reading shared with readers only: refused while anybody has the file open for writing.
#[cfg(windows)]
fn open(path: &Path) -> io::Result<File> {
    use std::fs::OpenOptions;
    use std::os::windows::fs::OpenOptionsExt as _;
    use windows_sys::Win32::Storage::FileSystem::{
        FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_DELETE, FILE_SHARE_READ,
    };
    OpenOptions::new()
        .read(true)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_DELETE)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

#[cfg(windows)]
fn refused(error: io::Error) -> io::Result<Examined> {
    use windows_sys::Win32::Foundation::{ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION};
    let code = error.raw_os_error().and_then(|code| u32::try_from(code).ok());
    match code {
        Some(ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION) => Ok(Examined::HasWriter),
        _ => match durable_fs::not_gone(error) {
            error if error.kind() == io::ErrorKind::NotFound => Ok(Examined::Gone),
            error => Err(error),
        },
    }
}

/// While anybody has the file open for writing the kernel grants no read lease. Another user's file without `CAP_LEASE`, and a file system
/// without leases, tell nothing: then processes are looked through as far as this user may.
#[cfg(target_os = "linux")]
fn writers_of(file: &File) -> Writers {
    use std::os::fd::AsRawFd as _;
    use std::sync::Once;
    static LEASES_ARE_SAFE: Once = Once::new();
    LEASES_ARE_SAFE.call_once(ignore_broken_leases);
    match lease(file.as_raw_fd(), libc::F_RDLCK) {
        Ok(()) => {
            // Closing the file gives the lease back in any case.
            lease(file.as_raw_fd(), libc::F_UNLCK).ok();
            Writers::None
        }
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Writers::Some,
        Err(_) if super::processes::writes(file) => Writers::Some,
        Err(_) => Writers::Unknown,
    }
}

/// Those that this user may see.
#[cfg(target_os = "linux")]
fn seen_writers_of(file: &File) -> Writers {
    if super::processes::writes(file) { Writers::Some } else { Writers::Unknown }
}

#[cfg(not(target_os = "linux"))]
fn seen_writers_of(_: &File) -> Writers {
    Writers::Unknown
}

/// Opening it without sharing has told already.
#[cfg(windows)]
fn writers_of(_: &File) -> Writers {
    Writers::None
}

#[cfg(not(any(target_os = "linux", windows)))]
fn writers_of(_: &File) -> Writers {
    Writers::Unknown
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "leases have no safe interface; the descriptor is open for the whole call")]
fn lease(descriptor: std::os::fd::RawFd, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: F_SETLEASE takes an integer and touches no memory of ours.
    let result = unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, kind) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether files of others, which this user may not lease, may come into this folder.
#[cfg(target_os = "linux")]
pub(super) fn is_blind_to(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid().as_raw();
    // A folder that cannot be looked at is told where it is watched.
    let is_shared =
        std::fs::metadata(folder).is_ok_and(|found| found.uid() != own || found.mode() & 0o022 != 0);
    is_shared && !durable_fs::has_capability(durable_fs::CAP_LEASE)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_blind_to(_: &Path) -> bool {
    false
}

/// A writer that opens the file during the lease makes the kernel send SIGIO, whose default ends the process.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "setting a signal to be ignored has no safe interface")]
fn ignore_broken_leases() {
    // SAFETY: ignoring a signal installs no handler of ours.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn an_open_writer_is_seen_until_it_closes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        let writer = File::create(&path).expect("creates");
        assert!(matches!(examine(&path, false), Ok(Examined::HasWriter)));
        drop(writer);
        assert!(matches!(examine(&path, true), Ok(Examined::Quiet { head, .. }) if head.is_empty()));
    }

    /// The kernel makes the writer wait for the lease's end, and sends its holder a signal whose default ends the process.
    #[test]
    fn a_writer_that_opens_the_file_in_the_moment_of_the_lease_neither_fails_nor_ends_us() {
        use std::os::fd::AsRawFd as _;
        use std::time::{Duration, Instant};
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        std::fs::write(&path, b"x").expect("writes");
        let reader = open(&path).expect("opens");
        assert_eq!(writers_of(&reader), Writers::None);
        lease(reader.as_raw_fd(), libc::F_RDLCK).expect("nobody writes");
        let at = path.clone();
        let writer = std::thread::spawn(move || File::options().append(true).open(at));
        let began = Instant::now();
        // From the moment that a writer asks, the lease counts as one to be given back.
        while held(&reader) == libc::F_RDLCK {
            assert!(began.elapsed() < Duration::from_secs(20), "the writer did not ask");
            std::thread::yield_now();
        }
        drop(reader);
        let writer = writer.join().expect("does not panic").expect("the writer has the file");
        assert!(matches!(examine(&path, false), Ok(Examined::HasWriter)));
        drop(writer);
        assert!(matches!(examine(&path, false), Ok(Examined::Quiet { .. })));
    }

    #[allow(unsafe_code, reason = "leases have no safe interface; the descriptor is open for the whole call")]
    fn held(file: &File) -> libc::c_int {
        use std::os::fd::AsRawFd as _;
        // SAFETY: F_GETLEASE takes nothing and touches no memory of ours.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) }
    }

    #[test]
    fn looks_and_writers_get_along_however_often_they_meet() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        std::fs::write(&path, b"x").expect("writes");
        let at = path.clone();
        let writer = std::thread::spawn(move || {
            for _ in 0..1_000 {
                File::options().append(true).open(&at).expect("the writer has the file");
            }
        });
        while !writer.is_finished() {
            examine(&path, true).expect("is looked at");
        }
        writer.join().expect("no open failed");
    }

    #[test]
    fn links_folders_and_nothing_are_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let link = folder.path().join("link");
        std::fs::write(folder.path().join("real"), b"x").expect("writes");
        std::os::unix::fs::symlink(folder.path().join("real"), &link).expect("links");
        for path in [link.as_path(), folder.path(), &folder.path().join("nothing")] {
            assert!(matches!(examine(path, false), Ok(Examined::Gone)), "{}", path.display());
        }
    }
}

#[cfg(all(test, windows))]
mod tests {
    use std::os::windows::fs::OpenOptionsExt as _;

    use super::*;

    const SHARE_ALL: u32 = 7;

    /// Whoever writes lets others read, write and remove, as most programs do.
    #[test]
    fn a_file_that_another_process_has_open_for_writing_is_not_ready_until_it_closes_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        let writer = File::options().write(true).create(true).share_mode(SHARE_ALL).open(&path);
        let writer = writer.expect("opens");
        assert!(is_written(&path));
        assert!(matches!(examine(&path, false), Ok(Examined::HasWriter)));
        drop(writer);
        let reader = File::options().read(true).share_mode(SHARE_ALL).open(&path).expect("opens");
        assert!(!is_written(&path));
        assert!(matches!(examine(&path, true), Ok(Examined::Quiet { head, .. }) if head.is_empty()));
        drop(reader);
    }

    #[test]
    fn what_is_not_there_is_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(examine(&folder.path().join("nothing"), false), Ok(Examined::Gone)));
    }
}
