//! The care of folders: strays, kept files that are gone, archives, late writes; and what is old is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Purpose;
use super::file_systems::{self, WatchedTogether};
use super::lock;
use super::lookers::Lookers;
use super::places::{UNUSED_FOR, WITHOUT_RULE_FOR};
use super::removed::Marked;
use super::shared::Shared;
use super::thin::Thinning;
use super::threads::Threads;
use super::tick::TICK;
use super::{destroy, late_writes, rekey, removed, stored_outputs, strays};
use crate::clock;
use crate::durable_fs::{self, Mounts, Presence};
use crate::model::places::Places;
use crate::model::rule::{Mode, Rule};
use crate::model::template::fixed_folder;
use crate::store::{LedgerRow, StoreError};

const RETENTION_EVERY: Duration = Duration::from_hours(1);
/// Ledger rows forgotten at a time, at most.
const LEDGER_ROWS_MAX: usize = 100_000;

/// Looks after archives, kept files and claim folders, and forgets what is old; file systems are looked at by threads of their own. Only who
/// lives on thins archives: a command does what it was asked to.
pub(super) fn look_after_folders(shared: &Arc<Shared>, threads: &Threads, purpose: Purpose) {
    let mut care = Care::new(threads);
    let mut last_look: Option<Instant> = None;
    let mut outputs_wait = false;
    let mut rekeying = rekey::Looks::default();
    // A dry run's store is its own, and a command's handed over by nobody who would read it later.
    let mut destroying = destroy::Looks::new(shared, purpose.takes_up(), Instant::now());
    loop {
        let mounts = Mounts::now();
        if last_look.is_none_or(|last| last.elapsed() >= RETENTION_EVERY) {
            let is_first = last_look.replace(Instant::now()).is_none();
            // In this order: a ledger row outlives its job, and a file in quarantine whose row is gone would be told as a stray.
            forget_finished(shared);
            outputs_wait = true;
            forget_places(shared);
            let looks = Arc::new(());
            if purpose != Purpose::Rehearse {
                care.tell_strays(shared, &mounts, is_first, &looks); // its store knows of no claimed file
            }
            forget_ledger_after(shared, looks, &care.left);
            // Not at the start: a file system may be mounted later, and its files be taken for new ones.
            if !is_first && let Err(error) = care.forget_removed(shared, &mounts) {
                tracing::warn!(%error, "kept files that are gone stay known");
            }
        }
        // Behind the rows; what could not be removed is tried again at once, and not in an hour.
        outputs_wait = outputs_wait && !forget_outputs(shared);
        care.tell_partials(shared, &mounts);
        care.forget_left(shared, &mounts);
        if purpose.takes_up() {
            care.thin(shared, &mounts);
            rekeying.look(shared);
        }
        if destroy_until(shared, &mut destroying, Instant::now() + TICK) {
            return;
        }
        care.look_for_late_writes(shared, &Mounts::now());
    }
}

/// Looks now and then whether something is to be destroyed, until then. True: the engine stops.
fn destroy_until(shared: &Shared, destroying: &mut destroy::Looks, until: Instant) -> bool {
    loop {
        let now = Instant::now();
        destroying.look(shared, now);
        let pause = destroying.pause(now).min(until.saturating_duration_since(now));
        if shared.stop.pause(pause) || Instant::now() >= until {
            return shared.stop.is_asked();
        }
    }
}

/// Mounts on which old rows of the ledger have files that may lie there still.
type Left = Arc<Mutex<BTreeSet<PathBuf>>>;

/// What the folders' thread has others look at.
struct Care {
    lookers: Lookers,
    thinning: Arc<Thinning>,
    /// Whether strays were found, or may have been before the store was made: their partials are to be told, too.
    found: Arc<AtomicBool>,
    /// By mount, which kept files were gone before.
    removed: BTreeMap<PathBuf, Arc<Mutex<Marked>>>,
    left: Left,
    /// Keeps the ledger of a round in which a file system could not be looked at.
    not_looked: Option<Arc<()>>,
}

