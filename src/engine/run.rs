//! A running job: loading, work and collecting meet here.
//!
//! ```text
//!  loader --put--> queue --take--> workers --WorkedSlice--> pending --in slice order--> Collector --> partials
//! ```
//!
//! One thread at a time collects: the worker that brings the next slice in order writes it and all that follow it. Who does what when is
//! decided by [`super::run_state`], under one lock that is held for moments. What is locked over a disk stays apart: the collector, and the
//! job's row, which a checkpoint writes. The state is the last lock to be taken.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Instant;

use super::collect::{CheckpointOrder, Collector, WorkedSlice};
use super::content::ContentHash;
use super::dispatch::Workable;
use super::entries::Entries;
use super::goals::Goal;
use super::large::{LargePermit, LargeSlices};
use super::lock;
use super::memory::Memory;
use super::reach::Reach;
use super::recent_pace::RecentPace;
use super::rule_book::ReadyRule;
use super::run_state::{Loaded, RunState};
use super::schedule::Owner;
use super::trouble::{Reaction, Trouble, guard_text};
use crate::allowance::Permit;
use crate::clock;
use crate::decode::Progress;
use crate::durable_fs;
use crate::model::decisions::Decisions;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::quoted::Quotes;
use crate::model::slice::Slice;
use crate::model::throughput::Throughput;
use crate::pipeline::{MissingColumns, PipelineWorker};
use crate::store::{MemoryBudget, MemoryLease, SliceQueue, StoreError, Taken};
use crate::telemetry::events;

/// What a worker that wants a slice of a job gets.
pub(super) enum Take {
    Slice(TakenSlice),
    /// Nothing more is to be worked: this worker ends the steps.
    StepsToEnd,
    /// None now.
    Nothing,
    /// The job broke off in this moment: whoever saw that may have counted this worker, so that it is for the worker to settle it.
    BrokeOff,
}

/// Somebody collects for the job just now.
pub(super) struct Collecting;

/// A slice in a worker's hands.
pub(super) struct TakenSlice {
    pub slice: Slice,
    pub lease: MemoryLease,
    /// Until its result is collected.
    pub large: Option<LargePermit>,
}

/// A job being loaded, worked and collected.
pub(super) struct Run {
    pub id: JobId,
    pub owner: Owner,
    pub rule: Arc<ReadyRule>,
    /// Where its files go.
    pub goals: Vec<Goal>,
    quotes: Quotes,
    pub queue: SliceQueue,
    pub progress: Arc<Progress>,
    /// For its deadline.
    pub recent: RecentPace,
    throughput: Mutex<Throughput>,
    at_work: Arc<MemoryBudget>,
    large: Arc<LargeSlices>,
    /// As last written; the stages change it and write it.
    row: Mutex<Job>,
    /// What the slices were that the checkpoint has from which this start goes on.
    pub resumed_content: ContentHash,
    /// Steps that no worker uses now: a worker takes one set for a slice, so that there are no more sets than workers.
    steps: Mutex<Vec<PipelineWorker>>,
    pub entries: Entries,
    /// For the list of entries in the job's row.
    listed: Mutex<Vec<Permit>>,
    /// Columns that its rule may misspell (jsonl): to blame where too many records are at fault.
    misspelt: OnceLock<MissingColumns>,
    /// What operators decided on its failed records when it was held for them.
    pub decisions: Decisions,
    /// Records that are collected, for the next process.
    reach: Arc<Reach>,
    state: Mutex<RunState<WorkedSlice, CheckpointOrder>>,
    collector: Mutex<Option<Collector>>,
    /// What is read of a source that others may take away meanwhile: whole is what nobody wrote into, wherever it lies.
    pub source: OnceLock<File>,
}

impl Run {
    pub(super) fn new(
        memory: &Memory,
        reach: &Arc<Reach>,
        job: Job,
        rule: Arc<ReadyRule>,
        queue: SliceQueue,
        collector: Collector,
        decisions: Decisions,
    ) -> Self {
        let recent = match job.resumed_at_slice {
            0 => RecentPace::from_start(Instant::now()),
            _ => RecentPace::default(),
        };
        Self {
            id: job.id,
            recent,
            throughput: Mutex::new(job.throughput.clone()),
            owner: Owner::of(&job),
            goals: rule.goals.of_job(&rule.rule, &job),
            quotes: Quotes::of(&job, &rule.rule),
            rule,
            queue,
            progress: Arc::default(),
            at_work: Arc::clone(&memory.at_work),
            large: Arc::clone(&memory.large),
            row: Mutex::new(job),
            resumed_content: collector.content().clone(),
            steps: Mutex::default(),
            entries: Entries::from(collector.first_entry()),
            listed: Mutex::default(),
            misspelt: OnceLock::new(),
            decisions,
            reach: Arc::clone(reach),
            state: Mutex::new(RunState::new(collector.next_slice(), collector.records_in())),
            collector: Mutex::new(Some(collector)),
            source: OnceLock::new(),
        }
    }

