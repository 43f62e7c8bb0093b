//! What became of a slice's records.

use crate::model::account::{Account, FailedRecord};

/// The result of a slice.
#[derive(Debug, Default)]
pub struct SliceResult {
    /// One per category of the pipeline, by its position in [`super::Pipeline::categories`]: the rendered records with their line ends.
    pub chunks: Vec<Chunk>,
    /// Records on which a step returned an error, in their order.
    pub failed: Vec<FailedRecord>,
    /// The slice's counts; balanced.
    pub account: Account,
}

/// What a slice adds to one category.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Rendered records, each with its line end.
    pub bytes: Vec<u8>,
    /// How many.
    pub records: u64,
}
