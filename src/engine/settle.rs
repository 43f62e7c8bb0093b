//! What an operator decides on failed records: they are given up, or taken again, by a job of their own where theirs is completed, and with
//! it where it waits for them.
//!
//! ```text
//!  decided, one at a time, from what was decided before -> one batch: the act, and with a retry the new job -> the store is synced
//!  the new job's end -> the same batch: its row, and how the act ended
//!  of a job that waits for them: the act -> the store is synced -> a loader looks whether all are decided on
//! ```
//!
//! A failed record stays where it was written; acts beside it say what became of it. So a crash leaves it with one of the two: still among the
//! failed ones, or decided. A job that takes records again and publishes nothing gives them back with its last row. The account of the first job
//! is moved when it is shown ([`settling::tell`]): nobody who writes its row can undo an act.

use std::sync::Arc;

use super::child;
use super::handle::InHand;
use super::retry::{current_rule, known, refuse};
use super::rule_book::stored;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock::{self, JobIds};
use crate::model::account::{FailedRecord, RecordBytes};
use crate::model::delivery::Delivery;
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Retries};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::privacy::Privacy;
use crate::model::rule::Rule;
use crate::model::settling::{self, EDITED_BYTES_MAX, Numbers, Retry, Settled, Settlement};
use crate::model::slice::EntryShape;
use crate::pipeline::BEFORE_STEPS_NAME;
use crate::record;
use crate::store::{LedgerOutcome, LedgerRow, Store};
use crate::telemetry::events;

/// Gives failed records up; all that are left where no numbers are given.
pub(super) fn give_up(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    numbers: Option<&Numbers>,
    reason: &str,
    by: &str,
) -> Result<JobId, Trouble> {
    let how = Settled::Dropped { reason: reason.to_owned() };
    let done = |job: &Job| {
        let _deciding = store.settling();
        check(job)?;
        let acts = store.settlements(id)?;
        let records = chosen(store, id, &acts, numbers)?;
        let act = Settlement { at: clock::now(), by: by.to_owned(), records, how };
        store.change().settlement(id, acts.len() as u64, &act).apply()?;
        store.sync()?;
        events::records_dropped(job, &act.records, reason, by);
        Ok(())
    };
    if known(store, id)?.waits_for_records() {
        return decide(store, stages, id, done);
    }
    with_stages(stages, known(store, id).and_then(|job| done(&job)))?;
    Ok(id)
}

/// Decides on records of a job that waits for them, while no stage has it. Once all are decided on, it goes on.
fn decide(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    act: impl FnOnce(&Job) -> Result<(), Trouble>,
) -> Result<JobId, Trouble> {
    let in_hand = stages.map(|shared| InHand::take(shared, id)).transpose()?;
    let decided = known(store, id).and_then(|job| act(&job).map(|()| job));
    let job = with_stages(stages, decided)?;
    drop(in_hand);
    if let Some(shared) = stages {
        shared.dispatch.queue(Stage::Load, &Owner::of(&job), id); // the loader sees whether any is left
    }
    Ok(id)
}

/// What is to be taken again.
pub(super) struct Asked<'a> {
    /// None: all that are left, and can be.
    pub numbers: Option<&'a Numbers>,
    /// What an operator made of the only one.
    pub edited: Option<&'a RecordBytes>,
    pub by: &'a str,
}

/// Has failed records taken again, by a job of their own, or with the job that waits for them; which job that is.
pub(super) fn retry(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    rules: &[Rule],
    id: JobId,
    asked: &Asked<'_>,
) -> Result<JobId, Trouble> {
    if known(store, id)?.waits_for_records() {
        return decide(store, stages, id, |job| take_again(store, job, asked));
    }
    child::begin(store, stages, rules, |rules, ids| new_job(store, rules, ids, id, asked))
}

/// Refuses what giving these up would refuse.
pub(super) fn would_drop(store: &Store, id: JobId, numbers: Option<&Numbers>) -> Result<(), Trouble> {
    check(&known(store, id)?)?;
    chosen(store, id, &store.settlements(id)?, numbers).map(drop)
}

/// Refuses what taking these again would refuse.
pub(super) fn would_retry(
    store: &Store,
    rules: &[&Rule],
    id: JobId,
    numbers: Option<&Numbers>,
) -> Result<(), Trouble> {
    let job = known(store, id)?;
    check(&job)?;
    let own = if job.waits_for_records() { Some(stored(store, &job)?) } else { None };
    let rule = own.as_ref().map_or_else(|| current_rule(rules.iter().copied(), &job), Ok)?;
    to_take(store, rule, id, &store.settlements(id)?, numbers, None).map(drop)
}

