//! Whether the parts of the rules fit together: patterns, templates, steps, and folders that would feed themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::delivery;
use super::judge::{Accepted, Judge, Verdict, verdict};
use super::paths::{self, is_separator};
use super::problem::did_you_mean;
use super::raw::{Node, Place, Value};
use super::report::Report;
use super::rule_test::RuleTest;
use super::section::key_path;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Rule, Service};

/// Variables that every rule has.
pub(super) const VARIABLES: [&str; 13] = [
    "rule",
    "name",
    "stem",
    "ext",
    "date",
    "time",
    "job",
    "category",
    "entry",
    "entry_stem",
    "parent",
    "grandparent",
    "revision",
];
/// Variables that only an output's path has.
const OUTPUT_ONLY: [&str; 3] = ["category", "entry", "entry_stem"];

/// A rule that was read, with what it was read from.
pub(super) struct ReadRule {
    /// As written, with what it inherited.
    pub node: Node,
    /// `rule "payments"`.
    pub owner: String,
    pub rule: Rule,
    /// Those in its own table.
    pub tests: Vec<RuleTest>,
}

/// Judges every rule and how they fit together.
pub(super) fn judge(
    rules: &[ReadRule],
    service: &Service,
    service_node: &Node,
    judge: &dyn Judge,
    report: &Report,
) {
    let judged: Vec<Judged<'_>> = rules.iter().map(|read| Judged::new(read, judge, report)).collect();
    for rule in &judged {
        rule.check_templates(judge);
        rule.check_delivery(judge);
        rule.check_key_files(judge);
        rule.check_outputs_differ();
        rule.check_mount();
        rule.check_recipients(judge);
        rule.check_pipeline(judge);
    }
    let working = Landing {
        place: place_of(service_node, &["data_dir"]),
        key: "service.data_dir".into(),
        file: service.data_dir.join("store"),
    };
    let landings = judged.iter().flat_map(Judged::landings).chain([working]);
    for landing in landings {
        landing.refuse_loops(&judged, report);
    }
}

/// A rule with its accepted patterns.
struct Judged<'a> {
    read: &'a ReadRule,
    patterns: Vec<(String, Accepted)>,
    excludes: Vec<Accepted>,
    /// Named wildcards of any pattern.
    named: BTreeSet<String>,
    /// Those of every pattern: the only ones that always have a value.
    always: BTreeSet<String>,
    report: &'a Report,
}

impl<'a> Judged<'a> {
    fn new(read: &'a ReadRule, judge: &dyn Judge, report: &'a Report) -> Self {
        let mut judged = Self {
            read,
            patterns: Vec::new(),
            excludes: Vec::new(),
            named: BTreeSet::new(),
            always: BTreeSet::new(),
            report,
        };
        judged.judge_patterns(judge);
        judged.judge_excludes(judge);
        judged.judge_entries(judge);
        judged
    }

    fn judge_patterns(&mut self, judge: &dyn Judge) {
        for (position, text) in self.read.rule.paths.iter().enumerate() {
            match judge.pattern(text) {
                Ok(accepted) => self.patterns.push((text.clone(), accepted)),
                Err(verdict) => self.item_problem("paths", position, self.read.rule.paths.len(), verdict),
            }
        }
        self.refuse_taken_names();
        let names = |accepted: &Accepted| accepted.names.iter().cloned().collect::<BTreeSet<String>>();
        let sets: Vec<_> = self.patterns.iter().map(|(_, accepted)| names(accepted)).collect();
        self.named = sets.iter().flatten().cloned().collect();
        self.always = sets.into_iter().reduce(|all, set| &all & &set).unwrap_or_default();
    }

    /// A named wildcard that is called like a variable would hide it.
    fn refuse_taken_names(&self) {
        for (text, accepted) in &self.patterns {
            if let Some(name) = accepted.names.iter().find(|name| VARIABLES.contains(&name.as_str())) {
                let message = format!("{{{name}}} in \"{text}\" has a meaning of its own in paths");
                self.problem(&["paths"], verdict(message, "give the wildcard another name"));
            }
        }
    }

