//! Promise: each file that arrives complete is taken once, however it arrives, and none is taken before.
#![cfg(unix)]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use support::{World, lines};

#[test]
fn files_that_are_there_at_the_start_are_taken() {
    let world = World::new("");
    for name in ["a", "b", "c"] {
        world.write(format!("in/{name}.txt"), name);
    }
    let mut service = world.start();
    for name in ["a", "b", "c"] {
        service.wait_for(&world, &format!("archive/{name}.txt"));
        assert_eq!(world.text(format!("out/{name}.main")), format!("{name}\n"));
    }
    service.stop();
}

#[test]
fn a_moved_in_file_is_taken() {
    let world = World::new("");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.text("out/pay.main"), "one\n");
}

#[test]
fn a_file_of_no_bytes_is_taken() {
    let world = World::new("");
    let mut service = world.start();
    world.move_in("in/pay.txt", "");
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.text("out/pay.main"), "");
}

#[test]
fn folders_that_appear_later_are_watched() {
    let world = World::new(
        "paths = [\"in/{sender}/inbox/*.txt\"]\noutput = { main = { path = \"out/{sender}/{stem}.main\" } }",
    );
    let mut service = world.start();
    world.move_in("in/acme/inbox/one.txt", "one\n");
    service.wait_for(&world, "out/acme/one.main");
    world.move_in("in/initech/inbox/two.txt", "two\n");
    service.wait_for(&world, "out/initech/two.main");
    service.stop();
    let vars: Vec<_> = world.jobs().iter().map(|job| job["vars"]["sender"].clone()).collect();
    assert_eq!(vars, ["acme", "initech"]);
}

/// Its claim folder is made with the first claim, and must not pass for one made in the place of a folder that is away.
#[test]
fn the_first_file_of_a_folder_is_deleted_like_any_other() {
    let world = World::new(
        "paths = [\"in/{sender}/*.txt\"]\nsource = { on_success = \"delete\" }\noutput = { main = { path = \"out/{sender}.main\" } }",
    );
    let mut service = world.start();
    for sender in ["acme", "initech"] {
        world.move_in(&format!("in/{sender}/pay.txt"), "one\n");
        service.wait_until("a completed job", || {
            world
                .jobs()
                .into_iter()
                .find(|job| job["vars"]["sender"] == sender && job["state"] == "completed")
        });
        assert!(!world.files(&format!("in/{sender}")).iter().any(|name| name.contains("pay.txt")));
    }
    service.stop();
}

