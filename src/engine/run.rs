//! A running job: loading, work and collecting meet here.
//!
//! ```text
//!  loader --put--> queue --take--> workers --WorkedSlice--> pending --in slice order--> Collector --> partials
//! ```
//!
//! One thread at a time collects: the worker that brings the next slice in order writes it and all that follow it. A run
//! ends once: `settled` is taken by whoever sees first that everything is collected, or that it broke off.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};

use super::collect::{CheckpointOrder, Collector, WorkedSlice};
use super::content::ContentHash;
use super::dispatch::Workable;
use super::entries::Entries;
use super::large::{LargePermit, LargeSlices};
use super::lock;
use super::memory::Memory;
use super::reach::Reach;
use super::rule_book::ReadyRule;
use super::schedule::Owner;
use super::totals::Announced;
use super::trouble::{Trouble, guard};
use crate::allowance::Permit;
use crate::clock;
use crate::decode::{Decoded, Progress};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::slice::Slice;
use crate::pipeline::{MissingColumns, PipelineWorker, StepBroken};
use crate::store::{MemoryBudget, MemoryLease, SliceQueue, StoreError, Taken};
use crate::telemetry::events;

/// Slices of one job in the workers' hands or waiting to be collected, at most: bounds the results in memory when one
/// slice takes much longer than those after it.
const IN_HAND_MAX: u64 = 64;

/// What is known of a source once it is read to its end.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub slices: u64,
    pub lines_skipped: u64,
    /// Positions of entries whose last record had no line end.
    pub unterminated: Vec<u32>,
    pub decoded: Decoded,
    /// What the sender said of it, where the rule asks for that.
    pub announced: Announced,
}

/// What a worker that wants a slice of a job gets.
pub(super) enum Take {
    Slice(TakenSlice),
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
    pub queue: SliceQueue,
    pub progress: Arc<Progress>,
    at_work: Arc<MemoryBudget>,
    large: Arc<LargeSlices>,
    /// The job's row as last written; the stages change it and write it.
    pub job: Mutex<Job>,
    /// A checkpoint is on its way to the store.
    pub checkpoint_in_flight: AtomicBool,
    checkpoint_order: Mutex<Option<CheckpointOrder>>,
    /// What the slices were that the checkpoint has from which this start goes on.
    pub resumed_content: ContentHash,
    /// The next checkpoint is due; no slices are taken while the last is still on its way.
    far_ahead: AtomicBool,
    /// Steps that no worker uses now: a worker takes one set for a slice, so that there are no more sets than workers.
    steps: Mutex<Vec<PipelineWorker>>,
    pub entries: Entries,
    /// For the list of entries in the job's row.
    listed: Mutex<Vec<Permit>>,
    loaded: OnceLock<Loaded>,
    trouble: OnceLock<Trouble>,
    /// Columns that its rule may misspell (jsonl): to blame where too many records are at fault.
    misspelt: OnceLock<MissingColumns>,
    /// Slices that were cut, those that a checkpoint has included.
    cut: AtomicU64,
    /// Records that are collected: for those who look while the collector waits for its disk.
    records: AtomicU64,
    /// The same, for the next process.
    reach: Arc<Reach>,
    /// Slices that were taken and are not collected yet.
    in_hand: AtomicU64,
    /// Threads inside a step or the collector; settling waits for none of them, discarding does.
    busy: AtomicUsize,
    pending: Mutex<Pending>,
    collector: Mutex<Option<Collector>>,
    loading: AtomicBool,
    settled: AtomicBool,
}

#[derive(Default)]
struct Pending {
    results: BTreeMap<u64, WorkedSlice>,
    next: u64,
    collecting: bool,
}

