//! `sequence`: whether a rule's jobs go one after another, and stop behind one that failed.

use serde::{Deserialize, Serialize};

/// Among which jobs there is an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sequence {
    /// None: they run beside each other.
    #[default]
    None,
    /// Those whose files come from one folder.
    Folder,
    /// All of the rule.
    Rule,
}
