//! Promise: for any path it is told which rule takes it, and how; one rule serves many senders, and the odd one by an override.
#![cfg(unix)]

mod support;

use std::fs;

use serde_json::Value;
use support::{World, lines};

const RULE: &str = "[[rule]]\nname = \"payments\"\npaths = [\"in/{sender}/*\"]\nready = { stable_for = \"100ms\" }\n\
    records = { format = \"lines\" }\noutput = { main = { path = \"out/{sender}/{stem}.main\" } }\n\
    source = { on_success = \"delete\" }\n";
const ODD: &str = "[[rule.override]]\nif = { sender = \"globex\" }\noutput.main.path = \"odd/{stem}.txt\"\n\
    output.main.line_end = \"crlf\"\n";

fn config(rules: &str) -> String {
    format!(
        "config_version = 1\n[service]\ndata_dir = \"data\"\nscan_every = \"300ms\"\nfree_min = \"0\"\n{rules}"
    )
}

fn with_senders(rules: &str, senders: &[&str]) -> World {
    let world = World::with_config(&config(rules));
    for sender in senders {
        fs::create_dir_all(world.path("in").join(sender)).expect("a folder");
    }
    world
}

/// The one entry of an array whose `name` is this.
fn named<'v>(array: &'v Value, name: &str) -> &'v Value {
    let found = array.as_array().and_then(|items| items.iter().find(|item| item["name"] == name));
    found.unwrap_or_else(|| panic!("no {name} in {array}"))
}

#[test]
fn the_odd_sender_is_worked_by_its_override_and_all_others_by_the_rule() {
    let world = with_senders(&format!("{RULE}{ODD}"), &["acme", "globex"]);
    world
        .landfall(&["check"])
        .done()
        .says(&["if sender = \"globex\": output.main.line_end, output.main.path"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/acme/a.txt", "1\n");
    world.move_in("in/globex/b.txt", "2\n");
    service.wait_for(&world, "out/acme/a.main");
    service.wait_for(&world, "odd/b.txt");
    assert_eq!(world.text("out/acme/a.main"), "1\n");
    assert_eq!(world.text("odd/b.txt"), "2\r\n");
    let jobs = world.jobs();
    assert_eq!(jobs.iter().map(|job| &job["rule"]).collect::<Vec<_>>(), ["payments", "payments"]);
    let hashes = world.json(&["rules", "--json"])["rules"][0].clone();
    let hash_of = |sender: &str| {
        jobs.iter().find(|job| job["vars"]["sender"] == sender).expect("its job")["rule_hash"].clone()
    };
    assert_eq!(hash_of("acme"), hashes["rule_hash"]);
    assert_eq!(hash_of("globex"), hashes["overrides"][0]["rule_hash"]);
    assert_eq!(hashes["overrides"][0]["if"]["sender"], serde_json::json!(["globex"]));
    service.stop();
}

#[test]
fn an_override_that_is_edited_counts_for_its_files_at_once_and_one_that_is_off_holds_them() {
    let world = with_senders(&format!("{RULE}{ODD}"), &["acme", "globex"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.write("landfall.toml", config(&format!("{RULE}{}", ODD.replace("odd/", "other/"))));
    world.landfall(&["reload"]).done().says(&["changed: payments"]);
    world.move_in("in/globex/b.txt", "2\n");
    service.wait_for(&world, "other/b.txt");
    let off = "[[rule.override]]\nif = { sender = \"globex\" }\nmode = \"off\"\n";
    world.write("landfall.toml", config(&format!("{RULE}{off}")));
    world.landfall(&["reload"]).done();
    world.move_in("in/globex/c.txt", "3\n");
    world.move_in("in/acme/d.txt", "4\n");
    service.wait_for(&world, "out/acme/d.main");
    let told = world.json(&["explain", "in/globex/c.txt", "--json"]);
    assert_eq!(named(&told["rules"], "payments")["verdict"], "off", "{told}");
    assert!(world.has("in/globex/c.txt"));
    service.stop();
}

#[test]
fn a_file_that_is_named_is_ingested_retried_and_tried_out_under_its_override() {
    let world = with_senders(&format!("{RULE}{ODD}"), &["globex"]);
    world.write("in/globex/b.txt", lines(3));
    world
        .landfall(&["ingest", "in/globex/b.txt", "--rule", "payments", "--dry-run"])
        .done()
        .says(&["odd/b.txt"]);
    world.landfall(&["ingest", "in/globex/b.txt", "--rule", "payments"]).done();
    assert_eq!(world.text("odd/b.txt"), lines(3).replace('\n', "\r\n"));
    world.landfall(&["check", "--files"]).done().says(&["override for sender = \"globex\"", "odd/b.txt"]);
    let told = world.json(&["explain", "in/globex/b.txt", "--json"]);
    assert_eq!(named(&told["rules"], "payments")["override"]["keys"][1], "output.main.path", "{told}");
}

#[test]
fn a_test_of_a_rule_is_judged_by_the_override_that_has_its_sample() {
    let test = "[[rule.test]]\nname = \"odd\"\npath = \"in/globex/x.txt\"\ninput = \"1\\n\"\noutput.main = \"1\\r\\n\"\n\
        [[rule.test]]\nname = \"even\"\npath = \"in/acme/x.txt\"\ninput = \"1\\n\"\noutput.main = \"1\\n\"\n";
    let world = with_senders(&format!("{RULE}{ODD}{test}"), &[]);
    world.landfall(&["test"]).done().says(&["2 passed, 0 failed"]);
}
