//! Promise: a rule with `follow_links` takes what links lead to inside of the watched folder, once and under its own name, and nothing outside
//! of it, whatever is done to the links meanwhile.
#![cfg(unix)]

mod support;

use support::{Service, World};

const FOLLOWS: &str = "paths = [\"in/*/latest/*\"]\nfollow_links = true\n";

fn explain(world: &World, file: &str) -> String {
    world.landfall(&["explain", file]).done().stdout
}

fn settle(service: &mut Service, world: &World) {
    // Whatever came before it was seen by a whole scan once this was.
    world.sh("mkdir -p in/z/latest; echo last >in/z/latest/last");
    service.wait_for(world, "archive/last");
}

#[test]
fn a_file_that_a_link_leads_to_is_taken_under_its_own_name_and_the_link_stays() {
    let world = World::new(
        "paths = [\"in/*/{kind}-*\"]\nfollow_links = true\noutput = { main = { path = \"out/{kind}-{stem}\" } }\n",
    );
    world.sh("mkdir -p in/ready in/spool; echo one >in/spool/1.dat; ln -s ../spool/1.dat in/ready/pay-1");
    let said = explain(&world, "in/ready/pay-1");
    assert!(
        said.contains("a symbolic link") && said.contains("in/spool/1.dat: it takes that file"),
        "{said}"
    );
    let mut service = world.start();
    service.wait_for(&world, "archive/1.dat");
    assert_eq!(world.text("out/pay-1"), "one\n");
    assert!(world.path("in/ready/pay-1").is_symlink() && !world.has("in/spool/1.dat"));
    // What comes there again is taken again, and so is what a new link leads to.
    world.sh("echo two >in/spool/.2; mv in/spool/.2 in/spool/1.dat; echo three >in/spool/3.dat; ln -s $PWD/in/spool/3.dat in/ready/pay-3");
    service.wait_for(&world, "archive/1.dat-1");
    service.wait_for(&world, "archive/3.dat");
    let job = world.json(&["explain", "in/ready/pay-3", "--json"]);
    assert_eq!(job["found_as"][0], serde_json::Value::Null, "nothing lies there: {job}");
    service.stop();
    assert_eq!(world.jobs().len(), 3);
}

#[test]
fn files_in_a_folder_that_a_link_leads_to_are_taken_and_those_of_its_next_target() {
    let world = World::new(FOLLOWS);
    world.sh(
        "mkdir -p in/acme/v1 in/acme/v2; ln -s v1 in/acme/latest; echo 1 >in/acme/v1/a; echo 2 >in/acme/v2/b",
    );
    let mut service = world.start();
    service.wait_for(&world, "archive/a");
    // By an event: the scans are far apart.
    world.sh("echo 3 >in/acme/v1/.c; mv in/acme/v1/.c in/acme/v1/c");
    service.wait_for(&world, "archive/c");
    assert!(world.has("in/acme/v2/b"), "no link leads to it");
    world.sh("ln -s v2 in/acme/next; mv -T in/acme/next in/acme/latest; echo 4 >in/acme/v1/d");
    service.wait_for(&world, "archive/b");
    settle(&mut service, &world);
    assert!(world.has("in/acme/v1/d"), "no link leads to it any more");
    service.stop();
}

