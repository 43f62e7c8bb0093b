//! One line of the trail.

use serde::{Deserialize, Serialize};

use crate::model::audit::AuditEvent;

/// What the first line of all names as the one before it.
pub(super) const NO_LINE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Stands before the hash, which is that of all before this.
const HASH_BEGINS: &str = ",\"hash\":\"";
const HASH_ENDS: &str = "\"}";
const HASH_CHARACTERS: usize = 64;

/// An event in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// From 1, without a gap.
    pub seq: u64,
    /// The number of its row in the store: by it a line is known that was written before a crash.
    pub id: u64,
    #[serde(flatten)]
    pub event: AuditEvent,
    /// The hash of the line before.
    pub prev: String,
    /// Its own.
    #[serde(default)]
    pub hash: String,
}

/// Why a line is none of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has no form, or no hash.
    NoLine,
    /// Its hash is that of another text.
    Changed,
}

impl Line {
    /// As it is written, with its line end; and its hash.
    pub(super) fn written(
        seq: u64,
        id: u64,
        event: AuditEvent,
        prev: &str,
    ) -> serde_json::Result<(String, String)> {
        let line = Self { seq, id, event, prev: prev.to_owned(), hash: String::new() };
        let mut text = serde_json::to_string(&line)?;
        // Without the empty hash at its end, which is the last member.
        text.truncate(text.len() - HASH_BEGINS.len() - HASH_ENDS.len());
        let hash = blake3::hash(text.as_bytes()).to_string();
        text.push_str(HASH_BEGINS);
        text.push_str(&hash);
        text.push_str(HASH_ENDS);
        text.push('\n');
        Ok((text, hash))
    }

    /// Reads one, without its line end, and holds its hash against its text.
    pub(super) fn read(text: &[u8]) -> Result<Self, Unfit> {
        let text = std::str::from_utf8(text).map_err(|_| Unfit::NoLine)?;
        let line: Self = serde_json::from_str(text).map_err(|_| Unfit::NoLine)?;
        let ends = HASH_BEGINS.len() + HASH_CHARACTERS + HASH_ENDS.len();
        let body = text.len().checked_sub(ends).and_then(|end| text.split_at_checked(end));
        let Some((body, end)) = body.filter(|(_, end)| end.starts_with(HASH_BEGINS)) else {
            return Err(Unfit::NoLine);
        };
        let is_its_own = blake3::hash(body.as_bytes()).to_string() == line.hash && end.contains(&line.hash);
        if is_its_own { Ok(line) } else { Err(Unfit::Changed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_line_is_read_as_it_was_written_and_one_that_was_changed_anywhere_is_not() {
        let event =
            AuditEvent { rule: Some("pay".into()), ..AuditEvent::new(clock::now(), "claimed", "service") };
        let (text, hash) = Line::written(3, 9, event.clone(), NO_LINE).expect("writes");
        let bytes = text.trim_end().as_bytes();
        let read = Line::read(bytes).expect("is one");
        assert_eq!((read.seq, read.id, &read.hash, &read.event), (3, 9, &hash, &event));
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            Line::read(&changed).expect_err("it was changed");
        }
        assert_eq!(Line::read(&bytes[..bytes.len() - 1]), Err(Unfit::NoLine));
        assert_eq!(Line::read(b""), Err(Unfit::NoLine));
    }
}
