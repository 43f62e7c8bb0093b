//! The configuration with the real owners of patterns, templates and steps.

use std::path::{Path, PathBuf};

use landfall::config::{self, Problems};
use landfall::model::rule::Settings;
use landfall::pipeline::Registry;

fn load(main: &Path) -> Result<Settings, Problems> {
    config::load(main, &Registry::with_builtin_steps())
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
        found.iter().any(|(key, ..)| key.starts_with("rule \"payments\": pipeline[0].columns.amount")),
        "{found:?}"
    );
}

#[test]
fn an_unknown_step_is_told_with_its_place() {
    let found = problems(&rule("'in/*.csv'", "[[rule.pipeline]]\nstep = 'validat'", "out/{stem}.csv"));
    assert!(found.iter().any(|(key, ..)| key.starts_with("rule \"payments\": pipeline[0]")), "{found:?}");
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
