//! Places that jobs hold for long: each rule has at most half of those that others leave, and within it each sender half of the rule's.
//!
//! A rule that has none may always have one, and a sender that has none unless its rule has its full share. So places can be passed by as
//! many as there are rules, and no rule waits for another's end. Nor does a job wait for the end of one that is less urgent: it is as if
//! that held none.

use std::collections::{BTreeMap, HashMap};

use super::counts::Counts;
use super::lanes::{Owner, Sender};
use crate::model::job_id::JobId;
use crate::model::priority::Priority;

/// Who holds how many places.
#[derive(Debug)]
pub(super) struct Shares {
    places: usize,
    counts: BTreeMap<Priority, Counts>,
    holders: HashMap<JobId, Owner>,
}

impl Shares {
    pub(super) fn new(places: usize) -> Self {
        Self { places, counts: BTreeMap::new(), holders: HashMap::new() }
    }

    /// Whether another job of this rule and priority may have a place.
    pub(super) fn may_rule(&self, rule: &str, priority: Priority) -> bool {
        let own = self.of(priority, |counts| counts.of_rule(rule));
        own == 0 || own < self.share(own, priority)
    }

    /// Whether another job of this sender may, as far as its rule may.
    pub(super) fn may_sender(&self, rule: &str, sender: Sender, priority: Priority) -> bool {
        let of_rule = self.of(priority, |counts| counts.of_rule(rule));
        let own = self.of(priority, |counts| counts.of_sender(rule, sender));
        own == 0 || own < self.share(of_rule, priority).saturating_sub(of_rule - own).div_ceil(2)
    }

    /// Of a rule that holds so many.
    fn share(&self, own: usize, priority: Priority) -> usize {
        let others = self.of(priority, Counts::all) - own;
        self.places.saturating_sub(others).div_ceil(2)
    }

    /// How many those hold that are at least as urgent.
    fn of(&self, priority: Priority, count: impl Fn(&Counts) -> usize) -> usize {
        self.counts.range(..=priority).map(|(_, counts)| count(counts)).sum()
    }

    /// Gives a job a place, once.
    pub(super) fn take(&mut self, id: JobId, owner: &Owner) {
        if self.holders.insert(id, owner.clone()).is_none() {
            self.counts.entry(owner.priority).or_default().add(owner);
        }
    }

    /// The job's place is free, if it has one. Whether it had.
    pub(super) fn give(&mut self, id: JobId) -> bool {
        let Some(owner) = self.holders.remove(&id) else { return false };
        if let Some(counts) = self.counts.get_mut(&owner.priority) {
            counts.remove(&owner);
            if counts.all() == 0 {
                self.counts.remove(&owner.priority);
            }
        }
        true
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
        Owner { rule: Arc::from(rule), sender: Sender(sender), priority: Priority::default() }
    }

    /// How many more this owner can have.
    fn fill(shares: &mut Shares, owner: &Owner, first: u64) -> u64 {
        let mut taken = 0;
        let may = |shares: &Shares| {
            shares.may_rule(&owner.rule, owner.priority)
                && shares.may_sender(&owner.rule, owner.sender, owner.priority)
        };
        while may(shares) {
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
    fn who_is_more_urgent_finds_the_places_of_others_free_and_who_is_less_does_not() {
        let mut shares = Shares::new(16);
        let [urgent, usual] =
            [1, 50].map(|number| Owner { priority: Priority::new(number).expect("one"), ..owner("a", 1) });
        assert_eq!(fill(&mut shares, &usual, 0), 4);
        assert_eq!(fill(&mut shares, &urgent, 100), 4, "as if the others had none");
        assert_eq!(fill(&mut shares, &usual, 200), 0);
        assert_eq!(fill(&mut shares, &Owner { rule: Arc::from("b"), ..usual }, 300), 2, "a quarter of eight");
    }

    #[test]
    fn a_place_that_is_given_back_is_free_and_nothing_is_kept_of_who_had_it() {
        let mut shares = Shares::new(2);
        shares.take(JobId::from_parts(1, 0), &owner("a", 1));
        shares.take(JobId::from_parts(1, 0), &owner("a", 1));
        assert_eq!(shares.held(), 1);
        assert!(!shares.may_rule("a", Priority::default()));
        shares.give(JobId::from_parts(1, 0));
        shares.give(JobId::from_parts(1, 0));
        assert_eq!((shares.may_rule("a", Priority::default()), shares.held()), (true, 0));
    }
}
