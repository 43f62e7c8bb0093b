//! Loading: a claimed source becomes slices. One thread per loading job.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use super::collect::Collector;
use super::companions::{bring_companions, take_companions};
use super::dispatch::Seat;
use super::entries::{EntryMemory, LoadedEntry};
use super::load_failed::read_failed;
use super::load_pace::LoadPace;
use super::loading::{FIRST_SLICES, LoadEnd, meet_checkpoint, start_retrace};
use super::rule_book::ReadyRule;
use super::rule_to_go_by::{go_over, rule_for};
use super::run::Run;
use super::run_state::Loaded;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::source;
use super::trouble::{Reaction, Trouble, guard};
use super::{delivery, held_records, hours, order, resend, retrieval, sequence, totals};
use crate::allowance::{Allowance, Refusal};
use crate::clock;
use crate::decode::{DecodeError, DecodeRequest, Decoder, Skipped};
use crate::model::fault::FaultKind;
use crate::model::job::{HeldRecords, Job, RESTARTED};
use crate::model::job_id::JobId;
use crate::model::job_state::{JobEvent, JobState};
use crate::model::os_text::escaped;
use crate::model::rule::LastLine;
use crate::model::slice::{EntryShape, Slice};
use crate::output::EntryName;
use crate::pipeline::Resemblance;
use crate::record::{CutError, Cutter};
use crate::store::Checkpoint;
use crate::telemetry::events;

/// How long a suspect waits for another.
const SUSPECT_PATIENCE: Duration = Duration::from_millis(100);

/// What an entry takes in the list besides its name, about.
const LISTED_BYTES: u64 = 200;
/// Memory for the list is taken so much at a time.
const LISTED_STEP: u64 = 64 << 10;
/// A header of so many bytes is not counted: most have some hundred.
const HEADER_FREE_BYTES: u64 = 64 << 10;

/// Works a file of one slice where it was read.
pub(super) type WorkHere = fn(&Arc<Shared>, &Arc<Run>);

/// One loader's life: takes queued jobs until the engine stops.
pub(super) fn load_jobs(shared: &Arc<Shared>, seat: &mut Seat, work_here: WorkHere) {
    while let Some(id) = shared.dispatch.next_load(seat) {
        load_job(shared, id, work_here);
    }
}

fn load_job(shared: &Arc<Shared>, id: JobId, work_here: WorkHere) {
    if !shared.dispatch.take_up(id, Stage::Load) {
        return shared.dispatch.not_run(id); // a stage has it in its hands, and gives it on
    }
    let begun = guard("start", || begin(shared, id));
    if !matches!(begun, Ok(Begun::Running(_))) {
        shared.footprints.in_hand.clear(id);
        shared.dispatch.not_run(id);
    }
    match begun {
        Ok(Begun::Running(run)) => load_run(shared, &run, work_here), // the finisher puts it down
        Ok(Begun::NothingToDo) => shared.dispatch.put_down(id),
        Ok(Begun::Later { owner, pause }) => {
            shared.dispatch.put_down(id);
            shared.dispatch.queue_after(Stage::Load, &owner, pause, id);
        }
        Ok(Begun::OutsideWindow { owner, pause }) => {
            shared.dispatch.put_down(id);
            hours::queue_for_opening(shared, &owner, pause, id);
        }
        Err(trouble) => {
            shared.job_hindered(id, Stage::Load, trouble);
            shared.dispatch.put_down(id); // the row is written: whoever takes it up next finds it
        }
    }
}

/// What became of a job that was taken up.
enum Begun {
    Running(Arc<Run>),
    NothingToDo,
    /// It is taken up again after a pause.
    Later {
        owner: Owner,
        pause: Duration,
    },
    /// The same, unless its window opens before.
    OutsideWindow {
        owner: Owner,
        pause: Duration,
    },
}

