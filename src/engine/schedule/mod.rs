//! The scheduler: which job a loader, a worker, a finisher or the checkpointer takes up next.
//!
//! It decides and does nothing: it has no threads, no clock and no disk. [`super::dispatch`] tells it what happened and when, and calls the
//! threads that it names.
//!
//! ```text
//!  queued --next_load--> reading --pause--> in line --called--> reading --end_reading--> (worked) --settle--> settled --next_batch-->
//!    ^                                                             `- run -> next_work (slices)                           |
//!    `-- later (back-off, a pause) <-------------------------------------------------------------------- held ------------'
//! ```
//!
//! # What it promises
//! - What is of a lower priority number goes first: it gets the next free permit, and its places are counted as if those behind it had none.
//!   Whoever is behind waits, however long. What follows holds among those of one priority.
//! - Rules take turns at what they wait for, and within a rule its senders do; or loaders and workers go to whatever arrived first
//!   ([`Sharing`]). A permit that is free while nobody waits is anybody's.
//! - A rule holds at most half of the runs that others leave, and a sender half of its rule's. A rule that has none may always have one, a
//!   sender unless its rule has its full share.
//! - A thread that is stuck holds nothing that others need: its permit counts no more after [`Limits::patience`].
//! - Whoever reads for longer than [`Limits::turn`] lets others read in between.
//! - No more work at a job, a rule or a group of rules than users allow, and no more records a second ([`throttles`]).
//! - File systems do not mix: a batch to publish holds jobs of rules that use the same ones.

mod batches;
mod counts;
mod lanes;
mod loading;
mod permits;
mod shares;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod throttle_tests;
mod throttles;
mod working;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use batches::Batches;
use lanes::Lanes;
pub(super) use lanes::Owner;
pub(super) use permits::Permit;
use permits::{Each, Permits};
use shares::Shares;
use throttles::Throttles;
pub(super) use throttles::{HeldBack, RuleLimits, WorkLimit, WorkLimits};

use crate::model::job_id::JobId;
use crate::model::priority::{Priority, Sharing};

/// How many of each there may be.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Slices worked at once.
    pub workers: usize,
    /// Sources read at once.
    pub readers: usize,
    /// Jobs between loading and publishing: each may have slices in the store, and its partials open.
    pub runs: usize,
    /// Jobs that wait to be published: each has its partials open.
    pub settled: usize,
    /// Batches published at once.
    pub finishers: usize,
    /// Jobs in a batch.
    pub batch: usize,
    /// Who goes first of those of one priority.
    pub sharing: Sharing,
    /// How long one reads while others want to.
    pub turn: Duration,
    /// After which a thread that holds what others want is taken for stuck.
    pub patience: Duration,
}

/// A batch is many jobs' work: it is taken for stuck after so many times the patience with one.
const BATCH_PATIENCE: u32 = 2;
/// Batches of one group under way, in so many times those that count: a disk that hangs gathers no more threads than that.
const SLOW_BATCHES: usize = 4;

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Stage {
    Load,
    Finish,
    Checkpoint,
}

/// A kind of thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crew {
    Loaders,
    Workers,
    Finishers,
    Checkpointers,
}

impl Crew {
    pub(super) const ALL: [Self; 4] = [Self::Loaders, Self::Workers, Self::Finishers, Self::Checkpointers];

    /// The stage whose batches it takes, if it takes batches.
    pub(super) fn stage(self) -> Option<Stage> {
        match self {
            Self::Loaders | Self::Workers => None,
            Self::Finishers => Some(Stage::Finish),
            Self::Checkpointers => Some(Stage::Checkpoint),
        }
    }
}

/// Whom an event calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// One of them.
    Crew(Crew),
    /// The loader that stands in line with this job.
    Reader(JobId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Now,
    At(Instant),
}

/// A job that waits, runs, or is settled.
#[derive(Debug)]
struct Known {
    owner: Owner,
    /// By stage.
    waits: [Option<Waits>; 3],
}

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    limits: Limits,
    /// The file systems of each rule.
    groups: HashMap<Arc<str>, Arc<str>>,
    jobs: HashMap<JobId, Known>,
    /// Jobs that a stage has in its hands, and who wants them meanwhile.
    in_work: HashMap<JobId, Vec<Stage>>,
    back_offs: HashMap<JobId, Duration>,
    later: BTreeSet<(Instant, JobId, Stage)>,
    /// For a loader.
    queued: Lanes,
    /// Who reads; without a permit it stands in line, or waits for something else.
    readers: HashMap<JobId, Option<Permit>>,
    /// Readers that let others read.
    line: Lanes,
    /// Whether the next place is for those in line, if somebody is.
    line_is_next: bool,
    reading: Permits,
    runs: Shares,
    /// Runs, for the workers.
    running: Lanes,
    working: Permits,
    throttles: Throttles,
    /// When a run that is kept from workers by its rate may have one.
    due: Option<Instant>,
    settled: Shares,
    finishing: Batches,
    checkpoints: Batches,
    loading_is_over: bool,
    calls: Vec<Call>,
}

