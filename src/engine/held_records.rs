//! `errors.on_record_error = "hold"`: a job waits for its failed records, and publishes by itself once each is decided on.
//!
//! ```text
//!  worked to its end, some failed -> held: row and list synced -> acts, one after another -> the last one: begun again from its first record,
//!  each record as it was decided on -> published, or some failed again: held again, these behind those before in the list
//! ```
//!
//! Nothing of it lies in an output folder meanwhile. What was decided counts for one record of its source, by the rule that cut it: so the job
//! keeps the rule that it was claimed under, also where the whole job is retried after it was held as a resend, or ended (decision 0070). A
//! retry while it still waits for its records would drop what was decided so far: it is asked for by a word of its own.

use std::borrow::Cow;

use super::resend;
use super::shared::Shared;
use super::source::changed_source;
use super::trouble::{Reaction, Trouble};
use crate::clock;
use crate::model::account::{Account, RecordBytes};
use crate::model::decisions::{DecidedSlice, Decisions};
use crate::model::fault::{FaultKind, WaitsFor};
use crate::model::job::{HeldRecords, Job, Slices};
use crate::model::job_state::JobState;
use crate::model::rule::{OnRecordError, Records, Rule};
use crate::model::settling::{self, Numbers, Settled, Settlement};
use crate::model::slice::Slice;
use crate::pipeline;
use crate::store::{Changes, Store};

/// Nobody decides on more, and what is decided is held in memory.
const RECORDS_MAX: u64 = 100_000;

/// Whether a job that is worked to its end waits for its failed records. `read_before`: the hash of what they were decided on by.
pub(super) fn check(rule: &Rule, job: &Job, read_before: Option<&str>) -> Result<(), Trouble> {
    let decided = job.held_records.decided;
    if decided > 0 && read_before.is_some() && read_before != job.content_hash.as_deref() {
        return Err(changed_source(job)); // what was decided may be about other records
    }
    let failed = job.account.records_failed;
    if rule.errors.on_record_error != OnRecordError::Hold || failed == 0 || job.retries.is_some() {
        return Ok(());
    }
    if decided.saturating_add(failed) > RECORDS_MAX {
        let message = format!("{failed} records failed, and nobody decides on more than {RECORDS_MAX}");
        return Err(Trouble::of_records(
            message,
            "look whether the file is of another kind than the rule expects",
        ));
    }
    let hint = format!("`landfall records {}` lists them; drop, retry or edit each", job.id);
    let trouble = Trouble::new(FaultKind::Config, told(failed, failed), Some(&hint));
    Err(trouble.with(Reaction::HoldRecords))
}

fn told(left: u64, failed: u64) -> String {
    match (left, failed) {
        (0, _) => "each failed record is decided on".to_owned(),
        (1, 1) => "a record failed, and nothing is published before it is decided on".to_owned(),
        (left, failed) if left == failed => {
            format!("{failed} records failed, and nothing is published before each is decided on")
        }
        (left, failed) => format!("{failed} records failed, of which {left} are not decided on yet"),
    }
}

/// Holds it. Its partials are gone, and its failed records written.
pub(super) fn hold(shared: &Shared, mut job: Job, trouble: &Trouble) -> Result<(), Trouble> {
    if shared.publishing.aside.is_none() {
        job.held_records.waiting = shared.store.failed_records_count(job.id)?;
    }
    resend::hold_or_fail(shared, job, trouble)
}

/// Whether a job that a loader took up still waits for a word about a record.
pub(super) fn still_wait(store: &Store, job: &Job) -> Result<bool, Trouble> {
    let HeldRecords { waiting, .. } = job.held_records;
    if waiting == 0 {
        return Ok(false);
    }
    let decided = settling::settled(&store.settlements(job.id)?);
    Ok(!Numbers::upto(waiting).without(&decided).is_empty())
}

/// One that waits no more is worked by what was decided; what is said of that. Whatever holds it up before its row is written finds it as it
/// was.
pub(super) fn take_decided(job: &mut Job) -> &'static str {
    let HeldRecords { decided, waiting } = job.held_records;
    job.held_records = HeldRecords { decided: decided.max(waiting), waiting: 0 };
    if waiting == 0 {
        return "";
    }
    // Those counts are of the work before: what becomes of each record is counted anew.
    (job.account, job.slices) = (Account::default(), Slices::default());
    "each failed record is decided on: all records are worked again by that"
}

