//! The running service: an engine that watches, the owner of its configuration, and the endpoint that answers commands. What
//! [`crate::main`] does behind `landfall run`, for programs that have a `main` of their own.
//!
//! It listens for no signals and never ends the process: that is for the program around it.

mod board;
mod confine;
mod life;
mod reload;
mod rules_folder;
pub(crate) mod shadow;
pub(crate) mod standby;
mod start;
mod stillness;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::allocator;
use crate::api::{self, ApiError};
use crate::audit::{Trail, TrailTrouble};
use crate::clock;
use crate::config::{self, Problems};
use crate::control::{ControlError, Server};
use crate::engine::{Configuration, Engine, EngineError, Running};
use crate::hooks::Hooks;
use crate::model::audit::{AuditEvent, SERVICE};
use crate::model::configuration::ConfigurationState;
use crate::model::fault::Fault as _;
use crate::model::identity::FileIdentity;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::{Mode, Rule};
use crate::model::traces::Collector;
use crate::pipeline::Registry;
use crate::store::{Store, StoreError};
use crate::supervisor::Supervisor;
use crate::telemetry::logging::{self, LogFormat, Writes};
use crate::traces::Traces;
use board::Board;
use reload::{Reloading, Tend};
use shadow::Aside;
use start::Start;

/// The service does not start, or stopped because of a fault. [`ServiceError::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The configuration is wrong: every problem.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine cannot start, or a disk failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The endpoint for commands cannot start.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The control API cannot start.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ServiceError {
    /// What to do about it, as an imperative sentence without a full stop. None for [`ServiceError::Config`]: each of the [`Problems`] has
    /// its own.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(_) => None,
            Self::Store(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Control(error) => error.hint(),
            Self::Api(error) => error.hint(),
        }
    }
}

/// A running service, from [`serve`]. It goes on until it is stopped, also when this is dropped.
pub struct Service {
    engine: Engine,
    running: Running,
    /// What is a shadow among the rules.
    aside: Arc<Aside>,
    hooks: Arc<Hooks>,
    control: Server,
    api: Option<api::Server>,
    traces: Option<Traces>,
    trail: Option<Trail>,
    board: Arc<Board>,
    /// None: no thread could be had for it.
    reloading: Option<Reloading>,
    stop_timeout: Duration,
}

/// Asks a service to stop, from any thread.
#[derive(Clone)]
pub struct Stopper(Engine);

impl Stopper {
    /// Returns at once; [`Service::wait`] returns when the service has stopped.
    pub fn stop(&self) {
        self.0.ask_to_stop();
    }
}

/// Asks a service to read its configuration anew, from any thread.
#[derive(Clone)]
pub struct Reloader(Arc<Board>);

impl Reloader {
    /// Returns at once; what became of it is logged. A service sees by itself that a file was changed: it is for what it cannot see.
    pub fn reload(&self) {
        if let Err(refusal) = self.0.try_to_ask() {
            let hint = refusal.hint().unwrap_or_default();
            tracing::warn!(error = %refusal, hint, "the configuration is not read anew");
        }
    }
}

/// Starts the service with the steps of this registry, by this configuration. `None`: `landfall.toml` in the working folder, else the
/// system's place, as for `landfall run`. Returns when it has begun; folders are looked through from then on.
///
/// With `service.confine` the thread that calls this is confined for good, and so is what it begins.
///
/// Logs to standard error from `info` on, unless the program has set up a `tracing` subscriber of its own.
///
/// # Errors
///
/// [`ServiceError::Config`] has every problem of the configuration. [`ServiceError::Store`]: the data folder cannot be opened, or another
/// service has it. [`ServiceError::Control`] and [`ServiceError::Api`]: the endpoint for commands, or `service.listen`, cannot be had.
/// [`ServiceError::Engine`]: what an earlier run left cannot be taken up, or no thread can be started. Nothing is left running.
///
/// ```
/// use landfall::Registry;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("landfall.toml");
/// # std::fs::write(&config, "config_version = 1\nservice = { data_dir = \"data\" }\n")?;
/// let service = landfall::serve(Some(&config), Registry::with_builtin_steps())?;
/// let stopper = service.stopper();
/// std::thread::spawn(move || stopper.stop()); // when a signal comes, perhaps
/// service.wait()?;
/// # Ok(())
/// # }
/// ```
pub fn serve(config: Option<&Path>, registry: Registry) -> Result<Service, ServiceError> {
    logging::set_up("info", LogFormat::Text, Writes::Thread).ok(); // `info` is a level
    Service::start(config, registry).inspect_err(|_| logging::write_last_lines())
}

