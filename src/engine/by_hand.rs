//! Whether a file is taken by itself where it lies, and how else.

use std::path::Path;
use std::sync::Arc;

use crate::model::job::Job;
use crate::model::rule::{Mode, Rule};
use crate::watch::rules::RuleSet;

/// Whether one of these rules takes a file by itself, or may do so by another spelling of its path: the patterns of rules are as they are
/// written, and lead through links.
pub(super) fn is_watched(rules: &[Arc<Rule>], path: &Path) -> bool {
    let Ok(set) = RuleSet::new(rules.to_vec()) else { return true };
    match set.assign(path) {
        Some((at, _)) => rules.get(at).is_some_and(|rule| rule.mode == Mode::Live),
        None => set
            .fixed_folders()
            .iter()
            .any(|folder| folder.canonicalize().is_ok_and(|real| real != *folder && path.starts_with(real))),
    }
}

/// How a file is taken that lies where no rule watches.
pub(super) fn by_hand(job: &Job) -> String {
    format!("`landfall ingest {} --rule {}` takes it as it is now", job.source.path, job.rule)
}
