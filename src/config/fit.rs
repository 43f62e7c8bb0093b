//! Whether the parts of the rules fit together: patterns, templates, steps, and folders that would feed themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::delivery;
use super::paths::{self, is_separator};
use super::problem::{Problem, did_you_mean};
use super::raw::{Node, Place, Value};
use super::report::Report;
use super::rule_test::RuleTest;
use super::section::key_path;
use crate::model::category::Category;
use crate::model::fault::Fault as _;
use crate::model::job_id::JobId;
use crate::model::mistake::Mistake;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::pattern::{Pattern, PatternTree};
use crate::model::rule::{Rule, Service};
use crate::model::template::{Outline, Template, Variables, fixed_folder, variables};
use crate::output::OutputPlan;
use crate::pipeline::{Pipeline, Registry};

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
    /// Which override of its rule makes it.
    pub position: Option<usize>,
}

impl ReadRule {
    /// What the paths of this one's keys begin with.
    fn begins(&self, path: &str) -> String {
        let owner = &self.owner;
        self.position
            .map_or_else(|| format!("{owner}: {path}"), |at| format!("{owner}: override[{}].{path}", at + 1))
    }
}

/// Judges every rule and how they fit together; without a registry nobody judges steps.
pub(super) fn judge(
    rules: &[ReadRule],
    service: &Service,
    service_node: &Node,
    registry: Option<&Registry>,
    report: &Report,
) {
    let judged = judge_each(rules, report);
    // What is wrong with a rule itself is known when it is judged as its overrides make it.
    let (bases, overrides): (Vec<_>, Vec<_>) = judged.iter().partition(|judged| judged.read.rule.is_base());
    for rule in bases.into_iter().chain(overrides) {
        rule.check_templates();
        rule.check_delivery();
        rule.check_key_files();
        rule.check_outputs_differ();
        rule.check_mount();
        rule.check_recipients();
        rule.check_pipeline(registry);
    }
    let working = Landing {
        place: place_of(service_node, &["data_dir"]),
        key: "service.data_dir".into(),
        file: service.data_dir.join("store"),
    };
    let landings = judged.iter().flat_map(Judged::landings).chain([working]);
    let watched = Watched::new(&judged);
    for landing in landings {
        landing.refuse_loops(&watched, report);
    }
}

/// A rule with what its patterns say.
struct Judged<'a> {
    read: &'a ReadRule,
    names: Rc<Names>,
    report: &'a Report,
}

/// What a rule and its overrides have in common.
#[derive(Default)]
struct Names {
    /// Exclusions of whole paths.
    excludes: Vec<Pattern>,
    /// Named wildcards of any pattern.
    named: BTreeSet<String>,
    /// Those of every pattern: the only ones that always have a value.
    always: BTreeSet<String>,
}

/// The rules in their order. An override stands before its rule, and has its names.
fn judge_each<'a>(rules: &'a [ReadRule], report: &'a Report) -> Vec<Judged<'a>> {
    let mut names = Rc::new(Names::default());
    let mut judged: Vec<_> = Vec::with_capacity(rules.len());
    for read in rules.iter().rev() {
        let mut rule = Judged { read, names: Rc::clone(&names), report };
        if read.rule.is_base() {
            rule.judge_patterns();
            names = Rc::new(rule.judged_names());
            rule.names = Rc::clone(&names);
        }
        rule.judge_entries();
        judged.push(rule);
    }
    judged.reverse();
    judged
}

impl<'a> Judged<'a> {
    fn judge_patterns(&self) {
        let paths = &self.read.rule.paths;
        for (position, judged) in paths.judged().iter().enumerate() {
            if let Err(mistake) = judged {
                self.item_problem("paths", position, paths.len(), mistake.clone());
            }
        }
    }

    fn judged_names(&self) -> Names {
        let names = |pattern: &Pattern| pattern.names().iter().cloned().collect::<BTreeSet<String>>();
        let sets = self.read.rule.paths.good().map(names);
        Names {
            excludes: self.judged_excludes(),
            named: self.read.rule.paths.names(),
            always: sets.reduce(|all, set| &all & &set).unwrap_or_default(),
        }
    }

