//! The process groups of the children that live: what a child started ends with it also where nobody reaps the child, at the end of a stop
//! that did not wait for its answer. Unix only; elsewhere a child's own children are left to end by themselves.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::job_id::JobId;

/// Process ids of children that are not reaped, with the job that each works for: so long, none of these groups can be a stranger's.
static LIVING: Mutex<BTreeMap<u32, JobId>> = Mutex::new(BTreeMap::new());

fn living() -> MutexGuard<'static, BTreeMap<u32, JobId>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes note of a child, which leads a process group of its own.
pub(super) fn add(child: u32, job: JobId) {
    living().insert(child, job);
}

/// The child is about to be reaped.
pub(super) fn remove(child: u32) {
    living().remove(&child);
}

/// Kills every child that lives, with what it started. For the end of the process: whoever waits for their answers meets their end.
pub(crate) fn kill_all() {
    living().keys().for_each(|child| kill(*child));
}

/// The same of one job's children: whoever waits for them, for an answer or for their end, need not wait any more.
pub(crate) fn kill_all_of(job: JobId) {
    living().iter().filter(|(_, of)| **of == job).for_each(|(child, _)| kill(*child));
}

#[cfg(unix)]
pub(super) fn kill(child: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = i32::try_from(child).ok().and_then(Pid::from_raw);
    if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
        tracing::debug!(%error, "the child's process group is gone");
    }
}

/// Each child is killed by whoever has it.
#[cfg(not(unix))]
pub(super) fn kill(_child: u32) {}
