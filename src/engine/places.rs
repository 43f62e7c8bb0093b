//! The mounts that files of a rule went to before, and that must be there before more goes there.
//!
//! A folder whose mount is away looks like one that is to be made: an archive would be begun anew in the bare mount point, out of sight once
//! the mount is back. So it is remembered on which mount each folder lay that files of a job went to (decision 0063). Where nothing is
//! mounted there now, jobs and files wait as for `publish.mount`, until it is mounted again or an operator says that it is right as it is
//! (`landfall resume --rule`).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::goals::Goal;
use super::lock;
use super::operator::Kept;
use super::rule_book::ReadyRule;
use crate::clock;
use crate::durable_fs::{self, Mounts};
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::places::{Lies, PLACES_BELOW_MAX, Places};
use crate::store::{Store, StoreError};

/// Where a folder lies is looked at again after so long.
const LOOK_LASTS: Duration = Duration::from_mins(1);
/// Folders whose looks are remembered at most: templates may name one for each job.
const LOOKS_MAX: usize = 4_096;
/// A place to which no files went for so long is forgotten: more than a year, for what comes once in one.
pub(super) const UNUSED_FOR: Duration = Duration::from_hours(24 * 400);
/// The same where no rule has it.
pub(super) const WITHOUT_RULE_FOR: Duration = Duration::from_hours(24 * 60);

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct KnownPlaces {
    pub known: Kept<Places>,
    looked: Mutex<HashMap<PathBuf, Instant>>,
    /// Whether it was said that there is no room for more.
    is_full_told: AtomicBool,
}

/// What is said of a mount that is not there.
pub(super) struct Away {
    pub message: String,
    pub hint: String,
}

pub(super) fn words(rule: &str, folder: &Path, mount: &Path) -> Away {
    let (folder, mount) = (OsText::from(folder), OsText::from(mount));
    Away {
        message: format!("no file system is mounted at {mount}, where files for {folder} went before"),
        hint: format!(
            "mount it; everything goes on by itself. If they are to go there as it is now, `landfall resume --rule {rule}`"
        ),
    }
}

impl KnownPlaces {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self { known: Kept::load(store)?, ..Self::default() })
    }

    /// Notes on which mounts the folders lie to which files of a job went just now.
    pub(super) fn learn(&self, store: &Store, rule: &ReadyRule, job: &Job) -> Result<(), StoreError> {
        let roots = &rule.folders;
        let goals = rule.goals.of_job(&rule.rule, job);
        let due = self.take_due(used_by(&goals, job, roots), Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        let mounts = Mounts::now();
        let on_mount = |folder: &Path| mounts.of_folder(folder);
        let found: Vec<_> = due.iter().filter_map(|folder| lies(folder, roots, &on_mount)).collect();
        let now = clock::now();
        let learn = |places: &mut Places| {
            let mut left_out = None;
            for (folder, mount, is_below) in &found {
                if !places.learn(Lies { folder, mount, is_below: *is_below }, now) {
                    left_out = Some(folder.to_path_buf());
                }
            }
            left_out
        };
        if let Some(left_out) = self.known.change(store, learn, |_| ())?
            && !self.is_full_told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                folder = %OsText::from(left_out), places_max = PLACES_BELOW_MAX,
                "it is not remembered on which mount this folder lies: those of so many others are; while its mount is away files go to the bare mount point"
            );
        }
        Ok(())
    }

    fn take_due(&self, folders: BTreeSet<&Path>, now: Instant) -> Vec<PathBuf> {
        let mut looked = lock(&self.looked);
        let is_fresh = |at: &Instant| now.saturating_duration_since(*at) < LOOK_LASTS;
        let is_due = |folder: &&Path| !looked.get(*folder).is_some_and(is_fresh);
        let due: Vec<_> = folders.into_iter().filter(is_due).map(Path::to_owned).collect();
        if looked.len() + due.len() > LOOKS_MAX {
            looked.retain(|_, at| is_fresh(at));
        }
        for folder in &due {
            if looked.len() < LOOKS_MAX {
                looked.insert(folder.clone(), now);
            }
        }
        due
    }

    /// Lets files of a rule go to its folders as they are, where the mount of one is away; whether there were any.
    pub(super) fn let_through(
        &self,
        store: &Store,
        of: &LetThrough,
        is_away: impl Fn(&Path) -> bool,
    ) -> Result<bool, StoreError> {
        let is_its = |folder: &Path| concerns(folder, &of.folders);
        let is_away = |mount: &Path| !of.mounts.iter().any(|own| own == mount) && is_away(mount);
        self.known.change(store, |places| places.let_through(&of.rule, is_its, is_away), |_| ())
    }
}

/// A rule that an operator lets go on though the mounts of its folders are away.
#[derive(Debug)]
pub(super) struct LetThrough {
    pub rule: String,
    pub folders: Vec<PathBuf>,
    /// Its `publish.mount`: that is waited for whatever is known of it.
    pub mounts: Vec<PathBuf>,
}

/// Whether a place may be that of files which go to one of these folders, or below.
pub(super) fn concerns(place: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| place.starts_with(folder) || folder.starts_with(place))
}

/// The folders that files of this job went to, or would have, as far as they lie below what the rule spells out.
fn used_by<'f>(goals: &'f [Goal], job: &'f Job, roots: &'f [PathBuf]) -> BTreeSet<&'f Path> {
    let outputs = job.outputs.iter().map(|output| &output.path);
    let moved = job.source.claimed.as_ref().and(job.retired_to.as_ref());
    let files = outputs.chain(moved).map(|path| durable_fs::parent_of(path.as_path()));
    let used = goals.iter().filter_map(Goal::whole).chain(files);
    let used = used.filter(|folder| roots.iter().any(|root| folder.starts_with(root)));
    used.chain(roots.iter().map(PathBuf::as_path)).collect()
}

