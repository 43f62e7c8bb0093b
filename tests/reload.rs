//! Promise: rules are edited while the service runs: what is saved counts soon and whole, what is wrong changes nothing, and no file is lost.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::rules::{assert_works, config, config_of, in_rules_dir, log, reload, rule, rule_to, started};
use support::{Service, World, lines, wait_until};

/// What is logged whenever other rules are gone by.
const EXCHANGED: &str = "the rules are exchanged";
const WRONG: &str = "wrong in the configuration";

fn times_exchanged(world: &World) -> usize {
    log(world).matches(EXCHANGED).count()
}

#[test]
fn a_rule_that_is_saved_counts_in_whatever_way_an_editor_saves_it() {
    let world = World::with_config(&config_of(&["first"]));
    world.sh("git init -q . && git config user.email a@b.c && git config user.name a && git add landfall.toml && git commit -qm 1");
    let mut service = started(&world);
    let ways = [
        // Truncated and written in place.
        ("nano", "cat new > landfall.toml"),
        ("append", "tail -n +$(($(wc -l < landfall.toml) + 1)) new >> landfall.toml"),
        ("cp", "cp new landfall.toml"),
        ("mv", "mv new landfall.toml"),
        ("sed", "tail -n +$(($(wc -l < landfall.toml) + 1)) new > more; sed -i '$ r more' landfall.toml"),
        // The old file is renamed, and another is written under its name.
        ("vim", "mv landfall.toml landfall.toml~; cat new > landfall.toml; rm landfall.toml~"),
        (
            "emacs",
            "ln -s me@host.1 .#landfall.toml; cp -p landfall.toml landfall.toml~; cat new > '#landfall.toml#'
             mv '#landfall.toml#' landfall.toml; rm .#landfall.toml",
        ),
        ("link", "mkdir real; mv new real/it; ln -sf real/it landfall.toml"),
        ("behind", "cat new > real/it"),
    ];
    let mut names = vec!["first"];
    for (name, script) in ways {
        names.push(name);
        world.write("new", config_of(&names));
        let before = times_exchanged(&world);
        world.sh(script);
        service.wait_until(name, || (times_exchanged(&world) > before).then_some(()));
        assert_works(&mut service, &world, name);
    }
    // Many files at once.
    world.sh("rm landfall.toml; git checkout -q landfall.toml; git checkout -qb many");
    for name in ["a", "b", "c", "d", "e"] {
        world.write(format!("rules.d/{name}.toml"), in_rules_dir(name));
    }
    world.sh("git add rules.d; git commit -qm 2; git checkout -q -; git checkout -q many");
    for name in ["a", "e", "first"] {
        assert_works(&mut service, &world, name);
    }
    reload(&world).done().says(&["nothing changed: 6 rules"]);
    assert!(!log(&world).contains(WRONG), "{}", log(&world));
    service.stop();
}

/// What lies there for a moment is right in itself, and lacks a rule.
#[test]
fn half_a_file_is_not_taken_while_its_writer_has_it_open_or_writes_on_a_moment_later() {
    let world = World::with_config(&config_of(&["first", "second"]));
    let mut service = started(&world);
    world.write("half", config_of(&["first"]));
    world.write("rest", rule("second") + &rule("third"));
    world.sh("exec 3> landfall.toml; cat half >&3; sleep 1.5; cat rest >&3; exec 3>&-");
    assert_works(&mut service, &world, "third");
    world.write("rest", rule("second") + &rule("fourth"));
    world.sh("cat half > landfall.toml; sleep 0.3; cat rest >> landfall.toml");
    assert_works(&mut service, &world, "fourth");
    assert!(
        !log(&world).contains("removed first") && !log(&world).contains("removed second"),
        "{}",
        log(&world)
    );
    // Cut within a line, and not mended: taken for what it is.
    fs::write(world.path("landfall.toml"), config_of(&["first"]).trim_end()).expect("writes");
    service.wait_for_log("removed second, fourth");
    service.stop();
}

