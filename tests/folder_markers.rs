//! Promise: where one marker stands for a whole folder, what came before it is taken, what comes after it waits for the next one, and it goes
//! with the last file that it stood for, whatever is killed.
#![cfg(unix)]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Service, World};

const RULE: &str = r#"
paths = ["in/*/*.txt"]
ready = { strategy = "marker", marker = "_SUCCESS", marker_for = "folder", stable_for = "300ms", linger = "50ms" }
output = { main = { path = "out/{parent}-{stem}.main" } }
source = { on_success = "archive", archive_dir = "archive/{parent}" }
"#;

fn explained(world: &World, file: &str) -> Value {
    world.json(&["explain", file, "--json"])
}

/// Waits until the service says of a file that it waits for this.
#[track_caller]
fn waits_for(service: &mut Service, world: &World, file: &str, reason: &str) {
    service.wait_until(reason, || {
        let explained = explained(world, file);
        explained["waits"].as_str().is_some_and(|waits| waits.contains(reason)).then_some(())
    });
}

fn archived(world: &World, folder: &str) -> Vec<String> {
    world.files(&format!("archive/{folder}"))
}

#[test]
fn the_files_of_a_folder_are_taken_at_its_marker_which_goes_with_the_last() {
    let world = World::new(RULE);
    let mut service = world.start();
    for name in ["a", "b", "c"] {
        world.write(format!("in/one/{name}.txt"), name);
    }
    world.write("in/two/d.txt", "d");
    waits_for(&mut service, &world, "in/one/c.txt", "for its marker");
    world.write("in/one/_SUCCESS", "");
    service.wait_until("all are archived", || (archived(&world, "one").len() == 4).then_some(()));
    assert_eq!(archived(&world, "one"), ["_SUCCESS", "a.txt", "b.txt", "c.txt"]);
    assert!(!world.has("in/one/_SUCCESS") && world.has("in/two/d.txt"), "{:?}", world.files("in"));
    let last: Vec<_> = world.jobs().into_iter().filter(|job| job["state"] != "completed").collect();
    assert_eq!(last, [Value::Null; 0]);
    let marker = world.landfall(&["explain", "in/one/_SUCCESS"]).done();
    assert!(marker.stdout.contains("`ready.marker`"), "{}", marker.stdout);
    service.stop();
}

/// Senders that keep times (`rsync -t`, `cp -p`) bring files that seem older than a marker which came before them.
#[test]
fn what_comes_after_the_marker_waits_for_the_next_one_however_old_it_says_it_is() {
    let world = World::new(
        &RULE
            .replace("on_success = \"archive\", archive_dir = \"archive/{parent}\"", "on_success = \"keep\""),
    );
    let mut service = world.start();
    world.write("in/one/a.txt", "a");
    world.write("in/one/_SUCCESS", "");
    service.wait_for(&world, "out/one-a.main");
    world.sh("echo b > in/one/b.part; touch -d 2001-01-01 in/one/b.part; mv in/one/b.part in/one/b.txt; echo c > in/one/c.txt");
    waits_for(&mut service, &world, "in/one/b.txt", "for the next marker of its folder");
    waits_for(&mut service, &world, "in/one/c.txt", "for the next marker of its folder");
    assert!(world.has("in/one/_SUCCESS"), "files stay where they lie, and so does their marker");
    service.kill();
    let mut service = world.start();
    waits_for(&mut service, &world, "in/one/b.txt", "for the next marker of its folder");
    world.sh("touch in/one/_SUCCESS");
    service.wait_for(&world, "out/one-b.main");
    service.wait_for(&world, "out/one-c.main");
    service.stop();
    assert_eq!(world.jobs().len(), 3);
}

#[test]
fn a_marker_without_files_stays_and_lets_nothing_in() {
    let world = World::new(RULE);
    world.write("in/one/_SUCCESS", "");
    let mut service = world.start();
    world.write("in/one/a.txt", "a");
    waits_for(&mut service, &world, "in/one/a.txt", "for the next marker of its folder");
    world.write("in/one/_SUCCESS", "");
    service.wait_until("both are archived", || (archived(&world, "one").len() == 2).then_some(()));
    service.stop();
}

