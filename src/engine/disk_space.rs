//! Space on the file systems in use (`service.free_min`), and the mounts that must be there: `publish.mount`, and those that the files of a
//! rule went to before (see [`super::places`]).
//!
//! Where either lacks nothing is claimed, started or published: jobs and files wait and say so, and go on by themselves. The service tells
//! it once when it begins and once when it ends. What is being published or retired already goes on as far as the disk takes it.
//! What then runs gives way: see [`super::give_way`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::goals::Goal;
use super::lock;
use super::places::{self, Away, KnownPlaces, LetThrough};
use super::rule_book::ReadyRule;
use super::trouble::{Reaction, Trouble};
use crate::durable_fs::{self, Mounts, Space};
use crate::model::amount;
use crate::model::fault::{FaultKind, WaitsFor};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::{FreeMin, OnSuccess, Rule};
use crate::output::Intent;
use crate::store::{Store, StoreError};
use crate::telemetry::events;
use crate::watch::Offer;

/// A look at a file system counts for so long: many small files share one.
const LOOK_LASTS: Duration = Duration::from_millis(100);
/// Folders whose looks are remembered at most.
const LOOKS_MAX: usize = 1024;

/// What is known of the file systems in use.
pub(super) struct DiskSpace {
    free_min: FreeMin,
    data_dir: PathBuf,
    state: Mutex<State>,
    bell: Condvar,
    pub places: KnownPlaces,
}

#[derive(Default)]
struct State {
    /// The thread that looks after all this has something to do.
    woken: bool,
    /// Something that lacked is there.
    ended: bool,
    looks: HashMap<PathBuf, (Instant, Option<Space>)>,
    /// File systems without enough space, by device.
    short: BTreeMap<u64, Short>,
    /// Mounts that are not there, with who met that.
    away: BTreeMap<PathBuf, MetAway>,
    /// Jobs that wait for any of these.
    parked: HashSet<JobId>,
}

/// Rules by the file systems that they use. Each looks for what it met by itself: another one may hang.
type Groups = BTreeSet<Arc<str>>;

/// Who met that a mount is away.
#[derive(Default)]
struct MetAway {
    groups: Groups,
    rules: BTreeSet<String>,
}

/// What is free, and how much is wanted: bytes, or inodes.
struct Lack {
    free: String,
    wanted: String,
    hint: &'static str,
}

struct Short {
    /// One on it.
    folder: PathBuf,
    met_by: Groups,
}

impl DiskSpace {
    pub(super) fn new(free_min: FreeMin, data_dir: PathBuf) -> Self {
        Self {
            free_min,
            data_dir,
            state: Mutex::default(),
            bell: Condvar::new(),
            places: KnownPlaces::default(),
        }
    }

    /// Whether a file may be claimed under the rule. Where it is renamed, a claim folder beside it is written to.
    pub(super) fn check_claim(&self, rule: &ReadyRule, offer: &Offer) -> Result<(), Trouble> {
        let renames = rule.rule.source.on_success != OnSuccess::Keep;
        let beside = renames.then(|| durable_fs::parent_of(&offer.path));
        let goals = || rule.goals.of_offer(&rule.rule, offer);
        self.check(rule, goals, rule.folders.iter().map(PathBuf::as_path).chain(beside))
    }

    /// Whether a job may be started, or go on running, under the rule.
    pub(super) fn check_start(
        &self,
        rule: &ReadyRule,
        goals: impl FnOnce() -> Vec<Goal>,
    ) -> Result<(), Trouble> {
        self.check(rule, goals, rule.folders.iter().map(PathBuf::as_path))
    }

    /// Whether this may be published.
    pub(super) fn check_publish(&self, rule: &ReadyRule, job: &Job, intent: &Intent) -> Result<(), Trouble> {
        let own = || intent.final_names().map(durable_fs::parent_of);
        let goals = || {
            let goals = rule.goals.of_job(&rule.rule, job).into_iter().map(Goal::settled);
            goals.chain(own().map(Goal::at)).collect()
        };
        self.check(rule, goals, rule.folders.iter().map(PathBuf::as_path).chain(own()))
    }

