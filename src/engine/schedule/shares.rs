//! Places that jobs hold for long: each rule has at most half of those that others leave, and within it each sender half of the rule's.
//!
//! A rule that has none may always have one, and a sender that has none unless its rule has its full share. So places can be passed by as
//! many as there are rules, and no rule waits for another's end.

use std::collections::HashMap;

use super::counts::Counts;
use super::lanes::{Owner, Sender};
use crate::model::job_id::JobId;

/// Who holds how many places.
#[derive(Debug)]
pub(super) struct Shares {
    places: usize,
    counts: Counts,
    holders: HashMap<JobId, Owner>,
}

impl Shares {
    pub(super) fn new(places: usize) -> Self {
        Self { places, counts: Counts::default(), holders: HashMap::new() }
    }

    /// Whether another job of this rule may have a place.
    pub(super) fn may_rule(&self, rule: &str) -> bool {
        let own = self.counts.of_rule(rule);
        own == 0 || own < self.share(own)
    }

    /// Whether another job of this sender may, as far as its rule may.
    pub(super) fn may_sender(&self, rule: &str, sender: Sender) -> bool {
        let of_rule = self.counts.of_rule(rule);
        let own = self.counts.of_sender(rule, sender);
        own == 0 || own < self.share(of_rule).saturating_sub(of_rule - own).div_ceil(2)
    }

    /// Of a rule that holds so many.
    fn share(&self, own: usize) -> usize {
        let others = self.holders.len() - own;
        self.places.saturating_sub(others).div_ceil(2)
    }

    /// Gives a job a place, once.
    pub(super) fn take(&mut self, id: JobId, owner: &Owner) {
        if self.holders.insert(id, owner.clone()).is_none() {
            self.counts.add(owner);
        }
    }

    /// The job's place is free, if it has one.
    pub(super) fn give(&mut self, id: JobId) {
        if let Some(owner) = self.holders.remove(&id) {
            self.counts.remove(&owner);
        }
    }

    /// Whether the job has a place.
    pub(super) fn has(&self, id: JobId) -> bool {
        self.holders.contains_key(&id)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.holders.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn owner(rule: &str, sender: u64) -> Owner {
        Owner { rule: Arc::from(rule), sender: Sender(sender) }
    }

    /// How many more this owner can have.
    fn fill(shares: &mut Shares, owner: &Owner, first: u64) -> u64 {
        let mut taken = 0;
        while shares.may_rule(&owner.rule) && shares.may_sender(&owner.rule, owner.sender) {
            shares.take(JobId::from_parts(first + taken, 0), owner);
            taken += 1;
        }
        taken
    }

    #[test]
    fn each_has_half_of_what_others_leave_and_whoever_has_none_gets_one() {
        let mut shares = Shares::new(16);
        assert_eq!(fill(&mut shares, &owner("a", 1), 0), 4, "half of the rule's half");
        assert_eq!(fill(&mut shares, &owner("a", 2), 100), 2, "half of what the other sender leaves");
        assert_eq!(fill(&mut shares, &owner("b", 1), 200), 3, "half of half of ten");
        for rule in 0..100 {
            assert!(fill(&mut shares, &owner(&format!("rule {rule}"), 1), 1000 * (rule + 1)) >= 1);
        }
    }

    #[test]
    fn a_place_that_is_given_back_is_free_and_nothing_is_kept_of_who_had_it() {
        let mut shares = Shares::new(2);
        shares.take(JobId::from_parts(1, 0), &owner("a", 1));
        shares.take(JobId::from_parts(1, 0), &owner("a", 1));
        assert_eq!(shares.held(), 1);
        assert!(!shares.may_rule("a"));
        shares.give(JobId::from_parts(1, 0));
        shares.give(JobId::from_parts(1, 0));
        assert_eq!((shares.may_rule("a"), shares.held()), (true, 0));
    }
}
