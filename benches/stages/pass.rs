//! One pass over the file, every stage by one thread, with a clock between them.
//!
//! Stages take turns, a batch of slices each: as in the engine, a slice has left the nearest caches before the next stage
//! has it. The disk is waited for at each checkpoint, as the engine's checkpointer does it while others work. Content is hashed by a
//! helper of the decoder meanwhile; it hashes the same bytes the same way as a worker does, and costs as much again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall::doors::FRAMING_VERSION;
use landfall::doors::{Checkpoint, MemoryBudget, SliceQueue, Taken};
use landfall::doors::{EncodedChunk, EntryName, Partials};
use landfall::doors::{EntryShape, Slice};
use landfall::doors::{PipelineWorker, SliceResult};
use landfall::job::Account;
use landfall::job::OsText;
use serde_json::{Value, json};

use crate::Failure;
use crate::processor::processor_time;
use crate::source::{Loaded, Source};

/// As `engine/collect.rs` has it.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// Slices that are loaded, then worked, then collected: as many as a job may have in hand, and about as many as the cutter's buffers
/// that go round have room for.
const BATCH_SLICES: u64 = 64;
/// More than a batch takes.
const MEMORY_BYTES: u64 = 64 << 20;

/// Time spent, all slices together.
#[derive(Default)]
struct Spent {
    decode: Duration,
    cut: Duration,
    /// Put into the queue and taken out again, nobody else at it.
    hand_over: Duration,
    pipeline: Duration,
    encode: Duration,
    /// What a checkpoint knows the slice by.
    hash: Duration,
    collect: Duration,
    /// What checkpoints cost the workers that order them.
    checkpoint: Duration,
    /// Partials and rows synced, by the clock.
    sync: Duration,
    /// The same by the processor.
    sync_processor: Duration,
}

/// A slice that was worked.
struct Worked {
    text_bytes: u64,
    chunks: Vec<Option<EncodedChunk>>,
    account: Account,
    hash: blake3::Hash,
}

/// What one pass has in its hands.
struct Pass<'a> {
    source: &'a Source,
    queue: SliceQueue,
    worker: PipelineWorker,
    partials: Partials,
    account: Account,
    content: [u8; 32],
    spent: Spent,
    slices: u64,
    text_bytes: u64,
    bytes_since_checkpoint: u64,
    output_bytes: u64,
    checkpoints: u64,
}

pub fn measure(source: &Source) -> Result<Value, Failure> {
    let mut pass = Pass::new(source);
    let mut shape = Arc::default();
    source.load(|loaded| {
        if pass.text_bytes == 0 && pass.queue.waiting() == 0 {
            shape = Arc::clone(&loaded.shape);
            pass.begin(&shape)?;
        }
        pass.take_in(loaded)?;
        if pass.queue.waiting() == BATCH_SLICES {
            pass.work_through(&shape)?;
        }
        Ok(true)
    })?;
    pass.work_through(&shape)?;
    pass.checkpoint()?;
    let figures = pass.figures();
    pass.partials.discard()?;
    Ok(figures)
}

impl<'a> Pass<'a> {
    fn new(source: &'a Source) -> Self {
        let memory = MemoryBudget::new(MEMORY_BYTES);
        Self {
            source,
            queue: source.store.slice_queue(memory, 0),
            worker: source.pipeline.worker(source.job.id),
            partials: source.partials(),
            account: Account::default(),
            content: [0; 32],
            spent: Spent::default(),
            slices: 0,
            text_bytes: 0,
            bytes_since_checkpoint: 0,
            output_bytes: 0,
            checkpoints: 0,
        }
    }

    fn begin(&mut self, shape: &EntryShape) -> Result<(), Failure> {
        let categories = 0..self.source.pipeline.categories().len();
        let headers: Vec<_> =
            categories.map(|category| self.source.pipeline.header(category, shape)).collect();
        let entry = EntryName { position: 0, name: OsText::default() };
        Ok(self.partials.begin_entry(&entry, &headers)?)
    }

    fn take_in(&mut self, loaded: Loaded) -> Result<(), Failure> {
        self.spent.decode += loaded.decode;
        self.spent.cut += loaded.cut;
        let mut clock = Clock::start();
        self.queue.put(loaded.slice)?;
        self.spent.hand_over += clock.lap();
        Ok(())
    }

