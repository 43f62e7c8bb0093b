//! What becomes of a job that what was published before stands in the way of: refused to quarantine, or held for an operator's word.

use std::path::Path;

use super::shared::Shared;
use super::trouble::{Reaction, Trouble};
use super::{delivery, fail, sequence, source};
use crate::clock;
use crate::durable_fs;
use crate::model::delivery::Resend;
use crate::model::job::Job;
use crate::model::rule::Rule;
use crate::telemetry::events;

/// Ends, or holds, a job that what was published before stands in the way of. Its partials are gone already.
pub(super) fn end_or_hold(
    shared: &Shared,
    mut job: Job,
    trouble: &Trouble,
    resend: Resend,
) -> Result<(), Trouble> {
    match resend {
        Resend::Refused { of } => {
            job.refuse(of, trouble.error.clone())?;
            fail::quarantine(shared, job)
        }
        Resend::Held => hold_or_fail(shared, job, trouble),
    }
}

/// Nothing but an operator's word ends it, so that it is in no queue.
pub(super) fn hold_or_fail(shared: &Shared, mut job: Job, trouble: &Trouble) -> Result<(), Trouble> {
    // Nobody settles what is not published.
    if shared.publishing.aside.is_some() {
        job.fail(trouble.error.clone())?;
        return fail::quarantine(shared, job);
    }
    job.settle(clock::now(), trouble.error.clone())?;
    shared.store.change().forget_work(job.id).job(&job).apply()?;
    shared.store.sync()?;
    shared.dispatch.forget_back_off(job.id);
    shared.delivery_decided(job.id); // those behind it need not wait for an operator
    sequence::put_down(shared, job.id);
    events::waits_for_settling(&job);
    Ok(())
}

/// A job that was held to be settled, after a restart: whether that still stands is seen without reading its source again, as long as
/// that is what it was. True: it is ended or waits on.
pub(super) fn is_still_held(shared: &Shared, rule: &Rule, job: &Job) -> Result<bool, Trouble> {
    if job.content_hash.is_none() || !is_unchanged(job) {
        return Ok(false);
    }
    match delivery::judge(shared, rule, job) {
        Ok(_) => Ok(false),
        Err(trouble) => match trouble.reaction {
            Reaction::Resend(resend) => end_or_hold(shared, job.clone(), &trouble, resend).map(|()| true),
            _ => Err(trouble),
        },
    }
}

fn is_unchanged(job: &Job) -> bool {
    let path: &Path = job.source_path().as_path();
    durable_fs::identity_at(path).is_ok_and(|found| found.is_some_and(|found| source::is_source(job, &found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, is_there};
    use crate::model::fault::FaultKind;
    use crate::model::job_id::JobId;
    use crate::model::job_state::{JobEvent, JobState};

    fn ended(resend: Resend) -> (World, Job) {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        job.account.records_in = 7;
        let kind = if resend == Resend::Held { FaultKind::Config } else { FaultKind::Input };
        let trouble = Trouble::new(kind, "published before", None).with(Reaction::Resend(resend));
        end_or_hold(&world.shared, job.clone(), &trouble, resend).expect("is decided");
        let row = world.row(&job).expect("is there");
        (world, row)
    }

    #[test]
    fn a_refused_source_goes_to_quarantine_and_nothing_of_it_counts() {
        let of = JobId::from_parts(1, 7);
        let (world, row) = ended(Resend::Refused { of });
        assert_eq!((row.state.get(), row.account.records_in), (JobState::Refused, 0), "{row:#?}");
        assert_eq!(row.delivery.duplicate_of, Some(of));
        assert!(is_there(&world.path("in/.landfall/quarantine/pay.txt")));
    }

    #[test]
    fn a_held_one_stays_claimed_until_an_operator_says_what_to_do() {
        let (world, row) = ended(Resend::Held);
        assert!(row.state == JobState::Held && row.waits_for_settling(), "{row:#?}");
        assert!(row.waiting.is_some_and(|waiting| waiting.until.is_none()) && is_there(&world.claimed()));
    }
}
