//! The records of one slice on their way through the steps.

use std::collections::HashMap;
use std::ops::Range;

use super::broken::StepBroken;
use super::plan::Pipeline;
use super::result::{Chunk, SliceResult};
use super::shapes::Resolved;
use crate::format::ColumnReader;
use crate::model::account::{Account, FailedRecord};
use crate::model::category::Category;
use crate::model::rule::{LineEnd, Records};
use crate::model::slice::{EntryShape, RecordPlace, Slice};
use crate::model::step::{Broken, BrokenKind, CategoryId, Outcome, Reason, Record, RecordError, Run};
use crate::record::{lines_in, record_offset};

/// Who failed a record that no step saw.
pub(crate) const BEFORE_STEPS_NAME: &str = "records";
const BEFORE_STEPS: usize = usize::MAX;

/// What an idle buffer keeps of its memory.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Buffers that are used for one slice after another.
#[derive(Default)]
pub(super) struct Scratch {
    states: Vec<State>,
    /// Bytes of records that steps changed.
    arena: Vec<u8>,
    changed: Vec<u8>,
    failed: Vec<(usize, usize, RecordError)>,
    dropped: Vec<u64>,
    reasons: Vec<(Reason, u64)>,
    reason_positions: HashMap<Reason, u32>,
}

#[derive(Clone, Debug)]
struct State {
    /// In the slice, or in the arena once a step changed it.
    bytes: Range<usize>,
    is_changed: bool,
    category: CategoryId,
    goes_on: bool,
    /// Position of its latest reason, plus 1.
    reason: u32,
}

/// A record as it is behind the steps so far.
pub(super) struct OnItsWay<'a> {
    pub bytes: &'a [u8],
    /// By a step.
    pub is_changed: bool,
    pub category: CategoryId,
    pub goes_on: bool,
    pub reason: &'a str,
    pub error: Option<String>,
}

