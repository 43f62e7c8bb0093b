//! `expect_every`: when files came last from whom they are expected.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::os_text::escaped;

/// Names of wildcards' values are not counted beyond this, of one rule.
const SENDERS_MAX: usize = 10_000;

/// How often files are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// At least one within this.
    pub every: Duration,
    /// From whom.
    pub of: ExpectOf,
}

/// Who is expected to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectOf {
    /// Anybody, under this rule.
    #[default]
    Rule,
    /// Each sender that ever sent something under it (`{sender}`).
    Sender,
}

/// What came last, by rule and sender; the sender is empty for the rule as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected(BTreeMap<String, BTreeMap<String, Seen>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// Since then nothing came. Where nothing ever did: since it is expected.
    since: Timestamp,
    /// That was told.
    is_told: bool,
}

/// Nothing came for too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NothingCame {
    /// Under which rule.
    pub rule: String,
    /// From which sender; none: from anybody.
    pub sender: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// How often something was expected.
    pub every: Duration,
}

impl NothingCame {
    /// In a sentence.
    pub(crate) fn told(&self) -> String {
        let Self { rule, sender, since, every } = self;
        // It is the name of a folder of theirs.
        let from = sender.as_ref().map(|sender| format!(" from {}", escaped(OsStr::new(sender))));
        let from = from.unwrap_or_default();
        let every = match every.as_secs() {
            seconds if seconds > 0 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
            _ => format!("{every:?}"),
        };
        format!("no file came{from} under rule \"{rule}\" since {since:.0}: one is expected every {every}")
    }
}

/// A rule of which files are expected, and of how many of those who should send nothing came for too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overdue {
    /// The rule.
    pub rule: String,
    /// So many: senders, or the rule as a whole.
    pub count: u64,
    /// Of which nothing came for the longest time.
    pub longest: Option<NothingCame>,
}

impl Expected {
    /// Something came under a rule of which this is expected.
    pub(crate) fn note(&mut self, rule: &str, of: ExpectOf, sender: Option<&str>, at: Timestamp) {
        let sender = match of {
            ExpectOf::Rule => "",
            ExpectOf::Sender => sender.unwrap_or_default(),
        };
        let seen = self.0.entry(rule.to_owned()).or_default();
        if seen.contains_key(sender) || seen.len() < SENDERS_MAX {
            seen.insert(sender.to_owned(), Seen { since: at, is_told: false });
        }
    }

    /// Who sent nothing for too long, and was not told yet. Rules of which nothing is expected any more are forgotten. `old_before`: before which
    /// moment is old what is old at an age; none where that cannot be told.
    pub(crate) fn overdue(
        &mut self,
        rules: &BTreeMap<String, Expect>,
        now: Timestamp,
        old_before: impl Fn(Duration) -> Option<Timestamp>,
    ) -> Vec<NothingCame> {
        self.0.retain(|rule, _| rules.contains_key(rule));
        let mut overdue = Vec::new();
        for (rule, expect) in rules {
            let seen = self.0.entry(rule.clone()).or_default();
            // Of senders those are expected that sent something before, and not the rule as a whole.
            seen.retain(|sender, _| sender.is_empty() == (expect.of == ExpectOf::Rule));
            if expect.of == ExpectOf::Rule {
                seen.entry(String::new()).or_insert(Seen { since: now, is_told: false });
            }
            let Some(before) = old_before(expect.every) else { continue };
            for (sender, seen) in seen.iter().filter(|(_, seen)| !seen.is_told && seen.since < before) {
                overdue.push(nothing_came(rule, sender, *seen, *expect));
            }
        }
        overdue
    }

    /// Each of these rules, with what was told of it and is still so.
    pub(crate) fn told(
        &self,
        rules: &BTreeMap<String, Expect>,
        old_before: impl Fn(Duration) -> Option<Timestamp>,
    ) -> Vec<Overdue> {
        let of_rule = |(rule, expect): (&String, &Expect)| {
            let before = old_before(expect.every); // it may be expected less often by now
            let seen = self.0.get(rule).into_iter().flatten();
            let overdue: Vec<_> = seen
                .filter(|(sender, _)| sender.is_empty() == (expect.of == ExpectOf::Rule))
                .filter(|(_, seen)| seen.is_told && before.is_none_or(|before| seen.since < before))
                .collect();
            let longest = overdue.iter().min_by_key(|(_, seen)| seen.since);
            Overdue {
                rule: rule.clone(),
                count: overdue.len() as u64,
                longest: longest.map(|(sender, seen)| nothing_came(rule, sender, **seen, *expect)),
            }
        };
        rules.iter().map(of_rule).collect()
    }

    /// That was told, unless something came since.
    pub(crate) fn note_told(&mut self, nothing: &NothingCame) {
        let sender = nothing.sender.as_deref().unwrap_or_default();
        let seen = self.0.get_mut(&nothing.rule).and_then(|seen| seen.get_mut(sender));
        if let Some(seen) = seen.filter(|seen| seen.since == nothing.since) {
            seen.is_told = true;
        }
    }
}

