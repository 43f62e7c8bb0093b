//! The watch on real folders. Nothing sleeps: tests wait for offers, or for the watch's own word.

#![allow(
    clippy::disallowed_methods,
    reason = "tests play the senders, who rename and remove files as they like"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::model::rule::*;

/// Longer than any machine needs; only a broken watch waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
const STABLE_FOR: Duration = Duration::from_millis(50);
/// So long that no test sees its end.
const NEVER: Duration = Duration::from_hours(1);

/// A folder, a watch on it, and its offers.
struct World {
    folder: TempDir,
    watch: Watch,
    offers: Receiver<Vec<Offer>>,
    at_hand: std::collections::VecDeque<Offer>,
}

/// How a world is set up.
struct Plan {
    rules: Vec<Rule>,
    folder: TempDir,
    events: bool,
    scan_every: Duration,
    kept: fn(&FileIdentity) -> bool,
}

impl Plan {
    fn new(change: impl FnOnce(&mut Rule)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut rule = rule("r", &folder.path().join("*"));
        change(&mut rule);
        Self { rules: vec![rule], folder, events: true, scan_every: NEVER, kept: |_| false }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(self) -> World {
        let (sender, offers) = mpsc::sync_channel(64);
        let links = Links {
            offers: sender,
            already_kept: Box::new(self.kept),
            proves_its_end: |head| head.starts_with(b"\x1f\x8b"),
        };
        let watch = Watch::start_with(self.rules, self.scan_every, self.events, links).expect("starts");
        World { folder: self.folder, watch, offers, at_hand: std::collections::VecDeque::new() }.settled()
    }
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes under a hidden name, then renames, as a careful sender does.
    fn move_in(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let (hidden, path) = (self.path(".upload"), self.path(name));
        fs::write(&hidden, bytes).expect("writes");
        fs::rename(&hidden, &path).expect("renames");
        path
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("writes");
        path
    }

    fn next(&mut self) -> Offer {
        if self.at_hand.is_empty() {
            self.at_hand.extend(self.offers.recv_timeout(PATIENCE).expect("an offer comes"));
        }
        self.at_hand.pop_front().expect("a batch is never empty")
    }

    fn next_name(&mut self) -> String {
        let offer = self.next();
        offer.path.file_name().expect("has a name").to_string_lossy().into_owned()
    }

    /// Nothing but this marker file, which comes last, is offered.
    fn assert_only_the_last_is_offered(&mut self) {
        self.move_in("zz-last", b"x");
        assert_eq!(self.next_name(), "zz-last");
    }

    /// Claims as the engine does: renames into the claim folder, then answers.
    fn claim(&self, offer: &Offer) -> PathBuf {
        let folder = self.path(".landfall");
        fs::create_dir_all(&folder).expect("creates");
        let claimed = folder.join(offer.path.file_name().expect("has a name"));
        fs::rename(&offer.path, &claimed).expect("claims");
        self.watch.answer(&offer.path, Answer::Taken);
        claimed
    }

    fn waits_with(&self, name: &str, reason: &str) -> bool {
        let path = self.path(name);
        self.watch.waiting().iter().any(|(at, why)| *at == path && why.contains(reason))
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "{what}; waiting: {:?}", self.watch.waiting());
            std::thread::yield_now();
        }
    }

    /// The first scan is done: the watch answers between turns only, and small folders take one turn.
    fn settled(self) -> Self {
        for _ in 0..3 {
            self.watch.waiting();
        }
        self
    }
}

fn rule(name: &str, pattern: &Path) -> Rule {
    Rule {
        name: name.into(),
        mode: Mode::Live,
        paths: vec![pattern.to_str().expect("UTF-8").into()],
        exclude: Vec::new(),
        order: Order::Arrival,
        ready: Ready {
            strategy: ReadyStrategy::Auto,
            trust_close: TrustClose::Framed,
            stable_for: STABLE_FOR,
            marker: None,
        },
        decode: Decode {
            layers: Vec::new(),
            require_encrypted: false,
            identities: Vec::new(),
            passphrase_file: None,
            entries: Vec::new(),
            entries_max: 1,
            depth_max: 1,
            expanded_max: 1,
            ratio_max: 1,
            encoding: "utf-8".into(),
            on_bad_encoding: OnBadEncoding::Fail,
        },
        records: Records { format: Format::Lines, skip_lines: 0, record_max: 1, slice_records: 1 },
        pipeline: Vec::new(),
        outputs: BTreeMap::new(),
        publish: Publish::default(),
        errors: Errors { on_record_error: OnRecordError::SetAside, failed_max: Limit::Count(0), attempts: 1 },
        source: SourceEnd {
            on_success: OnSuccess::Delete,
            archive_dir: None,
            claim_dir: None,
            quarantine_dir: None,
        },
        base_dir: PathBuf::new(),
        timezone: "UTC".into(),
    }
}

fn never_stable(rule: &mut Rule) {
    rule.ready.stable_for = NEVER;
}