impl Service {
    /// Recovers what an earlier run left, then watches and answers commands.
    pub(crate) fn start(config: Option<&Path>, registry: Registry) -> Result<Self, ServiceError> {
        allocator::bound_arenas();
        let file = config::find(config)?;
        let mut start = Start::read(&file, &registry)?; // confined from here on
        start.go_by_store()?;
        let settings = start.settings.clone();
        let keeps_trail = settings.service.audit;
        start.store.keep_audit(keeps_trail)?;
        let data_dir = settings.service.data_dir.clone();
        let count = |is_one: fn(&Rule) -> bool| {
            let count = settings.rules.iter().filter(|rule| is_one(rule)).count();
            (count > 0).then_some(count) // what there is none of is not told
        };
        let live = count(|rule| rule.is_base() && rule.mode == Mode::Live).unwrap_or(0);
        let shadow = count(|rule| rule.is_base() && rule.mode == Mode::Shadow);
        let off = count(|rule| rule.is_base() && rule.mode == Mode::Off);
        let overrides = count(|rule| !rule.is_base());
        let stop_timeout = settings.service.stop_timeout;
        let board = Arc::new(Board::new(state_of(&start), start.kept.clone()));
        let configuration: Arc<dyn Configuration> = Arc::clone(&board) as _;
        let engine = Engine::of_service(start.store.clone(), &settings.rules, configuration);
        // Before the stages: a start looks at many folders, and may hang at one. And no stages are left behind where this fails.
        let control = Server::start(&data_dir, Arc::new(engine.clone()))?;
        let api = api::Server::start(&settings.service.api, &data_dir, engine.clone())?;
        // Before anything happens that they are to be told.
        let hooks = Arc::new(Hooks::new(start.store.clone()));
        hooks.take(&settings.hooks)?;
        board.tell_of(&hooks);
        // Before the rules that take files away: what they claim is told to it.
        let aside = Aside::new(&settings, registry.clone());
        aside.take_rules(&settings.rules, &settings.service.at_rest);
        let sees = Arc::downgrade(&aside);
        let tell_claims = Box::new(move |files: &[(&Path, FileIdentity)]| {
            if let Some(aside) = sees.upgrade() {
                aside.see_claims(files);
            }
        });
        let traces = settings.service.traces.clone();
        // Before it claims anything: what stands behind it in the trail is of this service.
        note(&start.store, &AuditEvent::new(clock::now(), "started", SERVICE));
        let running = engine.serve(settings, registry.clone(), tell_claims).inspect_err(|_| {
            shadow::wait_for_stop(aside.stop().as_ref(), stop_timeout);
            hooks.stop(Duration::ZERO);
        })?;
        tracing::info!(config = %file.display(), rules = live, shadow, off, overrides, data_dir = %data_dir.display(), pid = std::process::id(), "watching");
        board.take_rules(&start.settings.rules, &file);
        let trail = begin_trail(&start.store, &data_dir, board.trail());
        let traces = begin_traces(&engine, traces);
        let tend = tend(&control, &engine, &aside);
        let reloading = begin_reloading(&board, (&engine, &aside, &hooks), file, registry, start, tend);
        if !board.is_read() && aside.trouble().is_some() {
            tracing::error!("shadow rules are not watched before a restart: nobody tries it again");
        }
        Ok(Self {
            engine,
            running,
            aside,
            hooks,
            control,
            api,
            traces,
            trail,
            board,
            reloading,
            stop_timeout,
        })
    }

    /// Tells who started the service how it is, from now on.
    pub(crate) fn supervise(&self, supervisor: &Arc<Supervisor>) -> std::io::Result<()> {
        self.board.tell_reloads_to(supervisor);
        life::begin(&self.engine, &self.board, supervisor)
    }

