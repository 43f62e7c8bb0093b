//! A process that holds keys leaves no copy of its memory behind.

use std::sync::Once;

static KEPT: Once = Once::new();

/// No core dump from now on, whoever would take it: neither a file, nor what a program is given (`core_pattern`). Only who may trace this
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
/// starts the program. Children have it too: they are given records.
#[cfg(target_os = "linux")]
fn forbid() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let most = Some(1);
    Ok(setrlimit(Resource::Core, Rlimit { current: most, maximum: most })?)
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