/// Writes down that a job is in hand, and begins it.
fn begin(shared: &Arc<Shared>, id: JobId) -> Result<Begun, Trouble> {
    let Some(job) = shared.store.job(id)?.filter(|job| !job.state.is_final()) else {
        return Ok(Begun::NothingToDo);
    };
    let is_paused = job.state == JobState::Paused || shared.operator.halts.now().pause_of(&job).is_some();
    if !job.is_failing() && is_paused {
        sequence::put_down(shared, id);
        return Ok(Begun::NothingToDo); // queued again when that is lifted
    }
    if !job.is_failing()
        && let Some(pause) = hours::wait_for(shared, &job)?
    {
        sequence::put_down(shared, id);
        return Ok(Begun::OutsideWindow { owner: Owner::of(&job), pause });
    }
    if !job.is_failing() && held_records::still_wait(&shared.store, &job)? {
        return Ok(Begun::NothingToDo); // queued again with the next word about one
    }
    if !job.is_failing() && !sequence::begins(shared, &job)? {
        return Ok(Begun::NothingToDo); // queued again when its turn has come
    }
    if !shared.footprints.in_hand.take(id, job.state.deaths().is_some()) {
        // It may be what ended the process before, and so may another that is in hand.
        return Ok(Begun::Later { owner: Owner::of(&job), pause: SUSPECT_PATIENCE });
    }
    Ok(begin_job(shared, job)?.map_or(Begun::NothingToDo, Begun::Running))
}

/// Makes a queued job a run. None: there is nothing to load, or the engine stops.
fn begin_job(shared: &Arc<Shared>, mut job: Job) -> Result<Option<Arc<Run>>, Trouble> {
    let id = job.id;
    if job.is_failing() {
        return Ok(None); // a finisher ends it
    }
    if !retrieval::is_here(shared, &mut job)? {
        return Ok(None);
    }
    let waited_for_settling = job.waits_for_settling() && !job.waits_for_records();
    let goes_on = held_records::take_decided(&mut job);
    bring_companions(&shared.store, &mut job)?;
    take_companions(&job)?;
    shared.claims.unsynced.sync(&job)?;
    let was_held = job.state == JobState::Held;
    let held_for = job.waiting.as_ref().filter(|_| was_held).map(|waiting| waiting.waits_for);
    match job.state.get() {
        JobState::Queued => {}
        JobState::Held => job.take(JobEvent::Mended, clock::now(), goes_on)?,
        JobState::Running => job.take(JobEvent::Recovered, clock::now(), RESTARTED)?,
        JobState::Paused => return Ok(None),
        other => {
            tracing::warn!(job = %id, state = %other, "not loaded: it is neither queued nor held");
            return Ok(None);
        }
    }
    // What was decided on its records is about records as its own rule cuts them.
    let held_for = held_for.filter(|_| job.held_records == HeldRecords::default());
    let (rule, left) = rule_for(shared, &job, held_for)?;
    if waited_for_settling && resend::is_still_held(shared, &rule.rule, &job)? {
        return Ok(None);
    }
    if let Some(earlier) = delivery::earlier(shared, &rule.rule, &job)? {
        delivery::wait_for(shared, id, &earlier)?;
        sequence::put_down(shared, id); // the earlier one may be behind it
        return Ok(None);
    }
    let goals = || rule.goals.of_job(&rule.rule, &job);
    shared.resources.disk_space.check_start(&rule, goals)?; // before its partials, which would land beside a mount that is away
    if let Some(left) = left {
        go_over(shared, &mut job, &left, &rule)?;
    }
    // In hand when the service died before its start was durable: `recover` counted that as an attempt.
    let restarted = job.started_at.is_some() || job.attempts > 0 || job.epoch != shared.store.epoch();
    let checkpoint = if restarted { shared.store.checkpoint(id)? } else { None };
    let checkpoint = checkpoint.filter(|point| !is_left_behind(shared, &rule, id, point));
    // A node that had the job before may write into its partials still: they are not gone on with.
    let checkpoint = checkpoint.filter(|_| job.epoch == shared.store.epoch());
    job.epoch = shared.store.epoch();
    let resumable_at = checkpoint.as_ref().map_or(0, |point| point.next_slice);
    job.take(JobEvent::Started, clock::now(), "")?;
    job.attempts += u32::from(!was_held);
    job.error = None;
    job.resumable = rule.outputs.resumable();
    let collector = Collector::begin(&shared.store, &rule, &job, restarted, checkpoint)?;
    job.resumed_at_slice = collector.next_slice();
    job.resumed_at_record = collector.records_in();
    job.throughput.begin(job.resumed_at_record, job.started_at, clock::now());
    job.records_again += shared.footprints.reach.of(id).saturating_sub(collector.records_in());
    if resumable_at > 0 && job.resumed_at_slice == 0 {
        tracing::info!(job = %id, "the checkpoint cannot be used: the job starts from its first slice");
    }
    let decisions = held_records::decisions(&shared.store, &job)?;
    shared.save(&job)?;
    shared.footprints.reach.note(id, collector.records_in());
    events::started(&job);
    let queue =
        shared.store.slice_queue(Arc::clone(&shared.resources.memory.waiting), shared.service.load_ahead);
    let (memory, reach) = (&shared.resources.memory, &shared.footprints.reach);
    let run = Arc::new(Run::new(memory, reach, job, rule, queue, collector, decisions));
    let workers_max = run.row().workers_max as usize;
    shared.dispatch.limit_job(id, Some(workers_max).filter(|max| *max > 0));
    shared.dispatch.begin_run(&run.owner, Arc::clone(&run));
    if shared.stop.is_asked() {
        run.queue.stop(); // the stop came before the run could be told of it
    }
    // Nor could it be told of a pause.
    if let Err(trouble) = order::set_back_paused(shared, std::slice::from_ref(&run)) {
        run.break_off(trouble);
    }
    Ok(Some(run))
}