#[test]
fn a_name_of_a_file_whose_job_is_done_does_not_keep_the_marker_from_going() {
    let world = World::new(RULE);
    let mut service = world.start();
    world.write("staging/x", "a");
    world.sh("mkdir -p in/one; ln staging/x in/one/a.txt");
    world.write("in/one/_SUCCESS", "");
    service.wait_until("the first goes", || (archived(&world, "one").len() == 2).then_some(()));
    world.sh("ln staging/x in/one/second.txt; echo b > in/one/b.txt");
    world.write("in/one/_SUCCESS", "");
    service.wait_until("the marker goes", || (!world.has("in/one/_SUCCESS")).then_some(()));
    waits_for(&mut service, &world, "in/one/second.txt", "has published");
    service.stop();
    assert_eq!(world.files("out"), ["one-a.main", "one-b.main"]);
}

/// One of the batch is given back, waits, and is refused at last; the marker does not go before it, nor lets it wait for another one.
#[test]
fn a_file_that_is_refused_holds_up_neither_the_others_nor_the_marker() {
    let world = World::new(&RULE.replace("*.txt", "*"));
    world.sh("mkdir -p in/one; seq 20000 | gzip | head -c -100 > in/one/cut.gz");
    for name in ["a", "z"] {
        world.write(format!("in/one/{name}"), name);
    }
    let mut service = world.start();
    world.write("in/one/_SUCCESS", "");
    service.wait_for(&world, "in/one/.landfall/quarantine/cut.gz.error.json");
    service.wait_for(&world, "archive/one/z");
    service.wait_until("nothing is left", || {
        let left = world.files("in/one");
        left.iter().all(|name| name.starts_with(".landfall/quarantine/")).then_some(())
    });
    service.stop();
    let all = [archived(&world, "one"), world.files("in/one/.landfall/quarantine")].concat();
    assert_eq!(all.iter().filter(|name| *name == "_SUCCESS").count(), 1, "{all:?}");
    assert_eq!(world.files("out"), ["one-a.main", "one-z.main"]);
}

/// A backup by hard links and a change of rights set the time of a file's last change, and are nothing that its sender did.
#[test]
fn what_was_done_to_files_of_a_marker_while_the_service_was_down_lets_none_of_them_wait_for_another_one() {
    let world = World::new(RULE);
    world.sh("mkdir -p in/one backup");
    for name in ["made", "gone", "rights"] {
        world.write(format!("in/one/{name}.txt"), name);
    }
    world.sh("ln in/one/gone.txt backup/gone");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.landfall(&["pause", "--rule", support::RULE]).done();
    world.write("in/one/_SUCCESS", "");
    for name in ["made", "gone", "rights"] {
        waits_for(&mut service, &world, &format!("in/one/{name}.txt"), "paused by");
    }
    service.stop();
    world.sh("sleep 0.02; ln in/one/made.txt backup/made; rm backup/gone; chmod 600 in/one/rights.txt");
    world.write("in/one/later.txt", "later");
    let mut service = world.start();
    world.landfall(&["resume", "--rule", support::RULE]).done();
    service.wait_until("they go with their marker", || (archived(&world, "one").len() == 4).then_some(()));
    waits_for(&mut service, &world, "in/one/later.txt", "for its marker");
    service.stop();
    assert_eq!(archived(&world, "one"), ["_SUCCESS", "gone.txt", "made.txt", "rights.txt"]);
}

