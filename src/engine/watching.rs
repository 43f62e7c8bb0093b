//! From rules to the threads that watch for them and take what is offered: as file systems come through the start, and whenever the rules
//! were exchanged.
//!
//! Nothing here asks a file system.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use super::file_systems::{self, WatchedTogether};
use super::shared::Shared;
use super::threads::Threads;
use super::trouble::Trouble;
use super::watches::{BeginIntake, Intakes, Watched, Watching};
use super::{gone, intake};
use crate::clock;
use crate::durable_fs::{self, Mounts, Presence};
use crate::model::file_known::TakenBefore;
use crate::model::hook::HookEvent;
use crate::model::identity::FileIdentity;
use crate::model::job_id::JobId;
use crate::model::rule::{Mode, Rule};
use crate::store::{KeptFile, LedgerOutcome, Marked, Store};
use crate::watch::{Content, Kept, Known, OtherName, Outlets, Watch, WentAway};

/// Batches of offers that wait for an intake.
const OFFER_BATCHES: usize = 4;

/// Something is watched from now on: see [`watch`].
pub(super) fn begin(shared: &Arc<Shared>, threads: &Threads) {
    let (threads, stages) = (threads.clone(), Arc::downgrade(shared));
    let begin_intake = move || {
        let (intake, offers) = sync_channel(OFFER_BATCHES);
        if let Some(shared) = stages.upgrade() {
            let name = threads.next_name("intake");
            threads.spawn(&shared, &name, move |shared| intake::take_offers(shared, &offers))?;
        }
        Ok(intake)
    };
    shared.claims.watches.lock().begin_intake = Some(Arc::new(begin_intake));
}

/// Watches the folders of the rules as they are now, if anything is watched, on file systems that are through the start. A watch that was at
/// the same file system goes on with its candidates; one that no rule needs any more ends, and so does an intake once it has taken what it
/// was offered.
pub(super) fn watch(shared: &Arc<Shared>) -> Result<(), Trouble> {
    let mut watching = shared.claims.watches.lock();
    // While it stops nobody would end what is begun now.
    let Some(begin_intake) = watching.begin_intake.clone().filter(|_| !shared.stop.is_asked()) else {
        return Ok(());
    };
    let rules: Vec<_> = shared.rules.now().iter().cloned().collect();
    let mounts = shared.claims.unopened.mounts().unwrap_or_else(Mounts::now);
    let groups = file_systems::groups(&rules, &mounts);
    let mut next = Watching { begin_intake: Some(Arc::clone(&begin_intake)), ..Watching::default() };
    for WatchedTogether { rules, folders } in file_systems::watched_together(rules, &mounts) {
        // A rule that is off keeps its files from broader ones, and asks for no thread.
        if !rules.iter().any(|rule| rule.mode == Mode::Live) || shared.claims.unopened.has(&folders, &mounts)
        {
            continue;
        }
        let outlets = outlets(&begin_intake, &rules, &groups, (&watching.intakes, &mut next.intakes))?;
        let under: Vec<_> =
            rules.iter().map(|rule| (Arc::clone(rule), groups.get(rule.name.as_str()).cloned())).collect();
        let is_at_them = |watched: &&Watched| {
            let is_used = next.watches.iter().any(|used| Arc::ptr_eq(&used.watch, &watched.watch));
            !is_used && file_systems::meet(&folders, &watched.folders, &mounts)
        };
        let watch = match watching.watches.iter().find(is_at_them) {
            // To exchange rules for the same would look through their folders again.
            Some(known) if known.is_under(&under) => Arc::clone(&known.watch),
            Some(known) => {
                known.watch.exchange(rules, outlets).map_err(|error| Trouble::from_fault(&error))?;
                Arc::clone(&known.watch)
            }
            None => Arc::new(begin_watch(shared, rules, outlets)?),
        };
        next.watches.push(Watched { watch, folders, under });
    }
    *watching = next;
    Ok(())
}

/// A job that ended before it began: who takes files away beside us may be faster than what tells that they are complete.
fn went_away(shared: &Arc<Shared>) -> WentAway {
    let shared = Arc::downgrade(shared);
    Box::new(move |rule, path, identity, values| {
        let Some(shared) = shared.upgrade() else { return };
        // A live rule took it: it is read all the same, or was, or is told as gone already.
        if !shared.claims.held.knows(identity) && !is_away(path, identity) {
            gone::note(&shared, rule, path, identity, values, "complete");
        }
    })
}

