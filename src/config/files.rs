//! From files to [`Settings`]: the main file, the environment, the files of `rules_dir`, and every rule in its order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::at_rest;
use super::cluster;
use super::fit::{self, ReadRule};
use super::hook;
use super::layers::{self, Layers};
use super::overriding;
use super::pace;
use super::places::Places;
use super::problem::{Problem, Problems};
use super::raw::{self, Node, Origin, Value, Variables};
use super::report::Report;
use super::rule;
use super::rule_test::{self, RuleTest};
use super::section::Section;
use super::service::{self, RulesDir};
use super::texts::{Reader, Shelf, Texts, is_test_file};
use crate::durable_fs;
use crate::model::at_rest::AtRest;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Service, Settings};
use crate::pipeline::Registry;

/// The version of the TOML that this program reads.
const CONFIG_VERSION: i64 = 1;

/// What a configuration is made from.
pub(super) struct Inputs<'a> {
    /// The main file as the user named it.
    pub main: &'a Path,
    /// The environment.
    pub variables: &'a Variables,
    /// Where relative names of files start; absolute.
    pub working_folder: &'a Path,
    /// The steps that there are; none, where steps are not judged.
    pub registry: Option<&'a Registry>,
    /// Which files of tests are read too.
    pub test_files: TestFiles<'a>,
    /// Where all files are read from.
    pub shelf: Shelf<'a>,
}

/// Files that hold tests only.
#[derive(Clone, Copy)]
pub(super) enum TestFiles<'a> {
    /// None: the service has no use for them.
    None,
    /// Those beside the rules, and these.
    BesideAnd(&'a [PathBuf]),
}

/// What a configuration says.
#[derive(Debug)]
pub(super) struct Loaded {
    pub settings: Settings,
    pub tests: Vec<RuleTest>,
    pub places: Places,
}

/// What was read, right or wrong.
#[derive(Debug)]
pub(super) struct Read {
    pub loaded: Result<Loaded, Problems>,
    /// The main file, absolute.
    pub main: PathBuf,
    /// Where further rules lie, as far as it can be told.
    pub rules_dir: Option<PathBuf>,
    /// `service.data_dir`, as far as it can be told.
    pub data_dir: Option<PathBuf>,
    /// `service.at_rest`, as it is written.
    pub at_rest: AtRest,
    pub texts: Texts,
}

/// Which service a configuration means, as far as that can be told.
#[derive(Debug)]
pub(crate) struct ServiceSaid {
    /// The main file, absolute.
    pub main: PathBuf,
    /// Where nothing is said, the default.
    pub data_dir: PathBuf,
    /// The environment says where it is: then it is not meant to be elsewhere.
    pub by_environment: bool,
    /// The main file's text; none where it cannot be read.
    pub text: Option<Vec<u8>>,
}

/// A file that was read.
struct File {
    root: Node,
    /// There is not a byte in it.
    is_empty: bool,
    /// It could not be parsed to its end: what is missing in it may stand behind the error.
    broken: bool,
}

/// Reads and checks everything.
pub(super) fn read(inputs: &Inputs<'_>) -> Read {
    let main = absolute_file(inputs.main, inputs.working_folder);
    let disk = Reader::new(inputs.shelf);
    let (mut rules_dir, mut data_dir, mut at_rest) = (None, None, AtRest::default());
    let loaded = load_from(inputs, &main, &disk, |folder, service| {
        rules_dir = Some(folder.absolute.clone());
        data_dir = Some(service.data_dir.clone());
        at_rest = service.at_rest.clone();
    });
    Read { loaded, main, rules_dir, data_dir, at_rest, texts: disk.into_texts() }
}

/// What the main file and the environment say of `[service]`, as far as it can be told; nothing is judged, and no other file is read.
pub(super) fn read_service(inputs: &Inputs<'_>) -> ServiceSaid {
    let main = absolute_file(inputs.main, inputs.working_folder);
    let (disk, unheard) = (Reader::new(inputs.shelf), Report::default());
    let nothing = || raw::parse("", &Origin::file(inputs.main, &main)).root;
    let root = read_file(&disk, inputs.main, &main, &unheard).map_or_else(nothing, |file| file.root);
    let layers = layers::merge(&root, inputs.variables, inputs.working_folder, &unheard);
    let section = Section::new(&layers.service, "service", true, &unheard);
    let data_dir = service::read(&section, inputs.variables).data_dir;
    let by_environment = layers.service.child("data_dir").is_some_and(|node| node.place.in_environment());
    let text = disk.into_texts().remove(&main);
    ServiceSaid { main, data_dir, by_environment, text }
}

