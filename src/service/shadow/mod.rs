//! Shadow rules: files are read where they lie, and what would be published is told. See `docs/decisions/0041-shadow.md`.
//!
//! An engine stands aside: it has a data folder, workers and an endpoint for commands of its own. For it the shadows are live rules that
//! keep their sources, and their outputs go where nobody else looks. So a shadow job is like any other, and is never among those that
//! publish: not in their list, nor where resends are looked for.
//!
//! It is there from the first shadow rule on. What goes wrong with it is logged, and live rules go on.

mod compare;
mod content;
mod outline;
mod outputs;
mod rules;
mod theirs;

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::start::opened;
use crate::control::Server;
use crate::durable_fs;
use crate::engine::{Engine, Running, TakeOutputs};
use crate::model::identity::FileIdentity;
use crate::model::rule::{Mode, Rule, Settings};
use crate::pipeline::Registry;
use crate::store::Store;
use crate::watch::rules::RuleSet;
use compare::Comparing;
use outputs::{Places, RealRules};
use rules::rules_aside;

pub(crate) use rules::{settings_aside, step_not_run};
pub(crate) use theirs::{candidates, unpacked_name};

/// Who compares may hang at the old system's folder.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
const STOP_PAUSE: Duration = Duration::from_millis(2);

/// The engine that stands aside, once there is one.
pub(super) struct Aside {
    settings: Settings,
    registry: Registry,
    rules: RealRules,
    begun: Mutex<Option<Begun>>,
    /// What it watches for, and by whom.
    taker: RwLock<Option<Taker>>,
}

/// Which file is taken under which rule.
struct Taker {
    engine: Engine,
    set: RuleSet,
    rules: Vec<Arc<Rule>>,
}

struct Begun {
    engine: Engine,
    running: Running,
    control: Server,
    comparing: Receiver<()>,
}

impl Aside {
    /// Nothing is started before [`Self::take_rules`].
    pub(super) fn new(settings: &Settings, registry: Registry) -> Arc<Self> {
        let settings = Settings { rules: Vec::new(), ..settings_aside(settings) };
        Arc::new(Self {
            settings,
            registry,
            rules: Arc::new(RwLock::default()),
            begun: Mutex::default(),
            taker: RwLock::default(),
        })
    }

    /// Watches what is a shadow among these rules, in place of all that was.
    pub(super) fn take_rules(&self, rules: &[Rule]) {
        rules.clone_into(&mut *self.rules.write().unwrap_or_else(PoisonError::into_inner));
        let aside = rules_aside(rules, &self.settings.service.data_dir);
        let rules_aside: Vec<_> = aside.iter().cloned().map(Arc::new).collect();
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let _span = tracing::info_span!("shadow").entered();
        if let Some(begun) = &*begun {
            if let Err(error) = begun.engine.take_rules(aside) {
                tracing::error!(%error, "the shadow rules are not taken: those before go on");
            }
        } else if rules.iter().any(|rule| rule.mode == Mode::Shadow) {
            match self.begin(aside) {
                Ok(started) => *begun = Some(started),
                Err(error) => {
                    let hint = "mend it, and reload: live rules go on without them";
                    tracing::error!(error = format!("{error:#}"), hint, "shadow rules cannot be watched");
                }
            }
        }
        let taker = begun.as_ref().and_then(|begun| {
            let set = RuleSet::new(rules_aside.clone()).ok()?; // or the engine has told what is wrong
            Some(Taker { engine: begun.engine.clone(), set, rules: rules_aside })
        });
        *self.taker.write().unwrap_or_else(PoisonError::into_inner) = taker;
    }

    /// A live rule is about to take this file from where it lies: a shadow has it, too.
    pub(super) fn see_claim(&self, path: &Path, identity: &FileIdentity) {
        let taker = self.taker.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Taker { engine, set, rules }) = &*taker else { return };
        let assigned = set.assign(path).and_then(|(at, values)| Some((rules.get(at)?, values)));
        if let Some((rule, values)) = assigned {
            engine.take_open(rule, values, path, identity);
        }
    }

    fn begin(&self, rules: Vec<Rule>) -> Result<Begun, super::ServiceError> {
        let data_dir = &self.settings.service.data_dir;
        durable_fs::make_folder(data_dir, true).map_err(crate::control::ControlError::from)?;
        let store = opened(|| Store::open(data_dir))?;
        let settings = Settings { rules, ..self.settings.clone() };
        let engine = Engine::over(store.clone(), &settings.rules);
        let places = Places { data_dir: data_dir.clone(), rules: Arc::clone(&self.rules) };
        let control = Server::start(data_dir, Arc::new(engine.clone()))?;
        let takes = places.clone();
        let take_outputs: TakeOutputs = Box::new(move |job| takes.take(job));
        let running = engine.start_aside(settings, self.registry.clone(), take_outputs)?;
        let comparing = compare::start(Comparing::new(places, store), engine.clone());
        let comparing = comparing.map_err(crate::control::ControlError::Listen)?;
        Ok(Begun { engine, running, control, comparing })
    }

    /// Begins to stop it, within `service.stop_timeout`; live rules are stopped meanwhile.
    pub(super) fn stop(&self) -> Option<JoinHandle<()>> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        begun.engine.ask_to_stop();
        std::thread::Builder::new().name("stop-shadow".into()).spawn(move || begun.stop()).ok()
    }
}

impl Begun {
    fn stop(self) {
        if let Err(error) = self.control.stop() {
            tracing::warn!(%error, "the endpoint for shadow rules did not stop cleanly");
        }
        if let Err(error) = self.running.stop() {
            tracing::warn!(%error, "shadow rules did not stop cleanly");
        }
        self.comparing.recv_timeout(STOP_PATIENCE).ok(); // it may hang
    }
}

/// Waits for what [`Aside::stop`] began, as long as a stop may take.
pub(super) fn wait_for_stop(stopping: Option<&JoinHandle<()>>, timeout: Duration) {
    let until = Instant::now() + timeout;
    while stopping.is_some_and(|stopping| !stopping.is_finished()) && Instant::now() < until {
        std::thread::park_timeout(STOP_PAUSE);
    }
}
