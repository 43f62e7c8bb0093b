//! Giving a source back: renamed to where it lay, and nothing of its job counts.
//!
//! The row says so first, durably: its sender may take the file away before the end of the row is, and nothing is lost then.

use super::by_hand;
use super::companions::{return_companions, take_companions};
use super::gone;
use super::held::EndedEarly;
use super::sequence;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::durable_fs::{self, Renamed};
use crate::model::account::Account;
use crate::model::complete_by::CompleteBy;
use crate::model::fault::FaultKind;
use crate::model::job::{HeldRecords, Job};
use crate::model::job_state::JobEvent;
use crate::model::os_text::OsText;
use crate::model::settling;
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
    let may_be_told = !job.is_gone && job.parent.is_none();
    let way = (may_be_told && !is_watched(shared, job)).then(|| by_hand::by_hand(job));
    let told =
        way.as_ref().map_or_else(|| why.to_owned(), |way| format!("{why}; no rule watches it there: {way}"));
    job.take(JobEvent::GivenBack, clock::now(), &told)?;
    job.error = None;
    sequence::note_end(shared, job)?;
    // They go with the records that they were about.
    settling::tell_in_history(&shared.store.settlements(job.id)?, job);
    job.trim_history();
    (job.account, job.held_records) = (Account::default(), HeldRecords::default()); // the file comes again
    let ended = tell_as_gone(shared, job);
    write_end(shared, job)?;
    shared.claims.taken.leave(job);
    shared.claims.came_back(job);
    shared.dispatch.forget_back_off(job.id);
    tell_again(shared, job, ended)?;
    shared.delivery_decided(job.id);
    sequence::ended(shared, job);
    events::given_back(job, why, way.as_deref());
    shared.claims.answer(job.source.path.as_path(), Answer::NotYet); // whatever lies there is a candidate
    Ok(())
}

/// Whether a rule takes its file by itself where it lies; folders are looked at for it.
fn is_watched(shared: &Shared, job: &Job) -> bool {
    let is_by_hand = job.source.complete_by == Some(CompleteBy::Command);
    let rules = || shared.rules.now().iter().cloned().collect::<Vec<_>>();
    !is_by_hand && shared.rules.takes_files(&job.rule, &job.vars)
        || by_hand::is_watched(&rules(), job.source.path.as_path())
}

/// The end of its row.
fn write_end(shared: &Shared, job: &Job) -> Result<(), Trouble> {
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
    changes.forget_failed_records(job.id, 0).forget_settlements(job.id).apply()?;
    Ok(shared.store.sync()?)
}

/// What is held of its source, or was gone, this job tells as gone until it comes again.
fn tell_as_gone(shared: &Shared, job: &mut Job) -> EndedEarly {
    let ended = shared.claims.held.end_early(&job.source.identity, job.id, job.is_gone);
    job.is_gone |= ended.was_held; // until it comes again: see `gone::came_again`
    ended
}

/// Once the row has its end: what came again, or was opened for this job since it told it as gone, is told by who reads it.
fn tell_again(shared: &Shared, job: &mut Job, ended: EndedEarly) -> Result<(), Trouble> {
    let held = &shared.claims.held;
    // A file that nobody claims beside us is remembered by none.
    let is_remembered = ended.was_held || held.intake.get().is_some();
    if job.is_gone && is_remembered && !held.is_told_gone_by(job.id) {
        job.is_gone = false;
        shared.store.change().job(job).apply()?;
    }
    if let Some(again) = ended.again
        && !held.offer(again.clone())
    {
        held.forget_unread(&again.identity);
    }
    // Nobody else reads it, and nothing else lets go of it.
    if let Some(since) = held.held_since(&job.source.identity) {
        gone::offer_held(shared, &since);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::engine::held::Hold;
    use crate::engine::tests::World;
    use crate::engine::{intake, retrieval, take_held};
    use crate::model::identity::FileIdentity;
    use crate::model::job_state::JobState;
    use crate::watch::Offer;

    /// Goal: whenever a live rule takes the file of a shadow's job that ends early, one row tells of it: neither none nor two.
    /// Method: the file is held at each place of the end, and what is offered of it is taken up at each place from there on.
    #[test]
    fn a_file_that_is_taken_away_while_its_job_ends_early_is_told_once_whenever_that_is() {
        for is_gone in [false, true] {
            for held_at in 0..=3 {
                (held_at..=4).for_each(|taken_at| is_told_once(is_gone, held_at, taken_at));
            }
        }
    }

    fn is_told_once(is_gone: bool, held_at: u32, taken_at: u32) {
        let world = World::with("source = { on_success = \"keep\" }");
        let (shared, path) = (&world.shared, world.source());
        let (intake, offers) = sync_channel(8);
        shared.claims.held.intake.set(intake).expect("there is none");
        let identity = durable_fs::identity_at(&path).expect("looks").expect("a file");
        let offer = Offer::going(&world.rule(), &path, identity, std::collections::BTreeMap::new());
        intake::take_batch(shared, vec![offer.clone()]).expect("claims");
        let mut job = shared.store.unfinished_jobs().expect("reads").pop().expect("there is one");
        let file = File::open(&path).expect("opens");
        durable_fs::remove_file(&path).expect("the live rule takes it");
        let at = |place: u32| {
            if place == held_at {
                assert_eq!(shared.claims.held.hold(&offer, file.try_clone().expect("opens")), Hold::Held);
                gone::offer_held(shared, &offer);
            }
            let batches = offers.try_iter().take(if place >= taken_at { usize::MAX } else { 0 });
            batches.for_each(|batch| take_held::take_offered(shared, batch).expect("takes"));
        };
        at(0);
        job.is_gone = is_gone;
        job.take(JobEvent::GivenBack, clock::now(), "").expect("ends");
        let ended = tell_as_gone(shared, &mut job);
        at(1);
        write_end(shared, &job).expect("writes");
        at(2);
        tell_again(shared, &mut job, ended).expect("tells");
        at(3);
        at(4);
        let rows: Vec<Job> = shared.store.jobs().collect::<Result<_, _>>().expect("reads");
        let telling = rows.iter().filter(|job| job.is_gone || !job.state.is_final()).count();
        assert_eq!(telling, 1, "gone {is_gone}, held at {held_at}, taken up at {taken_at}: {rows:#?}");
    }

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
