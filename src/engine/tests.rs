//! What the engine does with one job, at moments that no run of the service can be stopped at.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::rule_book::RuleBook;
use super::schedule::Stage;
use super::shared::Shared;
use super::{Engine, archive, claim, give_back, restored, retire, retrieval};
use crate::clock;
use crate::durable_fs;
use crate::model::account::FailedRecord;
use crate::model::fault::WaitsFor;
use crate::model::job::{Job, Source, Waiting};
use crate::model::job_id::JobId;
use crate::model::job_state::{JobEvent, JobState};
use crate::pipeline::Registry;
use crate::store::Store;

const CONFIGURATION: &str = r#"
config_version = 1
[service]
data_dir = "data"
[[rule]]
name = "payments"
paths = ["in/*"]
records = { format = "lines" }
output = { main = { path = "out/{stem}.main" } }
source = { on_success = "archive", archive_dir = "archive" }
delivery = { key = "{name}", same_key = "hold" }
"#;

/// An engine without its threads, in a folder with the source `in/pay.txt`.
struct World {
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["in/.landfall", "out", "data"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("makes");
        }
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("in/pay.txt"), "1\n").expect("writes");
        std::fs::write(path("landfall.toml"), CONFIGURATION).expect("writes");
        let registry = Registry::with_builtin_steps();
        let settings = crate::config::load(&path("landfall.toml"), &registry).expect("is right");
        let store = Store::in_memory();
        let rules = RuleBook::new(&settings.rules, registry);
        let shared = Arc::new(Shared::new(settings, store, rules));
        Self { shared, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn source(&self) -> PathBuf {
        self.path("in/pay.txt")
    }

    fn claimed(&self) -> PathBuf {
        self.path("in/.landfall/claimed")
    }

    /// A job for the source as it is now, in the store; the caller renames the file.
    fn job(&self) -> Job {
        let rule = &self.shared.settings.rules[0];
        let source = Source {
            claimed: Some(self.claimed().into()),
            ..Source::found(
                self.source(),
                durable_fs::identity_at(&self.source()).expect("looks").expect("a regular file"),
            )
        };
        let job = Job::queued(JobId::from_parts(1, 1), &rule.name, &rule.hash(), source, clock::now());
        self.shared.store.change().rule(rule).job(&job).apply().expect("writes");
        job
    }

    /// A hidden partial that an earlier run of the job left.
    fn partial_of(&self, job: &Job) -> PathBuf {
        let partial = self.path(&format!("out/.landfall-{}-0.partial", job.id));
        std::fs::write(&partial, "1\n").expect("writes");
        partial
    }

    /// The rename that claims the source.
    fn rename(&self) {
        durable_fs::rename_no_replace(&self.source(), &self.claimed()).expect("renames");
    }

    fn row(&self, job: &Job) -> Option<Job> {
        self.shared.store.job(job.id).expect("reads")
    }
}

fn is_there(path: &Path) -> bool {
    path.try_exists().expect("can be looked at")
}

#[test]
fn a_source_that_vanished_before_it_was_given_back_is_lost_and_not_called_given_back() {
    let world = World::new();
    let mut job = world.job();
    job.take(JobEvent::Started, clock::now(), "").expect("starts");
    durable_fs::remove_file(&world.source()).expect("removes");
    give_back::give_back(&world.shared, &mut job, "it ended early")
        .expect_err("there is nothing to give back");
    let mut row = world.row(&job).expect("is there");
    assert!(!retrieval::is_here(&world.shared, &mut row).expect("is decided"));
    let row = world.row(&job).expect("is there");
    assert_eq!(row.state, JobState::Failed, "{row:#?}");
}

#[test]
fn a_kept_file_that_changed_leaves_nothing_of_the_job_that_it_ends() {
    let world = World::new();
    let mut job = world.job();
    job.source.claimed = None;
    job.take(JobEvent::Started, clock::now(), "").expect("starts");
    job.account.records_failed = 1;
    let failed = FailedRecord {
        entry: 0,
        entry_name: String::new(),
        record: 1,
        offset: 0,
        line: 1,
        step: "records".into(),
        error: "too long".into(),
        bytes: b"1".to_vec(),
        length: 1,
    };
    let store = &world.shared.store;
    store.change().job(&job).failed_records(job.id, 0, &[failed]).apply().expect("writes");
    let partial = world.partial_of(&job);
    std::fs::write(world.source(), "1\n2\n").expect("grows");
    assert!(!retrieval::is_here(&world.shared, &mut job).expect("is decided"));
    let row = world.row(&job).expect("is there");
    assert_eq!((row.state, row.account.records_failed), (JobState::Aborted, 0), "{row:#?}");
    assert_eq!(store.failed_records_count(job.id).expect("reads"), 0);
    assert!(!is_there(&partial));
}

#[test]
fn a_job_whose_source_is_lost_leaves_no_partials() {
    let world = World::new();
    let mut job = world.job();
    job.take(JobEvent::Started, clock::now(), "").expect("starts");
    let partial = world.partial_of(&job);
    durable_fs::remove_file(&world.source()).expect("removes");
    assert!(!retrieval::is_here(&world.shared, &mut job).expect("is decided"));
    assert_eq!(world.row(&job).expect("is there").state, JobState::Failed);
    assert!(!is_there(&partial));
}

#[test]
fn a_job_in_doubt_after_a_restored_backup_leaves_no_partials() {
    let world = World::new();
    let mut job = world.job();
    world.rename();
    job.take(JobEvent::Started, clock::now(), "").expect("starts");
    let partial = world.partial_of(&job);
    restored::doubt(&world.shared, std::slice::from_ref(&job)).expect("is decided");
    assert_eq!(world.row(&job).expect("is there").state, JobState::Failed);
    assert!(is_there(&world.claimed()) && !is_there(&partial));
}

