//! The engine's threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::dispatch::{Crew, Seat};
use super::lock;
use super::shared::Shared;
use super::trouble::{Trouble, guard};
use super::{checkpoint, finish, load, work};
use crate::model::fault::FaultKind;

/// All of them; a crew may grow while it runs.
#[derive(Clone, Default)]
pub(super) struct Threads {
    all: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Of each kind, for their names.
    spawned: Arc<Mutex<HashMap<&'static str, u64>>>,
}

impl Threads {
    pub(super) fn spawn(
        &self,
        shared: &Arc<Shared>,
        name: &str,
        stage: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), Trouble> {
        let (shared, stage_name) = (Arc::clone(shared), name.to_owned());
        let thread = spawn(name, move || {
            let work = || {
                stage(&shared);
                Ok(())
            };
            // Each job's work is guarded by itself; a panic outside of it would leave a stage without its thread.
            if let Err(trouble) = guard(&stage_name, work) {
                shared.fail_for_good(trouble.error);
            }
        })?;
        let mut all = lock(&self.all);
        all.retain(|other| !other.is_finished()); // crews shrink, too
        all.push(thread);
        Ok(())
    }

    pub(super) fn spawn_for_crew(
        &self,
        shared: &Arc<Shared>,
        crew: Crew,
        mut seat: Seat,
    ) -> Result<(), Trouble> {
        let (name, stage): (_, fn(&Arc<Shared>, &mut Seat)) = match crew {
            Crew::Loaders => ("load", load::load_jobs),
            Crew::Workers => ("work", work::work_slices),
            Crew::Finishers => ("finish", finish::finish_jobs),
            Crew::Checkpointers => ("checkpoint", checkpoint::write_checkpoints),
        };
        self.spawn(shared, &self.next_name(name), move |shared| stage(shared, &mut seat))
    }

    /// For the next thread of a kind.
    pub(super) fn next_name(&self, kind: &'static str) -> String {
        let mut spawned = lock(&self.spawned);
        let number = spawned.entry(kind).or_default();
        *number += 1;
        format!("{kind}-{}", *number - 1)
    }

    /// Those that were started so far.
    pub(super) fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *lock(&self.all))
    }
}

/// A thread with a name.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Trouble> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| {
        Trouble::new(
            FaultKind::Transient,
            format!("cannot start thread {name}: {error}"),
            Some("raise the limit of threads for the service's user"),
        )
    })
}
