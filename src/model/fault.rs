//! Faults: errors sorted by what the service does about them.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Errors sorted by reaction, not by origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// The content cannot be processed: the job fails and its source goes to quarantine.
    Input,
    /// A rule, key or command is wrong: the job is held where it is and goes on when it is mended.
    Config,
    /// Something outside was not ready: tried again with back-off.
    Transient,
    /// A disk or the store failed: the job is held; a failed fsync stops the service cleanly.
    Storage,
    /// A fault of this program: the job fails, nothing is published, the source stays.
    Bug,
}

impl FaultKind {
    /// Whether the job fails for good, rather than being held until something is mended.
    pub(crate) fn fails_job(self) -> bool {
        matches!(self, Self::Input | Self::Bug)
    }
}

/// What a waiting job waits for, in the words of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitsFor {
    /// Room on a disk, or a disk that answers again.
    Disk,
    /// The file system of `publish.mount`.
    Mount,
    /// A key, identity or passphrase file.
    Key,
    /// A mended rule or folder permission.
    Config,
    /// The next attempt.
    Retry,
    /// An operator's word.
    Settling,
    /// An earlier delivery of the same key.
    Delivery,
    /// An operator, who paused it, or its rule or sender.
    Pause,
    /// A limit of workers or of records a second.
    Throttle,
    /// Its rule's window to open.
    Window,
    /// The job before it in its rule's sequence.
    Sequence,
}

impl WaitsFor {
    /// As the JSON has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Mount => "mount",
            Self::Key => "key",
            Self::Config => "config",
            Self::Retry => "retry",
            Self::Settling => "settling",
            Self::Delivery => "delivery",
            Self::Pause => "pause",
            Self::Throttle => "throttle",
            Self::Window => "window",
            Self::Sequence => "sequence",
        }
    }

    /// Whether an edit of the job's rule may be what ends the wait.
    pub(crate) fn may_be_mended_in_rule(self) -> bool {
        matches!(self, Self::Config | Self::Key | Self::Mount | Self::Disk | Self::Settling)
    }
}

/// An error that knows how it is to be met.
pub(crate) trait Fault: Error {
    /// How the service reacts.
    fn kind(&self) -> FaultKind;

    /// What the operator can do, as an imperative sentence without a full stop.
    fn hint(&self) -> Option<String> {
        None
    }

    /// What a held job waits for; meaningful for `Config`, `Transient` and `Storage`.
    fn waits_for(&self) -> WaitsFor {
        match self.kind() {
            FaultKind::Storage => WaitsFor::Disk,
            FaultKind::Config => WaitsFor::Config,
            FaultKind::Input | FaultKind::Transient | FaultKind::Bug => WaitsFor::Retry,
        }
    }
}

/// A fault as it is kept in a job's row and shown: what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// How the service reacted.
    pub kind: FaultKind,
    /// The error with its causes, one line.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
}

impl JobError {
    /// The word for the job's row from any fault, its causes included.
    pub(crate) fn from_fault(fault: &dyn Fault) -> Self {
        let mut message = fault.to_string();
        let mut cause = fault.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self { kind: fault.kind(), message, hint: fault.hint() }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}
