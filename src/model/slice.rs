//! Slices: bounded runs of records.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What the allocator keeps beside each small allocation, about.
const ALLOCATION_BYTES: usize = 16;

/// A record's bytes within its slice, without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A bounded run of consecutive records of one entry: the unit of storage, parallel work and retry.
///
/// Slices of a job are contiguous, so a gap means corruption, never a short read.
///
/// # Invariants
/// - Cut only at record ends; the same source under the same rule snapshot gives the same slices.
/// - Immutable once cut: a retry sees the bytes that the first attempt saw.
/// - `records` are in order, do not overlap, and lie within `bytes`; `places` are as many, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Position within the job, from 0, across entries.
    pub number: u64,
    /// Position of the entry within the source, from 0.
    pub entry: u32,
    /// Number of the first record within its entry, from 1; header and skipped lines not counted.
    pub first_record: u64,
    /// Where `bytes` begin in the entry's decoded text, in bytes (before decoding for `record_length`).
    pub offset: u64,
    /// Lines (blank ones too) in the entry before `bytes`: for messages that name a line.
    pub first_line: u64,
    /// Consecutive text of the entry: records with their line ends, and blank lines between them. With `places`: records, a line end behind each.
    pub bytes: Bytes,
    /// The records within `bytes`.
    pub records: Vec<Span>,
    /// Blank lines within `bytes` that are no records (csv, jsonl); `bytes` begin with a record.
    pub skipped: u32,
    /// The only record of this slice cannot be taken whole: `bytes` are its beginning, nothing else follows.
    pub oversized: Option<Oversized>,
    /// Where each of `records` stood, if they did not stand side by side (failed records that are retried). Else none: the numbers above tell.
    pub places: Vec<RecordPlace>,
}

/// Where a record stood in its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// Its number, from 1.
    pub record: u64,
    /// Where it began in the entry's decoded text, in bytes (before decoding for `record_length`).
    pub offset: u64,
    /// The line on which it began, from 1.
    pub line: u64,
}

/// A record that is kept as a failed record, because it is too long or its end cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oversized {
    /// Its whole length in bytes, without its line end.
    pub length: u64,
    /// What is wrong with it.
    pub reason: UnfitReason,
}

/// Why a record is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnfitReason {
    /// It is longer than `record_max`.
    TooLong,
    /// A quote is never closed, or not within `record_max`: the record ends with the line on which it opens.
    UnclosedQuote {
        /// Where the quote stands: a line of the entry, from 1.
        line: u64,
    },
}

impl Slice {
    /// Bytes of memory that the slice holds, for the memory limit; slices cut one after another share a block.
    pub fn memory_bytes(&self) -> u64 {
        let spans = self.records.capacity() * size_of::<Span>();
        let places = self.places.capacity() * size_of::<RecordPlace>();
        (self.bytes.len() + spans + places + size_of::<Self>()) as u64
    }

    /// The number of a record of this slice within its entry.
    pub fn record_number(&self, index: usize) -> u64 {
        let place = self.places.get(index).map(|place| place.record);
        place.unwrap_or_else(|| self.first_record.saturating_add(index as u64))
    }
}

/// What an entry's records look like: one per entry, before its first slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryShape {
    /// Position of the entry within the source, from 0.
    pub entry: u32,
    /// Its name in the archive, with `\xHH` escapes; empty for a plain file.
    pub name: String,
    /// csv and fixed: the column names in order; none for lines and jsonl.
    pub columns: Option<Arc<Vec<String>>>,
    /// csv with a header: its bytes as they stand in the file, without the line end.
    pub header: Option<Arc<Vec<u8>>>,
}

impl EntryShape {
    /// Takes what is the same from another shape, so that thousands of entries of one kind have one header between them.
    pub fn share_with(&mut self, other: &Self) {
        if self.columns == other.columns {
            self.columns.clone_from(&other.columns);
        }
        if self.header == other.header {
            self.header.clone_from(&other.header);
        }
    }

    /// Whether records are read by the same columns, whatever the entry is called.
    pub fn has_columns_of(&self, other: &Self) -> bool {
        match (&self.columns, &other.columns) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            (None, None) => true,
            _ => false,
        }
    }

    /// Bytes of memory that it holds, about, besides what it shares with `other`.
    pub fn memory_bytes(&self, other: Option<&Self>) -> u64 {
        let is_shared = |other: &Self| match (&self.columns, &other.columns) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let columns = self.columns.as_deref().filter(|_| !other.is_some_and(is_shared));
        let columns = columns.map_or(0, |names| {
            names.iter().map(|name| size_of::<String>() + name.len() + ALLOCATION_BYTES).sum()
        });
        let is_shared = |other: &Self| match (&self.header, &other.header) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let header = self.header.as_deref().filter(|_| !other.is_some_and(is_shared)).map_or(0, Vec::len);
        (size_of::<Self>() + self.name.len() + columns + header) as u64
    }
}