    fn judged_excludes(&self) -> Vec<Pattern> {
        let excludes = &self.read.rule.exclude;
        let mut good = Vec::new();
        for (position, text) in excludes.iter().enumerate() {
            let by_name = !text.contains(is_separator);
            match without_names(text, &self.read.rule.base_dir) {
                Ok(_) if by_name => {}
                Ok(accepted) => good.push(accepted),
                Err(mistake) => self.item_problem("exclude", position, excludes.len(), mistake),
            }
        }
        good
    }

    fn judge_entries(&self) {
        let entries = &self.read.rule.decode.entries;
        for (position, text) in entries.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            if let Err(mistake) = without_names(text, &self.read.rule.base_dir) {
                self.item_problem("decode.entries", position, entries.len(), mistake);
            }
        }
    }

    /// Every template of the rule with its key.
    fn templates(&self) -> Vec<(Vec<&str>, &str)> {
        let rule = &self.read.rule;
        let outputs = rule
            .outputs
            .iter()
            .filter(|(_, output)| !output.is_in_store) // that path is ours
            .map(|(category, output)| (vec!["output", category.as_str(), "path"], output.path.as_str()));
        let one = |table, key, text: &'a Option<String>| text.as_deref().map(|text| (vec![table, key], text));
        let others = [
            one("publish", "marker", &rule.publish.marker),
            one("publish", "manifest", &rule.publish.manifest),
            one("source", "archive_dir", &rule.source.archive_dir),
        ];
        outputs.chain(others.into_iter().flatten()).filter(|(_, text)| !text.is_empty()).collect()
    }

    fn check_templates(&self) {
        for (key, text) in self.templates() {
            if let Err(mistake) = Template::parse(text, &self.names.named) {
                self.problem(&key, mistake);
                continue;
            }
            self.check_always_known(&key, text);
            let used = variables(text);
            if let Some(name) =
                OUTPUT_ONLY.iter().find(|name| key[0] != "output" && used.iter().any(|used| used == *name))
            {
                self.problem(
                    &key,
                    Mistake::new(format!("{{{name}}} is only known in an output's path"), "take it out"),
                );
            }
        }
    }

    /// A named wildcard that one of the patterns lacks would have no value for its files.
    fn check_always_known(&self, key: &[&str], text: &str) {
        let used = variables(text);
        if let Some(name) =
            used.iter().find(|name| self.names.named.contains(*name) && !self.names.always.contains(*name))
        {
            let message = format!("{{{name}}} is not in every pattern of the rule");
            self.problem(key, Mistake::new(message, "name it in each of `paths`, or make two rules"));
        }
    }

    /// What the key and `{revision}` can mean.
    fn check_delivery(&self) {
        let key = self.read.rule.delivery.as_ref().and_then(|delivery| delivery.key.as_deref());
        for (place, text) in self.templates().into_iter().filter(|(_, text)| uses(text, "revision")) {
            if let Some(mistake) = delivery::misplaced_revision(key.is_some(), place[0], text) {
                self.problem(&place, mistake);
            }
        }
        let Some(key) = key else { return };
        let place = ["delivery", "key"];
        if let Err(mistake) = Template::parse(key, &self.names.named) {
            return self.problem(&place, mistake);
        }
        self.check_always_known(&place, key);
        if let Some(mistake) = delivery::bad_key(key) {
            self.problem(&place, mistake);
        }
    }

    /// Identity, signer and passphrase files know the named wildcards and nothing else.
    fn check_key_files(&self) {
        let decode = &self.read.rule.decode;
        let positions: Vec<String> = (0..decode.identities.len()).map(|i| i.to_string()).collect();
        let identities = decode.identities.iter().zip(&positions);
        let identities =
            identities.map(|(text, position)| (vec!["decode", "identities", position.as_str()], text));
        let passphrase = decode.passphrase_file.iter().map(|text| (vec!["decode", "passphrase_file"], text));
        let signer_positions: Vec<String> = (0..decode.signers.len()).map(|i| i.to_string()).collect();
        let signers = decode.signers.iter().zip(&signer_positions);
        let signers = signers.map(|(text, position)| (vec!["decode", "signers", position.as_str()], text));
        for (key, text) in identities.chain(signers).chain(passphrase) {
            let unknown = variables(text).into_iter().find(|name| !self.names.named.contains(name));
            if let Some(unknown) = unknown {
                let hint = did_you_mean(&unknown, self.names.named.iter().map(String::as_str))
                    .unwrap_or_else(|| "only the rule's named wildcards are known here".into());
                self.problem(&key, Mistake::new(format!("unknown variable {{{unknown}}}"), hint));
            } else if let Err(mistake) = Template::parse(text, &self.names.named) {
                self.problem(&key, mistake);
            } else {
                self.check_always_known(&key, text);
            }
        }
    }

    /// Two outputs of one job that meet in one path are an error of every job: told before the first.
    fn check_outputs_differ(&self) {
        let mut first: Vec<(Outline, String)> = Vec::new();
        for (key, text) in self.templates().into_iter().filter(|(key, _)| key[0] != "source") {
            let Ok(outline) = Outline::parse(text) else { continue };
            let outline = if key[0] == "output" { outline.with("category", key[1]) } else { outline };
            if let Some((_, other)) = first.iter().find(|(first, _)| *first == outline) {
                let message = format!("this is the path of {other} too");
                self.problem(
                    &key,
                    Mistake::new(message, "give each its own path, with {category} for instance"),
                );
            } else {
                first.push((outline, key.join(".")));
            }
        }
    }

    /// What is published beside the mount would not be on the file system that is asked for.
    fn check_mount(&self) {
        let Some(mount) = &self.read.rule.publish.mount else { return };
        for (key, text) in self.templates().into_iter().filter(|(key, _)| key[0] != "source") {
            if !fixed_folder(text).starts_with(mount) {
                let message = format!("this does not lie in `publish.mount` = {}", escaped_path(mount));
                let hint = "put all outputs, marker and manifest below the mount, or make two rules";
                self.problem(&key, Mistake::new(message, hint));
            }
        }
    }

    /// Judges keys whose look is right; what is wrong with an output already may be why it is refused.
    fn check_recipients(&self) {
        let rule = &self.read.rule;
        for (category, _) in rule.outputs.iter().filter(|(_, output)| !output.recipients.is_empty()) {
            let path = format!("output.{category}");
            let is_known = ["defaults.", &format!("{}: ", self.read.owner), &self.read.begins("")]
                .iter()
                .any(|owner| self.report.has_any(&format!("{owner}{path}.")));
            let mut alone = rule.clone();
            alone.outputs.retain(|name, _| name == category);
            // A file of recipients belongs to the machine that runs the rule: it need not be here.
            alone.outputs.values_mut().for_each(|output| output.recipients_file = None);
            if let Err(error) = OutputPlan::build(&alone, std::slice::from_ref(category))
                && !is_known
            {
                let mistake = Mistake { message: error.to_string(), hint: error.hint() };
                self.problem(&["output", category.as_str(), "recipients"], mistake);
            }
        }
    }

    /// The steps judge their parameters, unless their tables are already known to be wrong.
    fn check_pipeline(&self, registry: Option<&Registry>) {
        if self.report.has_any(&format!("{}: pipeline", self.read.owner))
            || self.report.has_any(&self.read.begins("pipeline"))
            || self.report.has_any("defaults.pipeline")
        {
            return;
        }
        let mut lacking = BTreeSet::new();
        let problems = registry.and_then(|registry| Pipeline::build(&self.read.rule, registry).err());
        for problem in problems.unwrap_or_default() {
            // One output is lacking, however many steps send records to it.
            if problem.message.starts_with("category `") && !lacking.insert(problem.message.clone()) {
                continue;
            }
            let key: Vec<&str> = problem.key.iter().map(String::as_str).collect();
            self.problem(&key, Mistake { message: problem.message, hint: problem.hint });
        }
    }

    /// Where files of this rule land, each by a sample.
    fn landings(&self) -> Vec<Landing<'a>> {
        let source = &self.read.rule.source;
        let templates = self.templates().into_iter().filter_map(|(key, text)| {
            let sample = self.sample(&key, text)?;
            let file = if key[0] == "source" { sample.join("x") } else { sample };
            Some(self.landing(&key, file))
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

    /// A path that a template gives, where it gives one.
    fn sample(&self, key: &[&str], text: &str) -> Option<PathBuf> {
        let vars = self.names.named.iter().map(|name| (name.clone(), "x".into())).collect();
        let category = (key[0] == "output").then(|| Category::new(key[1]));
        let variables = Variables {
            rule: &self.read.rule.name,
            source: Path::new("x/x/x.x"),
            claimed_at: jiff::Timestamp::UNIX_EPOCH,
            timezone: "UTC",
            job: JobId::from_parts(0, 0),
            category: category.as_ref(),
            entry: Some(&OsText::from("x.x")),
            revision: 1,
            vars: &vars,
        };
        Template::parse(text, &self.names.named).ok()?.render(&variables).ok()
    }

    fn item_problem(&self, key: &str, position: usize, count: usize, mistake: Mistake) {
        let position = position.to_string();
        let mut path: Vec<&str> = key.split('.').collect();
        let array = path.iter().try_fold(&self.read.node, |node, key| node.child(key));
        // Items that could not be made absolute are not here: then the positions differ.
        if array.is_some_and(|node| matches!(&node.value, Value::Array(items) if items.len() == count)) {
            path.push(&position);
        }
        self.problem(&path, mistake);
    }

    fn problem(&self, key: &[&str], mistake: Mistake) {
        let place = place_of(&self.read.node, key);
        let path = key_path(&self.read.owner, &shown_key(key), place);
        let problem = Problem::at(place, path, mistake.message, mistake.hint);
        match &self.read.rule.overriding {
            Some(overriding) => self.report.add_overridden(problem, overriding),
            None => self.report.add_problem(problem),
        }
    }
}

/// Whether a template uses a variable.
fn uses(template: &str, variable: &str) -> bool {
    variables(template).iter().any(|used| used == variable)
}

/// A pattern in which a named wildcard would have nobody to tell its value to; `folder` stands for where it is matched.
fn without_names(text: &str, folder: &Path) -> Result<Pattern, Mistake> {
    let whole = paths::absolute(text, folder, paths::Kind::Pattern)
        .map_err(|bad| Mistake::new(bad.message, bad.hint))?;
    let accepted = Pattern::parse(&whole)?;
    match accepted.names().first() {
        Some(name) => Err(Mistake::new(format!("{{{name}}} cannot be used here"), "write `*` instead")),
        None => Ok(accepted),
    }
}

/// Somewhere that this program puts files.
struct Landing<'a> {
    place: &'a Place,
    key: String,
    file: PathBuf,
}