/// Whether this one could be edited, whatever comes of it.
pub(super) fn would_edit(store: &Store, rules: &[&Rule], id: JobId, number: u64) -> Result<(), Trouble> {
    let job = known(store, id)?;
    check(&job)?;
    if !job.waits_for_records() {
        current_rule(rules.iter().copied(), &job)?;
    }
    chosen(store, id, &store.settlements(id)?, Some(&Numbers::of([(number, number)])))?;
    let record = store.failed_record(id, number.saturating_sub(1))?;
    record.map_or(Ok(()), |record| shape_of(store, id, record.entry).map(drop))
}

/// By the rule that cut them: the job goes on by that.
fn take_again(store: &Store, job: &Job, &Asked { numbers, edited, by }: &Asked<'_>) -> Result<(), Trouble> {
    let _deciding = store.settling();
    check(job)?;
    let rule = stored(store, job)?;
    let acts = store.settlements(job.id)?;
    let records = to_take(store, &rule, job.id, &acts, numbers, edited)?;
    let how = Settled::Again { edited: edited.cloned() };
    let act = Settlement { at: clock::now(), by: by.to_owned(), records, how };
    store.change().settlement(job.id, acts.len() as u64, &act).apply()?;
    store.sync()?;
    events::records_retried(job, &act.records, job.id, by);
    Ok(())
}

/// The records that are meant, each of which can be taken again.
fn to_take(
    store: &Store,
    rule: &Rule,
    id: JobId,
    acts: &[Settlement],
    numbers: Option<&Numbers>,
    edited: Option<&RecordBytes>,
) -> Result<Numbers, Trouble> {
    let records = chosen(store, id, acts, numbers)?;
    match edited {
        Some(edited) => check_edited(store, rule, id, &records, edited).map(|()| records),
        None => retriable(store, rule, id, &records, numbers.is_none()),
    }
}

fn new_job(
    store: &Store,
    rules: &[&Rule],
    ids: &JobIds,
    id: JobId,
    &Asked { numbers, edited, by }: &Asked<'_>,
) -> Result<Job, Trouble> {
    let _deciding = store.settling();
    let first = known(store, id)?;
    check(&first)?;
    let rule = current_rule(rules.iter().copied(), &first)?;
    // Whose rule is not known any more is as private as can be.
    let is_private = store.rule(&first.rule_hash)?.is_none_or(|own| first.is_private(&own));
    let acts = store.settlements(id)?;
    let records = to_take(store, rule, id, &acts, numbers, edited)?;
    let act = acts.len() as u64;
    let retries = acts.iter().filter(|act| matches!(act.how, Settled::Retried { .. })).count();
    let number = u32::try_from(retries).unwrap_or(u32::MAX).saturating_add(1);
    // No file is its source: its records are in the store.
    let identity = FileIdentity { device: 0, inode: 0, size: 0, mtime_ns: 0, ctime_ns: 0 };
    let who_edited = if edited.is_some() { ", who edited them" } else { "" };
    let told = format!("failed records {records} of job {id} are retried by {by}{who_edited}");
    let mut job = child::of(&first, rule, ids, identity, &told);
    let before = first.retries.as_ref().map(|retries| retries.numbers.clone()).unwrap_or_default();
    if is_private {
        job.privacy = Privacy::Private;
    }
    job.retries = Some(Retries { act, numbers: [before, vec![number]].concat() });
    job.priority = rule.priority;
    job.delivery = Delivery { revision: first.delivery.revision, ..Delivery::default() };
    let how = Settled::Retried { job: job.id, number, retry: Retry::Open, edited: edited.cloned() };
    let settlement = Settlement { at: job.created_at, by: by.to_owned(), records, how };
    let row = LedgerRow::of(&job, LedgerOutcome::Claimed);
    store.change().rule(rule).job(&job).ledger(&row, false).settlement(id, act, &settlement).apply()?;
    store.sync()?;
    events::records_retried(&first, &settlement.records, job.id, by);
    Ok(job)
}

/// Failed records are decided on once all others of their job are published, or wait for them.
fn check(job: &Job) -> Result<(), Trouble> {
    let hint = match job.state.get() {
        JobState::Completed if job.shadow.is_some() => "a shadow rule touches nothing",
        JobState::Completed => return Ok(()),
        _ if job.waits_for_records() => return Ok(()),
        JobState::Aborted if !job.outputs.is_empty() => {
            "it was abandoned with a part of it published, and nothing of it is published any more"
        }
        JobState::Failed | JobState::Aborted | JobState::Refused => {
            "nothing of it was published: `landfall retry` takes all of its source again"
        }
        _ => "wait until it is completed: `landfall show` says how far it is",
    };
    Err(refuse(format!("job {} is {}: its failed records stay as they are", job.id, job.state), hint))
}

