//! What holds for every format: how long slices and records may be, and the version of the rules by which text is cut.

/// Bytes of a slice at most; only a longer record makes a longer slice.
pub(crate) const SLICE_BYTES_MAX: usize = 56 << 10;
/// Bytes kept of a record that is longer than `record_max`.
pub(crate) const UNFIT_BYTES_MAX: usize = 48 << 10;
/// `record_max` counts up to here: positions within a slice are 32 bits wide.
pub(crate) const RECORD_BYTES_MAX: u64 = 1 << 30;
/// Changes whenever the same text could be cut differently: a stored checkpoint of another version is not used.
pub const FRAMING_VERSION: u32 = 2;

const _: () = assert!(UNFIT_BYTES_MAX <= SLICE_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX + (SLICE_BYTES_MAX as u64) < u32::MAX as u64);