fn load_run(shared: &Arc<Shared>, run: &Arc<Run>, work_here: WorkHere) {
    let pace = LoadPace::new(shared, run);
    let order = u128::from_be_bytes(run.id.to_bytes()); // the oldest job comes first
    let allowance = Allowance::new(
        &shared.resources.memory.reading,
        order,
        Box::new(pace),
        run.rule.rule.decode.time_max,
    );
    let of_parent = run.with_row(|job| job.parent.zip(job.retries.as_ref().map(|retries| retries.act)));
    let read = || match of_parent {
        Some(records) => read_failed(shared, run, &allowance, records),
        None => read_source(shared, run, &allowance),
    };
    match run.guard("load", read) {
        Ok(LoadEnd::Complete) => {
            run.queue.end();
            if run.loaded().is_some_and(|loaded| loaded.slices <= FIRST_SLICES) {
                work_here(shared, run);
            }
        }
        Ok(LoadEnd::Stopped) => {}
        // It was told to stop, in the middle of a block.
        Err(trouble) if shared.stop.is_asked() && !trouble.is_poisoned() => {
            tracing::debug!(job = %run.id, error = %trouble.error, "not read on");
        }
        Err(trouble) => run.break_off(trouble),
    }
    run.loading_ended();
    shared.settle(run);
}

/// Counts what is kept of each entry.
struct Listed<'a> {
    allowance: &'a Arc<Allowance>,
    /// Bytes of the list that are taken, and not used yet.
    left: u64,
}

impl<'a> Listed<'a> {
    fn new(allowance: &'a Arc<Allowance>) -> Self {
        Self { allowance, left: 0 }
    }

    /// Memory for an entry of this shape, which comes behind `last`.
    fn take(
        &mut self,
        shared: &Shared,
        run: &Run,
        shape: &EntryShape,
        last: Option<&EntryShape>,
    ) -> Result<EntryMemory, Refusal> {
        let bytes = shape.memory_bytes(last);
        // The list is for the job's row, whose JSON is made of it.
        let listed = LISTED_BYTES + 2 * shape.name.len() as u64;
        if listed > self.left && (last.is_some() || listed > LISTED_STEP) {
            let step = listed.max(LISTED_STEP);
            run.keep_listed(self.allowance.take("the list of its entries", step)?);
            self.left += step;
        }
        self.left = self.left.saturating_sub(listed);
        // Each output has a copy of the header while the entry is written.
        let copies = 1 + run.rule.pipeline.categories().len() as u64;
        let own_header = shape.header.as_ref().filter(|header| {
            !last.and_then(|last| last.header.as_ref()).is_some_and(|last| Arc::ptr_eq(last, header))
        });
        let header = bytes + own_header.map_or(0, |header| header.len() as u64 * copies);
        let header = (header > HEADER_FREE_BYTES)
            .then(|| self.allowance.take_passing("the columns of its entries", header))
            .transpose()?;
        Ok(EntryMemory {
            _lease: shared.resources.memory.waiting.lease(bytes + LISTED_BYTES),
            _header: header,
        })
    }
}

