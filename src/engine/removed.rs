//! Kept files that are gone: the word on such a file goes when the file does, since another may have its identity later.
//!
//! One that was renamed is gone from where its row has it until the watch comes by its new name, and its row is moved there.
//!
//! ```text
//! user     mv a b
//! care           a is gone: marked ............................................ gone still, and the watches came round: forgotten
//! watch    no event (NFS), or many at a time ... a scan that began after the mark: b is a's file, and its row says so from here on
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::lock;
use super::shared::Shared;
use crate::durable_fs::{self, Presence};
use crate::model::identity::FolderIdentity;
use crate::model::job_id::JobId;
use crate::model::rule::Mode;
use crate::store::{LedgerRow, StoreError};

/// Files that are marked at most, of one mount; those beyond are marked once these are forgotten.
const MARKED_MAX: usize = 100_000;
/// One scan may have been under way when a file was marked: the next one began later.
const ROUNDS: u64 = 2;

/// The rounds that each watch had done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rounds(BTreeMap<usize, u64>);

impl Rounds {
    fn now(shared: &Shared) -> Self {
        let watches = shared.claims.watches.all();
        Self(watches.iter().map(|watch| (Arc::as_ptr(watch).addr(), watch.rounds())).collect())
    }

    /// Whether every watch has been everywhere since then. Where nothing is watched, nobody has.
    fn came_round_since(&self, then: &Self) -> bool {
        let came_round =
            |(watch, now): (&usize, &u64)| *now >= then.0.get(watch).map_or(1, |then| then + ROUNDS);
        !self.0.is_empty() && self.0.iter().all(came_round)
    }
}

/// Kept files of one mount that were gone at an earlier look.
#[derive(Default)]
pub(super) struct Marked {
    jobs: HashSet<JobId>,
    rounds: Rounds,
}

impl Marked {
    /// Takes in what is gone now; which of it is to be forgotten.
    fn note(&mut self, gone: HashSet<JobId>, rounds: Rounds) -> HashSet<JobId> {
        self.jobs.retain(|job| gone.contains(job));
        let to_forget = if rounds.came_round_since(&self.rounds) {
            std::mem::take(&mut self.jobs)
        } else {
            HashSet::new()
        };
        if self.jobs.is_empty() {
            let is_left = |job: &JobId| !to_forget.contains(job);
            *self = Self { jobs: gone.into_iter().filter(is_left).collect(), rounds };
        }
        to_forget
    }
}

/// Marks kept files that are gone, and forgets those that were marked before, on the file system that is looked at.
pub(super) fn forget(
    shared: &Shared,
    marked: &Mutex<Marked>,
    is_there: impl Fn(&Path) -> bool,
) -> Result<(), StoreError> {
    forget_at(shared, marked, Rounds::now(shared), is_there)
}

fn forget_at(
    shared: &Shared,
    marked: &Mutex<Marked>,
    rounds: Rounds,
    is_there: impl Fn(&Path) -> bool,
) -> Result<(), StoreError> {
    let mut gone = HashSet::new();
    for id in shared.store.kept_jobs() {
        let Some(row) = shared.store.ledger(id?)? else { continue };
        if gone.len() < MARKED_MAX && is_there(row.path.as_path()) && is_gone(shared, &row) {
            gone.insert(row.job);
        }
    }
    for job in lock(marked).note(gone, rounds) {
        // It may have been found by another name just now.
        if let Some(row) = shared.store.ledger(job)?.filter(|row| is_gone(shared, row)) {
            shared.store.change().forget_kept(row.job, &row.path, &row.identity).apply()?;
        }
    }
    Ok(())
}