#[test]
fn an_edit_that_is_wrong_changes_nothing_and_is_told_and_shown_until_it_is_mended() {
    let world = World::with_config(&config_of(&["first", "second"]));
    let mut service = started(&world);
    let wrong = config_of(&["first", "third"]).replace("on_success = \"delete\"", "on_sucess = \"delete\"");
    world.write("landfall.toml", &wrong);
    service.wait_for_log("the service goes on as it is");
    let named = log(&world).matches("on_sucess").count();
    assert!(named >= 2, "each problem is told: {}", log(&world));
    for name in ["first", "second"] {
        assert_works(&mut service, &world, name);
    }
    let shown = ["the configuration is wrong since", "on_sucess", "did you mean `on_success`?"];
    world.landfall(&["jobs"]).done().says(&shown);
    let rules = world.landfall(&["rules"]).done().says(&shown);
    assert!(rules.stdout.contains("second-in/*") && !rules.stdout.contains("third-in"), "{rules:#?}");
    let json = world.json(&["jobs", "--json"]);
    let problems = json["configuration"]["problems"].as_array().expect("a list").clone();
    assert!(problems.len() >= 2 && problems[0]["line"].is_u64(), "{json:#}");
    assert!(json["configuration"]["wrong_since"].is_string());
    let told = reload(&world).ends_with(2).says(&["on_sucess", "the service goes on as it is"]);
    assert_eq!(told.stdout, "");
    // Not even TOML.
    world.write("landfall.toml", wrong + "[[rule\n");
    reload(&world).ends_with(2).says(&["this is not TOML"]);
    assert_works(&mut service, &world, "second");
    world.write("rules.d/empty.toml", "");
    world.write("landfall.toml", config_of(&["first", "third"]));
    reload(&world).ends_with(2).says(&["rules.d/empty.toml", "its last save may have failed"]);
    support::remove(&world.path("rules.d/empty.toml"));
    reload(&world).done();
    service.wait_for_log("added third; removed second; 1 unchanged");
    service.wait_for_log("right again");
    assert_works(&mut service, &world, "third");
    for command in ["jobs", "rules"] {
        let told = world.landfall(&[command]).done();
        assert!(!told.stdout.contains("wrong"), "{told:#?}");
    }
    service.wait_until("its job is listed with its rule", || {
        let third = world.json(&["rules", "--json"])["rules"][1].clone();
        (third["name"] == "third" && third["jobs"]["completed"] == 1).then_some(())
    });
    assert_eq!(world.json(&["jobs", "--json"])["configuration"]["wrong_since"], Value::Null);
    service.stop();
}

#[test]
fn a_start_with_wrong_rules_goes_by_the_last_good_ones_says_so_and_takes_the_mended_ones() {
    let world = World::with_config("config_version = 1\n");
    let data_dir = "config_version = 1\n[service]\ndata_dir = \"data\"\n";
    world.write("landfall.toml", format!("{data_dir}[[rule]]\nname = \"first\"\n"));
    world.landfall(&["run"]).ends_with(2).says(&["missing: which files"]);
    assert!(!world.has("data"), "nothing is made where nothing was ever right");

    world.write("landfall.toml", config_of(&["zero"]));
    let mut service = started(&world);
    world.write("landfall.toml", config_of(&["first"]));
    world.write("rules.d/second.toml", in_rules_dir("second"));
    assert_works(&mut service, &world, "second");
    for (times, broken) in [(1, "[[rule]]\nname = \"other\"\n"), (2, "[[rule\n")] {
        service.kill();
        world.write("landfall.toml", config_of(&["first"]) + broken);
        support::remove(&world.path("rules.d/second.toml"));
        service = started(&world);
        service.wait_for_log_times("the service starts with the last good one", times);
        for name in ["first", "second"] {
            assert_works(&mut service, &world, name);
        }
        world.landfall(&["jobs"]).done().says(&["the configuration is wrong since"]);
        world.write("rules.d/second.toml", in_rules_dir("second"));
    }
    world.write("landfall.toml", config_of(&["first", "third"]));
    assert_works(&mut service, &world, "third");
    service.stop();
    // Another configuration of the same data folder has none that was ever right.
    world.write("other.toml", config_of(&["first"]) + "[[rule]]\n");
    world.landfall(&["run", "--config", "other.toml"]).ends_with(2);
}

/// A rule whose jobs wait in their middle for the file `go`.
fn gated(world: &World, to: &str) -> String {
    world.write_gate();
    let step = "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], protocol = \"line\", timeout = \"60s\" }]\n";
    rule_to("large", to) + step
}