/// What was decided before the job was begun.
pub(super) fn decisions(store: &Store, job: &Job) -> Result<Decisions, Trouble> {
    let HeldRecords { decided, .. } = job.held_records;
    if decided == 0 {
        return Ok(Decisions::default());
    }
    let records = store.failed_records(job.id).take(usize::try_from(decided).unwrap_or(usize::MAX));
    let places = records.map(|record| record.map(|record| (record.entry, record.record)));
    Ok(Decisions::of(places, &store.settlements(job.id)?)?)
}

/// A slice as it is to be worked; none: as it is. `act_at`: the job's act of this number.
pub(super) fn as_decided<'a>(
    decisions: &Decisions,
    slice: &Slice,
    records: &Records,
    act_at: impl Fn(u64) -> Result<Option<Cow<'a, Settlement>>, Trouble>,
) -> Result<Option<DecidedSlice>, Trouble> {
    let place_of = |index| pipeline::place_of(slice, index, records);
    let edited = |number| {
        let act = act_at(number)?;
        if let Some(RecordBytes(edited)) = act.as_ref().and_then(|act| act.how.edited_again()) {
            return Ok(edited.clone());
        }
        Err(Trouble::new(FaultKind::Bug, "what a failed record was edited to is not there", None))
    };
    decisions.apply(slice, place_of, edited)
}

/// What a retry of the whole job keeps of what was decided on its failed records.
#[derive(Debug)]
pub(super) struct Kept {
    /// That many of the list count.
    records: u64,
    /// Those that nobody decided on before the job ended: they are taken again with it.
    left: Numbers,
    /// How many acts there are.
    acts: u64,
}

impl Kept {
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// What failed after it was decided fails again, or does not: that goes.
    pub(super) fn keep<'a, 'c>(
        &self,
        job: &Job,
        by: &str,
        changes: &'a mut Changes<'c>,
    ) -> &'a mut Changes<'c> {
        if !self.left.is_empty() {
            let how = Settled::Again { edited: None };
            let act = Settlement { at: clock::now(), by: by.to_owned(), records: self.left.clone(), how };
            changes.settlement(job.id, self.acts, &act);
        }
        changes.forget_failed_records(job.id, self.records)
    }
}

/// See [`Kept`]; none: nothing was decided, or it is to be forgotten. Refused where the job still waits for words about its records, and those
/// that were said would be lost.
pub(super) fn kept_by_retry(store: &Store, job: &Job, forgets: bool) -> Result<Option<Kept>, Trouble> {
    let acts = if forgets { Vec::new() } else { store.settlements(job.id)? };
    let HeldRecords { decided, waiting } = job.held_records;
    let records = decided.max(waiting);
    if acts.is_empty() || records == 0 {
        return Ok(None);
    }
    let settled = settling::settled(&acts);
    if job.waits_for_records() {
        let (id, count) = (job.id, settled.count());
        let message = format!(
            "job {id} waits for its failed records, {count} of which are decided on: a retry of the whole job would forget that"
        );
        let hint = format!(
            "`landfall records {id} retry --all` takes those that are left again, and the job goes on by all that was decided; `landfall retry {id} --forget-decisions` begins anew"
        );
        return Err(Trouble::new(FaultKind::Input, message, Some(&hint)));
    }
    let left = Numbers::upto(records).without(&settled);
    Ok(Some(Kept { records, left, acts: acts.len() as u64 }))
}

