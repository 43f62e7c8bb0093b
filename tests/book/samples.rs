//! Configurations in the book: `landfall check` accepts each, and what a rule says of its own samples holds.
//!
//! A fragment is put into a rule that lacks it. Paths that a machine would have (`/srv/…`) lie in a world of the test's own.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::pages::{Page, Sample, of_the_book};
use crate::support::World;

/// Beside the book.
const OTHERS: [&str; 1] = ["README.md"];
/// Samples of this kind that are not run, with their reasons. One more is to be thought about.
const EXCUSED_MAX: usize = 1;

/// What a fragment does not say.
const RULE: &str = r#"
name = "payments"
paths = ["/srv/landing/{sender}/payments-*.csv*", "inbox/{sender}/payments-*.csv*"]
records = { format = "csv" }
pipeline = [{ step = "validate", columns = { amount = { type = "decimal", required = true } } }]
output.main.path = "/data/out/{sender}/{stem}.csv"
output.invalid.path = "/data/out/{sender}/{stem}.invalid.csv"
source = { on_success = "archive", archive_dir = "/data/archive/{sender}" }
"#;

pub fn of_language(language: &str) -> Vec<Sample> {
    let pages = of_the_book().into_iter().chain(OTHERS.map(Page::at));
    pages.flat_map(|page| page.samples()).filter(|sample| sample.language == language).collect()
}

