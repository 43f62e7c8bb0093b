//! Limits of work that users set: workers for a job, a rule, or a group of rules, and records a second.
//!
//! - Workers are counted as long as they hold a permit, also one that counts no more: of a step that hangs, too.
//! - Records are counted when their slice is taken, all of them at once. The next slice waits until they are over: `records / rate` later. As long
//!   as a slice was granted and not counted, no other one is. So in any time `t` no more than `rate * (t + CREDIT)` records and one slice are
//!   taken, and whatever a thread that is called comes late is not lost.
//! - A rule of which nothing is said leaves one worker to others, if there are others: once its slices are slow, and always where they wait for
//!   another program, which may never answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::permits::{Permit, Permits};
use crate::model::job_id::JobId;
use crate::model::pace::Paced;

/// What was not used so long ago is over.
const CREDIT: Duration = Duration::from_millis(100);

/// Of a rule, or of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct WorkLimit {
    pub workers_max: Option<usize>,
    pub records_per_second: Option<u64>,
}

/// Of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct RuleLimits {
    pub own: WorkLimit,
    /// Nothing is said of its workers.
    pub yields: bool,
    /// It has a step that waits for another program: how long is not known.
    pub waits_for_programs: bool,
    pub throttle: Option<String>,
}

/// What counts now.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct WorkLimits {
    pub rules: HashMap<Arc<str>, RuleLimits>,
    pub throttles: HashMap<String, WorkLimit>,
}

/// What keeps workers from a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum HeldBack {
    Job {
        workers_max: usize,
    },
    Workers {
        by: Paced,
        workers_max: usize,
    },
    /// Its rule leaves a worker to others.
    Yields {
        workers_max: usize,
    },
    /// `until`: none while a slice is being taken.
    Rate {
        by: Paced,
        per_second: u64,
        until: Option<Instant>,
    },
}

/// How fast something goes.
#[derive(Debug)]
struct Rate {
    per_second: u64,
    free_at: Instant,
    /// Slices that were granted, and whose records are not counted yet.
    owed: usize,
}

