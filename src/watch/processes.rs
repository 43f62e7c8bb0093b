//! Which files the processes that this user may look into have open for writing: evidence where leases tell nothing.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A look through all processes serves every file that is asked about within this time.
const LOOK_LASTS: Duration = Duration::from_millis(500);
/// Open files that are looked at in one look at most.
const OPEN_FILES_MAX: usize = 100_000;

/// Device and inode.
type Id = (u64, u64);

struct Look {
    at: Instant,
    written: HashSet<Id>,
}

static LAST: Mutex<Option<Look>> = Mutex::new(None);

/// Whether a process that this user may look into has the file open for writing.
pub(super) fn writes(file: &File) -> bool {
    let Ok(found) = file.metadata() else { return false };
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if last.as_ref().is_none_or(|look| now.saturating_duration_since(look.at) > LOOK_LASTS) {
        *last = Some(Look { at: now, written: written_files() });
    }
    last.as_ref().is_some_and(|look| look.written.contains(&(found.dev(), found.ino())))
}

/// What ends or closes a file meanwhile, and what may not be looked into, is left out.
fn written_files() -> HashSet<Id> {
    let own = std::process::id().to_string();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit()) && name != own;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|entry| entry.file_name().to_str().is_some_and(is_process));
    let open = processes.flat_map(|process| {
        let folder = process.path();
        let files = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        files.map(move |file| (folder.join("fdinfo").join(file.file_name()), file.path()))
    });
    open.take(OPEN_FILES_MAX)
        .filter(|(info, _)| is_for_writing(info))
        .filter_map(|(_, file)| fs::metadata(file).ok().map(|found| (found.dev(), found.ino())))
        .collect()
}

/// The flags as given to open(2), octal: see proc(5).
fn is_for_writing(info: &Path) -> bool {
    let text = fs::read_to_string(info).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE.unsigned_abs() != 0)
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
        let id = |file: &File| file.metadata().map(|found| (found.dev(), found.ino())).expect("it is open");
        let id = id(written.as_file());
        let append = File::options().append(true).open(written.path()).expect("opens");
        let mut writer = Command::new("cat").stdin(Stdio::piped()).stdout(append).spawn().expect("runs");
        assert!(written_files().contains(&id));
        drop(writer.stdin.take());
        writer.wait().expect("it ends");
        assert!(!written_files().contains(&id));
    }
}
