//! The runner: one worker's instances of the steps, and slices taken through them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broken::StepBroken;
use super::plan::Pipeline;
use super::result::{Chunk, SliceResult};
use super::shapes::Resolved;
use super::trace::{RecordTrace, Tracer};
use super::work::{BEFORE_STEPS_NAME, Scratch, SliceRun, Work, bytes_of, failed_record};
use crate::format::ColumnReader;
use crate::model::account::{Account, FailedRecord};
use crate::model::job_id::JobId;
use crate::model::quoted::{Quoted, Quotes, shown_beside_the_record};
use crate::model::slice::{EntryShape, Slice, UnfitReason};
use crate::model::step::{Broken, BrokenKind, StepInstance, StepStart};

/// Records in a row without an answer, after which those left of their slice are not tried: each costs a whole timeout.
const SILENCE_MAX: u32 = 10;

/// The steps of one worker for one job.
///
/// A step that broke is not used again: all steps are made anew for the next slice.
pub struct PipelineWorker {
    pipeline: Arc<Pipeline>,
    job: JobId,
    steps: Vec<StepInstance>,
    reader: Box<dyn ColumnReader>,
    scratch: Scratch,
    resolved: Option<(Arc<EntryShape>, Resolved)>,
    chunk_sizes: Vec<usize>,
    /// The step at work, for the blame of a panic.
    at_step: usize,
    /// The steps that took a run of this slice to its end.
    answered: Vec<usize>,
    /// How long each step took since somebody asked; those that see each record in turn count with the first of them.
    spent: Vec<Duration>,
}

/// A step that did not answer, for how many records in a row of those it saw.
struct Silence {
    step: usize,
    name: String,
    within: Duration,
    records: u32,
}

impl Pipeline {
    /// The steps of one worker for one job; children of `exec` start at their first record.
    pub fn worker(self: &Arc<Self>, job: JobId) -> PipelineWorker {
        PipelineWorker::new(Arc::clone(self), job)
    }
}

impl PipelineWorker {
    fn new(pipeline: Arc<Pipeline>, job: JobId) -> Self {
        let reader = pipeline.format.column_reader(pipeline.unit, &pipeline.paths);
        Self {
            pipeline,
            job,
            steps: Vec::new(),
            reader,
            scratch: Scratch::default(),
            resolved: None,
            chunk_sizes: Vec::new(),
            at_step: 0,
            answered: Vec::new(),
            spent: Vec::new(),
        }
    }

    /// Takes every record of the slice through the steps. A panic of a step comes out as `StepBroken`.
    pub fn run(&mut self, slice: &Slice, shape: &Arc<EntryShape>) -> Result<SliceResult, StepBroken> {
        if slice.oversized.is_some() {
            return Ok(self.oversized(slice, shape));
        }
        self.guarded(shape, |worker| worker.run_steps(slice, shape, |_, _| {}))
    }

    /// Takes one record of the slice alone through the steps. A record that breaks its step is a failed one.
    pub(crate) fn trace(
        &mut self,
        slice: &Slice,
        index: usize,
        shape: &Arc<EntryShape>,
    ) -> Result<RecordTrace, StepBroken> {
        let bytes = bytes_of(slice, index);
        let mut tracer = Tracer::new(&self.pipeline, bytes);
        let result = if slice.oversized.is_some() {
            self.oversized(slice, shape)
        } else {
            let one = alone(slice, index);
            let noted = |step, work: &Work<'_>| tracer.note(step, work);
            match self.guarded(shape, |worker| worker.run_steps(&one, shape, noted)) {
                Ok(result) => result,
                Err(broken) if broken.holds_job() => return Err(broken),
                Err(broken) => self.failed_by(broken, slice, index, shape),
            }
        };
        Ok(RecordTrace { bytes: bytes.to_vec(), steps: tracer.steps, result })
    }

    /// Whether a step looks at runs of records, as those do that talk to something slow.
    pub(crate) fn asks_others(&mut self) -> bool {
        self.make_steps();
        self.steps.iter().any(|step| matches!(step, StepInstance::Runs(_)))
    }

    /// The result of a record that broke its step.
    fn failed_by(&self, broken: StepBroken, slice: &Slice, index: usize, shape: &EntryShape) -> SliceResult {
        let mut result = self.empty_result();
        let error = format!("the step broke: {}", broken.reason);
        self.add_failed(&mut result, slice, index, shape, broken.step, error);
        result
    }

    /// Runs steps whose panic is told as their break.
    fn guarded(
        &mut self,
        shape: &Arc<EntryShape>,
        steps: impl FnOnce(&mut Self) -> Result<SliceResult, StepBroken>,
    ) -> Result<SliceResult, StepBroken> {
        self.resolve(shape)?;
        self.at_step = 0;
        self.answered.clear();
        let result = match catch_unwind(AssertUnwindSafe(|| steps(self))) {
            Ok(result) => result,
            Err(panic) => {
                Err(self.pipeline.broken(self.at_step, format!("panic: {}", text_of(panic.as_ref()))))
            }
        };
        if result.is_err() {
            self.forget_steps();
        }
        self.scratch.rest();
        self.reader.rest();
        result
    }

