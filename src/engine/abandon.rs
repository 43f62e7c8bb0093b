//! Abandoning: a job that waits for what never comes back is ended as it stands, by an operator who is told what of it is published; and one
//! that failed, or was refused, is one that nobody need look at any more.
//!
//! ```text
//!  looked at what became of each output -+
//!  looked at what names its source has  -+-> the job's end, durably, with what was found and why -> what is hidden is removed
//! ```
//!
//! What it waits for may hang: each look is a thread's of its own and has a time. An output that does not answer within it is told as unknown,
//! a source that does not is taken to have other names. Nothing is renamed, and its source is left where it is. A crash before the end leaves
//! the job as it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::handle::InHand;
use super::held_records;
use super::retry::{known, refuse};
use super::sequence;
use super::shared::Shared;
use super::taken::{names_left, names_unseen};
use super::trouble::Trouble;
use crate::clock;
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::{Abandoned, Job};
use crate::model::job_id::JobId;
use crate::model::job_state::{JobEvent, JobState};
use crate::model::rule::Rule;
use crate::model::settling;
use crate::output::{Became, Intent, remove_partials};
use crate::store::{LedgerOutcome, LedgerRow, OtherNames, Store};
use crate::telemetry::events;

/// How long the outputs and the source are looked at.
const LOOK_TAKES: Duration = Duration::from_secs(2);
/// Outputs that are named in the history, of each kind.
const NAMED_MAX: usize = 20;

/// Ends a job that waits, or has ended badly.
pub(super) fn abandon(
    store: &Store,
    stages: Option<&Arc<Shared>>,
    id: JobId,
    reason: &str,
    by: &str,
) -> Result<JobId, Trouble> {
    check_now(&known(store, id)?, stages.is_some())?; // else it may be long in other hands
    let end = || end(store, stages.map(AsRef::as_ref), id, reason, by);
    let Some(shared) = stages else {
        let (job, rule) = end()?;
        remove_hidden(rule, &job, None);
        return Ok(id);
    };
    let in_hand = InHand::take(shared, id)?;
    let (job, rule) = end().inspect_err(|trouble| shared.stop_if_poisoned(trouble))?;
    shared.dispatch.withdraw(id); // a loader would look for its source
    shared.publishing.names.release(id);
    shared.dispatch.forget_back_off(id);
    shared.claims.taken.leave(&job);
    shared.claims.held.forget(&job.source.identity);
    shared.footprints.reach.forget(id);
    shared.delivery_decided(id);
    sequence::given_up(shared, id);
    events::abandoned(&job, reason, by);
    remove_hidden(rule, &job, Some(in_hand));
    Ok(id)
}

/// [`check`], and what is to be done where no service has the job.
fn check_now(job: &Job, has_service: bool) -> Result<(), Trouble> {
    check(job).map_err(|trouble| {
        let ends_by_itself =
            job.is_failing() || matches!(job.state.get(), JobState::Publishing | JobState::Retiring);
        if has_service || !ends_by_itself {
            return trouble;
        }
        let message = format!("job {} is {}, and no service is at it", job.id, job.state);
        refuse(
            message,
            "start the service, and it ends by itself, or says what it waits for and can be abandoned",
        )
    })
}

/// Refuses a job that goes on, or that can be ended well.
pub(super) fn check(job: &Job) -> Result<(), Trouble> {
    let (why, hint) = match job.state.get() {
        _ if job.is_failing() && job.waiting.is_some() => return Ok(()),
        _ if job.is_failing() => ("it is being ended", "it ends by itself; `landfall show` says how"),
        JobState::Held | JobState::Failed | JobState::Refused => return Ok(()),
        JobState::Publishing | JobState::Retiring if job.waiting.is_some() => return Ok(()),
        JobState::Publishing | JobState::Retiring => {
            ("it waits for nothing", "it ends by itself; `landfall show` says how far it is")
        }
        JobState::Queued | JobState::Running | JobState::Paused => (
            "it waits for nothing that never comes back",
            "`landfall abort` ends it, with its source in quarantine",
        ),
        _ => ("it has ended", "`landfall show` says how"),
    };
    Err(refuse(format!("job {} is {}: {why}", job.id, job.state), hint))
}

