//! How long the old system's output is waited for.

use std::sync::RwLock;

use jiff::SignedDuration;

use super::super::outputs::Outlines;
use super::*;
use crate::config;
use crate::model::category::Category;
use crate::model::job::{PublishedOutput, Source};
use crate::model::job_state::JobEvent;
use crate::model::shadow::{Shadow, Shadowed};
use crate::pipeline::Registry;

const CONFIGURATION: &str = "config_version = 1\n[service]\ndata_dir = \"data\"\n[[rule]]\nname = \"payments\"\n\
    mode = \"shadow\"\ncompare = \"old\"\npaths = [\"in/*\"]\nrecords = { format = \"lines\" }\n\
    output = { main = { path = \"out/{stem}.main\" } }\nsource = { on_success = \"keep\" }\n";
const OURS: &str = "1\n2\n";

/// A shadow job that ended at some moment, with one output.
struct World {
    folder: tempfile::TempDir,
    comparing: Comparing,
    job: JobId,
    ended: Timestamp,
}

impl World {
    fn new() -> Self {
        Self::ended_at(Timestamp::from_second(1_000_000_000).expect("a time"))
    }

    fn ended_at(ended: Timestamp) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["in", "old", "data/shadow/outlines"] {
            std::fs::create_dir_all(path(name)).expect("makes");
        }
        std::fs::write(path("landfall.toml"), CONFIGURATION).expect("writes");
        std::fs::write(path("in/pay.txt"), OURS).expect("writes");
        let settings =
            config::load(&path("landfall.toml"), &Registry::with_builtin_steps()).expect("is right");
        let rules = Arc::new(RwLock::new(settings.rules.clone()));
        let places = Places { data_dir: path("data/shadow"), rules, store: Store::in_memory() };
        let (rule, id) = (&settings.rules[0], JobId::from_parts(1, 1));
        let identity = durable_fs::identity_at(&path("in/pay.txt")).expect("looks").expect("a file");
        let source = Source::found(path("in/pay.txt"), identity);
        let mut job = Job::queued(id, &rule.name, &rule.hash(), source, ended);
        for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published, JobEvent::Retired] {
            job.take(event, ended, "").expect("in this order");
        }
        let outlines: Outlines = vec![Outline::of(OURS.as_bytes()).expect("reads")];
        std::fs::write(places.outlines_of(id), serde_json::to_vec(&outlines).expect("plain data"))
            .expect("writes");
        let compared = Some(Compared::default());
        let shadowed = Shadowed { bytes: 4, lines: 2, hash: String::new(), compared };
        job.shadow = Some(Box::new(Shadow { not_run: None, outputs: vec![shadowed] }));
        job.outputs = vec![PublishedOutput {
            category: Category::main(),
            entry: None,
            path: path("out/pay.main").into(),
            records: 2,
            bytes: 4,
            sha256: None,
        }];
        let store = Store::in_memory();
        store.change().job(&job).apply().expect("writes");
        Self { comparing: Comparing::new(places, store), folder, job: id, ended }
    }

    fn their_output(&self, text: &str) {
        std::fs::write(self.folder.path().join("old/pay.main"), text).expect("writes");
    }

    /// A look so many hours after the job ended; when to look again.
    fn look(&self, pending: &mut Pending, hours: i64) -> Option<Duration> {
        let now = self.ended.checked_add(SignedDuration::from_hours(hours)).expect("a time");
        self.comparing.look(self.job, pending, now)
    }

    fn verdict(&self) -> Verdict {
        let job = self.comparing.store.job(self.job).expect("reads").expect("is there");
        job.shadow.expect("a shadow").outputs[0].compared.as_ref().expect("to be compared").verdict
    }
}

fn pending() -> Pending {
    Pending::new(Instant::now())
}

/// As if theirs had stood still long enough since it was first seen.
fn let_settle(pending: &mut Pending) {
    let long_ago = Instant::now().checked_sub(STILL_FOR).expect("the machine runs longer");
    pending.seen.values_mut().for_each(|(_, since)| *since = long_ago);
}

#[test]
fn an_output_that_the_old_system_did_not_write_is_ours_only_after_a_day_and_not_before() {
    let world = World::new();
    let mut pending = pending();
    assert_eq!(world.look(&mut pending, 0), Some(LOOK_EVERY.0));
    assert_eq!(world.look(&mut pending, 23), Some(LOOK_EVERY.1));
    assert_eq!(world.verdict(), Verdict::NotThereYet);
    assert_eq!(world.look(&mut pending, 24), None, "nobody looks any more");
    assert_eq!(world.verdict(), Verdict::OursOnly);
}

