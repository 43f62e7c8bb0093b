//! Configurations of small rules, each with folders of its own.

use std::fs;

use super::{Ran, Service, World, remove};

/// A rule of its own folders.
pub fn rule(name: &str) -> String {
    rule_to(name, name)
}

/// A rule in `rules.d`, whose folders lie beside that.
pub fn in_rules_dir(name: &str) -> String {
    let own = |path: &str| format!("\"{path}");
    rule(name).replace(&own(&format!("{name}-")), &own(&format!("../{name}-")))
}

/// A rule of its own folders whose outputs go elsewhere.
pub fn rule_to(name: &str, to: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\npaths = [\"{name}-in/*\"]\nready = {{ stable_for = \"100ms\" }}\n\
         records = {{ format = \"lines\" }}\noutput = {{ main = {{ path = \"{to}-out/{{stem}}.main\" }} }}\n\
         source = {{ on_success = \"delete\" }}\n"
    )
}

pub fn config(service: &str, rules: &[String]) -> String {
    let head =
        "config_version = 1\n[service]\ndata_dir = \"data\"\nscan_every = \"300ms\"\nfree_min = \"0\"\n";
    format!("{head}{service}{}", rules.concat())
}

/// A configuration of these rules.
pub fn config_of(names: &[&str]) -> String {
    config("", &names.iter().map(|name| rule(name)).collect::<Vec<_>>())
}

pub fn started(world: &World) -> Service {
    let mut service = world.start();
    service.wait_until_it_watches();
    service
}

pub fn log(world: &World) -> String {
    fs::read_to_string(world.path("landfall.log")).unwrap_or_default()
}

/// What is put before this rule comes out of it.
#[track_caller]
pub fn assert_works(service: &mut Service, world: &World, rule: &str) {
    world.move_in(&format!("{rule}-in/pay.txt"), rule);
    let output = format!("{rule}-out/pay.main");
    service.wait_for(world, &output);
    remove(&world.path(output));
}

pub fn reload(world: &World) -> Ran {
    world.landfall(&["reload"])
}