/// The row of the job, ended; and the rule that it went by.
fn end(
    store: &Store,
    stages: Option<&Shared>,
    id: JobId,
    reason: &str,
    by: &str,
) -> Result<(Job, Option<Rule>), Trouble> {
    let mut job = known(store, id)?;
    check(&job)?;
    if job.state.is_final() {
        return Ok((dismiss(store, stages, job, reason, by)?, None));
    }
    let is_past_intent = job.state.is_past_intent();
    let intent = if is_past_intent { store.intent(id)?.unwrap_or_default() } else { Intent::default() };
    let (found, other_names) = look(store, &job, &intent)?;
    let now = clock::now();
    let mut as_told = job.clone();
    if as_told.waits_for_records() {
        settling::tell(&store.settlements(id)?, &mut as_told); // its row does not know what was decided since
        held_records::tell(&mut as_told);
    }
    let waited_for = as_told.waiting.map(|waiting| waiting.detail);
    let before = job.clone();
    job.note(now, &format!("abandoned by {by}: {reason}"));
    tell(&mut job, &intent, &found, waited_for.as_deref());
    job.abandoned = Some(Abandoned { by: by.to_owned(), reason: reason.to_owned() });
    if !is_past_intent {
        job.outputs.clear();
    } else if job.state == JobState::Publishing {
        // What may be out stays in it: nothing of that is published again.
        let mut became = found.0.iter();
        job.outputs.retain(|_| became.next().is_none_or(|became| *became != Became::Unpublished));
    }
    let outcome = take_end(&mut job, by, reason)?;
    let mut changes = store.change();
    if before.state == JobState::Publishing && job.outputs.is_empty() {
        changes.forget_delivery(&before);
    }
    if let Some(other) = &other_names {
        changes.other_names(&job.source.identity, other);
    }
    changes.job(&job).ledger(&LedgerRow::of(&job, outcome), false).forget_work(id);
    sequence::give_up(store, stages, id, &mut changes)?;
    store.sync()?;
    Ok((job.clone(), store.rule(&job.rule_hash)?))
}

/// A job that failed, or was refused: nothing of it is published or under way, and where its source was moved stays in it. Its file is known as
/// before: one that stays where it lies is not taken, and other names of it wait.
fn dismiss(
    store: &Store,
    stages: Option<&Shared>,
    mut job: Job,
    reason: &str,
    by: &str,
) -> Result<Job, Trouble> {
    let now = clock::now();
    let left_at = job.retired_to.as_ref().unwrap_or_else(|| job.source_path());
    let left_at =
        format!("nothing of it was published; its source was left at {left_at}, as far as that is there");
    job.note(now, &left_at);
    job.abandoned = Some(Abandoned { by: by.to_owned(), reason: reason.to_owned() });
    job.outputs.clear();
    let said = format!("abandoned by {by}: {reason}");
    let kind = job.error.as_ref().map_or(FaultKind::Input, |error| error.kind);
    job.take(JobEvent::Abandoned, now, &said)?;
    let hint = "its history says why it ended before, and where its source was".to_owned();
    job.error = Some(JobError { kind, message: said, hint: Some(hint) });
    // The row may know the file as it is now, which the job does not.
    let row = store.ledger(job.id)?.unwrap_or_else(|| LedgerRow::of(&job, LedgerOutcome::Aborted));
    let row = LedgerRow { outcome: LedgerOutcome::Aborted, finished_at: job.finished_at, ..row };
    let mut changes = store.change();
    changes.job(&job).ledger(&row, false).forget_work(job.id);
    sequence::give_up(store, stages, job.id, &mut changes)?;
    store.sync()?;
    Ok(job)
}

fn take_end(job: &mut Job, by: &str, reason: &str) -> Result<LedgerOutcome, Trouble> {
    let now = clock::now();
    if job.is_failing() {
        // Where its source was to be moved stays in it: it may be there.
        job.end_failing(now)?;
        return Ok(match job.state.get() {
            JobState::Refused => LedgerOutcome::Refused,
            JobState::Aborted => LedgerOutcome::Aborted,
            _ => LedgerOutcome::Failed,
        });
    }
    job.retire_to(job.retrieved_from().cloned());
    let kind = job.error.as_ref().map_or(FaultKind::Transient, |error| error.kind);
    job.take(JobEvent::Abandoned, now, "")?;
    if job.state == JobState::Completed {
        job.error = None;
        return Ok(LedgerOutcome::Completed);
    }
    let message = format!("abandoned by {by}: {reason}");
    let hint = "its history says what of it is published, and where its source was".to_owned();
    job.error = Some(JobError { kind, message, hint: Some(hint) });
    Ok(LedgerOutcome::Aborted)
}

