//! Why an operator does what cannot be taken back: words that stay in a history.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A history has no room for more.
pub(crate) const REASON_CHARS_MAX: usize = 500;

/// Never empty, and never long; the same for whoever gives it, at the command line or over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

/// What is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReason {
    /// Nothing that can be read.
    #[error("say why")]
    Empty,
    /// More than a history has room for.
    #[error("say it in at most {REASON_CHARS_MAX} characters")]
    TooLong,
}

impl Reason {
    /// As it was given, without blanks around it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = NoReason;

    fn from_str(text: &str) -> Result<Self, NoReason> {
        if text.chars().all(|c| c.is_whitespace() || c.is_control()) {
            return Err(NoReason::Empty);
        }
        if text.chars().count() > REASON_CHARS_MAX {
            return Err(NoReason::TooLong);
        }
        Ok(Self(text.trim().to_owned()))
    }
}

impl TryFrom<String> for Reason {
    type Error = NoReason;

    fn try_from(text: String) -> Result<Self, NoReason> {
        text.parse()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_not_too_much_and_has_no_blanks_around_it() {
        let longest = "é".repeat(REASON_CHARS_MAX);
        for (text, reason) in [
            ("the mount is gone", Ok("the mount is gone")),
            (" \tgone\n", Ok("gone")),
            ("", Err(NoReason::Empty)),
            (" \n\u{1}\u{a0}", Err(NoReason::Empty)),
            (longest.as_str(), Ok(longest.as_str())),
            (&format!("{longest}."), Err(NoReason::TooLong)),
        ] {
            assert_eq!(
                text.parse::<Reason>().as_ref().map(Reason::as_str),
                reason.as_ref().copied(),
                "{text:?}"
            );
        }
    }
}