/// A service with a job in its middle; and the hash of the rule that this began with.
fn in_the_middle(world: &World) -> (Service, Value) {
    world.write("landfall.toml", config("", &[gated(world, "old")]));
    let mut service = started(world);
    world.move_in("large-in/pay.txt", lines(3000));
    service.wait_for(world, "reached");
    let began_with = world.job()["rule_hash"].clone();
    (service, began_with)
}

/// Its job is done, whole, by the rule that it began with.
fn ends_as_it_began(service: &mut Service, world: &World, began_with: &Value) {
    service.wait_for(world, "old-out/pay.main");
    service.wait_until("it is done", || (world.job()["state"] == "completed").then_some(()));
    assert!(world.text("old-out/pay.main") == lines(3000), "records were lost or doubled");
    assert_eq!(world.job()["rule_hash"], *began_with);
}

#[test]
fn a_job_that_runs_ends_under_the_rule_it_began_with_and_the_next_begins_under_the_new_one() {
    let world = World::bare();
    let (mut service, began_with) = in_the_middle(&world);
    let archived = "source = { on_success = \"archive\", archive_dir = \"archive\" }";
    let kept = "source = { on_success = \"delete\" }";
    world.write("landfall.toml", config("", &[gated(&world, "new").replace(kept, archived)]));
    service.signal(Signal::HUP);
    service.wait_for_log("SIGHUP: a reload is asked for");
    service.wait_for_log("changed large; 0 unchanged");
    assert_eq!(world.job()["state"], "running", "nothing is stopped");
    world.write("go", "");
    ends_as_it_began(&mut service, &world, &began_with);
    assert!(!world.has("new-out") && !world.has("archive"));
    world.move_in("large-in/next.txt", lines(2000));
    service.wait_for(&world, "archive/next.txt");
    assert!(world.text("new-out/next.main") == lines(2000));
    assert_ne!(world.job()["rule_hash"], began_with);
    service.stop();
}

#[test]
fn a_job_that_a_kill_broke_off_ends_under_the_rule_it_began_with() {
    let world = World::bare();
    let (service, began_with) = in_the_middle(&world);
    // Edited while it runs, and once more while nobody runs; it has no checkpoint yet, and nothing of it is left but its rows.
    world.write("landfall.toml", config("", &[gated(&world, "other")]));
    reload(&world).done();
    service.kill();
    world.write("landfall.toml", config("", &[gated(&world, "new")]));
    world.write("go", "");
    let mut service = started(&world);
    ends_as_it_began(&mut service, &world, &began_with);
    world.move_in("large-in/next.txt", "next\n");
    service.wait_for(&world, "new-out/next.main");
    assert!(!world.has("other-out"));
    service.stop();
}

/// The rule may be what was mended: that is said, and what is retried takes the rule as it is then.
#[test]
fn a_job_that_is_held_for_its_rule_or_retried_takes_the_rule_as_it_is_now_and_says_so() {
    let world = World::bare();
    let needs = |column: &str, to: &str| {
        let columns = format!("records = {{ format = \"csv\", columns = [\"{column}\"] }}");
        config("", &[rule_to("pay", to).replace("records = { format = \"lines\" }", &columns)])
    };
    world.write("landfall.toml", needs("amuont", "old"));
    let mut service = started(&world);
    world.move_in("pay-in/1.csv", "id,amount\n1,2\n");
    service.wait_until("it is held", || (world.jobs().first()?["state"] == "held").then_some(()));
    world.write("landfall.toml", needs("amount", "mended"));
    service.wait_for(&world, "mended-out/1.main");
    service.wait_for_log("its rule was changed while it was held");
    let id = |job: &Value| job["id"].as_str().expect("text").to_owned();
    world.landfall(&["show", &id(&world.job())]).done().says(&["its rule was changed while it was held"]);
    world.move_in("pay-in/2.csv", "no,such\n1,2\n");
    service.wait_until("it fails", || (world.job()["state"] == "failed").then_some(()));
    world.write("landfall.toml", needs("such", "retried"));
    world.landfall(&["retry", &id(&world.job())]).done();
    service.wait_for(&world, "retried-out/2.main");
    service.stop();
}

