//! Files that are gone before an engine that stands aside could read them: each has a row that says so.

use std::path::Path;

use super::claims;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::job_state::JobEvent;
use crate::model::pattern::Values;
use crate::model::rule::Rule;

/// Notes a file that is gone as a job that ended before it began; `why` follows "it was gone before it was".
pub(super) fn note(
    shared: &Shared,
    rule: &Rule,
    path: &Path,
    identity: &FileIdentity,
    values: &Values,
    why: &str,
) {
    note_as(new_id(shared), shared, rule, path, identity, values, why);
}

/// For a job that is going to tell of such a file.
pub(super) fn new_id(shared: &Shared) -> JobId {
    shared.claims.ids.next(claims::random_tail())
}

/// The same, as the job of this id.
pub(super) fn note_as(
    id: JobId,
    shared: &Shared,
    rule: &Rule,
    path: &Path,
    identity: &FileIdentity,
    values: &Values,
    why: &str,
) {
    let source = Source { retire: true, ..Source::found(path, *identity) };
    let mut job =
        Job { vars: values.clone(), ..Job::queued(id, &rule.name, &rule.hash(), source, clock::now()) };
    job.is_gone = true;
    let ended = job.take(JobEvent::GivenBack, clock::now(), &format!("it was gone before it was {why}"));
    let written =
        ended.map_err(Trouble::from).and_then(|()| Ok(shared.store.change().rule(rule).job(&job).apply()?));
    if let Err(trouble) = written {
        tracing::warn!(path = %job.source.path, error = %trouble.error, "that this file is gone is not noted");
    }
}

/// A file has a job again: what told that it is gone tells that it came again.
pub(super) fn came_again(shared: &Shared, identity: &FileIdentity) {
    let Some(id) = shared.claims.held.came_again(identity) else { return };
    let changed = shared.store.job(id).and_then(|job| match job {
        // Else it is ending just now, and sees by itself that its file came again.
        Some(job) if job.state.is_final() => {
            shared.store.change().job(&Job { is_gone: false, ..job }).apply()
        }
        _ => Ok(()),
    });
    if let Err(error) = changed {
        tracing::warn!(job = %id, %error, "that this file came again is not noted");
    }
}
