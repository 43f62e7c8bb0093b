//! What stands in a job's way, in the words of the engine: which reaction follows.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::given_back::Unfit;
use crate::decode::DecodeError;
use crate::durable_fs::FsError;
use crate::model::account::Unbalanced;
use crate::model::delivery::Resend;
use crate::model::fault::{Fault, FaultKind, JobError, WaitsFor};
use crate::model::job_state::IllegalTransition;
use crate::model::mistake::Mistake;
use crate::model::quoted::{Quoted, Quotes};
use crate::model::rule::Rule;
use crate::output::OutputError;
use crate::pipeline::{MissingColumns, StepBroken};
use crate::record::CutError;
use crate::store::StoreError;

/// What to do about what must never happen.
const REPORT: &str = "this is an error of landfall: report it with the service's log and what `landfall show --json` says of the job";

/// Runs a stage's work for one job; a panic in it is this job's trouble and nobody else's.
pub(super) fn guard<R>(stage: &str, work: impl FnOnce() -> Result<R, Trouble>) -> Result<R, Trouble> {
    catch(stage, |said| said, work)
}

/// The same for work that has a source's text in its hands; what it says of that is shown as the rule has it.
pub(super) fn guard_text<R>(
    quotes: Quotes,
    stage: &str,
    work: impl FnOnce() -> Result<R, Trouble>,
) -> Result<R, Trouble> {
    quotes.within(|| catch(stage, |said| Quoted::new(said).to_string(), work))
}

fn catch<R>(
    stage: &str,
    told: fn(String) -> String,
    work: impl FnOnce() -> Result<R, Trouble>,
) -> Result<R, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(ToString::to_string);
        let said = told(said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default());
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
pub(super) struct Trouble {
    /// For the job's row, with the hint.
    pub error: JobError,
    /// What a held job waits for.
    pub waits_for: WaitsFor,
    pub reaction: Reaction,
}

/// What follows from a trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// As the error's kind says: the job fails, or is held and tried again.
    ByKind,
    /// The source ended too early and may still be growing: it is given back to wait, once; else as its kind says.
    GiveBack,
    /// What its sender says of it does not fit, and may go on: it is given back to wait until one of the two is another.
    GiveBackUnfit(Box<Unfit>),
    /// The source was taken away from where it lies, and is not ours: the job ends.
    Gone,
    /// What was collected before may be wrong too: the job fails or is held, and starts from its first record when it goes on.
    StartOver,
    /// A flush or fsync failed: the service stops, and nothing is retried before its next start.
    Stop,
    /// The job is held until what lacks is there. The service told of that as a whole, and not again for each job.
    Park {
        /// What the job waits for, with figures.
        detail: Box<str>,
    },
    /// The file lacks columns that its rule names, and the rule may misspell them: the job is held until it is mended, or a file fits.
    SuspectRule {
        /// Of the job's records some are collected, and may be wrong.
        starts_over: bool,
    },
    /// Too many records are at fault, and not the file as a whole: the job fails, unless its rule may misspell a column.
    JudgeRecords,
    /// What was published before stands in the way.
    Resend(Resend),
    /// Its failed records are decided on before anything is published.
    HoldRecords,
    /// An operator had it stopped: its row says what becomes of it.
    Ordered,
}

impl Trouble {
    pub(super) fn from_fault(fault: &dyn Fault) -> Self {
        Self { error: JobError::from_fault(fault), waits_for: fault.waits_for(), reaction: Reaction::ByKind }
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
        Self::new(FaultKind::Input, message, Some(hint)).with(Reaction::JudgeRecords)
    }

    /// A fault that the engine itself finds.
    pub(super) fn new(kind: FaultKind, message: impl Into<String>, hint: Option<&str>) -> Self {
        let hint = hint.or_else(|| (kind == FaultKind::Bug).then_some(REPORT));
        let error = JobError { kind, message: message.into(), hint: hint.map(str::to_owned) };
        let waits_for = match kind {
            FaultKind::Config => WaitsFor::Config,
            FaultKind::Storage => WaitsFor::Disk,
            FaultKind::Input | FaultKind::Transient | FaultKind::Bug => WaitsFor::Retry,
        };
        Self { error, waits_for, reaction: Reaction::ByKind }
    }

    /// What lies on a file system that is not there, or in a folder that was moved away, which looks alike.
    pub(super) fn not_mounted(message: impl Into<String>, hint: &str) -> Self {
        Self { waits_for: WaitsFor::Mount, ..Self::new(FaultKind::Storage, message, Some(hint)) }
    }

