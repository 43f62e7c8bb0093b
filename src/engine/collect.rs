//! Collecting: worked slices, in order, into partials; the account; checkpoints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::content::{ContentHash, SliceHash};
use super::entries::{Entries, LoadedEntry};
use super::rule_book::ReadyRule;
use super::trouble::{Reaction, Trouble};
use crate::model::account::{Account, FailedRecord};
use crate::model::job::{Entry, Job};
use crate::model::job_id::JobId;
use crate::model::quoted::Quoted;
use crate::model::rule::{Limit, OnRecordError, Rule};
use crate::model::slice::EntryShape;
use crate::output::{EncodedChunk, OutputPlan, Partials, PendingSync, remove_partials};
use crate::record::FRAMING_VERSION;
use crate::store::{Checkpoint, FailedEntry, MemoryLease, Store};

/// Decoded bytes between checkpoints. No more slices are taken while so many are collected past one that is not durable yet, so that a
/// resume repeats at most twice as much work, and what is in the workers' hands.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// Slow work is checkpointed by time as well.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// Failed records wait in memory up to so many bytes.
const FAILED_BYTES_MAX: usize = 1 << 20;
/// What a failed record takes besides its bytes, about.
const FAILED_RECORD_BYTES: usize = 256;

/// A slice after the pipeline: what the collector takes.
pub(super) struct WorkedSlice {
    pub number: u64,
    pub entry: u32,
    /// Bytes of text it was cut from.
    pub text_bytes: u64,
    pub hash: SliceHash,
    /// By category position; encoded as far as a worker can.
    pub chunks: Vec<Option<EncodedChunk>>,
    pub account: Account,
    pub failed: Vec<FailedRecord>,
    /// A step broke on it and it was worked record by record.
    pub broken: bool,
    /// The memory that the chunks hold.
    pub lease: MemoryLease,
}

/// A checkpoint that counts once `sync` is done and the row is durable.
pub(super) struct CheckpointOrder {
    pub sync: PendingSync,
    pub checkpoint: Checkpoint,
    pub slices_broken: u64,
}

/// Everything that is finished and waits for its intent.
pub(super) struct Collected {
    pub partials: Partials,
    pub account: Account,
    pub entries: Vec<Entry>,
    pub failed: Vec<FailedRecord>,
    pub first_failed: u64,
    pub slices_broken: u64,
}

/// The account and the partials of a running job.
pub(super) struct Collector {
    store: Store,
    id: JobId,
    rule: Arc<ReadyRule>,
    partials: Partials,
    account: Account,
    entries: Vec<Entry>,
    next_slice: u64,
    /// Of all slices before the next.
    content: ContentHash,
    /// Failed records that are not in the store yet, from position `first_failed` on.
    failed: Vec<FailedRecord>,
    failed_bytes: usize,
    first_failed: u64,
    /// The last entry of which it is kept what its records look like.
    kept_entry: Option<u32>,
    slices_broken: u64,
    /// A slice may be in the partials in part: no checkpoint may name them any more.
    half_done: bool,
    /// Resumed inside an entry, which the partials have not been told of yet.
    reenters: bool,
    bytes_since_checkpoint: u64,
    last_checkpoint: Instant,
}

