//! `sequence`: the jobs of a rule, or of each folder of it, go one after another, and stop behind one that failed.
//!
//! Who may begin is told by [`super::sequence_lines`], when a loader takes the job up. That a line stops is kept with what else waits for an
//! operator ([`crate::model::halts`]), durably with the end of the failed job. The rule as it is now decides, not as it was when a file was
//! claimed: whoever takes `sequence` out of a rule has its jobs go on.

use std::collections::BTreeMap;

use super::rule_book::Rules;
use super::schedule::{Owner, Stage};
use super::sequence_lines::{LineName, Lines, Member, Place};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::durable_fs;
use crate::model::halts::{Halts, SequenceStop};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::{Order, Rule, Sequence};
use crate::store::{Store, StoreError};
use crate::telemetry::events;

/// The lines as the rows say.
fn begin(shared: &Shared) -> Result<(), Trouble> {
    // Loaders ask the lock, and there may be many rows: they are read without it, and once more those that changed meanwhile.
    shared.publishing.turns.sequences.with(Lines::pause);
    take_lines(shared, lines_of_rows(shared))
}

fn take_lines(shared: &Shared, read: Result<Lines, Trouble>) -> Result<(), Trouble> {
    let (called, made) = shared.publishing.turns.sequences.with(|lines| {
        let next = read.and_then(|mut next| {
            for id in lines.touched() {
                next.leave(id);
                enter_by_row(shared, &mut next, shared.store.job(id)?)?;
            }
            Ok(next)
        });
        match next {
            Ok(next) => (lines.give_way_to(next), Ok(())),
            Err(trouble) => (lines.go_on(), Err(trouble)),
        }
    });
    for (owner, id) in called {
        call(shared, owner, id);
    }
    made
}

fn lines_of_rows(shared: &Shared) -> Result<Lines, Trouble> {
    let mut lines = Lines::default();
    for job in shared.store.unfinished_jobs()? {
        enter_by_row(shared, &mut lines, Some(job))?;
    }
    for id in shared.operator.halts.now().sequences.keys() {
        enter_by_row(shared, &mut lines, shared.store.job(*id)?)?;
    }
    Ok(lines)
}

/// A job stands where its row says, and what waits for an operator.
fn enter_by_row(shared: &Shared, lines: &mut Lines, job: Option<Job>) -> Result<(), Trouble> {
    let Some(job) = job else { return Ok(()) };
    let stops_line = shared.operator.halts.now().sequences.contains_key(&job.id);
    // One that was given up may still be said to stop its line: that was not written down before the last stop.
    let is_in_line = !job.state.is_final() || job.state == JobState::Failed && stops_line;
    let Some(member) = member_of(shared, &job)?.filter(|_| is_in_line) else { return Ok(()) };
    lines.enter(job.id, member);
    if stops_line {
        lines.fail(job.id);
    }
    if !job.state.is_final() && has_begun(&job) {
        lines.begin(job.id); // also one that is retried
    }
    Ok(())
}

/// Whether something was done for it that a restart goes on with.
fn has_begun(job: &Job) -> bool {
    job.started_at.is_some() || job.state != JobState::Queued
}

/// Rules came in place of others, or are the first: before anything goes on.
pub(super) fn exchanged(shared: &Shared, before: &Rules, next: &Rules) -> Result<(), Trouble> {
    let is_start = before.generation == 0;
    if is_start || sequences(before) != sequences(next) { begin(shared) } else { Ok(()) }
}

fn sequences(rules: &Rules) -> BTreeMap<&str, (Sequence, Order)> {
    let bases = rules.iter().filter(|rule| rule.is_base() && rule.sequence != Sequence::None);
    bases.map(|rule| (rule.name.as_str(), (rule.sequence, rule.order))).collect()
}

/// Where a job stands; none: nowhere.
fn member_of(shared: &Shared, job: &Job) -> Result<Option<Member>, StoreError> {
    if job.retries.is_some() {
        return Ok(None); // what it takes again was in its place
    }
    let rules = shared.rules.now();
    if let Some(rule) = rules.base(&job.rule) {
        return Ok(member(rule, job));
    }
    Ok(shared.store.rule(&job.rule_hash)?.and_then(|rule| member(&rule, job)))
}