    /// Its state is locked for moments, and no other lock is taken under it.
    fn state(&self) -> MutexGuard<'_, RunState<WorkedSlice, CheckpointOrder>> {
        lock(&self.state)
    }

    /// The job's row as last written. Who has that of a settled run has it behind every checkpoint.
    pub(super) fn row(&self) -> Job {
        lock(&self.row).clone()
    }

    /// Changes the row, and writes it: nobody else does meanwhile.
    pub(super) fn with_row<R>(&self, act: impl FnOnce(&mut Job) -> R) -> R {
        act(&mut lock(&self.row))
    }

    /// Whether the source is still open, and as it was when it was found.
    pub(super) fn has_source_as_found(&self, identity: &FileIdentity) -> bool {
        let found = self.source.get().map(durable_fs::identity);
        matches!(found, Some(Ok(found)) if found.same_content(identity))
    }

    /// A set of steps for one slice.
    pub(super) fn take_steps(&self) -> PipelineWorker {
        let idle = lock(&self.steps).pop();
        idle.unwrap_or_else(|| self.rule.pipeline.worker(self.id))
    }

    /// The steps go on to the next slice of this job.
    pub(super) fn put_steps(&self, steps: PipelineWorker) {
        lock(&self.steps).push(steps);
    }

    /// See [`RunState::begin_ending`]; whoever begins it ends the steps, or leaves that to a worker.
    pub(super) fn begin_ending(&self) -> bool {
        self.state().begin_ending()
    }

    /// Leaves it to a worker to end the steps, if that may take long: where one waits for another program.
    pub(super) fn leave_ending(&self) -> bool {
        let may_take_long = lock(&self.steps).iter().any(PipelineWorker::has_last_word);
        if may_take_long {
            self.state().leave_ending();
        }
        may_take_long
    }

    /// Takes the last word from all steps, and ends them with their children. One that breaks breaks the run off, unless it broke off before.
    pub(super) fn end_steps(&self) {
        let steps = self.take_idle_steps();
        let ended = self.guard("end its steps", || {
            let ended = steps.into_iter().map(PipelineWorker::end).fold(Ok(()), Result::and);
            ended.map_err(Trouble::from)
        });
        let lost_count = matches!(&ended, Err(broken) if broken.reaction == Reaction::StartOver);
        if let Err(broken) = ended {
            self.break_off(broken);
        }
        self.state().end_ending(!lost_count);
    }

    /// For the end of the service, which takes no word from them.
    pub(super) fn take_idle_steps(&self) -> Vec<PipelineWorker> {
        std::mem::take(&mut *lock(&self.steps))
    }

    /// See [`RunState::lost_count`].
    pub(super) fn lost_count(&self) -> bool {
        self.state().lost_count()
    }

    /// Memory that the list of entries takes as long as there is the run.
    pub(super) fn keep_listed(&self, memory: Permit) {
        lock(&self.listed).push(memory);
    }

    /// The loader can read no further before entries are collected: begins those without records too, once all slices are. False: nothing
    /// of what was read is on its way any more.
    pub(super) fn begin_reached_entries(&self) -> bool {
        if self.state().has_more_to_collect() {
            return true;
        }
        let begin = |collector: &mut Collector| collector.begin_reached(&self.entries);
        if let Some(Err(trouble)) =
            self.with_collector(|collector| self.guard("collect", || begin(collector)))
        {
            self.break_off(trouble);
        }
        false
    }

    /// The loader read the source to its end.
    pub(super) fn set_loaded(&self, loaded: Loaded) {
        self.state().set_loaded(loaded);
    }

    pub(super) fn loaded(&self) -> Option<Arc<Loaded>> {
        self.state().loaded().cloned()
    }

    /// The first trouble wins; loading and work stop.
    pub(super) fn break_off(&self, trouble: Trouble) {
        self.state().break_off(trouble);
        self.queue.stop();
    }

    /// See [`RunState::begin_order`]; whoever begins one lets go, and settles it. False: it is settled, or ends for a reason of its own.
    pub(super) fn begin_order(&self) -> bool {
        let mut state = self.state();
        let is_free = state.trouble().is_none_or(|trouble| trouble.reaction == Reaction::Ordered);
        is_free && state.begin_order(Trouble::ordered)
    }

    /// Whether messages about this job quote its source.
    pub(super) fn quotes(&self) -> Quotes {
        self.quotes
    }

    /// Does a stage's work for this job. See [`guard_text`].
    pub(super) fn guard<R>(
        &self,
        stage: &str,
        work: impl FnOnce() -> Result<R, Trouble>,
    ) -> Result<R, Trouble> {
        guard_text(self.quotes(), stage, work)
    }

    /// Records may lack the columns that the rule names: told once, in the log and by `show`.
    pub(super) fn set_misspelt(&self, columns: MissingColumns) {
        let remark = columns.remark();
        if self.misspelt.set(columns).is_err() {
            return;
        }
        let mut job = lock(&self.row);
        if !job.remarks().any(|told| told == remark) {
            events::misspelt(&job, &remark);
            job.note(clock::now(), &remark);
        }
    }

    pub(super) fn misspelt(&self) -> Option<&MissingColumns> {
        self.misspelt.get()
    }

    pub(super) fn trouble(&self) -> Option<Arc<Trouble>> {
        self.state().trouble().cloned()
    }

    pub(super) fn is_broken_off(&self) -> bool {
        self.state().trouble().is_some()
    }

    /// See [`RunState::begin_checkpoint`]; whoever begins one ends it, or orders it.
    pub(super) fn begin_checkpoint(&self) -> bool {
        self.state().begin_checkpoint()
    }

    /// Brings what is collected into the partials, if a checkpoint is due and nobody collects just now.
    pub(super) fn due_checkpoint(&self) -> Result<Option<CheckpointOrder>, Trouble> {
        let order =
            self.try_with_collector(|collector| self.guard("checkpoint", || collector.checkpoint(false)));
        order.unwrap_or(None).unwrap_or(Ok(None))
    }

    /// What the checkpointer is to write.
    pub(super) fn order_checkpoint(&self, order: CheckpointOrder) {
        self.state().order_checkpoint(order);
    }

    pub(super) fn take_checkpoint_order(&self) -> Option<CheckpointOrder> {
        self.state().take_order()
    }

    /// True: the next one is due already, and whoever saw this one on its way may wait for it.
    pub(super) fn end_checkpoint(&self) -> bool {
        let mut state = self.state();
        state.end_checkpoint();
        state.is_far_ahead()
    }

    /// The next slice, unless the job broke off or too many are in hand; or the steps, to be ended.
    pub(super) fn take_slice(&self) -> Result<Take, StoreError> {
        let mut state = self.state();
        if state.take_ending() {
            return Ok(Take::StepsToEnd);
        }
        let begins = state.begin_take(|| self.at_work.is_full());
        drop(state);
        if !begins {
            return Ok(Take::Nothing);
        }
        let mut large = None;
        let taken = self.queue.take_if(|bytes| {
            let permit = self.large.permit_for(&self.owner.rule, bytes, Instant::now());
            permit.is_ok_and(|permit| {
                large = permit;
                true
            })
        });
        let taken = match taken {
            Ok(Taken::Slice(slice, lease)) => {
                drop(lease); // it waits no more
                // A step may make as much of it again.
                let lease = self.at_work.lease(slice.memory_bytes().saturating_mul(2));
                return Ok(Take::Slice(TakenSlice { slice, lease, large }));
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        let is_broken_off = self.state().end_take();
        taken?;
        Ok(if is_broken_off { Take::BrokeOff } else { Take::Nothing })
    }

    /// A worker has no more to do with the slice it took.
    pub(super) fn let_go(&self) {
        self.state().let_go();
    }

    /// Takes a worked slice in and collects whatever is next in order. True: slices went out of hand, so that more can be taken.
    pub(super) fn collect(&self, worked: WorkedSlice) -> bool {
        let mut next = self.state().offer(worked.number, worked);
        let is_any = next.is_some();
        while let Some(worked) = next {
            self.append(worked);
            next = self.state().collected();
        }
        is_any
    }

    fn append(&self, worked: WorkedSlice) {
        if self.is_broken_off() {
            return;
        }
        let mut collector = lock(&self.collector);
        let Some(collector) = collector.as_mut() else { return };
        // Under the collector's lock: no checkpoint comes between the failure and the word on it.
        if let Err(trouble) = self.guard("collect", || collector.append(&self.entries, worked)) {
            self.break_off(trouble);
        }
        self.note_progress(collector);
    }

    fn note_progress(&self, collector: &Collector) {
        self.reach.note(self.id, collector.records_in());
        lock(&self.throughput).note(collector.records_in(), clock::now());
        let is_far_ahead = self.rule.outputs.resumable() && collector.is_far_ahead();
        self.state().note_progress(collector.records_in(), is_far_ahead);
    }

    /// Runs `act` on the collector between two slices, if the job has not broken off.
    pub(super) fn with_collector<R>(&self, act: impl FnOnce(&mut Collector) -> R) -> Option<R> {
        self.act_on(lock(&self.collector), act)
    }

    /// The same, unless somebody collects just now, who may be at a file system that hangs.
    pub(super) fn try_with_collector<R>(
        &self,
        act: impl FnOnce(&mut Collector) -> R,
    ) -> Result<Option<R>, Collecting> {
        match self.collector.try_lock() {
            Ok(collector) => Ok(self.act_on(collector, act)),
            Err(TryLockError::Poisoned(broken)) => Ok(self.act_on(broken.into_inner(), act)),
            Err(TryLockError::WouldBlock) => Err(Collecting),
        }
    }

    fn act_on<R>(
        &self,
        mut collector: MutexGuard<'_, Option<Collector>>,
        act: impl FnOnce(&mut Collector) -> R,
    ) -> Option<R> {
        if self.is_broken_off() {
            return None;
        }
        let collector = collector.as_mut()?;
        let done = act(collector);
        self.note_progress(collector);
        Some(done)
    }

    /// The loader has cut so many slices.
    pub(super) fn note_cut(&self, slices: u64) {
        self.state().note_cut(slices);
    }

    /// Copies how far loading and work are into a job's row, without waiting for a disk that the collector may wait for.
    pub(super) fn copy_progress(&self, job: &mut Job) {
        job.bytes_read = self.progress.bytes_read.load(Ordering::Relaxed);
        job.bytes_decoded = self.progress.bytes_decoded.load(Ordering::Relaxed);
        (job.slices.total, job.slices.done) = self.state().slices();
        job.throughput.clone_from(&lock(&self.throughput));
        job.reckon_worked();
    }

    /// The counts so far; only the records where the collector is at work just now.
    pub(super) fn copy_counts(&self, job: &mut Job) {
        match self.collector.try_lock().ok().as_deref() {
            Some(Some(collector)) => collector.copy_counts(job),
            _ => job.account.records_in = self.state().records().max(job.account.records_in),
        }
    }

    /// Takes the collector away for finishing or discarding.
    pub(super) fn take_collector(&self) -> Option<Collector> {
        lock(&self.collector).take()
    }

    /// True once: when everything is collected, or when it broke off and no thread works for it any more; and its steps have ended.
    pub(super) fn settle(&self) -> bool {
        self.state().settle()
    }

    /// The loader has left.
    pub(super) fn loading_ended(&self) {
        self.state().end_loading();
    }

    /// Nothing more is worked for it.
    pub(super) fn is_settled(&self) -> bool {
        self.state().is_settled()
    }
}

impl Workable for Run {
    fn id(&self) -> JobId {
        self.id
    }

    /// Whether [`Self::take_slice`] would have something, were it called now.
    fn has_work(&self) -> bool {
        let is_next_free = |bytes| self.large.may(&self.owner.rule, bytes, Instant::now());
        let is_any_free = self.queue.next_bytes().is_some_and(is_next_free);
        let state = self.state();
        state.has_steps_to_end() || is_any_free && state.may_take(|| self.at_work.is_full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, loaded, settles, worked};
    use crate::model::fault::FaultKind;

    #[test]
    fn results_are_collected_in_slice_order_whatever_order_they_come_in_and_the_run_settles_once() {
        let world = World::new();
        let run = world.run();
        assert!(!run.collect(worked(&run, 1, "b")), "the one before it is missing");
        assert_eq!(run.with_collector(|collector| collector.next_slice()), Some(0));
        assert!(run.collect(worked(&run, 0, "a")), "both");
        assert_eq!(run.with_collector(|collector| collector.next_slice()), Some(2));
        assert!(!settles(&run), "the source is not read to its end");
        run.set_loaded(loaded(2));
        assert!(settles(&run) && !settles(&run) && run.is_settled());
    }

    #[test]
    fn a_run_that_broke_off_settles_when_its_loader_and_its_workers_have_left() {
        let world = World::new();
        let run = world.run();
        let trouble = |message: &str| Trouble::new(FaultKind::Input, message, None);
        run.break_off(trouble("first"));
        run.break_off(trouble("second"));
        assert_eq!(run.trouble().map(|trouble| trouble.error.message.clone()).as_deref(), Some("first"));
        assert!(!settles(&run), "it is still read");
        run.loading_ended();
        assert!(settles(&run) && !settles(&run));
        run.collect(worked(&run, 0, "a"));
        assert!(
            run.with_collector(|collector| collector.records_in()).is_none(),
            "nothing is collected for it"
        );
    }

    #[test]
    fn the_records_that_are_collected_are_known_while_the_collector_is_at_its_disk() {
        let world = World::new();
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        let mut job = run.row();
        let counted = run.with_collector(|_| run.copy_counts(&mut job));
        assert_eq!((counted, job.account.records_in), (Some(()), 1));
    }
}
