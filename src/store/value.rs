//! Values: a version byte first, rows as JSON, long ones compressed and in chunks.
//!
//! ```text
//! head:   version u8 | encoding u8 | chunks u32 | first bytes      under the row's key
//! chunk:  version u8 | further bytes                               under `c` + key + index, from 1
//! ```
//!
//! Every value of every row and slice is made by [`seal`] and read by [`unseal`], and by nothing else: there its version is written and judged,
//! so that a value of a later version is refused by name and never misread. What is encrypted
//! has another version, and is decrypted before it comes here: see `sealed`, and `spool` for slices.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backend::{VALUE_BYTES_MAX, Value};
use super::error::StoreError;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 1;
/// Encoding and count of chunks.
const HEAD_BYTES: usize = 5;
/// A value may be encrypted on its way to the backend.
const CLEAR_BYTES_MAX: usize = VALUE_BYTES_MAX - crate::at_rest::SEAL_BYTES;
const HEAD_PAYLOAD_BYTES_MAX: usize = CLEAR_BYTES_MAX - SEAL_BYTES - HEAD_BYTES;
/// Bytes of a value in one chunk after the head.
const CHUNK_PAYLOAD_BYTES_MAX: usize = CLEAR_BYTES_MAX - SEAL_BYTES;

/// A row as long as most.
const ROW_BYTES: usize = 2 << 10;
/// Shorter rows gain too little.
const PACKED_BYTES_MIN: usize = 256;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;
/// A byte of LZ4 makes so many at most: it lengthens a copy.
const LZ4_RATIO_MAX: usize = 255;

/// A stored value of the parts of its bytes.
pub(super) fn seal(parts: &[&[u8]]) -> Value {
    seal_to_change(parts).into()
}

/// The same, for who changes it before it is stored.
pub(super) fn seal_to_change(parts: &[&[u8]]) -> Vec<u8> {
    let mut value = Vec::with_capacity(SEAL_BYTES + parts.iter().map(|part| part.len()).sum::<usize>());
    value.push(VERSION);
    for part in parts {
        value.extend_from_slice(part);
    }
    value
}

/// The bytes of a stored value.
pub(super) fn unseal<'a>(what: &'static str, value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    match value {
        [VERSION, rest @ ..] => Ok(rest),
        [found, ..] => Err(StoreError::UnknownVersion { what, found: *found }),
        [] => Err(StoreError::corrupt(what, "it is empty")),
    }
}

/// A row's values: the head, then further chunks if it is long.
pub(super) fn encode<T: Serialize>(what: &'static str, row: &T) -> Result<Vec<Value>, StoreError> {
    let mut json = Vec::with_capacity(ROW_BYTES);
    serde_json::to_writer(&mut json, row)
        .map_err(|error| StoreError::Encode { what, detail: error.to_string() })?;
    if json.len() < PACKED_BYTES_MIN {
        return Ok(vec![head(PLAIN, 1, &json)]);
    }
    let packed = lz4_flex::compress_prepend_size(&json);
    if packed.len() >= json.len() && json.len() <= HEAD_PAYLOAD_BYTES_MAX {
        return Ok(vec![head(PLAIN, 1, &json)]);
    }
    let (first, rest) = packed.split_at(packed.len().min(HEAD_PAYLOAD_BYTES_MAX));
    let further = rest.chunks(CHUNK_PAYLOAD_BYTES_MAX);
    let count = u32::try_from(further.len() + 1)
        .map_err(|_| StoreError::Encode { what, detail: "it is too long".to_owned() })?;
    let mut values = vec![head(LZ4, count, first)];
    values.extend(further.map(|payload| seal(&[payload])));
    Ok(values)
}

fn head(encoding: u8, chunks: u32, payload: &[u8]) -> Value {
    seal(&[&[encoding], &chunks.to_be_bytes(), payload])
}

/// What a head says.
pub(super) struct Head<'a> {
    encoding: u8,
    /// How many values the row has, the head included.
    pub(super) chunks: u32,
    payload: &'a [u8],
}

