//! What comes from outside, as it may come into a cell.

use crate::cli::view;

/// More is on no screen.
const BYTES_MAX: usize = 4096;

pub(super) fn printable(text: &str) -> String {
    view::printable(text.as_bytes(), BYTES_MAX).replace('\t', " ")
}
