//! Promise: what the system refuses the service is told with who may not do what, whose it is, and the command that grants it; `check`
//! tries a layout as the service will use it, and leaves nothing behind.
//!
//! Services and senders are users of their own here; where the tests do not run as root they say so and pass.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::disk::{Disk, can_mount};
use support::mounts::{Kind, Mounted};
use support::{Ran, Service, World, without_our_variables};

/// Neither has a name on a usual machine.
const SERVICE: u32 = 4001;
const PARTNER: u32 = 4002;

/// A world whose service is a user without privileges, in a group of his own. None, loudly, where that cannot be.
fn zone(rule: &str) -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: a service and a sender of different users need root");
        return None;
    }
    let world = World::new(rule);
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    world.copied_binary();
    world.sh(&format!(
        "mkdir -p data out archive; chown {SERVICE}:{SERVICE} data out archive; chmod 700 data; chmod 755 in"
    ));
    Some(world)
}

/// Runs `landfall ARGUMENTS` as the service's user, who has no capability.
fn as_service(world: &World, arguments: &[&str]) -> Ran {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={SERVICE}"), format!("--regid={SERVICE}"), "--clear-groups".to_owned()]);
    command.arg(world.path("landfall")).args(arguments).current_dir(world.folder());
    without_our_variables(&mut command);
    Ran::new(&command.output().expect("the binary runs"))
}

#[test]
fn a_file_that_may_not_be_read_waits_and_its_reason_has_the_command_that_lets_it_go_on() {
    let Some(world) = zone("") else { return };
    world.sh(&format!(
        "chown {SERVICE}:{SERVICE} in; echo 1 > in/a; chown {PARTNER}:{PARTNER} in/a; chmod 600 in/a"
    ));
    let mut service = world.start_as(SERVICE);
    let file = world.path("in/a").display().to_string();
    let command = format!("setfacl -m u:{SERVICE}:r {file}");
    service.wait_until("`explain` says it", || {
        let said = as_service(&world, &["explain", "in/a"]);
        let said = format!("{}{}", said.stdout, said.stderr);
        let who = format!("user {SERVICE} may not read {file} ({PARTNER}:{PARTNER}, mode 0600)");
        (said.contains(&who) && said.contains(&format!("`{command}`"))).then_some(())
    });
    service.wait_for_log(&command);
    world.sh(&command);
    service.wait_for(&world, "out/a.main");
    service.stop();
}

#[test]
fn the_first_folder_on_the_way_that_refuses_is_named_by_the_job_that_waits_for_it() {
    let Some(world) = zone("output = { main = { path = \"closed/out/{stem}.main\" } }") else { return };
    world.sh(&format!(
        "chown {SERVICE}:{SERVICE} in; mkdir -p closed/out; chmod 700 closed; chown {SERVICE} closed/out"
    ));
    let mut service = world.start_as(SERVICE);
    world.move_in("in/a", "1\n");
    let closed = world.path("closed").display().to_string();
    let command = format!("setfacl -m u:{SERVICE}:x {closed}");
    let hint = service.wait_until("it waits", || {
        let jobs = as_service(&world, &["jobs", "--json"]).stdout;
        let jobs: serde_json::Value = serde_json::from_str(&jobs).ok()?;
        jobs["jobs"][0]["error"]["hint"].as_str().map(str::to_owned)
    });
    assert!(
        hint.contains(&format!("user {SERVICE} may not go into {closed} (root:root, mode 0700)")),
        "{hint}"
    );
    assert!(hint.contains(&format!("`{command}`")), "{hint}");
    world.sh(&command);
    service.wait_for(&world, "closed/out/a.main");
    service.stop();
}

/// A rule that watches `srv/*/inbox`.
const PARTNERS: &str = "paths = [\"srv/{sender}/inbox/*.csv\"]\noutput = { main = { path = \"out/{sender}/{stem}.csv\" } }\n\
     source = { on_success = \"archive\", archive_dir = \"archive/{sender}\" }";

/// The service's user with the capability that the packaged unit gives him.
fn with_lease(world: &World) -> String {
    let binary = world.path("landfall").display().to_string();
    format!(
        "setpriv --reuid={SERVICE} --regid={SERVICE} --clear-groups --inh-caps=+lease --ambient-caps=+lease {binary}"
    )
}

/// What `check` says as the service's user, with the capability that the packaged unit gives it.
#[track_caller]
fn checked(world: &World) -> String {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("exec {} check", with_lease(world))]).current_dir(world.folder());
    without_our_variables(&mut command);
    Ran::new(&command.output().expect("the binary runs")).done().stdout
}

#[track_caller]
fn is_clean(world: &World) {
    let said = checked(world);
    assert!(said.starts_with("ok: ") && !said.contains("warning: "), "{said}");
    leaves_nothing(world);
}

#[track_caller]
fn leaves_nothing(world: &World) {
    let left = world.sh("find . -name '.landfall*'");
    assert_eq!(left, "", "something was left behind");
}

