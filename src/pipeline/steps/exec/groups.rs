//! The process groups of the children that live: what a child started ends with it also where nobody reaps the child, at the end of a stop
//! that did not wait for its answer. Unix only; elsewhere a child's own children are left to end by themselves.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Process ids of children that are not reaped: so long, none of these groups can be a stranger's.
static LIVING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Takes note of a child, which leads a process group of its own.
pub(crate) fn add(child: u32) {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner).insert(child);
}

/// The child is about to be reaped.
pub(crate) fn remove(child: u32) {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner).remove(&child);
}

/// Kills every child that lives, with what it started. For the end of the process: whoever waits for their answers meets their end.
pub(crate) fn kill_all() {
    let living = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
    for child in living.iter() {
        kill(*child);
    }
}

#[cfg(unix)]
pub(crate) fn kill(child: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = i32::try_from(child).ok().and_then(Pid::from_raw);
    if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
        tracing::debug!(%error, "the child's process group is gone");
    }
}

/// Each child is killed by whoever has it.
#[cfg(not(unix))]
pub(crate) fn kill(_child: u32) {}
