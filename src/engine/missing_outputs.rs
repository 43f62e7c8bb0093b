//! Accepting that hidden outputs are missing, which somebody removed before they were published.

use super::retry::{known, refuse};
use super::trouble::Trouble;
use crate::clock;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::store::Store;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn of_a_job_that_misses_nothing_there_is_nothing_to_accept() {
        let world = World::new();
        let job = world.job();
        let refused = accept_missing(&world.shared.store, job.id, "root").expect_err("it misses nothing");
        assert!(refused.error.message.contains("misses no hidden output"), "{}", refused.error);
        assert_eq!(world.row(&job), Some(job));
    }
}
