//! What stands in a job's way, in the words of the engine: which reaction follows.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::decode::DecodeError;
use crate::durable_fs::FsError;
use crate::model::account::Unbalanced;
use crate::model::delivery::Resend;
use crate::model::fault::{Fault, FaultKind, JobError, WaitsFor};
use crate::model::job_state::IllegalTransition;
use crate::output::OutputError;
use crate::pipeline::{MissingColumns, StepBroken};
use crate::record::CutError;
use crate::store::StoreError;

/// Runs a stage's work for one job; a panic in it is this job's trouble and nobody else's.
pub(super) fn guard<R>(stage: &str, work: impl FnOnce() -> Result<R, Trouble>) -> Result<R, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(ToString::to_string);
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let hint =
            "report this with the rule and a sample of the source; `landfall retry` tries the job again";
        Err(Trouble::new(
            FaultKind::Bug,
            format!("internal error while the job was to {stage}: {said}"),
            Some(hint),
        ))
    })
}

/// A fault that reached the engine, whatever layer it came from.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a reaction of its own, and several may be due at once"
)]
pub(super) struct Trouble {
    /// For the job's row, with the hint.
    pub error: JobError,
    /// What a held job waits for.
    pub waits_for: WaitsFor,
    /// The source ended too early: it may still be growing.
    pub ended_early: bool,
    /// What was collected before may be wrong too: the job starts from its first record when it goes on.
    pub starts_over: bool,
    /// A flush or fsync failed: nothing may be retried before a restart.
    pub poisoned: bool,
    /// The service told of it as a whole, and not again for each job; what the job waits for, with figures.
    pub told: Option<Box<str>>,
    /// The file lacks columns that its rule names, and the rule may misspell them.
    pub misfit: bool,
    /// Too many of its records are at fault, and not the file as a whole.
    pub of_records: bool,
    /// What was published before stands in the way.
    pub resend: Option<Resend>,
}

impl Trouble {
    pub(super) fn from_fault(fault: &dyn Fault) -> Self {
        Self {
            error: JobError::from_fault(fault),
            waits_for: fault.waits_for(),
            ended_early: false,
            starts_over: false,
            poisoned: false,
            told: None,
            misfit: false,
            of_records: false,
            resend: None,
        }
    }

    /// As another process told it.
    pub(super) fn from_error(error: JobError) -> Self {
        let told = Self::new(error.kind, "", None);
        Self { error, ..told }
    }

    /// A place that cannot be looked at: nobody knows what lies there.
    pub(super) fn unseen(path: &Path, error: io::Error) -> Self {
        FsError::new("look at", path, error).into()
    }

    /// Too many records are at fault.
    pub(super) fn of_records(message: impl Into<String>, hint: &str) -> Self {
        Self { of_records: true, ..Self::new(FaultKind::Input, message, Some(hint)) }
    }

    /// A fault that the engine itself finds.
    pub(super) fn new(kind: FaultKind, message: impl Into<String>, hint: Option<&str>) -> Self {
        let error = JobError { kind, message: message.into(), hint: hint.map(str::to_owned) };
        let waits_for = match kind {
            FaultKind::Config => WaitsFor::Config,
            FaultKind::Storage => WaitsFor::Disk,
            FaultKind::Input | FaultKind::Transient | FaultKind::Bug => WaitsFor::Retry,
        };
        Self {
            error,
            waits_for,
            ended_early: false,
            starts_over: false,
            poisoned: false,
            told: None,
            misfit: false,
            of_records: false,
            resend: None,
        }
    }
}

impl From<DecodeError> for Trouble {
    fn from(error: DecodeError) -> Self {
        Self { ended_early: error.ended_early(), ..Self::from_fault(&error) }
    }
}

impl From<StepBroken> for Trouble {
    fn from(broken: StepBroken) -> Self {
        Self { starts_over: broken.is_untrusted(), ..Self::from_fault(&broken) }
    }
}

impl From<CutError> for Trouble {
    fn from(error: CutError) -> Self {
        Self::from_fault(&error)
    }
}

impl From<MissingColumns> for Trouble {
    fn from(error: MissingColumns) -> Self {
        Self::from_fault(&error)
    }
}

impl From<OutputError> for Trouble {
    fn from(error: OutputError) -> Self {
        Self { poisoned: error.is_failed_sync(), ..Self::from_fault(&error) }
    }
}

impl From<FsError> for Trouble {
    fn from(error: FsError) -> Self {
        Self { poisoned: error.is_failed_sync(), ..Self::from_fault(&error) }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self { poisoned: error.is_poisoned(), ..Self::from_fault(&error) }
    }
}

impl From<Unbalanced> for Trouble {
    fn from(error: Unbalanced) -> Self {
        Self::new(
            FaultKind::Bug,
            error.to_string(),
            Some("report this with the rule and a sample of the source"),
        )
    }
}

impl From<IllegalTransition> for Trouble {
    fn from(error: IllegalTransition) -> Self {
        Self::new(FaultKind::Bug, error.to_string(), None)
    }
}
