//! Two threads at once, against each alone: how much of a core each gets.
//!
//! On two cores of their own both are as fast as alone; two threads on one core share its execution units. Speed is slices in a second of a
//! thread's own processor time: the helper that hashes what is loaded may take a turn in between, and is no part of this.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use landfall::doors::{EntryShape, Slice};
use serde_json::{Value, json};

use crate::Failure;
use crate::processor::processor_time;
use crate::source::Source;

const TIME: Duration = Duration::from_millis(200);
/// In turns, since what else the machine does changes meanwhile.
const ROUNDS: usize = 5;
/// Of the file's beginning: about 14 MB, so that they come from memory and not from a core's own cache.
const SLICES: usize = 256;

#[derive(Clone, Copy)]
enum Task {
    Load,
    Work,
}

struct Pair<'a> {
    source: &'a Source,
    slices: Vec<(Arc<EntryShape>, Slice)>,
}

pub fn measure(source: &Source) -> Result<Value, Failure> {
    let mut slices = Vec::new();
    source.load(|cut| {
        slices.push((cut.shape, cut.slice));
        Ok(slices.len() < SLICES)
    })?;
    let pair = Pair { source, slices };
    let rounds = (0..ROUNDS).map(|_| pair.round()).collect::<Result<Vec<_>, _>>()?;
    let median = |position: usize| {
        let mut shares: Vec<f64> = rounds.iter().map(|round| round[position]).collect();
        shares.sort_by(f64::total_cmp);
        shares[ROUNDS / 2]
    };
    Ok(json!({
        "load_beside_load": median(0),
        "work_beside_work": median(1),
        "load_beside_work": median(2),
        "work_beside_load": median(3),
    }))
}

impl Pair<'_> {
    /// What each keeps of its speed alone: load beside load, work beside work, load beside work, work beside load.
    fn round(&self) -> Result<[f64; 4], Failure> {
        let alone = |task| self.rates(&[task]).map(|rates| rates[0]);
        let (load, work) = (alone(Task::Load)?, alone(Task::Work)?);
        let loads = self.rates(&[Task::Load, Task::Load])?;
        let works = self.rates(&[Task::Work, Task::Work])?;
        let mixed = self.rates(&[Task::Load, Task::Work])?;
        let mean = |rates: Vec<f64>| f64::midpoint(rates[0], rates[1]);
        Ok([mean(loads) / load, mean(works) / work, mixed[0] / load, mixed[1] / work])
    }

    /// Slices in a second of processor time of each task, all at once.
    fn rates(&self, tasks: &[Task]) -> Result<Vec<f64>, Failure> {
        let start = Barrier::new(tasks.len());
        let start = &start;
        std::thread::scope(|scope| {
            let threads: Vec<_> = tasks
                .iter()
                .map(|task| {
                    scope.spawn(move || {
                        start.wait();
                        match task {
                            Task::Load => self.load(),
                            Task::Work => self.work(),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        })
    }

    fn load(&self) -> Result<f64, Failure> {
        let (started, before, mut slices) = (Instant::now(), processor_time()?, 0_u64);
        while started.elapsed() < TIME {
            self.source.load(|cut| {
                black_box(&cut.slice);
                slices += 1;
                Ok(started.elapsed() < TIME)
            })?;
        }
        Ok(slices as f64 / processor_time()?.saturating_sub(before).as_secs_f64())
    }

    fn work(&self) -> Result<f64, Failure> {
        let mut worker = self.source.pipeline.worker(self.source.job.id);
        let (started, before, mut slices) = (Instant::now(), processor_time()?, 0_u64);
        for (shape, slice) in self.slices.iter().cycle() {
            for (category, chunk) in worker.run(slice, shape)?.chunks.into_iter().enumerate() {
                black_box(self.source.plan.encode(category, chunk.bytes, chunk.records));
            }
            slices += 1;
            if started.elapsed() >= TIME {
                break;
            }
        }
        Ok(slices as f64 / processor_time()?.saturating_sub(before).as_secs_f64())
    }
}