    /// Whether so many bytes may be copied into this folder.
    pub(super) fn check_copy(&self, folder: &Path, bytes: u64) -> std::io::Result<()> {
        let space = durable_fs::space_at(folder)?;
        let kept_free = self.free_min.of(space.total);
        if space.total == 0 || space.free >= bytes.saturating_add(kept_free) {
            return Ok(());
        }
        let (bytes, free, kept_free) =
            (amount::bytes(bytes), amount::bytes(space.free), amount::bytes(kept_free));
        let message = format!(
            "{bytes} do not fit into {}: {free} are free there, and `service.free_min` keeps {kept_free}",
            OsText::from(folder)
        );
        Err(std::io::Error::new(std::io::ErrorKind::StorageFull, message))
    }

    /// Whether the mount of the rule is there.
    pub(super) fn check_mount_of(&self, rule: &ReadyRule) -> Result<(), Trouble> {
        let mount = rule.rule.publish.mount.as_ref();
        let words = |mount: &Path| Away {
            message: format!("no file system is mounted at {} (`publish.mount`)", OsText::from(mount)),
            hint: "mount it; everything goes on by itself".to_owned(),
        };
        mount.map_or(Ok(()), |mount| self.check_mount(rule, mount, words))
    }

    /// Whether the mounts are there on which the folders lay to which files of a rule are to go, when some went there before.
    pub(super) fn check_places(
        &self,
        rule: &ReadyRule,
        goals: impl FnOnce() -> Vec<Goal>,
    ) -> Result<(), Trouble> {
        let known = self.places.known.now();
        let mut guarded = known.guarded(&rule.rule.name).peekable();
        if guarded.peek().is_none() {
            return Ok(());
        }
        let goals = goals();
        for (folder, mount) in guarded.filter(|(folder, _)| goals.iter().any(|goal| goal.may_reach(folder))) {
            let words = |mount: &Path| places::words(&rule.rule.name, folder, mount);
            self.check_mount(rule, mount, words)?;
        }
        Ok(())
    }

    /// Notes the mounts of a rule's places that are away by the system's list: no file system is asked. So who lets the rule go on is told.
    pub(super) fn note_away(&self, rule: &ReadyRule, mounts: &Mounts) {
        let known = self.places.known.now();
        let away = known.guarded(&rule.rule.name).filter(|(_, mount)| !mounts.is_one(mount));
        for (folder, mount) in away.filter(|(folder, _)| places::concerns(folder, &rule.folders)) {
            self.meet_away(rule, mount, &places::words(&rule.rule.name, folder, mount));
        }
    }

    /// Whether what a job hid at a path lies on a mount that is away, and its rule was let go on without that.
    pub(super) fn is_left_behind(&self, rule: &ReadyRule, hidden: &Path) -> bool {
        let known = self.places.known.now();
        let mut let_go = known.let_go(&rule.rule.name).filter(|(folder, _)| hidden.starts_with(folder));
        let_go.any(|(_, mount)| !durable_fs::is_mount_point(mount).unwrap_or(false))
    }

    /// Lets files of a rule go to its folders as they are where the mount of one is away, and with them what waited for it; whether there were
    /// any. Other rules go on waiting.
    pub(super) fn let_through(&self, store: &Store, of: &LetThrough) -> Result<bool, StoreError> {
        let away: BTreeSet<_> = lock(&self.state).away.keys().cloned().collect();
        let is_let_through = self.places.let_through(store, of, |mount| away.contains(mount))?;
        if is_let_through {
            lock(&self.state).away.retain(|mount, met| {
                let is_waited_for = of.mounts.contains(mount);
                let was_met = !is_waited_for && met.rules.remove(&of.rule);
                !was_met || !met.rules.is_empty()
            });
            self.tell_end();
        }
        Ok(is_let_through)
    }

