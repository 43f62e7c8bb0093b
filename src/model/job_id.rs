//! Job ids: short, unique, and sorted by time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Crockford's base 32: no I, L, O or U, so that an id can be read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 26 digits of 5 bits hold the 128 bits of an id (the ULID layout).
const TEXT_LENGTH: usize = 26;

/// The name of a job: 48 bits of Unix milliseconds, then 80 bits that tell jobs of one millisecond apart.
///
/// The layout and text are those of a ULID (<https://github.com/ulid/spec>), in lower case; text and bytes sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u128);

impl JobId {
    /// An id from its two parts; `tail` is cut to 80 bits.
    #[doc(hidden)]
    pub fn from_parts(unix_ms: u64, tail: u128) -> Self {
        Self((u128::from(unix_ms) << 80) | (tail & ((1 << 80) - 1)))
    }

    /// The bytes, big-endian: the store's keys.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id of these bytes.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// When the id was made, in milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The id after this one: ids made in one millisecond stay in order.
    #[must_use]
    pub(crate) fn successor(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits =
            (0..TEXT_LENGTH).rev().map(|place| ALPHABET[(self.0 >> (place * 5)) as usize & 31] as char);
        f.pad(&digits.collect::<String>())
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no job id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no job id (26 letters and digits, as `landfall jobs` shows them)")]
pub struct NotAJobId(String);

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotAJobId(text.to_owned());
        if text.len() != TEXT_LENGTH {
            return Err(refuse());
        }
        let mut value: u128 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|d| *d == byte.to_ascii_lowercase()).ok_or_else(refuse)?;
            if place == 0 && digit > 7 {
                return Err(refuse()); // the first digit holds only the top 3 bits
            }
            value = (value << 5) | digit as u128;
        }
        Ok(Self(value))
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_give_the_same_id_back() {
        for id in [JobId::from_parts(0, 0), JobId::from_parts(1_796_000_000_000, u128::MAX), JobId(u128::MAX)]
        {
            assert_eq!(id.to_string().parse::<JobId>().expect("own text"), id);
            assert_eq!(JobId::from_bytes(id.to_bytes()), id);
        }
    }

    #[test]
    fn text_sorts_as_time_does() {
        let early = JobId::from_parts(1_000, u128::MAX);
        let late = JobId::from_parts(1_001, 0);
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn what_is_no_id_is_refused_by_name() {
        for text in ["", "x", "8zzzzzzzzzzzzzzzzzzzzzzzzz", "0000000000000000000000000u"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }
}
