//! `[[rule.test]]`, and `[[test]]` in a `NAME.test.toml`: a sample, and what the rule should make of it. `landfall test` runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::problem::did_you_mean;
use super::raw::{Node, Origin, Value};
use super::report::Report;
use super::section::Section;
use crate::model::pattern::Pattern;
use crate::model::rule::Rule;

/// How a file ends that holds tests only; it is no file of rules.
pub(super) const TEST_FILE_END: &str = ".test.toml";

/// A test of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RuleTest {
    /// The rule's name.
    pub rule: String,
    /// The test's own.
    pub name: String,
    /// The file that it stands in, as it is shown.
    pub file: PathBuf,
    /// Its line there.
    pub line: usize,
    /// Where the sample would land, absolute.
    pub path: PathBuf,
    /// What lands there.
    pub sample: Content,
    /// What should come of it.
    pub expected: Expected,
}

/// Bytes, as written or in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// As written in the test.
    Inline(String),
    /// Those of a file.
    File(PathBuf),
}

/// What should come of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expected {
    /// By category; what is not named here should get no record.
    pub outputs: BTreeMap<String, Content>,
    /// Dropped records.
    pub dropped: Dropped,
    /// Failed records, in order.
    pub failed: Vec<ExpectedFailure>,
    /// Part of the error by which the whole job should fail.
    pub error: Option<String>,
}

/// How many records should be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// By all steps together.
    Total(u64),
    /// By each step that drops any, as `show` names it.
    ByStep(BTreeMap<String, u64>),
}

/// A record that should fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedFailure {
    /// Its number, from 1.
    pub record: u64,
    /// Part of its error; empty: whatever it says.
    pub error: String,
}

/// The tests that stand in the rule's own table; `rules` are its overrides, and it.
pub(super) fn read_own(node: &Node, owner: &str, rules: &[&Rule], report: &Report) -> Vec<RuleTest> {
    let section = Section::new(node, owner, false, report);
    let Some(rule) = rules.last() else { return Vec::new() };
    section.sections("test").iter().filter_map(|table| read(table, rule, rules)).collect()
}

/// The tests of a `NAME.test.toml`, whose top this is.
pub(super) fn read_file(top: &Section<'_>, rules: &[&Rule]) -> Vec<RuleTest> {
    let tests = top.sections("test");
    if tests.is_empty() {
        let hint = "begin a test with [[test]] and `rule = \"…\"`".to_owned();
        top.problem("test", "this file holds no test", Some(hint));
    }
    top.finish(&[]);
    let read = |table: &Section<'_>| {
        table.missing("rule", "the rule that is tested", "add `rule = \"…\"`");
        let name = table.text("rule")?;
        let found = rules.iter().find(|rule| rule.name == name && rule.is_base());
        if found.is_none() {
            let bases = rules.iter().filter(|rule| rule.is_base());
            let known: Vec<&str> = bases.map(|rule| rule.name.as_str()).collect();
            let hint = did_you_mean(name, known.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("the configuration has: {}", known.join(", ")));
            table.problem("rule", format!("no rule is named \"{name}\""), Some(hint));
        }
        self::read(table, found?, rules)
    };
    tests.iter().filter_map(read).collect()
}

fn read(table: &Section<'_>, rule: &Rule, rules: &[&Rule]) -> Option<RuleTest> {
    table.missing("name", "what the test shows", "add `name = \"…\"`");
    let name = table.text("name");
    let sample = sample(table);
    let path = landing_path(table, rule, sample.as_ref());
    let values = path.as_deref().and_then(|path| rule.paths.values_of(path)).unwrap_or_default();
    let taking = rules.iter().find(|other| other.is_for(&rule.name, &values)).unwrap_or(&rule);
    let expected = expected(table, taking);
    table.finish(&[]);
    let place = table.place();
    let Origin::File { shown, .. } = &place.origin else { return None };
    Some(RuleTest {
        rule: rule.name.clone(),
        name: name?.to_owned(),
        file: shown.to_path_buf(),
        line: place.line,
        path: path?,
        sample: sample?,
        expected,
    })
}