#[derive(Debug)]
struct Held {
    job: JobId,
    rule: String,
    throttle: Option<String>,
    owes: Vec<Paced>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Throttles {
    workers: usize,
    limits: WorkLimits,
    /// Of jobs that run, where they have one.
    of_jobs: HashMap<JobId, usize>,
    rates: HashMap<Paced, Rate>,
    held: HashMap<Permit, Held>,
    /// Rules whose last slice was slow.
    slow: HashSet<String>,
    at_jobs: HashMap<JobId, usize>,
    at_groups: HashMap<String, usize>,
}

impl Throttles {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers, ..Self::default() }
    }

    /// What counts from now on. What was taken already is paid at the new rate.
    pub(super) fn know(&mut self, limits: WorkLimits, now: Instant) {
        self.limits = limits;
        self.slow.retain(|rule| self.limits.rules.contains_key(rule.as_str()));
        let of_rule = |(name, of): (&Arc<str>, &RuleLimits)| {
            Some((Paced::Rule(name.to_string()), of.own.records_per_second?))
        };
        let of_throttle =
            |(name, of): (&String, &WorkLimit)| Some((Paced::Throttle(name.clone()), of.records_per_second?));
        let rates = self.limits.rules.iter().filter_map(of_rule);
        let rates: HashMap<_, _> =
            rates.chain(self.limits.throttles.iter().filter_map(of_throttle)).collect();
        self.rates.retain(|of, _| rates.contains_key(of));
        for (of, per_second) in rates {
            let rate = self.rates.entry(of).or_insert(Rate { per_second, free_at: now, owed: 0 });
            if rate.per_second != per_second {
                let left = rate.free_at.saturating_duration_since(now).as_nanos();
                let left = left * u128::from(rate.per_second) / u128::from(per_second);
                rate.free_at = now + nanos(left);
                rate.per_second = per_second;
            }
        }
        // Those at work are in the groups that their rules name now, also where that is another one since they began.
        self.at_groups.clear();
        for held in self.held.values_mut() {
            held.throttle = self.limits.rules.get(held.rule.as_str()).and_then(|of| of.throttle.clone());
            if let Some(name) = &held.throttle {
                *self.at_groups.entry(name.clone()).or_default() += 1;
            }
        }
        // A rate that is new is owed nothing by those who hold permits already.
        for held in self.held.values_mut() {
            held.owes.retain(|of| self.rates.contains_key(of));
        }
        for (of, rate) in &mut self.rates {
            rate.owed = self.held.values().filter(|held| held.owes.contains(of)).count();
        }
    }

    /// Whether records are counted at all.
    pub(super) fn counts_records(&self) -> bool {
        !self.rates.is_empty()
    }

    /// At most so many workers for this job; none: no limit.
    pub(super) fn limit_job(&mut self, id: JobId, workers_max: Option<usize>) {
        match workers_max {
            Some(max) => self.of_jobs.insert(id, max),
            None => self.of_jobs.remove(&id),
        };
    }

    /// Those that hold permits for a job.
    pub(super) fn workers_at(&self, id: JobId) -> usize {
        self.at_jobs.get(&id).copied().unwrap_or(0)
    }

    /// What keeps another worker from a run of this rule.
    pub(super) fn held_back(
        &self,
        id: JobId,
        rule: &str,
        working: &Permits,
        now: Instant,
    ) -> Option<HeldBack> {
        if let Some(&workers_max) = self.of_jobs.get(&id)
            && self.workers_at(id) >= workers_max
        {
            return Some(HeldBack::Job { workers_max });
        }
        let of = self.limits.rules.get(rule)?;
        let by_rule = || Paced::Rule(rule.to_owned());
        if let Some(workers_max) = of.own.workers_max.filter(|max| working.of_rule(rule) >= *max) {
            return Some(HeldBack::Workers { by: by_rule(), workers_max });
        }
        let leaves = self.workers.saturating_sub(1).max(1);
        if of.yields
            && self.limits.rules.len() > 1
            && working.of_rule(rule) >= leaves
            && (of.waits_for_programs || self.slow.contains(rule) || working.is_slow(rule, now))
        {
            return Some(HeldBack::Yields { workers_max: leaves });
        }
        let throttle = of.throttle.as_ref().and_then(|name| Some((name, self.limits.throttles.get(name)?)));
        if let Some((name, limit)) = throttle {
            let at_work = self.at_groups.get(name).copied().unwrap_or(0);
            if let Some(workers_max) = limit.workers_max.filter(|max| at_work >= *max) {
                return Some(HeldBack::Workers { by: Paced::Throttle(name.clone()), workers_max });
            }
        }
        if self.rates.is_empty() {
            return None;
        }
        let by_throttle = throttle.map(|(name, _)| Paced::Throttle(name.clone()));
        [Some(by_rule()), by_throttle].into_iter().flatten().find_map(|by| {
            let Rate { per_second, free_at, owed } = *self.rates.get(&by)?;
            if owed > 0 {
                return Some(HeldBack::Rate { by, per_second, until: None });
            }
            (free_at > now).then_some(HeldBack::Rate { by, per_second, until: Some(free_at) })
        })
    }

    /// A worker is granted a slice.
    pub(super) fn take(&mut self, permit: Permit, id: JobId, rule: &str) {
        let throttle = self.limits.rules.get(rule).and_then(|of| of.throttle.clone());
        let mut owes = Vec::new();
        if !self.rates.is_empty() {
            let by_throttle = throttle.clone().map(Paced::Throttle);
            let paced = [Some(Paced::Rule(rule.to_owned())), by_throttle].into_iter().flatten();
            owes.extend(paced.filter(|of| self.rates.contains_key(of)));
        }
        for of in &owes {
            if let Some(rate) = self.rates.get_mut(of) {
                rate.owed += 1;
            }
        }
        *self.at_jobs.entry(id).or_default() += 1;
        if let Some(name) = &throttle {
            *self.at_groups.entry(name.clone()).or_default() += 1;
        }
        self.held.insert(permit, Held { job: id, rule: rule.to_owned(), throttle, owes });
    }

    /// It took one of so many records. Whether they are counted: then it takes no other one by the same permit.
    pub(super) fn count(&mut self, permit: Permit, records: u64, now: Instant) -> bool {
        let Some(held) = self.held.get_mut(&permit) else { return false };
        let owes = std::mem::take(&mut held.owes);
        for of in &owes {
            if let Some(rate) = self.rates.get_mut(of) {
                rate.owed = rate.owed.saturating_sub(1);
                let from = rate.free_at.max(now.checked_sub(CREDIT).unwrap_or(now));
                let takes = u128::from(records) * 1_000_000_000 / u128::from(rate.per_second.max(1));
                rate.free_at = from + nanos(takes);
            }
        }
        !owes.is_empty()
    }

    /// It gave its permit back.
    pub(super) fn give(&mut self, permit: Permit, was_slow: bool) {
        let Some(Held { job, rule, throttle, owes }) = self.held.remove(&permit) else { return };
        if was_slow {
            self.slow.insert(rule);
        } else {
            self.slow.remove(&rule);
        }
        for of in owes {
            if let Some(rate) = self.rates.get_mut(&of) {
                rate.owed = rate.owed.saturating_sub(1); // it took none
            }
        }
        one_less(&mut self.at_jobs, &job);
        if let Some(name) = throttle {
            one_less(&mut self.at_groups, &name);
        }
    }

    #[cfg(test)]
    pub(super) fn keeps_nothing(&self) -> bool {
        self.held.is_empty()
            && self.at_jobs.is_empty()
            && self.at_groups.is_empty()
            && self.of_jobs.is_empty()
    }
}

/// Nothing is kept of whoever has none.
fn one_less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

/// A century at most: an instant bears it.
fn nanos(nanos: u128) -> Duration {
    const CENTURY_NS: u64 = 100 * 366 * 86_400 * 1_000_000_000;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(CENTURY_NS).min(CENTURY_NS))
}