#[test]
fn every_configuration_of_the_book_is_accepted_by_check() {
    let samples = of_language("toml");
    assert!(samples.len() > 30, "only {} samples", samples.len());
    let excused = samples.iter().filter(|sample| sample.excuse.is_some()).count();
    assert!(excused <= EXCUSED_MAX, "{excused} samples are not run");
    let wrong: Vec<String> =
        samples.iter().filter(|sample| sample.excuse.is_none()).filter_map(problem_in).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `check`, or `test`, says against it.
fn problem_in(sample: &Sample) -> Option<String> {
    let world = World::bare();
    let mut config: Table = match sample.code.parse() {
        Ok(table) => table,
        Err(error) => return Some(format!("{}: {error}", sample.place)),
    };
    if !config.contains_key("config_version") {
        config = completed(config);
    }
    let mut config = Value::Table(config);
    put_into(&world, &mut config, "");
    world.write("landfall.toml", toml::to_string(&config).expect("a table is TOML"));
    fs::create_dir_all(world.path("srv/landing/acme")).expect("the folder can be made");
    let mut ran = world.landfall(&["check"]);
    if ran.code == Some(0) && sample.code.contains("[[rule.test]]") {
        ran = world.landfall(&["test"]);
    }
    (ran.code != Some(0)).then(|| format!("{}: {}{}{config}", sample.place, ran.stdout, ran.stderr))
}

/// The whole configuration that a fragment is a part of.
fn completed(fragment: Table) -> Table {
    const OF_THE_FILE: [&str; 4] = ["service", "defaults", "throttle", "hook"];
    let mut config: Table = "config_version = 1\nservice = { data_dir = \"data\" }".parse().expect("TOML");
    let mut of_the_rule = Table::new();
    let mut rules = Vec::new();
    for (key, value) in fragment {
        match value {
            value if OF_THE_FILE.contains(&key.as_str()) => merge(&mut config, key, value),
            Value::Array(tables) if key == "rule" => rules = tables,
            Value::Table(table) if key == "rule" => of_the_rule.extend(table),
            value => _ = of_the_rule.insert(key, value),
        }
    }
    if rules.is_empty() {
        rules.push(Value::Table(of_the_rule));
    } else if let Some(Value::Table(first)) = rules.first_mut() {
        first.extend(of_the_rule);
    }
    for rule in &mut rules {
        let Value::Table(given) = std::mem::replace(rule, Value::Boolean(false)) else {
            panic!("a rule is a table")
        };
        let mut whole = lacking(&given);
        for (key, value) in given {
            merge(&mut whole, key, value);
        }
        *rule = Value::Table(whole);
    }
    config.insert("rule".to_owned(), Value::Array(rules));
    config
}

/// What a rule lacks that says this: nothing, if it has a name and outputs.
fn lacking(given: &Table) -> Table {
    if given.contains_key("name") && given.contains_key("output") {
        return Table::new();
    }
    let has_sender = given.get("paths").is_none_or(|paths| paths.to_string().contains("{sender}"));
    let text = if has_sender { RULE.to_owned() } else { RULE.replace("/{sender}", "") };
    let mut whole: Table = text.parse().expect("TOML");
    if let Some(pipeline) = given.get("pipeline") {
        whole.remove("pipeline");
        if !pipeline.to_string().contains("validate") {
            whole["output"].as_table_mut().expect("a table").remove("invalid");
        }
    }
    whole
}

fn merge(into: &mut Table, key: String, value: Value) {
    match (into.get_mut(&key), value) {
        (Some(Value::Table(there)), Value::Table(more)) => {
            for (key, value) in more {
                merge(there, key, value);
            }
        }
        (_, value) => _ = into.insert(key, value),
    }
}

/// Has every path lie in the world, and what it names be there.
fn put_into(world: &World, value: &mut Value, key: &str) {
    match value {
        Value::Table(table) => table.iter_mut().for_each(|(key, value)| put_into(world, value, key)),
        Value::Array(values) => values.iter_mut().for_each(|value| put_into(world, value, key)),
        Value::String(text) => {
            let is_ours = ["/srv", "/data", "/etc/landfall", "/var/", "/run/landfall", "/new", "/old"];
            if is_ours.iter().any(|beginning| text.starts_with(beginning)) && key != "mount" {
                *text = format!("{}{text}", world.folder().display());
            } else if key == "mount" {
                "/".clone_into(text);
            }
            make(world, key, text);
        }
        _ => {}
    }
}

/// A key of the kind that is wanted here, or a folder, or a program.
fn make(world: &World, key: &str, path: &str) {
    if path.contains('{') || path.is_empty() || path.starts_with("/usr") {
        return;
    }
    let path = world.path(path);
    let script = match key {
        "identities" | "passphrase_file" | "signers" | "key_file" | "recipients_file" | "bearer_file"
        | "certificate" | "key" => keys_script(key, &path),
        "read" | "write" | "compare" | "rules_dir" => format!("mkdir -p '{}'", path.display()),
        "command" if path.to_string_lossy().contains("/./") => {
            let path = path.to_string_lossy().replace("/./", "/");
            format!(
                "mkdir -p \"$(dirname '{path}')\"; printf '#!/bin/sh\\ncat\\n' > '{path}'; chmod +x '{path}'"
            )
        }
        "file" => {
            format!("mkdir -p \"$(dirname '{0}')\"; printf 'id,amount\\n2,x\\n' > '{0}'", path.display())
        }
        _ => return,
    };
    world.sh(&script);
}

fn keys_script(key: &str, path: &Path) -> String {
    let shown = path.display();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_armored = path.extension().is_some_and(|it| it == "asc");
    let made = match key {
        "certificate" | "key" => format!(
            "cd \"$(dirname '{shown}')\"; test -e server.key || openssl req -quiet -x509 -newkey rsa:2048 -nodes \
             -keyout server.key -out server.pem -days 30 -subj /CN=localhost >/dev/null 2>&1"
        ),
        "key_file" if name.starts_with("enc") => format!("printf '%064d' 1 > '{shown}'"),
        "passphrase_file" | "bearer_file" => format!("echo secret > '{shown}'"),
        "recipients_file" if is_armored => gpg(&format!("--armor --export > '{shown}'")),
        "identities" if is_armored => {
            gpg(&format!("--armor --pinentry-mode loopback --passphrase '' --export-secret-keys > '{shown}'"))
        }
        "recipients_file" => format!("age-keygen 2>/dev/null | age-keygen -y > '{shown}'"),
        _ => format!("age-keygen -o '{shown}' 2>/dev/null"),
    };
    format!("mkdir -p \"$(dirname '{shown}')\"; umask 077; test -e '{shown}' || {{ {made}; }}")
}

/// A key of OpenPGP, made in a folder of its own.
fn gpg(export: &str) -> String {
    format!(
        "export GNUPGHOME=$(mktemp -d); gpg --batch --quiet --pinentry-mode loopback --passphrase '' \
         --quick-generate-key them@example.org default default never 2>/dev/null; gpg --batch --quiet {export}; gpgconf --kill all"
    )
}
