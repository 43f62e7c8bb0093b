//! Places in crews: what is known of each thread.

use crate::engine::schedule::{Crew, Permit};
use crate::model::job_id::JobId;

/// Where the threads of a crew are; those that are at a task are not counted.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) idle: usize,
    /// Called, and not awake yet.
    pub(super) tickets: usize,
    /// On their way to the next task.
    pub(super) coming: usize,
}

/// A thread's place in its crew.
#[derive(Debug)]
pub(in crate::engine) struct Seat {
    pub(super) crew: Crew,
    /// Counted as on its way.
    pub(super) is_coming: bool,
    /// What it has from its last task.
    pub(super) held: Option<Held>,
}

#[derive(Debug)]
pub(super) enum Held {
    /// The job that it reads, perhaps with the right to.
    Source(JobId),
    Permit(Permit),
}

impl Seat {
    /// Of a thread that `grow` starts.
    pub(in crate::engine) fn new(crew: Crew) -> Self {
        Self { crew, is_coming: true, held: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_started_for_a_task_is_on_its_way_to_it_and_has_nothing_yet() {
        for crew in Crew::ALL {
            let seat = Seat::new(crew);
            assert!(seat.is_coming && seat.held.is_none() && seat.crew == crew);
        }
    }
}