/// The source, and whether it is held for this job. Who stands aside keeps it open, wherever it goes meanwhile.
fn open_source(shared: &Shared, run: &Run, job: &Job) -> Result<(File, bool), Trouble> {
    let failed = |source| DecodeError::Read { path: job.source.path.as_path().to_owned(), source };
    let held = || shared.claims.held.open(&job.source.identity);
    let (file, is_held) = match held() {
        Some(file) => (file.map_err(failed)?, true),
        None => match (source::open_source(job), held()) {
            (Err(_), Some(file)) => (file.map_err(failed)?, true), // it was taken away meanwhile
            (file, _) => (file?, false),
        },
    };
    if shared.publishing.aside.is_some() {
        run.source.set(file.try_clone().map_err(failed)?).ok(); // it is loaded once
    }
    Ok((file, is_held))
}

fn read_source(shared: &Shared, run: &Run, allowance: &Arc<Allowance>) -> Result<LoadEnd, Trouble> {
    let job = run.row();
    let shown_path = job.source.path.as_path().to_owned();
    let (file, is_held) = open_source(shared, run, &job)?;
    let (identities, passphrase_file) = (run.rule.identities(&job)?, run.rule.passphrase_file(&job)?);
    let signers = run.rule.signers(&job)?;
    let rule = &run.rule.rule;
    // What lay beside it went with it.
    let said = if is_held { totals::Said::default() } else { totals::read(rule, &job)? };
    let request = DecodeRequest {
        shown_path: &shown_path,
        decode: &rule.decode,
        records: &rule.records,
        identities: &identities,
        passphrase_file: passphrase_file.as_deref(),
        signers: &signers,
        spool_dir: &shared.spool_dir(),
        progress: Arc::clone(&run.progress),
        allowance: Arc::clone(allowance),
    };
    let mut decoder = Decoder::open(file, &request)?;
    let first_slice = job.resumed_at_slice;
    let mut retrace = if first_slice > 0 { Some(start_retrace()?) } else { None };
    let mut slices = 0;
    let mut tally = Tally::default();
    let mut position = 0;
    let mut first_header: Option<Arc<Vec<u8>>> = None;
    let mut listed = Listed::new(allowance);
    let mut last_shape: Option<Arc<EntryShape>> = None;
    let misfit =
        |resembles, trouble| run.rule.fit.judge(&shared.store, &job, rule.sequence, resembles, trouble);
    while let Some(entry) = decoder.next_entry()? {
        let name = EntryName { position, name: entry.name.clone() };
        let shown_name = escaped(name.name.as_os_str());
        let explain = |error| match error {
            CutError::Read(error) => Trouble::from(DecodeError::from_io(error, &shown_path)),
            CutError::MissingColumns { resembles, .. } => misfit(resembles, error.into()),
            other => Trouble::from(other),
        };
        let mut cutter = Cutter::new(entry.text, &rule.records, &rule.decode, position, shown_name, slices)?
            .with_allowance(allowance);
        let mut shape = cutter.shape().map_err(explain)?;
        if let Some(last) = &last_shape {
            shape.share_with(last);
        }
        let memory = listed.take(shared, run, &shape, last_shape.as_deref());
        let memory = memory.map_err(|refusal| DecodeError::not_allowed(&shown_path, refusal))?;
        let shape = Arc::new(shape);
        last_shape = Some(Arc::clone(&shape));
        let is_without_header = shape.columns.is_none() && cutter.has_header();
        if !is_without_header {
            // An empty entry has no columns to miss.
            let checked = run.rule.pipeline.check_shape(&shape);
            checked.map_err(|missing| misfit(missing.resembles(), missing.into()))?;
            if shape.header.is_some() {
                shared.rule_fits(&run.rule);
            }
        }
        check_header(run, &shape, &mut first_header)?;
        let entry_name = shape.name.clone();
        run.entries.add(LoadedEntry { name, shape, _memory: Arc::new(memory) });
        while let Some(slice) = cutter.next_slice().map_err(explain)? {
            slices += 1;
            run.note_cut(slices);
            if slice.number < first_slice {
                if shared.stop.is_asked() || run.is_broken_off() {
                    return Ok(LoadEnd::Stopped);
                }
                if let Some(retrace) = &retrace {
                    retrace.pass_over(slice); // the checkpoint has it
                }
                continue;
            }
            meet_checkpoint(run, retrace.take())?;
            if slice.number == 0 {
                meet_columns(shared, run, &slice, &entry_name);
            }
            if slices == FIRST_SLICES + 1 {
                shared.dispatch.slices(); // this one may have to wait for the memory of those before it
            }
            if !run.queue.put_resting(slice, |wait| allowance.resting(wait))? {
                return Ok(LoadEnd::Stopped);
            }
            allowance.step().map_err(|refusal| DecodeError::not_allowed(&shown_path, refusal))?;
            if slices > FIRST_SLICES {
                shared.dispatch.slices();
            }
        }
        tally.add(&cutter, position, &entry_name, rule.ready.last_line)?;
        position += 1;
    }
    meet_checkpoint(run, retrace.take())?;
    let mut counts = decoder.finish()?;
    tell_skipped(job.id, &counts.skipped);
    counts.characters_replaced += tally.characters_replaced;
    let Some(announced) = totals::measure(said, &job, &|| shared.stop.is_asked() || run.is_broken_off())?
    else {
        return Ok(LoadEnd::Stopped);
    };
    let Tally { lines_skipped, unterminated, .. } = tally;
    tell_unterminated(&job, &unterminated);
    run.set_loaded(Loaded { slices, lines_skipped, unterminated, decoded: counts, announced });
    Ok(LoadEnd::Complete)
}