/// The topmost folder above this one, or itself, that lies on its mount, no higher than what the rule spells out; that mount; and whether it
/// lies below what is spelled out.
fn lies<'f>(
    folder: &'f Path,
    roots: &[PathBuf],
    on_mount: &impl Fn(&Path) -> Option<PathBuf>,
) -> Option<(&'f Path, PathBuf, bool)> {
    let root =
        roots.iter().filter(|root| folder.starts_with(root)).max_by_key(|root| root.as_os_str().len())?;
    let mount = on_mount(folder)?;
    let of_rule = folder.ancestors().take_while(|above| above.starts_with(root));
    let on_it = of_rule.take_while(|above| on_mount(above).as_ref() == Some(&mount));
    let top = on_it.last().unwrap_or(folder);
    Some((top, mount, top != root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn a_folder_is_looked_at_once_a_minute_and_only_so_many_are_remembered() {
        let places = KnownPlaces::default();
        let folders = |range: std::ops::Range<usize>| {
            range.map(|number| PathBuf::from(format!("/mnt/ar/{number}"))).collect::<Vec<_>>()
        };
        let take_due = |range, now| {
            let folders = folders(range);
            places.take_due(folders.iter().map(PathBuf::as_path).collect(), now)
        };
        let now = Instant::now();
        assert_eq!(take_due(0..1, now).len(), 1);
        assert!(take_due(0..1, now).is_empty());
        assert_eq!(take_due(0..1, now + LOOK_LASTS).len(), 1);
        let later = now + LOOK_LASTS * 2;
        assert_eq!(take_due(0..LOOKS_MAX + 9, later).len(), LOOKS_MAX + 9);
        assert_eq!(lock(&places.looked).len(), LOOKS_MAX);
        assert_eq!(take_due(0..1, later + LOOK_LASTS).len(), 1);
    }

    /// Goal: what is kept are mounts, however many folders are used below them.
    #[test]
    fn a_folder_is_known_by_the_topmost_one_on_its_mount_that_its_rule_has() {
        let roots = [PathBuf::from("/srv/out"), PathBuf::from("/ar")];
        let on_mount = |folder: &Path| {
            let mounts = ["/srv/out/acme", "/srv"].map(Path::new);
            let linked = folder.starts_with("/srv/out/globex").then(|| PathBuf::from("/mnt"));
            let at = mounts.into_iter().find(|mount| folder.starts_with(mount)).unwrap_or(Path::new("/"));
            Some(linked.unwrap_or_else(|| at.to_owned()))
        };
        let known = |folder: &'static str| {
            let (top, mount, is_below) =
                lies(Path::new(folder), &roots, &on_mount).expect("it is the rule's");
            (top.to_str().expect("text"), mount.to_str().expect("text").to_owned(), is_below)
        };
        assert_eq!(known("/srv/out/acme/2026/11"), ("/srv/out/acme", "/srv/out/acme".to_owned(), true));
        assert_eq!(known("/srv/out/globex/2026"), ("/srv/out/globex", "/mnt".to_owned(), true));
        assert_eq!(known("/srv/out/other/2026"), ("/srv/out", "/srv".to_owned(), false));
        assert_eq!(known("/ar"), ("/ar", "/".to_owned(), false));
        assert!(lies(Path::new("/in"), &roots, &on_mount).is_none(), "nothing of the rule's goes there");
    }

    #[test]
    fn a_rule_that_is_let_through_is_so_for_its_folders_and_not_for_its_publish_mount() {
        let (world, places) = (World::new(), KnownPlaces::default());
        let store = &world.shared.store;
        let learn = |places: &mut Places| {
            for folder in ["/mnt/ar/x", "/mnt/out/acme"] {
                places.learn(
                    Lies { folder: Path::new(folder), mount: Path::new(folder), is_below: true },
                    clock::now(),
                );
            }
        };
        places.known.change(store, learn, |_| ()).expect("writes");
        let of = |folder: &str, mounts: &[&str]| LetThrough {
            rule: "a".to_owned(),
            folders: vec![folder.into()],
            mounts: mounts.iter().map(PathBuf::from).collect(),
        };
        let let_through =
            |of: LetThrough, is_away: bool| places.let_through(store, &of, |_| is_away).expect("writes");
        assert!(!let_through(of("/mnt/ar", &[]), false), "it is mounted");
        assert!(!let_through(of("/mnt/out", &["/mnt/out/acme"]), true), "that is waited for all the same");
        assert!(!let_through(of("/mnt/out/ac", &[]), true) && !let_through(of("/mnt/out/globex", &[]), true));
        assert!(let_through(of("/mnt/out", &[]), true), "that of a sender lies below");
        assert!(
            let_through(LetThrough { rule: "c".to_owned(), ..of("/mnt/out/acme/deep", &[]) }, true),
            "it lies in that"
        );
        let loaded = KnownPlaces::load(store).expect("reads");
        let guarded: Vec<_> = loaded.known.now().guarded("a").map(|(folder, _)| folder.to_owned()).collect();
        assert_eq!(guarded, [Path::new("/mnt/ar/x")]);
        assert_eq!(loaded.known.now().guarded("b").count(), 2);
    }
}