    fn check<'a>(
        &self,
        rule: &ReadyRule,
        goals: impl FnOnce() -> Vec<Goal>,
        mut folders: impl Iterator<Item = &'a Path>,
    ) -> Result<(), Trouble> {
        self.check_mount_of(rule)?;
        self.check_places(rule, goals)?;
        if self.free_min == FreeMin::Bytes(0) {
            return Ok(());
        }
        self.check_space(&rule.group, &self.data_dir)?;
        folders.try_for_each(|folder| self.check_space(&rule.group, folder))
    }

    fn check_mount(
        &self,
        rule: &ReadyRule,
        mount: &Path,
        words: impl FnOnce(&Path) -> Away,
    ) -> Result<(), Trouble> {
        // One that cannot be asked about (no permission, a dead server) is not known to be there.
        if durable_fs::is_mount_point(mount).unwrap_or(false) {
            return Ok(());
        }
        let away = words(mount);
        self.meet_away(rule, mount, &away);
        let Away { message, hint } = away;
        let trouble = Trouble::new(FaultKind::Storage, message.clone(), Some(&hint));
        Err(Trouble {
            waits_for: WaitsFor::Mount,
            reaction: Reaction::Park { detail: format!("{message}; {hint}").into() },
            ..trouble
        })
    }

    fn meet_away(&self, rule: &ReadyRule, mount: &Path, away: &Away) {
        let is_first = {
            let mut state = lock(&self.state);
            let is_first = !state.away.contains_key(mount);
            let met = state.away.entry(mount.to_owned()).or_default();
            met.groups.insert(Arc::clone(&rule.group));
            met.rules.insert(rule.rule.name.clone());
            is_first
        };
        if is_first {
            events::mount_away(mount, &away.message, &away.hint);
            self.wake();
        }
    }

    fn check_space(&self, group: &Arc<str>, folder: &Path) -> Result<(), Trouble> {
        let Some(space) = self.look(folder) else { return Ok(()) };
        let Some(lack) = self.lacks(&space) else { return Ok(()) };
        let is_first = {
            let mut state = lock(&self.state);
            let short = state.short.entry(space.device);
            let short = short.or_insert_with(|| Short { folder: folder.to_owned(), met_by: Groups::new() });
            short.met_by.insert(Arc::clone(group)) && short.met_by.len() == 1
        };
        if is_first {
            events::room_short(folder, &lack.free, &lack.wanted, lack.hint);
            self.wake();
        }
        let message = format!("too little room on the file system of {}", OsText::from(folder));
        let detail = format!(
            "the file system of {} has {} free, and `service.free_min` asks for {}",
            OsText::from(folder),
            lack.free,
            lack.wanted
        );
        let trouble = Trouble::new(FaultKind::Storage, message, Some(lack.hint));
        Err(Trouble {
            waits_for: WaitsFor::Disk,
            reaction: Reaction::Park { detail: detail.into() },
            ..trouble
        })
    }

    /// What is wanted where it is not there.
    fn lacks(&self, space: &Space) -> Option<Lack> {
        let (wanted, files) = (self.free_min.of(space.total), self.free_min.files_of(space.files_total));
        if space.total > 0 && space.free < wanted {
            let hint = "make room there; everything goes on by itself";
            return Some(Lack { free: amount::bytes(space.free), wanted: amount::bytes(wanted), hint });
        }
        (space.files_total > 0 && space.files_free < files).then(|| Lack {
            free: format!("{} inodes", space.files_free),
            wanted: files.to_string(),
            hint: "remove files there, large or small, or give the file system more inodes; everything goes on by itself",
        })
    }

    /// None: the file system does not answer; then what is done there meets its error.
    fn look(&self, folder: &Path) -> Option<Space> {
        let now = Instant::now();
        if let Some((at, space)) = lock(&self.state).looks.get(folder)
            && now.saturating_duration_since(*at) < LOOK_LASTS
        {
            return *space;
        }
        // Not under the lock: a file system that hangs holds up only those who ask for it.
        let space = durable_fs::space_at(folder).ok();
        let mut state = lock(&self.state);
        if state.looks.len() >= LOOKS_MAX {
            state.looks.clear();
        }
        state.looks.insert(folder.to_owned(), (now, space));
        space
    }

    /// Lets the thread that looks after all this look now, or see that the engine stops.
    pub(super) fn wake(&self) {
        lock(&self.state).woken = true;
        self.bell.notify_all();
    }

    /// Sleeps until somebody wakes it, or for `pause`.
    pub(super) fn wait(&self, pause: Duration) {
        let waited = self.bell.wait_timeout_while(lock(&self.state), pause, |state| !state.woken);
        let mut state = waited.map_or_else(|e| e.into_inner().0, |(state, _)| state);
        state.woken = false;
    }

    /// A job waits for something that is looked for here.
    pub(super) fn park(&self, id: JobId) {
        lock(&self.state).parked.insert(id);
    }

    /// Looks whether what these rules lacked is there now.
    pub(super) fn look_again(&self, group: &str) {
        let (short, away): (Vec<_>, Vec<_>) = {
            let state = lock(&self.state);
            let short = state.short.iter().filter(|(_, short)| short.met_by.contains(group));
            let away = state.away.iter().filter(|(_, met)| met.groups.contains(group));
            (
                short.map(|(device, short)| (*device, short.folder.clone())).collect(),
                away.map(|(mount, _)| mount.clone()).collect(),
            )
        };
        for (device, folder) in short {
            let space = durable_fs::space_at(&folder).ok().filter(|space| space.device == device);
            if space.is_some_and(|space| self.lacks(&space).is_some()) {
                continue;
            }
            let was_short = {
                let mut state = lock(&self.state);
                state.looks.clear();
                state.short.remove(&device).is_some()
            };
            if was_short {
                events::room_again(&folder, space.map(|space| space.free));
                self.tell_end();
            }
        }
        for mount in away.into_iter().filter(|mount| durable_fs::is_mount_point(mount).unwrap_or(false)) {
            if lock(&self.state).away.remove(&mount).is_some() {
                events::mount_there(&mount);
                self.tell_end();
            }
        }
    }

    fn tell_end(&self) {
        lock(&self.state).ended = true;
        self.wake();
    }

    /// The mounts that are waited for.
    pub(super) fn mounts_away(&self) -> Vec<PathBuf> {
        lock(&self.state).away.keys().cloned().collect()
    }

    /// Whether something that lacked is there since the last time.
    pub(super) fn take_ended(&self) -> bool {
        std::mem::take(&mut lock(&self.state).ended)
    }

    /// A folder on each file system that has too little room, as far as somebody asked for some.
    pub(super) fn short(&self) -> Vec<PathBuf> {
        lock(&self.state).short.values().map(|short| short.folder.clone()).collect()
    }

    /// Who looks for what lacks.
    pub(super) fn groups_that_lack(&self) -> Groups {
        let state = lock(&self.state);
        let short = state.short.values().map(|short| &short.met_by);
        short.chain(state.away.values().map(|met| &met.groups)).flatten().cloned().collect()
    }

    /// Whether anything lacks, or is waited for.
    pub(super) fn lacks_anything(&self) -> bool {
        let state = lock(&self.state);
        !(state.short.is_empty() && state.away.is_empty() && state.parked.is_empty())
    }

    /// The jobs that wait, if any of them may go on.
    pub(super) fn take_parked(&self, ended: bool) -> HashSet<JobId> {
        let mut state = lock(&self.state);
        // One that saw what lacked in the last moment parks after the end was told.
        if ended || (state.short.is_empty() && state.away.is_empty()) {
            return std::mem::take(&mut state.parked);
        }
        HashSet::new()
    }
}

