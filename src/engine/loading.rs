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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::slice::Slice;

    fn slice() -> Slice {
        Slice {
            number: 0,
            entry: 0,
            first_record: 1,
            offset: 0,
            first_line: 0,
            bytes: b"one".as_slice().into(),
            records: Vec::new(),
            skipped: 0,
            oversized: None,
            places: Vec::new(),
        }
    }

    #[test]
    fn a_job_goes_on_from_its_checkpoint_only_where_its_source_gives_what_that_was_made_from() {
        let world = World::new();
        let run = world.unread_run(); // its checkpoint was made from no slice
        meet_checkpoint(&run, None).expect("there is no way back");
        meet_checkpoint(&run, Some(start_retrace().expect("starts"))).expect("it is the same");
        let more = start_retrace().expect("starts");
        more.pass_over(slice());
        let trouble = meet_checkpoint(&run, Some(more)).expect_err("it is another");
        assert_eq!(trouble.reaction, Reaction::StartOver);
    }
}
