//! How far a rule goes with its files.

use serde::{Deserialize, Serialize};

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Files are claimed.
    Live,
    /// Files are left alone; jobs that exist go on.
    Off,
    /// Files are read where they lie, and nothing is touched: what would come out is told. Jobs that exist go on.
    Shadow,
}

/// Whether no file of any of these rules is looked at.
pub(crate) fn all_off(modes: impl IntoIterator<Item = Mode>) -> bool {
    modes.into_iter().all(|mode| mode == Mode::Off)
}

impl Mode {
    /// As the TOML has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Off => "off",
            Self::Shadow => "shadow",
        }
    }
}
