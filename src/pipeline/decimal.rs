//! Decimal numbers as text: told apart from other text, and compared digit by digit, so that no precision is lost.

use std::cmp::Ordering;

/// A decimal number in its parts, borrowed from its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// A sign, digits and a fraction (`-12.50`, `.5`, `5.`), and an exponent if `exponents` says so; no blanks, no separators.
    pub(super) fn parse(text: &'a [u8], exponents: bool) -> Option<Self> {
        let (negative, unsigned) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            _ => (false, text),
        };
        let (whole, rest) = digits(unsigned);
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => digits(rest),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', power)) if exponents => {
                std::str::from_utf8(power).ok()?.parse::<i32>().ok()?.into()
            }
            Some(_) => return None,
        };
        Some(Self { negative, whole, fraction, exponent })
    }

    /// Whether it is written without a fraction and an exponent.
    pub(super) fn is_integer(&self) -> bool {
        self.fraction.is_empty() && self.exponent == 0
    }

    /// The digits that count, without leading zeros, and the power of ten in front of the first.
    fn magnitude(&self) -> Option<(impl Iterator<Item = u8>, i64)> {
        let all = || self.whole.iter().chain(self.fraction).copied();
        let zeros = all().take_while(|digit| *digit == b'0').count();
        if zeros == self.whole.len() + self.fraction.len() {
            return None;
        }
        let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let power = length(self.whole.len()).saturating_sub(length(zeros)).saturating_add(self.exponent);
        Some((all().skip(zeros), power))
    }

    /// Compares the numbers, however they are written.
    pub(super) fn compare(&self, other: &Decimal<'_>) -> Ordering {
        let (mine, theirs) = match (self.magnitude(), other.magnitude()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return if other.negative { Ordering::Greater } else { Ordering::Less },
            (Some(_), None) => return if self.negative { Ordering::Less } else { Ordering::Greater },
            (Some(mine), Some(theirs)) => (mine, theirs),
        };
        match (self.negative, other.negative) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => compare_magnitudes(mine, theirs),
            (true, true) => compare_magnitudes(theirs, mine),
        }
    }
}

fn compare_magnitudes(
    (mut mine, my_power): (impl Iterator<Item = u8>, i64),
    (mut theirs, their_power): (impl Iterator<Item = u8>, i64),
) -> Ordering {
    if my_power != their_power {
        return my_power.cmp(&their_power);
    }
    loop {
        match (mine.next(), theirs.next()) {
            (None, None) => return Ordering::Equal,
            (one, other) => match one.unwrap_or(b'0').cmp(&other.unwrap_or(b'0')) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// A number that parameters give as a bound, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound(String);

impl Bound {
    /// A TOML number, or a text that is one (for digits that a TOML number cannot hold).
    pub(super) fn from_value(value: &serde_json::Value) -> Option<Self> {
        let text = match value {
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::String(text) => text.clone(),
            _ => return None,
        };
        Decimal::parse(text.as_bytes(), true)?;
        Some(Self(text))
    }

    /// Compares two bounds.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let number = Decimal::parse(self.0.as_bytes(), true);
        number.and_then(|number| other.compared_with(&number)).unwrap_or(Ordering::Equal)
    }

    /// How `number` compares to this bound.
    pub(super) fn compared_with(&self, number: &Decimal<'_>) -> Option<Ordering> {
        Decimal::parse(self.0.as_bytes(), true).map(|bound| number.compare(&bound))
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.strip_suffix(".0").unwrap_or(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compare(one: &str, other: &str) -> Ordering {
        let one = Decimal::parse(one.as_bytes(), true).expect("a decimal");
        one.compare(&Decimal::parse(other.as_bytes(), true).expect("a decimal"))
    }

    #[test]
    fn only_signs_digits_and_a_point_make_a_decimal() {
        for good in ["0", "-1", "+1.50", ".5", "5.", "00012"] {
            assert!(Decimal::parse(good.as_bytes(), false).is_some(), "{good}");
        }
        for bad in ["", "-", ".", "1,5", " 1", "1 ", "N/A", "1e3", "0x1", "1.2.3", "--1", "٣"] {
            assert!(Decimal::parse(bad.as_bytes(), false).is_none(), "{bad}");
        }
        assert!(Decimal::parse(b"1e3", true).is_some());
        assert!(Decimal::parse(b"1e99999999999", true).is_none());
    }

    #[test]
    fn numbers_compare_by_what_they_are_worth() {
        assert_eq!(compare("1.0", "1"), Ordering::Equal);
        assert_eq!(compare("-0", "0.00"), Ordering::Equal);
        assert_eq!(compare("1e3", "1000"), Ordering::Equal);
        assert_eq!(compare("10", "9"), Ordering::Greater);
        assert_eq!(compare("-10", "-9"), Ordering::Less);
        assert_eq!(compare("-1", "0"), Ordering::Less);
        assert_eq!(compare("0", "-0.001"), Ordering::Greater);
        assert_eq!(compare("0.009", "0.01"), Ordering::Less);
        assert_eq!(compare("12345678901234567890.1", "12345678901234567890.2"), Ordering::Less);
    }

    proptest! {
        #[test]
        fn comparing_agrees_with_integers(one in -1_000_000i64..1_000_000, other in -1_000_000i64..1_000_000) {
            prop_assert_eq!(compare(&format!("{one}.00"), &other.to_string()), one.cmp(&other));
            prop_assert_eq!(compare(&format!("{one}e-2"), &format!("{other}e-2")), one.cmp(&other));
        }

        #[test]
        fn any_bytes_can_be_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some(number) = Decimal::parse(&bytes, true) {
                prop_assert_eq!(number.compare(&number), Ordering::Equal);
            }
        }
    }
}
