//! What follows an offer, and in which order offers come.

use super::*;
use crate::durable_fs;
use crate::watch::{Content, Kept, Known};

#[test]
fn a_file_of_the_same_name_that_comes_after_the_claim_is_a_new_candidate() {
    let mut world = Plan::new(never_stable).start();
    world.move_in("a", b"first");
    let offer = world.next();
    world.claim(&offer);
    world.move_in("a", b"another");
    assert_eq!(world.next().identity.size, 7);
}

#[test]
fn a_file_of_the_same_name_that_comes_before_the_answer_is_not_lost() {
    let mut world = Plan::new(|_| {}).start();
    world.move_in("a", b"first");
    let offer = world.next();
    fs::rename(&offer.path, world.path(".claimed")).expect("claims");
    world.move_in("a", b"another");
    world.watch.answer(&offer.path, Answer::Taken);
    assert_eq!(world.next().identity.size, 7);
}

#[test]
fn what_is_not_yet_complete_is_offered_again_after_quiet() {
    // Far longer than the watch may sleep on a busy machine: the first offer must come before the quiet time is over.
    let quiet = 20 * STABLE_FOR;
    let mut world = Plan::new(|rule| rule.ready.stable_for = quiet).start();
    let path = world.write("a.gz", b"\x1f\x8b...");
    world.next();
    let answered = Instant::now();
    world.watch.answer(&path, Answer::NotYet);
    let again = world.next();
    assert_eq!(again.path, path);
    assert!(answered.elapsed() >= quiet);
}

#[test]
fn a_file_that_is_given_back_is_not_taken_for_one_that_arrived() {
    let mut world = Plan::new(never_stable).start();
    let path = world.write("a.gz", b"\x1f\x8b...");
    let offer = world.next();
    let claimed = world.claim(&offer);
    fs::rename(&claimed, &path).expect("gives back");
    world.watch.answer(&path, Answer::NotYet);
    world.wait_until("it waits", |world| world.waits_with("a.gz", "stood still"));
    world.assert_only_the_last_is_offered();
}

/// As after `landfall ingest --retire`.
#[test]
fn a_file_that_was_never_offered_and_is_given_back_is_not_taken_for_one_that_arrived() {
    let mut world = Plan::new(never_stable).start();
    let elsewhere = world.write(".claimed", b"\x1f\x8b...");
    let path = world.path("a.gz");
    let identity = durable_fs::identity_at(&elsewhere).expect("looks").expect("a regular file");
    world.watch.answer(&path, Answer::ComesBack(identity));
    fs::rename(&elsewhere, &path).expect("gives back");
    world.watch.answer(&path, Answer::NotYet);
    world.wait_until("it waits", |world| world.waits_with("a.gz", "stood still"));
    world.assert_only_the_last_is_offered();
}

#[test]
fn a_refused_file_waits_with_its_reason_and_is_tried_again() {
    let mut world = Plan::new(|_| {}).start();
    let path = world.move_in("a", b"x");
    world.next();
    let refused = Instant::now();
    world.watch.answer(&path, Answer::Refused("no permission".into()));
    assert!(world.waits_with("a", "no permission"));
    assert_eq!(world.next().path, path);
    assert!(refused.elapsed() >= Duration::from_secs(1));
}

#[test]
fn many_files_at_once_are_each_offered_once() {
    let mut world = Plan::new(|rule| rule.ready.trust_close = TrustClose::Always).start();
    for n in 0..5000 {
        world.write(&format!("{n:04}"), b"x");
    }
    world.watch.rescan();
    let mut names: Vec<_> = (0..5000).map(|_| world.next_name()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5000);
    world.assert_only_the_last_is_offered();
}

#[test]
fn a_kept_file_is_offered_again_only_when_it_changed() {
    let mut world = Plan::new(|rule| rule.source.on_success = OnSuccess::Keep).start();
    let path = world.move_in("a", b"x");
    world.next();
    world.watch.answer(&path, Answer::Taken);
    world.watch.rescan();
    world.assert_only_the_last_is_offered();
    fs::write(&path, b"changed").expect("writes");
    let again = world.next();
    assert_eq!((again.path, again.identity.size), (path, 7));
}

/// As where its folder was away for a moment.
#[test]
fn a_kept_file_that_was_given_back_is_offered_again_though_it_did_not_change() {
    let mut world = Plan::new(|rule| rule.source.on_success = OnSuccess::Keep).start();
    let path = world.move_in("a", b"x");
    let first = world.next();
    world.watch.answer(&path, Answer::Taken);
    world.watch.rescan();
    world.watch.answer(&path, Answer::NotYet);
    assert_eq!(world.next().identity, first.identity);
}

#[test]
fn a_kept_file_that_the_ledger_knows_is_not_offered() {
    let mut plan = Plan::new(|rule| rule.source.on_success = OnSuccess::Keep);
    plan.kept = |_, identity| identity.size == 5;
    fs::write(plan.path("known"), b"12345").expect("writes");
    fs::write(plan.path("new"), b"x").expect("writes");
    let mut world = plan.start();
    assert_eq!(world.next_name(), "new");
    world.assert_only_the_last_is_offered();
}

#[test]
fn the_first_rule_that_matches_gets_the_file_also_when_it_is_off() {
    let mut plan = Plan::new(|rule| rule.name = "broad".into());
    let mut first = rule("first", &plan.path("pay-*"));
    first.ready.stable_for = NEVER;
    let mut off = rule("off", &plan.path("old-*"));
    off.mode = Mode::Off;
    plan.rules.splice(0..0, [first, off]);
    let mut world = plan.start();
    world.move_in("old-1", b"x");
    world.move_in("pay-1", b"x");
    assert_eq!(world.next().rule.name, "first");
    world.move_in("else", b"x");
    assert_eq!(world.next().rule.name, "broad");
}

