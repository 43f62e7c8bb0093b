//! What is watched and found: folders that come and go, names that are none of ours.

use super::*;

#[test]
fn hidden_unfinished_and_excluded_names_links_and_folders_are_no_candidates() {
    let mut world = Plan::new(|rule| rule.exclude = vec!["test-*".into()].into()).start();
    for name in [".hidden", "a.part", "b.tmp", "c~", "test-1"] {
        world.move_in(name, b"x");
    }
    fs::create_dir(world.path("folder")).expect("creates");
    std::os::unix::fs::symlink(world.path(".hidden"), world.path("link")).expect("links");
    world.watch.rescan();
    world.assert_only_the_last_is_offered();
    assert!(world.watch.waiting(PATIENCE.into(), None).iter().all(|(path, _)| path.ends_with("zz-last")));
}

#[test]
fn folders_that_appear_later_are_watched_and_hidden_ones_never_entered() {
    let mut plan = Plan::new(|_| {});
    plan.rules[0].paths = vec![plan.path("new/**/*.csv").to_str().expect("UTF-8").into()].into();
    let mut world = plan.start();
    assert!(world.waits_with("new", "not there yet"));
    fs::create_dir_all(world.path("new/deep/.landfall")).expect("creates");
    world.write("new/deep/.landfall/no.csv", b"x");
    world.write("new/deep/a.csv", b"x");
    assert_eq!(world.next_name(), "a.csv");
    fs::create_dir(world.path("new/later")).expect("creates");
    world.write("new/later/b.csv", b"x");
    assert_eq!(world.next_name(), "b.csv");
    assert!(!world.waits_with("new", "not there yet"));
}

#[test]
fn a_watched_folder_that_is_removed_and_made_again_is_watched_again() {
    let mut plan = Plan::new(|_| {});
    fs::create_dir(plan.path("in")).expect("creates");
    plan.rules[0].paths = vec![plan.path("in/*").to_str().expect("UTF-8").into()].into();
    let mut world = plan.start();
    fs::remove_dir(world.path("in")).expect("removes");
    world.wait_until("it is missed", |world| world.waits_with("in", "not there yet"));
    fs::create_dir(world.path("in")).expect("creates");
    world.write("in/a", b"x");
    assert_eq!(world.next_name(), "a");
}

#[test]
fn a_file_that_vanishes_is_forgotten() {
    let world = Plan::new(never_stable).start();
    let path = world.write("a", b"x");
    world.wait_until("it is seen", |world| world.waits_with("a", "stood still"));
    fs::remove_file(path).expect("removes");
    world.wait_until("it is forgotten", |world| world.watch.waiting(PATIENCE.into(), None).is_empty());
}

#[test]
fn without_events_the_scan_finds_everything() {
    let mut plan = Plan::new(|_| {});
    plan.events = false;
    plan.scan_every = Duration::from_millis(20);
    plan.rules[0].paths = vec![plan.path("*/*").to_str().expect("UTF-8").into()].into();
    let mut world = plan.start();
    fs::create_dir(world.path("later")).expect("creates");
    world.write("later/a", b"x");
    assert_eq!(world.next_name(), "a");
}

#[test]
fn a_folder_that_cannot_be_read_is_shown_and_holds_up_no_other() {
    let mut plan = Plan::new(|_| {});
    // Unreadable for every user, root included.
    let too_long = plan.path(&"x".repeat(300));
    let pattern = too_long.join("*").to_str().expect("UTF-8").to_owned();
    plan.rules[0].paths = [pattern].into_iter().chain(plan.rules[0].paths.iter().cloned()).collect();
    let mut world = plan.start();
    world.wait_until("it is shown", |world| world.waits_with(&"x".repeat(300), "cannot be read"));
    world.assert_only_the_last_is_offered();
}

