//! Which layer says what: the main file's `[service]` and `[defaults]`, then the environment.
//!
//! The `config` crate merges; it knows no positions, so the leaves that it moves are handles to our own nodes.

use std::path::Path;
use std::sync::Arc;

use config::{Config, ConfigError, Environment, Map, Source, ValueKind};

use super::problem::{Problem, did_you_mean, nearest};
use super::raw::{Layer, Node, Origin, Place, Table, Value, Variables};
use super::report::Report;
use super::section::structured;
use super::service;

/// The tables that layers are merged for.
const LAYERED: [&str; 2] = ["service", "defaults"];
const PREFIX: &str = "LANDFALL_";
const STEP: &str = "__";

/// The two layered tables, whole.
#[derive(Debug)]
pub(super) struct Layers {
    pub service: Node,
    pub defaults: Node,
}

/// Merges the main file's tables and the environment; what the environment says wrongly is reported.
pub(super) fn merge(main: &Node, variables: &Variables, working_folder: &Path, report: &Report) -> Layers {
    let mut leaves = Leaves::default();
    let file = FileLayer(leaves.layered_tables(main));
    let ours = judge_names(variables, report);
    let environment = Environment::with_prefix("LANDFALL")
        .prefix_separator("_")
        .separator(STEP)
        .source(Some(ours.clone().into_iter().collect()));
    let merged = Config::builder().add_source(file).add_source(environment).build();
    let whole = match merged {
        Ok(merged) => merged.cache,
        Err(error) => {
            report.add(&main.place, String::new(), format!("the layers cannot be merged: {error}"), None);
            config::Value::from(Map::<String, config::Value>::new())
        }
    };
    let back = Back { leaves, variables: &ours, working_folder };
    let mut tables = back.table(whole, "", Some(main));
    let mut take = |key: &str| {
        let mut node = tables.remove(key).unwrap_or_else(|| empty_table(&main.place));
        node.mark(&|_| if key == "defaults" { Layer::Defaults } else { Layer::Own });
        node
    };
    Layers { service: take("service"), defaults: take("defaults") }
}

fn empty_table(place: &Place) -> Node {
    Node { value: Value::Table(Table::new()), place: place.clone() }
}

/// The file's tables as the `config` crate takes them.
#[derive(Clone, Debug)]
struct FileLayer(Map<String, config::Value>);

impl Source for FileLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, config::Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// Values that only pass through the merge, by their handle.
#[derive(Debug, Default)]
struct Leaves(Vec<Node>);

impl Leaves {
    fn layered_tables(&mut self, main: &Node) -> Map<String, config::Value> {
        let Value::Table(root) = &main.value else { return Map::new() };
        let layered = root.iter().filter(|(key, _)| LAYERED.contains(&key.as_str()));
        layered.map(|(key, node)| (key.clone(), self.handle(node))).collect()
    }

    fn handle(&mut self, node: &Node) -> config::Value {
        let kind = if let Value::Table(table) = &node.value {
            ValueKind::Table(table.iter().map(|(key, node)| (key.clone(), self.handle(node))).collect())
        } else {
            self.0.push(node.clone());
            ValueKind::U64(self.0.len() as u64 - 1)
        };
        config::Value::new(None, kind)
    }
}

/// From merged values back to nodes.
struct Back<'a> {
    leaves: Leaves,
    variables: &'a Variables,
    working_folder: &'a Path,
}

impl Back<'_> {
    fn table(&self, value: config::Value, path: &str, written: Option<&Node>) -> Table {
        let ValueKind::Table(entries) = value.kind else { return Table::new() };
        let entry = |(key, value): (String, config::Value)| {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let written = written.and_then(|node| node.child(&key));
            Some((key, self.node(value, &inner, written)?))
        };
        entries.into_iter().filter_map(entry).collect()
    }

    fn node(&self, value: config::Value, path: &str, written: Option<&Node>) -> Option<Node> {
        match value.kind {
            ValueKind::U64(handle) => self.leaves.0.get(handle as usize).cloned(),
            ValueKind::String(text) => self.variable_node(text, path),
            ValueKind::Table(_) => {
                let table = self.table(value, path, written);
                let place = written.or_else(|| table.values().next()).map(|node| node.place.clone());
                Some(Node { value: Value::Table(table), place: place? })
            }
            _ => None,
        }
    }

    fn variable_node(&self, text: String, path: &str) -> Option<Node> {
        let variable = self.variables.keys().find(|name| key_path(name).as_deref() == Some(path))?;
        let origin = Origin::Environment {
            variable: variable.as_str().into(),
            folder: Arc::from(self.working_folder),
        };
        let place = Place { origin, line: 0, column: 0, layer: Layer::Own };
        Some(structured(Node { value: Value::Text(text), place }))
    }
}