/// Which rules look into a folder, by their patterns or by links; those of overrides are their rules'.
struct Watched<'a> {
    rules: Vec<&'a Judged<'a>>,
    /// By where the patterns end: the rule, and which of its patterns.
    tree: PatternTree<Vec<(usize, usize)>>,
    /// By the folders that links are followed in.
    followed: HashMap<&'a Path, BTreeSet<usize>>,
}

impl<'a> Watched<'a> {
    fn new(judged: &'a [Judged<'a>]) -> Self {
        let rules: Vec<_> = judged.iter().filter(|judged| judged.read.rule.is_base()).collect();
        let mut tree = PatternTree::<Vec<(usize, usize)>>::new();
        for (at, rule) in rules.iter().enumerate() {
            for (number, pattern) in rule.read.rule.paths.judged().iter().enumerate() {
                let way = pattern.as_ref().map(|pattern| tree.insert(pattern)).unwrap_or_default();
                if let Some(ending) = way.last().and_then(|node| tree.value_mut(*node)) {
                    ending.push((at, number));
                }
            }
        }
        let mut followed = HashMap::<&Path, BTreeSet<usize>>::new();
        let mut base = 0;
        for judged in judged {
            let patterns = judged.read.rule.paths.good().filter(|_| judged.read.rule.follow_links);
            for pattern in patterns {
                followed.entry(pattern.fixed_folder()).or_default().insert(base);
            }
            base += usize::from(judged.read.rule.is_base()); // its overrides stand before it
        }
        Self { rules, tree, followed }
    }

    /// The first rule that would take this file in this folder by a pattern, with the first such pattern.
    fn taking(&self, folder: &Path, file: &Path) -> Option<(usize, &'a str)> {
        let nodes = self.tree.nodes_of(folder);
        let mut near = BTreeMap::<usize, usize>::new();
        for (at, number) in nodes.iter().filter_map(|node| self.tree.value(*node)).flatten() {
            near.entry(*at).and_modify(|first| *first = (*first).min(*number)).or_insert(*number);
        }
        let (at, number) = near.into_iter().find(|(at, _)| !self.excludes(*at, file))?;
        Some((at, self.rules.get(at)?.read.rule.paths.get(number)?.as_str()))
    }

    /// The first rule that a link could lead to this file, with the folder in which it follows links. None leads into a hidden folder.
    fn led_into<'f>(&self, folder: &'f Path, file: &Path) -> Option<(usize, &'f Path)> {
        let is_hidden =
            |folder: &Path| folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let hidden = folder.ancestors().position(is_hidden);
        let open = folder.ancestors().take(hidden.map_or(usize::MAX, |at| at + 1));
        let following =
            open.flat_map(|at| self.followed.get(at).into_iter().flatten().map(move |rule| (*rule, at)));
        following.filter(|(rule, _)| !self.excludes(*rule, file)).min_by_key(|(rule, _)| *rule)
    }

    fn excludes(&self, rule: usize, file: &Path) -> bool {
        let excludes = self.rules.get(rule).map(|rule| &rule.names.excludes);
        excludes.into_iter().flatten().any(|exclude| exclude.matches(file).is_some())
    }

    fn name(&self, rule: usize) -> &str {
        self.rules.get(rule).map_or("", |rule| &rule.read.rule.name)
    }
}

