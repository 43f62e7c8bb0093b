//! Reading what a job published: unpacked and decrypted, and cut into its records again.
//!
//! It reads in the process and as the user of whoever asks, and changes nothing. Which job, and which of its outputs, is for others.

mod error;
mod records;
mod text;

pub use error::ReadError;
pub(crate) use records::{Range, check_published, chosen, cut, only, print, print_alone};
pub(crate) use text::{Keys, may_be_anothers, own_keys, read, scratch, with_text};
