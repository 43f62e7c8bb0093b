//! Promise: an archive is thinned as its rule says, of what the rule's own jobs put there and of nothing else.
#![cfg(unix)]

mod support;

use support::World;

const FOREVER: &str = "source = { on_success = \"archive\", archive_dir = \"archive\" }";
const SHORT: &str = "source = { on_success = \"archive\", archive_dir = \"archive\", archive_keep = \"1s\" }";

#[test]
fn old_archived_sources_and_their_markers_go_and_nothing_else_does() {
    let marker = "ready = { strategy = \"marker\" }";
    let world = World::new(&format!("{marker}\n{FOREVER}"));
    let mut service = world.start();
    for name in ["one", "two", "mended", "taken"] {
        world.move_in(&format!("in/{name}.txt"), format!("{name}\n"));
        world.move_in(&format!("in/{name}.txt.done"), "");
        service.wait_for(&world, &format!("archive/{name}.txt"));
    }
    service.wait_until("the markers are there", || (world.files("archive").len() == 8).then_some(()));
    service.stop();
    world.sh("printf 'foreign\n' > archive/foreign.txt; printf 'more\n' >> archive/mended.txt
         mv archive/taken.txt elsewhere; printf 'taken\n' > archive/taken.txt; sleep 1");

    world.configure("", &[&format!("{marker}\n{SHORT}")]);
    let mut service = world.start();
    service.wait_for_log("archived sources removed");
    service.wait_until("they are gone", || (!world.has("archive/two.txt")).then_some(()));
    service.stop();
    assert_eq!(world.files("archive"), ["foreign.txt", "mended.txt", "taken.txt"]);
    assert_eq!(world.jobs().len(), 4, "the list of jobs is another matter");
}

#[test]
fn what_is_not_old_enough_and_what_is_kept_forever_stays() {
    let world = World::new(&SHORT.replace("1s", "1h"));
    world.write("in/pay.txt", "one\n");
    world.ingest_and_retire("in/pay.txt").done();
    for rule in [SHORT.replace("1s", "1h"), SHORT.replace("1s", "forever"), FOREVER.to_owned()] {
        world.configure("", &[&rule]);
        let mut service = world.start();
        world.move_in("in/next.txt", "two\n");
        service.wait_until("it works", || (!world.has("in/next.txt")).then_some(()));
        service.stop();
        assert!(world.has("archive/pay.txt"), "{rule}");
    }
}

#[test]
fn the_source_of_failed_records_stays_as_long_as_they_are_kept() {
    let world = World::new(&format!(
        "{SHORT}\nrecords = {{ record_max = \"5\" }}\nerrors = {{ failed_max = \"50%\" }}"
    ));
    world.write("in/bad.txt", "one\ntoo long a line\n");
    world.write("in/good.txt", "one\n");
    world.ingest_and_retire("in/bad.txt").done();
    world.ingest_and_retire("in/good.txt").done();
    assert_eq!(world.jobs()[0]["records_failed"], 1);
    world.sh("sleep 1");
    let mut service = world.start();
    service.wait_until("the other is gone", || (!world.has("archive/good.txt")).then_some(()));
    service.stop();
    assert_eq!(world.files("archive"), ["bad.txt"]);
}

#[test]
fn an_archive_that_is_away_is_thinned_when_it_is_back() {
    let world = World::new(SHORT);
    world.write("in/pay.txt", "one\n");
    world.ingest_and_retire("in/pay.txt").done();
    world.sh("sleep 1; mv archive away; mkdir archive; printf 'other\n' > archive/pay.txt");
    let mut service = world.start();
    world.move_in("in/next.txt", "two\n");
    service.wait_for(&world, "archive/next.txt");
    service.stop();
    assert_eq!(world.text("archive/pay.txt"), "other\n");
    world.sh("mv archive other; mv away archive");
    let mut service = world.start();
    service.wait_until("it is gone", || (!world.has("archive/pay.txt")).then_some(()));
    service.stop();
}

#[test]
fn a_file_that_cannot_be_removed_holds_up_no_other() {
    let world = World::new(SHORT);
    for name in ["one", "two"] {
        world.write(format!("in/{name}.txt"), "one\n");
        world.ingest_and_retire(&format!("in/{name}.txt")).done();
    }
    // Not every file system has the attribute.
    if world.sh("sleep 1; chattr +i archive/one.txt 2>&1 || echo no").contains("no") {
        return;
    }
    let mut service = world.start();
    service.wait_until("the other is gone", || (!world.has("archive/two.txt")).then_some(()));
    service.wait_for_log("cannot be removed yet");
    service.stop();
    world.sh("chattr -i archive/one.txt");
    let mut service = world.start();
    service.wait_until("it is gone", || (!world.has("archive/one.txt")).then_some(()));
    service.stop();
}
