//! `landfall run`: the service in the foreground.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::Runtime;

use crate::allocator;
use crate::config;
use crate::control::{FileWaiting, Server, StoreHandler};
use crate::engine::{Engine, Purpose};
use crate::model::rule::Mode;
use crate::pipeline::Registry;
use crate::store::{Store, StoreError};

/// How long another command may have the store, at most, before it counts as another service.
const COMMANDS_TAKE: Duration = Duration::from_secs(1);
const OPEN_AGAIN: Duration = Duration::from_millis(50);
/// What a stop may take beyond `stop_timeout`: the last checkpoints, and closing the store.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// No arguments of its own.
#[derive(clap::Args)]
pub struct RunArgs {}

pub(super) fn run(_args: &RunArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    serve(config, Registry::with_builtin_steps())
}

/// Runs the service with these steps until a signal stops it. For programs that register steps of their own.
pub fn serve(config: Option<&Path>, registry: Registry) -> anyhow::Result<ExitCode> {
    allocator::bound_arenas();
    let file = config::find(config)?;
    let settings = config::load(&file, &registry)?;
    let data_dir = settings.service.data_dir.clone();
    let live = settings.rules.iter().filter(|rule| rule.mode == Mode::Live).count();
    // From here on a stop is clean, however early it comes.
    let signals = Signals::listen()?;
    let stop_timeout = settings.service.stop_timeout;
    let store = open_store(&data_dir)?;
    let engine = Engine::start(settings, registry, store.clone(), Purpose::Serve)?;
    let retry = engine.retry_handle();
    let retry = move |id| retry(id).map(|_| ()).map_err(|error| error.job_error().clone());
    let ingest = engine.ingest_handle();
    let ingest = move |file: &Path, rule: &str, retire| {
        ingest(file, rule, retire).map_err(|error| error.job_error().clone())
    };
    let handler = StoreHandler::new(store).with_retry(retry).with_ingest(ingest);
    let waiting = engine.files_waiting_handle();
    let waiting = move || {
        let file = |(path, reason): (PathBuf, String)| FileWaiting { path: path.into(), reason };
        waiting().into_iter().map(file).collect()
    };
    let handler = handler.with_progress(engine.progress_handle()).with_files_waiting(waiting);
    let handler = Arc::new(handler);
    let control = Server::start(&data_dir, handler)?;
    tracing::info!(config = %file.display(), rules = live, data_dir = %data_dir.display(), pid = std::process::id(), "watching");
    let signal = signals.wait(&engine)?;
    tracing::info!(signal, "stopping");
    end_in_any_case(stop_timeout + STOP_GRACE)?;
    if let Err(error) = control.stop() {
        tracing::warn!(%error, "the control endpoint did not stop cleanly");
    }
    engine.stop()?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
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

/// A disk that does not answer must not hold up the stop for ever: what was not finished is recovered by the next start.
fn end_in_any_case(within: Duration) -> anyhow::Result<()> {
    let watchdog = move || {
        std::thread::sleep(within);
        tracing::warn!("the stop took too long: ending all the same; the next start recovers");
        std::process::exit(1);
    };
    std::thread::Builder::new().name("end-in-any-case".into()).spawn(watchdog)?;
    Ok(())
}

/// The signals that stop the service, from the moment that this is made.
struct Signals {
    runtime: Runtime,
    listening: Listening,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot start the signal loop")?;
        let listening = {
            let _inside = runtime.enter();
            Listening::start()?
        };
        Ok(Self { runtime, listening })
    }

    /// Waits for a signal, or for the engine to stop by itself. What it was.
    fn wait(mut self, engine: &Engine) -> anyhow::Result<&'static str> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let wait = engine.wait_handle();
        std::thread::Builder::new().name("await-stop".into()).spawn(move || {
            wait();
            tell.send(()).ok(); // nobody listens once a signal came first
        })?;
        Ok(self.runtime.block_on(async {
            tokio::select! {
                signal = self.listening.next() => signal,
                _ = told => "fault",
            }
        }))
    }
}

#[cfg(unix)]
struct Listening {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Listening {
    fn start() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(windows)]
struct Listening {
    interrupt: tokio::signal::windows::CtrlC,
}

#[cfg(windows)]
impl Listening {
    fn start() -> anyhow::Result<Self> {
        let interrupt = tokio::signal::windows::ctrl_c().context("cannot listen for Ctrl-C")?;
        Ok(Self { interrupt })
    }

    async fn next(&mut self) -> &'static str {
        self.interrupt.recv().await;
        "Ctrl-C"
    }
}
