//! `[[hook]]`: whom the service tells that something happened.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::paths;
use super::problem::did_you_mean;
use super::raw::{Node, Value};
use super::report::Report;
use super::section::{Item, Section, is_plain_name};
use crate::model::hook::{Hook, HookEvent, HookTarget};
use crate::model::post_url::PostUrl;

const HOOKS_MAX: usize = 32;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MEND_TARGET: &str = "write `command = [\"./notify\"]`, or `url = \"https://…\"`";

/// Every `[[hook]]` of the main file; `rules`: the names of all rules.
pub(super) fn read(main: &Node, partial: bool, rules: &BTreeSet<&str>, report: &Report) -> Vec<Hook> {
    let top = Section::new(main, "", partial, report);
    let tables = top.sections("hook");
    if tables.len() > HOOKS_MAX {
        let hint = format!("{HOOKS_MAX} are possible: have one program tell several");
        top.problem("hook", format!("there are {} hooks", tables.len()), Some(hint));
    }
    let mut names = BTreeSet::new();
    tables.iter().filter_map(|table| hook(table, rules, &mut names)).collect()
}

fn hook(table: &Section<'_>, rules: &BTreeSet<&str>, names: &mut BTreeSet<String>) -> Option<Hook> {
    let name = name(table, names);
    let events = events(table);
    let rules = of_rules(table, rules);
    let timeout = table.duration("timeout", Duration::from_millis(100)).unwrap_or(DEFAULT_TIMEOUT);
    let target = target(table);
    table.finish(&[]);
    Some(Hook { name: name?, events, rules, target: target?, timeout })
}

/// `known`: those of the hooks before it.
fn name(table: &Section<'_>, known: &mut BTreeSet<String>) -> Option<String> {
    let hint = "add `name = \"operators\"`: what it was not told yet is kept under it";
    table.missing("name", "the hook's name", hint);
    let name = table.text("name")?;
    if !is_plain_name(name) {
        let hint = "use letters, digits, - and _ (1 to 100 of them)".to_owned();
        table.problem("name", format!("\"{name}\" cannot be a hook's name"), Some(hint));
        return None;
    }
    if !known.insert(name.to_owned()) {
        let hint = "give each hook its own name".to_owned();
        table.problem("name", format!("another hook is named \"{name}\""), Some(hint));
    }
    Some(name.to_owned())
}

fn events(table: &Section<'_>) -> Vec<HookEvent> {
    let words = HookEvent::ALL.map(|(word, _)| word).join(", ");
    table.missing("events", "what the hook is told", &format!("add some of: {words}"));
    let mut events = table.choices("events", &HookEvent::ALL, &[]);
    let written = table.node("events").map(|node| &node.value);
    if matches!(written, Some(Value::Array(words)) if words.is_empty()) {
        table.problem("events", "this hook is told nothing", Some(format!("name some of: {words}")));
    }
    events.sort_unstable();
    events.dedup();
    events
}

fn of_rules(table: &Section<'_>, known: &BTreeSet<&str>) -> Vec<String> {
    let Some(items) = table.texts("rules") else { return Vec::new() };
    if items.is_empty() {
        let hint = "name some rules, or leave it out: then it is told of all".to_owned();
        table.problem("rules", "this hook is told of no rule", Some(hint));
    }
    for item in items.iter().filter(|item| !known.contains(item.text)) {
        let hint = did_you_mean(item.text, known.iter().copied());
        let hint = hint.unwrap_or_else(|| "name a [[rule]] of this configuration".to_owned());
        table.item_problem(item, format!("no rule is named \"{}\"", item.text), Some(hint));
    }
    items.iter().map(|item| item.text.to_owned()).collect()
}

fn target(table: &Section<'_>) -> Option<HookTarget> {
    let bearer_file = table.path("bearer_file");
    for key in ["command", "url"] {
        table.get(key); // both are known, whichever is there
    }
    match (table.has("command"), table.has("url")) {
        (true, true) => {
            table.problem(
                "url",
                "a hook runs a command or posts to a URL, not both",
                Some("write two hooks".into()),
            );
            None
        }
        (false, false) => {
            table.missing("url", "how the hook is told", MEND_TARGET);
            None
        }
        (true, false) => {
            table.refuse(
                &["bearer_file"],
                "only a URL gets a token",
                "take it out: the command knows its own",
            );
            command(table)
        }
        (false, true) => Some(HookTarget::Url { url: url(table)?, bearer_file }),
    }
}

fn command(table: &Section<'_>) -> Option<HookTarget> {
    let items = table.texts("command")?;
    let Some(program) = items.first() else {
        table.problem("command", "a command begins with its program", Some(MEND_TARGET.into()));
        return None;
    };
    let folder = program.place.folder().to_owned();
    let mut command: Vec<String> = items.iter().map(|item| item.text.to_owned()).collect();
    *command.first_mut()? = resolved(table, program)?;
    Some(HookTarget::Command { command, folder })
}

/// One with a folder in it is found from the file that names it, others in `PATH`.
fn resolved(table: &Section<'_>, program: &Item<'_>) -> Option<String> {
    if !program.text.contains(paths::is_separator) && !program.text.is_empty() {
        return Some(program.text.to_owned());
    }
    let found = paths::absolute_path(program.text, program.place.folder());
    let found = found.inspect_err(|bad| table.item_problem(program, bad.message, Some(bad.hint.to_owned())));
    found.ok().and_then(|path: PathBuf| path.to_str().map(str::to_owned))
}

fn url(table: &Section<'_>) -> Option<PostUrl> {
    let text = table.text("url")?;
    let url = PostUrl::parse(text);
    url.inspect_err(|wrong| table.problem("url", *wrong, Some("write `url = \"https://host/path\"`".into())))
        .ok()
}
