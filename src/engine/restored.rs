//! A store that is an older copy of itself: somebody restored a backup of the data folder.
//!
//! ```text
//! start:   marks of the claim folders -> is the store behind one? -> its jobs are put in doubt, durably -> the start is counted -> marks
//!                                                                     a crash before the count finds the store behind again
//! ```
//!
//! The mark that a service leaves in a claim folder before it claims anything there says how often its store was started. A backup is
//! taken while no service runs, so that every later start has left a higher mark. What such a store has as unfinished may have been
//! published since: to go on with it by itself could publish it twice. What it does not know lies in the claim folders, and is told by
//! [`super::strays`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::marks::seen_mark;
use super::shared::Shared;
use super::source::{self, Place};
use super::trouble::Trouble;
use super::{Purpose, fail};
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::rule::{Mode, OnSuccess, Rule};

/// Counts this start of the store; where it turns out to be an older copy of itself, nothing of it goes on unasked.
pub(super) fn count_start(shared: &Shared, purpose: Purpose) -> Result<(), Trouble> {
    let jobs = shared.store.unfinished_jobs()?;
    let of_jobs =
        jobs.iter().filter_map(|job| job.source.claimed.as_ref()?.as_path().parent().map(Path::to_owned));
    let folders: BTreeSet<PathBuf> =
        of_jobs.chain(shared.claims.folders.known(shared.rules.now().iter())).collect();
    let own = shared.store.mark()?;
    let seen = folders
        .iter()
        .filter_map(|folder| seen_mark(folder))
        .filter(|seen| own.as_ref().is_some_and(|own| own.store == seen.store && own.starts < seen.starts));
    let behind = seen.map(|mark| mark.starts).max();
    match (behind, purpose) {
        (Some(_), Purpose::Ingest | Purpose::Rehearse) => return Err(must_be_started_first()),
        (Some(_), Purpose::Serve) => doubt(shared, &jobs)?,
        (None, _) => {}
    }
    let mark = shared.store.count_start(behind.unwrap_or(0))?;
    shared.claims.folders.leave_marks(mark);
    Ok(())
}

fn must_be_started_first() -> Trouble {
    let message = "the store is an older copy of itself: a backup of the data folder was restored";
    Trouble::new(FaultKind::Storage, message, Some("start the service first: it says what is in doubt"))
}

/// Fails what may have been published since the backup, each job with what to look at. The outputs that were about to be renamed go
/// on: what is gone of them was published.
pub(super) fn doubt(shared: &Shared, jobs: &[Job]) -> Result<(), Trouble> {
    let mut doubted = 0;
    for job in jobs {
        let goes_on = job.state.is_past_intent() || job.is_failing();
        // Still a candidate, or gone: both are seen to by the usual way.
        let needs_no_doubt =
            matches!(source::place(job), Ok(Place::NotClaimed | Place::Lost | Place::Changed));
        if goes_on || needs_no_doubt {
            continue;
        }
        shared.store.change().forget_work(job.id).apply()?;
        let mut job = job.clone();
        job.fail(in_doubt(&job).error)?;
        // Whether it is published or taken again, its source is there: nothing of the partials is needed.
        if let Err(trouble) = fail::remove_hidden(shared, &job) {
            tracing::warn!(job = %job.id, error = %trouble.error, "hidden partials of a job in doubt are left behind");
        }
        fail::finish_failing(shared, job)?;
        doubted += 1;
    }
    tracing::warn!(
        jobs = doubted,
        "the store is an older copy of itself, a backup of the data folder was restored: its unfinished jobs may have been published since, \
         and are failed until somebody has looked (`landfall jobs --state failed`)"
    );
    let is_kept = |rule: &&Arc<Rule>| rule.mode == Mode::Live && rule.source.on_success == OnSuccess::Keep;
    for rule in shared.rules.now().iter().filter(is_kept) {
        tracing::warn!(
            rule = rule.name,
            "this rule keeps its files where they lie, and the restored store does not know those that were ingested since its backup: \
             they are ingested again"
        );
    }
    Ok(())
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
    use crate::engine::tests::{World, is_there};
    use crate::model::job_state::{JobEvent, JobState};

    #[test]
    fn a_job_in_doubt_after_a_restored_backup_leaves_no_partials() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        let partial = world.partial_of(&job);
        doubt(&world.shared, std::slice::from_ref(&job)).expect("is decided");
        assert_eq!(world.row(&job).expect("is there").state, JobState::Failed);
        assert!(is_there(&world.claimed()) && !is_there(&partial));
    }
}
