//! `[[rule.override]]`: for some files of a rule another rule stands in its place.
//!
//! A rule with overrides is several rules of one name, which follow each other: one for each override, whole, with what it says in place of
//! what the rule says, and behind them the rule itself. As among rules of different names, the first that has a file takes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::os_text::OsText;

/// For which files an override holds, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// By the name of a wildcard: the values that it may have. All of them have to fit.
    #[serde(rename = "if")]
    pub condition: BTreeMap<String, Vec<String>>,
    /// The keys that it says, like `output.main.path`.
    pub keys: Vec<String>,
}

impl Override {
    /// Whether it holds for a file whose path gave these values.
    pub fn holds(&self, values: &BTreeMap<String, OsText>) -> bool {
        let fits = |(name, wanted): (&String, &Vec<String>)| {
            let value = values.get(name).and_then(OsText::to_str);
            value.is_some_and(|value| wanted.iter().any(|wanted| is_same(wanted, value)))
        };
        self.condition.iter().all(fits)
    }

    /// Whether it says this key, or one of the table of this name.
    pub fn says(&self, key: &str) -> bool {
        let is_of = |said: &String| {
            said.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.keys.iter().any(is_of)
    }

    /// Whether every file that another one holds for is one of this one's.
    pub fn covers(&self, other: &Self) -> bool {
        self.condition.iter().all(|(name, values)| {
            let is_here = |value: &String| values.iter().any(|here| is_same(here, value));
            other.condition.get(name).is_some_and(|others| others.iter().all(is_here))
        })
    }
}

/// As patterns compare names.
fn is_same(wanted: &str, value: &str) -> bool {
    if cfg!(windows) { wanted.to_lowercase() == value.to_lowercase() } else { wanted == value }
}

/// `sender = "globex"`, `sender = "globex" or "initech"`.
impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, values)) in self.condition.iter().enumerate() {
            let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{name} = {}", values.join(" or "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(pairs: &[(&str, &[&str])]) -> Override {
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let condition = pairs.iter().map(|(name, values)| ((*name).to_owned(), texts(values))).collect();
        Override { condition, keys: Vec::new() }
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, OsText> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), OsText::from(*value))).collect()
    }

    #[test]
    fn an_override_holds_where_every_wildcard_has_one_of_its_values() {
        let both = condition(&[("kind", &["pay"]), ("sender", &["globex", "initech"])]);
        assert!(both.holds(&values(&[("sender", "initech"), ("kind", "pay"), ("day", "1")])));
        assert!(!both.holds(&values(&[("sender", "acme"), ("kind", "pay")])));
        assert!(!both.holds(&values(&[("sender", "globex")])), "a pattern without {{kind}} gives none");
        assert_eq!(both.to_string(), r#"kind = "pay", sender = "globex" or "initech""#);
    }

    #[test]
    fn an_override_covers_one_that_asks_for_the_same_or_more() {
        let globex = condition(&[("sender", &["globex"])]);
        let more = condition(&[("kind", &["pay"]), ("sender", &["globex"])]);
        let either = condition(&[("sender", &["globex", "acme"])]);
        assert!(globex.covers(&globex) && globex.covers(&more) && either.covers(&globex));
        assert!(!more.covers(&globex) && !globex.covers(&either));
    }
}
