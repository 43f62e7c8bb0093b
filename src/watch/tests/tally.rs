//! What waits is known as numbers, and as a list, however busy the watch is.

use super::*;

const SPINS_FOR: Duration = Duration::from_millis(900);

fn marked(change: impl FnOnce(&mut Rule)) -> Plan {
    Plan::new(|rule| {
        rule.ready.strategy = ReadyStrategy::Marker;
        rule.ready.marker = Some("{name}.done".into());
        rule.ready.late_after = Some(Duration::from_millis(10));
        change(rule);
    })
}

#[test]
fn files_that_wait_and_those_that_are_late_are_numbers_that_nobody_has_to_ask_the_thread_for() {
    let world = marked(|_| {}).start();
    for name in ["c", "a", "b"] {
        world.write(name, b"x");
    }
    let numbers = |world: &World| {
        let files = world.watch.in_view();
        (files.waiting, files.late, files.one_late.map(|file| file.path))
    };
    let is = |waiting, late, name: &str| {
        let first = Some(OsText::from(world.path(name)));
        world.wait_until(name, |world| numbers(world) == (waiting, late, first.clone()));
    };
    is(3, 3, "a");
    fs::remove_file(world.path("a")).expect("is removed");
    is(2, 2, "b");
    world.write("b.done", b"");
    world.wait_until("one is offered", |world| !world.waits_with("b", "for its marker"));
    is(2, 2, "b");
    assert!(world.watch.in_view().folders.is_empty());
    fs::remove_dir_all(world.folder.path()).expect("is removed");
    world.wait_until("its folder is missed", |world| world.watch.in_view().folders.len() == 1);
}

#[test]
fn of_the_files_that_wait_so_many_are_listed_as_are_asked_for_the_first_by_path() {
    let world = marked(|_| {}).start();
    for name in ["d", "b", "a", "c"] {
        world.write(name, b"x");
    }
    world.wait_until("all are seen", |world| world.watch.in_view().waiting == 4);
    let listed = |max| {
        let list = world.watch.waiting(PATIENCE.into(), max).into_iter();
        list.map(|(path, _)| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    };
    let (two, all): (Vec<_>, Vec<_>) = (listed(Some(2)), listed(None));
    assert_eq!((two.join(""), all.join("")), ("ab".to_owned(), "abcd".to_owned()));
}

/// Goal: a thread that works on is not told as one that hangs, and nothing is left out for it.
#[cfg(target_os = "linux")]
#[test]
fn a_watch_that_is_busy_is_waited_for_and_not_told_as_one_that_hangs() {
    let (tell, told) = mpsc::sync_channel(1);
    let spins = move |_: &Path, _: &FileIdentity| {
        tell.try_send(()).ok();
        let begun = Instant::now();
        while begun.elapsed() < SPINS_FOR {
            std::hint::spin_loop();
        }
        false
    };
    let plan = marked(|rule| rule.source.on_success = OnSuccess::Keep);
    fs::write(plan.path("a"), b"x").expect("writes");
    let (offers, _taken) = mpsc::sync_channel(1);
    let content = crate::watch::Content::NOTHING;
    let watch = Watch::start(shared(plan.rules), NEVER, offers, crate::watch::Known::kept(spins), content);
    let watch = watch.expect("starts");
    told.recv().expect("it is at work");
    let listed = watch.waiting(Duration::from_millis(1).into(), None);
    assert!(
        matches!(&listed[..], [(path, reason)] if path.ends_with("a") && reason.contains("for its marker")),
        "{listed:?}"
    );
}
