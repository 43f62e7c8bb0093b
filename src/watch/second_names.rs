//! Files with more names than one (hard links).
//!
//! A file two names of which rules take would be taken twice, or once and then changed by the other name. So it waits until only one of
//! them is left, under whichever name. Both are of one file system, and so of one watch. A name that no rule takes holds up nothing.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::candidate::{Phase, Reason};
use super::rules::WatchedRule;
use super::watcher::Watcher;
use crate::durable_fs;
use crate::model::os_text::escaped_path;

const IS_LOOKED_FOR: Reason = Cow::Borrowed("it has a second name, which is looked for");
/// Pause before it is asked again whether the scan is done that may find the other name.
const SCAN_PAUSE: Duration = Duration::from_millis(50);
/// Pause before it is looked whether the other name is gone: no event tells of it under this one.
const NAME_PAUSE: Duration = Duration::from_secs(5);

impl Watcher {
    /// Lets a file wait that has another name which a rule takes too; tells whether it does.
    pub(super) fn waits_for_second_name(&mut self, path: &Arc<Path>, now: Instant) -> bool {
        let Some(candidate) = self.table.get(path) else { return false };
        // Kept files are known by what they are, under any name.
        let is_kept = self.rules.get(candidate.rule).is_some_and(WatchedRule::keeps);
        if is_kept || !durable_fs::has_other_names(path).unwrap_or(false) {
            return false;
        }
        let seen = candidate.seen;
        let is_other = |(other, it): &(&Arc<Path>, &super::candidate::Candidate)| {
            *other != path && !matches!(it.phase, Phase::Offered(_)) && it.seen.same_file(&seen)
        };
        let other = self.table.iter().find(is_other).map(|(other, _)| escaped_path(other));
        let (pause, reason) = match other {
            Some(other) => {
                let reason = format!(
                    "it has another name that is watched, {other}: it is taken once only one of them is left"
                );
                (self.scan_every.min(NAME_PAUSE), Cow::Owned(reason))
            }
            None if !self.scanner.is_idle() => (SCAN_PAUSE, IS_LOOKED_FOR),
            None => return false,
        };
        self.table.wait(path, now + pause, reason);
        true
    }
}