/// NFS: the rename was done, its answer lost, and the one that was sent again found nothing.
#[test]
fn a_claim_whose_rename_was_done_is_kept_whatever_its_answer_was() {
    let world = World::new();
    let job = world.job();
    world.rename();
    let taken = claim::take(&world.shared, &job, &mut Vec::new()).expect("is decided");
    assert_eq!((taken, world.row(&job).is_some()), (Some(job.id), true));
    assert!(is_there(&world.claimed()));
}

#[test]
fn a_candidate_that_is_gone_before_its_rename_is_no_job() {
    let world = World::new();
    let job = world.job();
    durable_fs::remove_file(&world.source()).expect("removes");
    let taken = claim::take(&world.shared, &job, &mut Vec::new()).expect("is decided");
    assert_eq!((taken, world.row(&job).is_some()), (None, false));
}

/// A sticky folder, or one to which files can only be added, on a file system without a rename that never replaces.
#[cfg(target_os = "linux")]
#[test]
fn a_candidate_that_could_only_be_linked_has_one_name_afterwards_and_no_row() {
    let world = World::new();
    let job = world.job();
    std::fs::hard_link(world.source(), world.claimed()).expect("links");
    let set = |attribute: &str| {
        let ran = std::process::Command::new("chattr").arg(attribute).arg(world.path("in")).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    if !set("+a") {
        eprintln!("skipped: this file system, or this user, cannot make a folder append-only");
        return;
    }
    let taken = claim::take(&world.shared, &job, &mut Vec::new());
    assert!(set("-a"));
    taken.expect_err("cannot be renamed");
    assert!(is_there(&world.source()) && !is_there(&world.claimed()));
    assert!(world.row(&job).is_none());
}

/// After a restart a loader sees whether a delivery that was held still is, and writes its row again.
#[test]
fn a_retry_waits_for_the_loader_that_has_the_job() {
    let world = World::new();
    let mut held = world.job();
    world.rename();
    held.take(JobEvent::Started, clock::now(), "").expect("starts");
    held.take(JobEvent::Hindered, clock::now(), "a correction").expect("is held");
    held.waiting =
        Some(Waiting { waits_for: WaitsFor::Settling, until: None, detail: "a correction".to_owned() });
    world.shared.save(&held).expect("writes");

    assert!(world.shared.dispatch.take_up(held.id, Stage::Load));
    let (told, answer) = sync_channel(1);
    let (retry, id) = (Engine::retrier(&world.shared), held.id);
    let operator = std::thread::spawn(move || told.send(retry(id)).is_ok());
    answer.recv_timeout(Duration::from_millis(100)).expect_err("a loader has the job");
    world.shared.save(&held).expect("writes"); // still held
    world.shared.dispatch.put_down(held.id);
    answer.recv().expect("an answer").expect("is retried");
    assert!(operator.join().expect("ends"), "it was heard");
    let row = world.row(&held).expect("is there");
    assert_eq!((row.state, row.delivery.key_approved), (JobState::Queued, true), "{row:#?}");
    assert!(world.shared.dispatch.take_up(held.id, Stage::Load), "the retry has put it down");
}

#[test]
fn a_source_that_changes_after_it_was_published_is_kept_apart_and_never_archived_as_what_was_ingested() {
    use std::io::Write as _;
    let world = World::new();
    let mut job = world.job();
    world.rename();
    let mut late = std::fs::File::options().append(true).open(world.claimed()).expect("opens");
    late.write_all(b"2\n").expect("writes");
    let rule = world.shared.rules.snapshot(&world.shared.store, &job).expect("is known");
    archive::plan(&rule, &mut job).expect("plans");
    retire::move_away(&world.shared, &rule, &mut job).expect("moves");
    let quarantined = world.path("in/.landfall/quarantine/pay.txt");
    assert_eq!(job.retired_to.as_ref().map(|path| path.as_path().to_owned()), Some(quarantined.clone()));
    assert_eq!(std::fs::read_to_string(&quarantined).expect("is there"), "1\n2\n");
    assert!(!is_there(&world.path("archive/pay.txt")) && !is_there(&world.claimed()));
    assert!(is_there(&world.path("in/.landfall/quarantine/pay.txt.error.json")));
    // After a crash it is the same again.
    let mut row = world.row(&job).expect("is there");
    retire::move_away(&world.shared, &rule, &mut row).expect("is moved already");
    assert!(row.timeline.iter().any(|moment| moment.detail.contains("written to")), "{row:#?}");
}

#[test]
fn a_source_that_is_set_apart_has_its_reason_beside_it() {
    let world = World::new();
    let mut job = world.job();
    world.rename();
    std::fs::write(world.claimed(), "1\n2\n").expect("its sender still had it open");
    let rule = world.shared.rules.snapshot(&world.shared.store, &job).expect("is known");
    retire::move_away(&world.shared, &rule, &mut job).expect("moved");
    let apart = job.retired_to.clone().expect("it is in quarantine");
    assert!(is_there(apart.as_path()) && !is_there(&world.claimed()));
    let reason = std::fs::read_to_string(format!("{apart}.error.json")).expect("it is beside it");
    let reason: serde_json::Value = serde_json::from_str(&reason).expect("is JSON");
    let said = reason["error"]["message"].as_str().unwrap_or_default();
    assert!(said.contains("written to after it was read"), "{reason:#}");
    assert!(job.error.is_none(), "its outputs are published all the same");
}
