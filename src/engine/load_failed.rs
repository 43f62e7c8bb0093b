//! Loading of failed records that are retried: from the store, where another job set them aside.
//!
//! They keep their numbers, lines and places in their entries. What stood side by side there is one slice again, as far as that can be told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::content::Retrace;
use super::entries::{EntryMemory, LoadedEntry};
use super::loading::{FIRST_SLICES, LoadEnd, meet_checkpoint, start_retrace};
use super::run::Run;
use super::run_state::Loaded;
use super::shared::Shared;
use super::totals::Announced;
use super::trouble::Trouble;
use crate::allowance::Allowance;
use crate::decode::{DecodeError, Decoded};
use crate::model::account::FailedRecord;
use crate::model::fault::FaultKind;
use crate::model::job_id::JobId;
use crate::model::rule::Rule;
use crate::model::slice::{EntryShape, Slice, Span};
use crate::output::EntryName;
use crate::store::FailedEntry;

/// Bytes of a slice, about.
const SLICE_BYTES: usize = 48 << 10;

/// Reads the records of the act that the job is made from.
pub(super) fn read_failed(
    shared: &Shared,
    run: &Run,
    allowance: &Arc<Allowance>,
    (parent, act): (JobId, u64),
) -> Result<LoadEnd, Trouble> {
    let job = run.row();
    let settlement = shared.store.settlement(parent, act)?.ok_or_else(|| gone(parent))?;
    let shown_path = job.source.path.as_path().to_owned();
    let mut loading = Loading {
        shared,
        run,
        allowance,
        retrace: if job.resumed_at_slice > 0 { Some(start_retrace()?) } else { None },
        first_slice: job.resumed_at_slice,
        slices: 0,
        shown_path,
    };
    let mut entry = None; // of the parent, and its position here
    let mut draft: Option<Draft> = None;
    let mut found = 0;
    for (number, record) in (1u64..).zip(shared.store.failed_records(parent)) {
        let record = record?;
        if !settlement.records.contains(number) {
            continue;
        }
        found += 1;
        let position = match entry {
            Some((of_parent, position)) if of_parent == record.entry => position,
            _ => {
                let position = entry.map_or(0, |(_, position): (u32, u32)| position + 1);
                if let Some(draft) = draft.take()
                    && !loading.put(draft)?
                {
                    return Ok(LoadEnd::Stopped);
                }
                loading.begin_entry(parent, &record, position)?;
                entry = Some((record.entry, position));
                position
            }
        };
        let rest = match &mut draft {
            Some(draft) => draft.take(record, &run.rule.rule),
            None => Some(record),
        };
        if let Some(record) = rest
            && let Some(full) = draft.replace(Draft::begin(record, position))
            && !loading.put(full)?
        {
            return Ok(LoadEnd::Stopped);
        }
    }
    if found != settlement.records.count() {
        return Err(gone(parent));
    }
    if let Some(draft) = draft
        && !loading.put(draft)?
    {
        return Ok(LoadEnd::Stopped);
    }
    meet_checkpoint(run, loading.retrace.take())?;
    let slices = loading.slices;
    let decoded = Decoded {
        content_hash: String::new(),
        characters_replaced: 0,
        skipped: Vec::new(),
        proves_its_end: false,
    };
    let announced = Announced::default();
    run.set_loaded(Loaded { slices, lines_skipped: 0, unterminated: Vec::new(), decoded, announced });
    Ok(LoadEnd::Complete)
}

struct Loading<'a> {
    shared: &'a Shared,
    run: &'a Run,
    allowance: &'a Arc<Allowance>,
    retrace: Option<Retrace>,
    first_slice: u64,
    slices: u64,
    shown_path: std::path::PathBuf,
}

impl Loading<'_> {
    fn begin_entry(&self, parent: JobId, record: &FailedRecord, position: u32) -> Result<(), Trouble> {
        let kept = self.shared.store.failed_entry(parent, record.entry)?;
        let FailedEntry { name, shape } = kept.ok_or_else(|| gone(parent))?;
        let shape = EntryShape { entry: position, ..shape };
        let checked = self.run.rule.pipeline.check_shape(&shape);
        checked.map_err(Trouble::from)?;
        let lease = self.shared.resources.memory.waiting.lease(shape.memory_bytes(None));
        let memory = Arc::new(EntryMemory { _lease: lease, _header: None });
        let name = EntryName { position, name };
        self.run.entries.add(LoadedEntry { name, shape: Arc::new(shape), _memory: memory });
        Ok(())
    }

    /// False: the run was stopped.
    fn put(&mut self, draft: Draft) -> Result<bool, Trouble> {
        let slice = draft.slice(self.slices);
        self.slices += 1;
        self.run.note_cut(self.slices);
        let bytes = slice.bytes.len() as u64;
        self.run.progress.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.run.progress.bytes_decoded.fetch_add(bytes, Ordering::Relaxed);
        if slice.number < self.first_slice {
            if let Some(retrace) = &self.retrace {
                retrace.pass_over(slice); // the checkpoint has it
            }
            return Ok(!self.shared.stop.is_asked() && !self.run.is_broken_off());
        }
        meet_checkpoint(self.run, self.retrace.take())?;
        if self.slices == FIRST_SLICES + 1 {
            self.shared.dispatch.slices();
        }
        if !self.run.queue.put_resting(slice, |wait| self.allowance.resting(wait))? {
            return Ok(false);
        }
        let refused = |refusal| DecodeError::not_allowed(&self.shown_path, refusal);
        self.allowance.step().map_err(refused)?;
        if self.slices > FIRST_SLICES {
            self.shared.dispatch.slices();
        }
        Ok(true)
    }
}

