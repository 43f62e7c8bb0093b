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
    world.landfall(&["check", "--files"]).done().says(&["override for sender = \"globex\"", "odd/b.txt"]);
    world.landfall(&["ingest", "in/globex/b.txt", "--rule", "payments"]).done();
    assert_eq!(world.text("odd/b.txt"), lines(3).replace('\n', "\r\n"));
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

#[test]
fn a_file_that_waits_is_explained_with_what_for_since_when_and_the_sizes_seen() {
    let waiting = RULE.replace("100ms", "1h").replace("ready = {", "ready = { totals = \"{name}.ctl\",");
    let world = with_senders(&waiting, &["acme"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    let told = || world.json(&["explain", "in/acme/a.txt", "--json"]);
    for count in [1, 3] {
        world.write("in/acme/a.txt", lines(count));
        let size = lines(count).len() as u64;
        service.wait_until("this size is seen", || {
            let sizes = told()["seen"]["sizes"].clone();
            sizes.as_array()?.last().filter(|last| last["bytes"] == size).cloned()
        });
    }
    let first = told();
    assert_eq!(first["waits"], "for its totals, a.txt.ctl", "{first}");
    assert_eq!(first["companions"][0]["key"], "totals");
    assert_eq!(first["companions"][0]["there"], false);
    let seen = &first["seen"];
    assert!(seen["first_seen_at"].as_str() <= seen["still_since"].as_str(), "{seen}");
    world.landfall(&["explain", "in/acme/a.txt"]).done().says(&[
        "waits: for its totals",
        "sizes seen: ",
        "is not there",
    ]);
    world.write("in/acme/a.txt.ctl", "{}");
    service.wait_until("it waits for its quiet time", || {
        told()["waits"].as_str().filter(|waits| waits.contains("stable_for")).map(str::to_owned)
    });
    assert!(told()["seen"]["next_look_at"].is_string());
    service.stop();
    let stopped = told();
    assert_eq!((&stopped["seen"], &stopped["rule"]), (&Value::Null, &"payments".into()), "{stopped}");
}

#[test]
fn every_place_of_a_file_leads_to_its_job() {
    let world =
        with_senders(&RULE.replace("\"delete\"", "\"archive\", archive_dir = \"archive\""), &["acme"]);
    world.write("in/acme/a.txt", lines(2));
    world.landfall(&["ingest", "in/acme/a.txt", "--rule", "payments", "--retire"]).done();
    for (path, part) in
        [("in/acme/a.txt", "source"), ("archive/a.txt", "retired source"), ("out/acme/a.main", "output")]
    {
        let told = world.json(&["explain", path, "--json"]);
        assert_eq!(
            (&told["found_as"][0], &told["jobs"][0]["state"]),
            (&part.into(), &"completed".into()),
            "{told}"
        );
    }
}

/// At a switch-over the rule is often off at first.
#[test]
fn files_of_a_rule_that_is_off_are_adopted_for_later_and_what_is_no_file_is_told_as_what_it_is() {
    let world = World::new("mode = \"off\"");
    world.write("in/old.txt", "theirs\n");
    world.landfall(&["adopt", "in"]).ends_with(1).says(&["is a folder", "xargs -0 landfall adopt"]);
    world.landfall(&["adopt", "in/old.txt"]).done().says(&["adopted; once rule \"payments\" is on"]);
    let live = world.text("landfall.toml").replace("mode = \"off\"", "mode = \"live\"");
    world.write("landfall.toml", live);
    let mut service = world.start();
    world.move_in("in/new.txt", "ours\n");
    service.wait_for(&world, "out/new.main");
    service.stop();
    assert!(world.has("in/old.txt") && !world.has("out/old.main"));
}

#[test]
fn a_file_that_is_adopted_is_never_taken_until_it_is_another_or_that_is_undone() {
    let world = with_senders(RULE, &["acme"]);
    for name in ["old", "again", "undone"] {
        world.write(format!("in/acme/{name}.txt"), "1\n");
    }
    let old = ["in/acme/old.txt", "in/acme/again.txt", "in/acme/undone.txt"];
    // Without a service, and before the first start.
    world.landfall(&[&["adopt"][..], &old].concat()).done().says(&["old.txt: adopted; rule \"payments\""]);
    world.landfall(&["adopt", old[0]]).done().says(&["was adopted before"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    // With one: a file that waits already.
    world.write("in/acme/busy.txt", "1\n");
    world
        .landfall(&["adopt", "in/acme/nobody.txt", "in/acme/busy.txt"])
        .ends_with(1)
        .says(&["busy.txt: adopted", "is not there"]);
    world.move_in("in/acme/new.txt", "2\n");
    service.wait_for(&world, "out/acme/new.main");
    world.write("in/acme/again.txt", "1\n2\n");
    service.wait_for(&world, "out/acme/again.main");
    world.landfall(&["adopt", "--undo", "in/acme/undone.txt"]).done();
    service.wait_for(&world, "out/acme/undone.main");
    service.wait_until("what was taken is retired", || {
        (world.files("in/acme") == ["busy.txt", "old.txt"]).then_some(())
    });
    let told = world.json(&["explain", "in/acme/old.txt", "--json"]);
    assert_eq!((&told["kept"]["rule"], &told["kept"]["job"]), (&"payments".into(), &Value::Null), "{told}");
    service.stop();
    world.landfall(&["adopt", "--undo", "in/acme/new.txt"]).ends_with(1);
    world.landfall(&["adopt", "landfall.toml"]).ends_with(1).says(&["no rule takes"]);
    world.landfall(&["check", "--store"]).done();
}

/// Its files have no output of the steps that the override leaves out, whatever the rule says of that output.
#[test]
fn an_override_that_leaves_out_a_step_has_no_output_for_what_only_that_step_makes() {
    let rule = RULE.replace("\"lines\"", "\"csv\"").replace(
        "source = {",
        "pipeline = [ { step = \"validate\", columns = { id = { type = \"integer\" } }, to = \"bad\" } ]\nsource = {",
    );
    let rule = rule.replace(
        ".main\" } }",
        ".main\" }, bad = { path = \"bad/{sender}/{stem}.csv\", empty = \"write\", max = \"100%\" } }",
    );
    let trusted = "[[rule.override]]\nif = { sender = \"globex\" }\npipeline = []\n";
    let test = "[[rule.test]]\nname = \"trusted\"\npath = \"in/globex/x.csv\"\ninput = \"id\\nx\\n\"\noutput.main = \"id\\nx\\n\"\n";
    let world = with_senders(&format!("{rule}{trusted}{test}"), &["acme", "globex"]);
    world.write("in/globex/a.csv", "id\nx\n");
    let listed = world.landfall(&["check", "--files"]).done().says(&["main -> "]);
    assert!(!listed.stdout.contains("bad -> "), "{listed:#?}");
    world.landfall(&["test"]).done().says(&["1 passed, 0 failed"]);
    let mut service = world.start();
    service.wait_for(&world, "out/globex/a.main");
    world.move_in("in/acme/b.csv", "id\n1\n");
    service.wait_for(&world, "bad/acme/b.csv");
    assert_eq!(world.files("bad"), ["acme/b.csv"]);
    assert_eq!(world.text("out/globex/a.main"), "id\nx\n");
    service.stop();
}

#[test]
fn what_is_wrong_in_a_file_of_the_rules_folder_is_told_of_that_file_with_its_line() {
    let world = with_senders(RULE, &["acme"]);
    fs::create_dir(world.path("rules.d")).expect("a folder");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.write("rules.d/other.toml", RULE.replace("payments", "other").replace("\"delete\"", "\"dlete\""));
    service.wait_for_log("the service goes on as it is");
    for command in ["rules", "jobs"] {
        let told =
            world.landfall(&[command]).done().says(&["other.toml:7: rule \"other\": source.on_success"]);
        let heading =
            told.stdout.lines().find(|line| line.contains("the configuration is wrong")).expect("it is told");
        assert!(
            heading.contains("other.toml: the service goes by") && !heading.contains("landfall.toml"),
            "{heading}"
        );
    }
    let told = world.landfall(&["explain", "in/acme/a.txt"]).done();
    assert!(told.stderr.contains("other.toml") && !told.stderr.contains("landfall.toml"), "{told:#?}");
    service.stop();
}

/// Seconds of the processor that `check` takes for a rule of this many patterns, a fifth as many overrides, and this many rules beside it.
fn seconds_to_check(count: usize) -> f64 {
    let patterns: Vec<_> = (0..count).map(|n| format!("\"in/p{n}/{{sender}}/*\"")).collect();
    let mut rules = RULE.replace("\"in/{sender}/*\"", &patterns.join(", "));
    for n in 0..count / 5 {
        rules += &ODD.replace("globex", &format!("globex{n}"));
    }
    for n in 0..count {
        let rule = RULE.replace("payments", &format!("other{n}")).replace("\"in/", &format!("\"other{n}/"));
        rules += &rule;
    }
    let world = World::with_config(&config(&rules));
    let told = world.sh(&format!("{} check > told 2>&1; times", env!("CARGO_BIN_EXE_landfall")));
    let said = world.text("told");
    assert!(said.starts_with("ok: "), "{said}");
    // `0m0.270s 0m0.050s`, of the shell and then of its children.
    let seconds = |time: &str| -> f64 {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').expect("minutes and seconds");
        60.0 * minutes.parse::<f64>().expect("a number") + seconds.parse::<f64>().expect("a number")
    };
    told.lines().nth(1).expect("of children").split_whitespace().map(seconds).sum()
}

/// Ten times as much is written: it takes about ten times as long, not a hundred or a thousand times.
#[test]
fn patterns_are_not_multiplied_by_overrides_or_by_other_rules() {
    let (some, many) = (seconds_to_check(100).max(0.05), seconds_to_check(1000));
    assert!(many < some * 40.0, "{many} s, and {some} s for a tenth");
}

/// Half a file that was taken for a whole one looks like any other afterwards, but for this.
#[test]
fn by_what_a_file_counted_as_complete_is_told_and_a_weak_proof_in_the_list_too() {
    // Long enough for the event of a rename to come before it is over.
    let slow = RULE.replace("stable_for = \"100ms\"", "stable_for = \"1500ms\", linger = \"200ms\"");
    let world = with_senders(&slow, &["acme"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/acme/moved.txt", "1\n");
    service.wait_for(&world, "out/acme/moved.main");
    world.write("in/acme/still.txt", "2\n");
    service.wait_for(&world, "out/acme/still.main");
    world.sh("printf '3\\n' | gzip > in/acme/packed.txt.gz");
    service.wait_for(&world, "out/acme/packed.main");
    service.wait_until("all are done", || {
        world.jobs().iter().all(|job| job["state"] == "completed").then_some(())
    });
    let by = |name: &str| {
        let jobs = world.jobs();
        let is_it = |job: &&Value| job["source"].as_str().is_some_and(|source| source.ends_with(name));
        jobs.iter().find(is_it).expect("its job")["complete_by"].clone()
    };
    assert_eq!(["still.txt", "packed.txt.gz"].map(by), ["stable_for", "content"]);
    let listed = world.landfall(&["jobs"]).done();
    let weak: Vec<_> = listed.stdout.lines().filter(|line| line.contains("complete by")).collect();
    assert!(
        weak.iter().any(|line| line.contains("still.txt  (complete by stable_for alone)")),
        "{listed:#?}"
    );
    let id = world.json(&["explain", "in/acme/still.txt", "--json"])["jobs"][0]["id"].clone();
    let shown = world.landfall(&["show", id.as_str().expect("text")]).done();
    shown.says(&["complete   by `ready.stable_for` alone: it stood still, and nothing proves its end"]);
    service.stop();
    let log = world.text("landfall.log");
    let completed = log.lines().find(|line| line.contains("completed") && line.contains("still.txt"));
    assert!(
        completed.is_some_and(
            |line| line.contains("complete_by=\"stable_for\"") && line.contains("to=\"main: 1\"")
        ),
        "{log}"
    );
}

/// Where it lies now, its path gives the wildcards no values: those of the first job count.
#[test]
fn the_hint_of_how_to_have_an_archived_file_once_more_works_for_a_rule_with_wildcards() {
    let world =
        with_senders(&RULE.replace("\"delete\"", "\"archive\", archive_dir = \"archive\""), &["acme"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/acme/a.txt", "1\n");
    service.wait_for(&world, "archive/a.txt");
    service.wait_until("it is done", || (world.job()["state"] == "completed").then_some(()));
    let id = world.job()["id"].as_str().expect("text").to_owned();
    let hint = format!("landfall rerun {id}");
    world.landfall(&["retry", &id]).ends_with(1).says(&[&hint]);
    world.landfall(&["rerun", &id]).done();
    service.wait_until("it is taken once more", || {
        let jobs = world.jobs();
        (jobs.len() == 2 && jobs.iter().all(|job| job["state"] == "completed")).then_some(())
    });
    service.stop();
}
