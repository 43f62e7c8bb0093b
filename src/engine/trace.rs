//! Tracing: one record of a job is read from its source again and taken through the steps of the job's own rule, to tell where it went.
//!
//! Slices and steps give the same again for the same content, so that nothing need be written down for it while jobs run. Whether it is the
//! same content is told by its hash. Nothing is changed or written; for a thread of a command.

use std::borrow::Cow;
use std::sync::Arc;

use super::door::{Door, Refusal};
use super::handle::Engine;
use super::retire::is_same_time;
use super::retry::refuse;
use super::rule_book::ReadyRule;
use super::source::{ask_folder, folder_of, out_of_reach};
use super::trouble::{Trouble, guard};
use super::{held_records, rerun};
use crate::allowance::Allowance;
use crate::decode::{DecodeError, DecodeRequest, Decoder};
use crate::durable_fs::Presence;
use crate::model::category::Category;
use crate::model::decisions::Decisions;
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_state::JobState;
use crate::model::os_text::{OsText, escaped};
use crate::model::quoted::shown_beside_the_record;
use crate::model::rule::{Decode, Records, Rule};
use crate::model::settling::Settlement;
use crate::model::slice::{EntryShape, Slice};
use crate::pipeline::{
    self, OPERATOR, PipelineWorker, RecordTrace, Registry, SliceResult, StepOutcome, StepTrace,
};
use crate::record::{CutError, Cutter};

/// Entries that are named where none fits.
const ENTRIES_TOLD_MAX: usize = 20;

/// Which record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its number within its entry, from 1.
    pub record: u64,
    /// The entry's name; none: the only one.
    pub entry: Option<String>,
}

/// What operators decided on failed records of the job before it was worked last ([`super::held_records`]).
#[derive(Debug, Default)]
pub(crate) struct DecisionsRead {
    decisions: Decisions,
    acts: Vec<Settlement>,
}

impl DecisionsRead {
    /// As the job's owner tells it.
    pub(crate) fn of(door: &dyn Door, job: &Job) -> Result<Self, Refusal> {
        let decided = usize::try_from(job.held_records.decided).unwrap_or(usize::MAX);
        if decided == 0 {
            return Ok(Self::default());
        }
        let id = job.id.to_string();
        let acts = door.settlements(&id)?;
        let records = door.records(&id, true).take(decided);
        let places = records.map(|found| found.map(|found| (found.record.entry, found.record.record)));
        Ok(Self { decisions: Decisions::of(places, &acts)?, acts })
    }

    /// A slice as it was worked, where that was not as it was read.
    fn apply(&self, slice: &Slice, records: &Records) -> Result<Option<Slice>, Trouble> {
        let act_at =
            |act| Ok(usize::try_from(act).ok().and_then(|act| self.acts.get(act)).map(Cow::Borrowed));
        let decided = held_records::as_decided(&self.decisions, slice, records, act_at)?;
        Ok(decided.map(|decided| decided.slice))
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Where it was read.
    pub source: OsText,
    /// The name of its entry; empty for a plain file.
    pub entry: String,
    /// The position of its entry within the source, from 0.
    pub entry_position: u32,
    pub record: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Where it begins in the entry's decoded text, in bytes.
    pub offset: u64,
    /// Without its line end; its beginning only, where it is longer than a record may be.
    pub bytes: Vec<u8>,
    /// What the steps that saw it made of it, in their order.
    pub steps: Vec<StepTrace>,
    pub end: TraceEnd,
}

/// Where a record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TraceEnd {
    /// To an output.
    Written {
        category: Category,
        /// As it is written, with its line end.
        bytes: Vec<u8>,
        /// The how manieth record of this category it is; none where steps ask others, and would have to be asked about all records before it.
        position: Option<Position>,
    },
    /// Its step ended and counted it.
    Dropped { step: String },
    /// It is a failed record.
    Failed { step: String, error: String },
}

