//! How many of something each rule has, and in it each sender.

use std::collections::HashMap;
use std::sync::Arc;

use super::lanes::{Owner, Sender};

/// Nothing is kept of whoever has none.
#[derive(Debug, Default)]
pub(super) struct Counts {
    all: usize,
    rules: HashMap<Arc<str>, OfRule>,
}

#[derive(Debug, Default)]
struct OfRule {
    all: usize,
    senders: HashMap<Sender, usize>,
}

impl Counts {
    pub(super) fn all(&self) -> usize {
        self.all
    }

    pub(super) fn of_rule(&self, rule: &str) -> usize {
        self.rules.get(rule).map_or(0, |of| of.all)
    }

    pub(super) fn of_sender(&self, rule: &str, sender: Sender) -> usize {
        self.rules.get(rule).and_then(|of| of.senders.get(&sender)).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, owner: &Owner) {
        let of = self.rules.entry(Arc::clone(&owner.rule)).or_default();
        of.all += 1;
        self.all += 1;
        *of.senders.entry(owner.sender).or_default() += 1;
    }

    pub(super) fn remove(&mut self, owner: &Owner) {
        let Some(of) = self.rules.get_mut(&owner.rule) else { return };
        let Some(count) = of.senders.get_mut(&owner.sender) else { return };
        of.all -= 1;
        self.all -= 1;
        *count -= 1;
        if *count == 0 {
            of.senders.remove(&owner.sender);
        }
        if of.all == 0 {
            self.rules.remove(&owner.rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schedule::tests::owner;

    #[test]
    fn what_senders_have_is_what_their_rule_has_and_nothing_is_kept_of_who_has_none() {
        let mut counts = Counts::default();
        let (one, other) = (owner(1, 1), owner(1, 2));
        for of in [&one, &one, &other] {
            counts.add(of);
        }
        let of_sender = |counts: &Counts, of: &Owner| counts.of_sender(&of.rule, of.sender);
        assert_eq!(
            (counts.of_rule(&one.rule), of_sender(&counts, &one), of_sender(&counts, &other)),
            (3, 2, 1)
        );
        for of in [&one, &other, &other, &owner(2, 1)] {
            counts.remove(of);
        }
        assert_eq!(
            (counts.of_rule(&one.rule), of_sender(&counts, &one), of_sender(&counts, &other)),
            (1, 1, 0)
        );
        counts.remove(&one);
        assert!(counts.rules.is_empty() && counts.all() == 0);
    }
}