impl Node {
    /// The inner value of this key, if this is a table that has it.
    pub(super) fn child(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(table) => table.get(key),
            _ => None,
        }
    }

    /// Says anew of it and all within it which table says it, by what was said before.
    pub(super) fn mark(&mut self, layer: &impl Fn(Layer) -> Layer) {
        self.place.layer = layer(self.place.layer);
        match &mut self.value {
            Value::Table(table) => table.values_mut().for_each(|node| node.mark(layer)),
            Value::Array(items) => items.iter_mut().for_each(|node| node.mark(layer)),
            _ => {}
        }
    }
}

/// What a rule says, and below it, table by table and key by key, what `[defaults]` says.
pub(super) fn inherit(rule: &Node, defaults: &Node) -> Node {
    let (Value::Table(own), Value::Table(inherited)) = (&rule.value, &defaults.value) else {
        return rule.clone();
    };
    let mut merged = own.clone();
    for (key, default) in inherited {
        let node = own.get(key).map_or_else(|| default.clone(), |node| inherit(node, default));
        merged.insert(key.clone(), node);
    }
    Node { value: Value::Table(merged), place: rule.place.clone() }
}

/// Whether a variable steps into one of our tables, rightly or wrongly.
fn is_ours(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).map(str::to_lowercase).unwrap_or_default();
    LAYERED.iter().any(|table| rest.strip_prefix(table).is_some_and(|key| key.starts_with(STEP)))
}

/// Variables that begin like ours and are not: each with what it may have been meant to be. Those that Kubernetes sets for a service whose
/// name begins like ours are left out.
pub(super) fn strays(variables: &Variables) -> Vec<(&str, String)> {
    let stray = |name: &&String| name.starts_with(PREFIX) && !is_ours(name) && !is_of_kubernetes(name);
    let names = variables.keys().filter(stray);
    names.map(|name| (name.as_str(), meant(name.strip_prefix(PREFIX).unwrap_or_default()))).collect()
}

