//! Shadow rules: files are read where they lie, and what would be published is told. See `docs/decisions/0041-shadow.md`.
//!
//! An engine stands aside: it has a data folder, workers and an endpoint for commands of its own. For it the shadows are live rules that
//! keep their sources, and their outputs go where nobody else looks. So a shadow job is like any other, and is never among those that
//! publish: not in their list, nor where resends are looked for.
//!
//! It is there from the first shadow rule on, and where an earlier run left jobs that it had begun. What goes wrong with it is told, and live
//! rules go on. No lock is held over a call to a folder, so that a stop and the claims of live rules wait for none.

mod compare;
mod content;
mod outline;
mod outputs;
mod rules;
mod theirs;

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ServiceError;
use super::start::opened;
use crate::control::{ControlError, Server};
use crate::durable_fs::{self, OpenTo};
use crate::engine::{Engine, Refusal, Running, TakeOutputs};
use crate::model::at_rest::AtRest;
use crate::model::fault::JobError;
use crate::model::identity::FileIdentity;
use crate::model::rule::{Mode, Rule, Service, Settings};
use crate::pipeline::Registry;
use crate::store::Store;
use crate::watch::Offer;
use crate::watch::rules::RuleSet;
use compare::Comparing;
use outputs::{Places, RealRules};
use rules::{outputs_dir, rules_aside};

pub(crate) use rules::{settings_aside, step_not_run};
pub(crate) use theirs::{candidates, unpacked_name};

/// What to do where shadow rules are not watched.
pub(super) const UNWATCHED_HINT: &str =
    "mend it: it is tried again by itself, and live rules go on meanwhile";
/// Who compares may hang at the old system's folder.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
const STOP_PAUSE: Duration = Duration::from_millis(2);

/// The engine that stands aside, once there is one.
pub(super) struct Aside {
    settings: Settings,
    registry: Registry,
    rules: RealRules,
    engine: Mutex<Life>,
    /// What it watches for, and by whom.
    taker: RwLock<Option<Arc<Taker>>>,
    /// Why the rules as they are now are not watched.
    trouble: Mutex<Option<String>>,
}

/// Which file is taken under which rule.
struct Taker {
    engine: Engine,
    set: RuleSet,
    rules: Vec<Arc<Rule>>,
}

/// Held for moments alone.
enum Life {
    NotBegun,
    Begun(Begun),
    Stopped,
}

struct Begun {
    engine: Engine,
    running: Running,
    control: Server,
    comparing: Receiver<()>,
}