/// A place among the records of a category, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Of those of its entry.
    pub in_entry: u64,
    /// Of all of them.
    pub in_job: u64,
}

/// Reads a job's source again, under the rule that the job went by, up to `memory_max` bytes of memory, as long as somebody wants to know.
pub(crate) fn trace(
    rule: Rule,
    registry: &Registry,
    memory_max: u64,
    job: &Job,
    asked: &Asked,
    decided: &DecisionsRead,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Trace, Refusal> {
    check_entry(job, asked)?;
    let read = || {
        let source = lies_at(job)?;
        let ready = ReadyRule::build(&Arc::new(rule), registry)?;
        Reading::new(&ready, job, asked, decided, is_wanted).read(&source, registry, memory_max)
    };
    let traced = shown_beside_the_record(|| guard("be traced", read));
    match traced {
        Ok((Some(trace), _)) => Ok(trace),
        Ok((None, records)) => {
            let (entry, record) = (asked.entry.clone(), asked.record);
            Err(Refusal::SourceHasNoRecord { job: job.id, entry, record, records })
        }
        Err(trouble) => Err(Refusal::Fault(trouble.error)),
    }
}

impl Engine {
    /// The same of a job of this engine, by the steps of its stages.
    pub(crate) fn trace(
        &self,
        job: &str,
        asked: &Asked,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<(Job, Trace), Refusal> {
        let stages = self.stages_to_be()?.ok_or(Refusal::NotRunning)?;
        let (found, rule) = (self.show(job)?, self.rule_of(job)?);
        let decided = DecisionsRead::of(self, &found)?;
        let memory_max = stages.service.memory_max;
        let registry = stages.rules.registry();
        let trace = trace(rule, registry, memory_max, &found, asked, &decided, is_wanted)?;
        Ok((found, trace))
    }
}

/// Where the source is, if it is still what the job was made from.
fn lies_at(job: &Job) -> Result<OsText, Trouble> {
    if let (Some(parent), Some(_)) = (job.parent, &job.retries) {
        let message = format!("job {} has failed records of job {parent}, and no source", job.id);
        let hint = format!(
            "`landfall trace {parent} --record N` says what became of a record there, `landfall output {}` what was published of those that were taken again",
            job.id
        );
        return Err(refuse(message, &hint));
    }
    let source = match (job.state.get(), &job.retired_to) {
        (JobState::Completed, _) => rerun::kept_at(job)?,
        (state, Some(quarantined)) if state.is_final() => quarantined.clone(),
        _ => job.source_path().clone(),
    };
    match ask_folder(&source)? {
        Presence::Here(found)
            if found.size == job.source.identity.size && is_same_time(&found, &job.source.identity) =>
        {
            Ok(source)
        }
        Presence::Here(_) => Err(another(job, &source)),
        Presence::FolderAway => Err(out_of_reach(&folder_of(&source))),
        Presence::Gone(_) => {
            let message = format!("the source of job {} is not at {source} any more", job.id);
            Err(refuse(message, "put it back there: a record is traced by reading its source again"))
        }
    }
}

fn another(job: &Job, source: &OsText) -> Trouble {
    let message = format!("what lies at {source} is not what job {} was made from", job.id);
    refuse(message, "put the file of that job there: a record is traced by reading its source again")
}

/// What the job's row tells need not be read.
fn check_entry(job: &Job, asked: &Asked) -> Result<(), Refusal> {
    let mut with_records = job.entries.iter().filter(|entry| entry.skipped.is_none());
    let is_told = match &asked.entry {
        Some(name) => job.entries.is_empty() || job.entries.iter().any(|entry| entry.name == *name),
        None => with_records.by_ref().nth(1).is_none(),
    };
    if is_told {
        return Ok(());
    }
    let mut there: Vec<_> =
        job.entries.iter().take(ENTRIES_TOLD_MAX).map(|entry| format!("`{}`", entry.name)).collect();
    let more = job.entries.len() - there.len();
    there.extend((more > 0).then(|| format!("and {more} more")));
    Err(Refusal::NoSuchEntry { job: job.id, entry: asked.entry.clone(), there })
}

/// The source on its way through the steps.
struct Reading<'a> {
    ready: &'a ReadyRule,
    job: &'a Job,
    asked: &'a Asked,
    decided: &'a DecisionsRead,
    is_wanted: &'a dyn Fn() -> bool,
    worker: PipelineWorker,
    /// Records of each category before the one that is asked for; none where steps ask others.
    before: Option<Vec<Counts>>,
    found: Option<Trace>,
    /// Records of the entries that it may be in.
    records: u64,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    in_entry: u64,
    in_job: u64,
}

impl<'a> Reading<'a> {
    fn new(
        ready: &'a ReadyRule,
        job: &'a Job,
        asked: &'a Asked,
        decided: &'a DecisionsRead,
        is_wanted: &'a dyn Fn() -> bool,
    ) -> Self {
        let mut worker = ready.pipeline.worker(job.id);
        let none = vec![Counts::default(); ready.pipeline.categories().len()];
        let before = Some(none).filter(|_| !worker.asks_others());
        Self { ready, job, asked, decided, is_wanted, worker, before, found: None, records: 0 }
    }

    /// With how many records there are where it was looked for.
    fn read(
        mut self,
        source: &OsText,
        registry: &Registry,
        memory_max: u64,
    ) -> Result<(Option<Trace>, u64), Trouble> {
        let (rule, path) = (&self.ready.rule, source.as_path());
        let failed = |source| DecodeError::Read { path: path.to_owned(), source };
        let spool = registry.temporary_folder().map_err(failed)?;
        let (identities, passphrase_file) =
            (self.ready.identities(self.job)?, self.ready.passphrase_file(self.job)?);
        let allowance = Allowance::alone(memory_max);
        let request = DecodeRequest {
            shown_path: path,
            // Who signed it was seen when it was taken: since then a key may have expired.
            decode: &Decode { require_signed: false, ..rule.decode.clone() },
            records: &rule.records,
            identities: &identities,
            passphrase_file: passphrase_file.as_deref(),
            signers: &[],
            spool_dir: spool.path(),
            progress: Arc::default(),
            allowance: Arc::clone(&allowance),
        };
        let mut decoder = Decoder::open(std::fs::File::open(path).map_err(failed)?, &request)?;
        let (mut position, mut slices) = (0, 0);
        while let Some(entry) = decoder.next_entry()? {
            let name = escaped(entry.name.as_os_str());
            let cutter = Cutter::new(entry.text, &rule.records, &rule.decode, position, name, slices)?;
            slices = self.read_entry(cutter.with_allowance(&allowance), slices, source)?;
            position += 1;
        }
        let content_hash = decoder.finish()?.content_hash;
        if self.job.content_hash.as_ref().is_some_and(|of_job| *of_job != content_hash) {
            return Err(another(self.job, source));
        }
        self.worker.end()?;
        Ok((self.found, self.records))
    }

    /// Reads an entry to its end; how many slices there were so far. What comes behind the record is read for the hash alone.
    fn read_entry<R: std::io::Read>(
        &mut self,
        mut cutter: Cutter<R>,
        mut slices: u64,
        source: &OsText,
    ) -> Result<u64, Trouble> {
        let cut = |error| match error {
            CutError::Read(error) => DecodeError::from_io(error, source.as_path()).into(),
            other => Trouble::from(other),
        };
        let shape = Arc::new(cutter.shape().map_err(cut)?);
        let is_asked = self.asked.entry.as_ref().is_none_or(|name| *name == shape.name);
        for counts in self.before.iter_mut().flatten() {
            counts.in_entry = 0;
        }
        while let Some(slice) = cutter.next_slice().map_err(cut)? {
            slices += 1;
            if !(self.is_wanted)() {
                return Err(refuse("nobody waits for the trace any more".to_owned(), "ask again"));
            }
            if self.found.is_some() {
                continue;
            }
            let records = slice.records.len();
            self.records += if is_asked { records as u64 } else { 0 };
            let index = self.asked.record.checked_sub(slice.first_record).filter(|_| is_asked);
            let decided = self.decided.apply(&slice, &self.ready.rule.records)?;
            let worked = decided.as_ref().unwrap_or(&slice);
            match index.and_then(|index| usize::try_from(index).ok()).filter(|index| *index < records) {
                Some(index) => self.find(&slice, index, worked, &shape, source)?,
                None => self.count(worked, &shape)?,
            }
        }
        Ok(slices)
    }

    /// Counts where the records of a slice go.
    fn count(&mut self, slice: &Slice, shape: &Arc<EntryShape>) -> Result<(), Trouble> {
        if self.before.is_none() {
            return Ok(());
        }
        let result = self.worker.run(slice, shape).or_else(|broken| {
            if broken.holds_job() { Err(broken) } else { self.worker.run_each(slice, shape) }
        })?;
        for (counts, chunk) in self.before.iter_mut().flatten().zip(&result.chunks) {
            counts.in_entry += chunk.records;
            counts.in_job += chunk.records;
        }
        Ok(())
    }

    /// `read`: the slice as it is in the source; `worked`: as it was worked.
    fn find(
        &mut self,
        read: &Slice,
        index: usize,
        worked: &Slice,
        shape: &Arc<EntryShape>,
        source: &OsText,
    ) -> Result<(), Trouble> {
        let place = pipeline::place_of(read, index, &self.ready.rule.records);
        let bytes = pipeline::bytes_of(read, index).to_vec();
        // Without what was dropped it may be at another place.
        let is_before =
            |at: &usize| pipeline::place_of(worked, *at, &self.ready.rule.records).record < place.record;
        let at = (0..worked.records.len()).take_while(is_before).count();
        let front = worked.records.get(..at).unwrap_or_default().to_vec();
        if !front.is_empty() {
            self.count(&Slice { records: front, ..worked.clone() }, shape)?;
        }
        let (steps, end) = match self.decided.decisions.dropped_by(read.entry, place.record) {
            Some(by) => {
                (vec![by_operator(StepOutcome::Dropped, None)], TraceEnd::Dropped { step: by.to_owned() })
            }
            None => self.through_steps(&bytes, worked, at, shape)?,
        };
        self.found = Some(Trace {
            source: source.clone(),
            entry: shape.name.clone(),
            entry_position: shape.entry,
            record: place.record,
            line: place.line,
            offset: place.offset,
            bytes,
            steps,
            end,
        });
        Ok(())
    }

    /// What became of a record, and of what an operator made of it before.
    fn through_steps(
        &mut self,
        read: &[u8],
        worked: &Slice,
        at: usize,
        shape: &Arc<EntryShape>,
    ) -> Result<(Vec<StepTrace>, TraceEnd), Trouble> {
        let RecordTrace { bytes, steps, result, .. } = self.worker.trace(worked, at, shape)?;
        let edited = (bytes != read).then(|| by_operator(StepOutcome::On, Some(bytes)));
        Ok((edited.into_iter().chain(steps).collect(), self.end_of(result)?))
    }

    /// Where the only record of a result went.
    fn end_of(&self, mut result: SliceResult) -> Result<TraceEnd, Trouble> {
        if let Some(failed) = result.failed.pop() {
            return Ok(TraceEnd::Failed { step: failed.step, error: failed.error });
        }
        if let Some(step) = result.account.dropped_by.into_keys().next() {
            return Ok(TraceEnd::Dropped { step });
        }
        let written = result.chunks.into_iter().enumerate().find(|(_, chunk)| chunk.records > 0);
        let (category, chunk) =
            written.ok_or_else(|| Trouble::new(FaultKind::Bug, "the record went nowhere", None))?;
        let name = self.ready.pipeline.categories().get(category).cloned();
        let position = self.before.as_ref().and_then(|before| before.get(category));
        Ok(TraceEnd::Written {
            category: name.unwrap_or_else(Category::main),
            bytes: chunk.bytes,
            position: position
                .map(|before| Position { in_entry: before.in_entry + 1, in_job: before.in_job + 1 }),
        })
    }
}

fn by_operator(outcome: StepOutcome, changed_to: Option<Vec<u8>>) -> StepTrace {
    StepTrace { step: OPERATOR.to_owned(), outcome, changed_to }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::job::Entry;

    fn traced(world: &World, job: &Job, record: u64) -> Result<Trace, Refusal> {
        let rule = Rule::clone(&world.rule());
        let asked = Asked { record, entry: None };
        trace(rule, &Registry::with_builtin_steps(), 1 << 20, job, &asked, &DecisionsRead::default(), &|| {
            true
        })
    }

    fn refused(world: &World, job: &Job, record: u64) -> String {
        traced(world, job, record).expect_err("is refused").to_string()
    }

    /// A claimed source of three records, with its job.
    fn claimed() -> (World, Job) {
        let world = World::with("source = { on_success = \"archive\", archive_dir = \"archive\" }\n");
        std::fs::write(world.source(), "one\ntwo\nthree\n").expect("writes");
        let job = world.job();
        world.rename();
        (world, job)
    }

    #[test]
    fn a_record_is_read_where_the_source_lies_now_and_counted_among_those_of_its_category() {
        let (world, job) = claimed();
        let trace = traced(&world, &job, 2).expect("is there");
        assert_eq!((trace.bytes.as_slice(), trace.line, trace.offset), (&b"two"[..], 2, 4));
        assert_eq!(trace.source.as_path(), world.claimed());
        let position = Some(Position { in_entry: 2, in_job: 2 });
        let end = TraceEnd::Written { category: Category::main(), bytes: b"two\n".to_vec(), position };
        assert_eq!(trace.end, end);
    }

    #[test]
    fn a_trace_stops_where_nobody_waits_for_it_any_more() {
        let (world, job) = claimed();
        let (rule, asked) = (Rule::clone(&world.rule()), Asked { record: 2, entry: None });
        let none = DecisionsRead::default();
        let traced = trace(rule, &Registry::with_builtin_steps(), 1 << 20, &job, &asked, &none, &|| false);
        assert!(traced.expect_err("stops").to_string().contains("nobody waits"));
    }

    #[test]
    fn what_is_not_what_the_job_was_made_from_is_refused_by_its_time_or_its_hash() {
        let (world, mut job) = claimed();
        job.content_hash = Some("blake3:00".to_owned());
        assert!(refused(&world, &job, 2).contains("is not what job"));
        job.content_hash = None;
        traced(&world, &job, 2).expect("nobody knows better");
        std::fs::write(world.claimed(), "other\n").expect("writes");
        assert!(refused(&world, &job, 1).contains("is not what job"));
        crate::durable_fs::remove_file(&world.claimed()).expect("removes");
        assert!(refused(&world, &job, 1).contains("any more"));
    }

    #[test]
    fn a_record_that_is_not_there_and_an_entry_that_is_not_named_are_refused_with_what_there_is() {
        let (world, mut job) = claimed();
        assert!(refused(&world, &job, 4).contains("there are 3"));
        let entry = |name: &str| Entry { name: name.to_owned(), records: 1, ..Entry::default() };
        job.entries = vec![entry("a.csv"), entry("b.csv")];
        assert!(refused(&world, &job, 1).contains("several entries"));
        job.entries.truncate(1);
        let asked = Asked { record: 1, entry: Some("c.csv".to_owned()) };
        let rule = Rule::clone(&world.rule());
        let other = trace(
            rule,
            &Registry::with_builtin_steps(),
            1 << 20,
            &job,
            &asked,
            &DecisionsRead::default(),
            &|| true,
        );
        let other = other.expect_err("is refused");
        assert!(other.to_string().contains("has no entry `c.csv`"), "{other}");
    }
}