impl Schedule {
    pub(super) fn new(limits: Limits) -> Self {
        let patience = limits.patience;
        let each_at_work = Each { rule: 2 * limits.workers, sender: limits.workers };
        let batches = |places, each, patience, max| {
            Batches::new(Permits::new(places, Each { rule: each, sender: each }, patience), max)
        };
        Self {
            groups: HashMap::new(),
            jobs: HashMap::new(),
            in_work: HashMap::new(),
            back_offs: HashMap::new(),
            later: BTreeSet::new(),
            queued: Lanes::new(limits.sharing),
            readers: HashMap::new(),
            line: Lanes::new(limits.sharing),
            line_is_next: false,
            reading: Permits::new(limits.readers, Each { rule: usize::MAX, sender: usize::MAX }, patience),
            runs: Shares::new(limits.runs),
            running: Lanes::new(limits.sharing),
            working: Permits::new(limits.workers, each_at_work, patience),
            throttles: Throttles::new(limits.workers),
            due: None,
            settled: Shares::new(limits.settled),
            finishing: batches(
                limits.finishers,
                SLOW_BATCHES * limits.finishers,
                BATCH_PATIENCE * patience,
                limits.batch,
            ),
            checkpoints: batches(1, 1, patience, 1),
            loading_is_over: false,
            calls: Vec::new(),
            limits,
        }
    }

    /// The file systems of these rules; a rule whose are not known is a group of its own. Jobs that wait stay in the line in which they are.
    pub(super) fn know_groups(&mut self, groups: HashMap<Arc<str>, Arc<str>>) {
        self.groups.extend(groups);
    }

    /// Whom the events since the last time call.
    pub(super) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    fn call(&mut self, who: Call) {
        if !self.calls.contains(&who) {
            self.calls.push(who);
        }
    }

    // ---- jobs ----

    /// A job waits for a stage. One that waits for it already does not wait twice.
    pub(super) fn queue(&mut self, stage: Stage, owner: &Owner, id: JobId, now: Instant) {
        let known = self.know(owner, id);
        match known.waits[stage as usize].replace(Waits::Now) {
            Some(Waits::Now) => return,
            Some(Waits::At(at)) => {
                self.later.remove(&(at, id, stage));
            }
            None => {}
        }
        self.put(stage, id, now);
    }

    /// The same, from `at` on.
    pub(super) fn queue_at(&mut self, stage: Stage, owner: &Owner, id: JobId, at: Instant) {
        let known = self.know(owner, id);
        let before = known.waits[stage as usize];
        if before == Some(Waits::Now) {
            return;
        }
        known.waits[stage as usize] = Some(Waits::At(at));
        if let Some(Waits::At(before)) = before {
            self.later.remove(&(before, id, stage));
        }
        self.later.insert((at, id, stage));
    }

    /// Those of these jobs that wait for their time wait no more.
    pub(super) fn hasten(&mut self, ids: &HashSet<JobId>, now: Instant) {
        let hastened: Vec<_> = self.later.iter().filter(|(_, id, _)| ids.contains(id)).copied().collect();
        for (at, id, stage) in hastened {
            self.ripen(at, id, stage, now);
        }
    }

    fn know(&mut self, owner: &Owner, id: JobId) -> &mut Known {
        // One name for all of a rule's jobs.
        let rule = || {
            let known = self.groups.get_key_value(&owner.rule).map(|(known, _)| Arc::clone(known));
            known.unwrap_or_else(|| Arc::clone(&owner.rule))
        };
        let owner = Owner { rule: rule(), ..owner.clone() };
        self.jobs.entry(id).or_insert_with(|| Known { owner, waits: [None; 3] })
    }

    #[cfg(test)]
    pub(super) fn priority_of(&self, id: JobId) -> Option<Priority> {
        Some(self.jobs.get(&id)?.owner.priority)
    }

