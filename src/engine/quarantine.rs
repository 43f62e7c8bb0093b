//! Quarantine: where a source goes that must not count as ingested, with the reason beside it.

use std::path::PathBuf;

use super::claim_names::{REASON_SUFFIX, claim_folder, reason_of};
use super::free_name::free_name;
use super::trouble::Trouble;
use crate::durable_fs::{self, OpenTo};
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::Job;
use crate::model::job_state::JobState;
use crate::model::job_view::job_json;
use crate::model::rule::Rule;
use crate::model::shown_json;
use crate::store::Store;

/// The quarantine of a rule, for a source of this job.
pub(super) fn folder(rule: &Rule, job: &Job) -> PathBuf {
    match &rule.source.quarantine_dir {
        Some(folder) => folder.clone(),
        None => claim_folder(rule, job.source.path.as_path()).join("quarantine"),
    }
}

/// [`folder`], made if need be. One that others can write into takes nothing.
pub(super) fn make(rule: &Rule, job: &Job) -> Result<PathBuf, Trouble> {
    let folder = folder(rule, job);
    durable_fs::make_folder_within(durable_fs::parent_of(job.source.path.as_path()), &folder, OpenTo::Owner)?;
    durable_fs::check_own_folder(&folder)?;
    Ok(folder)
}

/// A free name there, with room for that of the reason.
pub(super) fn name(rule: &Rule, job: &Job) -> Result<PathBuf, Trouble> {
    free_name(&folder(rule, job), job.source.path.as_path(), REASON_SUFFIX.len())
}

/// Writes the job's JSON beside a source that went to quarantine. Where the data folder is encrypted, without the texts that may quote a
/// record: why it was refused is told, in words of our own and the name of a file.
/// `because`: an error in words of our own, which the job's row does not have.
pub(super) fn write_reason(store: &Store, job: &Job, because: Option<JobError>) -> Result<(), Trouble> {
    let Some(target) = &job.retired_to else { return Ok(()) };
    let mut told = if store.is_encrypted() { without_texts(job) } else { job.clone() };
    told.error = because.or(told.error);
    durable_fs::write_file(&reason_of(target.as_path()), &document(&told)?, true, 0o640)?;
    Ok(())
}

/// Which job it was, and what kind of error it met; the rest is told by who has the key.
fn without_texts(job: &Job) -> Job {
    let mut job = job.clone();
    let asks =
        format!("`landfall show {}` tells it: what is kept of it is encrypted (`service.at_rest`)", job.id);
    let is_refused = job.state.get() == JobState::Refused;
    if let Some(error) = job.error.as_mut().filter(|_| !is_refused) {
        *error = JobError { kind: error.kind, message: "it is not told here".to_owned(), hint: Some(asks) };
    }
    job.waiting = None;
    job.account.reasons.clear();
    job.account.dropped_by.clear();
    job.entries.clear(); // names of members
    job.content_hash = None; // of the text: who guesses that has it confirmed
    for moment in &mut job.timeline {
        moment.detail.clear();
    }
    job
}

/// The job's JSON, as a manifest and a reason hold it.
pub(super) fn document(job: &Job) -> Result<Vec<u8>, Trouble> {
    shown_json::to_string_pretty(&job_json(job)).map(String::into_bytes).map_err(|error| {
        let message = format!("the JSON of job {} cannot be written down: {error}", job.id);
        Trouble::new(FaultKind::Bug, message, Some("report this with the rule and the names of its files"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn a_refused_source_has_its_jobs_json_beside_it() {
        let world = World::new();
        let mut job = world.job();
        let rule = &*world.rule();
        let folder = make(rule, &job).expect("makes");
        assert_eq!(folder, world.path("in/.landfall/quarantine"));
        write_reason(&world.shared.store, &job, None).expect("it went nowhere");
        job.retired_to = Some(name(rule, &job).expect("is free").into());
        write_reason(&world.shared.store, &job, None).expect("writes");
        let reason = std::fs::read(folder.join("pay.txt.error.json")).expect("is there");
        assert_eq!(reason, document(&job).expect("is made"));
    }

    #[cfg(unix)]
    #[test]
    fn a_quarantine_that_others_can_write_into_takes_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let world = World::new();
        let (rule, job) = (&*world.rule(), world.job());
        let folder = make(rule, &job).expect("makes");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).expect("opens it");
        make(rule, &job).expect_err("anybody could put a file there");
    }
}