fn with_marker(rule: &mut Rule) {
    rule.ready.strategy = ReadyStrategy::Marker;
    rule.ready.marker = Some("{name}.done".into());
}

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
    plan.rules[0].paths = vec![plan.path("{sender}-*").to_str().expect("UTF-8").into()];
    let mut world = plan.start();
    let path = world.move_in("acme-1", b"data");
    let offer = world.next();
    assert_eq!((offer.rule.as_str(), &offer.path), ("r", &path));
    assert_eq!(offer.vars.get("sender"), Some(&OsText::from("acme")));
    assert_eq!(offer.identity.size, 4);
    assert!(!offer.may_be_early && offer.companions.is_empty());
}

#[test]
fn at_a_close_only_what_proves_its_own_end_is_offered_and_marked_as_perhaps_early() {
    let mut world = Plan::new(never_stable).start();
    world.write("plain", b"a,b\n");
    world.write("framed.gz", b"\x1f\x8b...");
    let offer = world.next();
    assert!(offer.path.ends_with("framed.gz") && offer.may_be_early);
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
    assert!(offer.path.ends_with("plain") && !offer.may_be_early);
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
    world.watch.stop();
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
    assert!(world.watch.waiting().iter().all(|(path, _)| !path.ends_with("a.done")));
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
fn hidden_unfinished_and_excluded_names_links_and_folders_are_no_candidates() {
    let mut world = Plan::new(|rule| rule.exclude = vec!["test-*".into()]).start();
    for name in [".hidden", "a.part", "b.tmp", "c~", "test-1"] {
        world.move_in(name, b"x");
    }
    fs::create_dir(world.path("folder")).expect("creates");
    std::os::unix::fs::symlink(world.path(".hidden"), world.path("link")).expect("links");
    world.watch.rescan();
    world.assert_only_the_last_is_offered();
    assert!(world.watch.waiting().iter().all(|(path, _)| path.ends_with("zz-last")));
}

#[test]
fn folders_that_appear_later_are_watched_and_hidden_ones_never_entered() {
    let mut plan = Plan::new(|_| {});
    plan.rules[0].paths = vec![plan.path("new/**/*.csv").to_str().expect("UTF-8").into()];
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
    plan.rules[0].paths = vec![plan.path("in/*").to_str().expect("UTF-8").into()];
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
    world.wait_until("it is forgotten", |world| world.watch.waiting().is_empty());
}

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
fn what_is_not_yet_complete_is_offered_again_after_quiet_and_no_longer_as_early() {
    let mut world = Plan::new(|_| {}).start();
    let path = world.write("a.gz", b"\x1f\x8b...");
    assert!(world.next().may_be_early);
    let answered = Instant::now();
    world.watch.answer(&path, Answer::NotYet);
    let again = world.next();
    assert!(again.path == path && !again.may_be_early);
    assert!(answered.elapsed() >= STABLE_FOR);
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
fn without_events_the_scan_finds_everything() {
    let mut plan = Plan::new(|_| {});
    plan.events = false;
    plan.scan_every = Duration::from_millis(20);
    plan.rules[0].paths = vec![plan.path("*/*").to_str().expect("UTF-8").into()];
    let mut world = plan.start();
    fs::create_dir(world.path("later")).expect("creates");
    world.write("later/a", b"x");
    assert_eq!(world.next_name(), "a");
    assert_eq!(world.watch.found_without_event(), 0, "there are no events to miss");
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

#[test]
fn a_kept_file_that_the_ledger_knows_is_not_offered() {
    let mut plan = Plan::new(|rule| rule.source.on_success = OnSuccess::Keep);
    plan.kept = |identity| identity.size == 5;
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
    assert_eq!(world.next().rule, "first");
    world.move_in("else", b"x");
    assert_eq!(world.next().rule, "broad");
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
    while !world.watch.thread.as_ref().is_some_and(JoinHandle::is_finished) {
        assert!(start.elapsed() < PATIENCE, "the watch ends by itself");
        std::thread::yield_now();
    }

    let (sender, offers) = mpsc::sync_channel(0);
    let rules = vec![rule("r", &world.folder.path().join("*"))];
    let watch = Watch::start(rules, NEVER, sender, Box::new(|_| false), |_| false).expect("starts");
    watch.stop();
    drop(offers);
}

#[test]
fn a_folder_that_cannot_be_read_is_shown_and_holds_up_no_other() {
    let mut plan = Plan::new(|_| {});
    // Unreadable for every user, root included.
    let too_long = plan.path(&"x".repeat(300));
    let pattern = too_long.join("*").to_str().expect("UTF-8").to_owned();
    plan.rules[0].paths.insert(0, pattern);
    let mut world = plan.start();
    assert!(world.waits_with(&"x".repeat(300), "cannot be read"));
    world.assert_only_the_last_is_offered();
}

#[test]
fn a_wrong_rule_is_refused_by_name_with_what_to_do() {
    let mut plan = Plan::new(|rule| rule.name = "payments".into());
    plan.rules[0].paths = vec!["/in/*.{csv,txt}".into()];
    let (offers, _receiver) = mpsc::sync_channel(1);
    let error =
        Watch::start(plan.rules, NEVER, offers, Box::new(|_| false), |_| false).err().expect("is refused");
    assert!(error.to_string().contains("payments") && error.hint().is_some());
    assert_eq!(error.kind(), FaultKind::Config);
}
