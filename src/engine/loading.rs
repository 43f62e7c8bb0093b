//! What loaders share, wherever records come from.

use super::content::Retrace;
use super::run::Run;
use super::trouble::{Reaction, Trouble};
use crate::model::fault::FaultKind;

/// Workers are told of so many slices of a job only once there are more: a job that has no more is worked where it was read. To wake a
/// worker for it takes longer.
pub(super) const FIRST_SLICES: u64 = 1;

/// How a load ended that did not break off.
pub(super) enum LoadEnd {
    Complete,
    /// The queue was stopped: the engine stops, or a worker broke the run off.
    Stopped,
}

/// The way back to the slices of a checkpoint.
pub(super) fn start_retrace() -> Result<Retrace, Trouble> {
    Retrace::start().map_err(|error| {
        let hint = "raise the limit of threads for the service's user; the job goes on by itself";
        Trouble::new(FaultKind::Transient, format!("cannot start a thread: {error}"), Some(hint))
    })
}

/// All slices of the checkpoint were passed over: goes on only if it was made from the same. Else it is forgotten, and the job starts
/// from its first record.
pub(super) fn meet_checkpoint(run: &Run, retrace: Option<Retrace>) -> Result<(), Trouble> {
    let Some(retrace) = retrace else { return Ok(()) };
    if retrace.meets(&run.resumed_content) {
        tracing::info!(job = %run.id, "the checkpoint is reached");
        return Ok(());
    }
    let message = "the source no longer gives what the job's checkpoint was made from";
    let hint = "it starts from its first record by itself; see who writes into claim folders";
    Err(Trouble::new(FaultKind::Transient, message, Some(hint)).with(Reaction::StartOver))
}