/// For `landfall check`: rules whose mount is not there now.
pub(crate) fn mounts_away(rules: &[Rule]) -> Vec<String> {
    let away = |rule: &Rule| {
        let mount = rule.publish.mount.as_deref()?;
        let there = durable_fs::is_mount_point(mount).unwrap_or(false);
        (!there).then(|| {
            format!(
                "rule \"{}\": no file system is mounted at {} (`publish.mount`): until it is, its files wait",
                rule.name,
                escaped_path(mount)
            )
        })
    };
    rules.iter().filter_map(away).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use crate::{engine::tests::World, model::places::Lies, pipeline::Registry};

    fn group() -> Arc<str> {
        Arc::from("/")
    }

    fn look_again(disk_space: &DiskSpace) -> bool {
        disk_space.look_again(&group());
        disk_space.take_ended()
    }

    #[test]
    fn the_default_asks_for_no_more_than_a_twentieth_of_a_small_file_system() {
        let gib = 1_u64 << 30;
        assert_eq!([FreeMin::Default.of(100 * gib), FreeMin::Default.of(10 * gib)], [gib, gib / 2]);
        assert_eq!(FreeMin::Bytes(gib).of(gib), gib);
    }

    #[test]
    fn a_file_system_without_room_is_told_with_its_figures_and_looked_at_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk_space = DiskSpace::new(FreeMin::Bytes(u64::MAX), folder.path().to_owned());
        let lack = disk_space.check_space(&group(), folder.path()).expect_err("nobody has so much");
        assert_eq!((lack.error.kind, lack.waits_for), (FaultKind::Storage, WaitsFor::Disk));
        assert!(
            matches!(&lack.reaction, Reaction::Park { detail } if detail.contains("free_min") && detail.contains(" free"))
        );
        disk_space.look_again("another");
        assert!(!look_again(&disk_space) && disk_space.lacks_anything());
        let enough = DiskSpace { free_min: FreeMin::Bytes(1), ..disk_space };
        enough.look_again("another"); // which may hang
        assert!(enough.lacks_anything());
        assert!(look_again(&enough) && !enough.lacks_anything());
        assert!(!look_again(&enough), "the end is told once");
    }

    #[test]
    fn a_file_system_that_does_not_tell_its_size_has_room() {
        let disk_space = DiskSpace::new(FreeMin::Bytes(1), PathBuf::new());
        let space =
            |free, total, files_free, files_total| Space { device: 1, free, total, files_free, files_total };
        let lacks = |space| disk_space.lacks(&space).map(|lack| (lack.free, lack.wanted));
        let told = |free: &str, wanted: &str| Some((free.to_owned(), wanted.to_owned()));
        assert_eq!(lacks(space(0, 0, 0, 0)), None, "nothing is told");
        assert_eq!(lacks(space(0, 9, 0, 0)), told("0 B", "1 B"));
        assert_eq!(lacks(space(9, 9, 1, 12)), None);
        assert_eq!(lacks(space(9, 9, 0, 12)), told("0 inodes", "1"), "however much room there is");
        assert_eq!(lacks(space(9, 9, 999, 1_000_000)), told("999 inodes", "1000"));
        let all = DiskSpace::new(FreeMin::Bytes(0), PathBuf::new());
        assert!(all.lacks(&space(9, 9, 0, 12)).is_none(), "nothing is kept free");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_where_nothing_is_mounted_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk_space = DiskSpace::new(FreeMin::Bytes(0), PathBuf::new());
        let words = |mount: &Path| places::words("r", mount, mount);
        let world = World::new();
        let rule = world.shared.rules.ready(&world.rule()).expect("is right");
        disk_space.check_mount(&rule, Path::new("/"), words).expect("it is one");
        let lack = disk_space.check_mount(&rule, folder.path(), words).expect_err("it is none");
        assert_eq!(lack.waits_for, WaitsFor::Mount);
        disk_space.look_again(&rule.group);
        assert!(disk_space.lacks_anything() && !disk_space.take_ended());
    }

    /// Goal: an operator's word for one rule is none for another of the same mount.
    #[cfg(unix)]
    #[test]
    fn a_rule_that_is_let_through_leaves_the_mount_to_be_waited_for_by_others() {
        let (world, folder) = (World::new(), tempfile::tempdir().expect("a folder"));
        let store = &world.shared.store;
        let disk_space = DiskSpace::new(FreeMin::Bytes(0), PathBuf::new());
        let named = |name: &str| {
            let rule = Rule { name: name.to_owned(), ..Rule::clone(&world.rule()) };
            ReadyRule::build(&Arc::new(rule), &Registry::with_builtin_steps()).expect("is right")
        };
        let (one, other) = (named("one"), named("other"));
        let goal = || vec![Goal::at(&folder.path().join("x"))];
        let lies = Lies { folder: folder.path(), mount: folder.path(), is_below: true };
        disk_space
            .places
            .known
            .change(store, |places| places.learn(lies, crate::clock::now()), |_| ())
            .expect("writes");
        for rule in [&one, &other] {
            disk_space.check_places(rule, goal).expect_err("nothing is mounted there");
        }
        let (rule, folders) = ("one".to_owned(), vec![folder.path().to_owned()]);
        let of = LetThrough { rule, folders, mounts: Vec::new() };
        assert!(disk_space.let_through(store, &of).expect("writes") && disk_space.take_ended());
        disk_space.check_places(&one, goal).expect("is let through");
        assert_eq!(disk_space.mounts_away(), [folder.path()], "the other one waits for it");
        disk_space.check_places(&other, goal).expect_err("nobody said so");
    }
}
