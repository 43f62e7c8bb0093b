//! The running service: an engine that watches, and the endpoint that answers commands. What [`crate::main`] does behind `landfall run`,
//! for programs that have a `main` of their own.
//!
//! It listens for no signals and never ends the process: that is for the program around it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::allocator;
use crate::config::{self, Problems};
use crate::control::{ControlError, Server};
use crate::engine::{Engine, EngineError, Purpose, Running};
use crate::model::os_text::OsText;
use crate::model::rule::Mode;
use crate::pipeline::Registry;
use crate::store::{Store, StoreError};
use crate::telemetry::logging::{self, LogFormat};

/// How long another command may have the store, at most, before it counts as another service.
const COMMANDS_TAKE: Duration = Duration::from_secs(3);
const OPEN_AGAIN: Duration = Duration::from_millis(50);

/// The service does not start, or stopped because of a fault.
#[derive(Debug, thiserror::Error)]
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
}

/// A running service. It goes on until it is stopped, also when this is dropped.
pub struct Service {
    engine: Engine,
    running: Running,
    control: Server,
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

/// Starts the service with the steps of this registry; `config` as for `landfall run --config`.
///
/// Logs to standard error from `info` on, unless the program has set up a `tracing` subscriber of its own.
///
/// ```no_run
/// use landfall::pipeline::Registry;
///
/// let service = landfall::serve(None, Registry::with_builtin_steps())?;
/// let stopper = service.stopper();
/// std::thread::spawn(move || {
///     std::thread::sleep(std::time::Duration::from_secs(60));
///     stopper.stop();
/// });
/// service.wait()?;
/// # Ok::<(), landfall::ServiceError>(())
/// ```
pub fn serve(config: Option<&Path>, registry: Registry) -> Result<Service, ServiceError> {
    logging::set_up("info", LogFormat::Text).ok(); // `info` is a level
    Service::start(config, registry)
}

impl Service {
    /// Recovers what an earlier run left, then watches and answers commands.
    pub(crate) fn start(config: Option<&Path>, registry: Registry) -> Result<Self, ServiceError> {
        allocator::bound_arenas();
        let file = config::find(config)?;
        let (settings, files) = config::load_with_files(&file, &registry)?;
        let data_dir = settings.service.data_dir.clone();
        let live = settings.rules.iter().filter(|rule| rule.mode == Mode::Live).count();
        let stop_timeout = settings.service.stop_timeout;
        let store = open_store(&data_dir)?;
        let changed = Box::new(move || files.changed().map(OsText::from));
        let engine = Engine::of_service(store, &settings.rules, changed);
        // Before the stages: a start looks at many folders, and may hang at one. And no stages are left behind where this fails.
        let control = Server::start(&data_dir, Arc::new(engine.clone()))?;
        let running = engine.start(settings, registry, Purpose::Serve)?;
        tracing::info!(config = %file.display(), rules = live, data_dir = %data_dir.display(), pid = std::process::id(), "watching");
        Ok(Self { engine, running, control, stop_timeout })
    }

    /// For another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.engine.clone())
    }

    /// `service.stop_timeout`: a stop takes about so long at most, unless a disk does not answer.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    /// Waits until a [`Stopper`] asks, or a fault stops it, and stops it cleanly; the fault, if there is one.
    pub fn wait(self) -> Result<(), ServiceError> {
        self.engine.wait_for_stop();
        self.stop()
    }

    /// Finishes the slices in hand, checkpoints, and ends within `service.stop_timeout`. The fault that stopped it before, if one did.
    pub fn stop(self) -> Result<(), ServiceError> {
        if let Err(error) = self.control.stop() {
            tracing::warn!(%error, "the control endpoint did not stop cleanly");
        }
        self.running.stop()?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Waits until it is asked to stop, or stops by itself.
    pub(crate) fn ended_handle(&self) -> impl FnOnce() + Send + 'static {
        let engine = self.engine.clone();
        move || engine.wait_for_stop()
    }
}

/// Another command may have the store open for a moment.
fn open_store(data_dir: &Path) -> Result<Store, StoreError> {
    let begun = Instant::now();
    loop {
        match Store::open(data_dir) {
            Err(StoreError::InUse { .. }) if begun.elapsed() < COMMANDS_TAKE => {
                std::thread::sleep(OPEN_AGAIN);
            }
            opened => return opened,
        }
    }
}
