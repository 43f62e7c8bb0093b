//! Whether a file is taken by itself where it lies, and how else.

use std::path::Path;
use std::sync::Arc;

use crate::model::job::Job;
use crate::model::rule::{Mode, Rule};
use crate::watch::rules::RuleSet;

/// Whether one of these rules takes a file by itself.
pub(super) fn is_watched(rules: &[Arc<Rule>], path: &Path) -> bool {
    let taker = RuleSet::new(rules.to_vec()).ok().and_then(|set| set.assign(path));
    taker.and_then(|(at, _)| rules.get(at)).is_some_and(|rule| rule.mode == Mode::Live)
}

/// How a file is taken that lies where no rule watches.
pub(super) fn by_hand(job: &Job) -> String {
    format!("`landfall ingest {} --rule {}` takes it as it is now", job.source.path, job.rule)
}