/// `told` is told what `[service]` says, also where it is wrong.
fn load_from(
    inputs: &Inputs<'_>,
    absolute: &Path,
    disk: &Reader<'_>,
    told: impl FnOnce(&RulesDir, &Service),
) -> Result<Loaded, Problems> {
    let report = Report::default();
    let Some(main) = read_file(disk, inputs.main, absolute, &report) else {
        return report.into_result(None);
    };
    let layers = layers::merge(&main.root, inputs.variables, inputs.working_folder, &report);
    // What follows a syntax error is a best effort: used to find the other files, not to be judged.
    let unheard = Report::default();
    let heard = if main.broken { &unheard } else { &report };
    let section = Section::new(&layers.service, "service", main.broken, heard);
    let rules_dir = service::rules_dir(&section, inputs.main, absolute.parent().unwrap_or(Path::new("")));
    let mut service = service::read(&section, inputs.variables);
    told(&rules_dir, &service);
    let mut nodes = read_top(&main, true, heard);
    check_defaults(&layers, &service, heard);
    nodes.retain(|_| !main.broken);
    for file in read_rules_dir(disk, &rules_dir, &layers.service, &report) {
        nodes.extend(read_top(&file, false, &report));
    }
    let mut rules = read_rules(&nodes, &layers, &service, main.broken, &report);
    at_rest::settle(&mut service.at_rest, &mut rules, &section);
    cluster::check(&section, &service, &rules);
    pace::join_throttles(&mut rules, &pace::read_throttles(&main.root, main.broken, heard), heard);
    let names = rules.iter().map(|read| read.rule.name.as_str()).collect();
    let hooks = hook::read(&main.root, main.broken, &names, heard);
    if !main.broken {
        fit::judge(&rules, &service, &layers.service, inputs.registry, &report);
    }
    let mut tests: Vec<RuleTest> = rules.iter().flat_map(|read| read.tests.clone()).collect();
    if let (TestFiles::BesideAnd(named), false) = (inputs.test_files, main.broken) {
        for (shown, file) in test_files(disk, inputs, absolute, &rules_dir, named) {
            let Some(file) = read_file(disk, &shown, &file, &report).filter(|file| !file.broken) else {
                continue;
            };
            let known: Vec<_> = rules.iter().map(|read| &read.rule).collect();
            tests.extend(rule_test::read_file(&Section::new(&file.root, "", false, &report), &known));
        }
    }
    let (rules, nodes) = rules.into_iter().map(|read| (read.rule, (read.owner, read.node))).unzip();
    let settings = Settings { service, hooks, rules, file: absolute.to_owned() };
    let hooks = match main.root.child("hook").map(|node| &node.value) {
        Some(Value::Array(hooks)) => hooks.clone(),
        _ => Vec::new(),
    };
    let places = Places { service: layers.service, rules: nodes, hooks };
    report.into_result(Some(Loaded { settings, tests, places }))
}

/// The files of tests beside the main file, in `rules_dir`, and those that were named: as they are shown, and absolute.
fn test_files(
    disk: &Reader<'_>,
    inputs: &Inputs<'_>,
    main: &Path,
    rules_dir: &RulesDir,
    named: &[PathBuf],
) -> Vec<(PathBuf, PathBuf)> {
    let beside = [
        (inputs.main.parent().unwrap_or(Path::new("")), main.parent().unwrap_or(Path::new(""))),
        (rules_dir.shown.as_path(), rules_dir.absolute.as_path()),
    ];
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (shown, folder) in beside {
        // A folder of rules that cannot be listed is told where the rules are read.
        for name in disk.names(folder, is_test_file).unwrap_or_default() {
            let absolute = folder.join(&name);
            if !files.iter().any(|(_, known)| *known == absolute) {
                files.push((shown.join(&name), absolute));
            }
        }
    }
    for file in named.iter().filter(|file| is_test_file(file)) {
        let absolute = absolute_file(file, inputs.working_folder);
        if !files.iter().any(|(_, known)| *known == absolute) {
            files.push((file.clone(), absolute));
        }
    }
    files
}