fn tell_unterminated(job: &Job, entries: &[u32]) {
    if !entries.is_empty() {
        events::unterminated(job);
    }
}

/// What cutting tells of entries, besides their records.
#[derive(Default)]
struct Tally {
    lines_skipped: u64,
    characters_replaced: u64,
    /// Positions of entries whose last record has no line end.
    unterminated: Vec<u32>,
}

impl Tally {
    /// An entry is at its end.
    fn add<R: Read>(
        &mut self,
        cutter: &Cutter<R>,
        position: u32,
        entry: &str,
        last_line: LastLine,
    ) -> Result<(), Trouble> {
        if cutter.is_unterminated() {
            if last_line == LastLine::Complete {
                return Err(cut_off(entry));
            }
            self.unterminated.push(position);
        }
        self.lines_skipped += cutter.lines_skipped();
        self.characters_replaced += cutter.characters_replaced();
        Ok(())
    }
}

/// The first records of jsonl: whether they have the columns that the rule names.
fn meet_columns(shared: &Shared, run: &Run, slice: &Slice, entry: &str) {
    match run.rule.pipeline.resemblance(slice, entry) {
        Resemblance::Unknown => {}
        Resemblance::Fits => shared.rule_fits(&run.rule),
        Resemblance::Misspelt(missing) => run.set_misspelt(missing),
    }
}

/// Once for a job, whatever their number: `show` has the list.
fn tell_skipped(job: JobId, skipped: &[Skipped]) {
    let is_special = |member: &&Skipped| member.reason != "hidden";
    let special = skipped.iter().filter(is_special).count();
    if let Some(first) = skipped.iter().find(is_special) {
        let first = format!("{} ({})", escaped(first.name.as_os_str()), first.reason);
        tracing::warn!(%job, members = special, first, "members of the archive that are no files were passed over");
    }
    if special < skipped.len() {
        tracing::info!(%job, members = skipped.len() - special, "hidden members of the archive were passed over");
    }
}

/// One output of several entries has one header.
fn check_header(
    run: &Run,
    shape: &EntryShape,
    first_header: &mut Option<Arc<Vec<u8>>>,
) -> Result<(), Trouble> {
    let Some(header) = &shape.header else { return Ok(()) };
    let first = first_header.get_or_insert_with(|| Arc::clone(header));
    let differs = run.rule.outputs.merges_entries() && first != header;
    if differs { Err(differing_header(&shape.name)) } else { Ok(()) }
}

/// The rest may still come: the file goes back to wait, once.
fn cut_off(entry: &str) -> Trouble {
    let of = if entry.is_empty() { String::new() } else { format!(" of {entry}") };
    let message = format!("the last record{of} has no line end: it was cut off");
    let hint =
        "have the file sent again; if this sender never ends its last line, set `ready.last_line = \"any\"`";
    Trouble::new(FaultKind::Input, message, Some(hint)).with(Reaction::GiveBack)
}

fn differing_header(entry: &str) -> Trouble {
    let message = format!("the header of entry `{entry}` differs from that of the first entry");
    let hint = "give each entry an output of its own with {entry} in every output's path, or take entries of one kind with `decode.entries`";
    Trouble::new(FaultKind::Input, message, Some(hint))
}