/// A file that has other names once its service starts again is given back, if its job had not begun.
#[test]
fn a_file_that_is_given_back_after_a_restart_needs_no_marker_again_through_further_restarts() {
    let gated =
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], timeout = \"60s\" }]";
    let rule = RULE.replace("300ms", "2s"); // what is given back is not taken before the kill
    let world = World::with_service("workers = 1", &format!("{rule}{gated}"));
    world.write("gate", "#!/bin/sh\n[ -e go ] || exec sleep 60\nexec cat\n");
    world.sh("chmod +x gate; mkdir backup");
    for number in 0..FILES {
        world.write(format!("in/one/{number}.txt"), format!("{number}\n"));
    }
    world.write("in/one/_SUCCESS", "");
    let mut service = world.start();
    let unbegun = || world.jobs().iter().filter(|job| job["state"] == "queued").count();
    service.wait_until("all are claimed, and some have not begun", || {
        (world.jobs().len() == FILES && unbegun() >= FILES - 16).then_some(())
    });
    service.kill();
    world.sh("sleep 0.02; for f in in/one/.landfall/*.txt; do ln $f backup; done");
    let mut service = world.start();
    service.wait_until("those are given back, the last one with the marker", || {
        (world.has("in/one/_SUCCESS") && given_back(&world) > 0).then_some(())
    });
    service.kill();
    world.sh("sleep 0.02; chmod 640 in/one/*.txt");
    let mut service = world.start();
    service.wait_until_it_watches();
    service.kill();
    world.sh("sleep 0.02; chmod 600 in/one/*.txt || true"); // perhaps they are claimed again
    world.write("go", "");
    let mut service = world.start();
    service.wait_until("all are archived", || (archived(&world, "one").len() == FILES + 1).then_some(()));
    service.stop();
    assert_eq!(world.files("out").len(), FILES);
}

/// More than may run at once.
const FILES: usize = 20;

fn given_back(world: &World) -> usize {
    world.files("in/one").iter().filter(|name| !name.starts_with(['.', '_'])).count()
}

/// What nobody saw before may have been written anew behind the marker, with its old time set back: it is waited for, and told how it is taken.
#[test]
fn a_file_that_was_never_seen_and_was_changed_behind_its_marker_waits_and_says_what_lets_it_go() {
    let world = World::new(RULE);
    world.write("in/one/a.txt", "a");
    world.write("in/one/_SUCCESS", "");
    world.sh("mkdir backup; sleep 0.02; ln in/one/a.txt backup/a");
    let mut service = world.start();
    waits_for(&mut service, &world, "in/one/a.txt", "if it is of that one's batch, `touch ");
    world.landfall(&["jobs"]).done().says(&["in/one/a.txt", "in/one/_SUCCESS`"]);
    world.sh("touch in/one/_SUCCESS");
    service.wait_until("both are archived", || (archived(&world, "one").len() == 2).then_some(()));
    service.stop();
}

/// A clock that is wrong, and a marker that was copied with its time: the command that is told lets the file go on.
#[test]
fn a_time_that_holds_a_file_up_is_named_and_so_is_the_command_that_lets_it_go_on() {
    let world = World::new(RULE);
    let mut service = world.start();
    for (folder, times, told) in [
        (
            "future",
            "touch -d '+9999 seconds' in/future/a.txt; touch in/future/_SUCCESS",
            "lies in the future",
        ),
        (
            "copied",
            "touch -d @5 marker; mv marker in/copied/_SUCCESS",
            "an older time, 1970-01-01T00:00:05Z, than the file",
        ),
    ] {
        let file = format!("in/{folder}/a.txt");
        world.write(&file, "a");
        world.sh(times);
        waits_for(&mut service, &world, &file, told);
        let waits = explained(&world, &file)["waits"].as_str().expect("it waits").to_owned();
        let command = waits.split('`').find(|word| word.starts_with("touch ")).expect("a command");
        world.sh(command);
        service.wait_until("both are archived", || (archived(&world, folder).len() == 2).then_some(()));
    }
    service.stop();
}

#[test]
fn a_file_that_another_rule_kept_does_not_keep_the_marker_from_going() {
    let world = World::bare();
    let keeps = "name = \"keeps\"\npaths = [\"kept/*\"]\nsource = { on_success = \"keep\" }\noutput = { main = { path = \"kept-out/{name}\" } }\n";
    world.configure("", &[RULE, keeps]);
    let mut service = world.start();
    world.move_in("kept/m.txt", "m");
    service.wait_for(&world, "kept-out/m.txt");
    world.sh("mkdir -p in/one; mv kept/m.txt in/one/m.txt");
    waits_for(&mut service, &world, "in/one/m.txt", "rule \"keeps\" took it as ");
    world.write("in/one/b.txt", "b");
    world.write("in/one/_SUCCESS", "");
    service.wait_until("the marker goes", || (!world.has("in/one/_SUCCESS")).then_some(()));
    assert!(world.has("in/one/m.txt"), "it waits");
    service.wait_for(&world, "out/one-b.main");
    service.stop();
    assert_eq!(world.files("out"), ["one-b.main"]);
}

