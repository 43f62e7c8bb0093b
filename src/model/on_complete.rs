//! What becomes of a job's own records once it is done.

use serde::{Deserialize, Serialize};

/// `source.on_complete`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnComplete {
    /// They stay for `service.retention`.
    #[default]
    Keep,
    /// The job's row, its failed records and its outputs in the store go as soon as nobody needs them any more.
    Destroy,
}

impl OnComplete {
    /// What rules say that say nothing has no place in them: their hash stays.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
