//! How fast a rule may work: so many workers at once, so many records a second; for itself, and in a group of rules.
//!
//! What an operator sets while the service runs is one value, kept as a whole. It goes before what the configuration says, until it is
//! taken back.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Limits of a rule, or of a group. A value of 0 is said too: there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaceLimits {
    /// At most so many workers at once.
    pub workers_max: Option<u32>,
    /// At most so many records a second.
    pub records_per_second: Option<u64>,
}

impl PaceLimits {
    /// These, and where they say nothing, those.
    fn or(self, other: Self) -> Self {
        Self {
            workers_max: self.workers_max.or(other.workers_max),
            records_per_second: self.records_per_second.or(other.records_per_second),
        }
    }

    fn says_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// `[throttle.NAME]`: what all rules that name it may together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// Letters, digits, `-` and `_`.
    pub name: String,
    /// What they may.
    pub limits: PaceLimits,
}

/// What a rule says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// For all its jobs together.
    pub limits: PaceLimits,
    /// Workers for each of its jobs; 0: no limit.
    pub job_workers_max: u32,
    /// The group in which it is.
    pub throttle: Option<Throttle>,
}

/// What a limit is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Paced {
    /// A rule, by its name.
    Rule(String),
    /// A group, by its name.
    Throttle(String),
}

impl fmt::Display for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(name) => write!(f, "rule \"{name}\""),
            Self::Throttle(name) => write!(f, "throttle \"{name}\""),
        }
    }
}

/// What an operator says of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaceChange {
    /// The configuration counts again.
    Default,
    /// This counts; 0: no limit.
    To(u64),
}

/// What an operator sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaceSetting {
    /// Of what.
    pub of: Paced,
    /// None: as it was.
    pub workers_max: Option<PaceChange>,
    /// None: as it was.
    pub records_per_second: Option<PaceChange>,
}

/// What was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaceSet {
    /// Of what.
    pub of: Paced,
    /// To what.
    pub limits: PaceLimits,
    /// When last.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

impl fmt::Display for PaceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, limits, at, by } = self;
        let option = match of {
            Paced::Rule(name) => format!("--rule {name}"),
            Paced::Throttle(name) => format!("--throttle {name}"),
        };
        let workers = limits.workers_max.map(|max| (format!("workers_max = {max}"), "--workers-max default"));
        let records = limits.records_per_second;
        let records =
            records.map(|max| (format!("records_per_second = {max}"), "--records-per-second default"));
        let (said, back): (Vec<_>, Vec<_>) = [workers, records].into_iter().flatten().unzip();
        let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let (said, back) = (said.join(", "), back.join(" "));
        write!(f, "{of}: {said} was set by {by} at {at}: `landfall set {option} {back}` takes it back")
    }
}

/// All that is set, one for each rule and group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PacesSet(pub Vec<PaceSet>);

impl PacesSet {
    /// What was set of one.
    pub(crate) fn of(&self, of: &Paced) -> PaceLimits {
        self.0.iter().find(|set| set.of == *of).map(|set| set.limits).unwrap_or_default()
    }

    /// What counts of a rule or a group of which the configuration says this.
    pub(crate) fn over(&self, of: &Paced, configured: PaceLimits) -> PaceLimits {
        self.of(of).or(configured)
    }

    /// False: that was so already.
    pub(crate) fn set(&mut self, setting: &PaceSetting, at: Timestamp, by: &str) -> bool {
        let before = self.of(&setting.of);
        let mut limits = before;
        match setting.workers_max {
            Some(PaceChange::To(max)) => limits.workers_max = Some(u32::try_from(max).unwrap_or(u32::MAX)),
            Some(PaceChange::Default) => limits.workers_max = None,
            None => {}
        }
        match setting.records_per_second {
            Some(PaceChange::To(max)) => limits.records_per_second = Some(max),
            Some(PaceChange::Default) => limits.records_per_second = None,
            None => {}
        }
        if limits == before {
            return false;
        }
        self.0.retain(|set| set.of != setting.of);
        if !limits.says_nothing() {
            self.0.push(PaceSet { of: setting.of.clone(), limits, at, by: by.to_owned() });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(workers: Option<PaceChange>, records: Option<PaceChange>) -> PaceSetting {
        PaceSetting { of: Paced::Rule("pay".into()), workers_max: workers, records_per_second: records }
    }

    #[test]
    fn what_is_set_goes_before_what_is_configured_until_it_is_taken_back_each_for_itself() {
        let mut set = PacesSet::default();
        let of = Paced::Rule("pay".into());
        let configured = PaceLimits { workers_max: Some(3), records_per_second: Some(100) };
        let now = Timestamp::UNIX_EPOCH;
        assert!(set.set(&setting(Some(PaceChange::To(1)), None), now, "root"));
        assert!(!set.set(&setting(Some(PaceChange::To(1)), None), now, "root"), "it is so");
        assert_eq!(set.over(&of, configured), PaceLimits { workers_max: Some(1), ..configured });
        assert!(set.set(&setting(None, Some(PaceChange::To(0))), now, "root"), "no limit is said too");
        assert_eq!(
            set.over(&of, configured),
            PaceLimits { workers_max: Some(1), records_per_second: Some(0) }
        );
        let told = set.0[0].to_string();
        assert!(told.contains("workers_max = 1, records_per_second = 0 was set by root"), "{told}");
        assert!(told.contains("set --rule pay --workers-max default --records-per-second default"), "{told}");
        assert!(set.set(&setting(Some(PaceChange::Default), Some(PaceChange::Default)), now, "root"));
        assert_eq!((set.over(&of, configured), &set), (configured, &PacesSet::default()));
    }
}
