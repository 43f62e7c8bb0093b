//! The crews, their calls, and the one lock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::primitives::atomic::{AtomicBool, Ordering};
use super::primitives::{Condvar, Mutex, MutexGuard};
use crate::engine::dispatch::Taken;
use crate::engine::dispatch::seats::{Count, Held, Seat};
pub(in crate::engine) use crate::engine::schedule::Crew;
use crate::engine::schedule::{Call, HeldBack, Owner, Permit, Schedule, Stage, WorkLimits};
use crate::model::job_id::JobId;
use crate::model::priority::Priority;

/// What workers take slices of.
pub(in crate::engine) trait Workable {
    fn id(&self) -> JobId;
    /// Whether a worker would get one now, or steps to end.
    fn has_work(&self) -> bool;
}

struct State<R> {
    schedule: Schedule,
    runs: BTreeMap<JobId, Arc<R>>,
    settled: HashMap<JobId, Arc<R>>,
    counts: [Count; 4],
    /// Loaders that stand in line with their jobs.
    line: HashMap<JobId, Arc<Condvar>>,
    /// Operators that wait for a job to be put down.
    operators: usize,
    /// Until when the clock sleeps; `None`: until it is called.
    clock_sleeps: Option<Instant>,
    stops: bool,
}

/// Threads that wait for a task, for each that may be at one.
const IDLE_FOR_EACH_PLACE: usize = 2;

/// Starts a thread of a crew; false: it cannot.
type Grow = Box<dyn Fn(Crew) -> bool + Send + Sync>;

/// See the module.
pub(in crate::engine) struct Dispatch<R> {
    state: Mutex<State<R>>,
    bells: [Condvar; 4],
    clock: Condvar,
    /// Rung when a job is put down.
    put_down: Condvar,
    /// Whether readers should look whether their turn is over: read without the lock, at every block of text.
    reading_wanted: AtomicBool,
    /// No worker needs to be told of slices before one has looked.
    workers_told: AtomicBool,
    /// Whether anybody asks how many records a slice has.
    counts_records: AtomicBool,
    grow: OnceLock<Grow>,
}

impl<R: Workable> Dispatch<R> {
    pub(in crate::engine) fn new(schedule: Schedule) -> Self {
        let state = State {
            schedule,
            runs: BTreeMap::new(),
            settled: HashMap::new(),
            counts: Default::default(),
            line: HashMap::new(),
            operators: 0,
            clock_sleeps: None,
            stops: false,
        };
        Self {
            state: Mutex::new(state),
            bells: [Condvar::new(), Condvar::new(), Condvar::new(), Condvar::new()],
            clock: Condvar::new(),
            put_down: Condvar::new(),
            reading_wanted: AtomicBool::new(false),
            workers_told: AtomicBool::new(false),
            counts_records: AtomicBool::new(false),
            grow: OnceLock::new(),
        }
    }

    /// For the first thread of a crew.
    pub(in crate::engine) fn seat(&self, crew: Crew) -> Seat {
        self.lock().counts[crew as usize].coming += 1;
        Seat::new(crew)
    }