fn sample(table: &Section<'_>) -> Option<Content> {
    let inline = table.text("input").map(|text| Content::Inline(text.to_owned()));
    let file = table.path("sample").map(Content::File);
    if inline.is_some() && file.is_some() {
        let hint = "take one of `input` (its text) and `sample` (a file) out".to_owned();
        table.problem("sample", "this test has two samples", Some(hint));
    }
    if !table.has("sample") {
        table.missing("input", "the sample", "add `input = \"…\"`, its text, or `sample = \"FILE\"`");
    }
    inline.or(file)
}

/// Without one, a file beside the rule, of the sample's own name.
fn landing_path(table: &Section<'_>, rule: &Rule, sample: Option<&Content>) -> Option<PathBuf> {
    let named = table.path("path");
    if table.has("path") {
        return named;
    }
    let named = |(_, pattern): &(&String, &Result<Pattern, _>)| {
        pattern.as_ref().is_ok_and(|pattern| !pattern.names().is_empty())
    };
    if let Some((pattern, _)) = rule.paths.iter().zip(rule.paths.judged()).find(named) {
        let hint = format!("add a `path` that fits {pattern}: it gives the wildcards their values");
        table.problem("path", "missing: where the sample would land", Some(hint));
        return None;
    }
    let name = match sample {
        Some(Content::File(file)) => file.file_name().map(Path::new),
        _ => None,
    };
    Some(rule.base_dir.join(name.unwrap_or(Path::new("sample"))))
}

fn expected(table: &Section<'_>, rule: &Rule) -> Expected {
    let error = table.text("error").map(str::to_owned);
    if error.is_some() && table.has("output") {
        let hint = "take `error` out, or the outputs: nothing is published from a job that fails".to_owned();
        table.problem("error", "a job that fails has no outputs", Some(hint));
    }
    Expected {
        outputs: outputs(&table.section("output"), rule),
        dropped: dropped(table),
        failed: failed(table),
        error,
    }
}

fn outputs(table: &Section<'_>, rule: &Rule) -> BTreeMap<String, Content> {
    let mut outputs = BTreeMap::new();
    for category in table.keys() {
        let known = || rule.outputs.keys().map(crate::model::category::Category::as_str);
        if !known().any(|name| name == category) {
            let hint = did_you_mean(category, known());
            let hint =
                hint.unwrap_or_else(|| format!("the rule has: {}", known().collect::<Vec<_>>().join(", ")));
            table.problem(category, "the rule has no output of this category", Some(hint));
        }
        match table.node(category).map(|node| &node.value) {
            Some(Value::Text(text)) => drop(outputs.insert(category.clone(), Content::Inline(text.clone()))),
            Some(Value::Table(_)) => {
                let Some(inner) = table.named_section(category) else { continue };
                inner.missing("file", "the file with what should come out", "write `{ file = \"…\" }`");
                if let Some(file) = inner.path("file") {
                    outputs.insert(category.clone(), Content::File(file));
                }
                inner.finish(&[]);
            }
            _ => {
                let hint = "write the text that should come out, or `{ file = \"…\" }`".to_owned();
                table.problem(category, "this is no content", Some(hint));
            }
        }
    }
    outputs
}

fn dropped(table: &Section<'_>) -> Dropped {
    if !matches!(table.get("dropped").map(|node| &node.value), Some(Value::Table(_))) {
        return Dropped::Total(table.integer("dropped", 0..=u64::MAX).unwrap_or(0));
    }
    let inner = table.section("dropped");
    let count = |step: &String| match inner.node(step).map(|node| &node.value) {
        Some(Value::Integer(count)) if *count >= 0 => Some((step.clone(), count.unsigned_abs())),
        _ => {
            inner.problem(step, "this is no count of records", Some("write a number of 0 or more".into()));
            None
        }
    };
    Dropped::ByStep(inner.keys().filter_map(count).filter(|(_, count)| *count > 0).collect())
}

fn failed(table: &Section<'_>) -> Vec<ExpectedFailure> {
    let read = |item: &Section<'_>| {
        item.missing("record", "the record's number", "write `{ record = 3, error = \"…\" }`");
        let record = item.integer("record", 1..=u64::MAX);
        let error = item.text("error").unwrap_or_default().to_owned();
        item.finish(&[]);
        Some(ExpectedFailure { record: record?, error })
    };
    table.sections("failed").iter().filter_map(read).collect()
}