pub(super) struct Work<'a> {
    pub pipeline: &'a Pipeline,
    pub slice: &'a Slice,
    pub resolved: &'a Resolved,
    pub reader: &'a mut dyn ColumnReader,
    pub scratch: &'a mut Scratch,
    /// The record whose columns the reader holds.
    read: usize,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        slice: &'a Slice,
        resolved: &'a Resolved,
        reader: &'a mut dyn ColumnReader,
        scratch: &'a mut Scratch,
    ) -> Self {
        scratch.start(pipeline, slice);
        scratch.inspect(pipeline, slice);
        Self { pipeline, slice, resolved, reader, scratch, read: usize::MAX }
    }

    /// Positions of the records that a step sees.
    pub(super) fn seen_by(&self, step: usize) -> Vec<usize> {
        (0..self.scratch.states.len()).filter(|index| self.is_seen(*index, step)).collect()
    }

    pub(super) fn is_seen(&self, index: usize, step: usize) -> bool {
        let state = self.scratch.states.get(index);
        state.is_some_and(|state| state.goes_on && self.resolved.view(step, state.category.index()).is_some())
    }

    /// What became of a record so far.
    pub(super) fn on_its_way(&self, index: usize) -> Option<OnItsWay<'_>> {
        let state = self.scratch.states.get(index)?;
        let from: &[u8] = if state.is_changed { &self.scratch.arena } else { &self.slice.bytes };
        let failed = self.scratch.failed.iter().find(|(of, ..)| *of == index);
        Some(OnItsWay {
            bytes: from.get(state.bytes.clone()).unwrap_or_default(),
            is_changed: state.is_changed,
            category: state.category,
            goes_on: state.goes_on,
            reason: self.scratch.reason(state.reason),
            error: failed.map(|(.., error)| error.to_string()),
        })
    }

    /// Takes a record through a step and settles it by the outcome.
    pub(super) fn process(
        &mut self,
        index: usize,
        step: usize,
        process: impl FnOnce(&mut Record<'_>) -> Result<Outcome, RecordError>,
    ) -> Result<(), StepBroken> {
        let outcome = self.with_record(index, step, process);
        if let Some(outcome) = outcome {
            self.settle(index, step, outcome)?;
        }
        Ok(())
    }

    fn with_record(
        &mut self,
        index: usize,
        step: usize,
        process: impl FnOnce(&mut Record<'_>) -> Result<Outcome, RecordError>,
    ) -> Option<Result<Outcome, RecordError>> {
        let state = self.scratch.states.get_mut(index)?;
        let view = self.resolved.view(step, state.category.index())?;
        if self.read != index {
            self.read = index;
            self.reader.forget();
        }
        self.reader.use_layout(&view.layout);
        let from: &[u8] = if state.is_changed { &self.scratch.arena } else { &self.slice.bytes };
        let mut record = Record {
            original: from.get(state.bytes.clone()).unwrap_or_default(),
            changed: &mut self.scratch.changed,
            is_changed: false,
            number: self.slice.record_number(index),
            category: state.category,
            columns: self.reader,
            wanted: &view.wanted,
        };
        let mut outcome = process(&mut record);
        if record.is_changed {
            if outcome.is_ok() && self.pipeline.splits_lines(&self.scratch.changed) {
                outcome = Err(RecordError::new("the changed record has a line end inside"));
            }
            let start = self.scratch.arena.len();
            self.scratch.arena.extend_from_slice(&self.scratch.changed);
            state.bytes = start..self.scratch.arena.len();
            state.is_changed = true;
        }
        Some(outcome)
    }

    fn settle(
        &mut self,
        index: usize,
        step: usize,
        outcome: Result<Outcome, RecordError>,
    ) -> Result<(), StepBroken> {
        let Some(state) = self.scratch.states.get_mut(index) else { return Ok(()) };
        match outcome {
            Ok(Outcome::On) => {}
            Ok(Outcome::Dropped) => {
                state.goes_on = false;
                if let Some(count) = self.scratch.dropped.get_mut(step) {
                    *count += 1;
                }
            }
            Ok(Outcome::To { category, reason }) => {
                if !self.pipeline.may_send(step, category) {
                    let reason = "it sent a record to a category that its plan does not name";
                    return Err(self.pipeline.broken(step, reason.to_owned()));
                }
                state.category = category;
                if let Some(reason) = reason {
                    let position = self.scratch.count_reason(reason);
                    if let Some(state) = self.scratch.states.get_mut(index) {
                        state.reason = position + 1;
                    }
                }
            }
            Err(error) => {
                state.goes_on = false;
                self.scratch.failed.push((index, step, error));
            }
        }
        Ok(())
    }

    /// The slice's result once every step has seen it. `sizes` are the bytes of the last slice's chunks.
    pub(super) fn finish(
        self,
        shape: &EntryShape,
        sizes: &mut Vec<usize>,
    ) -> Result<SliceResult, StepBroken> {
        let mut result = SliceResult::default();
        sizes.resize(self.pipeline.outputs.len(), 0);
        let chunk = |size: &usize| Chunk { bytes: Vec::with_capacity(size + size / 8), records: 0 };
        result.chunks.extend(sizes.iter().map(chunk));
        self.write_chunks(&mut result.chunks)?;
        for (size, chunk) in sizes.iter_mut().zip(&result.chunks) {
            *size = chunk.bytes.len();
        }
        result.account = self.account(&result.chunks);
        self.scratch.failed.sort_by_key(|(index, ..)| *index);
        for (index, step, error) in self.scratch.failed.drain(..) {
            let step = self.pipeline.step_name(step);
            result.failed.push(failed_record(
                self.slice,
                index,
                shape,
                &self.pipeline.records,
                step,
                error.to_string(),
            ));
        }
        Ok(result)
    }

    fn write_chunks(&self, chunks: &mut [Chunk]) -> Result<(), StepBroken> {
        let slice = &self.slice.bytes;
        // Neighbours of one category that nothing changed are copied together, line ends and all.
        let mut together: (usize, Range<usize>) = (0, 0..0);
        let copy = |chunks: &mut [Chunk], (category, range): (usize, Range<usize>)| {
            if let Some(chunk) = chunks.get_mut(category) {
                chunk.bytes.extend_from_slice(slice.get(range).unwrap_or_default());
            }
        };
        let records = self.scratch.states.iter().enumerate();
        for (index, state) in records.filter(|(_, state)| state.goes_on) {
            let category = state.category.index();
            let (Some(chunk), Some(rendering)) =
                (chunks.get_mut(category), self.pipeline.outputs.get(category))
            else {
                let last = self.pipeline.steps.len().saturating_sub(1);
                return Err(self
                    .pipeline
                    .broken(last, "a record ended in a category without an output".into()));
            };
            chunk.records += 1;
            let is_plain = !state.is_changed && !rendering.annotate && rendering.line_end == LineEnd::Lf;
            if is_plain && slice.get(state.bytes.end) == Some(&b'\n') {
                let range = state.bytes.start..state.bytes.end + 1;
                if together.0 == category && together.1.end == range.start {
                    together.1.end = range.end;
                } else {
                    copy(chunks, std::mem::replace(&mut together, (category, range)));
                }
                continue;
            }
            copy(chunks, std::mem::replace(&mut together, (0, 0..0)));
            let Some(chunk) = chunks.get_mut(category) else { continue };
            let from: &[u8] = if state.is_changed { &self.scratch.arena } else { slice };
            let bytes = from.get(state.bytes.clone()).unwrap_or_default();
            if rendering.annotate {
                let (number, reason) = (self.slice.record_number(index), self.scratch.reason(state.reason));
                self.pipeline.format.write_annotated(bytes, number, reason, &mut chunk.bytes);
            } else {
                chunk.bytes.extend_from_slice(bytes);
            }
            chunk.bytes.extend_from_slice(rendering.line_end.bytes());
        }
        copy(chunks, together);
        Ok(())
    }

    fn account(&self, chunks: &[Chunk]) -> Account {
        let mut account = Account {
            records_in: self.slice.records.len() as u64,
            records_failed: self.scratch.failed.len() as u64,
            records_skipped: u64::from(self.slice.skipped),
            ..Account::default()
        };
        for (category, chunk) in
            self.pipeline.categories.iter().zip(chunks).filter(|(_, chunk)| chunk.records > 0)
        {
            account.records_out.insert(category.clone(), chunk.records);
        }
        for (step, count) in self.scratch.dropped.iter().enumerate().filter(|(_, count)| **count > 0) {
            account.dropped_by.insert(self.pipeline.step_name(step), *count);
        }
        for (reason, count) in &self.scratch.reasons {
            account.reasons.insert(reason.as_str().to_owned(), *count);
        }
        account
    }
}

impl Scratch {
    fn start(&mut self, pipeline: &Pipeline, slice: &Slice) {
        let main = CategoryId(pipeline.main as u16);
        self.states.clear();
        self.states.extend(slice.records.iter().map(|span| State {
            bytes: span.start as usize..span.end as usize,
            is_changed: false,
            category: main,
            goes_on: true,
            reason: 0,
        }));
        self.rest();
        self.dropped.clear();
        self.dropped.resize(pipeline.steps.len(), 0);
        self.reasons.clear();
        self.reason_positions.clear();
    }

    /// Keeps no more memory than ordinary slices need: one huge record is no reason to keep as much for all that follow.
    pub(super) fn rest(&mut self) {
        for buffer in [&mut self.arena, &mut self.changed] {
            buffer.clear();
            buffer.shrink_to(BUFFER_BYTES_KEPT);
        }
        self.failed.clear();
    }

    /// Fails the records that cannot be taken whatever the steps say.
    fn inspect(&mut self, pipeline: &Pipeline, slice: &Slice) {
        let inspection = &pipeline.inspection;
        if inspection.trims {
            for state in &mut self.states {
                let record = slice.bytes.get(state.bytes.clone()).unwrap_or_default();
                state.bytes.start += record.len() - record.trim_ascii_start().len();
                state.bytes.end = state.bytes.start + record.trim_ascii().len();
            }
        }
        if inspection.is_empty() {
            return;
        }
        for (index, state) in self.states.iter_mut().enumerate() {
            let record = slice.bytes.get(state.bytes.clone()).unwrap_or_default();
            if let Err(error) = inspection.check(record) {
                state.goes_on = false;
                self.failed.push((index, BEFORE_STEPS, error));
            }
        }
    }

    fn count_reason(&mut self, reason: Reason) -> u32 {
        if let Some(&position) = self.reason_positions.get(&reason) {
            if let Some((_, count)) = self.reasons.get_mut(position as usize) {
                *count += 1;
            }
            return position;
        }
        let position = self.reasons.len() as u32;
        self.reasons.push((reason.clone(), 1));
        self.reason_positions.insert(reason, position);
        position
    }

    fn reason(&self, position: u32) -> &str {
        let known = (position as usize).checked_sub(1).and_then(|position| self.reasons.get(position));
        known.map_or("", |(reason, _)| reason.as_str())
    }
}

impl Pipeline {
    /// The name of a category.
    pub(super) fn category(&self, id: CategoryId) -> Category {
        self.categories.get(id.index()).cloned().unwrap_or_else(Category::main)
    }

    pub(super) fn step_name(&self, step: usize) -> String {
        if step == BEFORE_STEPS {
            return BEFORE_STEPS_NAME.to_owned();
        }
        self.steps.get(step).map(|step| step.name.clone()).unwrap_or_default()
    }

    pub(super) fn broken(&self, step: usize, reason: String) -> StepBroken {
        StepBroken { step: self.step_name(step), kind: BrokenKind::Broken, reason }
    }

    pub(super) fn broken_as(&self, step: usize, broken: &Broken) -> StepBroken {
        StepBroken { step: self.step_name(step), kind: broken.kind(), reason: broken.to_string() }
    }

    fn may_send(&self, step: usize, category: CategoryId) -> bool {
        let may = self.steps.get(step).and_then(|step| step.may_send_to.get(category.index()));
        may.copied().unwrap_or(false)
    }

    /// Whether a record of these bytes would be read back as more than one.
    fn splits_lines(&self, bytes: &[u8]) -> bool {
        self.format.is_one_line() && memchr::memchr(b'\n', bytes).is_some()
    }
}

/// A record of the slice as it was read, without its line end.
pub(crate) fn bytes_of(slice: &Slice, index: usize) -> &[u8] {
    let span = slice.records.get(index).map_or(0..0, |span| span.start as usize..span.end as usize);
    slice.bytes.get(span).unwrap_or_default()
}

/// Where a record of the slice stood in its entry.
pub(crate) fn place_of(slice: &Slice, index: usize, records: &Records) -> RecordPlace {
    slice.places.get(index).copied().unwrap_or_else(|| {
        let start = slice.records.get(index).map_or(0, |span| span.start as usize);
        let lines = lines_in(slice.bytes.get(..start).unwrap_or_default(), records.separator.as_deref());
        RecordPlace {
            record: slice.record_number(index),
            offset: record_offset(slice, index, records),
            line: slice.first_line.saturating_add(lines).saturating_add(1),
        }
    })
}

/// A record of the slice as it was read, with what a step said about it.
pub(super) fn failed_record(
    slice: &Slice,
    index: usize,
    shape: &EntryShape,
    records: &Records,
    step: String,
    error: String,
) -> FailedRecord {
    let (place, bytes) = (place_of(slice, index, records), bytes_of(slice, index));
    FailedRecord {
        entry: slice.entry,
        entry_name: shape.name.clone(),
        record: place.record,
        offset: place.offset,
        line: place.line,
        step,
        error,
        bytes: bytes.to_vec(),
        length: bytes.len() as u64,
    }
}

/// The records that a [`crate::model::step::RunStep`] sees.
pub(super) struct SliceRun<'r, 'a> {
    pub work: &'r mut Work<'a>,
    pub step: usize,
    pub positions: Vec<usize>,
    pub settled: Vec<bool>,
    pub broken: Option<StepBroken>,
}

impl Run for SliceRun<'_, '_> {
    fn len(&self) -> usize {
        self.positions.len()
    }

    fn settle(
        &mut self,
        position: usize,
        process: &mut dyn FnMut(&mut Record<'_>) -> Result<Outcome, RecordError>,
    ) {
        let (Some(&index), Some(settled)) = (self.positions.get(position), self.settled.get_mut(position))
        else {
            return;
        };
        if std::mem::replace(settled, true) {
            return;
        }
        if let Err(broken) = self.work.process(index, self.step, process) {
            self.broken = Some(broken);
        }
    }

    fn look(&mut self, position: usize, look: &mut dyn FnMut(&mut Record<'_>)) {
        let Some(&index) = self.positions.get(position) else { return };
        self.work.with_record(index, self.step, |record| {
            look(record);
            Ok(Outcome::On)
        });
    }
}
