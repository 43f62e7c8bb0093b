//! Which hash is sought: that of a source's content, or of an output, or the beginning of either.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::mistake::Mistake;

/// Both kinds have so many.
const DIGITS_MAX: usize = 64;
/// Of a source's decoded content, and of an output's file; the one without a name before its digits is the latter.
const KINDS: [&str; 2] = ["blake3", "sha256"];

/// Digits, in lower case, of a kind where one is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct HashSought {
    kind: Option<String>,
    digits: String,
}

impl FromStr for HashSought {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let text = text.trim().to_ascii_lowercase();
        let (kind, digits) =
            text.split_once(':').map_or((None, text.as_str()), |(kind, of)| (Some(kind), of));
        let is_right = kind.is_none_or(|kind| KINDS.contains(&kind))
            && (1..=DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_right {
            return Ok(Self { kind: kind.map(str::to_owned), digits: digits.to_owned() });
        }
        Err(Mistake::new(
            format!("`{text}` is no hash, nor the beginning of one"),
            "it is 1 to 64 of the digits 0-9 and a-f, as `landfall show` tells it; `blake3:` (of a content) or `sha256:` (of an output) may stand before them",
        ))
    }
}

impl TryFrom<String> for HashSought {
    type Error = Mistake;

    fn try_from(text: String) -> Result<Self, Mistake> {
        text.parse()
    }
}

impl From<HashSought> for String {
    fn from(HashSought { kind, digits }: HashSought) -> Self {
        kind.map_or_else(|| digits.clone(), |kind| format!("{kind}:{digits}"))
    }
}

impl HashSought {
    /// Whether it is this hash, as it is kept.
    pub(crate) fn fits(&self, hash: &str) -> bool {
        let (kind, digits) = hash.split_once(':').unwrap_or(("sha256", hash));
        self.kind.as_ref().is_none_or(|sought| kind.eq_ignore_ascii_case(sought))
            && digits.get(..self.digits.len()).is_some_and(|digits| digits.eq_ignore_ascii_case(&self.digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_beginning_of_a_hash_is_refused_for_it_would_find_all_or_nothing() {
        for text in ["", " ", "blake3:", ":", "xyz", "md5:00", "sha256:0g", &"0".repeat(65), "ü"] {
            let mistake = text.parse::<HashSought>().expect_err(text);
            assert!(mistake.to_string().contains("is no hash"), "{mistake}");
        }
    }

    #[test]
    fn it_fits_by_its_beginning_in_either_case_and_of_its_kind_alone_where_one_is_named() {
        let fits = |sought: &str, hash: &str| sought.parse::<HashSought>().expect("is one").fits(hash);
        assert!(fits("AB1", "blake3:ab12") && fits("ab", "AB12") && fits("sha256:ab", "ab12"));
        assert!(fits("blake3:ab12", "blake3:AB12") && !fits("blake3:ab", "ab12"));
        assert!(!fits("ab123", "ab12") && !fits("sha256:ab", "blake3:ab12") && !fits("12", "ab12"));
    }
}
