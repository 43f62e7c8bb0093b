//! Which node has the rows: one word in the bucket, which every write is bound to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the node says that has the rows, with everything that it writes and at least three times in a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Word {
    pub node: String,
    /// Of all processes ever, only this one says so.
    pub process: String,
    /// Grows by one whenever another process takes the rows.
    pub epoch: u64,
    /// Grows by one with each word of a process.
    pub count: u64,
    /// How long to wait for the next word before the rows are taken.
    pub lease_ms: u64,
    /// It is the last word of a process that stopped: nobody need wait.
    pub is_given_up: bool,
}

impl Word {
    /// Of a process that takes the rows from one that said this, or the first.
    pub(super) fn of_taker(before: Option<&Self>, node: &str, process: &str, lease: Duration) -> Self {
        Self {
            node: node.to_owned(),
            process: process.to_owned(),
            epoch: before.map_or(0, |before| before.epoch) + 1,
            count: 0,
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            is_given_up: false,
        }
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}