pub(super) fn read_head<'a>(what: &'static str, value: &'a [u8]) -> Result<Head<'a>, StoreError> {
    let rest = unseal(what, value)?;
    match rest {
        [encoding, a, b, c, d, payload @ ..] => {
            Ok(Head { encoding: *encoding, chunks: u32::from_be_bytes([*a, *b, *c, *d]), payload })
        }
        _ => Err(StoreError::corrupt(what, "it is too short")),
    }
}

/// Reads a row from its head and, with `next`, its further values by index.
pub(super) fn decode<T: DeserializeOwned, V: AsRef<[u8]>>(
    what: &'static str,
    head: &Head<'_>,
    mut next: impl FnMut(u32) -> Result<Option<V>, StoreError>,
) -> Result<T, StoreError> {
    // Whether it is UTF-8 is looked at once for all, and not for each text in it.
    let parse = |json: &[u8]| {
        let corrupt = |detail: String| StoreError::corrupt(what, detail);
        let json = str::from_utf8(json).map_err(|error| corrupt(error.to_string()))?;
        serde_json::from_str(json).map_err(|error| corrupt(error.to_string()))
    };
    let mut payload = std::borrow::Cow::Borrowed(head.payload);
    for index in 1..head.chunks {
        let value = next(index)?.ok_or_else(|| {
            StoreError::corrupt(what, format!("part {index} of {} is missing", head.chunks))
        })?;
        payload.to_mut().extend_from_slice(unseal(what, value.as_ref())?);
    }
    match head.encoding {
        PLAIN => parse(&payload),
        LZ4 => parse(&decompress(what, &payload)?),
        other => Err(StoreError::corrupt(what, format!("encoding {other} is unknown"))),
    }
}

/// The bytes behind their length; a damaged length asks for no more memory than they could give.
pub(super) fn decompress(what: &'static str, packed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let corrupt = |detail: String| StoreError::corrupt(what, detail);
    let (length, block) =
        packed.split_first_chunk::<4>().ok_or_else(|| corrupt("it is too short".to_owned()))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length / LZ4_RATIO_MAX > block.len() {
        return Err(corrupt(format!("{} bytes cannot hold {length}", block.len())));
    }
    let bytes = lz4_flex::decompress(block, length).map_err(|error| corrupt(error.to_string()))?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(corrupt(format!("it has {} of {length} bytes", bytes.len())))
    }
}

/// The value of an index row that points at nothing but its key.
pub(super) fn mark() -> Value {
    seal(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(row: &Vec<u8>) -> (Vec<Value>, Vec<u8>) {
        let values = encode("row", row).expect("encodes");
        let head = read_head("row", &values[0]).expect("has a head");
        let back = decode("row", &head, |i| Ok(values.get(i as usize))).expect("decodes");
        (values, back)
    }

    proptest! {
        #[test]
        fn a_row_comes_back_as_it_was(row in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(there_and_back(&row).1, row);
        }
    }

    #[test]
    fn a_long_row_is_stored_in_values_that_never_become_blobs() {
        let mut state = 1u32;
        let row: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(300_000)
        .collect();
        let (values, back) = there_and_back(&row);
        assert!(values.len() > 2, "{} values", values.len());
        assert!(values.iter().all(|value| value.len() <= VALUE_BYTES_MAX));
        assert_eq!(back, row);
    }

    #[test]
    fn a_damaged_size_asks_for_no_memory() {
        let mut packed = lz4_flex::compress_prepend_size(&vec![7; 100_000]);
        assert_eq!(decompress("row", &packed).expect("unpacks").len(), 100_000);
        packed[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = decompress("row", &packed).expect_err("it is damaged").to_string();
        assert!(error.contains("bytes cannot hold 4294967295"), "{error}");
    }

    #[test]
    fn a_value_of_a_later_version_is_refused_by_name() {
        let error = read_head("job", &[9, 0, 0, 0, 0, 1]).err().expect("is refused");
        assert!(matches!(error, StoreError::UnknownVersion { what: "job", found: 9 }));
    }
}