impl Run {
    pub(super) fn new(
        memory: &Memory,
        reach: &Arc<Reach>,
        job: Job,
        rule: Arc<ReadyRule>,
        queue: SliceQueue,
        collector: Collector,
    ) -> Self {
        Self {
            id: job.id,
            owner: Owner::of(&job),
            rule,
            queue,
            progress: Arc::default(),
            at_work: Arc::clone(&memory.at_work),
            large: Arc::clone(&memory.large),
            job: Mutex::new(job),
            checkpoint_in_flight: AtomicBool::new(false),
            checkpoint_order: Mutex::default(),
            resumed_content: collector.content().clone(),
            far_ahead: AtomicBool::new(false),
            steps: Mutex::default(),
            entries: Entries::from(collector.first_entry()),
            listed: Mutex::default(),
            loaded: OnceLock::new(),
            trouble: OnceLock::new(),
            misspelt: OnceLock::new(),
            cut: AtomicU64::new(0),
            records: AtomicU64::new(collector.records_in()),
            reach: Arc::clone(reach),
            in_hand: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            pending: Mutex::new(Pending { next: collector.next_slice(), ..Pending::default() }),
            collector: Mutex::new(Some(collector)),
            loading: AtomicBool::new(true),
            settled: AtomicBool::new(false),
        }
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

    /// Ends all steps, with their children; the first that cannot be trusted.
    pub(super) fn end_steps(&self) -> Result<(), StepBroken> {
        let steps = std::mem::take(&mut *lock(&self.steps));
        steps.into_iter().map(PipelineWorker::end).fold(Ok(()), Result::and)
    }

    /// Memory that the list of entries takes as long as there is the run.
    pub(super) fn keep_listed(&self, memory: Permit) {
        lock(&self.listed).push(memory);
    }

    /// The loader can read no further before entries are collected: begins those without records too, once all slices are. False: nothing
    /// of what was read is on its way any more.
    pub(super) fn begin_reached_entries(&self) -> bool {
        if lock(&self.pending).next < self.cut.load(Ordering::Relaxed) {
            return true;
        }
        let begin = |collector: &mut Collector| collector.begin_reached(&self.entries);
        if let Some(Err(trouble)) = self.with_collector(|collector| guard("collect", || begin(collector))) {
            self.break_off(trouble);
        }
        false
    }

    /// The loader read the source to its end.
    pub(super) fn set_loaded(&self, loaded: Loaded) {
        self.loaded.get_or_init(|| loaded);
    }

    pub(super) fn loaded(&self) -> Option<&Loaded> {
        self.loaded.get()
    }

    /// The first trouble wins; loading and work stop.
    pub(super) fn break_off(&self, trouble: Trouble) {
        self.trouble.get_or_init(|| trouble);
        self.queue.stop();
    }

    /// Records may lack the columns that the rule names: told once, in the log and by `show`.
    pub(super) fn set_misspelt(&self, columns: MissingColumns) {
        let remark = columns.remark();
        if self.misspelt.set(columns).is_err() {
            return;
        }
        let mut job = lock(&self.job);
        if !job.remarks().any(|told| told == remark) {
            events::misspelt(&job, &remark);
            job.note(clock::now(), &remark);
        }
    }

    pub(super) fn misspelt(&self) -> Option<&MissingColumns> {
        self.misspelt.get()
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.get()
    }

    /// What the checkpointer is to write.
    pub(super) fn order_checkpoint(&self, order: CheckpointOrder) {
        lock(&self.checkpoint_order).replace(order);
    }

    pub(super) fn take_checkpoint_order(&self) -> Option<CheckpointOrder> {
        lock(&self.checkpoint_order).take()
    }

    fn takes_none(&self) -> bool {
        self.trouble.get().is_some() || self.waits_for_checkpoint()
    }

    /// One slice of each job may always be at work, however large: else none would ever free memory.
    fn has_enough_in_hand(&self, in_hand: u64) -> bool {
        in_hand >= IN_HAND_MAX || (in_hand > 0 && self.at_work.is_full())
    }

    /// The next slice, unless the job broke off or too many are in hand.
    pub(super) fn take_slice(&self) -> Result<Take, StoreError> {
        if self.takes_none() {
            return Ok(Take::Nothing);
        }
        if self.has_enough_in_hand(self.in_hand.fetch_add(1, Ordering::SeqCst)) {
            self.in_hand.fetch_sub(1, Ordering::SeqCst);
            return Ok(Take::Nothing);
        }
        // Counted before it is taken: a job that breaks off meanwhile does not settle while somebody has a slice of it.
        self.busy.fetch_add(1, Ordering::SeqCst);
        let mut large = None;
        let taken = self.queue.take_if(|bytes| {
            let permit = self.large.permit_for(bytes);
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
        self.in_hand.fetch_sub(1, Ordering::SeqCst);
        self.let_go();
        taken?;
        Ok(if self.trouble.get().is_some() { Take::BrokeOff } else { Take::Nothing })
    }

    /// The next checkpoint is due.
    pub(super) fn is_far_ahead(&self) -> bool {
        self.far_ahead.load(Ordering::SeqCst)
    }

    /// The disk is behind: a kill now would make more run again than a resume may repeat. The checkpointer rings when it is done.
    fn waits_for_checkpoint(&self) -> bool {
        self.is_far_ahead() && self.checkpoint_in_flight.load(Ordering::SeqCst)
    }

    /// A worker has no more to do with the slice it took.
    pub(super) fn let_go(&self) {
        self.busy.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes a worked slice in and collects whatever is next in order. True: slices went out of hand, so that more can be taken.
    pub(super) fn collect(&self, worked: WorkedSlice) -> bool {
        let mut pending = lock(&self.pending);
        pending.results.insert(worked.number, worked);
        if pending.collecting {
            return false; // the thread that collects sees it before it leaves
        }
        pending.collecting = true;
        let mut collected = 0;
        loop {
            let next = pending.next;
            let Some(worked) = pending.results.remove(&next) else { break };
            pending.next += 1;
            drop(pending);
            self.append(worked);
            self.in_hand.fetch_sub(1, Ordering::SeqCst);
            collected += 1;
            pending = lock(&self.pending);
        }
        pending.collecting = false;
        collected > 0
    }

    fn append(&self, worked: WorkedSlice) {
        if self.trouble.get().is_some() {
            return;
        }
        let mut collector = lock(&self.collector);
        let Some(collector) = collector.as_mut() else { return };
        // Under the collector's lock: no checkpoint comes between the failure and the word on it.
        if let Err(trouble) = guard("collect", || collector.append(&self.entries, worked)) {
            self.break_off(trouble);
        }
        self.note_progress(collector);
    }

    fn note_progress(&self, collector: &Collector) {
        self.records.store(collector.records_in(), Ordering::Relaxed);
        self.reach.note(self.id, collector.records_in());
        let is_far_ahead = self.rule.outputs.resumable() && collector.is_far_ahead();
        self.far_ahead.store(is_far_ahead, Ordering::SeqCst);
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
        if self.trouble.get().is_some() {
            return None;
        }
        let collector = collector.as_mut()?;
        let done = act(collector);
        self.note_progress(collector);
        Some(done)
    }

    /// The loader has cut so many slices.
    pub(super) fn note_cut(&self, slices: u64) {
        self.cut.store(slices, Ordering::Relaxed);
    }

    /// Copies how far loading and work are into a job's row, without waiting for a disk that the collector may wait for.
    pub(super) fn copy_progress(&self, job: &mut Job) {
        job.bytes_read = self.progress.bytes_read.load(Ordering::Relaxed);
        job.bytes_decoded = self.progress.bytes_decoded.load(Ordering::Relaxed);
        job.slices.done = lock(&self.pending).next;
        job.slices.total = self.cut.load(Ordering::Relaxed).max(job.slices.done);
        job.reckon_worked();
    }

    /// The counts so far; only the records where the collector is at work just now.
    pub(super) fn copy_counts(&self, job: &mut Job) {
        match self.collector.try_lock().ok().as_deref() {
            Some(Some(collector)) => collector.copy_counts(job),
            _ => job.account.records_in = self.records.load(Ordering::Relaxed).max(job.account.records_in),
        }
    }

    /// Takes the collector away for finishing or discarding.
    pub(super) fn take_collector(&self) -> Option<Collector> {
        lock(&self.collector).take()
    }

    /// True once: when everything is collected, or when it broke off and no thread works for it any more.
    pub(super) fn settle(&self) -> bool {
        let done = match (self.trouble.get(), self.loaded.get()) {
            (Some(_), _) => !self.loading.load(Ordering::SeqCst) && self.busy.load(Ordering::SeqCst) == 0,
            (None, Some(loaded)) => lock(&self.pending).is_done(loaded.slices),
            (None, None) => false,
        };
        done && !self.settled.swap(true, Ordering::SeqCst)
    }
}

impl Workable for Run {
    fn id(&self) -> JobId {
        self.id
    }

    /// Whether [`Self::take_slice`] would have one, were it called now.
    fn has_slices(&self) -> bool {
        !self.takes_none()
            && !self.has_enough_in_hand(self.in_hand.load(Ordering::SeqCst))
            && self.queue.waiting() > 0
    }
}

impl Run {
    /// The loader has left.
    pub(super) fn loading_ended(&self) {
        self.loading.store(false, Ordering::SeqCst);
    }

    /// Nothing more is worked for it.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst)
    }
}

impl Pending {
    fn is_done(&self, slices: u64) -> bool {
        !self.collecting && self.next == slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, loaded, worked};
    use crate::model::fault::FaultKind;

    #[test]
    fn results_are_collected_in_slice_order_whatever_order_they_come_in_and_the_run_settles_once() {
        let world = World::new();
        let run = world.run();
        assert!(!run.collect(worked(&run, 1, "b")), "the one before it is missing");
        assert_eq!(run.with_collector(|collector| collector.next_slice()), Some(0));
        assert!(run.collect(worked(&run, 0, "a")), "both");
        assert_eq!(run.with_collector(|collector| collector.next_slice()), Some(2));
        assert!(!run.settle(), "the source is not read to its end");
        run.set_loaded(loaded(2));
        assert!(run.settle() && !run.settle() && run.is_settled());
    }

    #[test]
    fn a_run_that_broke_off_settles_when_its_loader_and_its_workers_have_left() {
        let world = World::new();
        let run = world.run();
        let trouble = |message: &str| Trouble::new(FaultKind::Input, message, None);
        run.break_off(trouble("first"));
        run.break_off(trouble("second"));
        assert_eq!(run.trouble().map(|trouble| trouble.error.message.as_str()), Some("first"));
        assert!(!run.settle(), "it is still read");
        run.loading_ended();
        assert!(run.settle() && !run.settle());
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
        let mut job = lock(&run.job).clone();
        let counted = run.with_collector(|_| run.copy_counts(&mut job));
        assert_eq!((counted, job.account.records_in), (Some(()), 1));
    }
}
