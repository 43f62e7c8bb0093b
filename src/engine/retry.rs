//! Retrying: from its source again, under the current rule, or the one that it went by before. A job that was refused or held as a resend is taken all the same then.

use super::by_hand::{by_hand, is_watched};
use super::held_records::Kept;
use super::rule_book::stored;
use super::source::{ask_folder, folder_of, is_source, out_of_reach};
use super::taken::{TakenAs, TakenFiles, kept_by};
use super::trouble::Trouble;
use super::{archive, fail, held_records, landing_roots};
use std::sync::Arc;

use crate::clock;
use crate::durable_fs::{self, Presence};
use crate::model::account::Account;
use crate::model::complete_by::CompleteBy;
use crate::model::delivery::Delivery;
use crate::model::fault::{FaultKind, WaitsFor};
use crate::model::identity::FileIdentity;
use crate::model::job::{HeldRecords, Job};
use crate::model::job_id::JobId;
use crate::model::job_state::{JobEvent, JobState};
use crate::model::os_text::OsText;
use crate::model::rule::Rule;
use crate::model::settling;
use crate::store::{LedgerOutcome, LedgerRow, Store};

/// How a job is to be taken again.
pub(super) struct Asked<'a> {
    /// What was decided on its failed records does not count any more.
    pub forgets_decisions: bool,
    /// Not under the current rule, but under the one that it went by last.
    pub same_rule: bool,
    pub by: &'a str,
}

/// Queues a failed, refused or held job again; its source will be taken out of quarantine. The caller tells the running engine, if there is one.
pub(super) fn retry<'r>(
    store: &Store,
    taken: Option<&TakenFiles>,
    rules: impl IntoIterator<Item = &'r Rule>,
    id: JobId,
    asked: &Asked<'_>,
) -> Result<Job, Trouble> {
    let job = retriable(store, id)?;
    if job.waits_for_delivery() {
        return go_ahead(store, job, asked.by);
    }
    let rules: Vec<_> = rules.into_iter().collect();
    // Entered before it is asked for, as a claim is: of two jobs of one file the first goes on.
    let Some(taken) = taken.filter(|_| job.state.is_final()) else {
        return from_source(store, taken, &rules, job, asked);
    };
    let queued = match taken.begin(&job) {
        Some(other) if job.parent.is_none() => Err(twice(id, &other)),
        _ => from_source(store, Some(taken), &rules, job.clone(), asked),
    };
    match &queued {
        Ok(queued) => taken.enter_as(&job, queued),
        Err(_) => taken.leave(&job),
    }
    queued
}

fn from_source(
    store: &Store,
    taken: Option<&TakenFiles>,
    rules: &[&Rule],
    job: Job,
    asked: &Asked<'_>,
) -> Result<Job, Trouble> {
    let (id, published_as, known) = (job.id, job.clone(), store.ledger(job.id)?);
    let kept = held_records::kept_by_retry(store, &job, asked.forgets_decisions)?;
    let own = own_rule(store, &job, kept.as_ref(), asked)?;
    let own = own.as_ref().map(|own| vec![own]);
    let (mut job, rule) = prepared(store, taken, own.as_deref().unwrap_or(rules), job)?;
    let quarantined = job.retired_to.clone();
    job.retire_to(None);
    let left = store.rule(&job.rule_hash)?.filter(|left| left != rule);
    if kept.is_none() {
        // They go with the records that they were about.
        settling::tell_in_history(&store.settlements(id)?, &mut job);
        job.trim_history();
    }
    reset(&mut job, rule, kept.as_ref(), asked)?;
    // The row first: a crash before the rename leaves the file where recovery still finds it.
    quarantined.map_or(Ok(()), |from| job.retrieve(from))?;
    let row = LedgerRow::of(&job, LedgerOutcome::Claimed);
    let mut changes = store.change();
    if published_as.state == JobState::Publishing {
        changes.forget_delivery(&published_as);
    }
    let is_kept = job.source.claimed.is_none() && job.source.retire && job.parent.is_none();
    if let Some(known) = known.filter(|known| is_kept && known.identity != row.identity) {
        changes.kept_again(&known, row.clone());
    }
    changes.rule(rule).job(&job).ledger(&row, false).forget_work(id);
    match &kept {
        Some(kept) => kept.keep(&job, asked.by, &mut changes).apply()?,
        None => changes.forget_failed_records(id, 0).forget_settlements(id).apply()?,
    }
    store.sync()?;
    if let Some(left) = left {
        fail::remove_hidden_of(&left, &published_as);
    }
    Ok(job) // the loader takes the source out of quarantine, so that a restart takes the same path
}

