//! Intake: offers from the watch become queued jobs.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::claim::{self, Wanted};
use super::gone;
use super::schedule::Owner;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::model::rule::OnSuccess;
use crate::watch::{Answer, Offer};

/// A claim folder that was not used for so long is let go, so that its file system can be unmounted.
const IDLE: Duration = Duration::from_secs(1);

/// The intake's life: until nobody offers it anything any more, or the engine stops.
pub(super) fn take_offers(shared: &Arc<Shared>, offers: &Receiver<Vec<Offer>>) {
    let folders = &shared.claims.folders;
    let mut let_go_at: Option<Instant> = None;
    loop {
        let pause = let_go_at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        match offers.recv_timeout(pause) {
            Ok(_) if shared.stop.is_asked() => return,
            Ok(batch) => {
                if let Err(trouble) = take_batch(shared, batch)
                    && trouble.is_poisoned()
                {
                    return shared.fail_for_good(trouble.error);
                }
                let_go_at.get_or_insert_with(|| Instant::now() + IDLE);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let_go_at.is_some_and(|at| at <= Instant::now()) {
            let_go_at = folders.let_go_idle(IDLE).then(|| Instant::now() + IDLE);
        }
    }
    folders.let_go_idle(Duration::ZERO);
}

pub(super) fn take_batch(shared: &Arc<Shared>, batch: Vec<Offer>) -> Result<(), Trouble> {
    if let Err(error) = shared.store.check_there() {
        let trouble = Trouble::from(error);
        for offer in &batch {
            refuse(shared, &offer.path, &trouble.error.to_string());
        }
        return Err(trouble);
    }
    let mut wanted = Vec::with_capacity(batch.len());
    // In one order, so that two intakes do not wait for each other. Any of them may be adopted just now.
    let to_enter: BTreeSet<_> = batch.iter().map(|offer| offer.identity).collect();
    let _entered: Vec<_> =
        to_enter.into_iter().map(|identity| shared.claims.keeping.enter(identity)).collect();
    let halts = shared.operator.halts.now();
    let (mut kept, mut twins) = (HashSet::new(), Vec::new());
    for offer in batch {
        if is_kept(&offer) && !kept.insert(offer.identity) {
            twins.push(offer);
            continue;
        }
        if is_known(shared, &offer) {
            continue;
        }
        if !shared.rules.takes_files(&offer.rule.name, &offer.vars) {
            shared.claims.answer(&offer.path, Answer::OtherRules); // one of them may have it now
            continue;
        }
        if let Some(why) = halts.why_not_claimed(&offer.rule.name, &offer.vars, &offer.path) {
            shared.claims.answer(&offer.path, Answer::Later(why));
            continue;
        }
        match shared.rules.ready(&offer.rule) {
            Ok(rule) => match shared.resources.disk_space.check_claim(&rule, &offer) {
                Ok(()) => wanted.push(Wanted { rule, offer, retire: true, once: false }),
                Err(lack) => {
                    shared.claims.answer(&offer.path, Answer::Later(lack.detail().to_owned()));
                }
            },
            Err(trouble) => refuse(shared, &offer.path, &trouble.error.to_string()),
        }
    }
    let claimed = if wanted.is_empty() { Ok(()) } else { claim_all(shared, &wanted) };
    for offer in twins {
        if !is_known(shared, &offer) {
            shared.claims.answer(
                &offer.path,
                Answer::Later("it could not be claimed under its other name".to_owned()),
            );
        }
    }
    claimed
}

fn claim_all(shared: &Shared, wanted: &[Wanted]) -> Result<(), Trouble> {
    let claimed = match claim::claim(shared, wanted) {
        Ok(claimed) => claimed,
        // The service stops: what is wrong is told once, not for each file.
        Err(trouble) if trouble.is_poisoned() => return Err(trouble),
        Err(trouble) => {
            for want in wanted {
                refuse(shared, &want.offer.path, &trouble.error.to_string());
            }
            return Err(trouble);
        }
    };
    for (want, claimed) in wanted.iter().zip(claimed) {
        let path = &want.offer.path;
        match claimed {
            Ok(Some(id)) => {
                gone::came_again(shared, &want.offer.identity);
                shared.claims.answer(path, Answer::Taken);
                let priority = want.rule.rule.priority_for(want.offer.identity.size);
                let owner = Owner::of_source(&want.rule.rule.name, path, priority);
                shared.queue_claimed(&owner, id);
            }
            Ok(None) => {} // the watch was told: twice would count as given back again
            Err(trouble) if trouble.is_poisoned() => return Err(trouble),
            Err(trouble) => refuse(shared, path, &trouble.error.to_string()),
        }
    }
    Ok(())
}

fn is_kept(offer: &Offer) -> bool {
    offer.rule.source.on_success == OnSuccess::Keep
}

/// Whether a kept file was ingested, perhaps by another name: a folder may be watched under two. Answers the offer then, and where that
/// cannot be told.
fn is_known(shared: &Shared, offer: &Offer) -> bool {
    match shared.store.kept(&offer.path.as_path().into(), &offer.identity) {
        Ok(None) if shared.claims.held.is_told(&offer.identity) => {
            shared.claims.answer(&offer.path, Answer::Taken);
        }
        Ok(None) => return false,
        Ok(Some(_)) => shared.claims.answer(&offer.path, Answer::Taken),
        Err(error) => refuse(shared, &offer.path, &error.to_string()),
    }
    true
}

fn refuse(shared: &Shared, path: &Path, why: &str) {
    shared.claims.answer(path, Answer::Refused(why.to_owned()));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::set;
    use super::*;
    use crate::durable_fs;
    use crate::engine::Engine;
    use crate::engine::finish::finish_batch;
    use crate::engine::tests::{World, is_there};
    use crate::model::job_state::JobEvent;
    use crate::model::priority::Priority;
    use crate::model::rule::{Mode, Order, Rule};
    #[cfg(unix)]
    use proptest::strategy::Strategy as _;

    fn offer(world: &World) -> Offer {
        let path = world.source();
        let identity = durable_fs::identity_at(&path).expect("looks").expect("a regular file");
        let (rule, vars, companions) = (world.rule(), std::collections::BTreeMap::new(), Vec::new());
        Offer { rule, path, identity, names: None, vars, companions, folder_marker: None, complete_by: None }
    }

    fn jobs(world: &World) -> Vec<crate::model::job::Job> {
        world.shared.store.unfinished_jobs().expect("reads")
    }

    #[test]
    fn an_offer_becomes_a_job_whose_source_is_claimed() {
        let world = World::new();
        take_batch(&world.shared, vec![offer(&world)]).expect("claims");
        let jobs = jobs(&world);
        assert_eq!(jobs.len(), 1);
        assert!(jobs.iter().all(|job| is_there(job.source_path().as_path())) && !is_there(&world.source()));
    }

    #[test]
    fn an_offer_is_claimed_under_the_rule_that_it_carries_whatever_the_rule_says_meanwhile() {
        let world = World::new();
        let made = offer(&world);
        let changed = Rule { order: Order::Name, ..Rule::clone(&made.rule) };
        Engine::exchange_rules(&world.shared, vec![changed]).expect("are right");
        take_batch(&world.shared, vec![made.clone()]).expect("claims");
        let jobs = jobs(&world);
        assert_eq!(jobs.iter().map(|job| &job.rule_hash).collect::<Vec<_>>(), [&made.rule.hash()]);
        let snapshot = world.shared.store.rule(&made.rule.hash()).expect("reads");
        assert_eq!(snapshot.as_ref(), Some(&*made.rule), "it goes on under it");
        world.shared.store.forget_rules(|| world.shared.rules.known_hashes()).expect("forgets");
        assert!(world.shared.store.rule(&made.rule.hash()).expect("reads").is_some());
    }

    #[test]
    fn an_offer_of_a_rule_that_is_gone_or_off_by_now_is_not_claimed() {
        for remain in [0, 1] {
            let world = World::new();
            let made = offer(&world);
            let off = Rule { mode: Mode::Off, ..Rule::clone(&made.rule) };
            Engine::exchange_rules(&world.shared, vec![off; remain]).expect("are right");
            take_batch(&world.shared, vec![made]).expect("leaves it");
            assert!(jobs(&world).is_empty() && is_there(&world.source()));
        }
    }

    #[test]
    fn a_kept_file_that_is_offered_under_two_names_or_again_is_one_job() {
        let world = World::with("source = { on_success = \"keep\" }\n");
        let twice = vec![offer(&world), offer(&world)];
        take_batch(&world.shared, twice).expect("takes it once");
        take_batch(&world.shared, vec![offer(&world)]).expect("knows it");
        assert_eq!(jobs(&world).len(), 1);
        assert!(is_there(&world.source()), "it stays where it lies");
    }

    #[test]
    fn nothing_is_claimed_by_the_name_that_another_job_gives_it_back_to() {
        let world = World::new();
        let mut other = world.second_job("b.txt");
        other.source.path = world.source().into();
        other.give_back().expect("begins");
        world.shared.save(&other).expect("writes");
        world.shared.claims.comes_back(&other);
        take_batch(&world.shared, vec![offer(&world)]).expect("refuses it alone");
        assert_eq!(jobs(&world).len(), 1);
        other.take(JobEvent::GivenBack, crate::clock::now(), "").expect("ends");
        world.shared.save(&other).expect("writes");
        take_batch(&world.shared, vec![offer(&world)]).expect("claims");
        assert_eq!(jobs(&world).len(), 1);
        assert!(!is_there(&world.source()));
    }

    /// Goal: what an operator sets of a job counts, however soon after its row is there.
    #[test]
    fn a_priority_that_is_set_while_the_claim_is_under_way_is_in_the_schedule() {
        for round in 0..20 {
            let world = World::new();
            let urgent = Priority::new(1).expect("one");
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        let Some(job) = jobs(&world).pop() else { continue };
                        set::priority(&world.shared.store, Some(&world.shared), job.id, urgent, "root")
                            .expect("is set");
                        return;
                    }
                });
                take_batch(&world.shared, vec![offer(&world)]).expect("claims");
                is_over.store(true, Ordering::SeqCst);
            });
            for job in jobs(&world) {
                assert_eq!(world.shared.dispatch.priority_of(job.id), Some(job.priority), "round {round}");
            }
        }
    }

    /// Goal: an operator's word finds a file where it is, and is not written over.
    #[test]
    fn a_job_that_is_aborted_while_its_claim_is_under_way_ends_with_its_source_in_quarantine() {
        for round in 0..20 {
            let world = World::new();
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        let Some(job) = jobs(&world).pop() else { continue };
                        let (store, stages) = (&world.shared.store, Some(&world.shared));
                        super::super::order::abort(store, stages, job.id, "root").expect("is ended");
                        finish_batch(&world.shared, vec![job.id]).expect("the store speaks for nobody");
                        return;
                    }
                });
                take_batch(&world.shared, vec![offer(&world)]).expect("claims");
                is_over.store(true, Ordering::SeqCst);
            });
            let quarantined = is_there(&world.path("in/.landfall/quarantine/pay.txt"));
            let goes_on = jobs(&world).pop();
            assert_eq!(quarantined, goes_on.is_none(), "round {round}");
            let is_claimed = |job: crate::model::job::Job| is_there(job.source_path().as_path());
            assert!(goes_on.is_none_or(is_claimed) && !is_there(&world.source()), "round {round}");
        }
    }

    /// A folder may hang between the look at what is paused and the row.
    #[test]
    fn what_is_paused_while_its_claim_is_prepared_is_not_claimed() {
        let world = World::new();
        let made = offer(&world);
        let ready = world.shared.rules.ready(&made.rule).expect("is right");
        let scope = crate::model::halts::Scope { rule: Some(made.rule.name.clone()), sender: None };
        let pause = |halts: &mut crate::model::halts::Halts| halts.pause(scope, crate::clock::now(), "root");
        world.shared.operator.halts.change(&world.shared.store, pause, |_| ()).expect("is paused");
        let wanted = [Wanted { rule: ready, offer: made, retire: true, once: false }];
        let answers = claim::claim(&world.shared, &wanted).expect("speaks for each");
        let [Err(refused)] = &answers[..] else { panic!("{answers:?}") };
        assert!(refused.error.message.contains("landfall resume"), "{}", refused.error);
        assert!(jobs(&world).is_empty() && is_there(&world.source()));
    }

    #[test]
    fn nothing_is_claimed_while_the_mount_of_its_rule_is_away() {
        let world = World::with("source = { on_success = \"delete\" }\npublish = { mount = \"out\" }\n");
        take_batch(&world.shared, vec![offer(&world)]).expect("waits");
        assert!(jobs(&world).is_empty() && is_there(&world.source()));
    }

    #[cfg(unix)]
    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

        /// Any bytes but a zero and a slash; many names are as long as names may be.
        #[test]
        fn a_file_of_any_name_is_claimed_known_by_its_name_and_given_back_under_it(
            name in proptest::collection::vec((1u8..=255).prop_filter("a separator", |byte| *byte != b'/'), 1..=255usize),
            fills_up in proptest::bool::weighted(0.3),
        ) {
            use std::os::unix::ffi::OsStrExt as _;
            let name: Vec<u8> = if fills_up { name.iter().copied().cycle().take(255).collect() } else { name };
            proptest::prop_assume!(name != b"." && name != b"..");
            let world = World::with("source = { on_success = \"delete\" }\n");
            let path = world.path("in").join(std::ffi::OsStr::from_bytes(&name));
            std::fs::write(&path, "1\n").expect("any such name can be given");
            let identity = durable_fs::identity_at(&path).expect("looks").expect("a regular file");
            take_batch(&world.shared, vec![Offer { path: path.clone(), identity, ..offer(&world) }]).expect("claims");
            let mut job = jobs(&world).pop().expect("a job");
            let row = world.shared.store.ledger(job.id).expect("reads").expect("a row");
            proptest::prop_assert_eq!(row.path.as_path(), path.as_path());
            proptest::prop_assert_eq!(job.source.path.as_path(), path.as_path());
            let claimed = job.source.claimed.clone().expect("it was renamed");
            proptest::prop_assert!(is_there(claimed.as_path()) && !is_there(&path));
            proptest::prop_assert!(super::super::give_back::give_back(&world.shared, &mut job, "asked").expect("gives back"));
            proptest::prop_assert!(is_there(&path) && !is_there(claimed.as_path()));
        }
    }
}
