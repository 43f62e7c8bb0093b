//! Starting the engine: what an earlier run left is recovered, then every stage has its threads.

use std::sync::Arc;

use super::dispatch::{Crew, Seat};
use super::error::EngineError;
use super::handle::Engine;
use super::purpose::{Purpose, Rehearsal};
use super::shared::Shared;
use super::threads::Threads;
use super::trouble::Trouble;
use super::{give_way, landing_roots, limits, recover, restored, tick, watching};
use crate::durable_fs;
use crate::model::fault::FaultKind;
use crate::model::rule::Settings;
use crate::pipeline::Registry;

/// The engine's stages, for whoever stops them. Dropping it without [`Running::stop`] leaves its threads to the process's end.
pub(crate) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Threads,
}

impl Engine {
    /// A dry run: the settings have a data folder and outputs of its own.
    pub(crate) fn rehearse(
        &self,
        settings: Settings,
        registry: Registry,
        rehearsal: Rehearsal,
    ) -> Result<Running, EngineError> {
        self.begin(settings, registry, Purpose::Rehearse, Some(rehearsal))
    }

    /// Recovers what an earlier run left, then starts every stage.
    pub(crate) fn start(
        &self,
        settings: Settings,
        registry: Registry,
        purpose: Purpose,
    ) -> Result<Running, EngineError> {
        self.begin(settings, registry, purpose, None)
    }

    fn begin(
        &self,
        settings: Settings,
        registry: Registry,
        purpose: Purpose,
        rehearsal: Option<Rehearsal>,
    ) -> Result<Running, EngineError> {
        limits::raise_open_files();
        let mut shared = Shared::new(settings.service, self.store().clone(), registry);
        if let Some(Rehearsal { is_taken, published }) = rehearsal {
            shared.publishing.names.taken_elsewhere = Some(is_taken);
            shared.publishing.deliveries.published_elsewhere = Some(published);
        }
        let shared = Arc::new(shared);
        Self::exchange_rules(&shared, settings.rules)?;
        durable_fs::make_folder(&shared.spool_dir(), true).map_err(Trouble::from)?;
        landing_roots::distrust_those_of_unfinished(&shared.store)?;
        if purpose == Purpose::Serve {
            shared.claims.folders.hold_known(shared.rules.now().iter())?;
        }
        if purpose != Purpose::Rehearse {
            restored::count_start(&shared, purpose)?;
        }
        if purpose == Purpose::Serve {
            recover::recover(&shared)?;
        }
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

impl Running {
    fn begin_stages(&self, purpose: Purpose, engine: &Engine) -> Result<(), Trouble> {
        self.spawn_stages(purpose)?;
        if purpose == Purpose::Serve {
            watching::begin(&self.shared, &self.threads)?;
        }
        if engine.run_by(&self.shared) {
            return Ok(());
        }
        Err(Trouble::new(FaultKind::Bug, "the stages of one engine are started twice".to_owned(), None))
    }

    fn spawn_stages(&self, purpose: Purpose) -> Result<(), Trouble> {
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
        self.spawn("rooms", move |shared| give_way::watch_rooms(shared, &threads))?;
        self.spawn("tick", tick::tick)?;
        self.spawn("folders", move |shared| tick::look_after_folders(shared, purpose))
    }

    fn spawn(&self, name: &str, stage: impl FnOnce(&Arc<Shared>) + Send + 'static) -> Result<(), Trouble> {
        self.threads.spawn(&self.shared, name, stage)
    }
}
