//! `[[rule.override]]`: the rules that the overrides of a rule make of it.

use std::collections::BTreeMap;

use super::fit::ReadRule;
use super::layers;
use super::problem::did_you_mean;
use super::raw::{Layer, Node, Value};
use super::report::Report;
use super::rule;
use super::section::Section;
use crate::model::mistake::Mistake;
use crate::model::overriding::Override;
use crate::model::rule::{Rule, Service};

/// What holds before it is known for which sender a file is, and what the rule has for itself.
const FIXED: [(&str, &str); 11] = [
    ("name", "the rule's name is that of its overrides too"),
    ("paths", "a path tells first for whom it is: put the pattern into the rule's own `paths`"),
    ("exclude", "put the pattern into the rule's own `exclude`"),
    ("order", "the order is one for all files of the rule: put it into the rule itself"),
    ("sequence", "the sequence is one for all files of the rule: put it into the rule itself"),
    ("expect_every", ONE_EXPECTED),
    ("expect_of", ONE_EXPECTED),
    ("workers_max", ONE_PACE),
    ("records_per_second", ONE_PACE),
    ("throttle", ONE_PACE),
    ("test", "put the test into the rule itself, with a `path` that this override holds for"),
];
const ONE_PACE: &str = "the limit is one for all files of the rule: put it into the rule itself, or give these files a rule of their own before it, or the override a `job_workers_max`";
const ONE_EXPECTED: &str = "what is expected is said once: put it into the rule itself";
/// Of one name on any file system that is watched.
const NAME_BYTES_MAX: usize = 255;
const IF_HINT: &str = "write the value of a named wildcard of `paths`, like `if = { sender = \"globex\" }`";

/// Reads the overrides of a rule: each is the whole rule, with what the override says in place of what the rule says.
pub(super) fn read(base: &ReadRule, partial: bool, service: &Service, report: &Report) -> Vec<ReadRule> {
    let Some(Value::Array(nodes)) = base.node.child("override").map(|node| &node.value) else {
        // Another type is told where it is looked at.
        Section::new(&base.node, &base.owner, partial, report).sections("override");
        return Vec::new();
    };
    if base.node.child("override").is_some_and(|node| node.place.layer == Layer::Defaults) {
        return Vec::new(); // the rule tells
    }
    let tables = Section::new(&base.node, &base.owner, partial, report).sections("override");
    let mut read: Vec<ReadRule> = Vec::new();
    for (position, (node, section)) in nodes.iter().zip(&tables).enumerate() {
        let Value::Table(_) = node.value else { continue };
        let overriding = Override { condition: condition(section, &base.rule), keys: keys(node) };
        judge(section, &overriding, &read);
        let merged = merged(base, node, position);
        let found = Report::default();
        let mut rule = rule::read_overridden(&merged, &base.owner, &base.rule, partial, service, &found);
        report.take_overridden(found, &overriding);
        rule.overriding = Some(overriding);
        let (owner, tests) = (base.owner.clone(), Vec::new());
        read.push(ReadRule { node: merged, owner, rule, tests, position: Some(position) });
    }
    read
}

/// What `if` says; what is wrong with it is reported.
fn condition(section: &Section<'_>, rule: &Rule) -> BTreeMap<String, Vec<String>> {
    if let Some(node) = section.node("if").filter(|node| !matches!(node.value, Value::Table(_))) {
        section.get("if");
        let message = format!("this is {}, not a table", node.value.type_name());
        section.problem("if", message, Some(IF_HINT.into()));
        return BTreeMap::new();
    }
    let inner = section.section("if");
    let known = rule.paths.names();
    let mut condition = BTreeMap::new();
    for name in inner.keys() {
        if !known.contains(name) {
            let hint = did_you_mean(name, known.iter().map(String::as_str)).unwrap_or_else(|| {
                let names: Vec<_> = known.iter().map(String::as_str).collect();
                if names.is_empty() {
                    format!("give it a name in the rule's `paths`, like \"in/{{{name}}}/*.csv\"")
                } else {
                    format!("the rule's patterns name: {}", names.join(", "))
                }
            });
            inner.problem(name, format!("no pattern of the rule names {{{name}}}"), Some(hint));
        }
        let Some(values) = values(inner.node(name)) else {
            inner.problem(
                name,
                "this is no value of a wildcard",
                Some("write a text, or an array of texts".into()),
            );
            continue;
        };
        for (position, value) in values.iter().enumerate() {
            let is_second = values.iter().take(position).any(|before| before == value);
            let twice =
                || is_second.then(|| Mistake::new(format!("{value:?} stands here twice"), "take one out"));
            if let Some(Mistake { message, hint }) = never_a_value(name, value, rule).or_else(twice) {
                inner.problem(name, message, hint);
            }
        }
        condition.insert(name.clone(), values);
    }
    condition
}

