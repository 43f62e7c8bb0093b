//! Promise: beside a live rule, and whatever goes wrong with it, a shadow tells what became of each file, and keeps nobody from anything.
#![cfg(unix)]

mod support;

use std::fs;

use serde_json::Value;
use support::{Service, World, lines};

const LIVE: &str = "name = \"live\"\npaths = [\"in/*\"]\noutput = { main = { path = \"live/{stem}.main\" } }\n\
    source = { on_success = \"delete\" }\n";
const SHADOW: &str = "mode = \"shadow\"\n";

fn beside_a_live_rule(service: &str, live: &str, shadow: &str) -> World {
    let world = World::bare();
    world.configure(service, &[&format!("{LIVE}{live}"), &format!("{SHADOW}{shadow}")]);
    fs::create_dir(world.path("in")).expect("a folder");
    world
}

/// What `landfall shadow` tells; its exit code besides.
#[track_caller]
fn report(world: &World) -> (Value, i32) {
    let ran = world.landfall(&["shadow", "payments", "--json"]);
    let told = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    (told, ran.code.expect("it ended by itself"))
}

fn sum(told: &Value, of: &str) -> u64 {
    told["sum"][of].as_u64().unwrap_or_else(|| panic!("no {of}: {told:#}"))
}

/// Of so many files something is told, and nothing is under way.
#[track_caller]
fn wait_for_all(service: &mut Service, world: &World, count: u64) -> Value {
    let are_told = |told: &Value| sum(told, "files") == count && sum(told, "unfinished") == 0;
    let what = format!("{count} files are told");
    service.wait_until(&what, || Some(report(world).0).filter(are_told))
}

