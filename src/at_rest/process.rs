//! A process that holds keys leaves no copy of its memory behind.

use std::sync::Once;

static KEPT: Once = Once::new();

/// No core dump from now on, whoever would take it: neither a file, nor what a program is given (`core_pattern`). Only who may trace any
/// process still reads its memory.
pub(super) fn keep_out_of_dumps() {
    KEPT.call_once(|| {
        if let Err(error) = forbid() {
            tracing::warn!(%error, "a crash may leave a core dump with keys in it: the system does not let this process forbid it");
        }
    });
}

#[cfg(target_os = "linux")]
fn forbid() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    limit()
}

#[cfg(all(unix, not(target_os = "linux")))]
fn forbid() -> std::io::Result<()> {
    limit()
}

/// Children have it too: they are given records.
#[cfg(unix)]
fn limit() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum })?)
}

/// Windows writes dumps of a process only where somebody set that up for it.
#[cfg(not(unix))]
fn forbid() -> std::io::Result<()> {
    Ok(())
}