#[test]
fn a_watched_root_that_appears_later_is_watched() {
    let world = World::new("paths = [\"later/*.txt\"]");
    let mut service = world.start();
    world.move_in("later/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
}

#[test]
fn two_stars_match_folders_at_any_depth() {
    let world = World::new("paths = [\"in/**/*.txt\"]");
    let mut service = world.start();
    world.move_in("in/a.txt", "a\n");
    world.move_in("in/x/y/z/b.txt", "b\n");
    service.wait_for(&world, "out/a.main");
    service.wait_for(&world, "out/b.main");
}

#[test]
fn a_star_does_not_cross_folders() {
    let world = World::new("paths = [\"in/*.txt\"]");
    world.write("in/sub/no.txt", "no\n");
    let mut service = world.start();
    world.move_in("in/yes.txt", "yes\n");
    service.wait_for(&world, "archive/yes.txt");
    service.stop();
    assert!(world.has("in/sub/no.txt"));
    assert_eq!(world.files("out"), ["yes.main"]);
}

#[test]
fn what_senders_and_copiers_are_still_writing_is_no_candidate() {
    let world = World::new("exclude = [\"*.bak\"]\nready = { stable_for = \"100ms\" }");
    let left_alone = [".hidden", "a.part", "b.filepart", "c.tmp", "d.partial", "e.crdownload", "f~", "g.bak"];
    for name in left_alone {
        world.write(format!("in/{name}"), "no\n");
    }
    let mut service = world.start();
    world.move_in("in/yes.txt", "yes\n");
    service.wait_for(&world, "archive/yes.txt");
    service.stop();
    for name in left_alone {
        assert!(world.has(format!("in/{name}")), "{name} was taken");
    }
    assert_eq!(world.files("out"), ["yes.main"]);
}

#[test]
fn a_symbolic_link_is_no_candidate() {
    let world = World::new("");
    world.write("secret", "no\n");
    world.sh("ln -s ../secret in/link.txt");
    let mut service = world.start();
    world.move_in("in/yes.txt", "yes\n");
    service.wait_for(&world, "archive/yes.txt");
    service.stop();
    assert!(world.has("in/link.txt") && world.has("secret"));
    assert_eq!(world.files("out"), ["yes.main"]);
}

/// The writer keeps the file open longer than `stable_for`, and a later file overtakes it.
#[test]
fn a_file_that_somebody_still_writes_is_not_taken() {
    let world = World::new("ready = { stable_for = \"200ms\" }");
    let mut service = world.start();
    let mut writer = File::create(world.path("in/slow.txt")).expect("the folder is there");
    writer.write_all(b"one\n").expect("it can be written");
    for name in ["a", "b", "c"] {
        world.move_in(&format!("in/{name}.txt"), "x\n");
        service.wait_for(&world, &format!("archive/{name}.txt"));
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(world.has("in/slow.txt"), "it was taken while its writer had it open");
    writer.write_all(b"two\n").expect("it can be written");
    drop(writer);
    service.wait_for(&world, "archive/slow.txt");
    assert_eq!(world.text("out/slow.main"), "one\ntwo\n");
}

/// A dropped session closes its file like a finished one; the sender goes on within the quiet time.
#[test]
fn a_gzip_that_was_closed_too_early_is_given_back_and_taken_once_it_is_whole() {
    let world = World::new("ready = { stable_for = \"3s\" }");
    let text = lines(20_000);
    world.write("plain", &text);
    world.sh("gzip -c plain > whole.gz");
    let whole = world.bytes("whole.gz");
    let (first, rest) = whole.split_at(whole.len() / 2);
    let mut service = world.start();
    wait_until_watched(&world, &mut service);
    world.write("in/pay.txt.gz", first);
    service.wait_until("it is given back", || {
        world.jobs().iter().any(|job| job["state"] == "aborted").then_some(())
    });
    let mut again =
        File::options().append(true).open(world.path("in/pay.txt.gz")).expect("it was given back");
    again.write_all(rest).expect("it can be written");
    drop(again);
    service.wait_for(&world, "archive/pay.txt.gz");
    assert!(world.text("out/pay.main") == text);
    assert!(!world.has("in/.landfall/quarantine"));
}

/// A session breaks off in the middle of a line; nobody is back within the quiet time.
#[test]
fn a_plain_file_cut_off_within_its_last_line_waits_and_is_quarantined_if_nobody_goes_on() {
    let world = World::new("ready = { stable_for = \"2s\", last_line = \"complete\" }");
    let mut service = world.start();
    world.move_in("in/back.txt", "one\ntw");
    world.move_in("in/gone.txt", "one\ntw");
    service.wait_until("each is given back", || {
        let given_back = |name: &str| {
            world.jobs().iter().any(|job| {
                job["state"] == "aborted" && job["source"].as_str().is_some_and(|path| path.ends_with(name))
            })
        };
        (given_back("back.txt") && given_back("gone.txt")).then_some(())
    });
    // The sender goes on; it may meet the file while it is looked at a second time.
    service.wait_until("the rest is sent", || {
        let mut file = File::options().append(true).open(world.path("in/back.txt")).ok()?;
        file.write_all(b"o\n").ok()
    });
    service.wait_for(&world, "archive/back.txt");
    assert_eq!(world.text("out/back.main"), "one\ntwo\n");
    service.wait_for(&world, "in/.landfall/quarantine/gone.txt");
    assert!(!world.has("out/gone.main"));
    let reason = world.text("in/.landfall/quarantine/gone.txt.error.json");
    assert!(reason.contains("the last record has no line end"), "{reason}");
}

#[test]
fn with_a_marker_nothing_is_taken_before_it_is_there() {
    let world =
        World::new("ready = { strategy = \"marker\", marker = \"{name}.done\", stable_for = \"100ms\" }");
    let mut service = world.start();
    world.move_in("in/waits.txt", "no\n");
    world.move_in("in/pay.txt", "one\n");
    world.write("in/pay.txt.done", "");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert!(world.has("in/waits.txt"));
    assert_eq!(world.files("out"), ["pay.main"]);
}

#[test]
fn a_marker_older_than_its_file_does_not_count() {
    let world =
        World::new("ready = { strategy = \"marker\", marker = \"{name}.done\", stable_for = \"100ms\" }");
    world.sh(
        "touch -d yesterday in/pay.txt.done; printf 'one\n' > in/pay.txt; touch in/next.txt in/next.txt.done",
    );
    let mut service = world.start();
    service.wait_for(&world, "archive/next.txt");
    assert!(world.has("in/pay.txt"), "yesterday's marker released today's file");
    world.sh("touch in/pay.txt.done");
    service.wait_for(&world, "archive/pay.txt");
}

#[test]
fn the_same_name_again_while_the_first_is_processed_is_a_source_of_its_own() {
    let world = World::new(
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./slow\"], protocol = \"line\" }]",
    );
    world.write("slow", "#!/bin/sh\nwhile read -r line; do while [ ! -e ../go ] && [ ! -e go ]; do sleep 0.05; done; echo \"$line\"; done\n");
    world.sh("chmod +x slow");
    let mut service = world.start();
    world.move_in("in/pay.txt", "first\n");
    service.wait_until("the first is claimed", || (!world.has("in/pay.txt")).then_some(()));
    world.move_in("in/pay.txt", "second\n");
    world.write("go", "");
    service.wait_until("both are archived", || (world.files("archive").len() == 2).then_some(()));
    service.stop();
    let mut outputs: Vec<_> =
        world.files("out").iter().map(|name| world.text(format!("out/{name}"))).collect();
    outputs.sort();
    assert_eq!(outputs, ["first\n", "second\n"]);
}

#[test]
fn the_same_name_later_is_a_new_source() {
    let world = World::new("");
    let mut service = world.start();
    for (text, output) in [("one\n", "out/pay.main"), ("two\n", "out/pay-1.main")] {
        world.move_in("in/pay.txt", text);
        service.wait_for(&world, output);
        service.wait_until("it is retired", || (!world.has("in/pay.txt")).then_some(()));
        assert_eq!(world.text(output), text);
    }
}

#[test]
fn names_that_are_not_utf_8_are_taken() {
    let world = World::new("");
    let mut service = world.start();
    world.write("staged", "one\n");
    world.sh("mv staged \"$(printf 'in/pay-\\xff\\n.txt')\"");
    service.wait_until("it is archived", || (!world.files("archive").is_empty()).then_some(()));
    service.stop();
    let job = world.completed();
    assert!(
        job["source"].as_str().is_some_and(|path| path.contains("\\xff") || path.contains("\\xFF")),
        "{job:#}"
    );
}

#[test]
fn a_file_that_two_rules_match_goes_to_the_first_and_only_there() {
    let world = World::new("");
    world.configure("", &["", "name = \"second\"\noutput = { main = { path = \"second/{stem}\" } }\nsource = { on_success = \"archive\", archive_dir = \"second-archive\" }"]);
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.files("second"), [""; 0]);
    assert_eq!(world.jobs().len(), 1);
}

#[test]
fn many_files_are_each_taken_once() {
    let world = World::new("");
    let mut service = world.start();
    for number in 0..200 {
        world.move_in(&format!("in/{number}.txt"), format!("{number}\n"));
    }
    service.wait_until("all are archived", || (world.files("archive").len() == 200).then_some(()));
    service.stop();
    assert_eq!(world.files("out").len(), 200);
    for number in 0..200 {
        assert_eq!(world.text(format!("out/{number}.main")), format!("{number}\n"));
    }
}

/// Goal: jobs that wait to be published hold few descriptors, however many files come at once.
#[test]
fn many_files_at_once_need_few_open_files() {
    let world = World::new("");
    for number in 0..1500 {
        world.write(format!("in/{number}.txt"), "1\n");
    }
    let mut service = world.start_with_open_files(500);
    service.wait_until("all are archived", || (world.files("archive").len() == 1500).then_some(()));
    service.stop();
    assert!(!world.text("landfall.log").contains("held"), "no job had to wait for a descriptor");
}

#[test]
fn a_rule_that_is_off_leaves_its_files_alone_and_to_no_broader_rule() {
    let world = World::new("");
    world.configure("", &["name = \"off\"\nmode = \"off\"\npaths = [\"off/*\", \"in/no-*\"]", ""]);
    let own = [world.write("off/pay.txt", "no\n"), world.write("in/no-pay.txt", "no\n")];
    let mut service = world.start();
    world.move_in("in/yes.txt", "yes\n");
    service.wait_for(&world, "archive/yes.txt");
    service.stop();
    assert!(own.iter().all(|file| world.has(file)));
}

/// A service whose notifier is known to work, and whose quiet time never comes.
fn without_quiet_time(trust_close: &str) -> (World, support::Service) {
    let world = World::new(&format!("ready = {{ stable_for = \"1h\", trust_close = \"{trust_close}\" }}"));
    let mut service = world.start();
    // A moved-in file is complete.
    wait_until_watched(&world, &mut service);
    (world, service)
}

fn wait_until_watched(world: &World, service: &mut support::Service) {
    let mut number = 0;
    service.wait_until("a moved-in file is taken at once", || {
        number += 1;
        world.move_in(&format!("in/first-{number}.txt"), "first\n");
        std::thread::sleep(Duration::from_millis(100));
        (!world.files("archive").is_empty()).then_some(())
    });
}

#[test]
fn a_close_is_trusted_where_the_content_proves_its_own_end() {
    let (world, mut service) = without_quiet_time("framed");
    world.write("in/plain.txt", "no end of its own\n");
    world.sh("printf 'one\n' | gzip > in/pay.gz");
    service.wait_for(&world, "archive/pay.gz");
    service.stop();
    assert!(world.has("in/plain.txt"), "a plain file was taken at its close");
}

#[test]
fn every_close_is_trusted_where_the_rule_says_so() {
    let (world, mut service) = without_quiet_time("always");
    world.write("in/plain.txt", "one\n");
    service.wait_for(&world, "archive/plain.txt");
    service.stop();
}

#[test]
fn a_gzip_that_stays_cut_is_quarantined_after_its_quiet_time() {
    let world = World::new("ready = { stable_for = \"500ms\" }");
    let mut service = world.start();
    world.sh("seq 20000 | gzip | head -c -100 > in/cut.gz");
    service.wait_for(&world, "in/.landfall/quarantine/cut.gz.error.json");
    service.stop();
    assert_eq!(world.files("out"), [""; 0]);
}

#[test]
fn files_that_vanish_disturb_nobody() {
    let world = World::new("ready = { stable_for = \"50ms\" }");
    let mut service = world.start();
    for number in 0..100 {
        world.move_in(&format!("in/gone-{number}.tmp"), "x");
        support::remove(&world.path(format!("in/gone-{number}.tmp")));
    }
    // On a busy machine the service may be faster than `mv`, which is as good.
    world.sh("for n in $(seq 100); do echo x > in/fleeting-$n; mv in/fleeting-$n in/.fleeting || true; done");
    world.move_in("in/stays.txt", "one\n");
    service.wait_for(&world, "archive/stays.txt");
    service.stop();
}

#[test]
fn names_as_long_as_they_can_be_with_line_ends_in_them_are_taken_archived_and_quarantined() {
    let world = World::new("output = { main = { path = \"out/{job}\" } }");
    let mut service = world.start();
    let name = |end: &str| format!("a\n{}{end}", "x".repeat(253 - end.len()));
    for (number, text) in ["one\n", "two\n"].into_iter().enumerate() {
        world.move_in(&format!("in/{}", name(".txt")), text);
        service.wait_until("it is archived", || (world.files("archive").len() == number + 1).then_some(()));
    }
    assert!(world.has(format!("archive/{}", name(".txt"))), "{:#?}", world.files("archive"));
    world.sh("seq 20000 | gzip > cut; truncate -s -9 cut");
    world.move_in(&format!("in/{}", name(".gz")), world.bytes("cut"));
    service.wait_until("it is in quarantine with its reason", || {
        let files = world.files("in/.landfall/quarantine");
        (files.len() == 2 && files.iter().any(|name| name.ends_with(".error.json"))).then_some(())
    });
    service.stop();
    let shown = world.landfall(&["jobs"]).done().stdout;
    assert!(shown.contains("a\\x0ax"), "{shown}");
    assert_eq!(world.files("out").len(), 2);
}

/// One folder's files cannot be moved; those of the others can, and those there as soon as it is mended.
#[test]
fn files_that_cannot_be_moved_hold_up_no_other_and_are_tried_again() {
    let world = World::new("paths = [\"in/*/*.txt\"]");
    world.write("in/blocked/.landfall", "no folder");
    let mut service = world.start();
    world.move_in("in/blocked/waits.txt", "waits\n");
    service.wait_for_log("in/blocked");
    for number in 0..3 {
        world.move_in(&format!("in/free/pay-{number}.txt"), "one\n");
        service.wait_for(&world, &format!("archive/pay-{number}.txt"));
    }
    assert!(world.has("in/blocked/waits.txt") && !world.has("archive/waits.txt"));
    support::remove(&world.path("in/blocked/.landfall"));
    service.wait_for(&world, "archive/waits.txt");
    service.stop();
    assert_eq!(world.text("out/waits.main"), "waits\n");
}

/// `touch` makes a file and gives it its times a moment later: between the two it may have been seen already.
#[test]
fn a_marker_that_is_seen_while_it_is_made_goes_with_its_file() {
    let world = World::new("ready = { strategy = \"marker\", marker = \"{name}.done\" }");
    let mut service = world.start();
    for number in 0..20 {
        world.write(format!("in/{number}.txt"), "one\n");
        world.sh(&format!("touch in/{number}.txt.done"));
        service.wait_for(&world, &format!("archive/{number}.txt"));
    }
    service.wait_for(&world, "archive/19.txt.done");
    service.stop();
    assert_eq!(world.files("in"), [""; 0], "a marker that stays would vouch for the next file of its name");
}

/// Its identity is its device, inode, size and times, whatever path leads there.
#[test]
fn a_kept_file_that_is_watched_under_two_names_is_ingested_once() {
    let world = World::new("paths = [\"in/*.txt\", \"alias/*.txt\"]\nsource = { on_success = \"keep\" }");
    world.sh("ln -s in alias");
    for name in ["a", "b", "c"] {
        world.write(format!("in/{name}.txt"), "one\n");
    }
    for later in ["first", "second"] {
        let mut service = world.start();
        service.wait_until("each is taken", || (world.jobs().len() >= 3).then_some(()));
        // What is offered later is judged after everything that was offered before.
        world.move_in(&format!("in/{later}.txt"), "one\n");
        service.wait_for(&world, &format!("out/{later}.main"));
        service.wait_until("nothing waits", || {
            world.json(&["jobs", "--json"])["files_waiting"]
                .as_array()
                .is_none_or(Vec::is_empty)
                .then_some(())
        });
        service.stop();
    }
    assert_eq!(world.jobs().len(), 5, "{:#?}", world.jobs());
}