/// The rule that it went by, where it is to go by that again.
fn own_rule(
    store: &Store,
    job: &Job,
    kept: Option<&Kept>,
    asked: &Asked<'_>,
) -> Result<Option<Rule>, Trouble> {
    // What was decided is about records as its own rule cuts them.
    (asked.same_rule || kept.is_some()).then(|| stored(store, job)).transpose()
}

/// Refuses what a retry would refuse.
pub(super) fn would(
    store: &Store,
    taken: Option<&TakenFiles>,
    rules: &[&Rule],
    id: JobId,
    asked: &Asked<'_>,
) -> Result<(), Trouble> {
    let job = retriable(store, id)?;
    if job.waits_for_delivery() {
        return Ok(());
    }
    let kept = held_records::kept_by_retry(store, &job, asked.forgets_decisions)?;
    let own = own_rule(store, &job, kept.as_ref(), asked)?;
    let own = own.as_ref().map(|own| vec![own]);
    prepared(store, taken, own.as_deref().unwrap_or(rules), job).map(drop)
}

/// A job as it is retried, and the rule under which it is, where its source is there and nobody else's.
fn prepared<'r>(
    store: &Store,
    taken: Option<&TakenFiles>,
    rules: &[&'r Rule],
    mut job: Job,
) -> Result<(Job, &'r Rule), Trouble> {
    landing_roots::distrust_those_of(store, &job.rule_hash)?; // its rule may have had other paths
    let rule = current_rule(rules.iter().copied(), &job)?;
    if !job.source.ends_as(rule) {
        return Err(ends_otherwise(&job, rule));
    }
    if job.state == JobState::Publishing {
        archive::forget_plan(&mut job); // the source is still where it was claimed
    }
    let is_moved = job.retired_to.as_ref().is_none_or(lies_at) || !lies_at(job.source_path());
    if job.abandoned.is_some() && !is_moved {
        job.retire_to(None); // it was abandoned before its source was moved there
    }
    let from = job.retired_to.clone().unwrap_or_else(|| job.source_path().clone());
    match ask_folder(&from)? {
        Presence::Here(found) => {
            check_is_same(store, rules, &job, &found)?;
            // Of one that is run again, an operator wants it twice.
            if job.parent.is_none() {
                check_not_taken(store, taken, &job, &from, &found)?;
            }
            note_as_found(&mut job, &found);
        }
        Presence::FolderAway => return Err(out_of_reach(&folder_of(&from))),
        Presence::Gone(_) => {
            return Err(refuse(
                format!("the source is not at {from} any more"),
                &format!("put it back there, or drop it into the watched folder; {}", ends_it(job.id)),
            ));
        }
    }
    Ok((job, rule))
}

fn lies_at(path: &OsText) -> bool {
    ask_folder(path).is_ok_and(|seen| seen.file().is_some())
}

/// A file that stays where it lies, and is the job's, is what it is now from here on: it may have other rights or names, and its device
/// another number. By what it was then it would not be known again after the next mount.
fn note_as_found(job: &mut Job, found: &FileIdentity) {
    if job.source.claimed.is_none()
        && job.state.is_final()
        && job.source.identity != *found
        && let Some(kept_as) = durable_fs::kept_as(job.source_path().as_path(), found)
    {
        job.source.identity = *found;
        job.source.kept_as = Some(kept_as);
    }
}

/// Whether a file that stays where it lies is the one that the job found there. Another one is taken by the watch, or by nobody. What only
/// counts as this job's as long as that has not let go of it goes its way: given back, it is taken anew.
fn check_is_same(store: &Store, rules: &[&Rule], job: &Job, found: &FileIdentity) -> Result<(), Trouble> {
    if job.source.claimed.is_some() || is_source(job, found) {
        return Ok(());
    }
    if let Some(parent) = job.parent {
        let message = format!("{} is not what job {} read: it was changed since", job.source_path(), job.id);
        return Err(refuse(
            message,
            &format!("`landfall rerun {parent}` takes what is there now, if it can be"),
        ));
    }
    let path = &job.source.path;
    let known = store.kept(path, found)?;
    let rules: Vec<_> = rules.iter().map(|rule| Arc::new(Rule::clone(rule))).collect();
    let hint = match known {
        Some(other) if other != job.id => format!("job {other} has it as it is now"),
        _ if !is_watched(&rules, path.as_path()) => format!("no rule watches it there: {}", by_hand(job)),
        Some(_) => return Ok(()),
        None => "it is taken anew as it is now: `landfall explain` says what it waits for".to_owned(),
    };
    Err(refuse(format!("{path} is not what job {} read: it was changed since", job.id), &hint))
}

