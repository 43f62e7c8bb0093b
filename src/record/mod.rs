//! From text to slices of records: SKELETON, owned by the record helper.

pub mod fields;

use std::io::{self, Read};

use crate::model::fault::{Fault, FaultKind};
use crate::model::rule::Records;
use crate::model::slice::{EntryShape, Slice};

/// Bytes of a slice at most; only a longer record makes a longer slice.
pub const SLICE_BYTES_MAX: usize = 56 << 10;
/// Changes whenever the same text could be cut differently: a stored checkpoint of another version is not used.
pub const FRAMING_VERSION: u32 = 1;

/// The text cannot be cut into records.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// Reading the text failed; for the decoder to explain.
    #[error("cannot read on")]
    Read(#[source] io::Error),
    // ... SKELETON: missing column, differing header, record_length remainder, ...
}

impl Fault for CutError {
    fn kind(&self) -> FaultKind { unimplemented!() }
}

/// Cuts one entry's text into slices.
pub struct Cutter<R> { _text: R }

impl<R: Read> Cutter<R> {
    /// `entry` and `first_slice` are the positions to number from; `name` is the entry's, escaped, for messages and the shape.
    pub fn new(text: R, records: &Records, encoding: &str, entry: u32, name: String, first_slice: u64) -> Self { let _ = (text, records, encoding, entry, name, first_slice); unimplemented!() }
    /// Reads as far as the header: skips `skip_lines`, reads a csv header and checks it against `columns`.
    pub fn shape(&mut self) -> Result<EntryShape, CutError> { unimplemented!() }
    /// The next slice, or none at the end. `shape` must have been called.
    pub fn next_slice(&mut self) -> Result<Option<Slice>, CutError> { unimplemented!() }
    /// Lines that were no records because of `skip_lines` (blank ones within slices are counted there).
    pub fn lines_skipped(&self) -> u64 { unimplemented!() }
}