/// What became of the outputs, and which signals are there.
type Found = (Vec<Became>, Vec<String>);

/// What became of the outputs, and what is to be known of the source's other names; as far as that can be told in time.
fn look(store: &Store, job: &Job, intent: &Intent) -> Result<(Found, Option<OtherNames>), Trouble> {
    let until = Instant::now() + LOOK_TAKES;
    let (of_source, its_store) = (job.clone(), store.clone());
    let names = apart(move || names_left(&its_store, &of_source));
    let found = if job.state == JobState::Retiring {
        // It is past them.
        let signals = [&intent.manifest, &intent.marker].into_iter().flatten();
        (vec![Became::Published; intent.outputs.len()], signals.map(ToString::to_string).collect())
    } else {
        let looked_at = intent.clone();
        let outputs = apart(move || {
            let signals = looked_at.signals_there().into_iter().map(ToString::to_string).collect();
            looked_at.what_became().map(|found| (found, signals))
        });
        let found = told_until(&outputs, until).transpose()?;
        found.unwrap_or_else(|| (intent.is_known_of(), Vec::new()))
    };
    Ok((found, names_known(store, job, told_until(&names, until))?))
}

/// Looks on a thread of its own, which may hang; then nobody waits for it any more.
fn apart<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (tell, told) = sync_channel(1);
    // Without a thread nothing is told, as by one that hangs.
    drop(std::thread::Builder::new().name("abandon".into()).spawn(move || tell.send(look()).ok()));
    told
}

fn told_until<T>(told: &Receiver<T>, until: Instant) -> Option<T> {
    told.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
}

/// By another name the source would be taken as if nothing of it had been published: what cannot be looked at is nobody's to take either.
fn names_known(
    store: &Store,
    job: &Job,
    told: Option<Result<Option<OtherNames>, Trouble>>,
) -> Result<Option<OtherNames>, Trouble> {
    match told {
        Some(Ok(other)) => Ok(other),
        Some(Err(trouble)) if trouble.is_poisoned() => Err(trouble),
        Some(Err(_)) | None => Ok(names_unseen(store, job)?),
    }
}

/// Writes down what was published and what was not.
fn tell(
    job: &mut Job,
    intent: &Intent,
    (found, signals): &(Vec<Became>, Vec<String>),
    waited_for: Option<&str>,
) {
    let now = clock::now();
    if let Some(waited_for) = waited_for {
        job.note(now, &format!("it waited for: {waited_for}"));
    }
    if !job.state.is_past_intent() {
        job.note(now, "nothing of it was published");
    }
    let mut by_kind = BTreeMap::<Became, Vec<String>>::new();
    for (finished, became) in intent.outputs.iter().zip(found) {
        by_kind.entry(*became).or_default().push(finished.output.path.to_string());
    }
    for (became, paths) in by_kind {
        let all = paths.len();
        let named: Vec<_> = paths.into_iter().take(NAMED_MAX).collect();
        let more = if all > named.len() { format!(" and {} more", all - named.len()) } else { String::new() };
        job.note(now, &format!("{became}: {}{more}", named.join(", ")));
    }
    if job.state.is_past_intent() {
        for path in [&intent.manifest, &intent.marker].into_iter().flatten() {
            let is_there = signals.contains(&path.to_string());
            let became = if is_there { Became::Published } else { Became::Unpublished };
            job.note(now, &format!("{became}: {path}"));
        }
    }
    let place = job.retrieved_from().unwrap_or_else(|| job.source_path()).clone();
    // It may be on its way.
    let planned = job.retired_to.as_ref().filter(|_| job.state != JobState::Publishing);
    let or_planned = planned.map_or_else(String::new, |planned| format!(" or {planned}"));
    job.note(now, &format!("its source is left at {place}{or_planned}, as far as that is there"));
}

