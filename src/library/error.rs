//! What a program is told that has Landfall within it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Problems;
use crate::engine::{EngineError, Refusal};
use crate::model::fault::{Fault as _, FaultKind, JobError};
use crate::model::job_id::JobId;
use crate::model::os_text::escaped_path;
use crate::model::rule::Mode;
use crate::model::shell;
use crate::published::ReadError;
use crate::store::StoreError;

/// What was asked of [`super::Landfall`] is not done. [`LandfallError::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LandfallError {
    /// The configuration is wrong: every problem.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine, or the service, does not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What was handed over cannot be written as a file.
    #[error("cannot write {}: {source}", escaped_path(path))]
    Input {
        /// The file that it was to be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something lies there: it is not written over.
    #[error("{} is there already", escaped_path(path))]
    Taken {
        /// The file that it was to be.
        path: PathBuf,
    },
    /// It is a whole file, and lies there; but no job has it yet.
    #[error("{} lies there whole, and is not taken: {why}", escaped_path(path))]
    NotTaken {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
        /// What to do about that.
        hint: Option<String>,
    },
    /// It was a whole file there, and a service took it; which job has it is not known yet.
    #[error("{} was taken by the service, and its job is not known: {why}", escaped_path(path))]
    TakenUnseen {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A record that was handed over would not be the one record that it is.
    #[error("record {number} cannot be written as one: {reason}")]
    Record {
        /// Its number, from 1.
        number: u64,
        /// Why.
        reason: String,
    },
    /// The rule reads other texts than these records make.
    #[error("rule \"{rule}\" {what}")]
    Rule {
        /// The rule's name.
        rule: String,
        /// What it does.
        what: String,
    },
    /// The rule takes no file.
    #[error("rule \"{rule}\" takes no file: its mode is `{}`", mode.word())]
    NotLive {
        /// The rule's name.
        rule: String,
        /// What it is instead of live.
        mode: Mode,
    },
    /// The service that had the job ended, and none took its place.
    #[error("the service ended, and none answered within {} s: job {job} stays as far as it is", waited.as_secs())]
    ServiceGone {
        /// The job.
        job: JobId,
        /// How long it was waited for one.
        waited: Duration,
    },
    /// No thread can be started that says which jobs are read.
    #[error("no thread can be started: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
    /// There is no output, or it cannot be read.
    #[error(transparent)]
    Output(#[from] ReadError),
}

impl LandfallError {
    /// What to do about it, as an imperative sentence without a full stop. None for [`LandfallError::Config`]: each of the
    /// [`Problems`] has its own.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(_) => None, // each problem has its own
            Self::Store(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Output(error) => error.hint(),
            Self::Input { .. } => Some("make the folder, and let this program write there".into()),
            Self::Taken { .. } => Some(
                "give it another name; if it is what an earlier call left there, hand it over by `Input::file(path).retired()`".into(),
            ),
            Self::NotTaken { hint, .. } => {
                let hint = hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                Some(format!(
                    "do not hand the same over again: a service that watches takes it once nothing is in the way{hint}; else hand it over as a file, by `Input::file(path).retired()`"
                ))
            }
            Self::TakenUnseen { path, .. } => Some(format!(
                "do not hand the same over again: `landfall find --source {}` tells its job",
                shell::word(path)
            )),
            Self::NotLive { .. } => Some(
                "write `mode = \"live\"` there, or name another rule; `landfall ingest FILE --dry-run --rule` shows what would come out".into(),
            ),
            Self::ServiceGone { job, .. } => Some(format!(
                "start the service again, or open `Landfall` anew, which then does the work itself; the job goes on, and `Landfall::ingestion` finds it as {job}"
            )),
            Self::Thread { .. } => Some("let this process have more threads".into()),
            Self::Record { .. } => Some("write it as the rule's `records` are read, or drop it".into()),
            Self::Rule { .. } => Some(
                "`Input::with_header` gives records a header; `Input::reader` takes a text as it is".into(),
            ),
        }
    }

    pub(super) fn input(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AlreadyExists => Self::Taken { path: path.to_owned() },
            _ => Self::Input { path: path.to_owned(), source },
        }
    }
}

impl From<Refusal> for LandfallError {
    fn from(refusal: Refusal) -> Self {
        let error = match refusal {
            Refusal::Fault(error) => error,
            other => JobError { kind: FaultKind::Input, message: other.to_string(), hint: other.hint() },
        };
        Self::Engine(error.into())
    }
}