    /// Crews may grow from now on.
    pub(in crate::engine) fn start(&self, grow: Grow) {
        self.grow.get_or_init(|| grow);
        self.tell(|state, now| state.schedule.call_all(now)); // what was queued before
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the scheduler something, and calls whom it names.
    fn tell<T>(&self, event: impl FnOnce(&mut State<R>, Instant) -> T) -> T {
        let mut state = self.lock();
        let told = event(&mut state, Instant::now());
        self.deliver(&mut state);
        told
    }

    fn deliver(&self, state: &mut State<R>) {
        let mut calls = state.schedule.take_calls();
        while let Some(call) = calls.pop() {
            match call {
                Call::Reader(id) => {
                    if let Some(bell) = state.line.get(&id) {
                        bell.notify_one();
                    }
                }
                Call::Crew(crew) => {
                    let comes = self.call_crew(state, crew);
                    if !comes && crew == Crew::Loaders {
                        state.schedule.nobody_loads(Instant::now());
                        calls.extend(state.schedule.take_calls());
                    } else if !comes && crew == Crew::Workers {
                        self.workers_told.store(false, Ordering::SeqCst); // the next slice tries again
                    }
                }
            }
        }
        self.reading_wanted.store(state.schedule.is_reading_wanted(), Ordering::Relaxed);
        if let Some(next) = state.schedule.next_tick()
            && state.clock_sleeps.is_none_or(|until| next < until)
        {
            state.clock_sleeps = Some(next); // told once
            self.clock.notify_one();
        }
    }

    /// False: all its threads are at a task, and it cannot grow.
    fn call_crew(&self, state: &mut State<R>, crew: Crew) -> bool {
        let free = state.schedule.free(crew);
        let count = &mut state.counts[crew as usize];
        if state.stops || count.coming >= free {
            return true;
        }
        if count.idle > 0 {
            count.idle -= 1;
            count.tickets += 1;
            self.bells[crew as usize].notify_one();
        } else if count.coming > 0 || !self.grow.get().is_some_and(|grow| grow(crew)) {
            return count.coming > 0;
        }
        count.coming += 1;
        true
    }

    /// The thread's next task; `None`: there is none for it any more, and it ends.
    fn next<T>(
        &self,
        seat: &mut Seat,
        mut take: impl FnMut(&mut State<R>, Option<Held>, Instant) -> Option<T>,
        is_over: impl Fn(&State<R>) -> bool,
    ) -> Option<T> {
        let crew = seat.crew as usize;
        let mut state = self.lock();
        if !std::mem::replace(&mut seat.is_coming, true) {
            state.counts[crew].coming += 1;
        }
        loop {
            let taken = take(&mut state, seat.held.take(), Instant::now());
            let is_over = is_over(&state);
            if taken.is_some() || is_over {
                state.counts[crew].coming -= 1;
                seat.is_coming = false;
                self.deliver(&mut state);
                if state.stops && is_over {
                    self.bells[crew].notify_all(); // the others are not called any more
                }
                return taken;
            }
            self.deliver(&mut state);
            state.counts[crew].coming -= 1;
            if state.counts[crew].idle >= IDLE_FOR_EACH_PLACE * state.schedule.places(seat.crew) {
                seat.is_coming = false;
                return None; // the crew had grown for others that were stuck
            }
            state.counts[crew].idle += 1;
            loop {
                state = self.bells[crew].wait(state).unwrap_or_else(PoisonError::into_inner);
                let stops = state.stops;
                let count = &mut state.counts[crew];
                if count.tickets > 0 {
                    count.tickets -= 1;
                    break;
                }
                if stops && count.idle > 0 {
                    count.idle -= 1;
                    count.coming += 1;
                    break;
                }
            }
        }
    }

    /// See [`Schedule::know_groups`].
    pub(in crate::engine) fn know_groups(&self, groups: HashMap<Arc<str>, Arc<str>>) {
        self.lock().schedule.know_groups(groups);
    }

    // ---- jobs ----

    /// A job waits for a stage.
    pub(in crate::engine) fn queue(&self, stage: Stage, owner: &Owner, id: JobId) {
        self.tell(|state, now| state.schedule.queue(stage, owner, id, now));
    }

    /// A job waits for a stage, from a later moment on.
    pub(in crate::engine) fn queue_after(&self, stage: Stage, owner: &Owner, delay: Duration, id: JobId) {
        if delay.is_zero() {
            return self.queue(stage, owner, id);
        }
        self.tell(|state, now| state.schedule.queue_at(stage, owner, id, now + delay));
    }

    /// The same, of a job that a stage has.
    pub(in crate::engine) fn queue_known_after(&self, stage: Stage, delay: Duration, id: JobId) {
        self.tell(|state, now| state.schedule.queue_known_at(stage, id, now + delay));
    }

    /// See [`Schedule::set_priority`].
    pub(in crate::engine) fn set_priority(&self, id: JobId, priority: Priority) {
        self.tell(|state, now| state.schedule.set_priority(id, priority, now));
    }

    #[cfg(test)]
    pub(in crate::engine) fn priority_of(&self, id: JobId) -> Option<Priority> {
        self.tell(|state, _| state.schedule.priority_of(id))
    }

    /// Those of these jobs that wait for their time wait no more.
    pub(in crate::engine) fn hasten(&self, ids: &HashSet<JobId>) {
        self.tell(|state, now| state.schedule.hasten(ids, now));
    }

    /// Takes a job up for a stage; false: another has it, and gives it on when it puts it down.
    pub(in crate::engine) fn take_up(&self, id: JobId, wanted_by: Stage) -> bool {
        self.tell(|state, _| state.schedule.take_up(id, Some(wanted_by)))
    }

    /// Takes a job up for an operator's word, once the stage that has it put it down; false: not within `patience`.
    pub(in crate::engine) fn take_up_within(&self, id: JobId, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while !state.schedule.take_up(id, None) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.stops {
                return false;
            }
            state = self.wait_as_operator(state, left);
        }
        true
    }

