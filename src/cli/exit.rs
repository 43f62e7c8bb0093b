//! The exit codes: what scripts go by.

/// The thing asked for failed or does not exist.
pub(super) const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub(super) const USAGE: u8 = 2;