/// Whether another job has, or has published, the file of a job: one to which it was offered by another name since. What lies in quarantine may
/// be a copy, and the other names those of the file that it was copied from. An operator who named a file may have it after other jobs.
fn check_not_taken(
    store: &Store,
    taken: Option<&TakenFiles>,
    job: &Job,
    from: &OsText,
    found: &FileIdentity,
) -> Result<(), Trouble> {
    let (at, was) = (from.as_path(), &job.source.identity);
    let is_copy = !found.same_file(was);
    let names = durable_fs::names_of(at)?;
    let may_have_others = names > 1 || is_copy || job.source.claimed.is_none();
    let of_store = if taken.is_none() && may_have_others { Some(TakenFiles::of(store)?) } else { None };
    if let Some(taken) = taken.or(of_store.as_ref()) {
        for (identity, names) in [(found, names), (was, u64::MAX)] {
            if let Some(other) = taken.unfinished(store, at, identity, names, Some(job.id))? {
                return Err(twice(job.id, &other));
            }
        }
    }
    let mut published = kept_by(store, from, found, (at, found))?;
    published.extend(kept_by(store, &job.source.path, was, (at, found))?);
    for (identity, made) in [(found, durable_fs::born_ns(at)), (was, None)] {
        let done = TakenFiles::done(store, at, identity, || made)?;
        published.extend(done.filter(TakenAs::is_published));
    }
    let is_by_hand = job.source.complete_by == Some(CompleteBy::Command);
    let is_later = |other: &&TakenAs| other.job() != job.id && (!is_by_hand || other.job() > job.id);
    published.iter().find(is_later).map_or(Ok(()), |other| Err(twice(job.id, other)))
}

fn twice(id: JobId, other: &TakenAs) -> Trouble {
    let message = format!("the source of job {id} would be published a second time: {}", other.told());
    refuse(message, &format!("to have it twice, copy it into the watched folder; {}", ends_it(id)))
}

/// How a job that is not going to be retried is nobody's to look at any more.
fn ends_it(id: JobId) -> String {
    format!("`landfall abandon {id} --reason TEXT` ends the job, if nothing is left to be done for it")
}

/// The rule as it is now.
pub(super) fn current_rule<'r>(
    rules: impl IntoIterator<Item = &'r Rule>,
    job: &Job,
) -> Result<&'r Rule, Trouble> {
    rules.into_iter().find(|rule| rule.is_for(&job.rule, &job.vars)).ok_or_else(|| {
        refuse(
            format!("no rule is named \"{}\" any more", job.rule),
            "give the rule its name back in the configuration; `landfall retry --same-rule` takes a job that failed by the rule that it went by",
        )
    })
}

/// A job that can be retried, as it is.
pub(super) fn retriable(store: &Store, id: JobId) -> Result<Job, Trouble> {
    let job = known(store, id)?;
    if job.may_lack_an_output() {
        return nothing_published(store, job);
    }
    if !job.is_retriable() {
        return Err(not_retriable(&job));
    }
    Ok(job)
}

/// Takes an operator's word that a delivery need not wait for the earlier ones of its key.
fn go_ahead(store: &Store, mut job: Job, by: &str) -> Result<Job, Trouble> {
    job.delivery.goes_ahead = true;
    job.waiting = None;
    job.note(clock::now(), &format!("retried by {by}: to be taken ahead of earlier deliveries of its key"));
    store.change().job(&job).apply()?;
    store.sync()?;
    Ok(job)
}

/// A rule that keeps what others moved, or moves what stayed.
fn ends_otherwise(job: &Job, rule: &Rule) -> Trouble {
    let why = if job.source.claimed.is_some() {
        "was taken away from where it lay, and by the rule as it is now it would stay there"
    } else {
        "stayed where it lies, and by the rule as it is now it would be taken away"
    };
    let message = format!("the source of job {} {why} (rule \"{}\", `source.on_success`)", job.id, rule.name);
    refuse(message, "give the rule its `on_success` back until this job has ended")
}

