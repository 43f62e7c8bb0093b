//! Loading of failed records that are retried: from the store, where another job set them aside.
//!
//! They keep their numbers, lines and places in their entries. A slice holds those of one entry, however far apart they stood: their outputs
//! are written, and compressed, as those of any file.

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
use crate::model::account::{FailedRecord, RecordBytes};
use crate::model::fault::FaultKind;
use crate::model::job_id::JobId;
use crate::model::settling::Settled;
use crate::model::slice::{EntryShape, RecordPlace, Slice, Span};
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
        entries: 0,
        shown_path,
    };
    let slice_records = run.rule.rule.records.slice_records;
    let mut entry: Option<(u32, u32)> = None; // of the parent, and which it is here
    let mut draft: Option<Draft> = None;
    let mut found = 0;
    for (number, record) in (1u64..).zip(shared.store.failed_records(parent)) {
        let mut record = record?;
        if !settlement.records.contains(number) {
            continue;
        }
        found += 1;
        if let Settled::Retried { edited: Some(RecordBytes(edited)), .. } = &settlement.how {
            record.bytes.clone_from(edited); // the only one
        }
        let position =
            entry.filter(|(of_parent, _)| *of_parent == record.entry).map(|(_, position)| position);
        let is_full = |draft: &mut Draft| position.is_none() || !draft.has_room(&record, slice_records);
        if let Some(full) = draft.take_if(is_full)
            && !loading.put(full)?
        {
            return Ok(LoadEnd::Stopped);
        }
        let position = match position {
            Some(position) => position,
            None => loading.begin_entry(parent, &record)?,
        };
        entry = Some((record.entry, position));
        draft.get_or_insert_with(|| Draft::of(position)).take(&record);
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
    /// That were begun.
    entries: u32,
    shown_path: std::path::PathBuf,
}

impl Loading<'_> {
    fn begin_entry(&mut self, parent: JobId, record: &FailedRecord) -> Result<u32, Trouble> {
        let position = self.entries;
        self.entries += 1;
        let kept = self.shared.store.failed_entry(parent, record.entry)?;
        let FailedEntry { name, shape } = kept.ok_or_else(|| gone(parent))?;
        let shape = EntryShape { entry: position, ..shape };
        let checked = self.run.rule.pipeline.check_shape(&shape);
        checked.map_err(Trouble::from)?;
        let lease = self.shared.resources.memory.waiting.lease(shape.memory_bytes(None));
        let memory = Arc::new(EntryMemory { _lease: lease, _header: None });
        let name = EntryName { position, name };
        self.run.entries.add(LoadedEntry { name, shape: Arc::new(shape), _memory: memory });
        Ok(position)
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
    bytes: Vec<u8>,
    records: Vec<Span>,
    places: Vec<RecordPlace>,
}

impl Draft {
    fn of(entry: u32) -> Self {
        Self { entry, bytes: Vec::new(), records: Vec::new(), places: Vec::new() }
    }

    fn has_room(&self, record: &FailedRecord, slice_records: u32) -> bool {
        self.records.is_empty()
            || self.records.len() < slice_records as usize
                && self.bytes.len() + record.bytes.len() <= SLICE_BYTES
    }

    fn take(&mut self, record: &FailedRecord) {
        let FailedRecord { record: number, offset, line, ref bytes, .. } = *record;
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(bytes);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.push(b'\n');
        self.records.push(Span { start, end });
        self.places.push(RecordPlace { record: number, offset, line });
    }

    fn slice(self, number: u64) -> Slice {
        let first = self.places.first();
        Slice {
            number,
            entry: self.entry,
            first_record: first.map_or(1, |place| place.record),
            offset: first.map_or(0, |place| place.offset),
            first_line: first.map_or(0, |place| place.line.saturating_sub(1)),
            bytes: self.bytes.into(),
            records: self.records,
            skipped: 0,
            oversized: None,
            places: self.places,
        }
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
    fn records_from_anywhere_in_an_entry_are_one_slice_and_keep_their_places() {
        let mut draft = Draft::of(2);
        let records = [record(3, 3, 10, "ab"), record(7, 9, 41, "c\nd"), record(8, 11, 45, "")];
        for (taken, record) in records.iter().enumerate() {
            assert!(draft.has_room(record, 3) && (taken == 0 || !draft.has_room(record, taken as u32)));
            draft.take(record);
        }
        assert!(!draft.has_room(&record(9, 12, 46, &"x".repeat(SLICE_BYTES)), 1000), "too much text");
        let slice = draft.slice(7);
        assert_eq!(&slice.bytes[..], b"ab\nc\nd\n\n");
        let text = |span: &Span| &slice.bytes[span.start as usize..span.end as usize];
        assert_eq!(slice.records.iter().map(text).collect::<Vec<_>>(), [&b"ab"[..], b"c\nd", b""]);
        let places: Vec<_> = slice.places.iter().map(|at| (at.record, at.line, at.offset)).collect();
        assert_eq!(places, [(3, 3, 10), (7, 9, 41), (8, 11, 45)]);
        assert_eq!((slice.number, slice.entry, slice.record_number(1)), (7, 2, 7));
    }
}