/// Shadow rules are not watched.
#[derive(Debug, thiserror::Error)]
enum Unwatched {
    #[error(transparent)]
    NotBegun(#[from] ServiceError),
    #[error("they were stopped until the service is restarted: {0}")]
    Failed(JobError),
    #[error("the rules are not taken")]
    NotTaken(#[from] Refusal),
    #[error("cannot start a thread that compares")]
    NoThread(#[source] std::io::Error),
}

impl Aside {
    /// Nothing is started before [`Self::take_rules`].
    pub(super) fn new(settings: &Settings, registry: Registry) -> Arc<Self> {
        let settings = Settings { rules: Vec::new(), ..settings_aside(settings) };
        Arc::new(Self {
            settings,
            registry: registry.for_cut_off_rules(),
            rules: Arc::new(RwLock::default()),
            engine: Mutex::new(Life::NotBegun),
            taker: RwLock::default(),
            trouble: Mutex::default(),
        })
    }

    /// Watches what is a shadow among these rules, in place of all that was, and encrypts what it keeps as the service does. Where it cannot, [`Self::trouble`] says why, and it is to be
    /// asked again.
    pub(super) fn take_rules(&self, rules: &[Rule], at_rest: &AtRest) {
        let _span = tracing::info_span!("shadow").entered();
        rules.clone_into(&mut *self.rules.write().unwrap_or_else(PoisonError::into_inner));
        let taken = self.go_by(rules, at_rest);
        let mut trouble = lock(&self.trouble);
        let before = trouble.take();
        match taken {
            Ok(()) if before.is_some() => tracing::info!("shadow rules are watched now"),
            Ok(()) => {}
            Err(error) => {
                let error = trouble.insert(told(&error));
                if before.as_ref() != Some(error) {
                    tracing::error!(%error, hint = UNWATCHED_HINT, "shadow rules cannot be watched");
                }
            }
        }
    }

    /// Commands reach it by a file of its own.
    pub(super) fn keep_address(&self) {
        let kept = match &*lock(&self.engine) {
            Life::Begun(begun) => Some((begun.control.address(), begun.engine.clone())),
            Life::NotBegun | Life::Stopped => None,
        };
        if let Some((address, engine)) = kept {
            address.keep(|| engine.has_its_folder());
        }
    }

    /// Why the rules that it was given last are not watched.
    pub(super) fn trouble(&self) -> Option<String> {
        let fault = match &*lock(&self.engine) {
            Life::Begun(begun) => begun.engine.fault(),
            Life::NotBegun | Life::Stopped => None,
        };
        fault.map(|fault| Unwatched::Failed(fault).to_string()).or_else(|| lock(&self.trouble).clone())
    }

    fn go_by(&self, rules: &[Rule], at_rest: &AtRest) -> Result<(), Unwatched> {
        let service = Service { at_rest: at_rest.clone(), ..self.settings.service.clone() };
        let known = match &*lock(&self.engine) {
            Life::NotBegun => None,
            Life::Begun(begun) => Some(begun.engine.clone()),
            Life::Stopped => return Ok(()),
        };
        if let Some(fault) = known.as_ref().and_then(Engine::fault) {
            return Err(Unwatched::Failed(fault));
        }
        let (engine, aside, result) = match known {
            Some(engine) => {
                // Before a rule that asks for it has anything to keep.
                engine.store().encrypt_by(&service.at_rest).map_err(ServiceError::from)?;
                let aside = rules_aside(rules, &service.data_dir, engine.store().is_encrypted());
                let exchanged = engine.take_rules(aside.clone());
                (engine, aside, exchanged.map(drop))
            }
            None if rules.iter().any(|rule| rule.mode == Mode::Shadow) || self.was_broken_off() => {
                let (engine, aside) = self.begin(rules, &service)?;
                (engine, aside, Ok(()))
            }
            None => return Ok(()),
        };
        let rules: Vec<_> = aside.into_iter().map(Arc::new).collect();
        // What is wrong with them the engine has told.
        let now = RuleSet::new(rules.clone()).ok().map(|set| Arc::new(Taker { engine, set, rules }));
        *self.taker.write().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(result?)
    }

    /// Whether an earlier run left outputs of jobs that it had begun: in clear, and looked for by nobody but the engine that stands aside.
    fn was_broken_off(&self) -> bool {
        let folder = outputs_dir(&self.settings.service.data_dir);
        let is_there = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        if is_there {
            tracing::info!(folder = %folder.display(), "jobs of shadow rules were broken off: they are done, and what they wrote is removed");
        }
        is_there
    }

    /// Live rules are about to take these files from where they lie: a shadow has them, too.
    pub(super) fn see_claims(&self, files: &[(&Path, FileIdentity)]) {
        let taker = self.taker.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(taker) = taker else { return };
        let offers = files.iter().filter_map(|(path, identity)| {
            let (at, values) = taker.set.assign(path)?;
            Some(Offer::going(taker.rules.get(at)?, path, *identity, values))
        });
        let offers: Vec<_> = offers.collect();
        if !offers.is_empty() {
            taker.engine.take_open(offers);
        }
    }

    /// Its engine, begun, unless a stop was asked for meanwhile; and the rules as it has them.
    fn begin(&self, rules: &[Rule], service: &Service) -> Result<(Engine, Vec<Rule>), Unwatched> {
        let (begun, aside) = self.begun(rules, service)?;
        let engine = begun.engine.clone();
        let mut life = lock(&self.engine);
        if matches!(*life, Life::Stopped) {
            drop(life);
            begun.stop();
        } else {
            *life = Life::Begun(begun);
        }
        Ok((engine, aside))
    }

    fn begun(&self, rules: &[Rule], service: &Service) -> Result<(Begun, Vec<Rule>), Unwatched> {
        let data_dir = &service.data_dir;
        let not_made = |error| ServiceError::from(ControlError::from(error));
        durable_fs::make_folder(data_dir, OpenTo::Owner).map_err(not_made)?;
        let store = opened(|| Store::open_with(data_dir, &service.at_rest)).map_err(ServiceError::from)?;
        let aside = rules_aside(rules, data_dir, store.is_encrypted());
        let settings = Settings { rules: aside.clone(), service: service.clone(), ..self.settings.clone() };
        let engine = Engine::over(store.clone(), &settings.rules);
        let places =
            Places { data_dir: data_dir.clone(), rules: Arc::clone(&self.rules), store: store.clone() };
        let control = Server::start(data_dir, Arc::new(engine.clone())).map_err(ServiceError::from)?;
        let takes = places.clone();
        let take_outputs: TakeOutputs = Box::new(move |rule, job| takes.take(rule, job));
        let running = engine.start_aside(settings, self.registry.clone(), take_outputs);
        let running = running.map_err(ServiceError::from)?;
        match compare::start(Comparing::new(places, store), engine.clone()) {
            Ok(comparing) => Ok((Begun { engine, running, control, comparing }, aside)),
            Err(error) => {
                stop_engine(running, control); // else it would go on beside the word that it cannot
                Err(Unwatched::NoThread(error))
            }
        }
    }

    /// Begins to stop it, within `service.stop_timeout`; live rules are stopped meanwhile.
    pub(super) fn stop(&self) -> Option<JoinHandle<()>> {
        let Life::Begun(begun) = std::mem::replace(&mut *lock(&self.engine), Life::Stopped) else {
            return None;
        };
        begun.engine.ask_to_stop();
        std::thread::Builder::new().name("stop-shadow".into()).spawn(move || begun.stop()).ok()
    }
}

impl Begun {
    fn stop(self) {
        stop_engine(self.running, self.control);
        self.comparing.recv_timeout(STOP_PATIENCE).ok(); // it may hang
    }
}

fn stop_engine(running: Running, control: Server) {
    if let Err(error) = control.stop() {
        tracing::warn!(%error, "the endpoint for shadow rules did not stop cleanly");
    }
    if let Err(error) = running.stop() {
        tracing::warn!(%error, "shadow rules did not stop cleanly");
    }
}

/// An error with what it came from.
fn told(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.fold(error.to_string(), |told, source| format!("{told}: {source}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for what [`Aside::stop`] began, as long as a stop may take.
pub(super) fn wait_for_stop(stopping: Option<&JoinHandle<()>>, timeout: Duration) {
    let until = Instant::now() + timeout;
    while stopping.is_some_and(|stopping| !stopping.is_finished()) && Instant::now() < until {
        std::thread::park_timeout(STOP_PAUSE);
    }
}