    /// A job goes before others from now on, or behind them. Whatever it waits for, it comes last among those that are as urgent.
    pub(super) fn set_priority(&mut self, id: JobId, priority: Priority, now: Instant) {
        let Some(known) = self.jobs.get_mut(&id).filter(|known| known.owner.priority != priority) else {
            return;
        };
        let before = known.owner.clone();
        known.owner.priority = priority;
        let owner = known.owner.clone();
        let group = self.group_of(&owner);
        for lanes in [&mut self.queued, &mut self.line, &mut self.running] {
            if lanes.remove(&before, id) {
                lanes.push(&owner, id);
            }
        }
        for batches in [&mut self.finishing, &mut self.checkpoints] {
            if let Some(lanes) = batches.known(&group)
                && lanes.remove(&before, id)
            {
                lanes.push(&owner, id);
            }
        }
        for places in [&mut self.runs, &mut self.settled] {
            if places.give(id) {
                places.take(id, &owner);
            }
        }
        self.call_all(now);
    }

    fn ripen(&mut self, at: Instant, id: JobId, stage: Stage, now: Instant) {
        self.later.remove(&(at, id, stage));
        if let Some(known) = self.jobs.get_mut(&id) {
            known.waits[stage as usize] = Some(Waits::Now);
            self.put(stage, id, now);
        }
    }

    /// Into the queue of its stage.
    fn put(&mut self, stage: Stage, id: JobId, now: Instant) {
        let Some(owner) = self.jobs.get(&id).map(|known| known.owner.clone()) else { return };
        match stage {
            Stage::Load => {
                if let Some(wanted) = self.in_work.get_mut(&id) {
                    // Perhaps a loader, which reads it: another one would take it for its own. It is queued when it is put down.
                    if !wanted.contains(&stage) {
                        wanted.push(stage);
                    }
                    return self.taken(stage, id);
                }
                self.queued.push(&owner, id);
                self.call_readers(now);
            }
            Stage::Finish | Stage::Checkpoint => {
                let group = self.group_of(&owner);
                self.batches(stage).line(&group).push(&owner, id);
                self.call_for_batch(stage, now);
            }
        }
    }

    fn group_of(&self, owner: &Owner) -> Arc<str> {
        Arc::clone(self.groups.get(&owner.rule).unwrap_or(&owner.rule))
    }

    /// The same, of a job that a stage has in its hands.
    pub(super) fn queue_known_at(&mut self, stage: Stage, id: JobId, at: Instant) {
        if let Some(owner) = self.jobs.get(&id).map(|known| known.owner.clone()) {
            self.queue_at(stage, &owner, id, at);
        }
    }

    /// A stage has taken the job from its queue.
    fn taken(&mut self, stage: Stage, id: JobId) {
        if let Some(known) = self.jobs.get_mut(&id) {
            known.waits[stage as usize] = None;
        }
    }

    /// Whoever would load the job leaves it alone, now and when it is put down: an operator has stopped it.
    pub(super) fn withdraw(&mut self, id: JobId, now: Instant) {
        if let Some(wanted) = self.in_work.get_mut(&id) {
            wanted.retain(|stage| *stage != Stage::Load);
        }
        let Some(known) = self.jobs.get_mut(&id) else { return };
        let owner = known.owner.clone();
        match known.waits[Stage::Load as usize].take() {
            Some(Waits::At(at)) => {
                self.later.remove(&(at, id, Stage::Load));
            }
            Some(Waits::Now) => {
                self.queued.remove(&owner, id);
                self.call_readers(now); // nobody may want to read any more
            }
            None => {}
        }
        self.forget_if_idle(id);
    }

    fn forget_if_idle(&mut self, id: JobId) {
        let waits = |known: &Known| known.waits.iter().any(Option::is_some);
        let is_held = self.in_work.contains_key(&id) || self.runs.has(id) || self.settled.has(id);
        if !is_held && self.jobs.get(&id).is_some_and(|known| !waits(known)) {
            self.jobs.remove(&id);
        }
    }

    /// Takes a job up. False: a stage has it, and it waits for the stage that wants it when it is put down; an operator wants it only now.
    pub(super) fn take_up(&mut self, id: JobId, wanted_by: Option<Stage>) -> bool {
        match self.in_work.entry(id) {
            Entry::Vacant(free) => {
                free.insert(Vec::new());
                true
            }
            Entry::Occupied(mut held) => {
                let wanted = wanted_by.filter(|stage| !held.get().contains(stage));
                held.get_mut().extend(wanted);
                false
            }
        }
    }

    /// The stage is done with the job; those that wanted it meanwhile get it.
    pub(super) fn put_down(&mut self, id: JobId, now: Instant) {
        let wanted = self.in_work.remove(&id).unwrap_or_default();
        for stage in wanted {
            let Some(owner) = self.jobs.get(&id).map(|known| known.owner.clone()) else { return };
            self.queue(stage, &owner, id, now);
        }
        self.forget_if_idle(id);
    }

