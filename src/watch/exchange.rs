//! Other rules in place of those so far, with the candidates that are there.
//!
//! What is known of a file (what it was, since when it stands still, what events told of it) does not depend on rules, and stays. Where
//! another rule has it now, or its rule judges otherwise than before, it is judged again by that. An offer that is made stays made: its
//! answer ends it, as ever.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::candidate::{Candidate, Phase, Reason};
use super::rules::RuleSet;
use super::scanner::Scanner;
use super::watcher::Watcher;

const OTHER_RULES: Reason = Cow::Borrowed("the rules were exchanged");

impl Watcher {
    /// Takes the rules that came last, if there are any.
    pub(super) fn take_rules(&mut self) {
        let next = self.flags.next_rules.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((rules, outlets)) = next else { return };
        let now = Instant::now();
        for (_, batch) in std::mem::take(&mut self.unsent) {
            // Nobody has seen these offers.
            let keys = batch.iter().filter_map(|offer| self.table.key(&offer.path)).collect::<Vec<_>>();
            for path in keys {
                self.table.wait(&path, now, OTHER_RULES);
            }
        }
        self.links.outlets = outlets;
        let mut before = std::mem::replace(&mut self.rules, rules);
        self.rules.links = std::mem::take(&mut before.links);
        for (path, candidate) in self.table.take_all(self.rules.queues()) {
            self.keep_candidate(&before, &path, candidate, now);
        }
        let rules = &self.rules;
        self.fixed_folders = rules.fixed_folders();
        self.missing.retain(|folder| self.fixed_folders.contains(folder));
        self.notifier.retain(|folder| rules.could_match_below(folder));
        self.troubles.retain(|path| rules.could_match_below(path) || rules.assign(path).is_some());
        // What the walks so far have passed by may match now.
        self.scanner = Scanner::default();
        self.start_scan();
    }

    /// Puts a candidate under the rule that has it now; one that none has is dropped.
    fn keep_candidate(&mut self, before: &RuleSet, path: &Arc<Path>, mut candidate: Candidate, now: Instant) {
        let Some((at, _)) = self.rules.assign(path) else { return };
        let (Some(old), Some(new)) = (before.get(candidate.rule), self.rules.get(at)) else { return };
        candidate.rule = at;
        let is_judged_again = !new.judges_as(old) && !matches!(candidate.phase, Phase::Offered(_));
        if !new.judges_as(old) {
            candidate.companions = new.companions_of(path);
            candidate.is_late_after(new.rule.ready.late_after);
        }
        if is_judged_again {
            candidate.phase = Phase::Waiting;
            candidate.start_afresh();
        }
        self.table.put_back(path, candidate);
        if is_judged_again {
            self.table.wait(path, now, OTHER_RULES);
        }
    }
}
