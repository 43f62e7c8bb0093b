//! What the widths of fixed fields count.

use crate::model::rule::{Decode, OnBadEncoding, Records};

/// What the widths of fixed fields count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Characters; bytes that are no UTF-8 count as one each.
    Characters,
    /// Bytes: of records of equal length that are not decoded (`on_bad_encoding = "raw"`) nobody knows the characters.
    Bytes,
}

impl Unit {
    /// Of more than one.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Bytes => "bytes",
        }
    }

    pub(crate) fn of(records: &Records, decode: &Decode) -> Self {
        let by_length = records.record_length().is_some();
        if by_length && decode.on_bad_encoding == OnBadEncoding::Raw { Self::Bytes } else { Self::Characters }
    }
}

pub(crate) fn length_in(unit: Unit, text: &[u8]) -> usize {
    match unit {
        Unit::Bytes => text.len(),
        Unit::Characters => characters(text),
    }
}

/// Characters of a text; bytes that are no UTF-8 count as one each.
pub(crate) fn characters(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}