    /// How long a job waits that was held: longer each time.
    pub(super) fn back_off(&mut self, id: JobId, first: Duration, max: Duration) -> Duration {
        let next = self.back_offs.get(&id).map_or(first, |last| (*last * 2).min(max));
        self.back_offs.insert(id, next);
        next
    }

    /// A job got past what held it.
    pub(super) fn forget_back_off(&mut self, id: JobId) {
        self.back_offs.remove(&id);
    }

    // ---- finishing, checkpoints ----

    fn batches(&mut self, stage: Stage) -> &mut Batches {
        if stage == Stage::Checkpoint { &mut self.checkpoints } else { &mut self.finishing }
    }

    fn call_for_batch(&mut self, stage: Stage, now: Instant) {
        let batches = self.batches(stage);
        let has_next = batches.has_next();
        if batches.permits.is_free() && has_next {
            let crew = if stage == Stage::Checkpoint { Crew::Checkpointers } else { Crew::Finishers };
            self.call(Call::Crew(crew));
        } else {
            batches.permits.set_wanted(has_next, now);
        }
    }

    /// Jobs to be finished, or to be checkpointed, together.
    pub(super) fn next_batch(&mut self, stage: Stage, now: Instant) -> Option<(Vec<JobId>, Permit)> {
        let Self { jobs: known, finishing, checkpoints, .. } = self;
        let batches = if stage == Stage::Checkpoint { checkpoints } else { finishing };
        let rule_of = |id| known.get(&id).map(|known: &Known| Arc::clone(&known.owner.rule));
        let (jobs, permit) = batches.next(now, rule_of)?;
        for id in &jobs {
            self.taken(stage, *id);
            if stage == Stage::Checkpoint {
                self.forget_if_idle(*id); // whoever takes it up to finish it puts it down
            }
        }
        self.call_for_batch(stage, now);
        Some((jobs, permit))
    }

    /// A batch is done.
    pub(super) fn end_batch(&mut self, stage: Stage, permit: Permit, now: Instant) {
        self.batches(stage).end(permit);
        self.call_for_batch(stage, now);
    }

    /// A finisher took up a settled run.
    pub(super) fn take_settled(&mut self, id: JobId, now: Instant) {
        self.settled.give(id);
        self.call_readers(now);
    }

    // ---- time, the end ----

    /// When [`Self::tick`] has something to do.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let later = self.later.first().map(|(at, ..)| *at);
        let stuck = [&self.reading, &self.working, &self.finishing.permits, &self.checkpoints.permits];
        stuck.into_iter().filter_map(Permits::next_look).chain(later).chain(self.due).min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some(&(at, id, stage)) = self.later.first().filter(|(at, ..)| *at <= now) {
            self.ripen(at, id, stage, now);
        }
        if self.reading.give_up_stuck(now) {
            self.call_readers(now);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.slices(now);
        }
        if self.working.give_up_stuck(now) {
            self.call(Call::Crew(Crew::Workers));
        }
        for stage in [Stage::Finish, Stage::Checkpoint] {
            if self.batches(stage).permits.give_up_stuck(now) {
                self.call_for_batch(stage, now);
            }
        }
    }

    /// Calls everybody for whom there is something to do.
    pub(super) fn call_all(&mut self, now: Instant) {
        self.call_readers(now);
        self.slices(now);
        self.call_for_batch(Stage::Finish, now);
        self.call_for_batch(Stage::Checkpoint, now);
    }

    /// No job is loaded any more.
    pub(super) fn end_loading(&mut self) {
        self.loading_is_over = true;
    }

    /// Whether a stage has nothing more to do once loading is over.
    pub(super) fn is_over(&self, stage: Stage) -> bool {
        self.loading_is_over
            && match stage {
                Stage::Load => true,
                Stage::Finish => self.finishing.is_empty(),
                Stage::Checkpoint => self.checkpoints.is_empty(),
            }
    }

    /// How many may be at it at once.
    pub(super) fn places(&self, crew: Crew) -> usize {
        self.permits(crew).places()
    }

    /// How many more may be at it now.
    pub(super) fn free(&self, crew: Crew) -> usize {
        self.permits(crew).free()
    }

    fn permits(&self, crew: Crew) -> &Permits {
        match crew {
            Crew::Loaders => &self.reading,
            Crew::Workers => &self.working,
            Crew::Finishers => &self.finishing.permits,
            Crew::Checkpointers => &self.checkpoints.permits,
        }
    }
}