/// Whether a checkpoint's partials lie on a mount that is away, and an operator let the rule go on without it: nothing of the job is out.
fn is_left_behind(shared: &Shared, rule: &ReadyRule, id: JobId, point: &Checkpoint) -> bool {
    let disk_space = &shared.resources.disk_space;
    let mut paths = point.partials.iter().map(|partial| &partial.hidden.path);
    let left = paths.find(|path| disk_space.is_left_behind(rule, path.as_path()));
    if let Some(path) = left {
        tracing::warn!(job = %id, %path, "the job starts from its first record: its rule goes on without the mount that its hidden output lies on");
    }
    left.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::content::Retrace;
    use crate::engine::tests::World;
    use crate::engine::work::work_here;

    #[test]
    fn a_file_of_one_slice_is_read_and_worked_by_its_loader_alone() {
        let world = World::new();
        std::fs::write(world.source(), "1\n2\n").expect("writes");
        let run = world.unread_run();
        load_run(&world.shared, &run, work_here);
        assert!(run.trouble().is_none() && run.is_settled());
        let loaded = run.loaded().expect("it is read to its end");
        assert_eq!((loaded.slices, loaded.unterminated.len()), (1, 0));
        assert_eq!(run.with_collector(|collector| collector.records_in()), Some(2));
    }

    #[test]
    fn a_job_that_fails_is_not_begun_again_whoever_asks_for_it() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.fail(Trouble::new(FaultKind::Bug, "an internal error", None).error).expect("is queued");
        world.shared.save(&job).expect("writes");
        load_job(&world.shared, job.id, work_here);
        assert_eq!(world.row(&job), Some(job));
    }

    #[test]
    fn of_a_job_that_has_ended_nothing_is_touched_whoever_asks_for_it() {
        let world = World::new();
        let mut job = world.job(); // its file was not renamed: of one that goes on, the row would go
        job.abort(clock::now(), "root").expect("is queued");
        job.end_failing(clock::now()).expect("ends");
        world.shared.save(&job).expect("writes");
        load_job(&world.shared, job.id, work_here);
        assert_eq!(world.row(&job), Some(job));
    }

    #[test]
    fn a_source_that_is_not_what_was_claimed_is_not_read() {
        let world = World::new();
        let run = world.unread_run();
        std::fs::write(world.claimed(), "1\n2\n").expect("its sender still had it open");
        load_run(&world.shared, &run, work_here);
        assert_eq!(run.trouble().map(|trouble| trouble.reaction.clone()), Some(Reaction::GiveBack));
        assert!(run.loaded().is_none() && run.is_settled());
    }

    #[test]
    fn a_last_line_without_its_end_is_waited_for_only_where_the_rule_says_so() {
        for (rule, waits) in [("complete", true), ("any", false)] {
            let rule =
                format!("source = {{ on_success = \"delete\" }}\nready = {{ last_line = \"{rule}\" }}\n");
            let world = World::with(&rule);
            std::fs::write(world.source(), "1\n2").expect("writes");
            let run = world.unread_run();
            load_run(&world.shared, &run, work_here);
            let is_early = run.trouble().is_some_and(|trouble| trouble.reaction == Reaction::GiveBack);
            assert_eq!(is_early, waits, "{rule}: {:?}", run.trouble());
            assert_eq!(run.loaded().map(|loaded| loaded.unterminated.len()), (!waits).then_some(1));
        }
    }

    #[test]
    fn a_resume_over_other_slices_than_the_checkpoints_starts_over() {
        let world = World::new();
        let run = world.unread_run();
        let mut retrace = Retrace::start().expect("a thread");
        meet_checkpoint(&run, Some(retrace)).expect("nothing was passed over, and nothing is in it");
        retrace = Retrace::start().expect("a thread");
        retrace.pass_over(Slice {
            number: 0,
            entry: 0,
            first_record: 1,
            offset: 0,
            first_line: 0,
            bytes: b"1\n".to_vec().into(),
            records: Vec::new(),
            skipped: 0,
            oversized: None,
            places: Vec::new(),
        });
        let trouble = meet_checkpoint(&run, Some(retrace)).expect_err("the checkpoint has none");
        assert_eq!(trouble.reaction, Reaction::StartOver);
    }
}