#[test]
fn files_that_wait_together_come_in_the_rules_order() {
    let plan = Plan::new(|rule| rule.order = Order::Name);
    for name in ["c", "a", "d", "b"] {
        fs::write(plan.path(name), b"x").expect("writes");
    }
    let mut world = plan.start();
    let names: Vec<_> = (0..4).map(|_| world.next_name()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn an_engine_that_takes_no_more_offers_ends_the_watch_and_a_full_one_does_not_block_its_stop() {
    let world = Plan::new(|_| {}).start();
    drop(world.offers);
    fs::write(world.folder.path().join("a"), b"x").expect("writes");
    let start = Instant::now();
    while !world.watch.thread().is_finished() {
        assert!(start.elapsed() < PATIENCE, "the watch ends by itself");
        std::thread::yield_now();
    }

    let (sender, offers) = mpsc::sync_channel(0);
    let rules = vec![rule("r", &world.folder.path().join("*")).into()];
    let watch =
        Watch::start(rules, NEVER, sender, Known::kept(|_, _| false), Content::NOTHING).expect("starts");
    watch.ask_to_stop();
    while !watch.thread().is_finished() {
        assert!(start.elapsed() < PATIENCE, "the watch ends");
        std::thread::yield_now();
    }
    drop(offers);
}

/// Goal: nobody who answers an offer, and no command, waits for a watch that hangs in a file system.
#[test]
fn a_watch_that_hangs_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (tell, told) = mpsc::sync_channel(0);
    let (go_on, wait) = mpsc::sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let hangs = move |_: &Path, _: &FileIdentity| {
        tell.send(()).expect("the test waits");
        wait.lock().expect("no panic").recv().expect("the test goes on");
        false
    };
    let mut kept = rule("kept", &folder.path().join("*"));
    kept.source.on_success = OnSuccess::Keep;
    fs::write(folder.path().join("a"), b"x").expect("writes");
    let (offers, _taken) = mpsc::sync_channel(1);
    let watch =
        Watch::start(vec![kept.into()], NEVER, offers, Known::kept(hangs), Content::NOTHING).expect("starts");
    told.recv().expect("it looks at the file");
    for number in 0..2 * INBOX_MAX {
        watch.answer(Path::new(&number.to_string()), Answer::NotYet);
        watch.hasten();
    }
    let listed = watch.waiting(Duration::from_millis(1).into(), None);
    assert!(
        matches!(&listed[..], [(path, reason)] if path.ends_with("a") && reason.contains("hangs")),
        "{listed:?}"
    );
    watch.ask_to_stop();
    assert!(!watch.thread().is_finished());
    go_on.send(()).expect("it waits");
}

#[test]
fn a_wrong_rule_is_refused_by_name_with_what_to_do() {
    let mut plan = Plan::new(|rule| rule.name = "payments".into());
    plan.rules[0].paths = vec!["/in/*.{csv,txt}".into()].into();
    let (offers, _receiver) = mpsc::sync_channel(1);
    let error = Watch::start(shared(plan.rules), NEVER, offers, Known::kept(|_, _| false), Content::NOTHING)
        .err()
        .expect("is refused");
    assert!(error.to_string().contains("payments") && error.hint().is_some());
    assert_eq!(error.kind(), FaultKind::Config);
}

/// Goal: files that have to be read to be known again hold up no other one; each is answered for, also those that found no room.
#[test]
fn kept_files_that_are_read_hold_up_nobody() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (tell, told) = mpsc::sync_channel(0);
    let (go_on, wait) = mpsc::sync_channel::<()>(0);
    let (tell, wait) = (std::sync::Mutex::new(tell), std::sync::Mutex::new(wait));
    let look_up = move |path: &Path, _: &FileIdentity, reads: bool| match path.file_name() {
        Some(name) if name == "new" => Kept::No,
        _ if !reads => Kept::ByItsBytes,
        name => {
            tell.lock().expect("no panic").send(()).ok();
            wait.lock().expect("no panic").recv().ok(); // as long as it takes
            if name.is_some_and(|name| name == "changed") { Kept::No } else { Kept::Yes }
        }
    };
    let known = Known { is_kept: std::sync::Arc::new(look_up), ..Known::kept(|_, _| false) };
    let mut kept = rule("kept", &folder.path().join("*"));
    kept.source.on_success = OnSuccess::Keep;
    fs::write(folder.path().join("changed"), b"x").expect("writes");
    fs::write(folder.path().join("same"), b"x").expect("writes");
    let (offers, offered) = mpsc::sync_channel(4);
    let watch = Watch::start(vec![kept.into()], NEVER, offers, known, Content::NOTHING).expect("starts");
    told.recv().expect("one is read");
    fs::write(folder.path().join("new"), b"x").expect("writes");
    let next = || offered.recv_timeout(PATIENCE).expect("an offer").remove(0).path;
    assert!(next().ends_with("new"));
    let waiting = watch.waiting(PATIENCE.into(), None);
    assert!(
        waiting.iter().any(|(path, why)| path.ends_with("same") && why.contains("it is read")),
        "{waiting:?}"
    );
    #[cfg(unix)]
    while watch.scans() == 0 {
        watch.waiting(PATIENCE.into(), None);
    }
    assert_eq!(watch.rounds(), 0, "the scan met files that are not read yet");
    drop(told);
    drop(go_on);
    assert!(next().ends_with("changed"), "it is another by its bytes");
    while watch.rounds() == 0 {
        watch.waiting(PATIENCE.into(), None);
    }
    assert!(offered.recv_timeout(4 * STABLE_FOR).is_err(), "the other one is the same");
}