    /// Works all slices that wait, then collects them.
    fn work_through(&mut self, shape: &Arc<EntryShape>) -> Result<(), Failure> {
        let mut batch = Vec::new();
        let mut clock = Clock::start();
        while let Taken::Slice(slice, lease) = self.queue.take()? {
            drop(lease);
            self.spent.hand_over += clock.lap();
            batch.push(self.work(&slice, shape)?);
            drop(slice);
            clock = Clock::start();
        }
        for worked in batch {
            self.collect(worked)?;
            if self.bytes_since_checkpoint >= CHECKPOINT_BYTES {
                self.checkpoint()?;
            }
        }
        Ok(())
    }

    fn work(&mut self, slice: &Slice, shape: &Arc<EntryShape>) -> Result<Worked, Failure> {
        let mut clock = Clock::start();
        let SliceResult { chunks, account, .. } = self.worker.run(slice, shape)?;
        account.balance()?;
        self.spent.pipeline += clock.lap();
        let plan = &self.source.plan;
        let chunks = chunks
            .into_iter()
            .enumerate()
            .map(|(category, chunk)| {
                (chunk.records > 0).then(|| plan.encode(category, chunk.bytes, chunk.records))
            })
            .collect();
        self.spent.encode += clock.lap();
        let hash = blake3::hash(&slice.bytes);
        self.spent.hash += clock.lap();
        Ok(Worked { text_bytes: slice.bytes.len() as u64, chunks, account, hash })
    }

    fn collect(&mut self, worked: Worked) -> Result<(), Failure> {
        let mut clock = Clock::start();
        for (category, chunk) in worked.chunks.into_iter().enumerate() {
            if let Some(chunk) = chunk {
                self.partials.append(category, chunk)?;
            }
        }
        self.account.add(&worked.account);
        self.content = *blake3::hash(&[self.content, *worked.hash.as_bytes()].concat()).as_bytes();
        self.spent.collect += clock.lap();
        self.slices += 1;
        self.text_bytes += worked.text_bytes;
        self.bytes_since_checkpoint += worked.text_bytes;
        Ok(())
    }

    /// The order, by a worker; then partials and row synced, by the checkpointer.
    fn checkpoint(&mut self) -> Result<(), Failure> {
        let mut clock = Clock::start();
        let (partials, pending) = self.partials.checkpoint()?;
        self.spent.checkpoint += clock.lap();
        self.output_bytes = partials.iter().map(|state| state.length).sum();
        let checkpoint = Checkpoint {
            framing_version: FRAMING_VERSION,
            next_slice: self.slices,
            partials,
            account: self.account.clone(),
            entries: Vec::new(),
            failed_records: 0,
            content: blake3::Hash::from_bytes(self.content).to_hex().to_string(),
        };
        let processor_before = processor_time()?;
        pending.sync()?;
        let Source { store, job, .. } = self.source;
        store.change().checkpoint(job.id, &checkpoint).job(job).apply()?;
        store.sync()?;
        self.spent.sync += clock.lap();
        self.spent.sync_processor += processor_time()?.saturating_sub(processor_before);
        self.checkpoints += 1;
        self.bytes_since_checkpoint = 0;
        Ok(())
    }

    fn figures(&self) -> Value {
        let spent = &self.spent;
        json!({
            "slices": self.slices,
            "records": self.account.records_in,
            "text_bytes": self.text_bytes,
            "output_bytes": self.output_bytes,
            "checkpoints": self.checkpoints,
            "decode_seconds": spent.decode.as_secs_f64(),
            "cut_seconds": spent.cut.as_secs_f64(),
            "hand_over_seconds": spent.hand_over.as_secs_f64(),
            "pipeline_seconds": spent.pipeline.as_secs_f64(),
            "encode_seconds": spent.encode.as_secs_f64(),
            "hash_seconds": spent.hash.as_secs_f64(),
            "collect_seconds": spent.collect.as_secs_f64(),
            "checkpoint_seconds": spent.checkpoint.as_secs_f64(),
            "sync_seconds": spent.sync.as_secs_f64(),
            "sync_processor_seconds": spent.sync_processor.as_secs_f64(),
        })
    }
}

/// Laps of a stage each.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}
