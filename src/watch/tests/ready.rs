//! When a file is offered: events, quiet time, open writers, markers.

use super::*;

#[test]
fn files_that_lie_there_at_the_start_are_offered_once_they_stood_still() {
    let plan = Plan::new(|_| {});
    fs::write(plan.path("a"), b"x").expect("writes");
    fs::write(plan.path("empty"), b"").expect("writes");
    let began = Instant::now();
    let mut world = plan.start();
    let mut names = [world.next_name(), world.next_name()];
    names.sort();
    assert_eq!(names, ["a", "empty"]);
    assert!(began.elapsed() >= STABLE_FOR);
}

#[test]
fn a_moved_in_file_is_offered_at_once_with_all_that_is_known_of_it() {
    let mut plan = Plan::new(never_stable);
    plan.rules[0].paths = vec![plan.path("{sender}-*").to_str().expect("UTF-8").into()].into();
    let mut world = plan.start();
    let path = world.move_in("acme-1", b"data");
    let offer = world.next();
    assert_eq!((offer.rule.name.as_str(), &offer.path), ("r", &path));
    assert_eq!(offer.vars.get("sender"), Some(&OsText::from("acme")));
    assert_eq!(offer.identity.size, 4);
    assert_eq!(offer.complete_by, Some(CompleteBy::Rename));
    assert!(offer.companions.is_empty());
}

#[test]
fn at_a_close_only_what_proves_its_own_end_is_offered_and_said_to_be() {
    let mut world = Plan::new(never_stable).start();
    world.write("plain", b"a,b\n");
    world.write("framed.gz", b"\x1f\x8b...");
    let offer = world.next();
    assert!(offer.path.ends_with("framed.gz") && offer.complete_by == Some(CompleteBy::Content));
    world.assert_only_the_last_is_offered();
    assert!(world.waits_with("plain", "stood still"));
}

#[test]
fn a_close_is_the_end_where_senders_are_trusted() {
    let mut world = Plan::new(|rule| {
        never_stable(rule);
        rule.ready.trust_close = TrustClose::Always;
    })
    .start();
    world.write("plain", b"a,b\n");
    let offer = world.next();
    assert!(offer.path.ends_with("plain") && offer.complete_by == Some(CompleteBy::Close));
}

#[test]
fn each_of_many_closes_in_a_row_counts() {
    let mut world = Plan::new(|rule| {
        never_stable(rule);
        rule.ready.trust_close = TrustClose::Always;
    })
    .start();
    for n in 0..500 {
        world.write(&n.to_string(), b"x");
        assert_eq!(world.next_name(), n.to_string());
    }
}

