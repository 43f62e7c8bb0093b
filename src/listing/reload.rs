//! What became of a configuration that was read anew.

use crate::model::configuration::{ConfigurationProblem, Reloaded};
use crate::model::job_view::VIEW_VERSION;

/// What became of a reload.
pub(crate) fn json(reloaded: &Reloaded) -> serde_json::Value {
    let Reloaded { problems, rules, needs_restart } = reloaded;
    serde_json::json!({
        "version": VIEW_VERSION,
        "ok": problems.is_empty(),
        "added": rules.added,
        "changed": rules.changed,
        "removed": rules.removed,
        "unchanged": rules.unchanged,
        "reordered": rules.reordered,
        "hooks": rules.hooks,
        "of_no_rule": rules.of_no_rule,
        "needs_restart": needs_restart,
        "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
    })
}

/// As `landfall check --json` shows it.
pub(crate) fn problem_json(problem: &ConfigurationProblem) -> serde_json::Value {
    serde_json::json!({
        "file": problem.file.as_ref().map(ToString::to_string),
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
    })
}
