//! After a failed write or sync: what reached the disk is not known, so that nothing is written any more.

use super::error::StoreError;
use crate::group_sync::{Failure, GroupSync, Told};

/// The first failure, in words.
#[derive(Clone, Debug)]
pub(super) struct Poison(String);

impl Failure for Poison {
    type Error = StoreError;

    fn of(error: &StoreError) -> Self {
        Self(error.chain())
    }

    fn of_panic() -> Self {
        Self("the flush did not come back".to_owned())
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
    fn from(Poison(reason): Poison) -> Self {
        Self::Poisoned { reason }
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
