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
use crate::watch::Offer;

/// Why it is not read.
pub(super) const TOO_MANY: &str = "read: too many files came at once";

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
    if let Some(id) = shared.claims.held.came_again(identity) {
        comes_again(shared, id);
    }
}

/// This job does not tell its file as gone any more.
fn comes_again(shared: &Shared, id: JobId) {
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

/// Has a job made of a file that is held; else it is told as gone.
pub(super) fn offer_held(shared: &Shared, offer: &Offer) {
    let held = &shared.claims.held;
    if !held.offer(offer.clone()) {
        held.forget_unread(&offer.identity);
        note_gone(shared, offer, TOO_MANY);
    }
}

/// Tells of a file of which no job does.
pub(super) fn note_gone(shared: &Shared, offer: &Offer, why: &str) {
    let id = new_id(shared);
    if job_of(shared, offer).is_some() || !shared.claims.held.tell_gone(&offer.identity, id) {
        return;
    }
    note_as(id, shared, &offer.rule, &offer.path, &offer.identity, &offer.vars, why);
    if !shared.claims.held.is_told_gone_by(id) {
        comes_again(shared, id); // it did, before there was a row
    }
}

/// The job that has it as it is.
pub(super) fn job_of(shared: &Shared, offer: &Offer) -> Option<Job> {
    let id = shared.store.kept(&offer.path.as_path().into(), &offer.identity).ok()??;
    shared.store.job(id).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::claim;
    use crate::engine::tests::World;
    use crate::model::job_state::JobState;

    fn offer(world: &World) -> Offer {
        let rule = world.rule();
        claim::offer_for(&rule, |_| Some(world.rule()), &world.source()).expect("is there")
    }

    fn jobs(world: &World) -> Vec<Job> {
        world.shared.store.jobs_newest_first().collect::<Result<_, _>>().expect("reads")
    }

    #[test]
    fn a_file_that_is_gone_has_a_row_that_says_so_until_it_came_again() {
        let world = World::new();
        let offer = offer(&world);
        note_gone(&world.shared, &offer, TOO_MANY);
        let [told] = jobs(&world).try_into().expect("one row");
        assert!(told.is_gone && told.state == JobState::Aborted, "{told:#?}");
        let told_why = told.timeline.last().map(|moment| moment.detail.clone());
        assert_eq!(told_why, Some(format!("it was gone before it was {TOO_MANY}")));
        came_again(&world.shared, &offer.identity);
        let [told] = jobs(&world).try_into().expect("the same row");
        assert!(!told.is_gone);
    }
}
