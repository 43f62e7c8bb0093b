//! An engine without its threads, for the tests that stand beside what they test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::collect::{Collector, WorkedSlice};
use super::content::SliceHash;
use super::door::{Act, Door as _};
use super::entries::{EntryMemory, LoadedEntry};
use super::handle::Engine;
use super::run::Run;
use super::run_state::Loaded;
use super::schedule::Stage;
use super::shared::{Resources, Shared};
use super::totals::Announced;
use crate::clock;
use crate::decode::Decoded;
use crate::durable_fs;
use crate::model::account::Account;
use crate::model::account::FailedRecord;
use crate::model::category::Category;
use crate::model::decisions::Decisions;
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::job_state::{JobEvent, JobState};
use crate::model::rule::Rule;
use crate::model::slice::{Slice, Span};
use crate::output::EntryName;
use crate::pipeline::Registry;
use crate::store::{MemoryBudget, Store};

const CONFIGURATION: &str = r#"
config_version = 1
[service]
data_dir = "data"
[[rule]]
name = "payments"
paths = ["in/*"]
records = { format = "lines" }
output = { main = { path = "out/{stem}.main" } }
"#;
const RULE: &str = r#"
source = { on_success = "archive", archive_dir = "archive" }
delivery = { key = "{name}", same_key = "hold" }
"#;

/// An engine without its threads, in a folder with the source `in/pay.txt`.
pub(super) struct World {
    pub shared: Arc<Shared>,
    folder: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(RULE)
    }

    /// Under a rule with these keys.
    pub(super) fn with(rule: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["in/.landfall", "out", "data"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("makes");
        }
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("in/pay.txt"), "1\n").expect("writes");
        std::fs::write(path("landfall.toml"), format!("{CONFIGURATION}{rule}")).expect("writes");
        let registry = Registry::with_builtin_steps();
        let settings = crate::config::load(&path("landfall.toml"), &registry).expect("is right");
        let store = Store::in_memory();
        let shared = Arc::new(Shared::new(settings.service, store, registry));
        Engine::exchange_rules(&shared, settings.rules).expect("are right");
        Self { shared, folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        name.split('/').fold(self.folder.path().to_owned(), |path, part| path.join(part)) // with the system's separators
    }

    /// The only one.
    pub(super) fn rule(&self) -> Arc<Rule> {
        Arc::clone(self.shared.rules.now().iter().next().expect("there is one"))
    }

    pub(super) fn source(&self) -> PathBuf {
        self.path("in/pay.txt")
    }

    pub(super) fn claimed(&self) -> PathBuf {
        self.path("in/.landfall/claimed")
    }

    /// A job for the source as it is now, in the store; the caller renames the file.
    pub(super) fn job(&self) -> Job {
        self.job_for(1, &self.source(), &self.claimed())
    }

    /// The same for a second file, `in/NAME`.
    pub(super) fn second_job(&self, name: &str) -> Job {
        let path = self.path("in").join(name);
        std::fs::write(&path, "2\n").expect("writes");
        self.job_for(2, &path, &self.path("in/.landfall/second"))
    }

    fn job_for(&self, number: u128, path: &Path, claimed: &Path) -> Job {
        let rule = &*self.rule();
        let identity = durable_fs::identity_at(path).expect("looks").expect("a regular file");
        let source = Source { claimed: Some(claimed.into()), ..Source::found(path, identity) };
        let id = JobId::from_parts(1, number);
        let job = Job::queued(id, &rule.name, &rule.hash(), source, clock::now());
        self.shared.store.change().rule(rule).job(&job).apply().expect("writes");
        job
    }

    /// A hidden partial that an earlier run of the job left.
    pub(super) fn partial_of(&self, job: &Job) -> PathBuf {
        let partial = self.path(&format!("out/.landfall-{}-0.partial", job.id));
        std::fs::write(&partial, "1\n").expect("writes");
        partial
    }

    /// The rename that claims the source.
    pub(super) fn rename(&self) {
        durable_fs::rename_no_replace(&self.source(), &self.claimed()).expect("renames");
    }

    /// A job whose source is claimed, started, and read by nobody yet.
    pub(super) fn run(&self) -> Arc<Run> {
        let run = self.unread_run();
        run.entries.add(entry());
        run
    }

    /// The same, without its entry.
    pub(super) fn unread_run(&self) -> Arc<Run> {
        let mut job = self.job();
        self.rename();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        self.shared.save(&job).expect("writes");
        let Shared { store, resources: Resources { memory, .. }, footprints, .. } = &*self.shared;
        let rule = self.shared.rules.snapshot(store, &job).expect("is known");
        let collector = Collector::begin(store, &rule, &job, false, None).expect("begins");
        let queue = store.slice_queue(Arc::clone(&memory.waiting), 1 << 20);
        let run =
            Arc::new(Run::new(memory, &footprints.reach, job, rule, queue, collector, Decisions::default()));
        self.shared.dispatch.begin_run(&run.owner, Arc::clone(&run));
        run
    }

    pub(super) fn row(&self, job: &Job) -> Option<Job> {
        self.shared.store.job(job.id).expect("reads")
    }
}