/// The numbers that are meant; refused where one of them is not among the failed records any more.
fn chosen(
    store: &Store,
    id: JobId,
    acts: &[Settlement],
    numbers: Option<&Numbers>,
) -> Result<Numbers, Trouble> {
    let all = Numbers::upto(store.failed_records_count(id)?);
    let left = all.without(&settling::settled(acts));
    let hint = format!("`landfall records {id}` lists those that are left");
    let Some(numbers) = numbers else {
        if left.is_empty() {
            return Err(refuse(format!("job {id} has no failed records left"), &hint));
        }
        return Ok(left);
    };
    let missing = numbers.without(&all);
    if let Some((first, _)) = missing.ranges().first() {
        return Err(refuse(format!("job {id} has no failed record {first}; nothing was done"), &hint));
    }
    let settled = numbers.without(&left);
    if let Some((first, _)) = settled.ranges().first() {
        let act = acts.iter().rev().find(|act| act.counts() && act.records.contains(*first));
        let told = act.map_or_else(String::new, Settlement::told);
        let message = format!("failed record {first} of job {id} was {told}; nothing was done");
        return Err(refuse(message, &hint));
    }
    Ok(numbers.clone())
}

/// Those of them that can be read again as they are kept, by the rule as it is now. `passes_over`: the others stay among the failed ones, else they are refused.
fn retriable(
    store: &Store,
    rule: &Rule,
    id: JobId,
    numbers: &Numbers,
    passes_over: bool,
) -> Result<Numbers, Trouble> {
    let mut entry: Option<(u32, EntryShape)> = None;
    let mut unfit = Vec::new();
    for (number, record) in (1u64..).zip(store.failed_records(id)) {
        let record = record?;
        if !numbers.contains(number) {
            continue;
        }
        if entry.as_ref().is_none_or(|(position, _)| *position != record.entry) {
            entry = Some((record.entry, shape_of(store, id, record.entry)?));
        }
        let why = entry.as_ref().and_then(|(_, shape)| why_unfit(&record, shape, rule));
        let Some(why) = why else { continue };
        if !passes_over {
            let message =
                format!("failed record {number} of job {id} cannot be taken again: {why}; nothing was done");
            return Err(refuse(message, "have it sent again, and drop this one"));
        }
        unfit.push((number, number));
    }
    let fit = numbers.without(&Numbers::of(unfit));
    if fit.is_empty() {
        let message = format!(
            "none of the failed records of job {id} can be taken again: they could not be cut from its source"
        );
        return Err(refuse(message, "have them sent again, and drop these"));
    }
    Ok(fit)
}

/// What an operator made of a record can stand in its place, as the rule is now.
fn check_edited(
    store: &Store,
    rule: &Rule,
    id: JobId,
    records: &Numbers,
    RecordBytes(edited): &RecordBytes,
) -> Result<(), Trouble> {
    let number = records.ranges().first().map_or(0, |(first, _)| *first);
    let record = store.failed_record(id, number.saturating_sub(1))?;
    let record =
        record.ok_or_else(|| refuse(format!("job {id} has no failed record {number}"), "see the list"))?;
    let refused = |why: &str, hint: &str| {
        Err(refuse(
            format!("failed record {number} of job {id} is not edited: {why}; nothing was done"),
            hint,
        ))
    };
    if record.length != record.bytes.len() as u64 {
        return refused("only its beginning is kept", "have it sent again, and drop this one");
    }
    if *edited == record.bytes {
        return refused("it is as it was", "`landfall records JOB retry` takes it again as it is");
    }
    if edited.len() > EDITED_BYTES_MAX {
        let why = format!("it has more than {EDITED_BYTES_MAX} bytes");
        return refused(&why, "have it sent again, and drop this one");
    }
    let shape = shape_of(store, id, record.entry)?;
    match record::why_no_record(edited, &shape, &rule.records, &rule.decode) {
        Some(why) => refused(&why, "it must be one record, as the rule cuts them"),
        None => Ok(()),
    }
}

fn shape_of(store: &Store, id: JobId, entry: u32) -> Result<EntryShape, Trouble> {
    let kept = store.failed_entry(id, entry)?;
    kept.map(|kept| kept.shape).ok_or_else(|| {
        let message = format!("what the failed records of job {id} looked like is not known");
        refuse(message, "export them, and have them sent again")
    })
}

/// Why it is not kept as a record of its source, if it is not. One that a step refused was cut as a record.
fn why_unfit(record: &FailedRecord, shape: &EntryShape, rule: &Rule) -> Option<String> {
    if record.length != record.bytes.len() as u64 {
        return Some(record.error.clone()); // its beginning alone
    }
    let was_cut = record.step != BEFORE_STEPS_NAME;
    if was_cut { None } else { record::why_no_record(&record.bytes, shape, &rule.records, &rule.decode) }
}

