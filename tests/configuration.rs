//! The configuration with the real owners of patterns, templates and steps.

use std::path::{Path, PathBuf};

use landfall::doors::{self, Settings};
use landfall::{Problems, Registry};

fn load(main: &Path) -> Result<Settings, Problems> {
    doors::load(main, &Registry::with_builtin_steps())
}

/// Loads a main file in a folder of its own.
fn load_text(text: &str) -> Result<Settings, Problems> {
    let folder = tempfile::tempdir().expect("a folder");
    let main = folder.path().join("landfall.toml");
    std::fs::write(&main, text).expect("writes");
    load(&main)
}

fn rule(paths: &str, more: &str, output: &str) -> String {
    format!(
        "config_version = 1\n[[rule]]\nname = 'payments'\npaths = [{paths}]\n{more}\n[rule.output.main]\npath = '{output}'\n\
         [rule.source]\non_success = 'delete'\n"
    )
}

/// `key: message` of each problem, and its hint.
fn problems(text: &str) -> Vec<(String, String, Option<String>)> {
    let problems = load_text(text).expect_err("there are problems").0;
    problems.into_iter().map(|problem| (problem.key, problem.message, problem.hint)).collect()
}

#[test]
fn every_example_is_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let settings = load(&file).unwrap_or_else(|problems| panic!("{}:\n{problems}", file.display()));
        assert!(!settings.rules.is_empty(), "{}", file.display());
    }
}

#[test]
fn an_unknown_variable_is_told_with_the_nearest_name() {
    let found = problems(&rule("'in/{sender}/*.csv'", "", "out/{sendr}/{stem}.csv"));
    assert_eq!(found.len(), 1, "{found:?}");
    let (key, message, hint) = &found[0];
    assert_eq!(key, "rule \"payments\": output.main.path");
    assert!(message.contains("sendr"), "{message}");
    assert!(hint.as_deref().is_some_and(|hint| hint.contains("sender")), "{hint:?}");
}

#[test]
fn a_step_judges_its_parameters_and_the_key_leads_to_them() {
    let step = "[[rule.pipeline]]\nstep = 'validate'\ncolumns = { amount = { type = 'decimel' } }\n\
                [rule.output.invalid]\npath = 'bad/{stem}.csv'";
    let found = problems(&rule("'in/*.csv'", step, "out/{stem}.csv"));
    assert!(
        found.iter().any(|(key, ..)| key.starts_with("rule \"payments\": pipeline[1].columns.amount")),
        "{found:?}"
    );
}

#[test]
fn an_unknown_step_is_told_with_its_place() {
    let found = problems(&rule("'in/*.csv'", "[[rule.pipeline]]\nstep = 'validat'", "out/{stem}.csv"));
    assert!(found.iter().any(|(key, ..)| key.starts_with("rule \"payments\": pipeline[1]")), "{found:?}");
}

#[test]
fn a_category_without_an_output_is_an_error() {
    let step = "[[rule.pipeline]]\nstep = 'validate'\ncolumns = { amount = { type = 'decimal' } }";
    let found = problems(&rule("'in/*.csv'", step, "out/{stem}.csv"));
    assert!(found.iter().any(|(_, message, _)| message.contains("invalid")), "{found:?}");
}

#[test]
fn a_brace_list_in_a_pattern_is_explained() {
    let found = problems(&rule("'in/*.{csv,txt}'", "", "out/{stem}.csv"));
    assert!(found.iter().any(|(key, ..)| key.starts_with("rule \"payments\": paths")), "{found:?}");
}

