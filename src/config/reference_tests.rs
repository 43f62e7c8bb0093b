//! Promise: a default that `config/reference.toml` tells is the one in force.

use super::tests::World;

const REFERENCE: &str = include_str!("../../config/reference.toml");
/// The tables whose keys are told with their defaults; the others are examples.
const TABLES: [&str; 10] = [
    "[service]",
    "[defaults.errors]",
    "[[rule]]",
    "[rule.ready]",
    "[rule.decode]",
    "[rule.records]",
    "[rule.output.main]",
    "[rule.errors]",
    "[rule.delivery]",
    "[rule.source]",
];
/// What a comment says of a key whose value is no default.
const OTHERS: [&str; 3] = ["required", "no default", "default:"];

/// The reference without every key that stands there with its default, and those keys.
fn without_defaults() -> (String, Vec<&'static str>) {
    let (first, rest) = REFERENCE.split_once("\nname  = \"fixed\"").expect("a second rule");
    let (mut kept, mut left_out, mut table) = (String::new(), Vec::new(), "");
    for line in first.lines() {
        if line.starts_with('[') {
            table = line.split('#').next().unwrap_or_default().trim();
        }
        let key =
            line.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.contains(['#', '[', '{']));
        match key {
            Some(key) if TABLES.contains(&table) && !OTHERS.iter().any(|other| line.contains(other)) => {
                left_out.push(key);
            }
            _ => kept = kept + line + "\n",
        }
    }
    (format!("{kept}name  = \"fixed\"{rest}"), left_out)
}

#[test]
fn a_default_that_the_reference_tells_is_the_one_in_force() {
    let world = World::with(REFERENCE);
    let written = world.settings();
    let (without, left_out) = without_defaults();
    assert!(left_out.len() > 40 && left_out.contains(&"failed_max"), "{left_out:?}");
    let unwritten = world.and("landfall.toml", &without).settings();
    // 0 stands for what the machine has.
    assert_eq!(written.service.workers, unwritten.service.workers);
    assert_eq!(format!("{written:#?}"), format!("{unwritten:#?}"));
}

#[test]
fn a_key_that_has_a_default_is_not_told_to_have_none() {
    for line in REFERENCE.lines().filter(|line| line.contains("no default")) {
        let (key, _) = line.split_once('=').unwrap_or((line, ""));
        let without: Vec<&str> = REFERENCE.lines().filter(|other| *other != line).collect();
        let world = World::with(REFERENCE);
        let written = format!("{:?}", world.settings());
        let unwritten = world.and("landfall.toml", &without.join("\n")).load();
        let told = unwritten.map_or_else(|_| "refused".into(), |settings| format!("{settings:?}"));
        assert_ne!(written, told, "{key}: what is written there is what is in force without it");
    }
}