/// Who changed a rule for the files of tomorrow may want the one of yesterday for those of yesterday.
#[test]
fn a_job_is_retried_under_the_rule_that_it_went_by_where_that_is_asked_for_with_and_without_a_service() {
    let world = World::bare();
    let with = |attempts: &str, to: &str| {
        let step = "pipeline = [{ step = \"exec\", confine = false, command = [\"./mended\"] }]";
        let rule = rule_to("pay", to)
            + &format!("\n{step}\nerrors = {{ on_record_error = \"fail\", attempts = {attempts} }}\n");
        config("", &[rule])
    };
    world.write("mended", "#!/bin/sh\n[ -e go ] || exit 1\nexec cat\n");
    world.sh("chmod +x mended");
    world.write("landfall.toml", with("1", "old"));
    let mut service = started(&world);
    world.move_in("pay-in/1.txt", "1\n");
    world.move_in("pay-in/2.txt", "2\n");
    service.wait_until("they fail", || {
        (world.jobs().iter().filter(|job| job["state"] == "failed").count() == 2).then_some(())
    });
    world.write("landfall.toml", with("2", "new"));
    reload(&world).done();
    world.write("go", "");
    let [first, second] = [1, 2].map(|number| {
        let is_it =
            |job: &Value| job["source"].as_str().is_some_and(|path| path.ends_with(&format!("{number}.txt")));
        world.jobs().into_iter().find(is_it).expect("is listed")["id"].as_str().expect("text").to_owned()
    });
    world.landfall(&["retry", "--same-rule", &first]).done().says(&["by the rule that it went by before"]);
    service.wait_for(&world, "old-out/1.main");
    service.stop();
    world.landfall(&["retry", "--same-rule", &second]).done();
    let mut service = world.start();
    service.wait_for(&world, "old-out/2.main");
    assert!(!world.has("new-out"));
    service.stop();
}

#[test]
fn a_rule_that_is_renamed_leaves_its_jobs_what_they_are() {
    let world = World::bare();
    world.write("landfall.toml", config("", &[gated(&world, "large")]));
    let mut service = started(&world);
    world.move_in("large-in/pay.txt", lines(3000));
    service.wait_for(&world, "reached");
    let renamed = gated(&world, "large").replace("name = \"large\"", "name = \"renamed\"");
    world.write("landfall.toml", config("", &[renamed]));
    reload(&world).done();
    service.wait_for_log("added renamed; removed large");
    world.write("go", "");
    service.wait_for(&world, "large-out/pay.main");
    world.move_in("large-in/next.txt", "next\n");
    service.wait_for(&world, "large-out/next.main");
    service.stop();
    let of = |stem: &str| {
        let is_it = |job: &Value| job["source"].as_str().is_some_and(|path| path.contains(stem));
        world.jobs().into_iter().find(is_it).expect("it is listed")
    };
    assert_eq!((&of("pay")["rule"], &of("pay")["state"]), (&"large".into(), &"completed".into()));
    assert_eq!(of("next")["rule"], "renamed");
    assert!(world.text("large-out/pay.main") == lines(3000));
}

#[test]
fn what_was_said_of_a_rule_that_is_renamed_is_told_by_the_reload_the_log_and_the_status() {
    let world = World::bare();
    world.sh("mkdir a-in b-in pay-in other-in");
    world.write("landfall.toml", config_of(&["a", "b"]));
    let mut service = started(&world);
    world.landfall(&["pause", "--rule", "a"]).done();
    world.landfall(&["set", "--rule", "b", "--workers-max", "1"]).done();
    world.landfall(&["status"]).done();
    world.write("landfall.toml", config_of(&["pay", "other"]));
    let words =
        ["no rule has this name", "landfall resume --rule a", "landfall set --rule b --workers-max default"];
    reload(&world).done().says(&words);
    world.landfall(&["status"]).ends_with(1).says(&words);
    for word in words {
        service.wait_for_log(word);
    }
    world.landfall(&["resume", "--rule", "a"]).done();
    world.landfall(&["set", "--rule", "b", "--workers-max", "default"]).done();
    world.landfall(&["status"]).done();
    service.stop();
}