pub(super) fn is_there(path: &Path) -> bool {
    path.try_exists().expect("can be looked at")
}

/// The one entry of a plain file.
fn entry() -> LoadedEntry {
    let memory = EntryMemory { _lease: MemoryBudget::new(1).lease(0), _header: None };
    let name = EntryName { position: 0, name: "".into() };
    LoadedEntry { name, shape: Arc::default(), _memory: Arc::new(memory) }
}

/// A slice of one record.
pub(super) fn slice(number: u64, entry: u32) -> Slice {
    Slice {
        number,
        entry,
        first_record: number + 1,
        offset: number * 2,
        first_line: number,
        bytes: b"1\n".to_vec().into(),
        records: vec![Span { start: 0, end: 1 }],
        skipped: 0,
        oversized: None,
        places: Vec::new(),
    }
}

/// A slice of one record, as it comes out of the pipeline.
pub(super) fn worked(run: &Run, number: u64, line: &str) -> WorkedSlice {
    let mut account = Account { records_in: 1, ..Account::default() };
    account.records_out.insert(Category::main(), 1);
    WorkedSlice {
        number,
        entry: 0,
        text_bytes: line.len() as u64,
        hash: SliceHash::of(&Slice {
            number,
            entry: 0,
            first_record: number + 1,
            offset: 0,
            first_line: 0,
            bytes: line.to_owned().into_bytes().into(),
            records: Vec::new(),
            skipped: 0,
            oversized: None,
            places: Vec::new(),
        }),
        chunks: vec![Some(run.rule.outputs.encode(0, format!("{line}\n").into_bytes(), 1))],
        account,
        failed: Vec::new(),
        broken: false,
        lease: MemoryBudget::new(1).lease(0),
    }
}

/// A slice whose one record a step could not take.
pub(super) fn failed(run: &Run, number: u64, why: &str) -> WorkedSlice {
    let account = Account { records_in: 1, records_failed: 1, ..Account::default() };
    WorkedSlice {
        chunks: vec![None],
        account,
        failed: vec![failed_record(number + 1, why)],
        ..worked(run, number, "")
    }
}

pub(super) fn failed_record(number: u64, why: &str) -> FailedRecord {
    FailedRecord {
        entry: 0,
        entry_name: String::new(),
        record: number,
        offset: 0,
        line: number,
        step: "records".into(),
        error: why.to_owned(),
        bytes: b"1".to_vec(),
        length: 1,
    }
}

/// Whether it settles, with its steps ended here.
pub(super) fn settles(run: &Run) -> bool {
    if run.begin_ending() {
        run.end_steps();
    }
    run.settle()
}

/// The source is read to its end, and had so many slices.
pub(super) fn loaded(slices: u64) -> Loaded {
    Loaded {
        slices,
        lines_skipped: 0,
        unterminated: Vec::new(),
        decoded: Decoded {
            content_hash: "blake3:00".to_owned(),
            characters_replaced: 0,
            proves_its_end: false,
            skipped: Vec::new(),
        },
        announced: Announced::default(),
    }
}

/// After a restart a loader sees whether a delivery that was held still is, and writes its row again.
#[test]
fn a_retry_waits_for_the_loader_that_has_the_job() {
    let world = World::new();
    let mut held = world.job();
    world.rename();
    held.take(JobEvent::Started, clock::now(), "").expect("starts");
    let correction = JobError { kind: FaultKind::Config, message: "a correction".into(), hint: None };
    held.settle(clock::now(), correction).expect("is held");
    world.shared.save(&held).expect("writes");

    assert!(world.shared.dispatch.take_up(held.id, Stage::Load));
    let (told, answer) = sync_channel(1);
    let engine = Engine::over(world.shared.store.clone(), &[]);
    assert!(engine.run_by(&world.shared));
    let retry = Act::retry(held.id.to_string());
    let operator = std::thread::spawn(move || told.send(engine.act(&retry)).is_ok());
    answer.recv_timeout(Duration::from_millis(100)).expect_err("a loader has the job");
    world.shared.save(&held).expect("writes"); // still held
    world.shared.dispatch.put_down(held.id);
    answer.recv().expect("an answer").expect("is retried");
    assert!(operator.join().expect("ends"), "it was heard");
    let row = world.row(&held).expect("is there");
    assert_eq!((row.state.get(), row.delivery.key_approved), (JobState::Queued, true), "{row:#?}");
    assert!(world.shared.dispatch.take_up(held.id, Stage::Load), "the retry has put it down");
}