fn with_stages<T>(stages: Option<&Arc<Shared>>, done: Result<T, Trouble>) -> Result<T, Trouble> {
    done.inspect_err(|trouble| {
        if let Some(shared) = stages {
            shared.stop_if_poisoned(trouble);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, failed_record};
    use crate::model::job_state::JobEvent;
    use crate::store::FailedEntry;

    /// A completed job with two failed records.
    fn completed(world: &World) -> Job {
        let mut job = world.job();
        for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published, JobEvent::Retired] {
            job.take(event, clock::now(), "").expect("goes on");
        }
        job.account.records_failed = 2;
        let records = [failed_record(1, "no number"), failed_record(2, "no date")];
        world.shared.store.change().job(&job).failed_records(job.id, 0, &records).apply().expect("writes");
        job
    }

    #[test]
    fn of_a_job_that_waits_for_its_records_each_is_decided_on_and_no_other_job_has_them() {
        let world =
            World::with("source = { on_success = \"delete\" }\nerrors = { on_record_error = \"hold\" }\n");
        let (store, mut job) = (&world.shared.store, world.job());
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        job.held_records.waiting = 2;
        let waits = Trouble::new(crate::model::fault::FaultKind::Config, "2 records failed", None).error;
        job.settle(clock::now(), waits).expect("is held");
        let step = |number| FailedRecord { step: "step 1, exec".into(), ..failed_record(number, "no") };
        let entry = FailedEntry { name: "".into(), shape: EntryShape::default() };
        let (id, records) = (job.id, [step(1), step(2)]);
        store
            .change()
            .job(&job)
            .failed_entry(id, 0, &entry)
            .failed_records(id, 0, &records)
            .apply()
            .expect("writes");
        let one = Numbers::of([(1, 1)]);
        let asked = Asked { numbers: Some(&one), edited: None, by: "root" };
        assert_eq!(retry(store, None, &[], job.id, &asked).expect("is decided"), job.id);
        assert!(retry(store, None, &[], job.id, &asked).is_err(), "it is decided on");
        drop_them(&world, &job, None).expect("one is left");
        let acts = store.settlements(job.id).expect("reads");
        assert_eq!(acts[0].how, Settled::Again { edited: None });
        assert_eq!(settling::settled(&acts), Numbers::upto(2));
        assert_eq!(store.jobs().count(), 1);
    }

    fn drop_them(world: &World, job: &Job, numbers: Option<&Numbers>) -> Result<JobId, Trouble> {
        give_up(&world.shared.store, None, job.id, numbers, "known bad", "root")
    }

    #[test]
    fn each_failed_record_is_given_up_once_and_one_that_is_not_there_never() {
        let world = World::new();
        let job = completed(&world);
        let of = |number| Numbers::of(vec![(number, number)]);
        drop_them(&world, &job, Some(&of(1))).expect("it is there");
        let refused = drop_them(&world, &job, Some(&of(1))).expect_err("it was given up");
        assert!(refused.error.message.contains("nothing was done"), "{}", refused.error);
        let refused = drop_them(&world, &job, Some(&of(3))).expect_err("there are two");
        assert!(refused.error.message.contains("no failed record 3"), "{}", refused.error);
        drop_them(&world, &job, None).expect("one is left");
        drop_them(&world, &job, None).expect_err("none is left");
        let acts = world.shared.store.settlements(job.id).expect("reads");
        let records: Vec<_> = acts.into_iter().map(|act| act.records).collect();
        assert_eq!(records, [of(1), of(2)]);
    }

    #[test]
    fn records_that_came_encrypted_are_private_also_under_a_rule_that_decrypts_nothing_any_more() {
        let world = World::new();
        let mut job = completed(&world);
        let now = Rule::clone(&world.rule());
        let then = Rule { encrypt_at_rest: true, ..now.clone() };
        job.rule_hash = then.hash();
        let store = &world.shared.store;
        let entry = FailedEntry { name: "".into(), shape: EntryShape::default() };
        let records =
            [1, 2].map(|number| FailedRecord { step: "step 1, exec".into(), ..failed_record(number, "no") });
        let mut changes = store.change();
        changes
            .rule(&then)
            .job(&job)
            .failed_entry(job.id, 0, &entry)
            .failed_records(job.id, 0, &records)
            .apply()
            .expect("writes");
        let asked = Asked { numbers: None, edited: None, by: "root" };
        let id = retry(store, None, std::slice::from_ref(&now), job.id, &asked).expect("is taken again");
        let child = store.job(id).expect("reads").expect("is there");
        assert!(child.is_private(&now) && !now.is_private());
    }

    #[test]
    fn nothing_is_decided_on_records_of_a_job_that_is_not_completed() {
        let world = World::new();
        let job = world.job();
        let refused = drop_them(&world, &job, None).expect_err("it is queued");
        assert!(refused.error.message.contains("stay as they are"), "{}", refused.error);
        assert!(world.shared.store.settlements(job.id).expect("reads").is_empty());
    }
}
