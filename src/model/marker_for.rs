//! For which files a marker stands.

use serde::{Deserialize, Serialize};

/// `ready.marker_for`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkerFor {
    /// One file, whose name it has.
    #[default]
    File,
    /// All files of its folder that came before it.
    Folder,
}

impl MarkerFor {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(super) fn is_file(&self) -> bool {
        *self == Self::File
    }
}
