//! The steps of the wall clock that a service saw.

use super::error::StoreError;
use super::{Store, keys};
use crate::model::clock_steps::ClockSteps;

impl Store {
    pub(crate) fn clock_steps(&self) -> Result<ClockSteps, StoreError> {
        Ok(self.row("steps of the clock", keys::CLOCK_STEPS)?.unwrap_or_default())
    }

    /// Keeps them durably.
    pub(crate) fn keep_clock_steps(&self, steps: &ClockSteps) -> Result<(), StoreError> {
        self.change().put("steps of the clock", keys::CLOCK_STEPS.to_vec(), steps).apply()?;
        self.sync()
    }
}
