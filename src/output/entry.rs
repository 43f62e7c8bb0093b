//! The entry of a source that records come from.

use serde::{Deserialize, Serialize};

use crate::model::os_text::OsText;

/// An entry of the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryName {
    /// Position within the source.
    pub position: u32,
    /// Its raw name.
    pub name: OsText,
}