impl Care {
    fn new(threads: &Threads) -> Self {
        Self {
            lookers: Lookers::new(threads, "folders"),
            thinning: Arc::default(),
            found: Arc::default(),
            removed: BTreeMap::new(),
            left: Arc::default(),
            not_looked: None,
        }
    }

    /// At the start of a store that is new, or that does not know such files, the partials of unknown jobs are told too.
    fn tell_strays(&mut self, shared: &Arc<Shared>, mounts: &Mounts, is_start: bool, looks: &Arc<()>) {
        let is_new = shared.store.mark().is_ok_and(|mark| mark.is_none_or(|mark| mark.starts == 1));
        // A node of a cluster may leave partials whenever it wakes too late.
        self.found.store((is_start && is_new) || shared.store.epoch() > 0, Ordering::SeqCst);
        for WatchedTogether { rules, folders } in file_systems::watched_together(live_rules(shared), mounts) {
            let at = file_systems::name_of(folders.iter().map(PathBuf::as_path), mounts);
            let (found, look) = (Arc::clone(&self.found), Arc::clone(looks));
            let left = Arc::clone(&self.left);
            let will_look = self.lookers.look(shared, &at, move |shared| {
                let rules: Vec<Rule> = rules.iter().map(|rule| Rule::clone(rule)).collect();
                if strays::tell_strays(shared, &rules) && is_start {
                    found.store(true, Ordering::SeqCst);
                }
                forget_ledger_after(shared, look, &left);
            });
            if !will_look {
                self.not_looked = Some(Arc::clone(looks));
            }
        }
    }

    /// Below the folders that outputs go to, as far as their templates spell them out.
    fn tell_partials(&mut self, shared: &Arc<Shared>, mounts: &Mounts) {
        if !self.found.swap(false, Ordering::SeqCst) {
            return;
        }
        let mut at: BTreeMap<Arc<str>, Vec<PathBuf>> = BTreeMap::new();
        for output in live_rules(shared).iter().flat_map(|rule| rule.outputs.values()) {
            let folder = fixed_folder(&output.path);
            if folder.parent().is_some() {
                at.entry(file_systems::name_of([folder.as_path()], mounts)).or_default().push(folder);
            }
        }
        for (at, folders) in at {
            let _will_look =
                self.lookers.look(shared, &at, move |shared| strays::tell_partials(shared, folders));
        }
    }

    fn forget_removed(&mut self, shared: &Arc<Shared>, mounts: &Mounts) -> Result<(), StoreError> {
        let mut mounts_used = BTreeSet::new();
        for id in shared.store.kept_jobs() {
            mounts_used.extend(shared.store.ledger(id?)?.map(|row| mounts.of(row.path.as_path())));
        }
        for mount in mounts_used {
            let (at, mounts) = (file_systems::name_of([mount.as_path()], mounts), mounts.clone());
            let marked = Arc::clone(self.removed.entry(mount.clone()).or_default());
            self.lookers.look(shared, &at, move |shared| {
                if let Err(error) = removed::forget(shared, &marked, |path| mounts.of(path) == mount) {
                    tracing::warn!(%error, "kept files that are gone stay known");
                }
            });
        }
        Ok(())
    }

    /// Of files that may lie where their jobs left them: those are looked at.
    fn forget_left(&mut self, shared: &Arc<Shared>, mounts: &Mounts) {
        for mount in std::mem::take(&mut *lock(&self.left)) {
            let (at, mounts) = (file_systems::name_of([mount.as_path()], mounts), mounts.clone());
            self.lookers.look(shared, &at, move |shared| {
                forget_ledger(shared, &mut |row| mounts.of(row.path.as_path()) != mount || is_left(row));
            });
        }
    }

