//! Starting the engine: what an earlier run left is recovered, then every stage has its threads.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::delivery_order::AskPublished;
use super::dispatch::{Crew, Seat};
use super::error::EngineError;
use super::handle::Engine;
use super::held::{HELD_MAX, TellClaims};
use super::names::AskTaken;
use super::opening::{self, Purpose};
use super::operator::Operator;
use super::places::KnownPlaces;
use super::shared::{Shared, TakeOutputs};
use super::threads::Threads;
use super::trouble::Trouble;
use super::{care, destroy, give_way, landing_roots, limits, private, take_held, tick};
use crate::durable_fs::{self, OpenTo};
use crate::model::fault::FaultKind;
use crate::model::os_text::escaped_path;
use crate::model::rule::Settings;
use crate::pipeline::{self, Registry};

/// The engine's stages, for whoever stops them. Dropping it without [`Running::stop`] leaves its threads to the process's end.
pub(crate) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Threads,
}

/// What a dry run asks of the real world: all that it writes is its own.
pub(crate) struct Rehearsal {
    /// Whether something lies where this output would really go.
    pub is_taken: AskTaken,
    /// What was published before: a rule's name, a content's hash, a delivery's key.
    pub published: AskPublished,
}

impl Engine {
    /// A dry run: the settings have a data folder and outputs of its own.
    pub(crate) fn rehearse(
        &self,
        settings: Settings,
        registry: Registry,
        rehearsal: Rehearsal,
    ) -> Result<Running, EngineError> {
        self.begin(settings, registry, Purpose::Rehearse, |shared| {
            shared.publishing.names.taken_elsewhere = Some(rehearsal.is_taken);
            shared.publishing.deliveries.published_elsewhere = Some(rehearsal.published);
        })
    }

    /// Likewise, and watches; who stands aside is told of each claim.
    pub(crate) fn serve(
        &self,
        settings: Settings,
        registry: Registry,
        tell_claims: TellClaims,
    ) -> Result<Running, EngineError> {
        self.begin(settings, registry, Purpose::Serve, |shared| shared.claims.held.tell = Some(tell_claims))
    }

    /// Watches as a service does, beside another engine, and touches nothing: the settings have a data folder and outputs of its own, and
    /// rules that keep their sources.
    pub(crate) fn start_aside(
        &self,
        settings: Settings,
        registry: Registry,
        take_outputs: TakeOutputs,
    ) -> Result<Running, EngineError> {
        let (intake, offers) = sync_channel(HELD_MAX);
        let running = self.begin(settings, registry, Purpose::Serve, |shared| {
            shared.publishing.aside = Some(take_outputs);
            shared.claims.held.intake.set(intake).ok(); // nobody else has
        })?;
        running.spawn("intake-held", move |shared| take_held::take_held(shared, &offers))?;
        Ok(running)
    }

    /// Recovers what an earlier run left, then starts every stage.
    pub(crate) fn start(
        &self,
        settings: Settings,
        registry: Registry,
        purpose: Purpose,
    ) -> Result<Running, EngineError> {
        self.begin(settings, registry, purpose, |_| {})
    }

    fn begin(
        &self,
        settings: Settings,
        registry: Registry,
        purpose: Purpose,
        prepare: impl FnOnce(&mut Shared),
    ) -> Result<Running, EngineError> {
        limits::raise_open_files();
        let mut shared = Shared::new(settings.service, self.store().clone(), registry);
        shared.operator = Operator::load(&shared.store).map_err(Trouble::from)?;
        shared.resources.disk_space.places = KnownPlaces::load(&shared.store).map_err(Trouble::from)?;
        shared.claims.ids.begin_after(shared.store.newest_id().map_err(Trouble::from)?);
        prepare(&mut shared);
        shared.resources.surroundings.keep_private(
            "hooks",
            private::paths_of_hooks(&settings.hooks),
            Vec::new(),
        );
        let folder = durable_fs::parent_of(&settings.file).to_owned();
        shared.resources.surroundings.keep_private("configuration", vec![settings.file], vec![folder]);
        let shared = Arc::new(shared);
        Self::exchange_rules(&shared, settings.rules)?;
        durable_fs::make_folder(&shared.spool_dir(), OpenTo::Owner).map_err(Trouble::from)?;
        clear_work(&shared.resources.surroundings.work_dir());
        landing_roots::distrust_those_of_unfinished(&shared.store)?;
        let running = Running { shared, threads: Threads::default() };
        match running.begin_stages(purpose, self) {
            Ok(()) => Ok(running),
            Err(trouble) => {
                // Else those that were begun would go on without anybody who could stop them.
                if let Err(error) = running.stop() {
                    tracing::warn!(%error, "an engine that did not start did not stop cleanly either");
                }
                Err(trouble.into())
            }
        }
    }
}

