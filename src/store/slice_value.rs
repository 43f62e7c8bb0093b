//! Slices as they are stored on their way: binary, LZ4-compressed, in chunks.
//!
//! ```text
//! packed = LZ4 ( number u64 | entry u32 | first_record u64 | offset u64 | first_line u64 | skipped u32
//!              | oversized u64, all ones: none | line of its unclosed quote u64, 0: none | bytes u32 | text | records u32 | (gap, length) as varints …
//!              | (record, offset, line) u64 of each, where they have places … )
//! ```
//!
//! Numbers are little-endian: nothing sorts by them. The gap of a record is that from the end of the one before.

use bytes::Bytes;

use super::error::StoreError;
use crate::model::slice::{Oversized, RecordPlace, Slice, Span, UnfitReason};

const NOT_OVERSIZED: u64 = u64::MAX;
const WHAT: &str = "slice";
/// Of a place.
const PLACE_BYTES: usize = 3 * size_of::<u64>();

/// The slice as bytes, compressed.
pub(super) fn pack(slice: &Slice) -> Result<Vec<u8>, StoreError> {
    let mut plain = Vec::with_capacity(slice.bytes.len() + slice.records.len() * 3 + 64);
    plain.extend_from_slice(&slice.number.to_le_bytes());
    plain.extend_from_slice(&slice.entry.to_le_bytes());
    for number in [slice.first_record, slice.offset, slice.first_line] {
        plain.extend_from_slice(&number.to_le_bytes());
    }
    plain.extend_from_slice(&slice.skipped.to_le_bytes());
    let oversized = slice.oversized.map_or(NOT_OVERSIZED, |oversized| oversized.length);
    plain.extend_from_slice(&oversized.to_le_bytes());
    let quote_line = match slice.oversized.map(|oversized| oversized.reason) {
        Some(UnfitReason::UnclosedQuote { line }) => line,
        Some(UnfitReason::TooLong) | None => 0,
    };
    plain.extend_from_slice(&quote_line.to_le_bytes());
    plain.extend_from_slice(&length(slice.bytes.len())?.to_le_bytes());
    plain.extend_from_slice(&slice.bytes);
    plain.extend_from_slice(&length(slice.records.len())?.to_le_bytes());
    let mut at = 0;
    for record in &slice.records {
        let gap = record.start.checked_sub(at).ok_or_else(unordered)?;
        put_varint(&mut plain, gap);
        put_varint(&mut plain, record.end.checked_sub(record.start).ok_or_else(unordered)?);
        at = record.end;
    }
    for place in &slice.places {
        for number in [place.record, place.offset, place.line] {
            plain.extend_from_slice(&number.to_le_bytes());
        }
    }
    Ok(lz4_flex::compress_prepend_size(&plain))
}

fn length(length: usize) -> Result<u32, StoreError> {
    u32::try_from(length).map_err(|_| StoreError::Encode { what: WHAT, detail: "it is too long".into() })
}

fn unordered() -> StoreError {
    StoreError::Encode { what: WHAT, detail: "its records are not in order".into() }
}

/// The slice from its compressed bytes.
pub(super) fn unpack(packed: &[u8]) -> Result<Slice, StoreError> {
    let plain = Bytes::from(super::value::decompress(WHAT, packed)?);
    read(&plain).ok_or_else(|| StoreError::corrupt(WHAT, "it ends too early or does not add up"))
}

fn read(plain: &Bytes) -> Option<Slice> {
    let mut rest = Rest { bytes: plain, at: 0 };
    let number = rest.u64()?;
    let entry = rest.u32()?;
    let (first_record, offset, first_line) = (rest.u64()?, rest.u64()?, rest.u64()?);
    let skipped = rest.u32()?;
    let length = Some(rest.u64()?).filter(|length| *length != NOT_OVERSIZED);
    let reason = match rest.u64()? {
        0 => UnfitReason::TooLong,
        line => UnfitReason::UnclosedQuote { line },
    };
    let oversized = length.map(|length| Oversized { length, reason });
    let text_length = rest.u32()? as usize;
    let text_at = rest.at;
    rest.take(text_length)?;
    let count = rest.u32()? as usize;
    // Each record takes two bytes at least: a damaged count asks for no more memory than that.
    let mut records = Vec::with_capacity(count.min(rest.bytes.len() / 2));
    let mut at = 0u32;
    for _ in 0..count {
        let start = at.checked_add(rest.varint()?)?;
        let end = start.checked_add(rest.varint()?)?;
        if end as usize > text_length {
            return None;
        }
        records.push(Span { start, end });
        at = end;
    }
    let mut places = Vec::with_capacity((plain.len() - rest.at) / PLACE_BYTES);
    while rest.at < plain.len() {
        places.push(RecordPlace { record: rest.u64()?, offset: rest.u64()?, line: rest.u64()? });
    }
    if !places.is_empty() && places.len() != records.len() {
        return None;
    }
    // The text shares the decompressed buffer: it is not copied again.
    let bytes = plain.slice(text_at..text_at + text_length);
    Some(Slice {
        number,
        entry,
        first_record,
        offset,
        first_line,
        bytes,
        records,
        skipped,
        oversized,
        places,
    })
}

struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).ok();
            }
        }
        None
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slices() -> impl Strategy<Value = Slice> {
        let numbers = (any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>());
        let records = prop::collection::vec((0..300u32, 0..300u32), 0..50);
        let places = prop::option::of(any::<u64>());
        let oversized = prop::option::of(
            (0..u64::MAX).prop_map(|length| Oversized { length, reason: UnfitReason::TooLong }),
        );
        (numbers, records, oversized, places, any::<u8>()).prop_map(
            |(numbers, parts, oversized, placed, fill)| {
                let (number, entry, first_record, offset, first_line, skipped) = numbers;
                let mut at = 0;
                let mut records = Vec::new();
                for (gap, length) in parts {
                    records.push(Span { start: at + gap, end: at + gap + length });
                    at += gap + length;
                }
                let bytes = Bytes::from(vec![fill; at as usize + 7]);
                let place = |record| RecordPlace { record, offset: u64::MAX - record, line: 1 };
                let places = placed.map_or(Vec::new(), |record| vec![place(record); records.len()]);
                Slice {
                    number,
                    entry,
                    first_record,
                    offset,
                    first_line,
                    bytes,
                    records,
                    skipped,
                    oversized,
                    places,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_slice_comes_back_as_it_was(slice in slices()) {
            prop_assert_eq!(unpack(&pack(&slice).expect("packs")).expect("unpacks"), slice);
        }

        #[test]
        fn damage_never_panics(slice in slices(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let packed = pack(&slice).expect("packs");
            let mut plain = lz4_flex::decompress_size_prepended(&packed).expect("own bytes");
            let at = at.index(plain.len());
            plain[at] = byte;
            plain.truncate(plain.len() - usize::from(byte & 1));
            if let Ok(slice) = unpack(&lz4_flex::compress_prepend_size(&plain)) {
                prop_assert!(slice.records.iter().all(|record| record.end as usize <= slice.bytes.len()));
            }
        }
    }
}