#[test]
fn a_rule_that_is_gone_takes_no_file_that_waits_and_a_broader_one_behind_it_does() {
    let narrow = "ready = { strategy = \"marker\", marker = \"{name}.done\" }";
    let narrow = rule_to("narrow", "narrow").replace("ready = { stable_for = \"100ms\" }", narrow);
    let narrow = narrow.replace("narrow-in/*", "in/pay-*");
    let broad = rule_to("broad", "broad").replace("broad-in/*", "in/*.txt");
    let world = World::with_config(&config("", &[narrow, broad.clone()]));
    world.write("in/pay-1.txt", "1\n");
    world.write("in/pay-2.csv", "2\n");
    let mut service = started(&world);
    let waits = |name: &str| world.landfall(&["jobs"]).stdout.contains(name);
    service.wait_until("both wait", || (waits("pay-1.txt") && waits("pay-2.csv")).then_some(()));
    let explained = |name: &str| world.landfall(&["explain", name]).done();
    explained("in/pay-1.txt").says(&[
        "a file of 2 B",
        "rule \"narrow\": takes it",
        "rule \"broad\": would take it, but rule \"narrow\" comes first",
        "waits: for its marker",
    ]);
    explained("in/pay-1.txt.done").says(&["nothing lies there", "what others wait for (`ready.marker`)"]);
    explained("in/pay-3.txt.tmp").says(&["excluded by its name"]);
    explained("in/a.csv").says(&["no pattern fits"]);
    world.write("landfall.toml", config("", &[broad]));
    service.wait_for(&world, "broad-out/pay-1.main");
    explained("in/pay-1.txt").says(&["rule \"broad\": takes it", "under rule \"broad\""]);
    assert_eq!(world.json(&["explain", "--json", "in/pay-2.csv"])["rule"], Value::Null);
    world.write("in/pay-2.csv.done", "");
    world.write("in/last.txt", "3\n");
    service.wait_for(&world, "broad-out/last.main");
    assert!(!waits("pay-2.csv") && world.has("in/pay-2.csv") && !world.has("narrow-out"));
    service.stop();
}

#[test]
fn keys_of_the_service_that_count_after_a_restart_are_named_until_they_are_as_they_were() {
    let world = World::with_config(&config_of(&["first"]));
    let mut service = started(&world);
    let keys = "service.workers, service.memory_max";
    world.write(
        "landfall.toml",
        config("workers = 7\nmemory_max = \"97MiB\"\ntimezone = \"UTC\"\n", &[rule("first")]),
    );
    service.wait_for_log("count after a restart of the service");
    reload(&world).done().says(&["unchanged: 1 rule", keys]);
    world.landfall(&["jobs"]).done().says(&[keys]);
    let json: Value =
        serde_json::from_str(&world.landfall(&["reload", "--json"]).done().stdout).expect("is JSON");
    assert_eq!(json["needs_restart"], serde_json::json!(["service.workers", "service.memory_max"]));
    // What `{date}` is belongs to the rules, which count at once.
    world.write("landfall.toml", config("timezone = \"Asia/Tokyo\"\n", &[rule("first")]));
    let told = reload(&world).done();
    service.wait_for_log("changed first");
    assert!(!told.stderr.contains("restart"), "{told:#?}");
    assert!(!world.landfall(&["jobs"]).stdout.contains("restart"));
    service.stop();
}

#[test]
fn a_reload_without_a_service_says_so_and_what_is_wrong() {
    let world = World::with_config(&config_of(&["first"]));
    reload(&world).ends_with(1).says(&["the service is not running", "landfall run"]);
    let mut service = started(&world);
    assert_works(&mut service, &world, "first");
    service.stop();
    reload(&world).ends_with(1).says(&["the service is not running"]);
    world.write("landfall.toml", config_of(&["first"]) + "[[rule]]\n");
    reload(&world).ends_with(2).says(&["landfall.toml:", "missing: which files"]);
}

