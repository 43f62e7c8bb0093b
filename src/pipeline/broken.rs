//! A step that broke.

use crate::model::fault::{Fault, FaultKind, WaitsFor};
use crate::model::step::BrokenKind;

/// A step broke (panic, dead child, timeout): it costs an attempt of its slice. One that cannot start is a fault of the
/// configuration or the machine, and costs nothing but time.
#[derive(Debug, thiserror::Error)]
#[error("{step}{} {reason}", if self.cannot_start() { ":" } else { " broke:" })]
pub struct StepBroken {
    /// As the rule names it: `step 2, exec`.
    pub step: String,
    /// How.
    pub kind: BrokenKind,
    /// Why.
    pub reason: String,
}

impl StepBroken {
    /// Whether it broke before any record, so that no record is to blame.
    pub fn cannot_start(&self) -> bool {
        matches!(self.kind, BrokenKind::CannotStart { .. } | BrokenKind::Hangs { .. })
    }

    /// Whether earlier results of the job may be wrong too.
    pub fn is_untrusted(&self) -> bool {
        matches!(self.kind, BrokenKind::Untrusted { .. })
    }

    /// Whether no further try helps before somebody mends the step: the job is held.
    pub fn holds_job(&self) -> bool {
        self.cannot_start() || self.is_untrusted()
    }
}

impl Fault for StepBroken {
    fn kind(&self) -> FaultKind {
        match self.kind {
            BrokenKind::Hangs { .. } => FaultKind::Storage,
            BrokenKind::CannotStart { .. } | BrokenKind::Untrusted { .. } => FaultKind::Config,
            BrokenKind::Broken | BrokenKind::NoAnswer { .. } => FaultKind::Transient,
        }
    }

    fn waits_for(&self) -> WaitsFor {
        match self.kind {
            BrokenKind::Hangs { .. } => WaitsFor::Mount,
            BrokenKind::CannotStart { .. } | BrokenKind::Untrusted { .. } => WaitsFor::Config,
            BrokenKind::Broken | BrokenKind::NoAnswer { .. } => WaitsFor::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        match self.kind {
            BrokenKind::CannotStart { hint }
            | BrokenKind::Hangs { hint }
            | BrokenKind::Untrusted { hint } => Some(hint.to_owned()),
            BrokenKind::Broken | BrokenKind::NoAnswer { .. } => None,
        }
    }
}
