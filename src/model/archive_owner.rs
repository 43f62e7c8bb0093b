//! Whose an archived source is.

use serde::{Deserialize, Serialize};

/// `source.archive_owner`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveOwner {
    /// The service, where its user may take it over: nobody changes what was ingested.
    #[default]
    Service,
    /// Who sent it, also of a copy where the service's user may.
    Sender,
}

impl ArchiveOwner {
    /// What rules say that say nothing has no place in them: their hash stays.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
