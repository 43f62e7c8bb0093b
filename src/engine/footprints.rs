//! What a process leaves behind of the jobs it has when it dies, written without a sync.

use std::sync::Arc;

use super::in_hand::InHand;
use super::reach::Reach;

/// Each part locks for itself.
#[derive(Debug, Default)]
pub(super) struct Footprints {
    /// Which jobs are in hand: by it one that ends the process again and again is found out.
    pub in_hand: InHand,
    /// How many records of each have run: by it is told what runs again.
    pub reach: Arc<Reach>,
}
