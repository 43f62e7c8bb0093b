//! The scheduler's shell: one lock, the threads that wait for what the scheduler gives them, and a clock.
//!
//! Each kind of thread is a crew with a condition variable of its own, all over the same lock. A thread asks for its next task; it gets one,
//! or sleeps until it is called. A call is a ticket that wakes exactly one, so that a thread that was called is not called twice. Where the
//! scheduler calls for a crew whose threads are all stuck, the crew grows by one. A thread ends where enough others of its
//! crew wait for a task already.
//!
//! Nothing here blocks on anything but the lock, and the lock is held for no system call (but the start of a thread).

// The lock and the conditions come from here: the tests compile `crews.rs` a second time, with those of `shuttle`.
use std::sync as primitives;

mod crews;
#[cfg(test)]
mod hand_over_tests;
mod seats;
#[cfg(test)]
mod tests;

pub(super) use crews::{Crew, Dispatch, Workable};
pub(super) use seats::Seat;

/// What became of an operator's wish to have a job.
pub(super) enum Taken<R> {
    /// Nobody has it, and it is taken up.
    Job,
    /// It runs, and takes the word.
    Run(std::sync::Arc<R>),
    /// It is worked to its end.
    Ends,
    /// Somebody else has it.
    Not,
    /// The same, and nothing is given to anybody any more.
    Stops,
}