    fn thin(&mut self, shared: &Arc<Shared>, mounts: &Mounts) {
        let mut groups: BTreeMap<Arc<str>, Vec<Arc<Rule>>> = BTreeMap::new();
        for rule in
            live_rules(shared).into_iter().filter(|rule| rule.is_base() && rule.source.archive_keep.is_some())
        {
            groups.entry(file_systems::group_of(&rule, mounts)).or_default().push(rule);
        }
        for (group, rules) in groups {
            let thinning = Arc::clone(&self.thinning);
            self.lookers.look(shared, &group, move |shared| thinning.tick(shared, &rules));
        }
    }

    fn look_for_late_writes(&mut self, shared: &Arc<Shared>, mounts: &Mounts) {
        for mount in shared.claims.late_writes.mounts(mounts) {
            let (at, mounts) = (file_systems::name_of([mount.as_path()], mounts), mounts.clone());
            self.lookers.look(shared, &at, move |shared| {
                late_writes::look(&shared.claims.late_writes, &shared.store, |path| mounts.of(path) == mount);
            });
        }
    }
}

fn live_rules(shared: &Shared) -> Vec<Arc<Rule>> {
    shared.rules.now().iter().filter(|rule| rule.mode == Mode::Live).cloned().collect()
}

/// Whoever ends the last look for strays forgets: where a file system hangs, its files in quarantine are to be known when it answers. Files
/// may be on another one, and are not looked at here.
fn forget_ledger_after(shared: &Shared, looks: Arc<()>, left: &Left) {
    if Arc::into_inner(looks).is_some() {
        let (mounts, mut found) = (Mounts::now(), BTreeSet::new());
        forget_ledger(shared, &mut |row| {
            found.insert(mounts.of(row.path.as_path()));
            true
        });
        lock(left).extend(found);
        if let Err(error) = shared.store.forget_names_of_nobody() {
            tracing::warn!(%error, "what is known of other names of files that nobody knows could not be removed");
        }
    }
}

/// Whether the file of a row may lie there still.
fn is_left(row: &LedgerRow) -> bool {
    let path = row.path.as_path();
    durable_fs::presence(path).map_or(true, |seen| match seen {
        Presence::Here(found) => durable_fs::is_same_content(path, &found, &row.identity),
        Presence::Gone(_) => false,
        Presence::FolderAway => true,
    })
}

/// See [`super::wall_clock`].
fn old_before(shared: &Shared, age: Duration) -> Option<Timestamp> {
    shared.resources.wall_clock.old_before(&shared.store, age)
}

fn forget_ledger(shared: &Shared, is_left: &mut dyn FnMut(&LedgerRow) -> bool) {
    let Some(before) = old_before(shared, shared.service.ledger_retention) else { return };
    if let Err(error) = shared.store.forget_marked(before, LEDGER_ROWS_MAX) {
        tracing::warn!(%error, "old rows of files that a marker stood for could not be removed");
    }
    let rules = shared.rules.now();
    let removes_archived =
        |name: &str| rules.iter().any(|rule| rule.name == name && rule.source.archive_keep.is_some());
    match shared.store.forget_ledger(before, LEDGER_ROWS_MAX, &removes_archived, is_left) {
        Ok(0) => {}
        Ok(sources) => tracing::info!(
            sources,
            "sources are no longer in the ledger: they are older than `service.ledger_retention`"
        ),
        Err(error) => tracing::warn!(%error, "old rows of the ledger could not be removed"),
    }
}

fn forget_finished(shared: &Shared) {
    let Some(before) = old_before(shared, shared.service.retention) else { return };
    match shared.store.forget_finished(before, shared.publishing.aside.is_some()) {
        Ok(0) => {}
        Ok(jobs) => tracing::info!(
            jobs,
            "finished jobs are no longer listed: they are older than `service.retention`"
        ),
        Err(error) => tracing::warn!(%error, "old finished jobs could not be removed from the list"),
    }
    match shared.store.forget_rules(|| shared.rules.known_hashes()) {
        Ok(0) => {}
        Ok(rules) => tracing::debug!(rules, "snapshots of rules that no job refers to any more are removed"),
        Err(error) => tracing::warn!(%error, "unused snapshots of rules could not be removed"),
    }
}

