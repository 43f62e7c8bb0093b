//! A store that is an older copy of itself: somebody restored a backup of the data folder.
//!
//! ```text
//! start:   marks of the claim folders -> is the store behind one? -> its jobs are put in doubt, durably -> the start is counted -> marks
//!                                                                     a crash before the count finds the store behind again
//! ```
//!
//! [`super::opening`] takes these steps. A claim folder whose file system hangs is not waited for: its mark is compared with what the store's
//! own was before, once it can be read.
//!
//! The mark that a service leaves in a claim folder before it claims anything there says how often its store was started. A backup is
//! taken while no service runs, so that every later start has left a higher mark. What such a store has as unfinished may have been
//! published since: to go on with it by itself could publish it twice. What it does not know lies in the claim folders, and is told by
//! [`super::strays`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::fail;
use super::marks::seen_mark;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::source::{self, Place};
use super::trouble::Trouble;
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::rule::{Mode, OnSuccess, Rule};
use crate::store::Mark;

/// How often the store of the marks in these claim folders was started, where it is this store and that is more often than it knows.
pub(super) fn later_start(own: Option<&Mark>, claim_folders: &BTreeSet<PathBuf>) -> Option<u64> {
    let own = own?;
    let seen = claim_folders.iter().filter_map(|folder| seen_mark(folder));
    seen.filter(|seen| seen.store == own.store && seen.starts > own.starts).map(|seen| seen.starts).max()
}

pub(super) fn must_be_started_first() -> Trouble {
    let message = "the store is an older copy of itself: a backup of the data folder was restored";
    Trouble::new(FaultKind::Storage, message, Some("start the service first: it says what is in doubt"))
}

/// Fails a job that may have been published since the backup, with what to look at. The outputs that were about to be renamed go on: what
/// is gone of them was published.
pub(super) fn doubt(shared: &Shared, job: &Job) -> Result<(), Trouble> {
    // Still a candidate, or gone: both are seen to by the usual way.
    let needs_none = matches!(source::place(job), Ok(Place::NotClaimed | Place::Lost | Place::Changed));
    if needs_none || !is_doubtful(job) {
        return Ok(());
    }
    let job = fail_in_doubt(shared, job)?;
    // Whether it is published or taken again, its source is there: nothing of the partials is needed.
    if let Err(trouble) = fail::remove_hidden(shared, &job) {
        tracing::warn!(job = %job.id, error = %trouble.error, "hidden partials of a job in doubt are left behind");
    }
    fail::finish_failing(shared, job)
}

/// The same, without a look at where its source lies, which is a file system that hangs: a finisher ends it.
pub(super) fn doubt_unseen(shared: &Shared, job: &Job) -> Result<(), Trouble> {
    if is_doubtful(job) {
        let job = fail_in_doubt(shared, job)?;
        shared.dispatch.queue(Stage::Finish, &Owner::of(&job), job.id);
    }
    Ok(())
}

fn is_doubtful(job: &Job) -> bool {
    !job.state.is_past_intent() && !job.is_failing()
}

fn fail_in_doubt(shared: &Shared, job: &Job) -> Result<Job, Trouble> {
    let mut job = job.clone();
    job.fail(in_doubt(&job).error)?;
    shared.store.change().forget_work(job.id).job(&job).apply()?;
    Ok(job)
}

/// Tells that a backup was restored, and what follows.
pub(super) fn tell(shared: &Shared) {
    tracing::warn!(
        "the store is an older copy of itself, a backup of the data folder was restored: its unfinished jobs may have been published since, \
         and are failed until somebody has looked (`landfall jobs --state failed`). Files that were ingested by hand since, and other names \
         (hard links) of files that were taken since, are taken again where a rule watches them"
    );
    let is_kept = |rule: &&Arc<Rule>| rule.mode == Mode::Live && rule.source.on_success == OnSuccess::Keep;
    for rule in shared.rules.now().iter().filter(is_kept) {
        tracing::warn!(
            rule = rule.name,
            "this rule keeps its files where they lie, and the restored store does not know those that were ingested since its backup: \
             they are ingested again"
        );
    }
}

fn in_doubt(job: &Job) -> Trouble {
    let source: &OsText = job.source_path();
    let message = "an older copy of the store was restored: this job may have been published since";
    let hint = format!(
        "look whether its outputs are there: if not, `landfall retry {}`; if they are, move its source {source} to another place",
        job.id
    );
    Trouble::new(FaultKind::Storage, message, Some(&hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::engine::dispatch::Crew;
    use crate::engine::marks::leave_mark;
    use crate::engine::tests::{World, is_there};
    use crate::model::job_state::{JobEvent, JobState};

    #[test]
    fn a_job_in_doubt_after_a_restored_backup_leaves_no_partials() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        let partial = world.partial_of(&job);
        doubt(&world.shared, &job).expect("is decided");
        assert_eq!(world.row(&job).expect("is there").state, JobState::Failed);
        assert!(is_there(&world.claimed()) && !is_there(&partial));
    }

    #[test]
    fn a_paused_job_is_in_doubt_as_any_other() {
        for hangs in [false, true] {
            let world = World::new();
            let mut job = world.job();
            world.rename();
            job.take(JobEvent::Started, clock::now(), "").expect("starts");
            job.pause(clock::now(), "root").expect("is running");
            world.shared.save(&job).expect("writes");
            let decide = if hangs { doubt_unseen } else { doubt };
            decide(&world.shared, &job).expect("is decided");
            if hangs {
                crate::engine::finish::finish_batch(&world.shared, vec![job.id]).expect("ends");
            }
            let row = world.row(&job).expect("is there");
            assert_eq!((row.state.get(), row.waiting), (JobState::Failed, None));
            assert!(is_there(&world.claimed()));
        }
    }

    #[test]
    fn a_job_in_doubt_whose_file_system_hangs_is_failed_by_a_finisher_and_loaded_by_nobody() {
        let world = World::new();
        let job = world.job();
        doubt_unseen(&world.shared, &job).expect("is written down");
        assert!(world.row(&job).expect("is there").is_failing());
        let mut seat = world.shared.dispatch.seat(Crew::Finishers);
        assert_eq!(world.shared.dispatch.next_batch(&mut seat), Some(vec![job.id]));
    }

    #[test]
    fn a_store_is_behind_a_later_mark_of_its_own_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = |store: &str, starts| Mark { store: store.to_owned(), starts };
        let folders: BTreeSet<_> = [("a", "own", 7), ("b", "own", 9), ("c", "other", 99)]
            .map(|(name, store, starts)| {
                let path = folder.path().join(name);
                std::fs::create_dir(&path).expect("makes");
                leave_mark(&path, &mark(store, starts)).expect("writes");
                path
            })
            .into();
        let later = |own: Mark| later_start(Some(&own), &folders);
        assert_eq!(
            [later(mark("own", 8)), later(mark("own", 9)), later(mark("new", 1))],
            [Some(9), None, None]
        );
        assert_eq!(later_start(None, &folders), None, "it was never started");
    }
}
