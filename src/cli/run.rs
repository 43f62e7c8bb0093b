//! `landfall run`: the service in the foreground.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config;
use crate::control::{Server, StoreHandler};
use crate::engine::{Engine, Purpose};
use crate::model::rule::Mode;
use crate::pipeline::Registry;
use crate::store::Store;

/// No arguments of its own.
#[derive(clap::Args)]
pub struct RunArgs {}

pub(super) fn run(_args: &RunArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    serve(config, Registry::with_builtin_steps())
}

/// Runs the service with these steps until a signal stops it. For programs that register steps of their own.
pub fn serve(config: Option<&Path>, registry: Registry) -> anyhow::Result<ExitCode> {
    let file = config::find(config)?;
    let settings = config::load(&file, &registry)?;
    let data_dir = settings.service.data_dir.clone();
    let live = settings.rules.iter().filter(|rule| rule.mode == Mode::Live).count();
    let store = Store::open(&data_dir)?;
    let engine = Engine::start(settings, registry, store.clone(), Purpose::Serve)?;
    let retry = engine.retry_handle();
    let retry = move |id| retry(id).map(|_| ()).map_err(|error| error.job_error().clone());
    let ingest = engine.ingest_handle();
    let ingest = move |file: &Path, rule: &str, retire| {
        ingest(file, rule, retire).map_err(|error| error.job_error().clone())
    };
    let handler = StoreHandler::new(store).with_retry(retry).with_ingest(ingest);
    let handler = Arc::new(handler.with_progress(engine.progress_handle()));
    let control = Server::start(&data_dir, handler)?;
    tracing::info!(config = %file.display(), rules = live, data_dir = %data_dir.display(), pid = std::process::id(), "watching");
    let signal = wait_for_end(&engine)?;
    tracing::info!(signal, "stopping");
    control.stop()?;
    engine.stop()?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Waits for a signal, or for the engine to stop by itself. What it was.
fn wait_for_end(engine: &Engine) -> anyhow::Result<&'static str> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let wait = engine.wait_handle();
    std::thread::Builder::new().name("await-stop".into()).spawn(move || {
        wait();
        tell.send(()).ok(); // nobody listens once a signal came first
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot start the signal loop")?;
    runtime.block_on(async {
        tokio::select! {
            signal = next_signal() => signal,
            _ = told => Ok("fault"),
        }
    })
}

#[cfg(unix)]
async fn next_signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}

#[cfg(windows)]
async fn next_signal() -> anyhow::Result<&'static str> {
    tokio::signal::ctrl_c().await.context("cannot listen for Ctrl-C")?;
    Ok("Ctrl-C")
}
