//! Collecting: a slice's chunk encoded, as a worker does it, and chunks appended to partials, as the collector does it.
//!
//! A partial is made before and removed after each measurement of 4 MB, which stay in the system's cache: no disk is waited for.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use landfall::doors::Rule;
use landfall::doors::{EncodedChunk, EntryName, OutputPlan, Partials};
use landfall::job::Category;
use landfall::job::Job;
use landfall::job::OsText;

use crate::{payments, world};

/// Of about 85 bytes: some 75 slices.
const RECORDS: u64 = 50_000;

pub fn measure(criterion: &mut Criterion) {
    let folder = world::folder();
    let text = payments::csv(RECORDS);
    for (codec, suffix) in [("plain", ".txt"), ("gzip", ".txt.gz")] {
        let rule = world::rule(folder.path(), "format = \"lines\"", "", &["main"], suffix);
        let plan = OutputPlan::build(&rule, &[Category::main()]).expect("it was checked with the rule");
        let (_, slices) = world::slices(&rule, &text);
        let chunks: Vec<(Vec<u8>, u64)> =
            slices.iter().map(|slice| (slice.bytes.to_vec(), slice.records.len() as u64)).collect();
        let output = Output { plan: Arc::new(plan), rule: Arc::new(rule), job: world::job(1) };
        encoding(criterion, codec, &output, &chunks);
        appending(criterion, codec, &output, &chunks);
    }
}

fn encoding(criterion: &mut Criterion, codec: &str, output: &Output, chunks: &[(Vec<u8>, u64)]) {
    // Plain is a move and no more: what is seen of it is only that nothing is copied.
    let (bytes, records) = &chunks[0];
    let mut group = criterion.benchmark_group("encoding a slice's chunk");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(codec, |bencher| {
        bencher.iter_batched(
            || bytes.clone(),
            |bytes| output.plan.encode(0, bytes, *records),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn appending(criterion: &mut Criterion, codec: &str, output: &Output, chunks: &[(Vec<u8>, u64)]) {
    let raw_bytes: usize = chunks.iter().map(|(bytes, _)| bytes.len()).sum();
    let mut group = criterion.benchmark_group("appending to partials, in bytes of records");
    group.throughput(Throughput::Bytes(raw_bytes as u64));
    group.bench_function(codec, |bencher| {
        bencher.iter_batched(|| output.begun(chunks), Begun::append, BatchSize::PerIteration);
    });
    group.finish();
}

/// Where chunks go.
struct Output {
    plan: Arc<OutputPlan>,
    rule: Arc<Rule>,
    job: Job,
}

impl Output {
    fn begun(&self, chunks: &[(Vec<u8>, u64)]) -> Begun {
        let mut partials = Partials::start(Arc::clone(&self.plan), Arc::clone(&self.rule), &self.job);
        let entry = EntryName { position: 0, name: OsText::default() };
        partials.begin_entry(&entry, &[None]).expect("the folder takes a partial");
        let chunks =
            chunks.iter().map(|(bytes, records)| self.plan.encode(0, bytes.clone(), *records)).collect();
        Begun { partials: Some(partials), chunks }
    }
}

/// Partials that are open, and what they are to take; removed when dropped, which is not measured.
struct Begun {
    partials: Option<Partials>,
    chunks: Vec<EncodedChunk>,
}

impl Begun {
    fn append(mut self) -> Self {
        if let Some(partials) = &mut self.partials {
            for chunk in self.chunks.drain(..) {
                partials.append(0, chunk).expect("the disk takes it");
            }
        }
        self
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(partials) = self.partials.take() {
            partials.discard().expect("a partial can be removed");
        }
    }
}