    /// The last resort after all attempts: record by record; a record that breaks its step becomes a failed record.
    ///
    /// A step that leaves ten records in a row without an answer fails those left of the slice untried. An error
    /// is a step that cannot start, which says nothing about the records.
    pub fn run_each(&mut self, slice: &Slice, shape: &Arc<EntryShape>) -> Result<SliceResult, StepBroken> {
        if slice.oversized.is_some() {
            return Ok(self.oversized(slice, shape));
        }
        let mut sum = self.empty_result();
        sum.account.records_skipped = u64::from(slice.skipped);
        let mut silence: Option<Silence> = None;
        for index in 0..slice.records.len() {
            if let Some(silence) = silence.as_ref().filter(|silence| silence.records >= SILENCE_MAX) {
                self.add_failed(&mut sum, slice, index, shape, silence.name.clone(), silence.error());
                continue;
            }
            // What a step says of a record by itself is kept with that.
            match shown_beside_the_record(|| self.run(&alone(slice, index), shape)) {
                Ok(result) => {
                    silence = silence.filter(|silence| !self.answered.contains(&silence.step));
                    add(&mut sum, result);
                }
                Err(broken) if broken.cannot_start() => return Err(broken),
                Err(StepBroken { step, kind, reason }) if matches!(kind, BrokenKind::Untrusted { .. }) => {
                    return Err(StepBroken { step, kind, reason: Quoted::new(reason).to_string() });
                }
                Err(broken) => {
                    silence = self.silence_after(&broken, silence);
                    add(&mut sum, self.failed_by(broken, slice, index, shape));
                }
            }
        }
        Ok(sum)
    }

    /// Time in steps since this was asked last, each with the place of the first step and the one behind the last.
    pub(crate) fn take_spent(&mut self) -> Vec<(std::ops::Range<usize>, Duration)> {
        let spent = std::mem::take(&mut self.spent);
        let firsts: Vec<_> = spent.iter().enumerate().filter(|(_, time)| !time.is_zero()).collect();
        let end_of = |at: usize| firsts.get(at + 1).map_or(self.pipeline.steps.len(), |(next, _)| *next);
        firsts.iter().enumerate().map(|(at, (first, time))| (*first..end_of(at), **time)).collect()
    }