#[test]
fn folders_that_feed_themselves_are_refused_and_hidden_ones_are_not() {
    let found = problems(&rule("'in/**/*.csv'", "", "in/out/{stem}.csv"));
    assert!(found.iter().any(|(_, message, _)| message.contains("would pick files up")), "{found:?}");
    let hidden = rule("'in/**/*.csv'", "", "out/{stem}.csv") + "claim_dir = 'in/.landfall'\n";
    load_text(&hidden).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn a_mistyped_recipient_is_told_before_the_first_job() {
    let more = "[rule.output.safe]\npath = 'safe/{stem}.age'\n\
                recipients = ['age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8q']";
    let found = problems(&rule("'in/*.csv'", more, "out/{stem}.csv"));
    assert!(found.iter().any(|(key, ..)| key == "rule \"payments\": output.safe.recipients"), "{found:?}");
}

/// The tables of a configuration, as the book names them. One of a new kind is a key of one of these.
const TABLES: [&str; 12] = [
    "[service]",
    "[service.cluster]",
    "[[rule]]",
    "[rule.ready]",
    "[rule.decode]",
    "[rule.records]",
    "[rule.output.CATEGORY]",
    "[rule.publish]",
    "[rule.errors]",
    "[rule.delivery]",
    "[rule.source]",
    "[[hook]]",
];
/// A key that no table knows: what is said of it lists those that its table does know.
const UNKNOWN: &str = "qqqqqqqqqq";

#[test]
fn every_key_stands_in_the_book_and_in_the_reference_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("it is there");
    let page = read("docs/keys.md");
    let reference: toml::Table = read("config/reference.toml").parse().expect("it is TOML");
    for (table, key) in known_keys() {
        let about =
            page.split("\n### ").filter(|part| part.starts_with(&format!("`{table}`"))).collect::<String>();
        // A table within a rule, or within the service, has a part of its own.
        let told = [format!("`{key}`"), format!("`{key}.")].iter().any(|name| about.contains(name));
        let has_part = ["rule", "service"].iter().any(|of| page.contains(&format!("[{of}.{key}")));
        assert!(told || has_part, "docs/keys.md: {table} lacks `{key}`");
        let lists = tables(&reference, table).iter().any(|node| node.get(&key).is_some());
        assert!(lists, "config/reference.toml: {table} lacks `{key}`");
    }
}

/// Every table's keys, for records of each format.
fn known_keys() -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    for format in ["csv", "fixed"] {
        let texts = TABLES.map(|table| {
            let needed = match table {
                "[[rule]]" => "name = 'asked'\n".to_owned(),
                "[rule.records]" => format!("format = '{format}'\n"),
                _ => String::new(),
            };
            format!("{}\n{UNKNOWN} = 1\n{needed}", table.replace("CATEGORY", "main"))
        });
        for (place, _, hint) in problems(&format!("config_version = 1\n{}", texts.concat())) {
            let known = hint.as_deref().and_then(|hint| hint.strip_prefix("known keys here: "));
            let table = TABLES.into_iter().find(|table| place == place_in(table));
            let (Some(table), Some(known)) = (table, known) else { continue };
            keys.extend(known.split(", ").map(|key| (table, key.to_owned())));
        }
    }
    assert!(TABLES.iter().all(|table| keys.iter().any(|(of, _)| of == table)), "{keys:?}");
    keys
}

/// The place of a table's unknown key.
fn place_in(table: &str) -> String {
    let path = table.trim_matches(['[', ']']).replace("CATEGORY", "main");
    match path.strip_prefix("rule") {
        Some("") => format!("rule \"asked\": {UNKNOWN}"),
        Some(inner) => format!("rule \"asked\": {}.{UNKNOWN}", &inner[1..]),
        None if path == "hook" => format!("hook[1].{UNKNOWN}"),
        None => format!("{path}.{UNKNOWN}"),
    }
}

/// The tables of this kind in a configuration: of every rule, of every category.
fn tables<'a>(configuration: &'a toml::Table, kind: &str) -> Vec<&'a toml::Value> {
    let mut names = kind.trim_matches(['[', ']']).split('.');
    let top = names.next().and_then(|name| configuration.get(name)).expect("it is there");
    let mut found: Vec<&toml::Value> = top.as_array().map_or_else(|| vec![top], |all| all.iter().collect());
    for name in names {
        let inner = found.into_iter().filter_map(toml::Value::as_table);
        found = match name {
            "CATEGORY" => inner.flat_map(toml::Table::values).collect(),
            _ => inner.filter_map(|table| table.get(name)).collect(),
        };
    }
    found
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_files_of_rules_is_refused_and_waited_for_by_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let main = folder.path().join("landfall.toml");
    std::fs::create_dir(folder.path().join("rules.d")).expect("makes");
    std::fs::write(&main, "config_version = 1\n[service]\ndata_dir = \"data\"\nrules_dir = \"rules.d\"\n")
        .expect("writes");
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("rules.d/c.toml")).status();
    assert!(made.expect("mkfifo runs").success());
    let told = load(&main).expect_err("it is refused").to_string();
    assert!(told.contains("c.toml") && told.contains("it is no regular file"), "{told}");
}