/// What programs left behind that were killed with an earlier process.
fn clear_work(work_dir: &Path) {
    match pipeline::remove_whole(work_dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let path = escaped_path(work_dir);
            tracing::warn!(path, %error, "what programs of steps left in their folders cannot be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

impl Running {
    /// Destroys what is to be destroyed of jobs that are done and that nobody reads, without waiting for who may begin to.
    pub(crate) fn destroy_done(&self) {
        let shared = &self.shared;
        let now = shared.resources.wall_clock.old_before(&shared.store, Duration::ZERO);
        if let Some(Err(trouble)) = now.map(|now| destroy::destroy(shared, now)) {
            tracing::warn!(error = %trouble.error, "the records of jobs that are done are destroyed at the next start");
        }
    }

    fn begin_stages(&self, purpose: Purpose, engine: &Engine) -> Result<(), Trouble> {
        self.spawn_stages()?;
        opening::open(&self.shared, &self.threads, purpose)?;
        let threads = self.threads.clone();
        self.spawn("folders", move |shared| care::look_after_folders(shared, &threads, purpose))?;
        if engine.run_by(&self.shared) {
            return Ok(());
        }
        Err(Trouble::new(FaultKind::Bug, "the stages of one engine are started twice".to_owned(), None))
    }

    fn spawn_stages(&self) -> Result<(), Trouble> {
        for crew in Crew::ALL {
            let seat = self.shared.dispatch.seat(crew);
            self.threads.spawn_for_crew(&self.shared, crew, seat)?;
        }
        let (shared, threads) = (Arc::downgrade(&self.shared), self.threads.clone());
        self.shared.dispatch.start(Box::new(move |crew| {
            let Some(shared) = shared.upgrade() else { return false };
            let spawned = threads.spawn_for_crew(&shared, crew, Seat::new(crew));
            // The others of the crew go on, and so does this one's task once one of them is free.
            spawned
                .inspect_err(
                    |trouble| tracing::warn!(error = %trouble.error, "a stuck thread is not replaced"),
                )
                .is_ok()
        }));
        self.spawn("clock", |shared| shared.dispatch.keep_time())?;
        let threads = self.threads.clone();
        self.spawn("disk-space", move |shared| give_way::watch_disk_space(shared, &threads))?;
        self.spawn("tick", tick::tick)
    }

    fn spawn(&self, name: &str, stage: impl FnOnce(&Arc<Shared>) + Send + 'static) -> Result<(), Trouble> {
        self.threads.spawn(&self.shared, name, stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::store::{Published, Store};

    fn settings(world: &World) -> Settings {
        let rules = vec![(*world.rule()).clone()];
        Settings {
            service: world.shared.service.clone(),
            hooks: Vec::new(),
            rules,
            file: world.path("landfall.toml"),
        }
    }

    #[test]
    fn an_engine_that_is_started_twice_refuses_and_leaves_nothing_running() {
        let world = World::new();
        let engine = Engine::over(Store::in_memory(), &[]);
        let start = || engine.start(settings(&world), Registry::with_builtin_steps(), Purpose::Ingest);
        let running = start().expect("starts");
        let refused = start().map(|_| ()).expect_err("its stages run");
        assert!(refused.to_string().contains("twice"), "{refused}");
        assert!(!running.shared.stop.is_asked(), "the first goes on");
        running.stop().expect("stops");
        assert!(engine.stages().is_some_and(|stages| stages.stop.is_asked()));
    }

    #[test]
    fn a_dry_run_asks_the_real_world_and_counts_no_start() {
        let world = World::new();
        let (store, taken) = (Store::in_memory(), world.path("out/pay.main"));
        let rehearsal = Rehearsal {
            is_taken: Box::new(move |path| path == taken),
            published: Box::new(|_, _, _| Ok(Published::default())),
        };
        let engine = Engine::over(store.clone(), &[]);
        let running =
            engine.rehearse(settings(&world), Registry::with_builtin_steps(), rehearsal).expect("starts");
        let nobody = crate::model::job_id::JobId::from_parts(0, 0);
        let is_reserved = |name: &str| running.shared.publishing.names.is_reserved(&world.path(name), nobody);
        assert_eq!(["out/pay.main", "out/other.main"].map(is_reserved), [true, false]);
        assert!(running.shared.publishing.deliveries.published_elsewhere.is_some());
        running.stop().expect("stops");
        assert_eq!(store.mark().expect("reads"), None);
    }
}
