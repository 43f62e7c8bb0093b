//! The file and its rule, and a folder for what is made of it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall::Registry;
use landfall::doors::Cutter;
use landfall::doors::Pipeline;
use landfall::doors::Rule;
use landfall::doors::Store;
use landfall::doors::durable_fs;
use landfall::doors::{DecodeRequest, Decoder};
use landfall::doors::{EntryShape, Slice};
use landfall::doors::{OutputPlan, Partials};
use landfall::job::JobId;
use landfall::job::OsText;
use landfall::job::{Job, Source as JobSource};
use tempfile::TempDir;

use crate::Failure;

pub struct Source {
    pub rule: Arc<Rule>,
    pub pipeline: Arc<Pipeline>,
    pub plan: Arc<OutputPlan>,
    pub job: Job,
    pub store: Store,
    path: PathBuf,
    /// Beside the configuration, so on the disk that the outputs lie on. The store in it closes first.
    pub folder: TempDir,
}

/// What loading gives on: a slice with the shape of its entry, and what it cost.
pub struct Loaded {
    pub shape: Arc<EntryShape>,
    pub slice: Slice,
    /// Reading and inflating, checking text and hashing it.
    pub decode: Duration,
    /// The rest of what the loader does.
    pub cut: Duration,
}

impl Source {
    pub fn new(configuration: &Path, path: &Path) -> Result<Self, Failure> {
        let registry = Registry::with_builtin_steps();
        let settings = landfall::doors::load(configuration, &registry)?;
        let rule = settings.rules.into_iter().next().ok_or("the configuration has no rule")?;
        let pipeline = Pipeline::build(&rule, &registry).map_err(|problems| format!("{problems:?}"))?;
        let plan = OutputPlan::build(&rule, pipeline.categories())?;
        let beside = configuration.parent().unwrap_or(Path::new("."));
        let folder = tempfile::Builder::new().prefix("stages-").tempdir_in(beside)?;
        let store = Store::open(&folder.path().join("data"))?;
        Ok(Self {
            job: job(&rule, path)?,
            rule: Arc::new(rule),
            pipeline: Arc::new(pipeline),
            plan: Arc::new(plan),
            store,
            path: path.to_owned(),
            folder,
        })
    }

    /// The outputs, not begun.
    pub fn partials(&self) -> Partials {
        Partials::start(Arc::clone(&self.plan), Arc::clone(&self.rule), &self.job)
    }

    /// Loads the file as the engine's loader does, until its end or until `each` says false.
    pub fn load(&self, mut each: impl FnMut(Loaded) -> Result<bool, Failure>) -> Result<(), Failure> {
        let request = DecodeRequest {
            shown_path: &self.path,
            decode: &self.rule.decode,
            records: &self.rule.records,
            identities: &[],
            passphrase_file: None,
            signers: &[],
            spool_dir: self.folder.path(),
            progress: Arc::default(),
            allowance: landfall::doors::Allowance::alone(96 << 20),
        };
        let mut decoder = Decoder::open(File::open(&self.path)?, &request)?;
        let entry = decoder.next_entry()?.ok_or("the file has no entry")?;
        let reading = Rc::new(Cell::new(Duration::ZERO));
        let text = Timed { reader: entry.text, spent: Rc::clone(&reading) };
        let mut cutter = Cutter::new(text, &self.rule.records, &self.rule.decode, 0, String::new(), 0)?;
        let shape = Arc::new(cutter.shape()?);
        loop {
            reading.set(Duration::ZERO);
            let started = Instant::now();
            let Some(slice) = cutter.next_slice()? else { return Ok(()) };
            let (whole, decode) = (started.elapsed(), reading.get());
            if !each(Loaded { shape: Arc::clone(&shape), slice, decode, cut: whole.saturating_sub(decode) })?
            {
                return Ok(());
            }
        }
    }
}

/// A reader that tells how long reading took.
struct Timed<R> {
    reader: R,
    spent: Rc<Cell<Duration>>,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        let read = self.reader.read(buffer);
        self.spent.set(self.spent.get() + started.elapsed());
        read
    }
}

/// A job for this file, as if it had just been claimed.
fn job(rule: &Rule, path: &Path) -> io::Result<Job> {
    let now = landfall::doors::now();
    let identity = durable_fs::identity(&File::open(path)?)?;
    let mut source = JobSource::found(OsText::from(path), identity);
    source.retire = false;
    let id = JobId::from_parts(now.as_millisecond().unsigned_abs(), 0);
    Ok(Job::queued(id, &rule.name, &rule.hash(), source, now))
}
