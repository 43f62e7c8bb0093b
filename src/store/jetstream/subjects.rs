//! Under which subjects rows lie: a key is any bytes, a subject is not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::store::keys::Key;

/// A token of a subject cannot be empty; no key is written so.
const EMPTY_KEY: &str = "=";

/// The subjects of one cluster's bucket, named as those of any key-value bucket.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    bucket: String,
}

impl Subjects {
    pub(super) fn of(cluster: &str) -> Self {
        Self { bucket: format!("landfall_{cluster}") }
    }

    /// The stream that keeps the bucket.
    pub(super) fn stream(&self) -> String {
        format!("KV_{}", self.bucket)
    }

    /// All of them.
    pub(super) fn all(&self) -> String {
        format!("$KV.{}.>", self.bucket)
    }

    /// The word of the node that has the rows.
    pub(super) fn lease(&self) -> String {
        format!("$KV.{}.lease", self.bucket)
    }

    pub(super) fn row(&self, key: &[u8]) -> String {
        let token = if key.is_empty() { EMPTY_KEY.to_owned() } else { URL_SAFE_NO_PAD.encode(key) };
        format!("$KV.{}.row.{token}", self.bucket)
    }

    /// A piece of a batch that is too large to be written at once.
    pub(super) fn redo(&self, piece: usize) -> String {
        format!("$KV.{}.redo.{piece}", self.bucket)
    }

    /// What lies under a subject of the bucket; none: nothing of ours.
    pub(super) fn read(&self, subject: &str) -> Option<Place> {
        let name = subject.strip_prefix("$KV.")?.strip_prefix(self.bucket.as_str())?.strip_prefix('.')?;
        if name == "lease" {
            return Some(Place::Lease);
        }
        if let Some(piece) = name.strip_prefix("redo.") {
            return piece.parse().ok().map(Place::Redo);
        }
        let token = name.strip_prefix("row.")?;
        if token == EMPTY_KEY {
            return Some(Place::Row(Key::new()));
        }
        URL_SAFE_NO_PAD.decode(token).ok().map(Place::Row)
    }
}

/// What a subject stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Lease,
    Row(Key),
    Redo(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_subject_of_its_own_which_tells_the_key() {
        let subjects = Subjects::of("landing");
        let keys = [vec![], vec![0], b"=".to_vec(), b"lease".to_vec(), (0..=255).collect(), vec![0xff; 300]];
        for key in keys {
            let subject = subjects.row(&key);
            assert!(!subject.contains([' ', '*']) && !subject.contains(".."), "{subject}");
            assert_eq!(subjects.read(&subject), Some(Place::Row(key)));
        }
        assert_eq!(subjects.read(&subjects.lease()), Some(Place::Lease));
        assert_eq!(subjects.read(&subjects.redo(12)), Some(Place::Redo(12)));
        let other = Subjects::of("landing2");
        for strange in ["$KV.landfall_landing.other", "$KV.landfall_landing.row.%", "x", &other.lease()] {
            assert_eq!(subjects.read(strange), None, "{strange}");
        }
    }
}
