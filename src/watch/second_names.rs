//! Files with more names than one (hard links).
//!
//! A file two names of which rules take would be taken twice, or once and then changed by the other name. So it waits until only one of
//! them is left, under whichever name. Both are of one file system, and so of one watch. A name that no rule takes holds up nothing.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::candidate::Reason;
use super::rules::WatchedRule;
use super::watcher::Watcher;
use crate::durable_fs;
use crate::model::identity::FileIdentity;
use crate::model::os_text::escaped_path;

const IS_LOOKED_FOR: Reason = Cow::Borrowed("it has a second name, which is looked for");
/// Pause before it is asked again whether the scan is done that may find the other name.
const SCAN_PAUSE: Duration = Duration::from_millis(50);
/// Pause before it is looked whether the other name is gone: no event tells of it under this one.
const NAME_PAUSE: Duration = Duration::from_secs(5);

/// Looks at a name that waits for good are as rare as this, or as scans.
const FOR_GOOD_PAUSE: Duration = Duration::from_mins(1);

impl Watcher {
    /// Whether a file waits for good, as another name of one whose job ended.
    pub(super) fn is_name_of_done(&self, path: &Path, file: &FileIdentity) -> bool {
        let names = durable_fs::names_of(path).unwrap_or(1);
        (self.links.known.taken_as)(path, file, names).is_some_and(|other| other.is_done)
    }

    /// Of a candidate that was taken as it is, by this name or another one, and whose job is done: why it waits for good.
    pub(super) fn told_as_done(&self, path: &Path) -> Option<String> {
        let names = durable_fs::names_of(path).unwrap_or(1);
        let other = (self.links.known.taken_as)(path, &self.table.get(path)?.seen, names)?;
        (other.is_done && !other.waits_for_word).then_some(other.reason)
    }

    /// Lets a candidate wait that hardly anything lets go on.
    pub(super) fn wait_for_good(&mut self, path: &Arc<Path>, reason: String, now: Instant) {
        self.table.wait_for_others(path, now + self.scan_every.max(FOR_GOOD_PAUSE), Cow::Owned(reason));
    }

    /// How many names a file has, of which no other one is a rule's. None: it goes on waiting for that.
    ///
    /// A link that is made now is a candidate once its event is heard. So a file with several names waits for a scan that begins only after
    /// they were counted; whoever links it behind that scan is noticed by the claim.
    pub(super) fn only_name(&mut self, path: &Arc<Path>, now: Instant) -> Option<u64> {
        let (scan, is_idle) = (self.scan, self.scanner.is_idle() && !self.is_scanning());
        let seen = self.table.get(path)?.seen;
        let names = durable_fs::names_of(path).unwrap_or(1);
        if let Some(other) = (self.links.known.taken_as)(path, &seen, names) {
            let is_for_good = other.is_done && !other.waits_for_word;
            if is_for_good {
                self.wait_for_good(path, other.reason, now);
            } else {
                self.table.wait(path, now + self.scan_every.min(NAME_PAUSE), Cow::Owned(other.reason));
            }
            return None;
        }
        let candidate = self.table.get_mut(path)?;
        // Kept files are known by what they are, under any name, and may have any number.
        if self.rules.get(candidate.rule).is_some_and(WatchedRule::keeps) {
            return Some(u64::MAX);
        }
        if names <= 1 {
            return Some(names);
        }
        // By another name it may have become one that stays, by an operator's hand say: then it is never taken, however many are left.
        if self.stays(path, now) {
            return None;
        }
        let candidate = self.table.get_mut(path)?;
        let is_new = candidate.names_counted.is_none_or(|(counted, _)| counted != names);
        if is_new {
            candidate.names_counted = Some((names, scan));
        }
        let is_scanned = is_idle && candidate.names_counted.is_some_and(|(_, before)| before < scan);
        // One that is offered counts: where it got this name before it is claimed, it comes back.
        let other = self.table.other_name(path);
        let (pause, reason) = match other {
            Some(other) => {
                let rule = self.table.get(other).and_then(|candidate| self.rules.get(candidate.rule));
                let until = if rule.is_some_and(WatchedRule::keeps) {
                    ", whose rule keeps it: it is taken by that name, and by this one only if that goes before"
                } else {
                    ": it is taken once only one of them is left"
                };
                let reason = format!("it has another name that is watched, {}{until}", escaped_path(other));
                (self.scan_every.min(NAME_PAUSE), Cow::Owned(reason))
            }
            None if is_scanned => return Some(names),
            None => {
                if is_new {
                    self.request_scan();
                }
                (SCAN_PAUSE, IS_LOOKED_FOR)
            }
        };
        self.table.wait(path, now + pause, reason);
        None
    }
}
