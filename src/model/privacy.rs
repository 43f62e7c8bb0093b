//! Whether what is said of a job may quote its records.

use serde::{Deserialize, Serialize};

/// Kept with a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Privacy {
    /// As the rule says that it goes by.
    #[default]
    AsItsRule,
    /// It may not, whatever that rule says: its records came encrypted by another.
    Private,
}
