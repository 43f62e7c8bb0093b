//! Files that wait to be taken, with why: a page at a time, of one rule or of all.

use std::io::Write;

use serde::Serialize;

use super::Stop;
use super::rules::rules_gone_by;
use crate::engine::{Door, Refusal};
use crate::model::files_in_view::FileWaiting;
use crate::model::job_view::{FileWaitingView, VIEW_VERSION, file_waiting_json};
use crate::model::shown_json;
use crate::watch;
use crate::watch::rules::RuleSet;

/// One file, and the rule whose it is.
#[derive(Serialize)]
struct OfRule<'f> {
    #[serde(flatten)]
    file: FileWaitingView<'f>,
    rule: Option<&'f str>,
}

/// So many of them, by path, behind the first `skip`; what is told of folders stands beside them.
pub(crate) fn print_json(
    out: &mut dyn Write,
    door: &dyn Door,
    rule: Option<&str>,
    (skip, count): (usize, usize),
) -> Result<(), Stop> {
    let rules = rules_gone_by(Some(door)).unwrap_or_default();
    let set = RuleSet::new(rules.clone()).map_err(|error| Refusal::from_fault(&error))?;
    let rule_of = |file: &FileWaiting| {
        set.assign(file.path.as_path()).and_then(|(at, _)| rules.get(at)).map(|rule| rule.name.as_str())
    };
    let folders = door.files_in_view()?.folders;
    // Folders are among what is asked for. Which files are of one rule is known once all were looked at.
    let files_max = skip.saturating_add(count).saturating_add(folders.len()).saturating_add(1);
    let files: Vec<_> = door.files_waiting(rule.is_none().then_some(files_max)).collect::<Result<_, _>>()?;
    let files = files.iter().filter(|file| !watch::is_of_folder(&file.reason));
    let of_rule =
        files.map(|file| OfRule { file: file_waiting_json(&file.path, &file.reason), rule: rule_of(file) });
    let mut of_rule = of_rule.filter(|file| rule.is_none() || file.rule == rule).skip(skip);
    let told: Vec<_> = of_rule.by_ref().take(count).collect();
    let folders: Vec<_> = folders.iter().map(|it| file_waiting_json(&it.path, &it.reason)).collect();
    let told = serde_json::json!({
        "version": VIEW_VERSION,
        "files": told,
        "more": of_rule.next().is_some(),
        "folder_notices": folders,
    });
    Ok(writeln!(out, "{}", shown_json::to_string(&told)?)?)
}
