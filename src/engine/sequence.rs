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
use crate::store::{Changes, Store, StoreError};
use crate::telemetry::events;

/// The lines as the rows say.
fn begin(shared: &Shared) -> Result<(), Trouble> {
    forget_old_stops(shared)?;
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
    let stops_line = shared.operator.halts.now().sequences.contains_key(&job.id) && stops(&job);
    let Some(member) = member_of(shared, &job)?.filter(|_| stops_line || !job.state.is_final()) else {
        return Ok(());
    };
    lines.enter(job.id, member);
    if stops_line {
        lines.fail(job.id);
    }
    if !job.state.is_final() && has_begun(&job) {
        lines.begin(job.id); // also one that is retried
    }
    Ok(())
}

/// Whether it is at work, or was when the process ended; or will not be stopped any more.
fn has_begun(job: &Job) -> bool {
    job.state == JobState::Running || job.state.is_past_intent() || job.is_failing()
}

/// Whether a job behind which a line stopped still stops it: it failed, or is retried, and was not given up.
fn stops(job: &Job) -> bool {
    job.abandoned.is_none() && (job.state == JobState::Failed || !job.state.is_final())
}

/// A job behind which a line stopped may be gone.
fn forget_old_stops(shared: &Shared) -> Result<(), Trouble> {
    let mut old = Vec::new();
    for id in shared.operator.halts.now().sequences.keys() {
        if !shared.store.job(*id)?.is_some_and(|job| stops(&job)) {
            old.push(*id);
        }
    }
    old.into_iter().try_for_each(|id| forget_stop(shared, id))
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

/// A job is at work no more, and has not ended: it is paused, held, or waits for something else. Whoever comes before it goes first.
pub(super) fn put_down(shared: &Shared, id: JobId) {
    let next = shared.publishing.turns.sequences.with(|lines| lines.put_down(id));
    if let Some((owner, id)) = next {
        call(shared, owner, id);
    }
}

/// A job is about to end, or is given up: whether its line stops is kept with that.
pub(super) fn note_end(shared: &Shared, job: &mut Job) -> Result<(), Trouble> {
    let stop = if job.state == JobState::Failed { stop_behind(shared, job)? } else { None };
    let Some(stop) = stop else { return forget_stop(shared, job.id) };
    // Each time: one that is retried, and fails again, stops it anew.
    job.note(clock::now(), &stop.told(job.id));
    events::sequence_stopped(job);
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
        is_retried: false,
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

/// Gives a job up, by these changes: with them goes that a line stopped behind it. One batch, so that no crash leaves a stop that nothing ends.
pub(super) fn give_up(
    store: &Store,
    stages: Option<&Shared>,
    id: JobId,
    changes: &mut Changes<'_>,
) -> Result<(), Trouble> {
    let forget = |halts: &mut Halts| halts.sequences.remove(&id);
    if let Some(shared) = stages {
        return Ok(shared.operator.halts.change_with(changes, forget)?);
    }
    let mut halts = store.said::<Halts>()?;
    if forget(&mut halts).is_some() {
        changes.said(&halts);
    }
    Ok(changes.apply()?)
}

/// That is durable: nobody waits for it.
pub(super) fn given_up(shared: &Shared, id: JobId) {
    leave(shared, id);
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
            None => {
                forget_stop(shared, id)?;
                leave(shared, id);
            }
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

    fn abandoned(world: &World, job: &Job) {
        let shared = &world.shared;
        give_up(&shared.store, Some(shared), job.id, &mut shared.store.change()).expect("is written");
        given_up(shared, job.id);
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
        abandoned(&world, &first);
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
        abandoned(&world, &first);
        assert!(!begins(shared, &second).expect("is told"), "nobody begins meanwhile");
        take_lines(shared, Ok(read)).expect("reads");
        assert!(begins(shared, &second).expect("is told"));
    }

    #[test]
    fn a_job_that_waits_for_something_else_before_its_turn_is_over_lets_one_that_comes_before_it_begin() {
        let world = World::with("source = { on_success = \"delete\" }\nsequence = \"rule\"\n");
        let (first, second) = (world.job(), world.second_job("b.txt"));
        assert!(begins(&world.shared, &second).expect("is told"));
        assert!(!begins(&world.shared, &first).expect("is told"));
        put_down(&world.shared, second.id);
        assert!(begins(&world.shared, &first).expect("is told"));
    }

    #[test]
    fn over_a_restart_only_what_was_at_work_has_begun() {
        let world = World::with("source = { on_success = \"delete\" }\nsequence = \"rule\"\n");
        let (first, mut second) = (world.job(), world.second_job("b.txt"));
        second.take(JobEvent::Started, clock::now(), "").expect("starts");
        world.shared.save(&second).expect("writes");
        begin(&world.shared).expect("reads");
        assert!(!begins(&world.shared, &first).expect("is told"), "the other one was at work");
        second.pause(clock::now(), "root").expect("is paused");
        world.shared.save(&second).expect("writes");
        world.shared.publishing.turns.sequences.with(|lines| *lines = Lines::default());
        begin(&world.shared).expect("reads");
        assert!(begins(&world.shared, &first).expect("is told"));
    }

    #[test]
    fn a_stop_behind_a_job_that_was_given_up_and_one_behind_a_job_that_is_gone_are_forgotten_at_the_start() {
        for is_gone in [false, true] {
            let (world, mut first, second) = stopped();
            if is_gone {
                world.shared.store.change().unclaim(first.id).apply().expect("writes");
            } else {
                first.take(JobEvent::Abandoned, clock::now(), "").expect("ends");
                world.shared.save(&first).expect("writes");
            }
            begin(&world.shared).expect("reads");
            assert!(world.shared.store.said::<Halts>().expect("reads").sequences.is_empty());
            assert!(begins(&world.shared, &second).expect("is told"));
        }
    }

    #[test]
    fn nobody_waits_for_what_has_ended_whoever_forgot_to_say_so() {
        let (world, mut first, second) = stopped();
        abandoned(&world, &first);
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