/// Why a job of this state is not retried.
pub(super) fn not_retriable(job: &Job) -> Trouble {
    if let (Some(parent), Some(_), true) = (job.parent, &job.retries, job.state.is_final()) {
        let message = format!("job {} is {}: it has failed records of job {parent}", job.id, job.state);
        let hint = format!(
            "`landfall records {parent}` lists those that came back; `landfall records {parent} retry` takes them again"
        );
        return refuse(message, &hint);
    }
    let message = match job.state.get() {
        JobState::Aborted => format!("job {} is not retried", job.id),
        state => format!("job {} is {state}: only a failed, refused or aborted job can be retried", job.id),
    };
    refuse(message, &way_of(job))
}

/// How a job of this state comes to its end.
fn way_of(job: &Job) -> String {
    let way = match job.state.get() {
        _ if job.is_failing() => {
            "it is being ended: once it has, it can be retried; `landfall show` says what is in its way"
        }
        JobState::Queued => "it has not begun: `landfall run` takes it",
        JobState::Running => "it is being worked: `landfall show` says how far it is",
        JobState::Paused => "`landfall resume` lets it go on",
        JobState::Held => match job.waiting.as_ref().map(|waiting| waiting.waits_for) {
            Some(WaitsFor::Config) => "mend what `landfall show` names: it goes on by itself then",
            Some(WaitsFor::Settling) => "`landfall show` says what an operator has to decide",
            Some(WaitsFor::Delivery) => "it goes on after the earlier delivery that `landfall show` names",
            _ => {
                "it goes on by itself once what `landfall show` names is mended; to take it from its source again, `landfall abort` it first"
            }
        },
        JobState::Publishing | JobState::Retiring => {
            "its records are irrevocably being published: `landfall show` says what is in its way"
        }
        JobState::Completed => return once_more(job),
        JobState::Aborted if !job.outputs.is_empty() => {
            "it was abandoned, and some of it is published: a retry would publish that twice"
        }
        JobState::Aborted => return given_back(job),
        JobState::Failed | JobState::Refused => "see `landfall show`",
    };
    way.to_owned()
}

fn given_back(job: &Job) -> String {
    format!("its file was given back: where a rule watches it is taken as it is now; else {}", by_hand(job))
}

/// How a file that was ingested is taken once more.
pub(super) fn once_more(job: &Job) -> String {
    match (&job.retired_to, &job.source.claimed) {
        (None, Some(_)) => "it is done, and its file was deleted: its sender may have it".to_owned(),
        _ => format!("it is done: `landfall rerun {}` takes its file once more", job.id),
    }
}

pub(super) fn known(store: &Store, id: JobId) -> Result<Job, Trouble> {
    store.job(id)?.ok_or_else(|| refuse(format!("there is no job {id}"), "see `landfall jobs`"))
}

/// A job that misses a hidden output starts from its source again only where none of the others has appeared: they would come twice.
fn nothing_published(store: &Store, job: Job) -> Result<Job, Trouble> {
    let intent = store.intent(job.id)?.unwrap_or_default();
    if !intent.outputs.is_empty() && intent.is_unpublished() {
        return Ok(job);
    }
    let message =
        format!("other outputs of job {} may be published already: a retry would publish them twice", job.id);
    let hint = "put the hidden output back, or `landfall retry --accept-missing` goes on without it; its source is archived then, and can be taken from there";
    Err(refuse(message, hint))
}

pub(super) fn refuse(message: String, hint: &str) -> Trouble {
    Trouble::new(FaultKind::Input, message, Some(hint))
}