    fn judge_excludes(&mut self, judge: &dyn Judge) {
        let excludes = &self.read.rule.exclude;
        for (position, text) in excludes.iter().enumerate() {
            let by_name = !text.contains(is_separator);
            match without_names(judge, text, &self.read.rule.base_dir) {
                Ok(_) if by_name => {}
                Ok(accepted) => self.excludes.push(accepted),
                Err(verdict) => self.item_problem("exclude", position, excludes.len(), verdict),
            }
        }
    }

    fn judge_entries(&self, judge: &dyn Judge) {
        let entries = &self.read.rule.decode.entries;
        for (position, text) in entries.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            if let Err(verdict) = without_names(judge, text, &self.read.rule.base_dir) {
                self.item_problem("decode.entries", position, entries.len(), verdict);
            }
        }
    }

    /// Every template of the rule with its key.
    fn templates(&self) -> Vec<(Vec<&str>, &str)> {
        let rule = &self.read.rule;
        let outputs = rule
            .outputs
            .iter()
            .map(|(category, output)| (vec!["output", category.as_str(), "path"], output.path.as_str()));
        let one = |table, key, text: &'a Option<String>| text.as_deref().map(|text| (vec![table, key], text));
        let others = [
            one("publish", "marker", &rule.publish.marker),
            one("publish", "manifest", &rule.publish.manifest),
            one("source", "archive_dir", &rule.source.archive_dir),
        ];
        outputs.chain(others.into_iter().flatten()).filter(|(_, text)| !text.is_empty()).collect()
    }

    fn check_templates(&self, judge: &dyn Judge) {
        for (key, text) in self.templates() {
            if let Err(verdict) = judge.template(text, &self.named) {
                self.problem(&key, verdict);
                continue;
            }
            self.check_always_known(&key, text);
            let used = paths::variables(text);
            if let Some(name) = OUTPUT_ONLY.iter().find(|name| key[0] != "output" && used.contains(*name)) {
                self.problem(
                    &key,
                    verdict(format!("{{{name}}} is only known in an output's path"), "take it out"),
                );
            }
        }
    }

    /// A named wildcard that one of the patterns lacks would have no value for its files.
    fn check_always_known(&self, key: &[&str], text: &str) {
        let used = paths::variables(text);
        if let Some(name) =
            used.iter().find(|name| self.named.contains(**name) && !self.always.contains(**name))
        {
            let message = format!("{{{name}}} is not in every pattern of the rule");
            self.problem(key, verdict(message, "name it in each of `paths`, or make two rules"));
        }
    }

    /// What the key and `{revision}` can mean.
    fn check_delivery(&self, judge: &dyn Judge) {
        let key = self.read.rule.delivery.as_ref().and_then(|delivery| delivery.key.as_deref());
        for (place, text) in self.templates().into_iter().filter(|(_, text)| uses(text, "revision")) {
            if let Some(verdict) = delivery::misplaced_revision(key.is_some(), place[0], text) {
                self.problem(&place, verdict);
            }
        }
        let Some(key) = key else { return };
        let place = ["delivery", "key"];
        if let Err(verdict) = judge.template(key, &self.named) {
            return self.problem(&place, verdict);
        }
        self.check_always_known(&place, key);
        if let Some(verdict) = delivery::bad_key(key) {
            self.problem(&place, verdict);
        }
    }

    /// Identity and passphrase files know the named wildcards and nothing else.
    fn check_key_files(&self, judge: &dyn Judge) {
        let decode = &self.read.rule.decode;
        let positions: Vec<String> = (0..decode.identities.len()).map(|i| i.to_string()).collect();
        let identities = decode.identities.iter().zip(&positions);
        let identities =
            identities.map(|(text, position)| (vec!["decode", "identities", position.as_str()], text));
        let passphrase = decode.passphrase_file.iter().map(|text| (vec!["decode", "passphrase_file"], text));
        for (key, text) in identities.chain(passphrase) {
            let unknown = paths::variables(text).into_iter().find(|name| !self.named.contains(*name));
            if let Some(unknown) = unknown {
                let hint = did_you_mean(unknown, self.named.iter().map(String::as_str))
                    .unwrap_or_else(|| "only the rule's named wildcards are known here".into());
                self.problem(&key, verdict(format!("unknown variable {{{unknown}}}"), &hint));
            } else if let Err(verdict) = judge.template(text, &self.named) {
                self.problem(&key, verdict);
            } else {
                self.check_always_known(&key, text);
            }
        }
    }

    /// Two outputs of one job that meet in one path are an error of every job: told before the first.
    fn check_outputs_differ(&self) {
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        for (key, text) in self.templates().into_iter().filter(|(key, _)| key[0] != "source") {
            let category = if key[0] == "output" { key[1] } else { "" };
            let filled = text.replace("{category}", category);
            let name = key.join(".");
            if let Some(other) = first.get(&filled) {
                let message = format!("this is the path of {other} too");
                self.problem(&key, verdict(message, "give each its own path, with {category} for instance"));
            } else {
                first.insert(filled, name);
            }
        }
    }

    /// What is published beside the mount would not be on the file system that is asked for.
    fn check_mount(&self) {
        let Some(mount) = &self.read.rule.publish.mount else { return };
        for (key, text) in self.templates().into_iter().filter(|(key, _)| key[0] != "source") {
            if !Path::new(text).starts_with(mount) {
                let message = format!("this does not lie in `publish.mount` = {}", escaped_path(mount));
                let hint = "put all outputs, marker and manifest below the mount, or make two rules";
                self.problem(&key, verdict(message, hint));
            }
        }
    }

    /// Judges keys whose look is right; what is wrong with an output already may be why it is refused.
    fn check_recipients(&self, judge: &dyn Judge) {
        let rule = &self.read.rule;
        for (category, _) in rule.outputs.iter().filter(|(_, output)| !output.recipients.is_empty()) {
            let path = format!("output.{category}");
            let is_known = ["defaults.", &format!("{}: ", self.read.owner)]
                .iter()
                .any(|owner| self.report.has_any(&format!("{owner}{path}.")));
            if let Err(verdict) = judge.recipients(rule, category)
                && !is_known
            {
                self.problem(&["output", category.as_str(), "recipients"], verdict);
            }
        }
    }

    /// The steps judge their parameters, unless their tables are already known to be wrong.
    fn check_pipeline(&self, judge: &dyn Judge) {
        if self.report.has_any(&format!("{}: pipeline", self.read.owner))
            || self.report.has_any("defaults.pipeline")
        {
            return;
        }
        let mut lacking = BTreeSet::new();
        for problem in judge.pipeline(&self.read.rule) {
            // One output is lacking, however many steps send records to it.
            if problem.message.starts_with("category `") && !lacking.insert(problem.message.clone()) {
                continue;
            }
            let key: Vec<&str> = problem.key.iter().map(String::as_str).collect();
            self.problem(&key, Verdict { message: problem.message, hint: problem.hint });
        }
    }

    /// Where files of this rule land, each by a sample.
    fn landings(&self) -> Vec<Landing<'a>> {
        let source = &self.read.rule.source;
        let templates = self.templates().into_iter().map(|(key, text)| {
            let sample = PathBuf::from(self.sample(&key, text));
            let file = if key[0] == "source" { sample.join("x") } else { sample };
            self.landing(&key, file)
        });
        let folder = |key, folder: &Option<PathBuf>| {
            folder.as_ref().map(|folder| self.landing(&["source", key], folder.join("x")))
        };
        let folders =
            [folder("claim_dir", &source.claim_dir), folder("quarantine_dir", &source.quarantine_dir)];
        templates.chain(folders.into_iter().flatten()).collect()
    }

    fn landing(&self, key: &[&str], file: PathBuf) -> Landing<'a> {
        let place = place_of(&self.read.node, key);
        Landing { place, key: key_path(&self.read.owner, &shown_key(key), place), file }
    }

    /// A template with a value for each variable.
    fn sample(&self, key: &[&str], text: &str) -> String {
        let mut sample = text.replace("{rule}", &self.read.rule.name);
        if key[0] == "output" {
            sample = sample.replace("{category}", key[1]);
        }
        for name in paths::variables(&sample.clone()) {
            sample = sample.replace(&format!("{{{name}}}"), "x");
        }
        sample
    }

    fn item_problem(&self, key: &str, position: usize, count: usize, verdict: Verdict) {
        let position = position.to_string();
        let mut path: Vec<&str> = key.split('.').collect();
        let array = path.iter().try_fold(&self.read.node, |node, key| node.child(key));
        // Items that could not be made absolute are not here: then the positions differ.
        if array.is_some_and(|node| matches!(&node.value, Value::Array(items) if items.len() == count)) {
            path.push(&position);
        }
        self.problem(&path, verdict);
    }

    fn problem(&self, key: &[&str], verdict: Verdict) {
        let place = place_of(&self.read.node, key);
        let path = key_path(&self.read.owner, &shown_key(key), place);
        self.report.add(place, path, verdict.message, verdict.hint);
    }
}