impl Collector {
    /// Goes on from the job's checkpoint where there is a usable one, else from the first slice. `restarted`: an earlier start may
    /// have left partials and failed records.
    pub(super) fn begin(
        store: &Store,
        rule: &Arc<ReadyRule>,
        job: &Job,
        restarted: bool,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Self, Trouble> {
        let own_key = store.recipient();
        let checkpoint = checkpoint
            .filter(|point| point.framing_version == FRAMING_VERSION && rule.outputs.resumable())
            .and_then(|point| ContentHash::from_text(&point.content).map(|content| (point, content)));
        let plan = Arc::clone(&rule.outputs);
        let source_rule = Arc::clone(&rule.rule);
        let from_first = || (first_checkpoint(job), ContentHash::default());
        let (partials, (checkpoint, content)) = match checkpoint {
            Some((point, content)) => {
                match Partials::resume(Arc::clone(&plan), Arc::clone(&source_rule), job, &point.partials) {
                    Ok(partials) => (partials, (point, content)),
                    Err(error) if error.is_lost_partial() => {
                        tracing::warn!(job = %job.id, %error, "the job starts from its first record: a partial of its checkpoint is lost");
                        (start_over(store, plan, source_rule, job)?, from_first())
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            None if restarted => (start_over(store, plan, source_rule, job)?, from_first()),
            None => (Partials::start(plan, source_rule, job), from_first()),
        };
        let partials = partials.sealed_to(own_key.as_deref())?;
        let reenters = !checkpoint.entries.is_empty();
        if restarted {
            // Failed records past the checkpoint come again.
            store.change().forget_failed_records(job.id, checkpoint.failed_records).apply()?;
        }
        Ok(Self {
            store: store.clone(),
            id: job.id,
            rule: Arc::clone(rule),
            partials,
            account: checkpoint.account,
            entries: checkpoint.entries,
            next_slice: checkpoint.next_slice,
            content,
            failed: Vec::new(),
            failed_bytes: 0,
            kept_entry: None,
            half_done: false,
            first_failed: checkpoint.failed_records,
            slices_broken: job.slices.failed,
            reenters,
            bytes_since_checkpoint: 0,
            last_checkpoint: Instant::now(),
        })
    }

    /// The first slice that is not in the partials.
    pub(super) fn next_slice(&self) -> u64 {
        self.next_slice
    }

    /// The entry that it stands in; nothing before it is asked for any more.
    pub(super) fn first_entry(&self) -> usize {
        self.entries.len().saturating_sub(1)
    }

    /// What the slices before the next were.
    pub(super) fn content(&self) -> &ContentHash {
        &self.content
    }

    /// Records before the next slice.
    pub(super) fn records_in(&self) -> u64 {
        self.account.records_in
    }

    /// The counts as they are now, for those who look at a running job.
    pub(super) fn copy_counts(&self, job: &mut Job) {
        job.account.clone_from(&self.account);
        job.entries.clone_from(&self.entries);
    }

    /// So much is collected past the last checkpoint that was ordered that the next is due.
    pub(super) fn is_far_ahead(&self) -> bool {
        self.bytes_since_checkpoint >= CHECKPOINT_BYTES
    }

    /// Appends the next slice in order.
    pub(super) fn append(&mut self, loaded: &Entries, worked: WorkedSlice) -> Result<(), Trouble> {
        self.half_done = true;
        self.begin_entries(loaded, worked.entry as usize + 1)?;
        for (category, chunk) in worked.chunks.into_iter().enumerate() {
            if let Some(chunk) = chunk {
                self.partials.append(category, chunk)?;
            }
        }
        drop(worked.lease);
        self.account.add(&worked.account);
        if let Some(entry) = self.entries.last_mut() {
            entry.records += worked.account.records_in;
        }
        if !worked.failed.is_empty() {
            self.keep_entry(loaded, worked.entry)?;
        }
        self.failed_bytes +=
            worked.failed.iter().map(|failed| failed.bytes.len() + FAILED_RECORD_BYTES).sum::<usize>();
        self.failed.extend(worked.failed);
        self.slices_broken += u64::from(worked.broken);
        self.next_slice = worked.number + 1;
        self.content.add(worked.hash);
        self.bytes_since_checkpoint += worked.text_bytes;
        check_failed(&self.rule, &self.account, self.failed.last())?;
        if self.failed_bytes > FAILED_BYTES_MAX {
            self.store_failed()?;
        }
        self.half_done = false;
        Ok(())
    }

    /// What failed records of an entry need to be read again.
    fn keep_entry(&mut self, loaded: &Entries, position: u32) -> Result<(), Trouble> {
        if self.kept_entry.replace(position) == Some(position) {
            return Ok(());
        }
        if let Some(LoadedEntry { name, shape, .. }) = loaded.get(position as usize) {
            let entry = FailedEntry { name: name.name, shape: EntryShape::clone(&shape) };
            self.store.change().failed_entry(self.id, position, &entry).apply()?;
        }
        Ok(())
    }

    /// Failed records do not wait in memory for a checkpoint: a resume cuts them back to its checkpoint's count.
    fn store_failed(&mut self) -> Result<(), Trouble> {
        self.store.change().failed_records(self.id, self.first_failed, &self.failed).apply()?;
        self.first_failed += self.failed.len() as u64;
        self.failed.clear();
        self.failed_bytes = 0;
        Ok(())
    }

    /// Between two slices: begins entries that were read to their end.
    pub(super) fn begin_reached(&mut self, loaded: &Entries) -> Result<(), Trouble> {
        let count = loaded.reached();
        if self.half_done || count <= self.entries.len() {
            return Ok(());
        }
        self.half_done = true;
        self.begin_entries(loaded, count)?;
        self.half_done = false;
        Ok(())
    }

    /// Begins the entries up to `count`, those without records too.
    fn begin_entries(&mut self, loaded: &Entries, count: usize) -> Result<(), Trouble> {
        if std::mem::take(&mut self.reenters)
            && let Some(entry) = loaded.get(self.first_entry())
        {
            self.begin_partials(&entry)?;
        }
        if self.entries.len() >= count {
            return Ok(());
        }
        // One at a time, each let go of as soon as the next is begun: there may be any number.
        while self.entries.len() < count
            && let Some(entry) = loaded.get(self.entries.len())
        {
            self.begin_partials(&entry)?;
            let begun = Entry { name: entry.shape.name.clone(), ..Entry::default() };
            self.entries.push(begun);
            loaded.pass_before(self.first_entry());
        }
        Ok(())
    }

    fn begin_partials(&mut self, entry: &LoadedEntry) -> Result<(), Trouble> {
        let categories = 0..self.rule.pipeline.categories().len();
        let headers: Vec<_> =
            categories.map(|category| self.rule.pipeline.header(category, &entry.shape)).collect();
        Ok(self.partials.begin_entry(&entry.name, &headers)?)
    }

    /// By what was collected since the last, or by time; at a stop (`now`) for anything.
    pub(super) fn is_checkpoint_due(&self, now: bool) -> bool {
        let since = self.bytes_since_checkpoint;
        let is_late = now || self.last_checkpoint.elapsed() >= CHECKPOINT_EVERY;
        !self.half_done
            && self.rule.outputs.resumable()
            && (since >= CHECKPOINT_BYTES || (since > 0 && is_late))
    }

    /// A checkpoint, if one is due and the outputs can be continued.
    pub(super) fn checkpoint(&mut self, now: bool) -> Result<Option<CheckpointOrder>, Trouble> {
        if self.is_checkpoint_due(now) { self.make_checkpoint().map(Some) } else { Ok(None) }
    }

    fn make_checkpoint(&mut self) -> Result<CheckpointOrder, Trouble> {
        self.bytes_since_checkpoint = 0;
        self.last_checkpoint = Instant::now();
        let (partials, sync) = self.partials.checkpoint()?;
        self.store_failed()?; // before the checkpoint that counts them
        let checkpoint = Checkpoint {
            framing_version: FRAMING_VERSION,
            next_slice: self.next_slice,
            partials,
            account: self.account.clone(),
            entries: self.entries.clone(),
            failed_records: self.first_failed,
            content: self.content.to_text(),
        };
        Ok(CheckpointOrder { sync, checkpoint, slices_broken: self.slices_broken })
    }

    /// The last one of a run that nobody works for any more, whatever was made and may not have been written; none where nothing is to be kept.
    pub(super) fn last_checkpoint(&mut self) -> Result<Option<CheckpointOrder>, Trouble> {
        let is_any = self.next_slice > 0 && !self.half_done && self.rule.outputs.resumable();
        if is_any { self.make_checkpoint().map(Some) } else { Ok(None) }
    }

    /// All slices are in: begins what entries are left and gives everything away to be published.
    pub(super) fn finish(mut self, loaded: &Entries) -> Result<Collected, Trouble> {
        if let Err(trouble) = self.begin_entries(loaded, usize::MAX) {
            return Err(discard_unless_resumed(&self.store, self.id, trouble, self.partials));
        }
        Ok(Collected {
            partials: self.partials,
            account: self.account,
            entries: self.entries,
            failed: self.failed,
            first_failed: self.first_failed,
            slices_broken: self.slices_broken,
        })
    }

    /// Removes the partials of a job that broke off. What is counted so far is for the job's row, the failed records for the store.
    pub(super) fn discard(self, job: &mut Job) -> Result<(), Trouble> {
        self.store.change().failed_records(job.id, self.first_failed, &self.failed).apply()?;
        job.account = self.account;
        job.entries = self.entries;
        Ok(self.partials.discard()?)
    }
}

/// Removes the partials of a job that was about to be published, unless it is held and goes on from them: it ends, or an operator's word
/// is waited for, or no checkpoint names them. Of a job that ends nobody would look for them again: where they cannot be removed, that
/// holds it instead, and it ends at another try. The next start of one that is held anyway cuts them.
pub(super) fn discard_unless_resumed(
    store: &Store,
    job: JobId,
    trouble: Trouble,
    partials: Partials,
) -> Trouble {
    // Of a store or disk that failed nothing is known before the next start.
    let is_without_checkpoint =
        || !trouble.is_poisoned() && store.checkpoint(job).is_ok_and(|checkpoint| checkpoint.is_none());
    let ends = trouble.error.kind.fails_job()
        || matches!(trouble.reaction, Reaction::Resend(_) | Reaction::HoldRecords);
    if !ends && !is_without_checkpoint() {
        return trouble;
    }
    match partials.discard() {
        Err(error) if ends => error.into(),
        Err(error) => {
            tracing::warn!(%job, %error, "hidden partials of a held job are left behind until it goes on");
            trouble
        }
        Ok(()) => trouble,
    }
}

/// Removes what an earlier start left and cannot be continued.
fn start_over(store: &Store, plan: Arc<OutputPlan>, rule: Arc<Rule>, job: &Job) -> Result<Partials, Trouble> {
    // The old checkpoint first, durably: new partials will have the names that it gives lengths to.
    let decided = job.held_records.decided; // they are of the starts before
    store.change().forget_work(job.id).forget_failed_records(job.id, decided).apply()?;
    store.sync()?;
    remove_partials(&rule, job, &[])?;
    Ok(Partials::start(plan, rule, job))
}

/// Where a job stands before its first slice.
fn first_checkpoint(job: &Job) -> Checkpoint {
    Checkpoint {
        framing_version: FRAMING_VERSION,
        next_slice: 0,
        partials: Vec::new(),
        account: Account::default(),
        entries: Vec::new(),
        failed_records: job.held_records.decided,
        content: ContentHash::default().to_text(),
    }
}

/// Breaks off at the first failed record under `fail`, and as soon as a count in `failed_max` is passed.
fn check_failed(rule: &ReadyRule, account: &Account, last: Option<&FailedRecord>) -> Result<(), Trouble> {
    if account.records_failed == 0 {
        return Ok(());
    }
    let errors = &rule.rule.errors;
    if errors.on_record_error == OnRecordError::Fail {
        let which = last.map_or_else(String::new, |record| {
            // Of a private rule `landfall trace` alone tells it, to who has the key.
            let error = Quoted::new(&*record.error);
            format!(" (record {} on line {}, {}: {error})", record.record, record.line, record.step)
        });
        let hint = "mend the source, or set `errors.on_record_error = \"set_aside\"`";
        return Err(Trouble::of_records(format!("a record failed{which}"), hint));
    }
    match errors.failed_max {
        Limit::Count(max) if account.records_failed > max => Err(too_many_failed(account, errors.failed_max)),
        Limit::Count(_) | Limit::Percent(_) => Ok(()),
    }
}

/// `errors.failed_max` is passed.
pub(super) fn too_many_failed(account: &Account, limit: Limit) -> Trouble {
    let message = format!(
        "{} of {} records failed, more than `errors.failed_max` = {limit}",
        account.records_failed, account.records_in
    );
    let hint = "raise the limit (`errors.failed_max` of the rule) if as many are to be expected; then `landfall retry` takes the job again";
    Trouble::of_records(message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::run::Run;
    use crate::engine::tests::{World, failed, is_there, worked};

    const FAILS: &str = "source = { on_success = \"delete\" }\nerrors = { on_record_error = \"fail\" }\n";
    const FEW: &str = "source = { on_success = \"delete\" }\nerrors = { failed_max = 1 }\n";

    fn append(run: &Run, slice: WorkedSlice) -> Result<(), Trouble> {
        run.with_collector(|collector| collector.append(&run.entries, slice)).expect("it has not broken off")
    }

    #[test]
    fn a_job_breaks_off_at_its_first_failed_record_where_the_rule_says_so_and_names_it() {
        let world = World::with(FAILS);
        let run = world.run();
        append(&run, worked(&run, 0, "a")).expect("is right");
        let append = || append(&run, failed(&run, 1, "too long"));
        let trouble = run.guard("collect", append).expect_err("it failed");
        assert_eq!(trouble.reaction, Reaction::JudgeRecords);
        assert!(trouble.error.message.contains("record 2 on line 2, records: too long"), "{}", trouble.error);
    }

    #[test]
    fn a_job_breaks_off_as_soon_as_more_records_failed_than_may() {
        let world = World::with(FEW);
        let run = world.run();
        append(&run, failed(&run, 0, "too long")).expect("one may");
        append(&run, failed(&run, 1, "too long")).expect_err("two may not");
    }

    #[test]
    fn a_collector_goes_on_from_a_checkpoint_with_what_was_counted_and_failed() {
        let world = World::new();
        let run = world.run();
        append(&run, worked(&run, 0, "a")).expect("is right");
        append(&run, failed(&run, 1, "too long")).expect("is set aside");
        let order = run.with_collector(|collector| collector.checkpoint(true)).expect("it runs");
        let order = order.expect("is made").expect("is due");
        order.sync.sync().expect("is durable");
        append(&run, worked(&run, 2, "lost with the process")).expect("is right");
        let job = run.row();
        let store = &world.shared.store;
        let resumed =
            Collector::begin(store, &run.rule, &job, true, Some(order.checkpoint)).expect("goes on");
        assert_eq!((resumed.next_slice(), resumed.records_in()), (2, 2));
        assert_eq!(store.failed_records_count(job.id).expect("reads"), 1);
    }

    #[test]
    fn a_job_that_breaks_off_leaves_no_partials_and_keeps_its_counts_and_failed_records() {
        let world = World::new();
        let run = world.run();
        append(&run, worked(&run, 0, "a")).expect("is right");
        append(&run, failed(&run, 1, "too long")).expect("is set aside");
        let mut job = run.row();
        run.take_collector().expect("it has one").discard(&mut job).expect("removes");
        assert_eq!((job.account.records_in, job.account.records_failed), (2, 1));
        assert_eq!(world.shared.store.failed_records_count(job.id).expect("reads"), 1);
        assert!(!is_there(&world.path(&format!("out/.landfall-{}-0.partial", job.id))));
    }
}
