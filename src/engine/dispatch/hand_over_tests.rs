//! The hand-overs under schedules of `shuttle`: each wait and each lock is a place at which another thread may go on.
//!
//! A thread that is not called although there is something for it leaves the test waiting for ever, which `shuttle` tells.

use std::sync::Arc;
use std::time::Duration;

use shuttle::sync as primitives;
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::thread;

use crate::engine::dispatch::Seat;
use crate::engine::schedule::{Limits, Owner, Schedule, Stage};
use crate::model::job_id::JobId;
use crate::model::priority::{Priority, Sharing};
use crews::{Crew, Dispatch, Workable};

#[path = "crews.rs"]
#[allow(clippy::duplicate_mod, dead_code, reason = "the same crews with other primitives")]
mod crews;

const SCHEDULES: usize = 200;
const JOBS: usize = 4;
const SLICES: usize = 2;

/// A job whose loader puts slices one by one.
struct Run {
    id: JobId,
    waiting: AtomicUsize,
    collected: AtomicUsize,
    has_steps_to_end: AtomicBool,
}

impl Workable for Run {
    fn id(&self) -> JobId {
        self.id
    }

    fn has_work(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0 || self.has_steps_to_end.load(Ordering::SeqCst)
    }
}

struct Engine {
    dispatch: Dispatch<Run>,
    finished: Mutex<Vec<JobId>>,
    /// Loaders let others read at each slice.
    reads_by_turns: bool,
    /// Loaders work what they read, if they may.
    works_here: bool,
    /// Who is at a run last leaves its steps to a worker.
    leaves_steps: bool,
}

fn owner(number: usize) -> Owner {
    Owner::of_source(&format!("rule {}", number % 2), std::path::Path::new("in/a.csv"), Priority::default())
}

fn id(number: usize) -> JobId {
    JobId::from_parts(number as u64, 0)
}

impl Engine {
    fn new(reads_by_turns: bool, works_here: bool, leaves_steps: bool) -> Arc<Self> {
        let limits = Limits {
            workers: if works_here { 1 } else { 2 },
            readers: if works_here { 2 } else { 1 },
            runs: 2,
            settled: 2,
            finishers: 1,
            batch: 2,
            sharing: Sharing::default(),
            turn: Duration::ZERO,
            patience: Duration::from_hours(1),
        };
        let schedule = Schedule::new(limits);
        Arc::new(Self {
            dispatch: Dispatch::new(schedule),
            finished: Mutex::default(),
            reads_by_turns,
            works_here,
            leaves_steps,
        })
    }

    fn load(&self, seat: &mut Seat) {
        while let Some(id) = self.dispatch.next_load(seat) {
            assert!(self.dispatch.take_up(id, Stage::Load), "nobody else has it");
            let number = (0..JOBS).find(|number| self::id(*number) == id).expect("one of ours");
            let run = Arc::new(Run {
                id,
                waiting: AtomicUsize::new(0),
                collected: AtomicUsize::new(0),
                has_steps_to_end: AtomicBool::new(false),
            });
            self.dispatch.begin_run(&owner(number), Arc::clone(&run));
            for _ in 0..SLICES {
                run.waiting.fetch_add(1, Ordering::SeqCst);
                match self.works_here.then(|| self.dispatch.try_work(id)).flatten() {
                    Some(permit) => {
                        self.work_one(&run);
                        self.dispatch.end_work(permit);
                    }
                    None => self.dispatch.slices(),
                }
                if self.reads_by_turns {
                    self.dispatch.pause_reading(id);
                }
            }
        }
    }

    fn work(&self, seat: &mut Seat) {
        while let Some(run) = self.dispatch.next_work(seat) {
            if run.has_steps_to_end.swap(false, Ordering::SeqCst) {
                self.dispatch.settle(&run);
            } else {
                self.work_one(&run);
            }
        }
    }

    fn work_one(&self, run: &Arc<Run>) {
        let take = |waiting: usize| waiting.checked_sub(1);
        if run.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return; // another one took it
        }
        if run.collected.fetch_add(1, Ordering::SeqCst) + 1 < SLICES {
            return;
        }
        if self.leaves_steps {
            run.has_steps_to_end.store(true, Ordering::SeqCst);
            self.dispatch.slices_again();
        } else {
            self.dispatch.settle(run);
        }
    }

    fn finish(&self, seat: &mut Seat) {
        while let Some(ids) = self.dispatch.next_batch(seat) {
            for id in ids {
                let run = self.dispatch.take_settled(id).expect("it settled");
                assert_eq!(run.collected.load(Ordering::SeqCst), SLICES);
                let finished = {
                    let mut finished = self.finished.lock().expect("no panic");
                    finished.push(id);
                    finished.len()
                };
                self.dispatch.put_down(id);
                if finished == JOBS {
                    self.dispatch.stop();
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, mut seat: Seat, crew: Crew) -> thread::JoinHandle<()> {
        let engine = Arc::clone(self);
        thread::spawn(move || match crew {
            Crew::Loaders => engine.load(&mut seat),
            Crew::Workers => engine.work(&mut seat),
            Crew::Finishers => engine.finish(&mut seat),
            Crew::Checkpointers => {
                assert!(engine.dispatch.next_batch(&mut seat).is_none(), "none was ordered");
            }
        })
    }

    /// Runs all jobs; crews grow as they are asked to, or have two threads each.
    fn run(self: &Arc<Self>, grows: bool) {
        let threads = Arc::new(Mutex::new(Vec::new()));
        for crew in Crew::ALL {
            for _ in 0..if grows { 1 } else { 2 } {
                threads.lock().expect("no panic").push(self.spawn(self.dispatch.seat(crew), crew));
            }
        }
        let (engine, also_threads) = (Arc::downgrade(self), Arc::clone(&threads));
        self.dispatch.start(Box::new(move |crew| {
            let Some(engine) = engine.upgrade().filter(|_| grows) else { return false };
            also_threads.lock().expect("no panic").push(engine.spawn(Seat::new(crew), crew));
            true
        }));
        for number in 0..JOBS {
            self.dispatch.queue(Stage::Load, &owner(number), id(number));
        }
        loop {
            let Some(thread) = threads.lock().expect("no panic").pop() else { break };
            thread.join().expect("no panic");
        }
        let mut finished = self.finished.lock().expect("no panic").clone();
        finished.sort();
        assert_eq!(finished, (0..JOBS).map(id).collect::<Vec<_>>(), "each once");
    }
}

fn under_all_schedulers(test: fn()) {
    shuttle::check_random(test, SCHEDULES);
    shuttle::check_pct(test, SCHEDULES, 3);
}

#[test]
fn every_job_reaches_its_end_in_any_order_of_steps() {
    under_all_schedulers(|| Engine::new(false, false, false).run(false));
}

#[test]
fn readers_that_take_turns_all_come_to_their_end_in_any_order_of_steps() {
    under_all_schedulers(|| Engine::new(true, false, false).run(false));
}

#[test]
fn what_loaders_work_themselves_leaves_no_slice_untold_in_any_order_of_steps() {
    under_all_schedulers(|| Engine::new(false, true, false).run(false));
}

#[test]
fn steps_that_are_left_to_a_worker_are_ended_in_any_order_of_steps() {
    for works_here in [false, true] {
        let engine = move || Engine::new(false, works_here, true).run(false);
        shuttle::check_random(engine, SCHEDULES);
        shuttle::check_pct(engine, SCHEDULES, 3);
    }
}

#[test]
fn a_crew_of_one_grows_where_there_is_more_to_do() {
    under_all_schedulers(|| Engine::new(true, false, false).run(true));
}