    /// By an operator's word.
    pub(super) fn ordered() -> Self {
        Self::new(FaultKind::Transient, "an operator stopped it", None).with(Reaction::Ordered)
    }

    /// What a rule says cannot be used for this job.
    pub(super) fn mistake(rule: &Rule, key: &str, mistake: &Mistake) -> Self {
        let message = format!("rule \"{}\": {key}: {mistake}", rule.name);
        Self::new(FaultKind::Config, message, mistake.hint.as_deref())
    }

    /// The same, with what follows from it.
    pub(super) fn with(self, reaction: Reaction) -> Self {
        Self { reaction, ..self }
    }

    fn with_if(self, reaction: Reaction, is_due: bool) -> Self {
        if is_due { self.with(reaction) } else { self }
    }

    /// Whether nothing may be retried before a restart.
    pub(super) fn is_poisoned(&self) -> bool {
        self.reaction == Reaction::Stop
    }

    /// What a held job waits for, in words.
    pub(super) fn detail(&self) -> &str {
        match &self.reaction {
            Reaction::Park { detail } => detail,
            _ => &self.error.message,
        }
    }
}

impl From<DecodeError> for Trouble {
    fn from(error: DecodeError) -> Self {
        Self::from_fault(&error).with_if(Reaction::GiveBack, error.ended_early())
    }
}

impl From<StepBroken> for Trouble {
    fn from(broken: StepBroken) -> Self {
        Self::from_fault(&broken).with_if(Reaction::StartOver, broken.is_untrusted())
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
        Self::from_fault(&error).with_if(Reaction::Stop, error.is_failed_sync())
    }
}

impl From<FsError> for Trouble {
    fn from(error: FsError) -> Self {
        Self::from_fault(&error).with_if(Reaction::Stop, error.is_failed_sync())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::from_fault(&error).with_if(Reaction::Stop, error.is_poisoned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_failed_stops_the_service_and_no_other_fault_of_a_disk_does() {
        let fault = |action| FsError::new(action, Path::new("out"), io::ErrorKind::Other.into());
        assert!(Trouble::from(fault("sync")).is_poisoned());
        assert!(Trouble::from(OutputError::from(fault("sync"))).is_poisoned());
        assert_eq!(Trouble::from(fault("rename")).reaction, Reaction::ByKind);
        assert_eq!(Trouble::unseen(Path::new("in"), io::ErrorKind::Other.into()).reaction, Reaction::ByKind);
    }

    #[test]
    fn a_source_that_ended_early_is_given_back_and_one_that_cannot_be_read_is_not() {
        let early = DecodeError::EndedEarly { place: "pay.gz".to_owned(), layer: "gzip", offset: 7 };
        assert_eq!(Trouble::from(early).reaction, Reaction::GiveBack);
        let unreadable = DecodeError::Read { path: "pay.gz".into(), source: io::ErrorKind::Other.into() };
        assert_eq!(Trouble::from(unreadable).reaction, Reaction::ByKind);
    }

    #[test]
    fn a_parked_job_waits_for_what_is_told_with_figures_and_others_for_their_error() {
        let trouble = Trouble::new(FaultKind::Storage, "too little room", None);
        assert_eq!(trouble.detail(), "too little room");
        let parked = trouble.with(Reaction::Park { detail: "1 GiB of 2 GiB".into() });
        assert_eq!((parked.detail(), parked.error.message.as_str()), ("1 GiB of 2 GiB", "too little room"));
    }

    #[test]
    fn a_step_whose_file_system_hangs_waits_for_a_mount_and_one_that_cannot_start_for_the_rule() {
        use crate::model::step::BrokenKind;
        let broken = |kind| StepBroken { step: "step 1, exec".into(), kind, reason: "it cannot".into() };
        let hangs = Trouble::from(broken(BrokenKind::Hangs { hint: "see to it" }));
        assert_eq!((hangs.waits_for, hangs.error.kind), (WaitsFor::Mount, FaultKind::Storage));
        assert_eq!(hangs.error.hint.as_deref(), Some("see to it"));
        let missing = Trouble::from(broken(BrokenKind::CannotStart { hint: "install it" }));
        assert_eq!((missing.waits_for, missing.error.kind), (WaitsFor::Config, FaultKind::Config));
    }

    #[test]
    fn a_panic_is_the_trouble_of_its_job_with_what_it_said() {
        let trouble = guard("collect", || -> Result<(), Trouble> { std::panic::panic_any("out of range") });
        let error = trouble.expect_err("it panicked").error;
        assert_eq!(error.kind, FaultKind::Bug);
        assert!(error.message.contains("collect: out of range"), "{error}");
    }
}
