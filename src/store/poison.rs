//! After a failed write or sync: what reached the disk is not known, so that nothing is written any more.

use super::error::StoreError;
use crate::group_sync::{Failure, GroupSync, Told};
use crate::model::fault::Fault as _;

/// The first failure, in words, and what to do about it where that is not what to do about a disk.
#[derive(Clone, Debug)]
pub(super) struct Poison {
    reason: String,
    hint: Option<String>,
}

impl Failure for Poison {
    type Error = StoreError;

    fn of(error: &StoreError) -> Self {
        let hint = error.hint().filter(|_| matches!(error, StoreError::TakenOver { .. }));
        Self { reason: error.chain(), hint }
    }

    fn of_panic() -> Self {
        Self { reason: "the flush did not come back".to_owned(), hint: None }
    }

    fn is_for_good(&self) -> bool {
        true
    }
}

impl GroupSync<Poison> {
    /// Refuses after the first failure.
    pub(super) fn refuse(&self) -> Result<(), StoreError> {
        self.failed_for_good().map_or(Ok(()), |poison| Err(poison.into()))
    }
}

impl From<Poison> for StoreError {
    fn from(Poison { reason, hint }: Poison) -> Self {
        Self::Poisoned { reason, hint }
    }
}

impl From<Told<Poison>> for StoreError {
    fn from(told: Told<Poison>) -> Self {
        match told {
            Told::Led(error) => error,
            Told::Shared(poison) => poison.into(),
        }
    }
}
