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
            let _span = shared.publishing.aside.as_ref().map(|_| tracing::info_span!("shadow").entered());
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
            Crew::Loaders => ("load", |shared, seat| load::load_jobs(shared, seat, work::work_here)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    fn ended(threads: &Threads) {
        for thread in threads.take() {
            thread.join().expect("a panic inside is caught");
        }
    }

    #[test]
    fn a_stage_that_panics_stops_the_service_and_says_where() {
        let world = World::new();
        let threads = Threads::default();
        let stage = |_: &Arc<Shared>| std::panic::panic_any("out of range");
        threads.spawn(&world.shared, "tick", stage).expect("starts");
        ended(&threads);
        assert!(world.shared.stop.is_asked());
        let error = world.shared.stop.fatal().expect("nothing goes on without its thread");
        assert!(error.message.contains("tick") && error.message.contains("out of range"), "{error}");
    }

    #[test]
    fn a_stage_that_comes_to_its_end_stops_nothing_and_its_thread_is_not_kept_when_others_come() {
        let world = World::new();
        let threads = Threads::default();
        for name in ["one", "another"] {
            threads.spawn(&world.shared, name, |_| {}).expect("starts");
            while !lock(&threads.all).iter().all(JoinHandle::is_finished) {
                std::thread::yield_now();
            }
            assert_eq!(lock(&threads.all).len(), 1);
        }
        ended(&threads);
        assert!(!world.shared.stop.is_asked());
    }

    #[test]
    fn the_threads_of_a_crew_have_its_name_and_a_number_each() {
        let world = World::new();
        world.shared.ask_to_stop(); // they end when they ask for a task
        let threads = Threads::default();
        for crew in [Crew::Workers, Crew::Workers, Crew::Finishers] {
            threads.spawn_for_crew(&world.shared, crew, Seat::new(crew)).expect("starts");
        }
        let spawned = lock(&threads.spawned).clone();
        assert_eq!(spawned, HashMap::from([("work", 2), ("finish", 1)]));
        ended(&threads);
    }
}
