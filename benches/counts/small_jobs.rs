//! Small jobs: each job's rows, its partials, its intent and its renames, as the engine's stages write them. The sources (their claims and
//! their archive) are left out, and so are loading and work, which other cases count.
//!
//! Counts vary by some tenths of a percent: names and times of files are other each time, and so is when the store's own threads are done.

use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use landfall::doors::FileIdentity;
use landfall::doors::JobEvent;
use landfall::doors::durable_fs::FolderRound;
use landfall::doors::{EntryName, Intent, Partials, RolledForward};
use landfall::doors::{LedgerOutcome, LedgerRow, Store};
use landfall::job::JobId;
use landfall::job::OsText;
use landfall::job::{Job, Source};

use crate::world::World;
use crate::{Case, Failure};

const JOBS: u64 = 200;
/// As many jobs share syncs: many small files come at once.
const JOBS_PER_SYNC: u64 = 20;
const RECORDS_PER_JOB: u64 = 10;
pub(crate) const RECORDS: u64 = JOBS * RECORDS_PER_JOB;

/// Ten records as the pipeline leaves them, by category.
const CHUNK: &str = "17,AC0000000017,170.07,2026-01-02\n";
const CATEGORIES: [(&str, u64); 2] = [("closed", 2), ("main", 8)];

/// What the jobs are made of, the same for each.
struct Input<'a> {
    world: &'a World,
    store: Store,
    headers: Vec<Option<Vec<u8>>>,
    chunks: Vec<(usize, Vec<u8>, u64)>,
    rule_hash: String,
}

pub(crate) fn prepare(world: &World) -> Result<Case<'_>, Failure> {
    let store = Store::open(&world.folder.path().join("data"))?;
    let shape = world.read(drop)?;
    let categories = world.pipeline.categories();
    let headers = (0..categories.len()).map(|category| world.pipeline.header(category, &shape)).collect();
    let mut chunks = Vec::new();
    for (name, records) in CATEGORIES {
        let category = categories.iter().position(|category| category.as_str() == name);
        chunks.push((category.ok_or(name)?, CHUNK.repeat(records as usize).into_bytes(), records));
    }
    let input = Input { world, store, headers, chunks, rule_hash: world.rule.hash() };
    Ok(Box::new(move || {
        let mut records = 0;
        for first in (0..JOBS).step_by(JOBS_PER_SYNC as usize) {
            let jobs = input.claim(first..first + JOBS_PER_SYNC)?;
            input.store.sync()?;
            records += input.finish(jobs)?;
            input.store.sync()?;
        }
        Ok(records)
    }))
}

impl Input<'_> {
    fn claim(&self, numbers: Range<u64>) -> Result<Vec<Job>, Failure> {
        let jobs: Vec<Job> = numbers.map(|number| self.queued(number)).collect();
        let mut changes = self.store.change();
        for job in &jobs {
            let row = LedgerRow::of(job, LedgerOutcome::Claimed);
            changes.rule(&self.world.rule).job(job).ledger(&row, false);
        }
        changes.apply()?;
        Ok(jobs)
    }

    fn queued(&self, number: u64) -> Job {
        let source = Source::found(
            OsText::from(format!("in/payments-{number}.csv").as_str()),
            FileIdentity { device: 1, inode: number, size: 700, mtime_ns: 1, ctime_ns: 1 },
        );
        let id = JobId::from_parts(number, 1);
        Job::queued(id, &self.world.rule.name, &self.rule_hash, source, Timestamp::UNIX_EPOCH)
    }

    /// From the start of loading to the end of the rows, all jobs step by step, as a finisher takes them on.
    fn finish(&self, jobs: Vec<Job>) -> Result<u64, Failure> {
        let mut collected = Vec::new();
        for job in jobs {
            collected.push(self.collect(job)?);
        }
        for (_, partials) in &mut collected {
            partials.sync_files()?;
        }
        let mut round = FolderRound::default();
        for (_, partials) in &mut collected {
            partials.sync_folders(&mut round)?;
        }
        let mut publishing = Vec::new();
        for (job, partials) in collected {
            publishing.push(self.intend(job, partials)?);
        }
        self.store.sync()?;
        for (job, intent) in &mut publishing {
            if intent.rename_outputs(&self.world.rule, job, &|_| false)? != RolledForward::Done {
                return Err("somebody else writes in the temporary folder".into());
            }
        }
        let mut round = FolderRound::default();
        let mut records = 0;
        for (job, intent) in publishing {
            intent.sync_folders(&mut round)?;
            records += self.end(job)?;
        }
        Ok(records)
    }

    fn collect(&self, mut job: Job) -> Result<(Job, Partials), Failure> {
        job.take(JobEvent::Started, Timestamp::UNIX_EPOCH, "")?;
        self.store.change().job(&job).apply()?;
        let World { rule, outputs, .. } = self.world;
        let mut partials = Partials::start(Arc::clone(outputs), Arc::clone(rule), &job);
        partials.begin_entry(&EntryName { position: 0, name: OsText::default() }, &self.headers)?;
        for (category, bytes, records) in &self.chunks {
            partials.append(*category, outputs.encode(*category, bytes.clone(), *records))?;
        }
        partials.end()?;
        Ok((job, partials))
    }

    fn intend(&self, mut job: Job, mut partials: Partials) -> Result<(Job, Intent), Failure> {
        let intent = Intent::choose(&self.world.rule, &job, partials.finished()?, &|_| false)?;
        job.outputs = intent.outputs.iter().map(|output| output.output.clone()).collect();
        job.take(JobEvent::AccountBalanced, Timestamp::UNIX_EPOCH, "")?;
        self.store.change().intent(job.id, &intent).job(&job).delivery(&job).apply()?;
        Ok((job, intent))
    }

    fn end(&self, mut job: Job) -> Result<u64, Failure> {
        job.take(JobEvent::Published, Timestamp::UNIX_EPOCH, "")?;
        self.store.change().job(&job).apply()?;
        job.take(JobEvent::Retired, Timestamp::UNIX_EPOCH, "")?;
        let row = LedgerRow::of(&job, LedgerOutcome::Completed);
        self.store.change().job(&job).ledger(&row, false).forget_work(job.id).apply()?;
        Ok(job.outputs.iter().map(|output| output.records).sum())
    }
}