#[test]
fn a_hundred_edits_while_files_come_lose_and_double_none_of_them() {
    let world = World::bare();
    // The rule's outputs, its archive and its own name change, and a second rule comes and goes.
    let edited = |count: usize| {
        let to = if (count + count / 10).is_multiple_of(2) { "even" } else { "odd" };
        let source = format!("source = {{ on_success = \"archive\", archive_dir = \"archive-{to}\" }}");
        let mut edited = rule_to("pay", to).replace("source = { on_success = \"delete\" }", &source);
        if count.is_multiple_of(3) {
            edited = edited.replace("name = \"pay\"", "name = \"paid\"");
        }
        let others = if count.is_multiple_of(5) { vec![rule("other"), edited] } else { vec![edited] };
        config("", &others)
    };
    world.write("landfall.toml", edited(0));
    let mut service = started(&world);
    let is_over = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Acquire) {
                // Each sender has a staging file of its own.
                let staged = world.write(format!("staged-{sent}"), format!("record {sent}\n"));
                fs::create_dir_all(world.path("pay-in")).expect("the folder can be made");
                support::rename(&staged, &world.path(format!("pay-in/{sent}.txt")));
                sent += 1;
                std::thread::sleep(Duration::from_millis(4));
            }
            sent
        });
        for count in 1..=100 {
            match count % 3 {
                0 => drop(world.write("landfall.toml", edited(count))),
                1 => {
                    let new = world.write("new", edited(count));
                    support::rename(&new, &world.path("landfall.toml"));
                }
                _ => {
                    world.write("landfall.toml", "config_version = 1\n[[rule");
                    world.write("landfall.toml", edited(count));
                }
            }
            // So that many of them are taken, and not the last alone.
            if count.is_multiple_of(10) {
                reload(&world).done();
            } else if count.is_multiple_of(4) {
                service.signal(Signal::HUP);
            }
        }
        is_over.store(true, Ordering::Release);
        sender.join().expect("no panic")
    });
    let outputs = |world: &World| -> Vec<String> {
        let of = |folder: &str| -> Vec<String> {
            let names = world.files(folder).into_iter().filter(|name| !name.starts_with('.'));
            names.map(|name| format!("{folder}/{name}")).collect()
        };
        [of("even-out"), of("odd-out")].concat()
    };
    service.wait_until("all are through", || (outputs(&world).len() >= sent).then_some(()));
    assert!(times_exchanged(&world) >= 10, "{} exchanges", times_exchanged(&world));
    let log = service.log();
    assert!(
        !log.contains("given back again"),
        "nothing was claimed of what was offered under a rule that went:\n{log}"
    );
    service.stop();
    let mut records = BTreeMap::<String, usize>::new();
    for record in outputs(&world).iter().flat_map(|file| {
        let text = world.text(file);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    }) {
        *records.entry(record).or_default() += 1;
    }
    assert_eq!(records.len(), sent);
    assert!(records.values().all(|count| *count == 1), "{records:?}");
    let jobs = world.jobs();
    assert_eq!(jobs.len(), sent, "each file was taken by one rule");
    assert!(jobs.iter().all(|job| job["state"] == "completed"));
    assert_eq!(world.files("pay-in"), [""; 0]);
}

#[test]
fn a_reload_beside_a_stop_is_clean_whichever_comes_first() {
    let world = World::with_config(&config_of(&["first"]));
    for round in 0..4 {
        let mut service = started(&world);
        let mut command = world.command();
        let mut asking = command.arg("reload").spawn().expect("the binary runs");
        let names = if round % 2 == 0 { &["first", "second"][..] } else { &["first"] };
        world.write("landfall.toml", config_of(names));
        let asked = log(&world).matches("SIGHUP: ").count();
        let exchanged = times_exchanged(&world);
        service.signal(Signal::HUP);
        // In the midst of it, and after it.
        service.wait_until("so far", || {
            let is_so_far = match round {
                0 => true,
                1 => log(&world).matches("SIGHUP: ").count() > asked,
                2 => times_exchanged(&world) > exchanged,
                _ => asking.try_wait().expect("it is our child").is_some(),
            };
            is_so_far.then_some(())
        });
        let begun = Instant::now();
        service.stop();
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        // Answered, or told that nobody answers any more.
        let status = wait_until("it is answered", || asking.try_wait().expect("it is our child"));
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    }
    let mut service = started(&world);
    assert_works(&mut service, &world, "first");
    service.stop();
}

