//! Where the system's rights are not told apart: see `rights.rs`.

use std::path::Path;

use super::names::{Need, Refusal};

/// What this process may not is told by the attempt alone.
pub(crate) fn refusal(_: &Path, _: Need) -> Option<Refusal> {
    None
}

pub(crate) fn sticky_refusal(_: &Path) -> Option<Refusal> {
    None
}

pub(crate) fn mount_for_us_alone(_: &Path) -> Option<String> {
    None
}
