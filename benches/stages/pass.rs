//! One pass over the file, every stage by one thread, with a clock between them.
//!
//! The disk is waited for at each checkpoint, as the engine's checkpointer does it while others work.

use std::time::{Duration, Instant};

use landfall::model::account::Account;
use landfall::model::os_text::OsText;
use landfall::output::{EncodedChunk, EntryName, Partials};
use landfall::pipeline::{PipelineWorker, SliceResult};
use landfall::record::FRAMING_VERSION;
use landfall::store::{Checkpoint, MemoryBudget, SliceQueue, Taken};
use serde_json::{Value, json};

use crate::Failure;
use crate::source::{Loaded, Source};

/// As `engine/collect.rs` has it.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// More than the one slice that waits at a time.
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
    /// What the checkpoint costs the worker that orders it.
    checkpoint: Duration,
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
    /// The disk's time for each checkpoint.
    syncs: Vec<f64>,
}

pub fn measure(source: &Source) -> Result<Value, Failure> {
    let mut pass = Pass::new(source);
    source.load(|cut| pass.slice(cut).map(|()| true))?;
    pass.checkpoint()?;
    pass.partials.discard()?;
    let spent = &pass.spent;
    Ok(json!({
        "slices": pass.slices,
        "records": pass.account.records_in,
        "text_bytes": pass.text_bytes,
        "output_bytes": pass.output_bytes,
        "checkpoints": pass.syncs.len(),
        "checkpoint_bytes": CHECKPOINT_BYTES,
        "decode_seconds": spent.decode.as_secs_f64(),
        "cut_seconds": spent.cut.as_secs_f64(),
        "hand_over_seconds": spent.hand_over.as_secs_f64(),
        "pipeline_seconds": spent.pipeline.as_secs_f64(),
        "encode_seconds": spent.encode.as_secs_f64(),
        "hash_seconds": spent.hash.as_secs_f64(),
        "collect_seconds": spent.collect.as_secs_f64(),
        "checkpoint_seconds": spent.checkpoint.as_secs_f64(),
        "sync_seconds": pass.syncs.iter().sum::<f64>(),
    }))
}

impl<'a> Pass<'a> {
    fn new(source: &'a Source) -> Self {
        let memory = MemoryBudget::new(MEMORY_BYTES);
        Self {
            source,
            queue: source.store.slice_queue(source.job.id, memory, 0),
            worker: source.pipeline.worker(source.job.id),
            partials: source.partials(),
            account: Account::default(),
            content: [0; 32],
            spent: Spent::default(),
            slices: 0,
            text_bytes: 0,
            bytes_since_checkpoint: 0,
            output_bytes: 0,
            syncs: Vec::new(),
        }
    }

    fn slice(&mut self, loaded: Loaded) -> Result<(), Failure> {
        let Loaded { shape, slice, decode, cut } = loaded;
        if self.slices == 0 {
            let categories = 0..self.source.pipeline.categories().len();
            let headers: Vec<_> =
                categories.map(|category| self.source.pipeline.header(category, &shape)).collect();
            let entry = EntryName { position: 0, name: OsText::default() };
            self.partials.begin_entry(&entry, &headers)?;
        }
        let mut clock = Clock::start();
        self.queue.put(slice)?;
        let Taken::Slice(slice, lease) = self.queue.take()? else { return Err("the slice is gone".into()) };
        drop(lease);
        let hand_over = clock.lap();
        let result = self.worker.run(&slice, &shape)?;
        result.account.balance()?;
        let pipeline = clock.lap();
        let SliceResult { chunks, account, .. } = result;
        let plan = &self.source.plan;
        let chunks: Vec<Option<EncodedChunk>> = chunks
            .into_iter()
            .enumerate()
            .map(|(category, chunk)| {
                (chunk.records > 0).then(|| plan.encode(category, chunk.bytes, chunk.records))
            })
            .collect();
        let encode = clock.lap();
        let slice_hash = blake3::hash(&slice.bytes);
        let hash = clock.lap();
        let slice_bytes = slice.bytes.len() as u64;
        drop(slice);
        for (category, chunk) in chunks.into_iter().enumerate() {
            if let Some(chunk) = chunk {
                self.partials.append(category, chunk)?;
            }
        }
        self.account.add(&account);
        self.content = *blake3::hash(&[self.content, *slice_hash.as_bytes()].concat()).as_bytes();
        let collect = clock.lap();
        self.spent.add(&Spent {
            decode,
            cut,
            hand_over,
            pipeline,
            encode,
            hash,
            collect,
            checkpoint: Duration::ZERO,
        });
        self.slices += 1;
        self.text_bytes += slice_bytes;
        self.bytes_since_checkpoint += slice_bytes;
        if self.bytes_since_checkpoint >= CHECKPOINT_BYTES {
            self.checkpoint()?;
        }
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
            content: Some(blake3::Hash::from_bytes(self.content).to_hex().to_string()),
        };
        pending.sync()?;
        let Source { store, job, .. } = self.source;
        store.change().checkpoint(job.id, &checkpoint).job(job).apply()?;
        store.sync()?;
        self.syncs.push(clock.lap().as_secs_f64());
        self.bytes_since_checkpoint = 0;
        Ok(())
    }
}

impl Spent {
    fn add(&mut self, more: &Self) {
        self.decode += more.decode;
        self.cut += more.cut;
        self.hand_over += more.hand_over;
        self.pipeline += more.pipeline;
        self.encode += more.encode;
        self.hash += more.hash;
        self.collect += more.collect;
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
