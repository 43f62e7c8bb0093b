//! Which files the processes that this user may look into have open for writing: evidence where leases tell nothing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};
use rustix::path::Arg;

/// A look through all processes serves every file that is asked about within this time.
const LOOK_LASTS: Duration = Duration::from_millis(500);
/// Open files that are looked at in one look at most.
const OPEN_FILES_MAX: usize = 100_000;

/// Files that are open for writing, by inode number: where `/proc` shows each.
type Written = HashMap<u64, Vec<PathBuf>>;

struct Look {
    at: Instant,
    written: Written,
}

static LAST: Mutex<Option<Arc<Look>>> = Mutex::new(None);

/// Whether a process that this user may look into has the file open for writing.
pub(super) fn writes(file: &File) -> bool {
    let own = PathBuf::from(format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
    let Some(inode) = fdinfo(&own).and_then(|info| info.inode(|| stat(file.as_fd(), ""))) else {
        return false;
    };
    let look = look();
    let Some(found) = look.written.get(&inode) else { return false };
    let Ok(file) = stat(file.as_fd(), "") else { return false };
    found.iter().any(|open| stat(CWD, open).is_ok_and(|found| is_same(&found, &file)))
}

fn is_same(one: &Statx, other: &Statx) -> bool {
    let id = |found: &Statx| (found.stx_dev_major, found.stx_dev_minor, found.stx_ino);
    id(one) == id(other)
}

/// The last look, or a new one. Made without the lock: it may take long.
fn look() -> Arc<Look> {
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if let Some(look) = last().as_ref().filter(|look| now.saturating_duration_since(look.at) <= LOOK_LASTS) {
        return Arc::clone(look);
    }
    let look = Arc::new(Look { at: now, written: written_files() });
    *last() = Some(Arc::clone(&look));
    look
}

/// What is known of a file without asking its file system, which may hang.
fn stat(at: BorrowedFd<'_>, path: impl Arg) -> rustix::io::Result<Statx> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::EMPTY_PATH;
    statx(at, path, flags, StatxFlags::BASIC_STATS)
}

/// What ends or closes a file meanwhile, and what may not be looked into, is left out.
fn written_files() -> Written {
    let own = std::process::id().to_string();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit()) && name != own;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|entry| entry.file_name().to_str().is_some_and(is_process));
    let open = processes.flat_map(|process| {
        let folder = process.path();
        let files = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        files.map(move |file| (folder.join("fdinfo").join(file.file_name()), file.path()))
    });
    let mut written = Written::new();
    for (info, file) in open.take(OPEN_FILES_MAX) {
        let inode =
            fdinfo(&info).filter(|info| info.is_for_writing).and_then(|info| info.inode(|| stat(CWD, &file)));
        if let Some(inode) = inode {
            written.entry(inode).or_default().push(file);
        }
    }
    written
}

/// What the kernel tells of an open file, see proc(5).
struct FdInfo {
    is_for_writing: bool,
    /// Kernels before 5.14 do not say.
    inode: Option<u64>,
}

impl FdInfo {
    fn inode(&self, stat: impl FnOnce() -> rustix::io::Result<Statx>) -> Option<u64> {
        self.inode.or_else(|| Some(stat().ok()?.stx_ino))
    }
}

fn fdinfo(info: &Path) -> Option<FdInfo> {
    let text = fs::read_to_string(info).ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    // As given to open(2), octal.
    let flags = u32::from_str_radix(value("flags:")?, 8).ok()?;
    let inode = value("ino:").and_then(|inode| inode.parse().ok());
    Some(FdInfo { is_for_writing: flags & libc::O_ACCMODE.unsigned_abs() != 0, inode })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_file_that_another_process_of_ours_has_open_for_writing_is_found() {
        let mut written = tempfile::NamedTempFile::new().expect("a file");
        written.write_all(b"x").expect("writes");
        let is_written = |file: &File| {
            *LAST.lock().expect("no panic") = None; // another look
            writes(file)
        };
        let file = written.reopen().expect("opens");
        let append = File::options().append(true).open(written.path()).expect("opens");
        let mut writer = Command::new("cat").stdin(Stdio::piped()).stdout(append).spawn().expect("runs");
        assert!(is_written(&file));
        drop(writer.stdin.take());
        writer.wait().expect("it ends");
        assert!(!is_written(&file));
    }
}