    /// The same of a job that may run: its run, where that takes the word. `ends`: a run that waits for a finisher comes to its end.
    pub(in crate::engine) fn take_up_or_run(
        &self,
        id: JobId,
        patience: Duration,
        takes_word: impl Fn(&R) -> bool,
        ends: impl Fn(&R) -> bool,
    ) -> Taken<R> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(run) = state.runs.get(&id).filter(|run| takes_word(run)) {
                return Taken::Run(Arc::clone(run));
            }
            if state.settled.get(&id).is_some_and(|run| ends(run)) {
                return Taken::Ends;
            }
            if state.schedule.take_up(id, None) {
                return Taken::Job;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.stops {
                return Taken::Stops;
            }
            if left.is_zero() {
                return Taken::Not;
            }
            state = self.wait_as_operator(state, left);
        }
    }

    fn wait_as_operator<'a>(
        &self,
        mut state: MutexGuard<'a, State<R>>,
        left: Duration,
    ) -> MutexGuard<'a, State<R>> {
        state.operators += 1;
        let waited = self.put_down.wait_timeout(state, left);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.operators -= 1;
        state
    }

    /// A call of the system even where nobody waits, for each job: so only where somebody does.
    fn wake_operators(&self, state: &State<R>) {
        if state.operators > 0 {
            self.put_down.notify_all();
        }
    }

    /// See [`Schedule::withdraw`].
    pub(in crate::engine) fn withdraw(&self, id: JobId) {
        self.tell(|state, now| state.schedule.withdraw(id, now));
    }

    /// The stage is done with the job; one that wanted it meanwhile gets it.
    pub(in crate::engine) fn put_down(&self, id: JobId) {
        self.tell(|state, now| {
            state.schedule.put_down(id, now);
            self.wake_operators(state);
        });
    }

    /// How long a job waits that is held: longer each time, until it is forgotten.
    pub(in crate::engine) fn back_off(&self, id: JobId, first: Duration, max: Duration) -> Duration {
        self.lock().schedule.back_off(id, first, max)
    }

    /// A job got past what held it.
    pub(in crate::engine) fn forget_back_off(&self, id: JobId) {
        self.lock().schedule.forget_back_off(id);
    }

    // ---- loading ----

    /// The next job for a loader.
    pub(in crate::engine) fn next_load(&self, seat: &mut Seat) -> Option<JobId> {
        let take = |state: &mut State<R>, held: Option<Held>, now: Instant| {
            let before = match held {
                Some(Held::Source(id)) => state.schedule.end_reading(id),
                _ => None,
            };
            state.schedule.next_load(before, now)
        };
        let (id, _) = self.next(seat, take, |state| state.stops)?;
        seat.held = Some(Held::Source(id));
        Some(id)
    }

    /// Whether [`Self::pause_reading`] may let somebody else read.
    pub(in crate::engine) fn is_reading_wanted(&self) -> bool {
        self.reading_wanted.load(Ordering::Relaxed)
    }

    /// A reader lets others read, and waits until it is its turn again.
    pub(in crate::engine) fn pause_reading(&self, id: JobId) {
        let mut state = self.lock();
        let waits = state.schedule.pause_reading(id, false, Instant::now());
        self.deliver(&mut state);
        if waits {
            Self::stand_in_line(state, id);
        }
    }

    /// A reader waits for something else.
    pub(in crate::engine) fn rest_reading(&self, id: JobId) {
        self.tell(|state, now| state.schedule.pause_reading(id, true, now));
    }

    /// A reader that waited for something else goes on, once it has a place.
    pub(in crate::engine) fn resume_reading(&self, id: JobId) {
        let mut state = self.lock();
        let reads = state.schedule.resume_reading(id, Instant::now());
        self.deliver(&mut state);
        if !reads {
            Self::stand_in_line(state, id);
        }
    }

    fn stand_in_line(mut state: MutexGuard<'_, State<R>>, id: JobId) {
        let bell = Arc::new(Condvar::new());
        state.line.insert(id, Arc::clone(&bell));
        while state.schedule.is_in_line(id) && !state.stops {
            state = bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.line.remove(&id);
    }

    /// A job that a loader took up became no run.
    pub(in crate::engine) fn not_run(&self, id: JobId) {
        self.tell(|state, now| state.schedule.not_run(id, now));
    }

    // ---- runs ----

    /// A job became a run.
    pub(in crate::engine) fn begin_run(&self, owner: &Owner, run: Arc<R>) {
        self.tell(|state, _| {
            state.schedule.begin_run(run.id(), owner);
            state.runs.insert(run.id(), run);
            self.wake_operators(state); // one may have a word for it
        });
    }

    /// The running jobs, the oldest first.
    pub(in crate::engine) fn runs(&self) -> Vec<Arc<R>> {
        self.lock().runs.values().cloned().collect()
    }

    pub(in crate::engine) fn run(&self, id: JobId) -> Option<Arc<R>> {
        self.lock().runs.get(&id).cloned()
    }

    /// Whether jobs run.
    pub(in crate::engine) fn is_running(&self) -> bool {
        !self.lock().runs.is_empty()
    }

    /// A run's work ended: it waits for a finisher.
    pub(in crate::engine) fn settle(&self, run: &Arc<R>) {
        self.tell(|state, now| {
            state.runs.remove(&run.id());
            state.settled.insert(run.id(), Arc::clone(run));
            state.schedule.settle(run.id(), now);
        });
    }

    /// A run that waits for a finisher, for one.
    pub(in crate::engine) fn take_settled(&self, id: JobId) -> Option<Arc<R>> {
        self.tell(|state, now| {
            let run = state.settled.remove(&id)?;
            state.schedule.take_settled(id, now);
            Some(run)
        })
    }

    // ---- work ----

    /// A run may have slices for a worker.
    pub(in crate::engine) fn slices(&self) {
        if !self.workers_told.load(Ordering::SeqCst) {
            self.slices_again();
        }
    }

    /// The same, where what kept workers from taking them is gone.
    pub(in crate::engine) fn slices_again(&self) {
        self.tell(|state, now| {
            self.workers_told.store(true, Ordering::SeqCst);
            state.schedule.slices(now);
        });
    }

    /// Slices may be left that no worker was told of: calls one only where there are.
    pub(in crate::engine) fn slices_left(&self) {
        if !self.workers_told.load(Ordering::SeqCst) {
            self.tell(|state, now| self.tell_of_slices(state, now));
        }
    }

    fn tell_of_slices(&self, state: &mut State<R>, now: Instant) {
        if state.runs.values().any(|run| run.has_work()) {
            self.workers_told.store(true, Ordering::SeqCst);
            state.schedule.slices(now);
        }
    }

    /// A run with slices, for a worker.
    pub(in crate::engine) fn next_work(&self, seat: &mut Seat) -> Option<Arc<R>> {
        let take = |state: &mut State<R>, held: Option<Held>, now: Instant| {
            if let Some(Held::Permit(permit)) = held {
                state.schedule.end_work(permit, now);
            }
            if state.stops {
                return None;
            }
            self.workers_told.store(false, Ordering::SeqCst); // slices that come from now on are told again
            let State { schedule, runs, .. } = state;
            let has_work = |id: JobId| runs.get(&id).is_some_and(|run| run.has_work());
            let (id, permit) = schedule.next_work(has_work, now)?;
            Some((runs.get(&id).cloned()?, permit))
        };
        let (run, permit) = self.next(seat, take, |state| state.stops)?;
        seat.held = Some(Held::Permit(permit));
        Some(run)
    }

    /// What users have set of work.
    pub(in crate::engine) fn know_limits(&self, limits: WorkLimits) {
        self.tell(|state, now| {
            state.schedule.know_limits(limits, now);
            self.counts_records.store(state.schedule.counts_records(), Ordering::SeqCst);
        });
    }

    /// See [`Schedule::limit_job`].
    pub(in crate::engine) fn limit_job(&self, id: JobId, workers_max: Option<usize>) {
        self.tell(|state, now| state.schedule.limit_job(id, workers_max, now));
    }

    /// The workers of this job, and what users have set that keeps more of them from its slices.
    pub(in crate::engine) fn at_work(&self, id: JobId) -> (usize, Option<HeldBack>) {
        let state = self.lock();
        let wants = state.runs.get(&id).filter(|run| run.has_work());
        (state.schedule.workers_at(id), wants.and_then(|_| state.schedule.held_back(id, Instant::now())))
    }

    /// A worker took a slice of so many records.
    pub(in crate::engine) fn took(&self, seat: &Seat, records: usize) {
        if let Some(Held::Permit(permit)) = seat.held {
            self.took_by(permit, records);
        }
    }

    /// The same by this permit. Whether they are counted: then it is for no other slice.
    pub(in crate::engine) fn took_by(&self, permit: Permit, records: usize) -> bool {
        self.counts_records.load(Ordering::SeqCst)
            && self.tell(|state, now| state.schedule.count_records(permit, records as u64, now))
    }

    /// The right to work a run's slices, for the loader that read it.
    pub(in crate::engine) fn try_work(&self, id: JobId) -> Option<Permit> {
        self.tell(|state, now| state.schedule.try_work(id, now))
    }

    /// The loader worked what there was.
    pub(in crate::engine) fn end_work(&self, permit: Permit) {
        self.tell(|state, now| {
            state.schedule.end_work(permit, now);
            // No worker comes to look because of this: the next slice is told again.
            self.workers_told.store(false, Ordering::SeqCst);
            self.tell_of_slices(state, now);
        });
    }

    // ---- finishing, checkpoints ----

    /// Jobs that a finisher, or a checkpointer, takes up together.
    pub(in crate::engine) fn next_batch(&self, seat: &mut Seat) -> Option<Vec<JobId>> {
        let stage = seat.crew.stage()?;
        let take = |state: &mut State<R>, held: Option<Held>, now: Instant| {
            if let Some(Held::Permit(permit)) = held {
                state.schedule.end_batch(stage, permit, now);
            }
            state.schedule.next_batch(stage, now)
        };
        let (jobs, permit) = self.next(seat, take, |state| state.stops && state.schedule.is_over(stage))?;
        seat.held = Some(Held::Permit(permit));
        Some(jobs)
    }

    /// Until when the clock may sleep.
    #[cfg(test)]
    pub(in crate::engine) fn next_tick(&self) -> Option<Instant> {
        self.lock().schedule.next_tick()
    }

    // ---- time, the end ----

    /// Whether the clock should be awake, and is not.
    pub(in crate::engine) fn clock_is_due(&self, now: Instant) -> bool {
        let state = self.lock();
        !state.stops && state.clock_sleeps.is_some_and(|until| until < now)
    }

    /// The life of the clock, which wakes for jobs whose time has come and for threads that are stuck.
    pub(in crate::engine) fn keep_time(&self) {
        let mut state = self.lock();
        while !state.stops {
            let now = Instant::now();
            state.schedule.tick(now);
            state.clock_sleeps = Some(now); // nobody needs to call it now
            self.deliver(&mut state);
            state.clock_sleeps = state.schedule.next_tick();
            state = match state.clock_sleeps {
                Some(until) => {
                    let left = until.saturating_duration_since(now);
                    self.clock.wait_timeout(state, left).map_or_else(|e| e.into_inner().0, |(state, _)| state)
                }
                None => self.clock.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// No job is loaded and no slice is worked any more; what waits to be published now still is.
    pub(in crate::engine) fn stop(&self) {
        let mut state = self.lock();
        state.stops = true;
        state.schedule.end_loading();
        state.line.values().for_each(|bell| bell.notify_all());
        self.bells.iter().for_each(Condvar::notify_all);
        self.clock.notify_all();
        self.put_down.notify_all();
    }
}