/// Why no file can give a wildcard this value.
fn never_a_value(name: &str, value: &str, rule: &Rule) -> Option<Mistake> {
    if value.contains(['*', '?']) {
        let hint = "write each value as it is in the path: `if = { sender = [\"globex\", \"initech\"] }`";
        return Some(Mistake::new(format!("{value:?} is compared as it is, and is no pattern"), hint));
    }
    let never = |hint| Some(Mistake::new(format!("a wildcard never has the value {value:?}"), hint));
    if value.is_empty() || value.contains(std::path::is_separator) || value.contains('\0') {
        return never("it is a part of a path between two separators, or of a name");
    }
    if value.len() > NAME_BYTES_MAX {
        return never("no name of a file or a folder is so long");
    }
    let wildcard = format!("{{{name}}}");
    let begins_a_name = |text: &String| {
        text.split(std::path::is_separator)
            .all(|part| !part.contains(&wildcard) || part.starts_with(&wildcard))
    };
    if value.starts_with('.') && rule.paths.iter().all(begins_a_name) {
        return never(
            "at the beginning of a name a wildcard takes no dot: hidden files and folders are left alone",
        );
    }
    None
}

/// One text, or several.
fn values(node: Option<&Node>) -> Option<Vec<String>> {
    let text = |node: &Node| match &node.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    match &node?.value {
        Value::Array(items) if !items.is_empty() => items.iter().map(text).collect(),
        Value::Array(_) => None,
        _ => text(node?).map(|text| vec![text]),
    }
}

/// What an override cannot say, and one that never counts.
fn judge(section: &Section<'_>, overriding: &Override, before: &[ReadRule]) {
    for (key, hint) in FIXED {
        if section.has(key) {
            section.problem(key, "an override cannot change this", Some(hint.into()));
        }
    }
    let source = section.section("source");
    if source.has("archive_keep") {
        let hint =
            "archived sources are kept equally long for all files of the rule: put it into the rule itself";
        source.problem("archive_keep", "an override cannot change this", Some(hint.into()));
    }
    if section.has("override") {
        section.problem(
            "override",
            "an override has none of its own",
            Some("write it as one of the rule".into()),
        );
    }
    let Some(inner) = section.node("if") else {
        section.missing("if", "for which files it holds", IF_HINT);
        return;
    };
    if matches!(&inner.value, Value::Table(table) if table.is_empty()) {
        section.problem("if", "this holds for every file", Some(IF_HINT.into()));
        return;
    }
    if overriding.keys.is_empty() {
        let hint =
            "add the keys that are others for these files, like `ready.trust_close = \"always\"`".to_owned();
        section.problem("if", "this override changes nothing", Some(hint));
    }
    let covers = |read: &&ReadRule| {
        read.rule
            .overriding
            .as_ref()
            .is_some_and(|first| !first.condition.is_empty() && first.covers(overriding))
    };
    if let Some(position) = before.iter().find(covers).and_then(|read| read.position) {
        let message = format!("override[{}] stands before it and holds for all these files", position + 1);
        section.problem(
            "if",
            message,
            Some("put the one that asks for more first: the first that holds counts".into()),
        );
    }
}

/// What this override makes of the rule, as it might have been written; without what is one for the rule and all its overrides: a rule may
/// have thousands of patterns.
fn merged(base: &ReadRule, own: &Node, position: usize) -> Node {
    let is_of_rule = |key: &str| key == "override" || FIXED.iter().any(|(fixed, _)| *fixed == key);
    let mut base = without(&base.node, is_of_rule);
    let mut own = without(own, |key| key == "if" || is_of_rule(key));
    let below = |layer| if layer == Layer::Defaults { Layer::Defaults } else { Layer::Overridden };
    base.mark(&below);
    own.mark(&|_| Layer::Override(position));
    layers::inherit(&own, &base)
}

/// A table without some of its keys.
fn without(node: &Node, leave_out: impl Fn(&str) -> bool) -> Node {
    let Value::Table(table) = &node.value else { return node.clone() };
    let kept = table.iter().filter(|(key, _)| !leave_out(key));
    let kept = kept.map(|(key, node)| (key.clone(), node.clone())).collect();
    Node { value: Value::Table(kept), place: node.place.clone() }
}

/// `output.main.path` and so on.
fn keys(node: &Node) -> Vec<String> {
    fn collect(node: &Node, path: &str, keys: &mut Vec<String>) {
        match &node.value {
            Value::Table(table) => {
                for (key, inner) in table {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    collect(inner, &path, keys);
                }
            }
            _ => keys.push(path.to_owned()),
        }
    }
    let mut keys = Vec::new();
    collect(node, "", &mut keys);
    keys.retain(|key| key != "if" && !key.starts_with("if."));
    keys
}
