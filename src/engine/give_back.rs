//! Giving a source back: renamed to where it lay, and nothing of its job counts.
//!
//! The row says so first, durably: its sender may take the file away before the end of the row is, and nothing is lost then.

use super::by_hand;
use super::companions::{return_companions, take_companions};
use super::gone;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::durable_fs::{self, Renamed};
use crate::model::account::Account;
use crate::model::complete_by::CompleteBy;
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_state::JobEvent;
use crate::model::os_text::OsText;
use crate::store::{LedgerOutcome, LedgerRow};
use crate::telemetry::events;
use crate::watch::Answer;

/// Renames a claimed file to where it lay, if that name is still free, and ends its job. False: it is not free.
pub(super) fn give_back(shared: &Shared, job: &mut Job, why: &str) -> Result<bool, Trouble> {
    let path = job.source.path.as_path().to_owned();
    if let Some(claimed) = job.source.claimed.clone() {
        // Durable before the rename: its sender may take it away before the end of this is, and nothing is lost then.
        if !job.is_given_back() {
            job.give_back()?;
            shared.store.change().job(job).apply()?;
            shared.store.sync()?;
        }
        // Companions first: once the source lies there again, nothing of it is ours any more.
        return_companions(job)?;
        shared.claims.answer(&path, Answer::ComesBack(job.source.identity));
        // Where a rename is a link and an unlink, one that fails may leave both names: nobody claims it by the old one until this is through.
        shared.claims.comes_back(job);
        let renamed = durable_fs::rename_no_replace(claimed.as_path(), &path)?;
        shared.claims.came_back(job);
        match renamed {
            Renamed::Done => {}
            Renamed::Missing => {
                // Durably not on its way back any more, or the next look would take the loss for its sender's doing.
                job.is_here_again()?;
                shared.store.change().job(job).apply()?;
                shared.store.sync()?;
                return Err(vanished(&claimed));
            }
            Renamed::NameTaken => {
                take_companions(job)?;
                job.is_here_again()?;
                shared.store.change().job(job).apply()?;
                return Ok(false);
            }
        }
        for folder in [claimed.as_path().parent(), path.parent()].into_iter().flatten() {
            durable_fs::sync_folder(folder)?;
        }
    }
    end_given_back(shared, job, why)?;
    Ok(true)
}

/// Somebody removed the source, or its file system is away: nothing was given back.
fn vanished(claimed: &OsText) -> Trouble {
    let message = format!("the claimed source is not at {claimed} any more");
    Trouble::new(FaultKind::Storage, message, Some("mount its file system, or find who removed it"))
}

/// Ends a job whose source is nobody's here any more: it was given back, or its sender changed or removed it. Nothing of it counts.
pub(super) fn end_given_back(shared: &Shared, job: &mut Job, why: &str) -> Result<(), Trouble> {
    let rules = || shared.rules.now().iter().cloned().collect::<Vec<_>>();
    let is_by_hand = job.source.complete_by == Some(CompleteBy::Command);
    let is_watched = !is_by_hand && shared.rules.takes_files(&job.rule, &job.vars)
        || by_hand::is_watched(&rules(), job.source.path.as_path());
    let way = (!job.is_gone && !is_watched && job.parent.is_none()).then(|| by_hand::by_hand(job));
    let told =
        way.as_ref().map_or_else(|| why.to_owned(), |way| format!("{why}; no rule watches it there: {way}"));
    job.take(JobEvent::GivenBack, clock::now(), &told)?;
    job.error = None;
    job.account = Account::default(); // the file comes again
    let was_held = shared.claims.held.has(&job.source.identity);
    job.is_gone |= was_held; // until it does: see `gone::came_again`
    let again = shared.claims.held.give_back(&job.source.identity, job.id);
    let row = LedgerRow::of(job, LedgerOutcome::GivenBack);
    let mut changes = shared.store.change();
    changes.job(job).ledger(&row, false).forget_work(job.id);
    if job.source.claimed.is_none() {
        // Else it would never be offered again. The number of its device may be another by now.
        let found = durable_fs::identity_at(job.source.path.as_path()).ok().flatten();
        for identity in std::iter::once(job.source.identity).chain(found) {
            changes.forget_kept(job.id, &job.source.path, &identity);
        }
    }
    changes.forget_failed_records(job.id, 0).apply()?;
    shared.store.sync()?;
    shared.claims.taken.leave(job);
    shared.claims.came_back(job);
    shared.dispatch.forget_back_off(job.id);
    if job.is_gone && was_held && !shared.claims.held.is_told_gone_by(job.id) {
        job.is_gone = false;
        shared.store.change().job(job).apply()?;
    }
    if let Some(again) = again
        && !shared.claims.held.offer(again.clone())
    {
        shared.claims.held.forget_unread(&again.identity);
    }
    // It was opened for this job between that look and its row's end: nobody else reads it, and nothing else lets go of it.
    if !was_held && let Some(since) = shared.claims.held.held_since(&job.source.identity) {
        gone::offer_held(shared, &since);
    }
    shared.delivery_decided(job.id);
    events::given_back(job, why, way.as_deref());
    shared.claims.answer(job.source.path.as_path(), Answer::NotYet); // whatever lies there is a candidate
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::retrieval;
    use crate::engine::tests::World;
    use crate::model::identity::FileIdentity;
    use crate::model::job_state::JobState;

    #[test]
    fn a_source_that_vanished_before_it_was_given_back_is_lost_and_not_called_given_back() {
        let world = World::new();
        let mut job = world.job();
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        durable_fs::remove_file(&world.source()).expect("removes");
        give_back(&world.shared, &mut job, "it ended early").expect_err("there is nothing to give back");
        let mut row = world.row(&job).expect("is there");
        assert!(!retrieval::is_here(&world.shared, &mut row).expect("is decided"));
        let row = world.row(&job).expect("is there");
        assert_eq!(row.state, JobState::Failed, "{row:#?}");
    }

    #[test]
    fn a_kept_file_that_is_given_back_is_known_by_no_row_whatever_ctime_it_was_seen_with() {
        let world = World::new();
        let store = &world.shared.store;
        let mut job = world.job();
        job.source.claimed = None;
        job.take(JobEvent::Started, clock::now(), "").expect("starts");
        let known = job.source.identity;
        let kept = |ctime_more: i128| FileIdentity { ctime_ns: known.ctime_ns + ctime_more, ..known };
        for more in [0, 1, 2] {
            let row = LedgerRow { identity: kept(more), ..LedgerRow::of(&job, LedgerOutcome::Failed) };
            store.change().ledger(&row, true).apply().expect("writes");
        }
        let is_known = |more| store.kept(&job.source.path.clone(), &kept(more)).expect("reads").is_some();
        assert!([0, 1, 2].into_iter().all(is_known));
        end_given_back(&world.shared, &mut job.clone(), "it changed").expect("ends");
        assert!(![0, 1, 2].into_iter().any(is_known));
        assert_eq!(store.kept_jobs().count(), 0);
    }
}