/// Whether no output in the store is left whose job is no longer listed.
fn forget_outputs(shared: &Shared) -> bool {
    let Some(before) = old_before(shared, shared.service.retention) else { return true };
    let forgotten = stored_outputs::forget(shared, before);
    if let Err(trouble) = &forgotten {
        tracing::warn!(error = %trouble.error, "outputs in the store whose jobs are no longer listed could not be removed; it is tried again");
    }
    forgotten.is_ok()
}

/// See [`super::places`].
fn forget_places(shared: &Shared) {
    let (unused, without_rule) = (old_before(shared, UNUSED_FOR), old_before(shared, WITHOUT_RULE_FOR));
    let Some((unused, without_rule)) = unused.zip(without_rule) else { return };
    let rules = shared.rules.now();
    let roots: BTreeSet<_> = rules.iter().flat_map(|rule| file_systems::folders_of(rule)).collect();
    let forget = |places: &mut Places| {
        let has_rule = |folder: &Path| folder.ancestors().any(|above| roots.contains(above));
        places.forget_unused(clock::now(), unused, without_rule, has_rule);
    };
    if let Err(error) = shared.resources.disk_space.places.known.change(&shared.store, forget, |_| ()) {
        tracing::warn!(%error, "mounts that no file goes to any more stay known");
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::engine::tests::World;
    use crate::model::job_id::JobId;
    use crate::store::{LedgerOutcome, OtherNames};

    #[test]
    fn the_ledger_forgets_what_is_old_only_once_the_last_look_has_ended() {
        let world = World::new();
        let id = JobId::from_parts(1, 9);
        let old = LedgerRow {
            job: id,
            finished_at: Some(Timestamp::UNIX_EPOCH),
            ..LedgerRow::of(&world.job(), LedgerOutcome::Completed)
        };
        world.shared.store.change().ledger(&old, false).apply().expect("writes");
        let is_known = || world.shared.store.ledger(id).expect("reads").is_some();
        let looks = Arc::new(());
        let left = Left::default();
        forget_ledger_after(&world.shared, Arc::clone(&looks), &left);
        assert!(is_known(), "a file system is looked at yet");
        forget_ledger_after(&world.shared, looks, &left);
        assert!(!is_known() && lock(&left).is_empty());
    }

    /// Goal: a file system that hangs keeps nothing else from being looked after.
    #[test]
    fn old_rows_of_files_that_may_lie_there_wait_for_a_look_by_the_thread_of_their_file_system() {
        let world = World::new();
        let store = &world.shared.store;
        let rows: Vec<_> = [("in/pay.txt", 8), ("in/gone.txt", 9)]
            .into_iter()
            .map(|(name, number)| LedgerRow {
                job: JobId::from_parts(1, number),
                path: world.path(name).as_path().into(),
                finished_at: Some(Timestamp::UNIX_EPOCH),
                ..LedgerRow::of(&world.job(), LedgerOutcome::Completed)
            })
            .collect();
        let known = || {
            let is_known = |row: &&LedgerRow| store.ledger(row.job).expect("reads").is_some();
            rows.iter().filter(is_known).map(|row| row.path.clone()).collect::<Vec<_>>()
        };
        let write = |row: &LedgerRow| {
            let other = OtherNames::unseen(row.job);
            store.change().ledger(row, false).other_names(&row.identity, &other).apply().expect("writes");
        };
        for row in &rows {
            write(row); // of one file, so that the last one has the row of its other names
            let left = Left::default();
            forget_ledger_after(&world.shared, Arc::new(()), &left);
            assert!(known().contains(&row.path), "nobody has looked yet");
            let home = Mounts::now().of(&world.source());
            assert_eq!(*lock(&left), BTreeSet::from([home.clone()]));
            let threads = Threads::default();
            let mut care = Care::new(&threads);
            care.left = left;
            care.forget_left(&world.shared, &Mounts::now());
            drop(care);
            threads.take().into_iter().for_each(|thread| thread.join().expect("no panic"));
            let is_there = row.path == rows[0].path;
            assert_eq!(known().contains(&row.path), is_there);
        }
    }
}