#[test]
fn what_lies_outside_is_not_taken_whatever_links_say() {
    let world = World::new(FOLLOWS);
    world.write("secret/a", "theirs\n");
    world.sh("mkdir -p in/abs in/rel in/file/latest in/up in/claims in/.hidden; echo h >in/.hidden/h
        ln -s $PWD/secret in/abs/latest; ln -s ../../secret in/rel/latest; ln -s ../../../secret/a in/file/latest/a
        ln -s ../.. in/up/latest; ln -s ../.hidden in/claims/latest; ln -s /etc/hostname in/file/latest/host; ln -s missing in/file/latest/gone");
    let mut service = world.start();
    settle(&mut service, &world);
    for file in [
        "in/abs/latest/a",
        "in/rel/latest/a",
        "in/file/latest/a",
        "in/file/latest/host",
        "in/up/latest/secret",
    ] {
        let said = explain(&world, file);
        assert!(said.contains("leads out of the watched folder"), "{file}: {said}");
    }
    assert!(explain(&world, "in/claims/latest/h").contains("hidden"));
    assert!(explain(&world, "in/file/latest/gone").contains("nothing lies"));
    service.stop();
    assert_eq!(world.files("out"), ["last.main"]);
    assert_eq!((world.text("secret/a"), world.files("secret").len()), ("theirs\n".to_owned(), 1));
}

#[test]
fn a_file_is_taken_once_however_many_links_lead_to_it_and_circles_end() {
    let world = World::new("paths = [\"in/**/*\"]\nfollow_links = true\n");
    world.sh("mkdir -p in/a in/b; echo 1 >in/a/one; echo 2 >in/b/two; ln -s one in/a/also; ln -s ../a/one in/b/again
        ln -s . in/self; ln -s ../a in/b/a; ln -s ../b in/a/b; ln -s .. in/a/up; ln -s y in/x; ln -s x in/y; ln -s one in/b/one");
    let said = explain(&world, "in/a/also");
    assert!(said.contains("own name fits rule"), "{said}");
    assert!(explain(&world, "in/x").contains("leads to itself"));
    let mut service = world.start();
    service.wait_for(&world, "archive/one");
    service.wait_for(&world, "archive/two");
    settle(&mut service, &world);
    service.stop();
    assert_eq!(world.jobs().len(), 3);
}

/// What `explain` says of a name is what the watch does with it.
#[test]
fn explain_says_of_links_what_the_watch_does_with_them() {
    for (follows, paths) in [(true, "in/*/*/*"), (false, "in/**/*")] {
        let world = World::new(&format!("paths = [\"{paths}\"]\nfollow_links = {follows}\n"));
        world.sh("mkdir -p in/a/real in/b; echo 1 >in/b/deep; echo 1 >in/a/own
            ln -s . in/a/self; ln -s .. in/a/up; ln -s ../b in/a/beside; ln -s ../../b in/a/real/b");
        // By `self` it would be in/a/self/own, by `up` in/a/up/own: neither is a way to what lies above the link.
        for (file, is_taken) in [("in/a/self/own", false), ("in/a/beside/deep", follows)] {
            let said = explain(&world, file);
            assert_eq!(said.contains("it takes that file"), is_taken, "{follows}: {said}");
            assert!(!said.contains("\": takes it"), "{follows}: {said}");
            let why = match (is_taken, follows) {
                (true, _) => "under its own name",
                (false, true) => "a folder that it lies in itself: such a link is not followed",
                (false, false) => "is one, and the rule follows none (`follow_links`)",
            };
            assert!(said.contains(why), "{follows}: {said}");
        }
        let mut service = world.start();
        service.wait_for(&world, "archive/deep");
        settle(&mut service, &world);
        service.stop();
        let own = !follows; // by its own name, where that fits
        assert_eq!((world.has("archive/own"), world.has("in/a/own")), (own, !own), "{follows}");
    }
}

#[test]
fn a_link_that_is_exchanged_all_the_time_gives_only_what_lies_inside_and_each_file_once() {
    let world = World::new(FOLLOWS);
    world.write("secret/theirs", "theirs\n");
    world.sh("mkdir -p in/acme/v1 in/acme/v2; ln -s v1 in/acme/latest; ln -s ../../secret out-link; ln -s v2 v2-link; ln -s v1 v1-link");
    for (version, count) in [("v1", 40), ("v2", 40)] {
        (0..count).for_each(|n| drop(world.write(format!("in/acme/{version}/{version}-{n}"), "x\n")));
    }
    let mut service = world.start();
    let mut exchanger = std::process::Command::new("sh");
    exchanger.current_dir(world.folder()).args(["-c", "while sleep 0.002; do for to in out v1 v2; do cp -P $to-link in/acme/next && mv -T in/acme/next in/acme/latest; done; done"]);
    let mut exchanger = exchanger.spawn().expect("a shell");
    let count = || std::fs::read_dir(world.path("archive")).map_or(0, Iterator::count);
    service.wait_until("all inside are taken", || (count() == 80).then_some(()));
    exchanger.kill().expect("is ours");
    exchanger.wait().expect("has ended");
    settle(&mut service, &world);
    service.stop();
    assert_eq!((world.files("secret"), world.jobs().len()), (vec!["theirs".to_owned()], 81));
}

#[test]
fn a_file_is_adopted_by_the_name_that_a_link_gives_it_and_by_that_taken_back() {
    let world = World::new(FOLLOWS);
    world.sh("mkdir -p in/acme/v1; ln -s v1 in/acme/latest; echo 1 >in/acme/v1/old");
    world.landfall(&["adopt", "in/acme/latest/old"]).done().says(&["latest/old: adopted; rule"]);
    world.landfall(&["adopt", "in/acme/latest/old"]).done().says(&["adopted before"]);
    assert!(explain(&world, "in/acme/latest/old").contains("adopted"));
    let mut service = world.start();
    settle(&mut service, &world);
    assert!(world.has("in/acme/v1/old"));
    world.landfall(&["adopt", "--undo", "in/acme/latest/old"]).done();
    service.wait_for(&world, "archive/old");
    service.stop();
}

/// What the service puts there could be led to, and taken again.
#[test]
fn an_archive_where_links_are_followed_is_refused_unless_it_is_hidden() {
    let world = World::new(
        "paths = [\"in/new/*\"]\nfollow_links = true\nsource = { on_success = \"archive\", archive_dir = \"in/new/.archive\" }\n",
    );
    world.landfall(&["check"]).done();
    world.configure("", &["paths = [\"in/*.csv\"]\nfollow_links = true\nsource = { on_success = \"archive\", archive_dir = \"in/archive\" }\n"]);
    world.landfall(&["check"]).ends_with(2).says(&["source.archive_dir", "follows links", "hidden folder"]);
}