    /// What asks it to stop, for another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.engine.clone())
    }

    /// What asks it to read its configuration anew, for another thread.
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.board))
    }

    /// `service.stop_timeout`: a stop takes about so long at most, unless a disk does not answer.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    /// Waits until a [`Stopper`] asks, or a fault stops it, and stops it cleanly.
    ///
    /// # Errors
    ///
    /// As [`Service::stop`].
    pub fn wait(self) -> Result<(), ServiceError> {
        self.engine.wait_for_stop();
        self.stop()
    }

    /// Finishes the slices in hand, checkpoints, and ends within `service.stop_timeout`.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Engine`]: the fault that stopped it before, if one did, such as a disk that failed.
    pub fn stop(self) -> Result<(), ServiceError> {
        if let Some(reloading) = self.reloading {
            reloading.stop();
        }
        if let Err(error) = self.control.stop() {
            tracing::warn!(%error, "the control endpoint did not stop cleanly");
        }
        if let Some(api) = self.api {
            api.stop();
        }
        let (begun, stopping) = (Instant::now(), self.aside.stop());
        let stopped = self.running.stop();
        shadow::wait_for_stop(stopping.as_ref(), self.stop_timeout.saturating_sub(begun.elapsed()));
        // What the stop itself has to tell is told now, or after the next start.
        self.hooks.stop(self.stop_timeout.saturating_sub(begun.elapsed()));
        if let Some(traces) = self.traces {
            traces.stop(self.stop_timeout.saturating_sub(begun.elapsed()));
        }
        if let Some(trail) = self.trail {
            note(self.engine.store(), &AuditEvent::new(clock::now(), "stopped", SERVICE));
            trail.stop(self.stop_timeout.saturating_sub(begun.elapsed()).max(TRAIL_TAKES));
        }
        if stopped.is_ok() {
            tracing::info!("stopped");
        }
        logging::write_last_lines();
        Ok(stopped?)
    }

    /// Waits until it is asked to stop, or stops by itself.
    pub(crate) fn ended_handle(&self) -> impl FnOnce() + Send + 'static {
        let engine = self.engine.clone();
        move || engine.wait_for_stop()
    }
}

/// The least that a stop leaves the trail for its last lines.
const TRAIL_TAKES: Duration = Duration::from_millis(500);
/// What to do where the configuration is read at the start alone.
const UNREAD_HINT: &str = "restart the service: it reads its configuration at its start alone";

fn state_of(start: &Start) -> ConfigurationState {
    ConfigurationState {
        file: OsText::from(start.files.main.as_path()),
        taken_at: start.kept.taken_at,
        problems: start.wrong.as_ref().map(Problems::told).unwrap_or_default(),
        wrong_since: start.wrong.as_ref().map(|_| clock::now()),
        needs_restart: Vec::new(),
        unsettled: None,
        last_change: None,
        hooks: Vec::new(),
        trail_trouble: None,
    }
}

/// What waits to be written down is, also where no trail is kept any more.
fn begin_trail(store: &Store, data_dir: &Path, trouble: TrailTrouble) -> Option<Trail> {
    // Of what cannot be read the trail's own thread tells: the service goes on.
    if !store.keeps_audit() && store.to_audit().is_ok_and(|waiting| waiting.is_empty()) {
        return None;
    }
    let begun = Trail::start(store, data_dir, trouble);
    let hint = "raise the limits of processes and memory, and restart the service";
    let failed = |error: &std::io::Error| tracing::error!(%error, hint, "no thread can be started for the audit trail: it waits in the store");
    begun.inspect_err(failed).ok()
}

/// The service itself is what is written down of.
fn note(store: &Store, event: &AuditEvent) {
    if let Err(error) = store.audit(event) {
        tracing::warn!(%error, event = event.event, "this is not in the audit trail");
    }
}

/// A service works as well without.
fn begin_traces(engine: &Engine, collector: Option<Collector>) -> Option<Traces> {
    let begun = Traces::start(engine, collector?);
    let hint = "raise the limits of processes and memory, and restart the service";
    begun
        .inspect_err(
            |error| tracing::error!(%error, hint, "no thread can be started for traces: there are none"),
        )
        .ok()
}

/// Sees that commands reach the service, and what stands aside in it.
fn tend(control: &Server, engine: &Engine, aside: &Arc<Aside>) -> Tend {
    let (address, engine, aside) = (control.address(), engine.clone(), Arc::clone(aside));
    Box::new(move || {
        address.keep(|| engine.has_its_folder());
        aside.keep_address();
    })
}

/// A service that cannot look at its configuration works all the same. What is read from a pipe can be read once.
fn begin_reloading(
    board: &Arc<Board>,
    (engine, aside, hooks): (&Engine, &Arc<Aside>, &Arc<Hooks>),
    file: PathBuf,
    registry: Registry,
    start: Start,
    tend: Tend,
) -> Option<Reloading> {
    if start.wrong.is_none() && !file.is_file() {
        let what = format!("{} is no file that could be read again", escaped_path(&file));
        tracing::info!(config = %file.display(), "the configuration is no file that could be read again: changes of it count after a restart");
        board.leave_unread(what, UNREAD_HINT);
        return Reloading::tend_alone(board, tend)
            .inspect_err(|error| {
                tracing::warn!(%error, "no thread can be started that sees whether commands reach the service");
            })
            .ok();
    }
    let engines = (engine.clone(), Arc::clone(aside), Arc::clone(hooks));
    Reloading::start(board, engines, file, registry, start, tend)
        .inspect_err(|error| {
            board.leave_unread(format!("no thread could be started for the configuration: {error}"), UNREAD_HINT);
            tracing::warn!(%error, "no thread can be started for the configuration: changes of it count after a restart");
        })
        .ok()
}