/// The commands in backquotes of the first warning's hint.
fn commands(said: &str) -> Vec<String> {
    let hint =
        said.split("warning: ").nth(1).and_then(|warning| warning.split("hint: ").nth(1)).unwrap_or_default();
    let hint = hint.lines().next().unwrap_or_default();
    hint.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What is refused, how it comes about, what is said of it, and the commands that are named.
const REFUSALS: [(&str, &str, &str, &[&str]); 8] = [
    (
        "a partner's own folder",
        "chown 4002:4002 srv/acme/inbox; chmod 755 srv/acme/inbox",
        "user 4001 may not list and write in DIR/srv/acme/inbox (4002:4002, mode 0755): files cannot be taken from there",
        &[
            "chgrp 4001 DIR/srv/acme/inbox && chmod g+rwxs DIR/srv/acme/inbox",
            "setfacl -m u:4001:rwx,d:u:4001:rwX DIR/srv/acme/inbox",
        ],
    ),
    (
        "a folder of the service's group that the group may not write in",
        "chown 4002:4001 srv/acme/inbox; chmod 2750 srv/acme/inbox",
        "(4002:4001, mode 2750)",
        &["chmod g+rwxs DIR/srv/acme/inbox", "setfacl -m u:4001:rwx,d:u:4001:rwX DIR/srv/acme/inbox"],
    ),
    (
        "a folder with an access list that leaves the service out",
        "chown 4002:4002 srv/acme/inbox; chmod 770 srv/acme/inbox; setfacl -m u:4003:rx srv/acme/inbox",
        "(4002:4002, mode 0770)",
        &["setfacl -m u:4001:rwx,d:u:4001:rwX DIR/srv/acme/inbox"],
    ),
    (
        "a chrooted partner's home that nobody else may enter",
        "chown 4001:4001 srv/acme/inbox; chown 4002:4002 srv/acme; chmod 700 srv/acme",
        "user 4001 may not list DIR/srv/acme (4002:4002, mode 0700): folders below it are not seen",
        &["chgrp 4001 DIR/srv/acme && chmod g+rx DIR/srv/acme", "setfacl -m u:4001:rx DIR/srv/acme"],
    ),
    (
        "a folder with the sticky bit",
        "chown 4002:4001 srv/acme/inbox; chmod 3770 srv/acme/inbox",
        "DIR/srv/acme/inbox (4002:4001, mode 3770) has the sticky bit",
        &["chmod -t DIR/srv/acme/inbox", "chown 4001 DIR/srv/acme/inbox"],
    ),
    (
        "a waiting file that only its sender may read",
        "chown 4001:4001 srv/acme/inbox; echo 1 > srv/acme/inbox/a.csv; chown 4002:4002 srv/acme/inbox/a.csv; chmod 600 srv/acme/inbox/a.csv",
        "user 4001 may not read DIR/srv/acme/inbox/a.csv (4002:4002, mode 0600): it cannot be taken",
        &[
            "chgrp 4001 DIR/srv/acme/inbox/a.csv && chmod g+r DIR/srv/acme/inbox/a.csv",
            "setfacl -m u:4001:r DIR/srv/acme/inbox/a.csv",
        ],
    ),
    (
        "outputs that cannot be made",
        "chown 4001:4001 srv/acme/inbox; rmdir out; chown 0:0 .",
        "user 4001 may not write in DIR (root:root, mode 0755): what is to go there waits",
        &["install -d -o 4001 -g 4001 -m 750 DIR/out"],
    ),
    (
        "a claim folder of a former service's user",
        "chown 4001:4001 srv/acme/inbox; mkdir -m 700 srv/acme/inbox/.landfall; chown 4003:4003 srv/acme/inbox/.landfall",
        "DIR/srv/acme/inbox/.landfall belongs to user 4003, and the service's is 4001: nothing is taken into it",
        &["chown -R 4001 DIR/srv/acme/inbox/.landfall && chmod -R go-w DIR/srv/acme/inbox/.landfall"],
    ),
];

#[test]
fn each_command_that_check_names_for_what_is_refused_grants_it() {
    for (what, made, told, wanted) in REFUSALS {
        for chosen in 0..wanted.len() {
            let Some(world) = zone(PARTNERS) else { return };
            let folder = world.folder().display().to_string();
            world.sh("mkdir -p srv/acme/inbox; chmod 755 srv srv/acme");
            world.sh(made);
            let said = checked(&world);
            assert!(said.contains(&told.replace("DIR", &folder)), "{what}:\n{said}");
            let named = commands(&said);
            let wanted: Vec<String> = wanted.iter().map(|command| command.replace("DIR", &folder)).collect();
            assert_eq!(named.get(..wanted.len()), Some(wanted.as_slice()), "{what}:\n{said}");
            world.sh(&named[chosen]);
            let said = checked(&world);
            assert!(!said.contains("warning: "), "{what}: {} did not help:\n{said}", named[chosen]);
            // Nothing but what lay there before.
            assert_eq!(world.sh("find . -name '.landfall-*'"), "", "{what}");
        }
    }
}

/// What is refused, how it comes about, and which of the named commands grant it together.
const REFUSED_TO_A_SERVICE: [(&str, &str, &[&str]); 9] = [
    (
        "a partner's own folder that others may list",
        "chown 4002:4002 srv/acme/inbox; chmod 755 srv/acme/inbox",
        &["setfacl -m u:4001:rwx,d:u:4001:rwX DIR/srv/acme/inbox"],
    ),
    (
        "a partner's own folder that nobody else may list",
        "chown 4002:4002 srv/acme/inbox; chmod 700 srv/acme/inbox",
        &["chgrp 4001 DIR/srv/acme/inbox && chmod g+rwxs DIR/srv/acme/inbox"],
    ),
    (
        "a folder with the sticky bit, where the group may write",
        "chown 4002:4001 srv/acme/inbox; chmod 3770 srv/acme/inbox",
        &["chmod -t DIR/srv/acme/inbox"],
    ),
    (
        "a folder with the sticky bit, where the group may not",
        "chown 4002:4002 srv/acme/inbox; chmod 1755 srv/acme/inbox",
        &["setfacl -m u:4001:rwx,d:u:4001:rwX DIR/srv/acme/inbox", "chmod -t DIR/srv/acme/inbox"],
    ),
    (
        "a partner's home that nobody else may enter",
        "chown 4001:4001 srv/acme/inbox; chown 4002:4002 srv/acme; chmod 700 srv/acme",
        &["setfacl -m u:4001:rx DIR/srv/acme"],
    ),
    (
        "a claim folder of a former service's user",
        "chown 4001:4001 srv/acme/inbox; mkdir -m 700 srv/acme/inbox/.landfall; chown 4003:4003 srv/acme/inbox/.landfall",
        &["chown -R 4001 DIR/srv/acme/inbox/.landfall && chmod -R go-w DIR/srv/acme/inbox/.landfall"],
    ),
    (
        "outputs that the service may not put there",
        "chown 4001:4001 srv/acme/inbox; mkdir out/acme; chown 0:0 out/acme; chmod 755 out/acme out",
        &["setfacl -m u:4001:rwx DIR/out/acme"],
    ),
    (
        "outputs whose folder cannot be made",
        "chown 4001:4001 srv/acme/inbox; chown 0:0 out; chmod 755 out",
        &["setfacl -m u:4001:rwx DIR/out"],
    ),
    (
        "an archive whose folder cannot be made",
        "chown 4001:4001 srv/acme/inbox; chown 0:0 archive; chmod 755 archive",
        &["setfacl -m u:4001:rwx DIR/archive"],
    ),
];

/// All that the service says of the files and jobs that wait.
fn told_by_service(world: &World) -> String {
    let jobs = as_service(world, &["jobs", "--json"]).stdout;
    let jobs: serde_json::Value = serde_json::from_str(&jobs).unwrap_or_default();
    let of = |list: &str, key: fn(&serde_json::Value) -> &serde_json::Value| -> Vec<String> {
        let all = jobs[list].as_array().into_iter().flatten();
        all.filter_map(|one| key(one).as_str()).map(str::to_owned).collect()
    };
    let mut told = of("files_waiting", |file| &file["reason"]);
    told.extend(of("folder_notices", |folder| &folder["reason"]));
    told.extend(of("jobs", |job| &job["error"]["hint"]));
    told.join("\n")
}

/// Goal: who is told by the service what it lacks is told all of it, in the words of `check`: the commands that are named let the file through,
/// and no second round is needed.
#[test]
fn each_command_that_the_service_names_for_what_it_is_refused_lets_the_file_through_at_once() {
    for (what, made, wanted) in REFUSED_TO_A_SERVICE {
        let Some(world) = zone(PARTNERS) else { return };
        let folder = world.folder().display().to_string();
        world.sh("mkdir -p srv/acme/inbox; chmod 755 srv srv/acme");
        world.sh(made);
        world.sh(&format!(
            "echo 1 > .a; chown {PARTNER}:{PARTNER} .a; chmod 644 .a; mv .a srv/acme/inbox/a.csv"
        ));
        let wanted: Vec<String> = wanted.iter().map(|command| command.replace("DIR", &folder)).collect();
        let checked = checked(&world);
        let mut service = Service::start_by(&world, &format!("exec {} run", with_lease(&world)));
        let mut told = String::new();
        service.wait_until(what, || {
            told = told_by_service(&world);
            let named: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
            wanted.iter().all(|command| named.contains(&command.as_str())).then_some(())
        });
        // What is below a folder that has no variable is asked beforehand.
        if !wanted[0].contains("/out/acme") {
            assert!(wanted.iter().all(|command| checked.contains(command)), "{what}: {wanted:?}\n{checked}");
        }
        for command in &wanted {
            world.sh(command);
        }
        service.wait_for(&world, "archive/acme/a.csv");
        assert_eq!(world.text("out/acme/a.csv"), "1\n", "{what}");
        service.stop();
    }
}

/// In any order, as the folder lists them.
#[test]
fn check_names_all_files_that_it_may_not_read_and_of_very_many_some() {
    for (count, named, more) in [(3, 3, ""), (9, 6, " and 3 more")] {
        let Some(world) = zone(PARTNERS) else { return };
        world.sh(&format!(
            "mkdir -p srv/acme/inbox; chmod 755 srv srv/acme; chown 4001:4001 srv/acme/inbox; cd srv/acme/inbox
             for n in $(seq {count}); do echo 1 > pay$n.csv; done; chown 4002:4002 *.csv; chmod 600 *.csv; echo 1 > open.csv; chmod 644 open.csv"
        ));
        let said = checked(&world);
        let line = said.lines().find(|line| line.contains("may not read")).expect("it says so");
        assert_eq!(line.matches(".csv").count(), named, "{said}");
        assert!(line.contains(more) && !line.contains("open.csv"), "{said}");
        world.sh(&commands(&said)[0]);
        let said = checked(&world);
        assert_eq!(said.contains("may not read"), count > named, "{said}");
    }
}

/// Goal: what a killed `check` left is gone after the next one, or after the service's start, and nothing else that has its name.
#[test]
fn a_check_that_is_killed_leaves_nothing_that_the_next_one_or_the_service_does_not_take_away() {
    let Some(world) = zone(PARTNERS) else { return };
    world.sh(&format!("mkdir -p srv/acme/inbox srv/initech/inbox; chown -R {SERVICE}:{SERVICE} srv"));
    for milliseconds in 0..30 {
        world.sh(&format!(
            "timeout -s KILL 0.{milliseconds:03} setpriv --reuid={SERVICE} --regid={SERVICE} --clear-groups ./landfall check > killed.txt 2>&1 || true"
        ));
    }
    is_clean(&world);
    // As if each had been killed at its worst.
    let left = "srv/acme/inbox/.landfall-probe srv/acme/inbox/.landfall/.landfall-probe out/.landfall-probe archive/.landfall-probe";
    let leave = |files: &str| {
        world.sh(&format!("mkdir -p -m 700 srv/acme/inbox/.landfall; touch {files}; chown -R {SERVICE}:{SERVICE} srv out archive"));
    };
    leave(left);
    checked(&world);
    assert_eq!(world.sh("find . -name '.landfall-probe*'"), "");
    leave("srv/acme/inbox/.landfall-probe srv/acme/inbox/.landfall/.landfall-probe");
    let mut service = world.start_as(SERVICE);
    world.sh(&format!("echo 1 > staged; chown {SERVICE} staged; mv staged srv/acme/inbox/a.csv"));
    service.wait_for(&world, "archive/acme/a.csv");
    service.stop();
    assert_eq!(world.sh("find . -name '.landfall-probe*'"), "");
}

#[test]
fn what_a_sender_names_like_the_probe_is_not_touched_and_told() {
    for (made, found) in [
        ("touch srv/acme/inbox/.landfall-probe", "regular empty file"),
        ("ln -s ../../../victim srv/acme/inbox/.landfall-probe", "symbolic link"),
        ("mkfifo srv/acme/inbox/.landfall-probe", "fifo"),
    ] {
        let Some(world) = zone(PARTNERS) else { return };
        world.sh(&format!(
            "mkdir -p srv/acme/inbox; touch victim; {made}; chown -h {PARTNER} srv/acme/inbox/.landfall-probe
             chown {SERVICE}:{SERVICE} victim srv/acme/inbox"
        ));
        let said = checked(&world);
        assert!(said.contains(".landfall-probe is not the service's: nothing can be tried there"), "{said}");
        assert_eq!(
            world.sh("stat -c '%F %u' srv/acme/inbox/.landfall-probe"),
            format!("{found} {PARTNER}\n")
        );
        assert!(world.has("victim"));
    }
}

#[test]
fn nothing_is_tried_while_the_service_runs_and_what_it_may_not_is_told_all_the_same() {
    let Some(world) = zone(PARTNERS) else { return };
    world.sh(&format!(
        "mkdir -p srv/acme/inbox srv/initech/inbox; chown {SERVICE}:{SERVICE} srv/initech/inbox"
    ));
    let mut service = world.start_as(SERVICE);
    service.wait_until_it_watches();
    let changed = "stat -c '%n %z' srv/acme/inbox srv/initech/inbox out archive data";
    let before = world.sh(changed);
    let said = checked(&world);
    assert!(said.contains("note: ") && said.contains("nothing is tried in its folders"), "{said}");
    assert!(said.contains(&format!("user {SERVICE} may not list and write in")), "{said}");
    assert_eq!(world.sh(changed), before);
    service.stop();
}

#[test]
fn root_is_told_as_whom_to_ask_and_tries_nothing() {
    let Some(world) = zone(PARTNERS) else { return };
    world.sh("mkdir -p srv/acme/inbox");
    let before = world.sh("stat -c '%n %z' srv/acme/inbox out archive");
    let said = world.landfall(&["check"]).done().stdout;
    assert!(said.contains(&format!("`sudo -u '#{SERVICE}' landfall check`")), "{said}");
    assert_eq!(world.sh("stat -c '%n %z' srv/acme/inbox out archive"), before);
}

#[test]
fn a_thousand_partners_are_tried_within_two_seconds_and_what_they_lack_is_told_in_one_line() {
    let Some(world) = zone(PARTNERS) else { return };
    world.sh(&format!(
        "mkdir -p srv/p{{1..1000}}/inbox; chown -R {SERVICE}:{SERVICE} srv
         for n in {{1..312}}; do chown $((5000 + n)):$((5000 + n)) srv/p$n/inbox; done"
    ));
    let said = checked(&world);
    assert_eq!(said.matches("warning: ").count(), 1, "{said}");
    let folder = world.folder().display();
    for words in [
        "312 of 1,000 folders: user 4001 may not list and write in ".to_owned(),
        format!("`setfacl -m u:4001:rwx,d:u:4001:rwX {folder}/srv/*/inbox`"),
    ] {
        assert!(said.contains(&words), "`{words}` is not in:\n{said}");
    }
    leaves_nothing(&world);
    world.sh(&commands(&said)[1]);
    is_clean(&world);
    // Of the processor: what else the machine does is not counted.
    let script = format!(
        "TIMEFORMAT='%U %S'; time setpriv --reuid={SERVICE} --regid={SERVICE} --clear-groups ./landfall check > /dev/null"
    );
    let took = world.sh(&format!("({script}) 2>&1"));
    let seconds: f64 = took.split_whitespace().filter_map(|part| part.parse::<f64>().ok()).sum();
    assert!(seconds > 0.0 && seconds < 2.0, "it took {took}");
}

/// A layout of `docs/layouts.md`: its heading, the commands, and the keys of the rule.
fn recipes() -> Vec<(String, String, String)> {
    let text = include_str!("../docs/layouts.md");
    let block = |section: &str, kind: &str| {
        let begun = section.split(&format!("```{kind}\n")).nth(1)?;
        begun.split("```").next().map(str::to_owned)
    };
    let sections = text.split("\n## ").skip(1);
    sections
        .filter_map(|section| {
            let title = section.lines().next()?.to_owned();
            Some((title, block(section, "sh")?, block(section, "toml")?))
        })
        .collect()
}

/// Goal: what the documentation says to type makes a layout that `check` finds nothing to warn of, and that a file goes through.
#[test]
fn each_layout_of_the_documentation_is_clean_and_takes_a_partners_file() {
    let recipes = recipes();
    assert_eq!(recipes.len(), 4, "{recipes:#?}");
    for (title, commands, keys) in recipes {
        let Some(world) = zone("") else { return };
        let _disk = if title.contains("mount") {
            if !can_mount() {
                return;
            }
            Some(Disk::mount(&world.path("archive"), "8m"))
        } else {
            None
        };
        let root = world.folder().display().to_string();
        let here = |text: &str| {
            text.replace("/srv/", &format!("{root}/srv/"))
                .replace("/srv ", &format!("{root}/srv "))
                .replace("/data/", &format!("{root}/data-of-rules/"))
                .replace("/archive/", &format!("{root}/archive/"))
                .replace(
                    &format!("{root}/data-of-rules{root}/archive/"),
                    &format!("{root}/data-of-rules/archive/"),
                )
        };
        let commands = here(&commands)
            .replace("-o acme -g acme", &format!("-o {PARTNER} -g {PARTNER}"))
            .replace("-o acme", &format!("-o {PARTNER}"))
            .replace("landfall -g landfall", &format!("{SERVICE} -g {SERVICE}"))
            .replace("-g landfall", &format!("-g {SERVICE}"))
            .replace("u:landfall:", &format!("u:{SERVICE}:"));
        let out = format!("{root}/data-of-rules/out/{{stem}}.csv");
        let mut rule = format!("output = {{ main = {{ path = \"{out}\" }} }}\n{}", here(&keys));
        if !rule.contains("source =") {
            let archive = format!("archive_dir = \"{root}/data-of-rules/archive\"");
            rule = format!("{rule}source = {{ on_success = \"archive\", {archive} }}");
        }
        world.configure("", &[&rule]);
        world.sh(&format!("umask 022; {commands}"));
        is_clean(&world);
        let landing = world.sh("find srv -type d -empty | head -1");
        let (landing, sender) = (
            landing.trim(),
            if title.contains("own") && !title.contains("partner") { SERVICE } else { PARTNER },
        );
        assert!(!landing.is_empty(), "{title}: {commands}");
        let mut service = Service::start_by(&world, &format!("exec {} run", with_lease(&world)));
        world.sh(&format!(
            "cd {landing} && setpriv --reuid={sender} --regid={sender} --clear-groups bash -c 'umask 027; echo 1 > .a; mv .a a.csv'"
        ));
        service.wait_until(&title, || {
            let archived = world.sh("find archive data-of-rules -name a.csv -path '*archive*'");
            (!archived.is_empty()).then_some(())
        });
        service.stop();
        assert_eq!(world.text("data-of-rules/out/a.csv"), "1\n", "{title}");
        let jobs = as_service(&world, &["jobs"]).done().stdout;
        assert!(jobs.contains("completed"), "{title}: {jobs}");
    }
}

/// What `stat` says of the archived source: owner, group, mode, time.
fn archived(world: &World, folder: &str) -> String {
    world.sh(&format!("stat -c '%u:%g %a %Y' {folder}/a"))
}

/// Takes a file of the partner's, of another group and an old time, through a service; `archive` says where to.
fn archive_one(world: &World, run: &str, archive: &str) {
    let mut service = Service::start_by(world, run);
    service.wait_until_it_watches();
    world.sh(&format!("echo 1 > staged; chown {PARTNER}:4003 staged; chmod 664 staged; touch -d @1700000000 staged; mv staged in/a"));
    service.wait_for(world, &format!("{archive}/a"));
    service.stop();
}

#[test]
fn an_archived_source_keeps_what_the_service_may_keep_and_its_owner_where_the_rule_says_so() {
    if !can_mount() {
        return;
    }
    // As root: the group, the time and the mode without others' write; with the rule's word all of it. Renamed and copied alike.
    for (owner, at, kept) in [
        ("service", "archive", "0:4003 644"),
        ("service", "mnt/archive", "0:4003 644"),
        ("sender", "archive", "4002:4003 664"),
        ("sender", "mnt/archive", "4002:4003 664"),
    ] {
        let world = World::new(&format!(
            "source = {{ on_success = \"archive\", archive_dir = \"{at}\", archive_owner = \"{owner}\" }}"
        ));
        let _disk = Disk::mount(&world.path("mnt"), "8m");
        let said = world.landfall(&["check"]).done().stdout;
        assert!(!said.contains("do not keep"), "{said}");
        let is_copied = at.starts_with("mnt");
        assert_eq!(said.contains("they are copied to it"), is_copied, "{said}");
        archive_one(&world, &format!("exec {} run", env!("CARGO_BIN_EXE_landfall")), at);
        assert_eq!(archived(&world, at), format!("{kept} 1700000000\n"), "{owner}, {at}");
    }
}

#[test]
fn a_service_without_rights_keeps_what_it_may_and_check_says_what_it_may_not() {
    if !can_mount() {
        return;
    }
    for (owner, at, kept, lost) in [
        ("service", "archive", "4002:4003 664", None),
        (
            "service",
            "mnt/archive",
            "4001:4001 644",
            Some("do not keep their group (this user is not in it, and has no CAP_CHOWN) there"),
        ),
        (
            "sender",
            "mnt/archive",
            "4001:4001 644",
            Some("do not keep their owner (this user has no CAP_CHOWN), group"),
        ),
    ] {
        let Some(world) = zone(&format!(
            "source = {{ on_success = \"archive\", archive_dir = \"{at}\", archive_owner = \"{owner}\" }}"
        )) else {
            return;
        };
        let _disk = Disk::mount(&world.path("mnt"), "8m");
        world.sh(&format!(
            "chown {PARTNER}:4003 in; chmod 755 in; setfacl -m u:{SERVICE}:rwx in; chown {SERVICE}:{SERVICE} mnt; chmod 755 mnt"
        ));
        let said = checked(&world);
        match lost {
            Some(lost) => assert!(said.contains("note: ") && said.contains(lost), "{said}"),
            None => assert!(!said.contains("do not keep"), "{said}"),
        }
        assert!(!said.contains("warning: "), "{said}");
        leaves_nothing(&world);
        archive_one(&world, &format!("exec {} run", with_lease(&world)), at);
        assert_eq!(archived(&world, at), format!("{kept} 1700000000\n"), "{owner}, {at}");
    }
}

#[test]
fn an_archive_on_another_mount_without_room_is_told() {
    if !can_mount() {
        return;
    }
    let world = World::with_service(
        "free_min = \"4MiB\"",
        "source = { on_success = \"archive\", archive_dir = \"mnt/archive\" }",
    );
    let disk = Disk::mount(&world.path("mnt"), "8m");
    let said = world.landfall(&["check"]).done().stdout;
    assert!(
        said.contains("note: ") && said.contains("8.0 MiB are free there") && !said.contains("warning: "),
        "{said}"
    );
    disk.fill(2 << 20);
    let said = world.landfall(&["check"]).done().stdout;
    assert!(said.contains("warning: ") && said.contains("2.0 MiB free, less than the 4.0 MiB"), "{said}");
}

#[test]
fn outputs_have_the_mode_of_their_rule_and_the_group_of_a_setgid_folder_whatever_the_umask() {
    let Some(world) = zone("output = { main = { path = \"out/{stem}.main\", mode = \"0664\" } }") else {
        return;
    };
    world.sh(&format!("chown {SERVICE}:4003 out; chmod 2775 out; chown {SERVICE} in"));
    is_clean(&world);
    let mut service = Service::start_by(&world, &format!("umask 077; exec {} run", with_lease(&world)));
    world.sh(&format!("echo 1 > staged; chown {SERVICE} staged; mv staged in/a"));
    service.wait_for(&world, "archive/a");
    service.stop();
    assert_eq!(world.sh("stat -c '%u:%g %a' out/a.main"), "4001:4003 664\n");
}

#[test]
fn a_read_only_mount_is_named_with_the_command_that_makes_it_writable() {
    if !can_mount() {
        return;
    }
    let world = World::new("paths = [\"mnt/in/*\"]");
    let disk = Disk::mount(&world.path("mnt"), "4m");
    world.sh("mkdir mnt/in");
    disk.change("ro");
    let said = world.landfall(&["check"]).done().stdout;
    let mount = world.path("mnt").display().to_string();
    assert!(
        said.contains(&format!(
            "{mount}/in lies on {mount}, which is mounted read-only: files cannot be taken"
        )),
        "{said}"
    );
    let command = commands(&said).remove(0);
    assert_eq!(command, format!("mount -o remount,rw {mount}"));
    disk.change("rw"); // the same, in this test's own view of the mounts
    assert!(!world.landfall(&["check"]).done().stdout.contains("warning: "));
}

/// exFAT has no owners: whose all on it is, and who may write there, say the mount's options.
#[test]
fn a_mount_whose_options_open_it_to_everybody_is_told_with_the_options_that_do_not() {
    let world = World::new("paths = [\"mnt/in/*\"]\noutput = { main = { path = \"mnt/out/{name}\" } }");
    let Some(_mounted) = Mounted::new(&world, Kind::Exfat("umask=000")) else { return };
    world.sh("mkdir mnt/in");
    let said = world.landfall(&["check"]).done().stdout;
    assert!(said.contains("can be written by other users (mode 0777)"), "{said}");
    assert!(said.contains("`-o uid=root,gid=root,umask=077`"), "{said}");
    assert!(
        !said.contains("setfacl") && !said.contains("chmod 700"),
        "no other command helps there:\n{said}"
    );
    let mut service = world.start();
    world.sh("echo 1 > mnt/in/a");
    service.wait_for_log("umask=077");
    service.stop();
    assert_eq!(world.sh("find mnt -name '.landfall-probe*'"), "");
}

#[test]
fn a_folder_that_an_attribute_closes_is_told_with_the_attribute() {
    for attribute in ["i", "a"] {
        let Some(world) = zone(PARTNERS) else { return };
        world.sh(&format!("mkdir -p srv/acme/inbox; chown {SERVICE}:{SERVICE} srv/acme/inbox"));
        // Not every file system has the attribute.
        if world.sh(&format!("chattr +{attribute} srv/acme/inbox 2>&1 || echo no")).contains("no") {
            return;
        }
        let said = checked(&world);
        let named = commands(&said);
        world.sh("chattr -ia srv/acme/inbox");
        let command = format!("chattr -ia {}/srv/acme/inbox", world.folder().display());
        assert!(named.contains(&command), "{said}");
        is_clean(&world);
    }
}

/// Its own attribute keeps a file from being taken, whatever its folder lets the service do; so does that of what goes with it.
#[test]
fn a_file_that_an_attribute_closes_waits_where_it_lies_until_the_command_that_is_told_opens_it() {
    for attribute in ["i", "a"] {
        let Some(world) = zone("paths = [\"in/*.txt\"]\nready = { checksum = \"{name}.sha256\" }\n") else {
            return;
        };
        world.sh(&format!(
            "cd in; for f in a b; do echo $f > $f.txt; sha256sum $f.txt > $f.txt.sha256; done; chown -R {SERVICE}:{SERVICE} ."
        ));
        // Not every file system has the attribute.
        if world.sh(&format!("chattr +{attribute} in/a.txt in/b.txt.sha256 2>&1 || echo no")).contains("no") {
            return;
        }
        let closed = ["in/a.txt", "in/b.txt.sha256"];
        let command = |file: &str| format!("`chattr -ia {}`", world.path(file).display());
        let said = checked(&world);
        let mut service = Service::start_by(&world, &format!("exec {} run", with_lease(&world)));
        let told = closed.map(|file| {
            service.wait_until(file, || {
                let said = as_service(&world, &["jobs"]);
                let said = format!("{}{}", said.stdout, said.stderr);
                said.contains(&command(file)).then_some(said)
            })
        });
        let there = closed.map(|file| world.has(file)).into_iter().chain([world.has("in/b.txt")]);
        let are_there = there.filter(|is_there| *is_there).count();
        world.sh("chattr -ia in/a.txt in/b.txt.sha256");
        assert!(commands(&said).contains(&command("in/a.txt").replace('`', "")), "{said}");
        assert_eq!(are_there, 3, "{told:#?}");
        service.wait_for(&world, "archive/a.txt");
        service.wait_for(&world, "archive/b.txt");
        service.stop();
        assert_eq!(world.files("out"), ["a.main", "b.main"]);
    }
}

/// What belongs to a sender, and he put where the service's own folder goes, is not written to, nor is root told to change it.
#[test]
fn a_link_in_place_of_the_claim_folder_holds_its_files_up_and_no_command_is_named_that_would_follow_it() {
    let Some(world) = zone("") else { return };
    world.sh(&format!(
        "chown {PARTNER}:{SERVICE} in; chmod 2770 in; mkdir -p victim/sub; chmod 1777 victim; chmod 777 victim/sub; ln -s ../victim in/.landfall; \
         echo 1 > in/a.txt; chown {PARTNER}:{SERVICE} in/a.txt; chmod 640 in/a.txt"
    ));
    let link = world.path("in/.landfall").display().to_string();
    let said = checked(&world);
    let what = format!("{link} is a symbolic link, or no folder");
    assert!(said.contains(&what) && said.contains("move what lies there to another place"), "{said}");
    let named = commands(&said);
    assert!(!named.iter().any(|command| command.contains(&link)), "{named:?}");
    let mut service = Service::start_by(&world, &format!("exec {} run", with_lease(&world)));
    service.wait_until("it is told", || {
        let said = as_service(&world, &["jobs"]).stdout;
        (said.contains("symbolic link") && said.contains("move what lies there")).then_some(())
    });
    assert_eq!(world.files("victim"), [""; 0]);
    world.sh("rm in/.landfall");
    service.wait_for(&world, "archive/a.txt");
    service.stop();
    assert_eq!(world.sh("stat -c %a victim victim/sub"), "1777\n777\n");
}

/// Claimed, it could not be mended by its sender any more.
#[test]
fn totals_or_a_checksum_that_may_not_be_read_hold_the_file_up_where_both_lie_and_a_marker_does_not() {
    for (key, name, text) in [
        ("totals", "a.txt.ctl", "echo '{ \"records\": 1 }'"),
        ("checksum", "a.txt.sha256", "sha256sum a.txt"),
        ("marker", "a.txt.done", "echo"),
    ] {
        let by = if key == "marker" { "strategy = \"marker\", " } else { "" };
        let rule = format!(
            "paths = [\"in/*.txt\"]\nready = {{ {by}{key} = \"{{name}}.{}\" }}\n",
            &name["a.txt.".len()..]
        );
        let Some(world) = zone(&rule) else { return };
        world.sh(&format!(
            "chown {PARTNER}:{SERVICE} in; chmod 2770 in; cd in; echo 1 > a.txt; {text} > {name}; chown {PARTNER}:{SERVICE} a.txt {name}; \
             chmod 640 a.txt; chmod 600 {name}"
        ));
        let mut service = Service::start_by(&world, &format!("exec {} run", with_lease(&world)));
        if key != "marker" {
            let command = format!("`chmod g+r {}`", world.path("in").join(name).display());
            service.wait_until("it is told", || {
                let said = as_service(&world, &["explain", "in/a.txt"]).stdout;
                (said.contains(&format!("its {key} cannot be read")) && said.contains(&command)).then_some(())
            });
            assert!(world.has("in/a.txt") && world.has(format!("in/{name}")), "{:?}", world.files("in"));
            world.sh(&command.replace('`', ""));
        }
        service.wait_for(&world, "archive/a.txt");
        service.wait_until("all is done", || world.files("in").is_empty().then_some(()));
        service.stop();
    }
}

/// Goal: `sudo` has no capability, and a service that has it is not said to lack it.
#[test]
fn that_writers_are_not_seen_is_told_by_what_the_service_may_and_once_for_all_rules() {
    let Some(world) = zone("") else { return };
    let rule = |name: &str, more: &str| {
        world.sh(&format!("mkdir -p {name}; chown {PARTNER}:{SERVICE} {name}; chmod 2770 {name}"));
        format!(
            "name = \"{name}\"\npaths = [\"{name}/*\"]\noutput = {{ main = {{ path = \"out/{name}-{{name}}\" }} }}\n{more}"
        )
    };
    let marked = "ready = { strategy = \"marker\", marker = \"{name}.done\" }\n";
    let summed = "ready = { checksum = \"{name}.sha256\" }\n";
    world.configure("", &[&rule("marked", marked), &rule("summed", summed)]);
    let said = || as_service(&world, &["check"]).stdout;
    let told = "cannot be seen";
    assert!(!said().contains(told), "what proves an end says enough: {}", said());
    world.configure("", &[&rule("one", ""), &rule("marked", marked), &rule("two", "")]);
    let alone = said();
    assert_eq!(alone.matches(told).count(), 1, "{alone}");
    assert!(alone.contains("unless the service has CAP_LEASE, as the systemd unit gives it"), "{alone}");
    for (run, says) in [
        (with_lease(&world), None),
        (
            with_lease(&world).replace(" --inh-caps=+lease --ambient-caps=+lease", ""),
            Some("the running service has no CAP_LEASE"),
        ),
    ] {
        let mut service = Service::start_by(&world, &format!("exec {run} run"));
        service.wait_until_it_watches();
        let said = said();
        assert_eq!(said.contains(told), says.is_some(), "{said}");
        assert!(said.contains(says.unwrap_or_default()), "{said}");
        service.stop();
    }
}

/// Goal: that a shadow could not write its outputs is known before it is live.
#[test]
fn what_a_shadow_may_not_do_once_it_is_live_is_a_warning_and_nothing_is_tried_there() {
    let Some(world) = zone("mode = \"shadow\"\noutput = { main = { path = \"closed/new/{name}\" } }\n")
    else {
        return;
    };
    world.sh("mkdir closed");
    let said = as_service(&world, &["check"]).done().stdout;
    for word in
        ["closed/new cannot be made", "once the rule is live, what is to go there waits", "install -d"]
    {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    assert_eq!(world.sh("find . -name '.landfall-probe*'"), "");
}
