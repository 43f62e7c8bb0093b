//! A process that holds keys leaves no copy of its memory behind.

use std::sync::Once;

static KEPT: Once = Once::new();

/// No core dump with memory in it from now on, whoever would take it: neither a file, nor what a program or a socket is given
/// (`core_pattern`). Only who may trace this
/// process still reads its memory: to forbid that, too (`PR_SET_DUMPABLE`), would take `/proc/self/task/TID/syscall` from the service's own
/// user, by which it is known what hangs.
pub(super) fn keep_out_of_dumps() {
    KEPT.call_once(|| {
        if let Err(error) = forbid() {
            tracing::warn!(%error, "a crash may leave a core dump with keys in it: the system does not let this process forbid it");
        }
    });
}

/// With a limit of 1 byte Linux starts no program for a dump, and a file of it would be too short for any. With 0 it writes no file, but
/// starts the program. A socket is given a dump whatever the limit: there the filter leaves all memory out of it. Children have both, too:
/// they are given records.
#[cfg(target_os = "linux")]
fn forbid() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let most = Some(1);
    let filtered = std::fs::write("/proc/self/coredump_filter", "0");
    // A hard limit of 0 may not be raised.
    let limited = setrlimit(Resource::Core, Rlimit { current: most, maximum: most });
    filtered.or_else(|_| Ok(limited?))
}

#[cfg(all(unix, not(target_os = "linux")))]
fn forbid() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let most = Some(0);
    Ok(setrlimit(Resource::Core, Rlimit { current: most, maximum: most })?)
}

/// Windows writes dumps of a process only where somebody set that up for it.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn forbid() -> std::io::Result<()> {
    Ok(())
}
