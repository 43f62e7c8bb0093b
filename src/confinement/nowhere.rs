//! Systems without Landlock: nothing is confined.

use std::io;

use super::{Allowed, CannotAllow};

/// Nothing.
pub(crate) struct Fence;

impl Fence {
    /// One that keeps nothing in.
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn around(_: &Allowed) -> Result<Self, CannotAllow> {
        Ok(Self)
    }

    /// Does nothing.
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn enter(self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether this system can confine at all.
pub(crate) fn is_known() -> bool {
    false
}

/// Whether files may be moved from folder to folder within a fence.
pub(crate) fn moves_are_known() -> bool {
    false
}