/// The service was stopped, and is started again days later.
#[test]
fn an_output_of_theirs_that_came_while_no_service_ran_is_compared_all_the_same() {
    for (theirs, verdict) in [(OURS, Verdict::Match), ("1\n3\n", Verdict::Differs)] {
        let world = World::new();
        world.their_output(theirs);
        let mut pending = pending();
        assert_eq!(world.look(&mut pending, 100), Some(STILL_FOR), "it may be written still");
        assert_eq!(world.verdict(), Verdict::NotThereYet);
        let_settle(&mut pending);
        assert_eq!(world.look(&mut pending, 100), None);
        assert_eq!(world.verdict(), verdict);
    }
}

#[test]
fn an_output_of_theirs_that_is_written_without_end_is_not_waited_for_without_end() {
    let world = World::new();
    world.their_output("1\n");
    let mut pending = pending();
    assert!(world.look(&mut pending, 25).is_some());
    pending.settles_until = Instant::now();
    world.their_output("1\n2\n3\n");
    assert_eq!(world.look(&mut pending, 25), None);
    assert_eq!(world.verdict(), Verdict::NotCompared);
}

#[test]
fn of_too_many_that_wait_the_oldest_is_given_up_unless_theirs_is_there() {
    for (is_there, verdict) in [(false, Verdict::OursOnly), (true, Verdict::NotThereYet)] {
        let mut world = World::ended_at(clock::now());
        if is_there {
            world.their_output(OURS);
        }
        world.comparing.pending_max = 0;
        world.comparing.ended(world.job);
        world.comparing.forget_compared();
        assert_eq!(world.verdict(), verdict);
        assert_eq!(world.comparing.pending.len(), usize::from(is_there), "one that is there settles");
        let outlines = world.comparing.places.read_outlines(world.job).expect("can be read");
        assert_eq!(outlines.is_some(), is_there);
    }
}

#[test]
fn a_job_is_looked_at_when_it_is_due_and_not_before() {
    let mut world = World::ended_at(clock::now());
    world.comparing.ended(world.job);
    let now = Instant::now();
    world.comparing.look_at_due(now);
    let next = world.comparing.pending[&world.job].look_at;
    assert!(next > now);
    world.comparing.look_at_due(now);
    assert_eq!(world.comparing.pending[&world.job].look_at, next);
    world.comparing.look_at_due(next);
    assert!(world.comparing.pending[&world.job].look_at > next);
    assert_eq!(world.comparing.due.len(), 1);
}

#[test]
fn a_folder_of_theirs_that_is_not_there_is_told_and_makes_no_output_ours_only() {
    let world = World::new();
    let mut pending = pending();
    std::fs::remove_dir(world.folder.path().join("old")).expect("is empty");
    assert_eq!(world.look(&mut pending, 23), Some(LOOK_EVERY.1));
    assert_eq!(world.verdict(), Verdict::NotThereYet);
    assert_eq!(world.look(&mut pending, 24), None);
    assert_eq!(world.verdict(), Verdict::NotCompared);
}

/// Many an old system keeps `latest.csv` as a link.
#[cfg(unix)]
#[test]
fn what_has_the_name_of_theirs_and_is_no_file_is_told_and_makes_no_output_ours_only() {
    let world = World::new();
    let at = |name: &str| world.folder.path().join("old").join(name);
    let compared = || {
        let job = world.comparing.store.job(world.job).expect("reads").expect("is there");
        let compared = job.shadow.expect("a shadow").outputs[0].compared.clone().expect("to be compared");
        (compared.verdict, compared.detail.unwrap_or_default(), compared.theirs)
    };
    let mut pending = pending();
    std::fs::create_dir(at("pay.main")).expect("makes");
    world.look(&mut pending, 0);
    let (verdict, detail, theirs) = compared();
    assert_eq!((verdict, theirs), (Verdict::NotCompared, Some(at("pay.main").into())));
    assert_eq!(detail, "what has that name is a folder, and only a regular file is compared");
    std::fs::remove_dir(at("pay.main")).expect("is empty");
    world.look(&mut pending, 0);
    assert_eq!(compared(), (Verdict::NotThereYet, String::new(), None));
    std::fs::write(at("2026.main"), OURS).expect("writes");
    std::os::unix::fs::symlink("2026.main", at("pay.main")).expect("links");
    assert_eq!(world.look(&mut pending, 24), None);
    let (verdict, detail, _) = compared();
    assert!(verdict == Verdict::NotCompared && detail.contains("a symbolic link"), "{detail}");
    // One that is read is told for what it is, wherever else something has its name.
    std::fs::write(at("pay.main.gz"), OURS).expect("writes");
    world.look(&mut pending, 1);
    let_settle(&mut pending);
    world.look(&mut pending, 1);
    assert_eq!(compared().0, Verdict::Match);
}