fn statuses(told: &Value) -> Vec<&str> {
    let files = told["files"].as_array().expect("a list").iter();
    files.map(|file| file["status"].as_str().expect("a word")).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_a_shadow_has_no_room_for_is_told_as_gone_when_a_live_rule_takes_it() {
    use support::disk::{Disk, can_mount};
    if !can_mount() {
        return;
    }
    let world = beside_a_live_rule("free_min = \"64MiB\"", "", "");
    fs::create_dir_all(world.path("data/shadow")).expect("a folder");
    let _disk = Disk::mount(&world.path("data/shadow"), "32m");
    let mut service = world.start();
    service.wait_until_it_watches();
    for number in 0..5 {
        world.move_in(&format!("in/{number}"), "1\n");
    }
    service.wait_until("the live rule takes them", || (world.files("live").len() == 5).then_some(()));
    let told = service.wait_until("each is told", || {
        let told = report(&world).0;
        let is_told = |number: u64| {
            let mut files = told["files"].as_array().expect("a list").iter();
            files.any(|file| file["source"].as_str().is_some_and(|it| it.ends_with(&format!("in/{number}"))))
        };
        (0..5).all(is_told).then_some(told)
    });
    assert!(statuses(&told).iter().all(|status| *status == "gone"), "{told:#}");
    let (told, code) = report(&world);
    assert_eq!((sum(&told, "gone"), sum(&told, "waiting"), code), (5, 0, 0), "{told:#}");
    service.stop();
}

/// Goal: what the live rule gives back, and takes again as it was, fails for both.
#[test]
fn a_file_that_ends_early_and_comes_back_as_it_was_is_told_to_fail_and_is_not_lost() {
    const FILES: usize = 8;
    let world = beside_a_live_rule("", "", "");
    world.write("whole", lines(20_000));
    world.sh("gzip whole; head -c 20000 whole.gz >cut.gz");
    let mut service = world.start();
    service.wait_until_it_watches();
    for number in 0..FILES {
        world.move_in(&format!("in/{number}.gz"), world.bytes("cut.gz"));
    }
    service.wait_until("the live rule fails them", || {
        let failed = world.jobs().iter().filter(|job| job["state"] == "failed").count();
        (failed == FILES).then_some(())
    });
    // As long as one has not come back to the shadow, too, it is told as gone.
    let fails = |told: &Value, name: &str| {
        let mut files = told["files"].as_array().expect("a list").iter();
        files.any(|file| {
            file["status"] == "would fail" && file["source"].as_str().is_some_and(|it| it.ends_with(name))
        })
    };
    let all_fail = |told: &Value| {
        (0..FILES).all(|number| fails(told, &format!("/{number}.gz"))) && sum(told, "files") == FILES as u64
    };
    service.wait_until("the shadow fails them, each once", || Some(report(&world).0).filter(all_fail));
    service.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_would_be_held_are_told_so_and_none_is_kept_open() {
    const FILES: usize = 12;
    let world = beside_a_live_rule("", "", "delivery = { key = \"{rule}\", same_key = \"hold\" }\n");
    let mut service = world.start();
    service.wait_until_it_watches();
    for number in 0..FILES {
        world.move_in(&format!("in/{number}"), format!("{number}\n"));
    }
    let told = wait_for_all(&mut service, &world, FILES as u64);
    assert_eq!((sum(&told, "gone"), sum(&told, "held")), (0, FILES as u64 - 1), "{}", told["sum"]);
    assert_eq!(report(&world).1, 1);
    let mut files = told["files"].as_array().expect("a list").iter();
    let held = files.find(|file| file["status"] == "would be held");
    assert!(held.is_some_and(|file| file["detail"].is_string()), "{told:#}");
    world.landfall(&["shadow", "payments"]).ends_with(1).says(&[": would be held", "11 would be held"]);
    let descriptors = format!("/proc/{}/fd", service.id());
    service.wait_until("none is open", || {
        let open = fs::read_dir(&descriptors).into_iter().flatten().flatten();
        let mut open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        let is_source = |path: std::path::PathBuf| path.to_string_lossy().contains("(deleted)");
        (!open.any(|path| path.starts_with(world.path("in")) && is_source(path))).then_some(())
    });
    service.stop();
}

#[test]
fn a_file_whose_key_a_shadow_lacks_would_be_held_where_a_live_rule_takes_it_away() {
    let world = World::bare();
    let recipient = world.age_key();
    let with = |keys: &str| format!("decode = {{ identities = [\"{keys}\"] }}\n");
    let live = format!("{LIVE}{}", with("key.txt"));
    let shadow = format!("{SHADOW}{}", with("other.txt"));
    world.age_key_in("other.txt");
    world.configure("", &[&live, &shadow]);
    world.write("a", "1\n");
    world.sh(&format!("age -r {recipient} -o a.age a"));
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a.age", world.bytes("a.age"));
    service.wait_for(&world, "live/a.main");
    let told = wait_for_all(&mut service, &world, 1);
    assert_eq!(statuses(&told), ["would be held"], "{told:#}");
    service.stop();
}

#[test]
fn what_a_killed_shadow_had_written_does_not_stay_when_there_are_no_shadows_any_more() {
    let world =
        World::new("mode = \"shadow\"\npipeline = [{ step = \"filter\", drop = { equals = \"x\" } }]\n");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a", lines(400_000));
    let is_written =
        || fs::read_dir(world.path("data/shadow/out")).is_ok_and(|mut jobs| jobs.next().is_some());
    service.wait_until("something is written", || is_written().then_some(()));
    service.kill();
    assert!(is_written());
    world.configure("", &["mode = \"off\"\n"]);
    let mut service = world.start();
    service.wait_for_log("data/shadow/out");
    service.wait_until("nothing of it is left", || (!is_written()).then_some(()));
    assert_eq!(statuses(&report(&world).0), ["read"], "it was brought to its end");
    service.stop();
}

#[test]
fn shadow_rules_that_cannot_be_watched_are_told_and_tried_again_while_live_ones_go_on() {
    let world = beside_a_live_rule("", "", "");
    let in_its_place = world.write("data/shadow", "");
    let mut service = world.start();
    service.wait_until_it_watches();
    service.wait_for_log("shadow rules cannot be watched");
    world.move_in("in/a", "1\n");
    service.wait_for(&world, "live/a.main");
    let told = ["shadow rules are not watched: ", "data/shadow", "tried again by itself"];
    world.landfall(&["reload"]).ends_with(2).says(&told);
    world.landfall(&["rules"]).says(&told);
    support::remove(&in_its_place);
    service.wait_for_log("shadow rules are watched now");
    world.landfall(&["reload"]).done();
    world.move_in("in/b", "1\n");
    let told = wait_for_all(&mut service, &world, 1);
    assert_eq!(statuses(&told), ["read"], "{told:#}");
    service.stop();
}

/// Goal: who changes a rule changes nothing of what is said of files that it took before.
#[test]
fn a_file_is_told_by_the_rule_that_it_was_taken_under_whatever_the_rule_says_since() {
    const RECORDS: usize = 400_000;
    let with_exec =
        "mode = \"shadow\"\npipeline = [{ step = \"exec\", command = [\"cat\"], protocol = \"line\" }]\n";
    let without = "mode = \"shadow\"\npipeline = [{ step = \"filter\", drop = { equals = \"x\" } }]\n";
    let world = World::new(with_exec);
    let mut service = world.start();
    service.wait_until_it_watches();
    for (name, then) in [("a", without), ("b", with_exec)] {
        world.move_in(&format!("in/{name}"), lines(RECORDS));
        let is_running = || {
            report(&world).0["files"]
                .as_array()
                .is_some_and(|files| files.iter().any(|file| file["state"] == "running"))
        };
        service.wait_until("it is being read", || is_running().then_some(()));
        world.configure("", &[then]);
        world.landfall(&["reload"]).done();
        wait_for_all(&mut service, &world, if name == "a" { 1 } else { 2 });
    }
    let told = report(&world).0;
    let [a, b] = [0, 1].map(|at| &told["files"][at]);
    assert_eq!((&a["not_run"], &a["outputs"]), (&"step 1, exec".into(), &serde_json::json!([])), "{a:#}");
    assert_eq!((&b["not_run"], &b["outputs"][0]["content_lines"]), (&Value::Null, &RECORDS.into()), "{b:#}");
    service.stop();
}

#[test]
fn an_output_may_begin_as_packed_and_encrypted_files_do() {
    for output in ["out/{stem}.main", "out/{stem}.main.gz"] {
        let rule = format!(
            "mode = \"shadow\"\noutput = {{ main = {{ path = \"{output}\" }} }}\n\
             pipeline = [{{ step = \"filter\", drop = {{ equals = \"drop\" }} }}]\n"
        );
        let world = World::new(&rule);
        let beginnings = ["BZh91AY", "age-encryption.org/v1", "-----BEGIN AGE ENCRYPTED FILE-----"];
        for (number, beginning) in beginnings.iter().enumerate() {
            // A record of its own before it: the source is not read as a packed one.
            world.write(format!("in/{number}"), format!("drop\n{beginning}\n2\n"));
        }
        let mut service = world.start();
        let told = wait_for_all(&mut service, &world, 3);
        assert_eq!(statuses(&told), ["read"; 3], "{told:#}");
        for file in told["files"].as_array().expect("a list") {
            assert_eq!(file["outputs"][0]["content_lines"], 2, "{told:#}");
        }
        assert!(fs::read_dir(world.path("data/shadow/out")).is_ok_and(|mut jobs| jobs.next().is_none()));
        service.stop();
    }
}

#[test]
fn theirs_is_looked_through_whole_and_what_cannot_be_looked_at_is_told_and_counts() {
    let world = World::new("mode = \"shadow\"\ncompare = \"old\"\n");
    world.sh("mkdir -p old/1 old/2/3");
    world.write("in/a", "1\n");
    let mut service = world.start();
    wait_for_all(&mut service, &world, 1);
    for folder in ["1", "2/3"] {
        world.write(format!("old/{folder}/nobody.main"), "1\n");
    }
    let (told, code) = report(&world);
    assert_eq!(
        (told["theirs_only"].as_array().map(Vec::len), sum(&told, "theirs_only"), code),
        (Some(2), 2, 1)
    );
    support::rename(&world.path("old"), &world.path("away"));
    let (told, code) = report(&world);
    assert_eq!((sum(&told, "not_compared"), sum(&told, "theirs_only"), code), (1, 0, 1), "{told:#}");
    assert!(told["theirs_not_read"][0].as_str().is_some_and(|why| why.contains("old: ")), "{told:#}");
    world.landfall(&["shadow", "payments"]).ends_with(1).says(&["not compared: ", "1 not compared"]);
    service.stop();
}