fn nothing_came(rule: &str, sender: &str, seen: Seen, expect: Expect) -> NothingCame {
    let sender = Some(sender).filter(|sender| !sender.is_empty()).map(str::to_owned);
    NothingCame { rule: rule.to_owned(), sender, since: seen.since, every: expect.every }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(hours: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_hours(hours)
    }

    fn rules(of: ExpectOf) -> BTreeMap<String, Expect> {
        BTreeMap::from([("pay".to_owned(), Expect { every: 24 * HOUR, of })])
    }

    /// By a clock that is never set.
    fn tell(expected: &mut Expected, rules: &BTreeMap<String, Expect>, hours: u64) -> Vec<NothingCame> {
        let told = expected.overdue(rules, at(hours), |age| at(hours).checked_sub(age).ok());
        for nothing in &told {
            expected.note_told(nothing);
        }
        told
    }

    #[test]
    fn a_rule_under_which_nothing_comes_is_told_once_each_time() {
        let (mut expected, rules) = (Expected::default(), rules(ExpectOf::Rule));
        assert_eq!(tell(&mut expected, &rules, 0), []);
        assert_eq!(tell(&mut expected, &rules, 24), []);
        let told = tell(&mut expected, &rules, 25);
        assert_eq!((told.len(), &told[0].sender, told[0].since), (1, &None, at(0)));
        assert_eq!(tell(&mut expected, &rules, 26), [], "that is told");
        expected.note("pay", ExpectOf::Rule, Some("acme"), at(30));
        assert_eq!(tell(&mut expected, &rules, 54), []);
        assert_eq!(tell(&mut expected, &rules, 55).len(), 1);
    }

    #[test]
    fn what_was_told_is_overdue_until_something_comes_or_it_is_expected_less_often() {
        let (mut expected, rules) = (Expected::default(), rules(ExpectOf::Sender));
        let overdue = |expected: &Expected, rules: &BTreeMap<_, _>, hours| {
            let of_rules = expected.told(rules, |age| at(hours).checked_sub(age).ok());
            (of_rules[0].count, of_rules[0].longest.as_ref().and_then(|longest| longest.sender.clone()))
        };
        expected.note("pay", ExpectOf::Sender, Some("acme"), at(10));
        expected.note("pay", ExpectOf::Sender, Some("globex"), at(5));
        assert_eq!(overdue(&expected, &rules, 50), (0, None), "nobody was told");
        tell(&mut expected, &rules, 50);
        assert_eq!(overdue(&expected, &rules, 50), (2, Some("globex".into())));
        expected.note("pay", ExpectOf::Sender, Some("globex"), at(51));
        assert_eq!(overdue(&expected, &rules, 51), (1, Some("acme".into())));
        let seldom = BTreeMap::from([("pay".to_owned(), Expect { every: 48 * HOUR, of: ExpectOf::Sender })]);
        assert_eq!(overdue(&expected, &seldom, 51), (0, None));
    }

    #[test]
    fn what_could_not_be_told_is_overdue_until_it_is_told_and_what_came_meanwhile_begins_anew() {
        let (mut expected, rules) = (Expected::default(), rules(ExpectOf::Rule));
        let overdue =
            |expected: &mut Expected, hours| expected.overdue(&rules, at(hours), |_| Some(at(hours - 24)));
        overdue(&mut expected, 24);
        let first = overdue(&mut expected, 50);
        assert_eq!((first.len(), &first), (1, &overdue(&mut expected, 51)), "it was not told");
        expected.note("pay", ExpectOf::Rule, None, at(51));
        expected.note_told(&first[0]);
        assert_eq!(overdue(&mut expected, 76).len(), 1, "that is another silence");
    }

    #[test]
    fn where_it_cannot_be_told_what_is_old_nothing_is_overdue() {
        let (mut expected, rules) = (Expected::default(), rules(ExpectOf::Rule));
        expected.note("pay", ExpectOf::Rule, None, at(0));
        assert_eq!(expected.overdue(&rules, at(100), |_| None), []);
        assert_eq!(expected.overdue(&rules, at(100), |_| Some(at(0))), [], "the clock was set");
        assert_eq!(tell(&mut expected, &rules, 100).len(), 1);
    }

    #[test]
    fn each_sender_is_expected_who_sent_something_before() {
        let (mut expected, rules) = (Expected::default(), rules(ExpectOf::Sender));
        assert_eq!(tell(&mut expected, &rules, 100), [], "nobody is known");
        expected.note("pay", ExpectOf::Sender, Some("acme"), at(100));
        expected.note("pay", ExpectOf::Sender, Some("globex"), at(110));
        let senders =
            |told: Vec<NothingCame>| told.into_iter().filter_map(|told| told.sender).collect::<Vec<_>>();
        assert_eq!(senders(tell(&mut expected, &rules, 130)), ["acme"]);
        assert_eq!(senders(tell(&mut expected, &rules, 200)), ["globex"]);
        assert_eq!(tell(&mut expected, &BTreeMap::new(), 300), []);
        assert_eq!(expected, Expected::default(), "a rule that expects nothing is forgotten");
    }
}