#[test]
fn a_terminal_that_is_closed_stops_the_service_cleanly() {
    let world = World::with_config(&config_of(&["first"]));
    let binary = env!("CARGO_BIN_EXE_landfall");
    world.write(
        "terminal.py",
        format!(
            "import os, pty, time
pid, master = pty.fork()
if pid == 0:
    log = os.open('landfall.log', os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 2)
    os.execv('{binary}', ['landfall', 'run'])
while b'watching' not in open('landfall.log', 'rb').read() if os.path.exists('landfall.log') else True:
    time.sleep(0.02)
os.close(master)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"
        ),
    );
    assert_eq!(world.sh("timeout 30 python3 terminal.py").trim(), "0", "{}", log(&world));
    assert!(log(&world).contains("stopped"), "{}", log(&world));
}

/// `disown`, `setsid`, or an ssh session that is closed after one of them.
#[test]
fn a_service_that_outlived_its_terminal_takes_a_hang_up_for_a_reload() {
    let binary = env!("CARGO_BIN_EXE_landfall");
    for background in ["BINARY run 2>landfall.log & disown", "setsid BINARY run 2>landfall.log &"] {
        let world = World::with_config(&config_of(&["first"]));
        let line = background.replace("BINARY", binary);
        world.write(
            "terminal.py",
            format!(
                "import os, pty, select, signal, time
def log(): return open('landfall.log', 'rb').read() if os.path.exists('landfall.log') else b''
def wait(word, master=None):
    while word not in log():
        if master and select.select([master], [], [], 0)[0]: os.read(master, 4096)
        time.sleep(0.02)
shell, master = pty.fork()
if shell == 0:
    os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])
os.write(master, b'{line}' + bytes([10]))
wait(b'watching', master)
os.write(master, b'exit' + bytes([10]))
os.waitpid(shell, 0)
os.close(master)
wait(b'the service goes on without it')
service = int(log().split(b'pid=')[1].split()[0])
os.kill(service, signal.SIGHUP)
wait(b'SIGHUP: a reload is asked for')
os.kill(service, signal.SIGTERM)
wait(b'stopped')
"
            ),
        );
        world.sh("timeout 40 python3 terminal.py || { cat landfall.log >&2; false; }");
    }
}

/// Every table of the configuration: what is read with rules is told by their names, hooks by theirs, `[service]` by its keys.
#[test]
fn whatever_changed_is_told_by_who_asks_and_in_the_log() {
    let hook = |name: &str, more: &str| {
        format!("[[hook]]\nname = \"{name}\"\nevents = [\"failed\"]\ncommand = [\"true\"]\n{more}")
    };
    let of = |service: &str, more: &str| config(service, &[rule("first")]) + more;
    let world = World::with_config(&of("", ""));
    let mut service = started(&world);
    let edited = |text: &str, says: &str| {
        world.write("landfall.toml", text);
        let told = reload(&world).done();
        let all = format!("{}{}", told.stdout, told.stderr); // it may have been taken a moment before
        assert!(all.contains(says), "{says}: {told:#?}");
    };
    edited(&of("", &hook("ops", "")), "hooks added: ops");
    service.wait_for_log("other hooks are told");
    edited(&of("", &(hook("ops", "timeout = \"7s\"\n") + &hook("b", ""))), "hooks changed: ops");
    edited(&of("", &hook("b", "")), "hooks removed: ops");
    edited(&of("workers = 3\n", &hook("b", "")), "counts after a restart: service.workers");
    let more = "[defaults.errors]\nattempts = 2\n[throttle.db]\nworkers_max = 1\n";
    edited(&of("", &(hook("b", "") + more)), "changed: first");
    edited(&of("", &(hook("b", "") + more)), "nothing changed: 1 rule, 1 hook");
    let json: Value =
        serde_json::from_str(&world.landfall(&["reload", "--json"]).done().stdout).expect("is JSON");
    assert_eq!(json["hooks"]["unchanged"], 1, "{json:#}");
    service.stop();
}

/// Who saves and then asks is told of the edit that was taken meanwhile.
#[test]
fn a_reload_that_finds_nothing_new_says_which_edit_was_taken_and_when() {
    let world = World::with_config(&config_of(&["first"]));
    let mut service = started(&world);
    reload(&world).done().says(&["nothing changed: 1 rule", "the service goes by what it read at"]);
    world.write("landfall.toml", config_of(&["first", "second"]));
    service.wait_for_log("added second");
    reload(&world).done().says(&[
        "nothing changed: 2 rules",
        "took the last edit by itself at ",
        "added: second",
    ]);
    service.stop();
}
