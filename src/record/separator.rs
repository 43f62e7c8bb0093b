//! What ends a record: a line end, or the bytes that the rule names.
//!
//! `end` always means the place of a separator's last byte: a search for that byte alone finds every separator, however
//! it is spread over blocks, and what stands before it is known by then. Separators do not overlap: one begins
//! behind the record's first byte or at it, never within the separator before.

use memchr::{memchr, memchr_iter, memmem};

use crate::model::rule::Records;

#[derive(Clone, Debug)]
pub(super) struct Separator {
    bytes: Box<[u8]>,
    last: u8,
    /// `\n`, to which a `\r` right before it belongs.
    is_line_end: bool,
}

impl Separator {
    /// Of these records; of a `record_length` an empty one where the rule names none.
    pub(super) fn of(records: &Records) -> Self {
        match &records.separator {
            Some(separator) => Self::exactly(separator.as_bytes()),
            None if records.record_length().is_some() => Self::exactly(b""),
            None => Self::line_end(),
        }
    }

    /// `\n` or `\r\n`.
    pub(super) fn line_end() -> Self {
        Self { is_line_end: true, ..Self::exactly(b"\n") }
    }

    fn exactly(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), last: bytes.last().copied().unwrap_or(b'\n'), is_line_end: false }
    }

    /// The byte that a search for ends looks for.
    pub(super) fn last(&self) -> u8 {
        self.last
    }

    /// Its bytes; of a line end without its `\r`.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn bytes_max(&self) -> usize {
        if self.is_line_end { 2 } else { self.bytes.len() }
    }

    pub(super) fn is_line_end(&self) -> bool {
        self.is_line_end
    }

    /// Whether the byte at `mark`, which is the last one of a separator, ends what begins at `from`.
    #[inline]
    pub(super) fn ends_at(&self, held: &[u8], from: usize, mark: usize) -> bool {
        self.bytes.len() == 1 || held.get(from..=mark).is_some_and(|text| text.ends_with(&self.bytes))
    }

    /// A record from its first byte up to, and without, the last byte of its separator: without any of it.
    #[inline]
    pub(super) fn content<'t>(&self, up_to_end: &'t [u8]) -> &'t [u8] {
        if self.is_line_end {
            return up_to_end.strip_suffix(b"\r").unwrap_or(up_to_end);
        }
        let length = (up_to_end.len() + 1).saturating_sub(self.bytes.len());
        up_to_end.get(..length).unwrap_or_default()
    }

    /// The end of the first separator that lies wholly in `held[from..limit]`.
    pub(super) fn find(&self, held: &[u8], from: usize, limit: usize) -> Option<usize> {
        let text = held.get(from..limit)?;
        let found = match &*self.bytes {
            [byte] => memchr(*byte, text),
            bytes => memmem::find(text, bytes).map(|found| found + bytes.len() - 1),
        };
        found.map(|found| from + found)
    }

    pub(super) fn count_in(&self, text: &[u8]) -> usize {
        match &*self.bytes {
            [] => 0,
            [byte] => memchr_iter(*byte, text).count(),
            bytes => memmem::find_iter(text, bytes).count(),
        }
    }
}

/// How many lines end in a text of such records.
pub(crate) fn lines_in(text: &[u8], separator: Option<&str>) -> u64 {
    Separator::exactly(separator.unwrap_or("\n").as_bytes()).count_in(text) as u64
}
