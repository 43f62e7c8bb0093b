//! Starting the engine: what an earlier run left is recovered, then every stage has its threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::dispatch::{Crew, Seat};
use super::error::EngineError;
use super::file_systems::{self, WatchedTogether};
use super::handle::Engine;
use super::purpose::{Purpose, Rehearsal};
use super::rule_book::RuleBook;
use super::shared::Shared;
use super::threads::Threads;
use super::trouble::Trouble;
use super::watches::Watches;
use super::{give_way, intake, landing_roots, limits, recover, restored, tick};
use crate::durable_fs::{self, Mounts};
use crate::model::fault::FaultKind;
use crate::model::rule::{Mode, Rule, Settings};
use crate::pipeline::Registry;
use crate::watch::{Offer, Outlets, Watch};

/// Batches of offers that wait for the intake.
const OFFER_BATCHES: usize = 4;

/// The engine's stages, for whoever stops them. Dropping it without [`Running::stop`] leaves its threads to the process's end.
pub(crate) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Threads,
    /// Wake the intakes for a stop: the watch that each waits for may hang.
    pub(super) intakes: Vec<SyncSender<Vec<Offer>>>,
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
        let rules = RuleBook::new(&settings.rules, registry);
        limits::raise_open_files();
        let mut shared = Shared::new(settings, self.store().clone(), rules);
        if let Some(Rehearsal { is_taken, published }) = rehearsal {
            shared.names.taken_elsewhere = Some(is_taken);
            shared.deliveries.published_elsewhere = Some(published);
        }
        let shared = Arc::new(shared);
        durable_fs::make_folder(&shared.spool_dir(), true).map_err(Trouble::from)?;
        landing_roots::distrust(&shared.settings.rules);
        landing_roots::distrust_those_of_unfinished(&shared.store)?;
        if purpose == Purpose::Serve {
            shared.claims.folders.hold_known(&shared.settings.rules)?;
        }
        if purpose != Purpose::Rehearse {
            restored::count_start(&shared, purpose)?;
        }
        if purpose == Purpose::Serve {
            recover::recover(&shared)?;
        }
        let mut running = Running { shared, threads: Threads::default(), intakes: Vec::new() };
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
    fn begin_stages(&mut self, purpose: Purpose, engine: &Engine) -> Result<(), Trouble> {
        self.spawn_stages(purpose)?;
        if purpose == Purpose::Serve {
            self.start_watch()?;
        }
        if engine.run_by(&self.shared) {
            return Ok(());
        }
        Err(Trouble::new(FaultKind::Bug, "the stages of one engine are started twice".to_owned(), None))
    }

    fn spawn_stages(&mut self, purpose: Purpose) -> Result<(), Trouble> {
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
        self.spawn("rooms", give_way::watch_rooms)?;
        self.spawn("tick", tick::tick)?;
        self.spawn("folders", move |shared| tick::look_after_folders(shared, purpose))
    }

    fn start_watch(&mut self) -> Result<(), Trouble> {
        let live: Vec<_> =
            self.shared.settings.rules.iter().filter(|rule| rule.mode == Mode::Live).cloned().collect();
        let scan_every = self.shared.settings.service.scan_every;
        let mounts = Mounts::now();
        let groups = file_systems::groups(&live, &mounts);
        let (mut watches, mut receivers) = (Watches::default(), Vec::new());
        for WatchedTogether { rules, folders } in file_systems::watched_together(live, &mounts) {
            let outlets = self.outlets(&rules, &groups, &mut receivers);
            let store = self.shared.store.clone();
            // One that cannot be looked up is offered: the intake asks again, and tells what is wrong.
            let already_kept = Box::new(move |identity: &_| matches!(store.kept(identity), Ok(Some(_))));
            let watch = Watch::start(rules, scan_every, outlets, already_kept, crate::decode::proves_its_end)
                .map_err(|error| Trouble::from_fault(&error))?;
            watches.add(watch, folders);
        }
        if self.shared.claims.watches.set(watches).is_err() {
            return Err(Trouble::new(FaultKind::Bug, "the folders are watched twice".to_owned(), None));
        }
        receivers.into_iter().enumerate().try_for_each(|(number, receiver)| {
            self.spawn(&format!("intake-{number}"), move |shared| intake::take_offers(shared, &receiver))
        })
    }

    /// An intake for each set of file systems that these rules use: one that hangs holds up no rule of others.
    fn outlets(
        &mut self,
        rules: &[Rule],
        groups: &HashMap<Arc<str>, Arc<str>>,
        receivers: &mut Vec<Receiver<Vec<Offer>>>,
    ) -> Outlets {
        let (mut senders, mut of_groups, mut of_rules) = (Vec::new(), HashMap::new(), HashMap::new());
        for rule in rules {
            let outlet = *of_groups.entry(groups.get(rule.name.as_str())).or_insert_with(|| {
                let (sender, receiver) = sync_channel(OFFER_BATCHES);
                self.intakes.push(sender.clone());
                senders.push(sender);
                receivers.push(receiver);
                senders.len() - 1
            });
            of_rules.insert(rule.name.clone(), outlet);
        }
        Outlets::new(senders, of_rules)
    }

    fn spawn(
        &mut self,
        name: &str,
        stage: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), Trouble> {
        self.threads.spawn(&self.shared, name, stage)
    }
}