/// The file without `..`, which patterns made from its folder could never match.
fn absolute_file(main: &Path, working_folder: &Path) -> PathBuf {
    let joined = working_folder.join(main);
    let absolute = std::path::absolute(&joined).unwrap_or(joined);
    let steps_up = absolute.components().any(|part| part == std::path::Component::ParentDir);
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) if steps_up => {
            // Behind a link, `..` is known to the file system only. A folder that is not there is told on reading.
            folder.canonicalize().map_or_else(|_| absolute.clone(), |folder| folder.join(name))
        }
        _ => absolute,
    }
}

fn read_file(disk: &Reader<'_>, shown: &Path, absolute: &Path, report: &Report) -> Option<File> {
    let whole = |line, message: String, hint: &str| {
        let file = Some(shown.to_path_buf());
        let hint = Some(hint.to_owned());
        report.add_problem(Problem { file, line, message, hint, ..Problem::default() });
    };
    let bytes = match disk.read(absolute) {
        Ok(bytes) => bytes,
        Err(error) => {
            whole(None, format!("this file cannot be read: {error}"), "check its name and permissions");
            return None;
        }
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = 1 + memchr::memchr_iter(b'\n', valid).count();
            whole(Some(line), "this is not UTF-8".into(), "save the file as UTF-8");
            return None;
        }
    };
    let parsed = raw::parse(&text, &Origin::file(shown, absolute));
    let broken = parsed.error.is_some();
    if let Some(error) = parsed.error {
        let line = text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default();
        report.add_problem(Problem {
            file: Some(shown.to_path_buf()),
            line: Some(error.line),
            column: Some(error.column),
            message: format!("this is not TOML: {}", error.message),
            hint: Some(syntax_hint(line).to_owned()),
            excerpt: Some(excerpt(line, error.line, error.column)),
            ..Problem::default()
        });
    }
    Some(File { root: parsed.root, is_empty: text.is_empty(), broken })
}

/// A line with a caret below a column; of a long line what stands around it.
fn excerpt(line: &str, number: usize, column: usize) -> String {
    const BEFORE: usize = 60;
    const SHOWN: usize = 100;
    let skipped = column.saturating_sub(BEFORE + 1);
    // A tab has no width that the caret could be set by, and a control character would reach the terminal.
    let part: String =
        line.chars().skip(skipped).take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let number = number.to_string();
    let caret = " ".repeat(column.saturating_sub(1 + skipped));
    format!("    {number} | {}\n    {} | {caret}^", part.trim_end(), " ".repeat(number.len()))
}

/// `\` in double quotes begins an escape: the usual error in paths of Windows.
fn syntax_hint(line: &str) -> &'static str {
    if line.contains('"') && line.contains('\\') {
        "write paths of Windows in single quotes, like 'C:\\in\\*.csv'; the rest of the file is checked then"
    } else {
        "mend it; the rest of the file is checked then"
    }
}

