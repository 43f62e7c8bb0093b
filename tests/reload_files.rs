//! Promise: what a configuration is read from besides its main file is told apart: files that are wrong, folders that are away.
#![cfg(unix)]

mod support;

#[cfg(target_os = "linux")]
use support::disk::{Disk, can_mount};
use support::rules::{assert_works, config, config_of, in_rules_dir, log, reload, rule, started};
use support::{World, wait_until};

/// What is encrypted to is read when a rule is made ready.
#[test]
fn a_file_of_recipients_that_is_changed_counts_and_a_wrong_one_changes_nothing() {
    let world = World::bare();
    let keys = ["a", "b"].map(|name| world.age_key_in(&format!("{name}.key")));
    world.write("recipients", &keys[0]);
    let encrypted = rule("first").replace(
        "path = \"first-out/{stem}.main\"",
        "path = \"first-out/{stem}.age\", recipients_file = \"recipients\"",
    );
    world.write("landfall.toml", config("", &[encrypted]));
    let mut service = started(&world);
    let mut opens = |file: &str, key: &str| {
        world.move_in(&format!("first-in/{file}"), "secret\n");
        service.wait_for(&world, &format!("first-out/{file}.age"));
        world.sh(&format!("age -d -i {key}.key first-out/{file}.age")) == "secret\n"
    };
    assert!(opens("one", "a"));
    world.write("recipients", &keys[1]);
    wait_until("it is read anew", || log(&world).contains("changed first").then_some(()));
    assert!(opens("two", "b"));
    world.write("recipients", "age1nonsense");
    let shown = ["rule \"first\"", "age1nonsense", "the recipients that it had"];
    reload(&world).ends_with(2).says(&shown);
    assert!(opens("three", "b"));
    // Whatever else is edited, right or wrong: it is shown as long as it is so.
    let wrong_since = || world.json(&["jobs", "--json"])["configuration"]["wrong_since"].clone();
    let since = wrong_since();
    world.write("rules.d/second.toml", in_rules_dir("second"));
    reload(&world).ends_with(2).says(&["added: second", "the rest counts"]).says(&shown);
    world.landfall(&["jobs"]).done().says(&shown);
    world.write("rules.d/second.toml", "[[rule]]\n");
    reload(&world).ends_with(2).says(&["missing: which files"]).says(&shown);
    world.write("rules.d/second.toml", in_rules_dir("second"));
    reload(&world).ends_with(2).says(&["the service goes on as it is"]).says(&shown);
    world.landfall(&["rules"]).done().says(&shown);
    assert_eq!(wrong_since(), since, "it is wrong ever since");
    world.write("recipients", &keys[0]);
    reload(&world).done();
    assert!(opens("four", "a"));
    assert!(!world.landfall(&["jobs"]).stdout.contains("wrong"));
    service.stop();
}

/// Nothing was read before that it could go on with.
#[test]
fn a_file_of_recipients_that_is_wrong_from_the_start_is_shown_and_its_files_wait() {
    let world = World::bare();
    let key = world.age_key_in("key");
    let encrypted = |name: &str| {
        let plain = format!("path = \"{name}-out/{{stem}}.main\"");
        let to = format!("path = \"{name}-out/{{stem}}.age\", recipients_file = \"{name}.keys\"");
        rule(name).replace(&plain, &to)
    };
    world.write("landfall.toml", config("", &[encrypted("first"), rule("plain")]));
    let mut service = started(&world);
    service.wait_for_log("first.keys");
    let shows = |name: &str| {
        let file = format!("{name}.keys");
        world.landfall(&["jobs"]).done().says(&[&format!("rule \"{name}\""), &file, "its files wait"]);
    };
    service.wait_until("it is shown", || {
        world.landfall(&["jobs"]).stdout.contains("its files wait").then_some(())
    });
    shows("first");
    assert_works(&mut service, &world, "plain");
    world.move_in("first-in/a.txt", "secret\n");
    world.write("first.keys", &key);
    service.wait_for(&world, "first-out/a.age");
    service.wait_until("it is mended", || (!world.landfall(&["jobs"]).stdout.contains("wait")).then_some(()));
    // And where it comes with an edit.
    world.write("landfall.toml", config("", &[encrypted("first"), encrypted("second"), rule("plain")]));
    reload(&world).ends_with(2).says(&["added: second", "its files wait", "the rest counts"]);
    shows("second");
    world.write("landfall.toml", config("", &[encrypted("first"), rule("plain")]));
    reload(&world).done();
    service.stop();
}

/// A folder that is away is none whose rules were removed.
#[test]
fn a_rules_dir_that_is_gone_takes_no_rule_away_and_one_whose_files_were_removed_does() {
    let world = World::with_config(&config_of(&["first"]));
    world.write("rules.d/second.toml", in_rules_dir("second"));
    let mut service = started(&world);
    support::rename(&world.path("rules.d"), &world.path("away"));
    service.wait_for_log("rules.d is gone, with its rules");
    reload(&world).ends_with(2).says(&[
        "service.rules_dir",
        "is gone, with its rules",
        "make an empty folder",
    ]);
    assert_works(&mut service, &world, "second");
    // Nor at a start.
    service.kill();
    let mut service = started(&world);
    service.wait_for_log("the service starts with the last good one");
    world.landfall(&["jobs"]).done().says(&["is gone, with its rules"]);
    assert_works(&mut service, &world, "second");
    support::rename(&world.path("away"), &world.path("rules.d"));
    reload(&world).done().says(&["nothing changed: 2 rules"]);
    support::rename(&world.path("rules.d"), &world.path("away"));
    world.sh("mkdir rules.d");
    reload(&world).done().says(&["removed: second"]);
    world.sh("rmdir rules.d; mv away rules.d");
    service.wait_for_log("added second");
    support::remove(&world.path("rules.d/second.toml"));
    reload(&world).done().says(&["removed: second"]);
    // Without rules in it, it may be gone.
    world.sh("rmdir rules.d");
    reload(&world).done().says(&["nothing changed: 1 rule"]);
    assert_works(&mut service, &world, "first");
    service.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn a_rules_dir_that_is_unmounted_takes_no_rule_away() {
    if !can_mount() {
        return;
    }
    let world = World::with_config(&config_of(&["first"]));
    let disk = Disk::mount(&world.path("rules.d"), "1m");
    world.write("rules.d/second.toml", in_rules_dir("second"));
    let mut service = started(&world);
    drop(disk);
    service.wait_for_log("lies on another file system");
    reload(&world).ends_with(2).says(&["mount it again"]);
    assert_works(&mut service, &world, "second");
    service.kill();
    let mut service = started(&world);
    world.landfall(&["jobs"]).done().says(&["lies on another file system"]);
    assert_works(&mut service, &world, "second");
    let _disk = Disk::mount(&world.path("rules.d"), "1m");
    world.write("rules.d/second.toml", in_rules_dir("second"));
    world.write("rules.d/third.toml", in_rules_dir("third"));
    wait_until("it is right again", || log(&world).contains("right again").then_some(()));
    reload(&world).done().says(&["nothing changed: 3 rules"]);
    support::remove(&world.path("rules.d/second.toml"));
    support::remove(&world.path("rules.d/third.toml"));
    reload(&world).done().says(&["removed: second, third"]);
    service.stop();
}
