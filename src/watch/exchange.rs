//! Other rules in place of those so far, with the candidates that are there.
//!
//! What is known of a file (what it was, since when it stands still, what events told of it) does not depend on rules, and stays. Where
//! another rule has it now, or its rule judges otherwise than before, it is judged again by that. An offer that is made stays made: its
//! answer ends it, as ever. One that the engine does not take because of other rules may be answered before those are here:
//!
//! ```text
//! engine   has other rules ----- an offer under the old ones: OtherRules ---- the watch is given the other rules
//! watch    offers                                             waits .................................. judges again
//! ```

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::candidate::{Candidate, Exchange, Phase, Reason};
use super::message::Sign;
use super::ready::Proof;
use super::rules::RuleSet;
use super::scanner::Scanner;
use super::watcher::Watcher;

const OTHER_RULES: Reason = Cow::Borrowed("the rules were exchanged");
/// Rules that are to come are here within moments; where they are not, the file is offered again after so long.
const RULES_COME: Duration = Duration::from_secs(1);

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

    /// An offer was not taken because of other rules: those are here already, or on their way.
    pub(super) fn other_rules(&mut self, path: &Path, now: Instant) {
        let Some(key) = self.table.key(path) else { return };
        let Some(candidate) = self.table.get_mut(&key) else { return };
        let Phase::Offered(told) = candidate.phase else { return };
        candidate.start_afresh();
        let mut until = now;
        if candidate.exchange == Exchange::Unknown {
            candidate.exchange = Exchange::IsToCome;
            until += RULES_COME;
            candidate.not_before = Some(until);
        }
        self.table.wait(&key, until, OTHER_RULES);
        // What was told of it while it was offered counts for it after all.
        match told {
            Proof::None => {}
            Proof::Closed => self.sign(&key, Sign::Closed, now),
            Proof::MovedIn => self.sign(&key, Sign::MovedIn, now),
        }
    }

    /// Puts a candidate under the rule that has it now; one that none has is dropped.
    fn keep_candidate(&mut self, before: &RuleSet, path: &Arc<Path>, mut candidate: Candidate, now: Instant) {
        let Some((at, _)) = self.rules.assign(path) else { return };
        let (Some(old), Some(new)) = (before.get(candidate.rule), self.rules.get(at)) else { return };
        candidate.rule = at;
        let is_offered = matches!(candidate.phase, Phase::Offered(_));
        let was_to_come = candidate.exchange == Exchange::IsToCome;
        candidate.exchange = if is_offered { Exchange::Came } else { Exchange::Unknown };
        let is_judged_again = was_to_come || !new.judges_as(old) && !is_offered;
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
