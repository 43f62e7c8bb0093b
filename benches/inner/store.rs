//! The store: rows written and made durable, slices that wait in memory and on the disk.
//!
//! Its folder lies on the disk of the build: `one row and its sync` is mostly that disk's sync.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use landfall::doors::Rule;
use landfall::doors::Slice;
use landfall::doors::{MemoryBudget, SliceQueue, Store, Taken};

use crate::{payments, world};

const ROWS: u64 = 500;
/// Slices: about 1.7 MB.
const RECORDS: u64 = 20_000;
const ENOUGH_BYTES: u64 = 1 << 30;

pub fn measure(criterion: &mut Criterion) {
    let folder = world::folder();
    let store = Store::open(&folder.path().join("data")).expect("a new store");
    let rule = world::rule(folder.path(), "format = \"csv\"", "", &["main"], ".csv");
    rows(criterion, &store);
    slices(criterion, &store, &rule);
}

fn rows(criterion: &mut Criterion, store: &Store) {
    let jobs: Vec<_> = (0..ROWS).map(world::job).collect();
    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one row and its sync", |bencher| {
        bencher.iter(|| {
            store.change().job(&jobs[0]).apply().expect("a row is taken");
            store.sync().expect("the disk takes it");
        });
    });
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("500 rows and one sync", |bencher| {
        bencher.iter(|| {
            for job in &jobs {
                store.change().job(job).apply().expect("a row is taken");
            }
            store.sync().expect("the disk takes it");
        });
    });
    group.finish();
}

fn slices(criterion: &mut Criterion, store: &Store, rule: &Rule) {
    let (_, slices) = world::slices(rule, &payments::csv(RECORDS));
    let bytes: usize = slices.iter().map(|slice| slice.bytes.len()).sum();
    let mut group = criterion.benchmark_group("slices put and taken");
    group.throughput(Throughput::Bytes(bytes as u64));
    for (name, memory_bytes) in [("in memory", ENOUGH_BYTES), ("through the disk", 0)] {
        let queue = store.slice_queue(MemoryBudget::new(memory_bytes), ENOUGH_BYTES);
        if memory_bytes == 0 {
            // Some stay on the disk from here on: a queue that has none there waits a while before it stores its first.
            slices.iter().take(2).for_each(|slice| put(&queue, slice));
        }
        let put_and_take = || {
            for slice in &slices {
                put(&queue, slice);
            }
            let taken = slices.iter().map_while(|_| take(queue.take().expect("slices can be read")));
            assert_eq!(black_box(taken.count()), slices.len(), "every slice comes back");
        };
        group.bench_function(name, |bencher| bencher.iter(put_and_take));
    }
    group.finish();
}

/// What a slice refers to is shared: cutting it is not measured again.
fn put(queue: &SliceQueue, slice: &Slice) {
    assert!(queue.put(slice.clone()).expect("there is room"), "nobody stopped the queue");
}

fn take(taken: Taken) -> Option<Slice> {
    match taken {
        Taken::Slice(slice, _) => Some(slice),
        Taken::Empty | Taken::Ended => None,
    }
}
