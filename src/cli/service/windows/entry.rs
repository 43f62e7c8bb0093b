//! `landfall service run`: what the service control manager starts, with the work of `landfall run`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use windows_service::{service_control_handler, service_dispatcher};

use super::{NAME, controls, log, log_file::LogFile};
use crate::cli::exit::{FAILED, USAGE};
use crate::cli::explain::explain;
use crate::cli::run::{self, RunArgs};
use crate::cli::say::say;
use crate::pipeline::Registry;
use crate::supervisor::manager::{self, State, Status};
use crate::telemetry::event_log::{Severity, note, note_left_out};
use crate::telemetry::logging::{self, Writes};

/// For the thread on which the system starts the service; it takes no parameters of ours.
static WORK: Mutex<Option<Work>> = Mutex::new(None);

/// The arguments of `landfall service run`.
#[derive(Clone, clap::Args)]
pub(in crate::cli) struct ServeArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The log
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

impl ServeArgs {
    fn log(&self) -> PathBuf {
        self.log.clone().unwrap_or_else(log)
    }
}

struct Work {
    args: ServeArgs,
    config: Option<PathBuf>,
    registry: Registry,
}

/// Its log, which is opened before anything else can fail.
pub(in crate::cli) fn writes(args: &ServeArgs) -> Writes {
    let log = args.log();
    match LogFile::open(log.clone()) {
        Ok(file) => Writes::Service(Box::new(file)),
        Err(error) => {
            note(
                Severity::Warning,
                &format!(
                    "cannot write the log {}: {error}\r\nIt is lost; `landfall service install` makes its folder.",
                    log.display()
                ),
            );
            Writes::Service(Box::new(io::sink()))
        }
    }
}

pub(in crate::cli) fn serve(
    args: &ServeArgs,
    config: Option<&Path>,
    registry: Registry,
) -> anyhow::Result<ExitCode> {
    let work = Work { args: args.clone(), config: config.map(Path::to_owned), registry };
    *WORK.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    match service_dispatcher::start(NAME, service_main) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            // Standard error is the log's.
            say!("landfall: the service control manager alone starts this: {error:?}");
            say!("    hint: landfall service start; or `landfall run`, in the foreground");
            Ok(ExitCode::from(USAGE))
        }
    }
}

extern "system" fn service_main(_: u32, _: *mut *mut u16) {
    let Some(work) = WORK.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let handle = match service_control_handler::register(NAME, controls::take) {
        Ok(handle) => handle,
        Err(error) => {
            note(Severity::Error, &format!("the service control manager cannot be heard: {error:?}"));
            return;
        }
    };
    let place = place(&work);
    let begun = manager::begin(move |status, is_news| {
        if is_news {
            tell(status, &place);
        }
        handle.set_service_status(controls::shown(status)).map_err(io::Error::other)
    });
    if let Err(error) = begun {
        tracing::warn!(%error, "the service control manager was not told that the service starts");
    }
    let code = run(&work);
    logging::write_last_lines();
    manager::ended(code);
}

/// 0, or what the process would have ended with.
fn run(work: &Work) -> u32 {
    if work.args.run.standby
        && let Err(error) = manager::runs_already()
    {
        tracing::warn!(%error, "the service control manager was not told that the service stands by");
    }
    let ended = run::run(work.args.run, work.config.as_deref(), &work.registry);
    let code = ended.unwrap_or_else(|error| {
        let hint = format!("\r\nIts log: {}", work.args.log().display());
        note(Severity::Error, &format!("the service ends: {error:#}{hint}"));
        explain(&error)
    });
    let known = [FAILED, USAGE].into_iter().find(|known| code == ExitCode::from(*known));
    if code == ExitCode::SUCCESS { 0 } else { u32::from(known.unwrap_or(FAILED)) }
}

fn place(work: &Work) -> String {
    let config = work.config.as_deref().map_or_else(|| "by default".into(), Path::to_string_lossy);
    format!("\r\nIts configuration: {config}\r\nIts log: {}", work.args.log().display())
}

/// The parts of its life are in the system's log of events.
fn tell(status: &Status, place: &str) {
    match status.state {
        State::Running => note(Severity::Information, &format!("the service runs{place}")),
        State::Stopped { code: 0 } => {
            note_left_out();
            note(Severity::Information, &format!("the service stopped{place}"));
        }
        State::Stopped { code } => {
            note_left_out();
            note(Severity::Error, &format!("the service ended with code {code}{place}"));
        }
        State::Starting | State::Stopping => {}
    }
}