/// Whether a template uses a variable.
fn uses(template: &str, variable: &str) -> bool {
    paths::variables(template).contains(&variable)
}

/// A pattern in which a named wildcard would have nobody to tell its value to; `folder` stands for where it is matched.
fn without_names(judge: &dyn Judge, text: &str, folder: &Path) -> Result<Accepted, Verdict> {
    let whole = paths::absolute(text, folder, paths::Kind::Pattern)
        .map_err(|bad| verdict(bad.message.to_owned(), bad.hint))?;
    let accepted = judge.pattern(&whole)?;
    match accepted.names.first() {
        Some(name) => Err(verdict(format!("{{{name}}} cannot be used here"), "write `*` instead")),
        None => Ok(accepted),
    }
}

/// Somewhere that this program puts files.
struct Landing<'a> {
    place: &'a Place,
    key: String,
    file: PathBuf,
}

impl Landing<'_> {
    /// Refuses a folder that a pattern would pick up: what lands there would be taken again and again.
    fn refuse_loops(&self, rules: &[Judged<'_>], report: &Report) {
        let Some(folder) = self.file.parent() else { return };
        for rule in
            rules.iter().filter(|rule| !rule.excludes.iter().any(|exclude| (exclude.matches)(&self.file)))
        {
            let taking = rule.patterns.iter().find(|(_, pattern)| (pattern.could_match_in)(folder));
            if let Some((pattern, _)) = taking {
                let message = format!(
                    "{} is a folder that the pattern \"{pattern}\" of rule \"{}\" would pick files up from",
                    escaped_path(folder),
                    rule.read.rule.name,
                );
                let hint =
                    "put these files elsewhere, into a hidden folder, or exclude the folder in that rule";
                report.add(self.place, self.key.clone(), message, Some(hint.to_owned()));
                return;
            }
        }
    }
}

/// The place of a key, or of the innermost table on the way to it that is there.
pub(super) fn place_of<'a>(node: &'a Node, key: &[&str]) -> &'a Place {
    let mut node = node;
    for name in key {
        let inner = match &node.value {
            Value::Table(table) => table.get(*name),
            Value::Array(items) => name.parse::<usize>().ok().and_then(|position| items.get(position)),
            _ => None,
        };
        let Some(inner) = inner else { break };
        node = inner;
    }
    &node.place
}

/// `pipeline[0].columns.amount`.
pub(super) fn shown_key(key: &[&str]) -> String {
    let mut shown = String::new();
    for name in key {
        if name.parse::<usize>().is_ok() {
            shown.extend(["[", name, "]"]);
        } else {
            let separator = if shown.is_empty() { "" } else { "." };
            shown.extend([separator, name]);
        }
    }
    shown
}