impl Landing<'_> {
    /// Refuses a folder that a pattern would pick up: what lands there would be taken again and again.
    fn refuse_loops(&self, watched: &Watched<'_>, report: &Report) {
        let Some(folder) = self.file.parent() else { return };
        let taking = watched.taking(folder, &self.file);
        let led =
            watched.led_into(folder, &self.file).filter(|(rule, _)| taking.is_none_or(|(at, _)| *rule < at));
        let shown = escaped_path(folder);
        let (message, hint) = match (led, taking) {
            (Some((rule, within)), _) => (
                format!(
                    "{shown} lies in {}, where rule \"{}\" follows links (`follow_links`): one could lead to these files",
                    escaped_path(within),
                    watched.name(rule),
                ),
                "put these files elsewhere, or into a hidden folder, which no link is followed into",
            ),
            (None, Some((rule, pattern))) => (
                format!(
                    "{shown} is a folder that the pattern \"{pattern}\" of rule \"{}\" would pick files up from",
                    watched.name(rule)
                ),
                "put these files elsewhere, into a hidden folder, or exclude the folder in that rule",
            ),
            (None, None) => return,
        };
        report.add(self.place, self.key.clone(), message, Some(hint.to_owned()));
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

/// `pipeline[1].columns.amount`: who reads the file counts from 1.
pub(super) fn shown_key(key: &[&str]) -> String {
    let mut shown = String::new();
    for name in key {
        if let Ok(position) = name.parse::<usize>() {
            shown.extend(["[", &(position + 1).to_string(), "]"]);
        } else {
            let separator = if shown.is_empty() { "" } else { "." };
            shown.extend([separator, name]);
        }
    }
    shown
}