#[test]
fn stable_waits_for_quiet_whatever_the_events_say() {
    let world = Plan::new(|rule| {
        never_stable(rule);
        rule.ready.strategy = ReadyStrategy::Stable;
    })
    .start();
    world.move_in("a", b"x");
    world.wait_until("it is seen", |world| world.waits_with("a", "stood still"));
    assert!(world.offers.try_recv().is_err());
    world.watch.ask_to_stop();
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_somebody_has_open_for_writing_is_not_offered_however_long_it_stands_still() {
    let mut world = Plan::new(|_| {}).start();
    let path = world.path("growing");
    let mut writer = File::create(&path).expect("creates");
    writer.write_all(b"first half").expect("writes");
    world.wait_until("the writer is seen", |world| world.waits_with("growing", "open for writing"));
    world.assert_only_the_last_is_offered();
    writer.write_all(b"second half").expect("writes");
    drop(writer);
    let offer = world.next();
    assert_eq!((offer.path, offer.identity.size), (path, 21));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_was_moved_in_while_it_is_written_waits_for_its_writer_and_then_for_quiet() {
    let mut world = Plan::new(|_| {}).start();
    let writer = File::create(world.path(".upload")).expect("creates");
    fs::rename(world.path(".upload"), world.path("a")).expect("renames");
    world.wait_until("the writer is seen", |world| world.waits_with("a", "open for writing"));
    let closed = Instant::now();
    drop(writer);
    assert_eq!(world.next_name(), "a");
    assert!(closed.elapsed() >= STABLE_FOR);
}

#[test]
fn a_marker_completes_its_file_and_is_never_a_candidate() {
    let mut world = Plan::new(with_marker).start();
    let path = world.write("a", b"x");
    world.wait_until("the file waits", |world| world.waits_with("a", "for its marker"));
    let marker = world.write("a.done", b"");
    let offer = world.next();
    assert_eq!((offer.path, offer.companions), (path, vec![marker]));
    assert!(world.watch.waiting(PATIENCE.into(), None).iter().all(|(path, _)| !path.ends_with("a.done")));
}

#[test]
fn a_marker_that_is_older_than_its_file_does_not_count_until_it_is_renewed() {
    let mut world = Plan::new(with_marker).start();
    let marker = world.write("a.done", b"");
    let yesterday = std::time::SystemTime::UNIX_EPOCH + Duration::from_hours(24);
    File::options()
        .write(true)
        .open(&marker)
        .and_then(|file| file.set_modified(yesterday))
        .expect("sets the time");
    world.write("a", b"x");
    world.wait_until("the file waits", |world| world.waits_with("a", "older"));
    world.write("a.done", b"");
    assert_eq!(world.next_name(), "a");
}

#[test]
fn totals_are_waited_for_however_old_they_are_and_are_never_a_candidate() {
    let mut world = Plan::new(|rule| {
        never_stable(rule);
        rule.ready.totals = Some("{stem}.ctl".into());
    })
    .start();
    let path = world.move_in("a.csv", b"x");
    world.wait_until("the file waits", |world| world.waits_with("a.csv", "for its totals"));
    let totals = world.move_in("a.ctl", b"{}");
    let offer = world.next();
    assert_eq!((offer.path, offer.companions), (path, vec![totals.clone()]));
    assert!(world.watch.waiting(PATIENCE.into(), None).iter().all(|(path, _)| *path != totals));
}

#[cfg(target_os = "linux")]
#[test]
fn totals_that_somebody_still_writes_are_waited_for() {
    let mut world = Plan::new(|rule| rule.ready.totals = Some("{name}.ctl".into())).start();
    let mut totals = File::create(world.path("a.ctl")).expect("creates");
    totals.write_all(b"{\"records\":").expect("writes");
    world.move_in("a", b"x");
    world.wait_until("the writer is seen", |world| world.waits_with("a", "its totals open for writing"));
    totals.write_all(b" 1}").expect("writes");
    drop(totals);
    assert_eq!(world.next_name(), "a");
}

#[test]
fn a_file_lingers_after_a_rename_or_a_close_and_anew_after_each_touch() {
    const LINGER: Duration = Duration::from_millis(300);
    let mut world = Plan::new(|rule| {
        never_stable(rule);
        rule.ready.linger = LINGER;
    })
    .start();
    let began = Instant::now();
    world.write("a.gz", b"\x1f\x8b...");
    world.wait_until("it is seen", |world| world.waits_with("a.gz", "`ready.linger`"));
    world.move_in("b", b"x");
    // As `asyncssh` and `rsync` do after the last close.
    let touched = Instant::now();
    let times = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    File::open(world.path("a.gz")).and_then(|file| file.set_times(times)).expect("sets its times");
    let mut offered = [(world.next_name(), began.elapsed()), (world.next_name(), touched.elapsed())];
    assert!(offered.iter().all(|(_, after)| *after >= LINGER), "{offered:?}");
    offered.sort();
    assert_eq!(offered.map(|(name, _)| name), ["a.gz", "b"]);
}

#[cfg(unix)]
#[test]
fn a_link_whose_other_name_goes_away_is_a_rename() {
    let mut world = Plan::new(never_stable).start();
    fs::write(world.path("a.part"), b"x").expect("writes");
    // An upload is seen long before it ends.
    world.write("seen", b"x");
    world.wait_until("it is seen", |world| world.waits_with("seen", "stood still"));
    fs::hard_link(world.path("a.part"), world.path("a")).expect("links");
    fs::remove_file(world.path("a.part")).expect("unlinks");
    assert_eq!(world.next_name(), "a");
    // A link that only stands beside it proves nothing.
    fs::write(world.path("b.part"), b"x").expect("writes");
    fs::hard_link(world.path("b.part"), world.path("b")).expect("links");
    world.assert_only_the_last_is_offered();
    assert!(world.waits_with("b", "stood still"));
    fs::remove_file(world.path("b.part")).expect("unlinks");
    assert_eq!(world.next_name(), "b");
}

#[cfg(target_os = "linux")]
#[test]
fn a_rename_from_a_hidden_name_beside_it_counts_as_a_close() {
    let mut world = Plan::new(never_stable).start();
    for (name, bytes) in [("half.csv", &b"a,b"[..]), ("whole.gz", b"\x1f\x8b...")] {
        let hidden = world.path(&format!(".{name}.Xd3f2k"));
        fs::write(&hidden, bytes).expect("writes");
        fs::rename(&hidden, world.path(name)).expect("renames");
    }
    let offer = world.next();
    assert!(offer.path.ends_with("whole.gz") && offer.complete_by == Some(CompleteBy::Content));
    world.assert_only_the_last_is_offered();
    assert!(world.waits_with("half.csv", "stood still"));
}

#[test]
fn a_marker_lingers_too() {
    const LINGER: Duration = Duration::from_millis(300);
    let mut world = Plan::new(|rule| {
        rule.ready.strategy = ReadyStrategy::Marker;
        rule.ready.marker = Some("{name}.done".into());
        rule.ready.linger = LINGER;
    })
    .start();
    world.write("a", b"x");
    world.wait_until("it is seen", |world| world.waits_with("a", "marker"));
    let marked = Instant::now();
    world.write("a.done", b"");
    assert_eq!(world.next_name(), "a");
    assert!(marked.elapsed() >= LINGER);
}
