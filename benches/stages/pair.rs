//! Two threads at once, against each alone: how much of a core each gets.
//!
//! On two cores of their own both are as fast as alone; two threads on one core share its execution units.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use landfall::model::slice::{EntryShape, Slice};
use serde_json::{Value, json};

use crate::Failure;
use crate::source::Source;

const TIME: Duration = Duration::from_millis(400);
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
    let alone = |task| pair.rates(&[task]).map(|rates| rates[0]);
    let (load, work) = (alone(Task::Load)?, alone(Task::Work)?);
    let loads = pair.rates(&[Task::Load, Task::Load])?;
    let works = pair.rates(&[Task::Work, Task::Work])?;
    let mixed = pair.rates(&[Task::Load, Task::Work])?;
    Ok(json!({
        "load_beside_load": f64::midpoint(loads[0], loads[1]) / load,
        "work_beside_work": f64::midpoint(works[0], works[1]) / work,
        "load_beside_work": mixed[0] / load,
        "work_beside_load": mixed[1] / work,
    }))
}

impl Pair<'_> {
    /// Slices a second of each task, all at once.
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
        let (started, mut slices) = (Instant::now(), 0_u64);
        while started.elapsed() < TIME {
            self.source.load(|cut| {
                black_box(&cut.slice);
                slices += 1;
                Ok(started.elapsed() < TIME)
            })?;
        }
        Ok(slices as f64 / started.elapsed().as_secs_f64())
    }

    fn work(&self) -> Result<f64, Failure> {
        let mut worker = self.source.pipeline.worker(self.source.job.id);
        let (started, mut slices) = (Instant::now(), 0_u64);
        for (shape, slice) in self.slices.iter().cycle() {
            for (category, chunk) in worker.run(slice, shape)?.chunks.into_iter().enumerate() {
                black_box(self.source.plan.encode(category, chunk.bytes, chunk.records));
            }
            slices += 1;
            if started.elapsed() >= TIME {
                break;
            }
        }
        Ok(slices as f64 / started.elapsed().as_secs_f64())
    }
}