/// Whether it is not gone: its folder is away, or another one, as where its file system is not mounted.
fn is_away(path: &Path, known: &FileIdentity) -> bool {
    match durable_fs::presence(path) {
        Ok(Presence::FolderAway) => true,
        Ok(Presence::Gone(folder)) => folder.device != known.device,
        Ok(Presence::Here(_)) | Err(_) => false,
    }
}

/// The same for what comes late, such as a file system that did not answer at the start: nobody asks for it again, so where it fails
/// (there is no thread to be had) it is told, and [`watch_owed`] tries it again.
pub(super) fn watch_late(shared: &Arc<Shared>) -> Result<(), Trouble> {
    watch(shared).inspect_err(|_| {
        shared.claims.watches.set_owed(true);
    })
}

/// Watches what could not be watched before.
pub(super) fn watch_owed(shared: &Arc<Shared>) {
    if !shared.claims.watches.set_owed(false) {
        return;
    }
    match watch_late(shared) {
        Ok(()) => tracing::info!("what could not be watched before is watched now"),
        Err(trouble) => tracing::debug!(error = %trouble.error, "it is still not watched"),
    }
}

/// What cannot be looked up is offered: the intake asks again, and tells what is wrong.
fn known(shared: &Shared) -> Known {
    let store = shared.store.clone();
    let is_kept = Arc::new(move |path: &Path, identity: &_, reads| {
        match store.kept_by(&path.into(), identity, reads) {
            Ok(KeptFile::Of(job)) => kept_by(&store, job, path),
            Ok(KeptFile::ByItsBytes) => Kept::ByItsBytes,
            Ok(KeptFile::None) | Err(_) => Kept::No,
        }
    });
    let (store, taken) = (shared.store.clone(), Arc::clone(&shared.claims.taken));
    let taken_as = Box::new(move |path: &Path, identity: &_, names| {
        taken.other_name(&store, path, identity, names, None).ok().flatten().map(OtherName::from)
    });
    let given_back = Arc::clone(&shared.claims.given_back);
    let unfit =
        Box::new(move |path: &Path, identity: &_, text: &[u8]| given_back.waits_for(path, identity, text));
    let store = shared.store.clone();
    // What cannot be looked up waits for the next marker, which is told.
    let was_marked = Box::new(move |path: &Path, identity: &_| {
        store.marked(&path.into(), identity).ok().flatten().map(|marked| marked.was_given_back)
    });
    let store = shared.store.clone();
    // The claim's own write tells what is wrong with the store.
    let mark = Box::new(move |path: &Path, identity: &FileIdentity| {
        store.change().marked(&path.into(), &Marked::new(*identity, clock::now())).apply().ok();
    });
    let store = shared.store.clone();
    let tell_late = Box::new(move |path: &Path, rule: Option<&str>, waits: &str, others: u64| {
        let told = store.happened(HookEvent::Late, rule, |happened| {
            let others = match others {
                0 => String::new(),
                1 => "; one more of its folder was not told".to_owned(),
                others => format!("; {others} more of its folder were not told"),
            };
            happened.message = format!("this file waits longer than `ready.late_after`: {waits}{others}");
            happened.path = Some(path.into());
        });
        if let Err(error) = told {
            tracing::warn!(%error, "no hook is told of a late file");
        }
    });
    Known { is_kept, taken_as, unfit, was_marked, mark, tell_late }
}

/// What it says of a file that it is of this job, which keeps it.
fn kept_by(store: &Store, job: JobId, path: &Path) -> Kept {
    let Ok(Some(row)) = store.ledger(job) else { return Kept::Yes };
    let did = match row.outcome {
        LedgerOutcome::Claimed => return Kept::ForNow,
        _ if row.found_at().as_path() == path => return Kept::Yes,
        LedgerOutcome::Adopted => None,
        LedgerOutcome::Completed => Some("has published its records"),
        LedgerOutcome::Failed | LedgerOutcome::Refused => Some("failed with it"),
        LedgerOutcome::Aborted | LedgerOutcome::GivenBack => Some("was ended by an operator"),
    };
    let (path, job) = (row.found_at().clone(), did.map(|did| (job, did)));
    Kept::ByOtherName(TakenBefore { rule: row.rule, path, job })
}

fn begin_watch(shared: &Arc<Shared>, rules: Vec<Arc<Rule>>, outlets: Outlets) -> Result<Watch, Trouble> {
    let known = known(shared);
    let scan_every = shared.service.scan_every;
    let content =
        Content { proves_its_end: crate::decode::proves_its_end, breaks_off: super::totals::breaks_off };
    let watch = if shared.publishing.aside.is_some() {
        let went_away = went_away(shared);
        Watch::start_aside(rules, scan_every, outlets, known, content, went_away)
    } else {
        Watch::start(rules, scan_every, outlets, known, content)
    };
    watch.map_err(|error| Trouble::from_fault(&error))
}

