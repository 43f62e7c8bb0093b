//! Which job goes first.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

const WANTED: &str = "a priority is a number from 1 to 100, and the lower goes first";

/// 1 to 100; the lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// None outside of 1 to 100.
    pub fn new(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=100).contains(number)).map(Self)
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for Priority {
    type Error = &'static str;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        Self::new(number).ok_or(WANTED)
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// Of a rule that names none: 50.
impl Default for Priority {
    fn default() -> Self {
        Self(50)
    }
}

impl FromStr for Priority {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or(WANTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_from_1_to_100() {
        for (text, number) in
            [("1", Some(1)), ("100", Some(100)), ("0", None), ("101", None), ("-1", None), ("x", None)]
        {
            assert_eq!(text.parse().ok().map(Priority::get), number, "{text}");
        }
        assert_eq!(Priority::default().get(), 50);
        assert_eq!(Priority::new(300), None);
    }
}