fn member(rule: &Rule, job: &Job) -> Option<Member> {
    let path = job.source.path.as_path();
    let folder = match rule.sequence {
        Sequence::None => return None,
        Sequence::Folder => Some(durable_fs::parent_of(path).to_owned()),
        Sequence::Rule => None,
    };
    let place = match rule.order {
        Order::Arrival => Place::Arrival,
        Order::Name => Place::Name(path.file_name().unwrap_or_default().to_owned()),
        Order::Modified => Place::Modified(job.source.identity.mtime_ns),
    };
    let line = LineName { rule: job.rule.clone(), folder };
    Some(Member { line, place, owner: Owner::of(job), source: job.source.path.clone() })
}

/// A job was claimed. What its rule was that has gone, a loader tells.
pub(super) fn enter(shared: &Shared, job: &Job) {
    if let Ok(Some(member)) = member_of(shared, job) {
        shared.publishing.turns.sequences.with(|lines| lines.enter(job.id, member));
    }
}

/// A loader has taken a job up: whether it begins. Else it is queued when its turn has come.
pub(super) fn begins(shared: &Shared, job: &Job) -> Result<bool, Trouble> {
    let Some(member) = member_of(shared, job)? else { return Ok(true) };
    Ok(shared.publishing.turns.sequences.with(|lines| {
        lines.enter(job.id, member);
        lines.take_up(job.id)
    }))
}

/// A job is about to end, or is given up: whether its line stops is kept with that.
pub(super) fn note_end(shared: &Shared, job: &mut Job) -> Result<(), Trouble> {
    let stop = if job.state == JobState::Failed { stop_behind(shared, job)? } else { None };
    let Some(stop) = stop else { return forget_stop(shared, job.id) };
    if !shared.operator.halts.now().sequences.contains_key(&job.id) {
        job.note(clock::now(), &stop.told(job.id));
        events::sequence_stopped(job);
    }
    shared.operator.halts.change(&shared.store, |halts| halts.sequences.insert(job.id, stop), |_| ())?;
    Ok(())
}

fn stop_behind(shared: &Shared, job: &Job) -> Result<Option<SequenceStop>, Trouble> {
    let member = member_of(shared, job)?;
    Ok(member.map(|Member { line, source, .. }| SequenceStop {
        rule: line.rule,
        folder: line.folder.map(Into::into),
        source,
        at: clock::now(),
    }))
}

fn forget_stop(shared: &Shared, id: JobId) -> Result<(), Trouble> {
    if shared.operator.halts.now().sequences.contains_key(&id) {
        shared.operator.halts.change(&shared.store, |halts| halts.sequences.remove(&id), |_| ())?;
    }
    Ok(())
}

/// That is in its row: those behind it go on, or wait for it.
pub(super) fn ended(shared: &Shared, job: &Job) {
    if job.state != JobState::Failed || !shared.operator.halts.now().sequences.contains_key(&job.id) {
        return leave(shared, job.id);
    }
    let next = shared.publishing.turns.sequences.with(|lines| lines.fail(job.id));
    if let Some((owner, id)) = next {
        call(shared, owner, id);
    }
}

fn leave(shared: &Shared, id: JobId) {
    let next = shared.publishing.turns.sequences.with(|lines| lines.leave(id));
    if let Some((owner, id)) = next {
        call(shared, owner, id);
    }
}

/// An operator has given a job up, whatever became of it: nobody waits for it.
pub(super) fn given_up(shared: &Shared, id: JobId) -> Result<(), Trouble> {
    if shared.operator.halts.now().sequences.contains_key(&id) {
        forget_stop(shared, id)?;
        shared.store.sync()?;
    }
    leave(shared, id);
    Ok(())
}