/// Goal: a kill at any moment loses and doubles nothing, and lets the marker go neither before the last file nor never.
/// Method: many small batches, each with kills in between.
#[test]
fn kills_at_any_moment_take_each_file_once_and_the_marker_with_the_last() {
    let world = World::new(RULE);
    let mut random = support::random::Random::seeded();
    for batch in 0..8 {
        for file in 0..12 {
            world.write(format!("in/b{batch}/{file}.txt"), format!("{batch} {file}\n"));
        }
        world.write(format!("in/b{batch}/_SUCCESS"), "");
    }
    for _ in 0..12 {
        let service = world.start();
        std::thread::sleep(Duration::from_millis(random.below(350))); // when it is killed is the point
        service.kill();
    }
    let mut service = world.start();
    service.wait_until("all are archived", || (world.files("archive").len() == 8 * 13).then_some(()));
    service.stop();
    assert_eq!(world.files("in"), [""; 0]);
    assert_eq!(world.files("out").len(), 8 * 12, "{:?}", world.files("out"));
    assert!(world.jobs().iter().all(|job| job["state"] == "completed"));
}

/// Senders write the marker of the next batch over that of the last one, perhaps before it was taken.
#[test]
fn batches_that_follow_each_other_closely_are_all_taken() {
    let world = World::new(RULE);
    let mut service = world.start();
    for batch in 0..30 {
        for file in 0..3 {
            world.write(format!("in/one/{batch}-{file}.txt"), "x\n");
        }
        world.sh("touch in/one/_SUCCESS");
        if batch % 3 == 0 {
            service.wait_for(&world, &format!("archive/one/{batch}-0.txt"));
        }
    }
    service.wait_until("all are published", || (world.files("out").len() == 90).then_some(()));
    service.wait_until("and the marker is gone", || (!world.has("in/one/_SUCCESS")).then_some(()));
    service.stop();
    assert_eq!(world.jobs().len(), 90);
}

#[test]
fn under_a_user_of_its_own_the_service_takes_a_batch_too() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: to become another user needs root");
        return;
    }
    let world = World::new(RULE);
    world.write("in/one/a.txt", "a");
    world.write("in/one/_SUCCESS", "");
    world.sh(
        "chmod 755 .; mkdir data archive out; chown -R 2001:2001 in data archive out; touch landfall.log",
    );
    let mut service = world.start_as(2001);
    service.wait_until("both are archived", || (archived(&world, "one").len() == 2).then_some(()));
    service.stop();
}

/// What is no regular file proves nothing, and is no reason to wait without a word.
#[test]
fn a_marker_that_is_a_link_a_folder_or_a_pipe_is_told() {
    let world = World::new(
        "ready = { strategy = \"marker\", marker = \"{name}.done\", totals = \"{name}.ctl\", late_after = \"1s\" }",
    );
    world.write("elsewhere", "");
    world.sh("cd in; for n in link folder pipe totals; do echo $n > $n.txt; done");
    world.sh("cd in; ln -s ../elsewhere link.txt.done; mkdir folder.txt.done; mkfifo pipe.txt.done; touch totals.txt.done; ln -s gone totals.txt.ctl");
    world.sh("cd in; for n in link folder pipe; do echo '{\"records\": 1}' > $n.txt.ctl; done");
    let mut service = world.start();
    let kinds = [
        ("link", "for its marker: what has that name is a symbolic link"),
        ("folder", "for its marker: what has that name is a folder"),
        ("pipe", "for its marker: what has that name is a pipe"),
        ("totals", "for its totals: what has that name is a symbolic link"),
    ];
    for (name, reason) in kinds {
        let file = format!("in/{name}.txt");
        waits_for(&mut service, &world, &file, reason);
        let said = world.landfall(&["explain", &file]).done().stdout;
        assert!(said.contains("only a regular file counts"), "{said}");
        service
            .wait_until("it is late", || (explained(&world, &file)["seen"]["is_late"] == true).then_some(()));
    }
    world.sh("cd in; rm link.txt.done; touch link.txt.done");
    service.wait_for(&world, "out/link.main");
    service.stop();
}
