//! Whether the partials of a job still hold what they are said to hold.
//!
//! After a write that failed nobody knows which bytes lie in the file, and bytes that waited in a buffer are gone. From then on
//! nothing may be appended, and above all no checkpoint may name a length.

use std::sync::{Arc, OnceLock};

use super::error::OutputError;
use crate::model::fault::JobError;

/// One for all partials of a job, shared with the syncs that run on other threads.
#[derive(Clone, Default)]
pub(super) struct Sound(Arc<OnceLock<JobError>>);

impl Sound {
    /// The first error, once there was one.
    pub(super) fn check(&self) -> Result<(), OutputError> {
        match self.0.get() {
            Some(first) => Err(OutputError::Broken(first.clone())),
            None => Ok(()),
        }
    }

    /// Passes a result on and keeps its error, if it is the first.
    pub(super) fn note<T>(&self, result: Result<T, OutputError>) -> Result<T, OutputError> {
        if let Err(error) = &result {
            self.0.get_or_init(|| JobError::from_fault(error));
        }
        result
    }
}