/// What is hidden and never appears is removed; on a thread of its own, because its file system may hang. What is left is told as any partial
/// without a job is. Until then it is in hand: a retry would make others by the same names.
fn remove_hidden(rule: Option<Rule>, job: &Job, in_hand: Option<InHand>) {
    let Some(rule) = rule.filter(|_| job.state != JobState::Completed) else { return };
    let job = job.clone();
    let remove = move || {
        if let Err(error) = remove_partials(&rule, &job, &[]) {
            tracing::warn!(job = %job.id, %error, "hidden files of an abandoned job are left behind");
        }
    };
    let (tell, told) = sync_channel::<()>(0);
    let removing = std::thread::Builder::new().name("abandon".into()).spawn(move || {
        remove();
        drop(in_hand);
        drop(tell);
    });
    if removing.is_ok() {
        told.recv_timeout(LOOK_TAKES).ok(); // it ends without a word
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    /// A job that waits, its source claimed.
    fn held(world: &World) -> Job {
        let mut job = world.job();
        world.rename();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        job.take(JobEvent::Hindered, clock::now(), "no key fits").expect("is held");
        world.shared.save(&job).expect("writes");
        job
    }

    #[test]
    fn a_job_that_waits_is_ended_with_its_reason_and_its_source_left_with_and_without_a_service() {
        for has_service in [true, false] {
            let world = World::new();
            let job = held(&world);
            let partial = world.partial_of(&job);
            let stages = has_service.then_some(&world.shared);
            abandon(&world.shared.store, stages, job.id, "the key is lost", "root").expect("is ended");
            let row = world.row(&job).expect("its row stays");
            assert_eq!(row.state, JobState::Aborted);
            let said = Abandoned { by: "root".to_owned(), reason: "the key is lost".to_owned() };
            assert_eq!(row.abandoned.as_ref(), Some(&said));
            assert!(row.remarks().any(|remark| remark == "nothing of it was published"), "{row:#?}");
            assert!(world.claimed().try_exists().expect("looks"), "its source is left where it is");
            assert!(!partial.try_exists().expect("looks"), "what is hidden never appears");
        }
    }

    /// Goal: what one abandons for is often that a folder hangs; its file is published once all the same.
    #[test]
    fn other_names_of_an_abandoned_source_are_known_in_the_row_of_its_end_whether_it_answers_or_not() {
        for answers in [false, true] {
            let wrong = || Err(Trouble::new(FaultKind::Transient, "stale file handle", None));
            let told = || answers.then(wrong);
            let world = World::new();
            let job = held(&world);
            let store = &world.shared.store;
            let unseen = OtherNames::unseen(job.id);
            assert_eq!(names_known(store, &job, told()).expect("is decided"), Some(unseen.clone()));
            let other = JobId::from_parts(1, 7);
            let row = LedgerRow { job: other, ..LedgerRow::of(&job, LedgerOutcome::Completed) };
            let published = OtherNames::unseen(other);
            let of = &job.source.identity;
            store.change().ledger(&row, false).other_names(of, &published).apply().expect("writes");
            assert_eq!(names_known(store, &job, told()).expect("is decided"), None, "that one says more");
        }
    }

    #[test]
    fn a_source_with_another_name_is_known_by_it_once_its_job_is_abandoned() {
        let world = World::new();
        let job = held(&world);
        let second = world.path("in/second.txt");
        std::fs::hard_link(world.claimed(), &second).expect("links");
        abandon(&world.shared.store, Some(&world.shared), job.id, "no key", "root").expect("is ended");
        let identity = crate::durable_fs::identity_at(&second).expect("looks").expect("a file");
        let row = world.shared.store.other_names(&identity).expect("reads");
        assert_eq!(row.map(|row| row.job), Some(job.id));
    }

    #[test]
    fn a_job_that_a_kill_left_on_its_way_is_told_as_one_that_a_service_takes_on() {
        let world = World::new();
        let mut job = world.job();
        job.state = JobState::Retiring.into();
        world.shared.save(&job).expect("writes");
        let refused =
            |stages| abandon(&world.shared.store, stages, job.id, "why", "root").expect_err("goes on").error;
        let without = refused(None);
        assert!(without.message.contains("no service is at it"), "{without}");
        assert!(without.hint.is_some_and(|hint| hint.contains("start the service")));
        assert!(refused(Some(&world.shared)).message.contains("waits for nothing"));
    }

    #[test]
    fn a_job_that_goes_on_is_not_abandoned_and_stays_as_it_is() {
        let world = World::new();
        let job = world.job();
        let refused =
            abandon(&world.shared.store, None, job.id, "no patience", "root").expect_err("it goes on");
        assert!(refused.error.message.contains("waits for nothing"), "{}", refused.error);
        assert_eq!(world.row(&job), Some(job));
    }
}