/// Whether a kept file lies no more where its row has it, for sure: its folder is the one in which it was, and that was not moved away, and
/// is not another one that is mounted there.
fn is_gone(shared: &Shared, row: &LedgerRow) -> bool {
    let rules = shared.rules.now();
    let modes: Vec<_> = rules.iter().filter(|rule| rule.name == row.rule).map(|rule| rule.mode).collect();
    if !modes.is_empty() && !modes.contains(&Mode::Live) {
        return false; // nobody looks whether it has another name
    }
    let path = row.path.as_path();
    let folder = durable_fs::parent_of(path);
    let is_home = |found: &FolderIdentity| match &row.folder {
        Some(known) => durable_fs::is_same_folder_for_sure(folder, found, known),
        None => durable_fs::is_device_for_sure(found.device, row.identity.device),
    };
    durable_fs::presence(path).is_ok_and(|seen| match seen {
        Presence::Here(found) => {
            shared.store.kept(&row.path, &found).is_ok_and(|known| known != Some(row.job))
                && durable_fs::folder_identity(folder).is_ok_and(|found| found.as_ref().is_some_and(is_home))
        }
        Presence::Gone(found) => is_home(&found),
        Presence::FolderAway => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::job::Job;
    use crate::store::LedgerOutcome;

    const KEEPS: &str = "source = { on_success = \"keep\" }\n";

    /// A kept file, known as ingested.
    fn kept() -> (World, Job) {
        let world = World::with(KEEPS);
        let mut job = world.job();
        job.source.claimed = None;
        job.source.claim_folder = durable_fs::folder_identity(&world.path("in")).expect("looks");
        let row = LedgerRow::of(&job, LedgerOutcome::Completed);
        world.shared.store.change().job(&job).ledger(&row, true).apply().expect("writes");
        (world, job)
    }

    fn rounds(of: &[(usize, u64)]) -> Rounds {
        Rounds(of.iter().copied().collect())
    }

    fn is_known(world: &World, job: &Job) -> bool {
        world.shared.store.kept(&job.source.path, &job.source.identity).expect("reads").is_some()
    }

    /// After two looks, between which the watches came round.
    fn is_known_later(world: &World, job: &Job) -> bool {
        let marked = Mutex::default();
        look(world, &marked, 3);
        look(world, &marked, 5);
        is_known(world, job)
    }

    /// A look when a watch has done so many rounds.
    fn look(world: &World, marked: &Mutex<Marked>, done: u64) {
        forget_at(&world.shared, marked, rounds(&[(1, done)]), |_| true).expect("looks");
    }

    #[cfg_attr(windows, ignore = "under Wine no folder is known again for sure once something in it changed")]
    #[test]
    fn a_kept_file_is_known_until_it_is_gone_and_another_one_may_have_its_identity() {
        let (world, job) = kept();
        assert!(is_known_later(&world, &job));
        durable_fs::remove_file(&world.source()).expect("its sender removes it");
        assert!(!is_known_later(&world, &job));
    }

    #[cfg_attr(windows, ignore = "under Wine no folder is known again for sure once something in it changed")]
    #[test]
    fn a_kept_file_that_was_renamed_is_known_until_the_watch_came_by_its_new_name() {
        let (world, job) = kept();
        let (marked, renamed) = (Mutex::default(), world.path("in/renamed"));
        durable_fs::rename_no_replace(&world.source(), &renamed).expect("renames");
        for done in [7, 7, 8] {
            look(&world, &marked, done); // the scan that ended since may have begun before
        }
        assert!(is_known(&world, &job));
        look(&world, &marked, 9);
        assert!(!is_known(&world, &job), "no watch found it");
    }

    #[test]
    fn what_is_gone_is_forgotten_once_every_watch_came_round_since_it_was_marked() {
        let [first, second] = [1, 2].map(|number| JobId::from_parts(1, number));
        let nothing = HashSet::new();
        let mut marked = Marked::default();
        let mut note =
            |gone: &[JobId], of: &[(usize, u64)]| marked.note(gone.iter().copied().collect(), rounds(of));
        assert_eq!(note(&[first], &[(1, 3), (2, 0)]), nothing);
        assert_eq!(
            note(&[first, second], &[(1, 9), (2, 1)]),
            nothing,
            "one watch hangs, or its scans are rare"
        );
        assert_eq!(note(&[first, second], &[]), nothing, "nothing is watched");
        assert_eq!(note(&[first, second], &[(1, 9), (2, 2), (3, 1)]), HashSet::from([first]));
        assert_eq!(
            note(&[first, second], &[(1, 10), (2, 4), (3, 3)]),
            nothing,
            "the second was marked later"
        );
        assert_eq!(note(&[first], &[(1, 19), (2, 14), (3, 13)]), nothing, "it is there again");
        assert_eq!(note(&[first, second], &[(1, 29), (2, 24), (3, 23)]), HashSet::from([first]));
    }

    /// As over NFS, which numbers its device at each mount.
    #[cfg_attr(windows, ignore = "under Wine no folder is known again for sure once something in it changed")]
    #[test]
    fn a_kept_file_that_is_gone_is_forgotten_though_its_device_has_another_number_now() {
        let (world, mut job) = kept();
        let store = &world.shared.store;
        let forget = |job: &Job| {
            store
                .change()
                .forget_kept(job.id, &job.source.path, &job.source.identity)
                .apply()
                .expect("writes");
        };
        forget(&job);
        job.source.identity.device += 1;
        let home = job.source.claim_folder.expect("it was looked at");
        for (folder, is_forgotten) in [
            (None, false),
            (Some(FolderIdentity { device: home.device + 1, ..home }), home.created_ns.is_some()),
        ] {
            job.source.claim_folder = folder;
            let row = LedgerRow::of(&job, LedgerOutcome::Completed);
            store.change().ledger(&row, true).apply().expect("writes");
            durable_fs::remove_file(&world.source()).expect("its sender removes it");
            assert_eq!(!is_known_later(&world, &job), is_forgotten);
        }
    }

    /// The lowest number that is free is dealt: an empty folder that is mounted in the place of another one may have its device's.
    #[test]
    fn a_kept_file_whose_folder_is_another_one_with_the_same_device_is_not_gone() {
        let (world, mut job) = kept();
        let home = job.source.claim_folder.expect("it was looked at");
        job.source.claim_folder = Some(FolderIdentity { inode: home.inode + 1, ..home });
        let row = LedgerRow::of(&job, LedgerOutcome::Completed);
        world.shared.store.change().ledger(&row, true).apply().expect("writes");
        durable_fs::remove_file(&world.source()).expect("another mount");
        assert!(is_known_later(&world, &job));
    }

    #[test]
    fn a_kept_file_whose_folder_is_away_is_not_gone() {
        let (world, job) = kept();
        durable_fs::rename_replace(&world.path("in"), &world.path("away")).expect("unmounts");
        assert!(is_known_later(&world, &job));
    }

    #[test]
    fn a_kept_file_of_a_rule_that_is_off_is_not_gone() {
        let (world, job) = kept();
        let off = crate::model::rule::Rule { mode: Mode::Off, ..(*world.rule()).clone() };
        crate::engine::Engine::exchange_rules(&world.shared, vec![off]).expect("are right");
        durable_fs::remove_file(&world.source()).expect("its sender removes it");
        assert!(is_known_later(&world, &job));
    }

    #[test]
    fn kept_files_of_other_file_systems_are_not_looked_at() {
        let (world, job) = kept();
        durable_fs::remove_file(&world.source()).expect("its sender removes it");
        let marked = Mutex::default();
        for done in [0, 2] {
            forget_at(&world.shared, &marked, rounds(&[(1, done)]), |_| false).expect("looks");
        }
        assert!(is_known(&world, &job));
    }
}