/// Says of a job that waits for its failed records how many are left. It is written nowhere.
pub(super) fn tell(job: &mut Job) {
    if !job.waits_for_records() {
        return;
    }
    let HeldRecords { decided, waiting: all } = job.held_records;
    let left = all.saturating_sub(decided);
    let detail = told(job.account.records_failed, left);
    if let Some(waiting) = job.waiting.as_mut().filter(|_| job.state == JobState::Held) {
        let is_paused = waiting.waits_for == WaitsFor::Pause;
        match left {
            0 if is_paused => {} // nothing else is in its way
            _ if is_paused => waiting.detail = format!("{detail}; and {}", waiting.detail),
            _ => waiting.detail = detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::finish::finish_batch;
    use crate::engine::schedule::Stage;
    use crate::engine::tests::{World, failed, is_there, loaded, worked};

    const RULE: &str = "source = { on_success = \"delete\" }\n\
                        errors = { on_record_error = \"hold\", failed_max = \"100%\" }\n";

    /// A job of which the second of two records failed, worked to its end.
    fn held() -> (World, Job) {
        let world = World::with(RULE);
        let run = world.run();
        run.collect(worked(&run, 0, "a"));
        run.collect(failed(&run, 1, "not today"));
        run.set_loaded(loaded(2));
        run.loading_ended();
        assert!(world.shared.dispatch.take_up(run.id, Stage::Load), "as its loader had it");
        world.shared.settle(&run);
        finish_batch(&world.shared, vec![run.id]).expect("the store speaks for nobody");
        let row = world.row(&run.row()).expect("is there");
        (world, row)
    }

    fn act(world: &World, job: &Job, number: u64, how: Settled) {
        let acts = world.shared.store.settlements(job.id).expect("reads").len() as u64;
        let records = Numbers::of([(number, number)]);
        let act = Settlement { at: clock::now(), by: "root".into(), records, how };
        world.shared.store.change().settlement(job.id, acts, &act).apply().expect("writes");
    }

    #[test]
    fn a_job_with_a_failed_record_is_held_with_nothing_in_its_output_folder_and_its_source_claimed() {
        let (world, job) = held();
        assert!(job.waits_for_records() && job.state == JobState::Held, "{job:#?}");
        assert_eq!(job.held_records, HeldRecords { decided: 0, waiting: 1 });
        assert_eq!(std::fs::read_dir(world.path("out")).expect("lists").count(), 0);
        assert!(
            is_there(&world.claimed()) && world.shared.store.checkpoint(job.id).expect("reads").is_none()
        );
        assert!(still_wait(&world.shared.store, &job).expect("reads"), "whoever takes it up");
    }

    #[test]
    fn a_held_job_whose_rule_is_paused_says_both_until_each_record_is_decided_on() {
        let (_, mut job) = held();
        for (decided, says) in [(0, "nothing is published before"), (1, "rule payments is paused")] {
            job.held_records.decided = decided;
            if let Some(waiting) = &mut job.waiting {
                (waiting.waits_for, waiting.detail) = (WaitsFor::Pause, "rule payments is paused".into());
            }
            tell(&mut job);
            let told = job.waiting.as_ref().expect("it waits").detail.clone();
            assert!(
                told.contains(says) && told.ends_with("is paused") && !told.contains("not decided"),
                "{told}"
            );
        }
    }

    #[test]
    fn once_each_record_is_decided_on_the_job_is_worked_by_that() {
        let (world, mut job) = held();
        act(&world, &job, 1, Settled::Dropped { reason: "old".into() });
        assert!(!still_wait(&world.shared.store, &job).expect("reads"));
        take_decided(&mut job);
        assert_eq!(job.held_records, HeldRecords { decided: 1, waiting: 0 });
        let found = decisions(&world.shared.store, &job).expect("reads");
        assert_ne!(found, Decisions::default());
        let mut other = Slice {
            number: 1,
            entry: 0,
            first_record: 2,
            offset: 2,
            first_line: 1,
            bytes: b"1\n".to_vec().into(),
            records: vec![crate::model::slice::Span { start: 0, end: 1 }],
            skipped: 0,
            oversized: None,
            places: Vec::new(),
        };
        let rule = world.rule();
        let act_at = |act| Ok(world.shared.store.settlement(job.id, act)?.map(Cow::Owned));
        let of = |slice: &Slice| as_decided(&found, slice, &rule.records, act_at).expect("reads");
        assert!(of(&other).is_some_and(|decided| decided.slice.records.is_empty()));
        other.first_record = 3;
        assert_eq!(of(&other), None, "nobody decided on that");
    }

    #[test]
    fn what_was_decided_on_another_content_does_not_count() {
        let (world, mut job) = held();
        job.held_records = HeldRecords { decided: 1, waiting: 0 };
        job.account.records_failed = 0;
        let rule = world.rule();
        let hash = job.content_hash.clone();
        check(&rule, &job, hash.as_deref()).expect("is the same");
        let trouble = check(&rule, &job, Some("blake3:other")).expect_err("is another");
        assert_eq!(trouble.reaction, Reaction::GiveBack);
    }

    #[test]
    fn how_many_are_left_is_told_as_they_are_decided_on() {
        assert!(told(1, 1).starts_with("a record failed"));
        assert!(told(2, 2).starts_with("2 records failed, and nothing"));
        assert_eq!(told(1, 3), "3 records failed, of which 1 are not decided on yet");
    }
}
