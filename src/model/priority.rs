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

/// `priority_when`: the priority of files of some sizes, as they lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriorityWhen {
    /// Only files of more bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// Only files of fewer bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
    /// Of their jobs.
    pub priority: Priority,
}

impl PriorityWhen {
    /// Whether it is for a file of so many bytes.
    pub fn holds(&self, bytes: u64) -> bool {
        self.larger_than.is_none_or(|least| bytes > least)
            && self.smaller_than.is_none_or(|most| bytes < most)
    }

    /// The least and the most bytes that it is for; none: it is for no file.
    pub fn sizes(&self) -> Option<(u64, u64)> {
        let least = self.larger_than.map_or(Some(0), |bytes| bytes.checked_add(1))?;
        let most = self.smaller_than.map_or(Some(u64::MAX), |bytes| bytes.checked_sub(1))?;
        (least <= most).then_some((least, most))
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

/// `service.sharing`: how jobs of one priority share loaders and workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Rules take turns, and within a rule its senders.
    #[default]
    Fair,
    /// Whichever arrived first goes first.
    Fifo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_strictly_more_or_less_than_what_is_named() {
        let of =
            |larger_than, smaller_than| PriorityWhen { larger_than, smaller_than, priority: Priority(1) };
        assert_eq!([9, 10, 11].map(|bytes| of(None, Some(10)).holds(bytes)), [true, false, false]);
        assert_eq!([9, 10, 11].map(|bytes| of(Some(10), None).holds(bytes)), [false, false, true]);
        assert_eq!(of(Some(10), Some(12)).sizes(), Some((11, 11)));
        for (larger_than, smaller_than) in [(Some(10), Some(11)), (None, Some(0)), (Some(u64::MAX), None)] {
            assert_eq!(of(larger_than, smaller_than).sizes(), None);
        }
    }

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