    /// Whether a step has a last word to say: to end it may take long.
    pub(crate) fn has_last_word(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, StepInstance::Runs(_)))
    }

    /// After the job's last slice, before anything of it is published: every step has its last word.
    pub fn end(mut self) -> Result<(), StepBroken> {
        for (position, step) in self.steps.iter_mut().enumerate() {
            if let StepInstance::Runs(step) = step {
                let ended = catch_unwind(AssertUnwindSafe(|| step.end()));
                let ended = ended
                    .unwrap_or_else(|panic| Err(Broken::new(format!("panic: {}", text_of(panic.as_ref())))));
                ended.map_err(|broken| StepBroken {
                    step: self.pipeline.step_name(position),
                    kind: broken.kind(),
                    reason: broken.to_string(),
                })?;
            }
        }
        Ok(())
    }

    fn silence_after(&self, broken: &StepBroken, before: Option<Silence>) -> Option<Silence> {
        let BrokenKind::NoAnswer { within } = broken.kind else { return None };
        let step = self.at_step;
        let before = before.filter(|silence| silence.step == step).map_or(0, |silence| silence.records);
        Some(Silence { step, name: broken.step.clone(), within, records: before + 1 })
    }

    fn add_failed(
        &self,
        sum: &mut SliceResult,
        slice: &Slice,
        index: usize,
        shape: &EntryShape,
        step: String,
        error: String,
    ) {
        sum.failed.push(failed_record(slice, index, shape, &self.pipeline.records, step, error));
        sum.account.records_in += 1;
        sum.account.records_failed += 1;
    }

    /// Says after each step that saw a record which step it was.
    fn run_steps(
        &mut self,
        slice: &Slice,
        shape: &EntryShape,
        mut noted: impl FnMut(usize, &Work<'_>),
    ) -> Result<SliceResult, StepBroken> {
        self.make_steps();
        let Self {
            pipeline, steps, reader, scratch, resolved, chunk_sizes, at_step, answered, spent, ..
        } = self;
        let Some((_, resolved)) = resolved else {
            return Err(pipeline.broken(0, "the entry's shape is not known".to_owned()));
        };
        let mut work = Work::new(pipeline, slice, resolved, &mut **reader, scratch);
        spent.resize(steps.len(), Duration::ZERO);
        let mut first = 0;
        while first < steps.len() {
            let begun = Instant::now();
            let together =
                steps.iter().skip(first).take_while(|step| matches!(step, StepInstance::Each(_))).count();
            if together == 0 {
                *at_step = first;
                if let Some(StepInstance::Runs(step)) = steps.get_mut(first) {
                    let positions = work.seen_by(first);
                    let settled = vec![false; positions.len()];
                    let mut run = SliceRun { work: &mut work, step: first, positions, settled, broken: None };
                    if !run.positions.is_empty() {
                        let outcome = step.process_run(&mut run);
                        check_run(pipeline, first, run, outcome)?;
                        answered.push(first);
                        noted(first, &work);
                    }
                }
                spent[first] += begun.elapsed();
                first += 1;
                continue;
            }
            for index in 0..slice.records.len() {
                for (position, step) in steps.iter_mut().enumerate().skip(first).take(together) {
                    if let StepInstance::Each(step) = step
                        && work.is_seen(index, position)
                    {
                        *at_step = position;
                        work.process(index, position, |record| step.process(record))?;
                        noted(position, &work);
                    }
                }
            }
            spent[first] += begun.elapsed();
            first += together;
        }
        work.finish(shape, chunk_sizes)
    }

    fn make_steps(&mut self) {
        if !self.steps.is_empty() {
            return;
        }
        for (position, step) in self.pipeline.steps.iter().enumerate() {
            self.at_step = position;
            self.steps.push((step.plan.make)(&StepStart { job: self.job, name: step.name.clone() }));
        }
    }

    /// Broken steps go; a panic while they are dropped is part of the same break.
    fn forget_steps(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(steps))) {
            let panic = text_of(panic.as_ref());
            // It may have been at work on a single record, whose words are shown.
            Quotes::of_log().within(|| {
                tracing::debug!(%panic, "a broken step panicked again while it was dropped");
            });
        }
    }

    fn resolve(&mut self, shape: &Arc<EntryShape>) -> Result<(), StepBroken> {
        if self
            .resolved
            .as_ref()
            .is_some_and(|(known, _)| Arc::ptr_eq(known, shape) || known.has_columns_of(shape))
        {
            return Ok(());
        }
        match self.pipeline.resolve(shape) {
            Ok(resolved) => {
                self.resolved = Some((Arc::clone(shape), resolved));
                Ok(())
            }
            Err(missing) => {
                let position = missing.missing.first().map_or(0, |first| first.position);
                Err(self.pipeline.broken(position, missing.to_string()))
            }
        }
    }

    fn empty_result(&self) -> SliceResult {
        let chunks = self.pipeline.outputs.iter().map(|_| Chunk::default()).collect();
        SliceResult { chunks, ..SliceResult::default() }
    }

    /// A record that no step can see: its beginning is kept as a failed record.
    fn oversized(&self, slice: &Slice, shape: &EntryShape) -> SliceResult {
        let length = slice.oversized.as_ref().map_or(slice.bytes.len() as u64, |oversized| oversized.length);
        let error = match slice.oversized.as_ref().map(|oversized| oversized.reason) {
            Some(UnfitReason::UnclosedQuote { line }) => {
                format!("the quote that opens on line {line} is never closed, or not within record_max")
            }
            Some(UnfitReason::TooLong) | None => {
                let max = self.pipeline.records.record_max;
                format!("record of {length} bytes is longer than record_max ({max} bytes)")
            }
        };
        let failed =
            failed_record(slice, 0, shape, &self.pipeline.records, BEFORE_STEPS_NAME.to_owned(), error);
        let failed = FailedRecord { bytes: slice.bytes.to_vec(), length, ..failed };
        let account = Account {
            records_in: 1,
            records_failed: 1,
            records_skipped: u64::from(slice.skipped),
            ..Account::default()
        };
        SliceResult { failed: vec![failed], account, ..self.empty_result() }
    }
}

impl Silence {
    fn error(&self) -> String {
        format!(
            "not tried: {} records before it in a row got no answer within {:?}",
            self.records, self.within
        )
    }
}

/// A slice of one record of this one.
fn alone(slice: &Slice, index: usize) -> Slice {
    Slice {
        first_record: slice.record_number(index),
        bytes: slice.bytes.clone(),
        records: slice.records.get(index).copied().into_iter().collect(),
        skipped: 0,
        places: slice.places.get(index).copied().into_iter().collect(),
        ..*slice
    }
}

/// A run must be settled to its last record.
fn check_run(
    pipeline: &Pipeline,
    step: usize,
    run: SliceRun<'_, '_>,
    outcome: Result<(), Broken>,
) -> Result<(), StepBroken> {
    outcome.map_err(|broken| pipeline.broken_as(step, &broken))?;
    if let Some(broken) = run.broken {
        return Err(broken);
    }
    match run.settled.iter().filter(|settled| !**settled).count() {
        0 => Ok(()),
        left => Err(pipeline.broken(step, format!("it left {left} records unsettled"))),
    }
}

fn add(sum: &mut SliceResult, one: SliceResult) {
    for (chunk, more) in sum.chunks.iter_mut().zip(one.chunks) {
        chunk.bytes.extend_from_slice(&more.bytes);
        chunk.records += more.records;
    }
    sum.failed.extend(one.failed);
    sum.account.add(&one.account);
}

/// It may say which text it was about.
fn text_of(panic: &(dyn Any + Send)) -> Quoted {
    Quoted::new(match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => *text,
        (_, Some(text)) => text.as_str(),
        _ => "of an unknown kind",
    })
}