/// `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_HTTP`, `…_PORT`, `…_PORT_80_TCP`, `…_PORT_80_TCP_ADDR`: links to a service.
fn is_of_kubernetes(name: &str) -> bool {
    let is_link = |(_, link): (&str, &str)| {
        let mut parts = link.split('_');
        let is_number = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
        is_number && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.split_once("_PORT_").is_some_and(is_link)
}

/// The variables that step into one of our tables; what is wrong with them is reported.
fn judge_names(variables: &Variables, report: &Report) -> Variables {
    let mut ours = Variables::new();
    for (name, text) in variables.iter().filter(|(name, _)| is_ours(name)) {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if key_path(name).is_none() {
            let message = "this variable names no key of the configuration";
            report_variable(name, message, meant(rest), report);
        } else if text.contains(char::REPLACEMENT_CHARACTER) {
            report_variable(
                name,
                "this variable's value is not Unicode",
                "set it to plain text".into(),
                report,
            );
        } else {
            ours.insert(name.clone(), text.clone());
        }
    }
    ours
}

/// What a variable may have been meant to be, by what follows the prefix.
fn meant(rest: &str) -> String {
    if rest.eq_ignore_ascii_case("CONFIG") {
        return "name the file with `--config FILE`".into();
    }
    // `LANDFALL_SERVICE_DATA_DIR`, and `LANDFALL_SERVICE` by itself.
    for table in LAYERED.map(str::to_uppercase) {
        let after = rest.strip_prefix(&table).filter(|after| after.is_empty() || after.starts_with('_'));
        if let Some(after) = after {
            let key = after.trim_matches('_');
            let key = if key.is_empty() { "KEY" } else { key };
            return format!("two underscores step into a table: {PREFIX}{table}{STEP}{key}");
        }
    }
    let table = rest.split(STEP).next().unwrap_or_default();
    let known = LAYERED.map(str::to_uppercase);
    let near_table = || did_you_mean(table, known.iter().map(String::as_str));
    // `LANDFALL_DATA_DIR`
    let near_key = || {
        let key = nearest(rest, service::KEYS)?.to_uppercase();
        Some(format!("did you mean `{PREFIX}SERVICE{STEP}{key}`?"))
    };
    near_table().or_else(near_key).unwrap_or_else(|| {
        "only LANDFALL_SERVICE__… and LANDFALL_DEFAULTS__… can be set in the environment".into()
    })
}

fn report_variable(name: &str, message: &str, hint: String, report: &Report) {
    let key = name.to_owned();
    report.add_problem(Problem { key, message: message.to_owned(), hint: Some(hint), ..Problem::default() });
}

/// `LANDFALL_SERVICE__DATA_DIR` → `service.data_dir`.
fn key_path(variable: &str) -> Option<String> {
    let path = variable.strip_prefix(PREFIX)?.to_lowercase();
    let keys: Vec<&str> = path.split(STEP).collect();
    let plain = |key: &&str| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let known = keys.len() > 1 && LAYERED.contains(keys.first()?) && keys.iter().all(plain);
    known.then(|| keys.join("."))
}

#[cfg(test)]
mod tests {
    use super::super::raw;
    use super::*;

    fn merged(text: &str, variables: &[(&str, &str)]) -> (Layers, Result<(), super::super::Problems>) {
        let origin = Origin::file(Path::new("a.toml"), Path::new("/etc/a.toml"));
        let report = Report::default();
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let layers = merge(&raw::parse(text, &origin).root, &variables, Path::new("/work-folder"), &report);
        (layers, report.into_result(Some(())))
    }

    #[test]
    fn the_environment_wins_over_the_file_key_by_key() {
        let (layers, problems) = merged(
            "[service]\nworkers = 1\ndata_dir = 'a'\n",
            &[("LANDFALL_SERVICE__WORKERS", "3"), ("LANDFALL_DEFAULTS__SOURCE__ON_SUCCESS", "keep")],
        );
        assert_eq!(problems, Ok(()));
        let workers = layers.service.child("workers").expect("set");
        assert_eq!(workers.value, Value::Text("3".into()));
        assert!(workers.place.in_environment());
        assert_eq!(workers.place.folder(), Path::new("/work-folder"));
        assert_eq!(layers.service.child("data_dir").expect("kept").place.line, 3);
        let on_success = layers.defaults.child("source").and_then(|s| s.child("on_success")).expect("set");
        assert_eq!(on_success.place.layer, Layer::Defaults);
    }

    #[test]
    fn a_variable_that_only_looks_like_ours_is_no_problem_and_told_with_what_was_meant() {
        let variables = [
            "LANDFALL_SERVICES__WORKERS",
            "LANDFALL_SERVICE_WORKERS",
            "LANDFALL_RULE__NAME",
            "LANDFALL_SERVICE",
            "LANDFALL_CONFIG_VERSION",
            "LANDFALL_CONFIG",
            "LANDFALL_DATA_DIR",
            "LANDFALLS",
            // What Kubernetes sets for services named `landfall` and `landfall-ui`.
            "LANDFALL_SERVICE_HOST",
            "LANDFALL_SERVICE_PORT",
            "LANDFALL_SERVICE_PORT_HTTP",
            "LANDFALL_PORT",
            "LANDFALL_PORT_7431_TCP",
            "LANDFALL_PORT_7431_TCP_ADDR",
            "LANDFALL_UI_SERVICE_HOST",
            "LANDFALL_UI_PORT_80_TCP_PROTO",
        ]
        .map(|name| (name, "x"));
        let (layers, problems) = merged("", &variables);
        assert_eq!(problems, Ok(()));
        assert_eq!(layers.service.value, Value::Table(Table::new()));
        let variables =
            variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let told: Vec<_> = strays(&variables).iter().map(|(name, hint)| format!("{name}: {hint}")).collect();
        insta::assert_snapshot!(told.join("\n"), @"
        LANDFALL_CONFIG: name the file with `--config FILE`
        LANDFALL_CONFIG_VERSION: only LANDFALL_SERVICE__… and LANDFALL_DEFAULTS__… can be set in the environment
        LANDFALL_DATA_DIR: did you mean `LANDFALL_SERVICE__DATA_DIR`?
        LANDFALL_RULE__NAME: only LANDFALL_SERVICE__… and LANDFALL_DEFAULTS__… can be set in the environment
        LANDFALL_SERVICE: two underscores step into a table: LANDFALL_SERVICE__KEY
        LANDFALL_SERVICES__WORKERS: did you mean `SERVICE`?
        LANDFALL_SERVICE_WORKERS: two underscores step into a table: LANDFALL_SERVICE__WORKERS
        ");
    }

    #[test]
    fn a_variable_of_ours_that_names_no_key_is_a_problem() {
        let (_, problems) = merged("", &[("LANDFALL_SERVICE__", "3"), ("LANDFALL_DEFAULTS____NAME", "x")]);
        insta::assert_snapshot!(problems.expect_err("two problems"), @"
        environment: LANDFALL_DEFAULTS____NAME: this variable names no key of the configuration
            hint: two underscores step into a table: LANDFALL_DEFAULTS__NAME
        environment: LANDFALL_SERVICE__: this variable names no key of the configuration
            hint: two underscores step into a table: LANDFALL_SERVICE__KEY
        ");
    }

    #[test]
    fn a_rule_inherits_table_by_table_and_arrays_are_replaced() {
        let origin = Origin::file(Path::new("a.toml"), Path::new("/etc/a.toml"));
        let parse = |text: &str| raw::parse(text, &origin).root;
        let rule = parse("exclude = ['a']\n[ready]\nstrategy = 'stable'\n");
        let defaults =
            parse("exclude = ['b', 'c']\norder = 'name'\n[ready]\nstrategy = 'auto'\nstable_for = '1s'\n");
        let merged = inherit(&rule, &defaults);
        let text =
            |path: &[&str]| path.iter().fold(merged.clone(), |n, k| n.child(k).expect("there").clone()).value;
        assert_eq!(text(&["ready", "strategy"]), Value::Text("stable".into()));
        assert_eq!(text(&["ready", "stable_for"]), Value::Text("1s".into()));
        assert_eq!(text(&["order"]), Value::Text("name".into()));
        assert!(matches!(text(&["exclude"]), Value::Array(items) if items.len() == 1));
    }
}