#[test]
fn each_folder_on_the_way_to_a_missing_one_is_seen_without_a_scan() {
    let mut plan = Plan::new(|_| {});
    plan.scan_every = FOREVER;
    plan.rules[0].paths = vec![plan.path("x/y/z/*").to_str().expect("UTF-8").into()].into();
    let mut world = plan.start();
    assert!(world.waits_with("x/y/z", "not there yet"));
    for folder in ["x", "x/y", "x/y/z"] {
        fs::create_dir(world.path(folder)).expect("creates");
        // The watch has seen all that came before.
        world.watch.waiting(PATIENCE.into(), None);
    }
    world.write("x/y/z/a", b"x");
    assert_eq!(world.next_name(), "a");
    fs::remove_file(world.path("x/y/z/a")).expect("removes");
    fs::rename(world.path("x"), world.path("gone")).expect("renames");
    world.wait_until("it is missed", |world| world.waits_with("x/y/z", "not there yet"));
    fs::create_dir_all(world.path("x/y/z")).expect("creates");
    world.move_in("x/y/z/b", b"x");
    assert_eq!(world.next_name(), "b");
    assert_eq!(world.watch.scans(), 1);
}

#[test]
fn after_events_were_lost_a_scan_watches_every_folder_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (inbox, messages) = mpsc::sync_channel(64);
    let mut notifier = Notifier::new(Some(Hints { inbox, lost: Arc::default(), counts: Arc::default() }));
    assert!(!notifier.watch(folder.path()) && notifier.watch(folder.path()));
    notifier.doubt_all();
    assert!(notifier.watch(folder.path()), "it had its events all along");
    let path = folder.path().join("a");
    fs::write(&path, b"x").expect("writes");
    let hint = messages.recv_timeout(PATIENCE).expect("an event comes");
    assert!(matches!(hint, Message::Hint(at, _) if at == path));
}

/// Nothing but a look at the name tells of these.
#[test]
fn a_root_that_leads_elsewhere_is_seen_without_a_scan() {
    let mut plan = Plan::new(|_| {});
    plan.scan_every = FOREVER;
    plan.rules[0].paths = vec![plan.path("to/in/**/*").to_str().expect("UTF-8").into()].into();
    for folder in ["one/in/sub", "two/in/sub", "three/in"] {
        fs::create_dir_all(plan.path(folder)).expect("creates");
    }
    std::os::unix::fs::symlink("one", plan.path("to")).expect("links");
    let mut world = plan.start();
    world.move_in("one/in/sub/a", b"x");
    assert_eq!(world.next_name(), "a");
    world.move_in("two/in/sub/b", b"x");
    std::os::unix::fs::symlink("two", world.path("new")).expect("links");
    fs::rename(world.path("new"), world.path("to")).expect("points elsewhere");
    assert_eq!(world.next_name(), "b", "what lay there before");
    world.move_in("two/in/sub/c", b"x");
    assert_eq!(world.next_name(), "c", "what comes there later");
    // The folder above is moved, and another one lies in its place.
    fs::rename(world.path("two"), world.path("away")).expect("renames");
    fs::rename(world.path("three"), world.path("two")).expect("renames");
    world.move_in("two/in/d", b"x");
    assert_eq!(world.next_name(), "d");
    fs::create_dir(world.path("two/in/sub")).expect("creates");
    world.move_in("two/in/sub/e", b"x");
    assert_eq!(world.next_name(), "e");
    assert_eq!(world.watch.counts().scans, 1);
}

#[test]
fn what_no_event_told_of_is_found_by_the_scan_and_counted() {
    let mut plan = Plan::new(|_| {});
    fs::create_dir(plan.path("in")).expect("creates");
    plan.rules[0].paths = vec![plan.path("in/*").to_str().expect("UTF-8").into()].into();
    let mut world = plan.start();
    let before = world.watch.counts();
    assert_eq!((before.folders, before.folders_without_events, before.found_by_scan), (1, 0, 0));
    world.watch.lose_events();
    world.move_in("in/a", b"x");
    assert_eq!(world.next_name(), "a");
    world.wait_until("the scan ends", |world| world.watch.counts().scans > before.scans);
    assert_eq!(world.watch.counts().events_lost, 1);
}
