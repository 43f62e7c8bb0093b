//! From text to slices of records.
//!
//! A [`Cutter`] takes one entry's decoded text and gives its shape, then its slices. It runs on the thread that
//! inflates, so it allocates per slice and not per record, looks at each byte once, and copies nothing but what
//! spills over from one block to the next.
//!
//! # Invariants
//! - The same text under the same rule gives the same slices, whatever the sizes of blocks and reads.
//! - Every byte of the text is in a slice, in the header, a skipped or blank line (counted), or behind the 48 KiB
//!   kept of a record longer than `record_max` (whose whole length is told).
//! - Memory is bounded by `record_max` and a few blocks, whatever the text.
//!
//! # Formats
//! - Lines end with `\n` or `\r\n`, each line for itself; any other `\r` is data. Where the rule names a separator, that
//!   alone ends a line, byte for byte. The last line needs no end; that it had none is told.
//! - A text whose only record has a `\r` that ends no line has the line ends of old Macs, and is refused.
//! - `lines`, and `fixed` read by line: every line is a record, blank ones too.
//! - `csv`: RFC 4180 with its usual liberties; empty lines are skipped and counted. See `format`, `framing` and `slicer`.
//! - `jsonl`: lines of nothing but white space are skipped and counted. Whether a line is JSON is for the pipeline.
//! - `fixed` with `record_length`: see `by_length`; offsets are those of the raw bytes, see [`record_offset`].
//!
//! What a record says is not judged here: short and long rows are kept as they are.

mod alone;
mod block;
mod by_length;
mod cutter;
mod error;
mod framing;
mod header;
mod joiner;
mod limits;
#[cfg(any(test, fuzzing))]
#[path = "tests/oracle.rs"]
pub(crate) mod oracle;
mod separator;
mod slicer;
#[cfg(test)]
mod tests;

pub(crate) use alone::why_no_record;
pub use cutter::Cutter;
pub(crate) use cutter::record_offset;
pub(crate) use error::CutError;
pub(crate) use header::delimiter_meant;
pub(crate) use joiner::Joiner;
pub use limits::FRAMING_VERSION;
pub(crate) use separator::lines_in;
