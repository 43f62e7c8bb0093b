//! Jobs that miss hidden outputs, which somebody removed before they were published.

use super::retry::{known, refuse};
use super::trouble::Trouble;
use crate::clock;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::store::Store;

/// A job that misses a hidden output starts from its source again only where none of the others has appeared: they would come twice.
pub(super) fn nothing_published(store: &Store, job: Job) -> Result<Job, Trouble> {
    let intent = store.intent(job.id)?.unwrap_or_default();
    if !intent.outputs.is_empty() && intent.is_unpublished() {
        return Ok(job);
    }
    let message =
        format!("other outputs of job {} may be published already: a retry would publish them twice", job.id);
    let hint = "put the hidden output back, or `landfall retry --accept-missing` goes on without it; its source is archived then, and can be taken from there";
    Err(refuse(message, hint))
}

/// Takes an operator's word that the hidden outputs which are gone count as published: the job goes on with the others.
pub(super) fn accept_missing(store: &Store, id: JobId, by: &str) -> Result<Job, Trouble> {
    let mut job = known(store, id)?;
    let intent = if job.may_lack_an_output() { store.intent(id)? } else { None };
    let Some(mut intent) = intent else {
        return Err(refuse(
            format!("job {id} misses no hidden output"),
            "`landfall show` says what it waits for",
        ));
    };
    if intent.accept_missing()? == 0 {
        return Err(refuse(
            format!("no hidden output of job {id} is missing"),
            "`landfall show` says what it waits for",
        ));
    }
    job.waiting = None;
    job.error = None;
    job.note(clock::now(), &format!("{by} had it go on without what is missing"));
    store.change().intent(id, &intent).job(&job).apply()?;
    store.sync()?;
    Ok(job)
}