/// Reads what stands at the top of a file and gives back its rules.
fn read_top(file: &File, is_main: bool, report: &Report) -> Vec<Node> {
    let top = Section::new(&file.root, "", file.broken, report);
    check_version(&top, is_main);
    let known: &[&'static str] = &["service", "defaults", "throttle", "hook"];
    if is_main {
        for key in known {
            top.get(key);
        }
    } else {
        top.refuse(known, "a file of `rules_dir` holds only [[rule]]s", "move this to the main file");
    }
    let rules = match top.get("rule").map(|node| &node.value) {
        Some(Value::Array(rules)) => rules.clone(),
        Some(_) => {
            top.problem("rule", "a rule is one of several", Some("write [[rule]], with two brackets".into()));
            Vec::new()
        }
        None => Vec::new(),
    };
    top.finish(&[]);
    rules
}

fn check_version(top: &Section<'_>, is_main: bool) {
    if is_main {
        top.missing(
            "config_version",
            "the version of the configuration",
            "begin the file with `config_version = 1`",
        );
    }
    match top.get("config_version").map(|node| &node.value) {
        None | Some(Value::Integer(CONFIG_VERSION)) => {}
        Some(Value::Integer(other)) => {
            let hint = format!("this landfall reads `config_version = {CONFIG_VERSION}`");
            top.problem("config_version", format!("version {other} is not understood"), Some(hint));
        }
        Some(other) => {
            let message = format!("this is {}, not an integer", other.type_name());
            top.problem("config_version", message, Some("write `config_version = 1`".into()));
        }
    }
}

/// Reads `[defaults]` for itself, so that what no rule inherits is judged too.
fn check_defaults(layers: &Layers, service: &Service, report: &Report) {
    rule::read(&layers.defaults, "defaults", true, service, report);
}

/// Every `*.toml` of the folder, by file name; but tests, which `landfall test` reads.
fn read_rules_dir(
    disk: &Reader<'_>,
    rules_dir: &RulesDir,
    service_node: &Node,
    report: &Report,
) -> Vec<File> {
    let names = match disk.names(&rules_dir.absolute, |name| !is_test_file(name)) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !rules_dir.asked_for => Vec::new(),
        Err(error) => {
            let place = service_node.child("rules_dir").map_or(&service_node.place, |node| &node.place);
            let message = format!("{} cannot be listed: {error}", escaped_path(&rules_dir.absolute));
            let hint = durable_fs::hint_if_confined(&error).unwrap_or("make the folder, or take the key out");
            let hint = hint.to_owned();
            report.add(place, "service.rules_dir".into(), message, Some(hint));
            Vec::new()
        }
    };
    let files = names.iter().filter_map(|name| {
        let shown = rules_dir.shown.join(name);
        let file = read_file(disk, &shown, &rules_dir.absolute.join(name), report)?;
        if file.is_empty {
            refuse_empty(shown, report);
        }
        (!file.broken && !file.is_empty).then_some(file)
    });
    files.collect()
}

/// So a file lies there whose save found no room on the disk: its rules are not gone because of that.
fn refuse_empty(shown: PathBuf, report: &Report) {
    report.add_problem(Problem {
        file: Some(shown),
        message: "this file is empty: its last save may have failed".to_owned(),
        hint: Some("write its rules again; where none are meant, remove it".to_owned()),
        ..Problem::default()
    });
}

fn read_rules(
    nodes: &[Node],
    layers: &Layers,
    service: &Service,
    partial: bool,
    report: &Report,
) -> Vec<ReadRule> {
    let mut named: BTreeMap<&str, &Node> = BTreeMap::new();
    let mut rules = Vec::new();
    for (position, own) in nodes.iter().enumerate() {
        let name = own
            .child("name")
            .and_then(|node| if let Value::Text(name) = &node.value { Some(name) } else { None });
        let owner = name.map_or_else(|| format!("rule {}", position + 1), |name| format!("rule \"{name}\""));
        if let Some(name) = name {
            match named.get(name.as_str()) {
                Some(first) => report_twice(own, first, &owner, report),
                None => drop(named.insert(name, own)),
            }
        }
        let node = layers::inherit(own, &layers.defaults);
        let rule = rule::read(&node, &owner, partial, service, report);
        let mut base = ReadRule { node, owner, rule, tests: Vec::new(), position: None };
        let overrides = overriding::read(&base, partial, service, report);
        let of_name: Vec<_> = overrides.iter().chain([&base]).map(|read| &read.rule).collect();
        base.tests = rule_test::read_own(own, &base.owner, &of_name, report);
        rules.extend(overrides);
        rules.push(base);
    }
    rules
}

/// Both places of a name that two rules have.
fn report_twice(second: &Node, first: &Node, owner: &str, report: &Report) {
    let place = second.child("name").map_or(&second.place, |node| &node.place);
    let other = first.child("name").map_or(&first.place, |node| &node.place);
    let shown = match &other.origin {
        Origin::File { shown, .. } => escaped_path(shown),
        Origin::Environment { variable, .. } => variable.to_string(),
    };
    let message = format!("another rule has this name already, at {shown}:{}", other.line);
    report.add(place, format!("{owner}: name"), message, Some("give each rule its own name".into()));
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_of_windows_in_double_quotes_is_told_how_to_write_it() {
        assert!(super::syntax_hint(r#"paths = ["C:\in\*.csv"]"#).contains("single quotes"));
        assert!(!super::syntax_hint("paths = [").contains("single quotes"));
    }
}
