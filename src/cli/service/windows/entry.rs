//! `landfall service run`: what the service control manager starts, with the work of `landfall run`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use windows_service::{service_control_handler, service_dispatcher};

use super::{NAME, controls, log, log_file::LogFile};
use crate::cli::asked;
use crate::cli::exit::{FAILED, USAGE};
use crate::cli::explain::explain;
use crate::cli::run::{self, RunArgs};
use crate::cli::say::say;
use crate::pipeline::Registry;
use crate::supervisor::manager::{self, State};
use crate::telemetry::event_log::{Severity, note, write_notes};
use crate::telemetry::logging::{self, Writes};

/// For the thread on which the system starts the service; it takes no parameters of ours.
static WORK: Mutex<Option<Work>> = Mutex::new(None);

/// How long the end of the process waits for the Event Log.
const NOTES_TAKE: Duration = Duration::from_secs(2);

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
    let work = WORK.lock().unwrap_or_else(PoisonError::into_inner).take();
    let handle = service_control_handler::register(NAME, controls::take);
    let (work, handle) = match (work, handle) {
        (Some(work), Ok(handle)) => (work, handle),
        // Who returns without having told that it stopped is "starting" for ever.
        (_, handle) => {
            let why =
                handle.err().map_or_else(|| "it knows no work".to_owned(), |error| format!("{error:?}"));
            note(
                Severity::Error,
                &format!("the service cannot be started by the service control manager: {why}"),
            );
            write_notes(NOTES_TAKE);
            std::process::exit(i32::from(FAILED));
        }
    };
    let (place, failure) = (place(&work), Arc::new(OnceLock::new()));
    let known = Arc::clone(&failure);
    let begun = manager::begin(
        move |status| handle.set_service_status(controls::shown(status)).map_err(io::Error::other),
        move |state| hear(state, known.get(), &place),
    );
    if let Err(error) = begun {
        tracing::warn!(%error, "the service control manager was not told that the service starts");
    }
    let code = run(&work, &failure);
    logging::write_last_lines();
    manager::ended(code);
}

/// 0, or what the process would have ended with; why is kept in `failure`.
fn run(work: &Work, failure: &OnceLock<String>) -> u32 {
    if work.args.run.standby
        && let Err(error) = manager::runs_already()
    {
        tracing::warn!(%error, "the service control manager was not told that the service stands by");
    }
    let ended = run::run(work.args.run, work.config.as_deref(), &work.registry);
    let code = ended.unwrap_or_else(|error| {
        failure.get_or_init(|| format!("{error:#}"));
        explain(&error)
    });
    let known = [FAILED, USAGE].into_iter().find(|known| code == ExitCode::from(*known));
    let code = if code == ExitCode::SUCCESS { 0 } else { u32::from(known.unwrap_or(FAILED)) };
    code_told(code, asked::is_stop_asked())
}

/// What was asked to stop is not started anew, however it ends.
fn code_told(code: u32, is_stop_asked: bool) -> u32 {
    if is_stop_asked { 0 } else { code }
}

fn place(work: &Work) -> String {
    let config = work.config.as_deref().map_or_else(|| "by default".into(), Path::to_string_lossy);
    format!("\r\nIts configuration: {config}\r\nIts log: {}", work.args.log().display())
}

/// The parts of its life are in the system's log of events.
fn hear(state: State, failure: Option<&String>, place: &str) {
    if let Some((severity, text)) = told_of(state, failure) {
        note(severity, &format!("{text}{place}"));
    }
    if matches!(state, State::Stopped { .. }) {
        write_notes(NOTES_TAKE);
    }
}

/// One event for each.
fn told_of(state: State, failure: Option<&String>) -> Option<(Severity, String)> {
    let why = failure.map_or_else(String::new, |why| format!(": {why}"));
    match (state, failure) {
        (State::Running, _) => Some((Severity::Information, "the service runs".to_owned())),
        (State::Stopped { code: 0 }, None) => Some((Severity::Information, "the service stopped".to_owned())),
        (State::Stopped { code: 0 }, Some(_)) => {
            Some((Severity::Error, format!("the service stopped as it was asked to, and not cleanly{why}")))
        }
        (State::Stopped { code }, _) => {
            Some((Severity::Error, format!("the service ended with code {code}{why}")))
        }
        (State::Starting | State::Stopping, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_was_asked_for_ends_with_0_and_a_failure_with_its_code() {
        assert_eq!([0, 1, 2].map(|code| code_told(code, true)), [0, 0, 0]);
        assert_eq!([0, 1, 2].map(|code| code_told(code, false)), [0, 1, 2]);
    }

    #[test]
    fn each_end_is_one_event_with_the_reason() {
        let why = "the disk is full".to_owned();
        let told = |code, why| told_of(State::Stopped { code }, why).expect("is told");
        assert_eq!(told(0, None), (Severity::Information, "the service stopped".to_owned()));
        let (severity, text) = told(0, Some(&why));
        assert!(severity == Severity::Error && text.ends_with("not cleanly: the disk is full"), "{text}");
        assert_eq!(told(2, Some(&why)).1, "the service ended with code 2: the disk is full");
        assert_eq!(told_of(State::Starting, None), None);
    }
}