/// The same where no stage runs, not yet durable.
pub(super) fn given_up_in(store: &Store, id: JobId) -> Result<(), Trouble> {
    let mut halts = store.said::<Halts>()?;
    if halts.sequences.remove(&id).is_some() {
        store.change().said(&halts).apply()?;
    }
    Ok(())
}

/// It may be more urgent than it was when it entered.
fn call(shared: &Shared, owner: Owner, id: JobId) {
    let job = shared.store.job(id).ok().flatten();
    let owner = job.map_or(owner, |job| Owner::of(&job));
    shared.dispatch.queue(Stage::Load, &owner, id);
}

/// Nobody waits for what has ended, whoever forgot to say so.
pub(super) fn look_at_those_in_front(shared: &Shared) -> Result<(), Trouble> {
    let in_front = shared.publishing.turns.sequences.with(|lines| lines.in_front());
    for id in in_front {
        match shared.store.job(id)? {
            Some(job) if !job.state.is_final() => {}
            Some(job) => ended(shared, &job),
            None => leave(shared, id),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::fault::{FaultKind, JobError};
    use crate::model::job_state::JobEvent;

    /// A failed job of a rule with a sequence, and one behind it.
    fn stopped() -> (World, Job, Job) {
        let world = World::with("source = { on_success = \"delete\" }\nsequence = \"rule\"\n");
        let (mut first, second) = (world.job(), world.second_job("b.txt"));
        assert!(begins(&world.shared, &first).expect("is told"));
        assert!(!begins(&world.shared, &second).expect("is told"), "one at a time");
        first.take(JobEvent::Started, clock::now(), "").expect("starts");
        let error = JobError { kind: FaultKind::Input, message: "no gzip".into(), hint: None };
        first.fail(error).expect("fails");
        first.end_failing(clock::now()).expect("ends");
        note_end(&world.shared, &mut first).expect("is noted");
        world.shared.save(&first).expect("writes");
        ended(&world.shared, &first);
        (world, first, second)
    }

    #[test]
    fn a_line_that_stopped_behind_a_failed_job_has_stopped_after_a_restart_until_that_is_given_up() {
        let (world, first, second) = stopped();
        let shared = &world.shared;
        assert!(first.remarks().any(|remark| remark.contains("stopped behind")), "{first:#?}");
        assert!(!begins(shared, &second).expect("is told"));
        begin(shared).expect("reads");
        assert!(!begins(shared, &second).expect("is told"), "the rows say so");
        look_at_those_in_front(shared).expect("looks");
        assert!(!begins(shared, &second).expect("is told"));
        given_up(shared, first.id).expect("is written");
        assert!(begins(shared, &second).expect("is told"));
        assert!(shared.store.said::<Halts>().expect("reads").sequences.is_empty());
    }

    /// As it is found by who takes other rules while jobs end.
    #[test]
    fn what_changes_while_the_rows_are_read_counts_as_it_is_after_that() {
        let (world, first, second) = stopped();
        let shared = &world.shared;
        let sequences = &shared.publishing.turns.sequences;
        sequences.with(Lines::pause);
        let read = lines_of_rows(shared).expect("reads");
        given_up(shared, first.id).expect("is written");
        assert!(!begins(shared, &second).expect("is told"), "nobody begins meanwhile");
        take_lines(shared, Ok(read)).expect("reads");
        assert!(begins(shared, &second).expect("is told"));
    }

    #[test]
    fn nobody_waits_for_what_has_ended_whoever_forgot_to_say_so() {
        let (world, mut first, second) = stopped();
        given_up(&world.shared, first.id).expect("is written");
        begin(&world.shared).expect("reads");
        enter(&world.shared, &first);
        first.take(JobEvent::Retried, clock::now(), "").expect("is retried");
        world.shared.save(&first).expect("writes");
        assert!(begins(&world.shared, &first).expect("is told"));
        assert!(!begins(&world.shared, &second).expect("is told"));
        first.take(JobEvent::GivenBack, clock::now(), "").expect("ends");
        world.shared.save(&first).expect("writes");
        look_at_those_in_front(&world.shared).expect("looks");
        assert!(begins(&world.shared, &second).expect("is told"));
    }
}