/// A slice that is being made.
struct Draft {
    entry: u32,
    first_record: u64,
    offset: u64,
    first_line: u64,
    bytes: Vec<u8>,
    records: Vec<Span>,
}

impl Draft {
    fn begin(record: FailedRecord, entry: u32) -> Self {
        let end = u32::try_from(record.bytes.len()).unwrap_or(u32::MAX);
        Self {
            entry,
            first_record: record.record,
            offset: record.offset,
            first_line: record.line.saturating_sub(1),
            bytes: record.bytes,
            records: vec![Span { start: 0, end }],
        }
    }

    /// Takes the record that stood next to the last one, with what stood between them; else gives it back.
    fn take(&mut self, record: FailedRecord, rule: &Rule) -> Option<FailedRecord> {
        let next = self.first_record + self.records.len() as u64;
        let has_room = self.records.len() < rule.records.slice_records as usize
            && self.bytes.len() + record.bytes.len() <= SLICE_BYTES;
        let end = self.offset + self.bytes.len() as u64;
        let between = between(record.offset.checked_sub(end), rule);
        let Some(between) = between.filter(|_| record.record == next && has_room) else {
            return Some(record);
        };
        let lines = self.bytes.iter().chain(between).filter(|byte| **byte == b'\n').count() as u64;
        if self.first_line + lines + 1 != record.line {
            return Some(record);
        }
        self.bytes.extend_from_slice(between);
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&record.bytes);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.records.push(Span { start, end });
        None
    }

    fn slice(self, number: u64) -> Slice {
        Slice {
            number,
            entry: self.entry,
            first_record: self.first_record,
            offset: self.offset,
            first_line: self.first_line,
            bytes: self.bytes.into(),
            records: self.records,
            skipped: 0,
            oversized: None,
        }
    }
}

/// What ended a record of which the next begins so many bytes behind it.
fn between(gap: Option<u64>, rule: &Rule) -> Option<&[u8]> {
    let separator = rule.records.separator.as_deref().map_or(&b"\n"[..], str::as_bytes);
    match gap {
        Some(0) => None,
        Some(gap) if gap == separator.len() as u64 => Some(separator),
        Some(2) if separator == b"\n" => Some(b"\r\n"),
        _ => None,
    }
}

fn gone(parent: JobId) -> Trouble {
    let message = format!("the failed records of job {parent} that were to be retried are not all there");
    Trouble::new(
        FaultKind::Bug,
        message,
        Some("look into the store with `landfall check --store`, and tell the developers"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    fn record(number: u64, line: u64, offset: u64, text: &str) -> FailedRecord {
        FailedRecord {
            entry: 0,
            entry_name: String::new(),
            record: number,
            offset,
            line,
            step: "step 1, exec".into(),
            error: "refused".into(),
            bytes: text.into(),
            length: text.len() as u64,
        }
    }

    #[test]
    fn records_that_stood_side_by_side_are_one_slice_and_keep_their_places() {
        let world = World::new();
        let rule = world.rule();
        let mut draft = Draft::begin(record(3, 3, 10, "ab"), 0);
        assert!(draft.take(record(4, 4, 13, "cd"), &rule).is_none());
        assert!(draft.take(record(6, 6, 19, "ef"), &rule).is_some(), "one is between");
        assert!(draft.take(record(5, 7, 16, "ef"), &rule).is_some(), "it stood on another line");
        assert!(draft.take(record(5, 5, 17, "ef"), &rule).is_none(), "it had another line end");
        let slice = draft.slice(7);
        assert_eq!(&slice.bytes[..], b"ab\ncd\r\nef");
        let text = |span: &Span| &slice.bytes[span.start as usize..span.end as usize];
        let texts: Vec<_> = slice.records.iter().map(text).collect();
        assert_eq!(texts, [b"ab", b"cd", b"ef"]);
        assert_eq!((slice.number, slice.first_record, slice.offset, slice.first_line), (7, 3, 10, 2));
    }
}