fn reset(job: &mut Job, rule: &Rule, kept: Option<&Kept>, asked: &Asked<'_>) -> Result<(), Trouble> {
    let Asked { same_rule, by, .. } = *asked;
    // What an operator gave up it was before.
    let gave_up = job.abandoned.is_some().then(|| job.timeline.iter().rev().map(|moment| moment.state));
    let before = gave_up.and_then(|mut states| states.find(|state| *state != JobState::Aborted));
    let was = before.filter(|state| state.is_final()).unwrap_or_else(|| job.state.get());
    let is_bad = matches!(was, JobState::Failed | JobState::Publishing | JobState::Aborted);
    let settles = !(is_bad || job.waits_for_records());
    let event = match job.state.get() {
        JobState::Held => JobEvent::Mended,
        JobState::Publishing => JobEvent::Unpublished,
        _ => JobEvent::Retried,
    };
    // To take a further delivery of a key does not mean to take what was published already.
    let content_approved = was == JobState::Refused || job.delivery.content_approved;
    let why = if settles { ": to be taken all the same" } else { "" };
    let with = match (kept, same_rule) {
        (Some(_), _) => ", by what was decided on its failed records",
        (None, true) => ", by the rule that it went by before",
        (None, false) => "",
    };
    job.take(event, clock::now(), &format!("retried by {by}{why}{with}"))?;
    let key_approved = settles || job.delivery.key_approved;
    job.delivery = Delivery { key_approved, content_approved, ..Delivery::default() };
    job.rule_hash = rule.hash();
    job.error = None;
    job.held_records = HeldRecords { decided: kept.map_or(0, Kept::records), waiting: 0 };
    job.source.forget_copies();
    job.suspect(None)?;
    job.account = Account::default();
    job.entries.clear();
    job.outputs.clear();
    job.content_hash.take_if(|_| kept.is_none()); // what was decided counts for that content alone
    job.abandoned = None;
    job.slices = crate::model::job::Slices::default();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fail;
    use crate::engine::tests::World;

    fn failed() -> (World, Job) {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        job.account.records_in = 7;
        let fault = Trouble::new(FaultKind::Input, "not what the rule expects", None);
        fail::give_back_or_fail(&world.shared, job.clone(), &fault).expect("fails");
        let row = world.row(&job).expect("is there");
        (world, row)
    }

    const ASKED: Asked<'static> = Asked { forgets_decisions: false, same_rule: false, by: "root" };

    fn retried(world: &World, job: &Job) -> Result<Job, Trouble> {
        retry(&world.shared.store, None, [&*world.rule()], job.id, &ASKED)
    }

    #[test]
    fn a_failed_job_starts_with_a_clean_sheet_and_knows_where_its_source_is() {
        let (world, job) = failed();
        let quarantined = job.retired_to.clone().expect("it is in quarantine");
        let row = retried(&world, &job).expect("is queued");
        assert_eq!((row.state.get(), row.account.records_in, &row.error), (JobState::Queued, 0, &None));
        assert_eq!((row.retrieved_from(), &row.retired_to), (Some(&quarantined), &None));
    }

    #[test]
    fn a_source_that_was_taken_away_is_not_retried_under_a_rule_by_which_it_would_stay() {
        let (world, job) = failed();
        let mut rule = Rule::clone(&world.rule());
        rule.source.on_success = crate::model::rule::OnSuccess::Keep;
        let refused =
            retry(&world.shared.store, None, [&rule], job.id, &ASKED).expect_err("it could not end");
        assert!(refused.error.message.contains("source.on_success"), "{}", refused.error);
        assert_eq!(world.row(&job), Some(job));
    }

    #[test]
    fn what_is_hidden_where_the_rule_put_outputs_before_goes_when_a_job_is_retried_under_another() {
        let (world, job) = failed();
        let hidden = world.path(&format!("out/.landfall-{}-0.partial", job.id));
        std::fs::create_dir_all(world.path("out")).expect("makes");
        std::fs::write(&hidden, "half").expect("it could not be removed when the job failed");
        let mut rule = Rule::clone(&world.rule());
        for output in rule.outputs.values_mut() {
            output.path = world.path("other/{stem}").to_str().expect("UTF-8").to_owned();
        }
        retry(&world.shared.store, None, [&rule], job.id, &ASKED).expect("is queued");
        assert!(!crate::engine::tests::is_there(&hidden));
    }

    #[test]
    fn a_job_whose_source_is_gone_is_not_retried_and_stays_as_it_is() {
        let (world, job) = failed();
        let quarantined = job.retired_to.clone().expect("it is in quarantine");
        crate::durable_fs::remove_file(quarantined.as_path()).expect("somebody takes it");
        let refused = retried(&world, &job).expect_err("there is nothing to take");
        assert!(refused.error.message.contains("is not at"), "{}", refused.error);
        assert_eq!(world.row(&job), Some(job));
    }

    /// It may be on either side of the rename that nobody waited for.
    #[test]
    fn a_failing_job_that_was_abandoned_is_retried_from_where_its_source_is() {
        for is_moved in [false, true] {
            let world = World::new();
            let mut job = world.job();
            world.rename();
            job.fail(Trouble::new(FaultKind::Input, "not what the rule expects", None).error).expect("fails");
            let quarantined = world.path("in/.landfall/quarantine/pay.txt");
            job.retired_to = Some(quarantined.as_path().into());
            let detail = "its quarantine is away".into();
            let waits_for = WaitsFor::Mount;
            job.waiting = Some(crate::model::job::Waiting { behind: None, waits_for, until: None, detail });
            world.shared.save(&job).expect("writes");
            if is_moved {
                std::fs::create_dir(quarantined.parent().expect("a folder")).expect("makes");
                durable_fs::rename_no_replace(&world.claimed(), &quarantined).expect("renames");
            }
            let (store, stages) = (&world.shared.store, Some(&world.shared));
            crate::engine::abandon::abandon(store, stages, job.id, "why", "root").expect("is ended");
            assert_eq!(world.row(&job).expect("is there").state, JobState::Failed);
            assert!(stages.is_some_and(|it| it.dispatch.take_up_within(job.id, std::time::Duration::ZERO)));
            let row = retried(&world, &job).expect("is queued");
            let from = is_moved.then(|| quarantined.as_path().into());
            assert_eq!(
                (row.state.get(), row.retrieved_from(), &row.retired_to),
                (JobState::Queued, from.as_ref(), &None)
            );
        }
    }

    #[test]
    fn a_job_that_is_being_ended_well_is_neither_abandoned_nor_retried_and_says_so() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.fail(Trouble::new(FaultKind::Input, "not what the rule expects", None).error).expect("fails");
        world.shared.save(&job).expect("writes");
        let store = &world.shared.store;
        let refused =
            crate::engine::abandon::abandon(store, None, job.id, "why", "root").expect_err("it ends");
        assert!(refused.error.hint.is_some_and(|hint| hint.contains("ends by itself")));
        let refused = retried(&world, &job).expect_err("it has not ended");
        assert!(refused.error.hint.is_some_and(|hint| hint.contains("being ended")));
        assert_eq!(world.row(&job), Some(job));
    }

    #[test]
    fn what_was_run_again_and_changed_since_is_not_retried_and_names_what_takes_it() {
        let world = World::with("source = { on_success = \"keep\" }\n");
        let mut job = world.job();
        job.source.claimed = None;
        job.parent = Some(JobId::from_parts(7, 7));
        job.fail(Trouble::new(FaultKind::Input, "not what the rule expects", None).error).expect("fails");
        job.end_failing(clock::now()).expect("ends");
        world.shared.save(&job).expect("writes");
        std::fs::write(world.source(), "another\n").expect("writes");
        let refused = retried(&world, &job).expect_err("it would only end again");
        let way = format!("landfall rerun {}", JobId::from_parts(7, 7));
        assert!(
            refused.error.hint.as_ref().is_some_and(|hint| hint.contains(&way)),
            "{:?}",
            refused.error.hint
        );
        assert_eq!(world.row(&job), Some(job));
    }

    #[cfg(unix)]
    #[test]
    fn a_kept_file_with_other_rights_is_what_it_is_now_from_a_retry_on_also_after_a_remount() {
        use std::os::unix::fs::PermissionsExt as _;

        let world = World::with("source = { on_success = \"keep\" }\n");
        let (mut job, store, path) = (world.job(), &world.shared.store, world.source());
        job.source.claimed = None;
        job.source.kept_as = durable_fs::kept_as(&path, &job.source.identity);
        job.fail(Trouble::new(FaultKind::Input, "not what the rule expects", None).error).expect("fails");
        job.end_failing(clock::now()).expect("ends");
        let row = LedgerRow::of(&job, LedgerOutcome::Failed);
        store.change().job(&job).ledger(&row, true).apply().expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("are set");
        let found = durable_fs::identity_at(&path).expect("looks").expect("is there");
        assert_ne!(found, job.source.identity);
        let row = retried(&world, &job).expect("is queued");
        let ledger = store.ledger(job.id).expect("reads").expect("is there");
        assert_eq!((row.source.identity, ledger.identity), (found, found));
        let mounted_anew = FileIdentity { device: found.device + 1, ..found };
        for identity in [found, mounted_anew] {
            let known = store.kept_by(&job.source.path, &identity, false).expect("reads");
            assert_eq!(known, crate::store::KeptFile::Of(job.id), "without its bytes");
        }
    }

    #[test]
    fn a_job_that_goes_on_by_itself_is_not_retried_and_says_how() {
        let world = World::new();
        let job = world.job();
        let refused = retried(&world, &job).expect_err("it has not begun");
        assert!(refused.error.hint.is_some_and(|hint| hint.contains("landfall run")));
    }

    #[test]
    fn a_job_of_a_rule_that_is_gone_is_not_retried() {
        let (world, job) = failed();
        let refused =
            retry(&world.shared.store, None, &[], job.id, &ASKED).expect_err("nobody knows its rule");
        assert!(refused.error.message.contains("payments"), "{}", refused.error);
    }
}