/// An intake for each set of file systems that these rules use: one that hangs holds up no rule of others.
fn outlets(
    begin_intake: &BeginIntake,
    rules: &[Arc<Rule>],
    groups: &HashMap<Arc<str>, Arc<str>>,
    intakes: (&Intakes, &mut Intakes),
) -> Result<Outlets, Trouble> {
    let (before, next) = intakes;
    let live = || rules.iter().filter(|rule| rule.mode == Mode::Live);
    let group = |rule: &Arc<Rule>| groups.get(rule.name.as_str());
    let used: Vec<_> = live().filter_map(group).collect::<BTreeSet<_>>().into_iter().collect();
    let mut senders = Vec::with_capacity(used.len());
    for group in &used {
        let known = next.get(*group).or_else(|| before.get(*group)).cloned();
        let intake = known.map_or_else(|| begin_intake(), Ok)?;
        next.insert(Arc::clone(group), intake.clone());
        senders.push(intake);
    }
    let outlet = |rule: &Arc<Rule>| Some((rule.name.clone(), used.binary_search(&group(rule)?).ok()?));
    Ok(Outlets::new(senders, live().filter_map(outlet).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, is_there};
    use crate::engine::{Engine, Purpose};
    use crate::model::fault::FaultKind;
    use crate::model::job::Job;
    use crate::model::job_state::JobState;
    use crate::model::rule::{Service, Settings};
    use crate::pipeline::Registry;
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn what_could_not_be_watched_for_want_of_a_thread_is_watched_once_there_is_one() {
        let world = World::new();
        let (shared, watches) = (&world.shared, &world.shared.claims.watches);
        let no_thread = || Err(Trouble::new(FaultKind::Transient, "cannot start a thread", None));
        watches.lock().begin_intake = Some(Arc::new(no_thread));
        watch_late(shared).expect_err("there is no thread");
        watch_owed(shared);
        assert!(watches.all().is_empty(), "there is none yet");
        let (intake, offers) = sync_channel(OFFER_BATCHES);
        watches.lock().begin_intake = Some(Arc::new(move || Ok(intake.clone())));
        watch_owed(shared);
        assert_eq!(watches.all().len(), 1);
        std::fs::write(world.path("in/later.txt"), "1\n").expect("writes");
        offers.recv_timeout(PATIENCE).expect("it is seen");
        assert!(!watches.set_owed(false));
        watches.all().iter().for_each(|watch| watch.ask_to_stop());
    }

    /// Goal: the engine works under other rules, in other folders, without a restart.
    #[test]
    fn rules_that_are_exchanged_are_worked_under_from_then_on() {
        let world = World::new();
        let (mut first, registry) = (Rule::clone(&world.rule()), Registry::with_builtin_steps());
        first.ready.stable_for = Duration::from_millis(100);
        let other = Rule {
            name: "other".into(),
            paths: vec![world.path("other/*").display().to_string()].into(),
            ..first.clone()
        };
        let settings = Settings {
            // Events do not come everywhere.
            service: Service { scan_every: Duration::from_millis(100), ..world.shared.service.clone() },
            hooks: Vec::new(),
            rules: vec![first],
            file: world.path("landfall.toml"),
        };
        let store = Store::in_memory();
        let changes = store.subscribe();
        let engine = Engine::over(store.clone(), &[]);
        let running = engine.start(settings, registry, Purpose::Serve).expect("starts");
        let wait_for_end = |rule: &str| {
            let has_ended = |job: Job| job.rule == rule && job.state == JobState::Completed;
            let begun = Instant::now();
            while !store.jobs().filter_map(Result::ok).any(has_ended) {
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{:?}",
                    running.shared.claims.watches.waiting(PATIENCE, None)
                );
                changes.next_within(PATIENCE);
            }
        };
        wait_for_end("payments");
        let change = Engine::exchange_rules(&running.shared, vec![other]).expect("are right");
        assert_eq!((change.generation, change.added.len(), change.removed.len()), (2, 1, 1));
        std::fs::write(world.path("in/later.txt"), "1\n").expect("writes");
        std::fs::create_dir(world.path("other")).expect("makes");
        std::fs::write(world.path("other/pay2.txt"), "2\n").expect("writes");
        wait_for_end("other");
        assert!(is_there(&world.path("in/later.txt")));
        running.stop().expect("stops");
    }
}
