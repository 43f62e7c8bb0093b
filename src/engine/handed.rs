//! A file that a program has just put there, to be taken once (`Act::HandOver`): where a watch was faster, it is that job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::by_hand::refused_at_once;
use super::handle::Engine;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::durable_fs;
use crate::model::fault::FaultKind;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::{OsText, escaped_path};

/// Jobs that are looked through for the one that took it.
const LOOKED_AT_MAX: usize = 1000;
/// Who renamed it has its row in a moment.
const LOOKED_FOR: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Takes it under this rule, to be ended as that says.
pub(super) fn take(
    shared: &Arc<Shared>,
    path: &OsText,
    rule: &str,
    identity: &FileIdentity,
) -> Result<JobId, Trouble> {
    if let Some(job) = at_it(shared, path, identity)? {
        return of_rule(&job, rule);
    }
    let refused = match Engine::ingest_now(shared, path.as_path(), rule, true, true) {
        Ok(id) => return Ok(id),
        Err(refused) => refused,
    };
    let until = Instant::now() + LOOKED_FOR;
    loop {
        // Asked first: one that ends in between is found by its row.
        let is_claimed = !shared.claims.taken.jobs_of(identity).is_empty();
        if let Some(job) = taker(shared, path, identity)? {
            return of_rule(&job, rule);
        }
        let lies_there = durable_fs::identity_at(path.as_path()).ok().flatten();
        if !is_claimed && lies_there.is_some_and(|found| found.same_content(identity)) {
            return Err(refused_at_once(refused));
        }
        if Instant::now() > until {
            let message = format!("{} was taken, and its job is not known yet", escaped_path(path.as_path()));
            let hint = "do not hand it over again: `landfall find --source` tells its job";
            return Err(Trouble::new(FaultKind::Transient, message, Some(hint)));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The job that has it in hand, or kept it.
fn at_it(shared: &Shared, path: &OsText, identity: &FileIdentity) -> Result<Option<Job>, Trouble> {
    for id in shared.claims.taken.jobs_of(identity) {
        let job = shared.store.job(id)?;
        if let Some(job) = job.filter(|job| job.source.identity.same_content(identity)) {
            return Ok(Some(job));
        }
    }
    match shared.store.kept(path, identity)? {
        Some(id) => Ok(shared.store.job(id)?),
        None => Ok(None),
    }
}

/// The same, or one of the newest, which may have ended.
fn taker(shared: &Shared, path: &OsText, identity: &FileIdentity) -> Result<Option<Job>, Trouble> {
    if let Some(job) = at_it(shared, path, identity)? {
        return Ok(Some(job));
    }
    for job in shared.store.jobs_newest_first().take(LOOKED_AT_MAX) {
        let job = job?;
        if job.source.identity.same_content(identity) {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// A watch goes by the rules' patterns, and may have taken it under another rule.
fn of_rule(job: &Job, rule: &str) -> Result<JobId, Trouble> {
    if job.rule == rule {
        return Ok(job.id);
    }
    let message = format!("the service took it under rule \"{}\", as job {}", job.rule, job.id);
    let hint = "hand it over at a path that no other rule watches";
    Err(Trouble::new(FaultKind::Input, message, Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::store::LedgerOutcome;
    use crate::store::LedgerRow;

    #[test]
    fn a_file_that_a_watch_took_first_is_its_job_whether_that_has_ended_or_not_and_is_not_taken_again() {
        let world = World::new();
        let (shared, path) = (&world.shared, OsText::from(world.source()));
        let identity = durable_fs::identity_at(path.as_path()).expect("looks").expect("is there");
        let mut job = world.job();
        (job.source.path, job.source.identity) = (path.clone(), identity);
        shared.claims.taken.enter(&job);
        shared.store.change().job(&job).apply().expect("is written");
        assert_eq!(take(shared, &path, &job.rule, &identity).expect("is known"), job.id);
        let other = take(shared, &path, "other", &identity).expect_err("is of another rule").error;
        assert!(other.message.contains(&job.rule), "{other}");
        // It ended, and left the file where it lies.
        shared.claims.taken.leave(&job);
        let row = LedgerRow::of(&job, LedgerOutcome::Completed);
        shared.store.change().ledger(&row, true).apply().expect("is written");
        assert_eq!(take(shared, &path, &job.rule, &identity).expect("is known"), job.id);
        assert_eq!(shared.store.jobs().count(), 1);
        // It ended, and took the file away.
        durable_fs::remove_file(path.as_path()).expect("is there");
        assert_eq!(take(shared, &path, &job.rule, &identity).expect("is known"), job.id);
    }

    #[test]
    fn a_file_that_nobody_took_is_taken_and_one_that_cannot_be_is_refused_at_once() {
        let world = World::new();
        let (shared, path) = (&world.shared, OsText::from(world.source()));
        let identity = durable_fs::identity_at(path.as_path()).expect("looks").expect("is there");
        let begun = Instant::now();
        take(shared, &path, "nobody", &identity).expect_err("there is no such rule");
        assert!(begun.elapsed() < LOOKED_FOR);
        let id = take(shared, &path, "payments", &identity).expect("is taken");
        assert_eq!(take(shared, &path, "payments", &identity).expect("is known"), id);
    }
}
