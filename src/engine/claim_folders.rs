//! The claim folders that this process has for itself: two services that watch one folder would take files from each other.
//!
//! A claim folder is taken before a file is renamed into it: it must be the service's own, and its lock ours. A folder is known by device
//! and inode: one that was renamed, or is mounted a second time, is ours under its new name. Each lock costs a descriptor, so
//! that the one which was idle longest is let go where there are many. `keep` rules and `ingest` without `--retire` rename nothing
//! and need none.
//!
//! A lock also keeps a file system from being unmounted. So whoever took a folder lets go of its lock once it is idle, and a sign stays there
//! that this process runs, which others respect. Not where such a sign cannot be seen: on file systems that other machines use, and on
//! other systems than Linux.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::claim_names::claim_folder;
use super::one_at_a_time::OneAtATime;
use super::trouble::Trouble;
use super::{limits, lock, marks};
use crate::durable_fs::{self, CLAIM_FOLDER, FsError, HeldFolder, Hold, OpenTo, RunningSign};
use crate::model::fault::FaultKind;
use crate::model::identity::FolderIdentity;
use crate::model::os_text::OsText;
use crate::model::pattern::Pattern;
use crate::model::rule::{Mode, OnSuccess, Rule};
use crate::store::Mark;

#[derive(Debug, Default)]
pub(super) struct ClaimFolders {
    held: Mutex<Held>,
    /// Folders that somebody takes now.
    taking: OneAtATime<Place>,
    warned_of_no_locks: AtomicBool,
    /// The lease of a cluster stands in for the locks: that of a node which is gone, or asleep, would keep the next one out.
    is_shared: AtomicBool,
    /// Left in the folders whose locks are let go; none where there are no signs.
    sign: OnceLock<Option<RunningSign>>,
    /// What is left in each folder before anything is claimed there; none before the start is counted.
    mark: Mutex<Option<Mark>>,
}

/// What tells folders apart while they are there.
type Place = (u64, u64);

/// The folders that are held.
#[derive(Debug, Default)]
struct Held {
    folders: HashMap<Place, HeldClaims>,
    /// Counts uses.
    uses: u64,
}

#[derive(Clone, Debug)]
struct HeldClaims {
    /// None where the file system has no locks.
    lock: Option<Arc<HeldFolder>>,
    /// Whether the store's mark is left there.
    is_marked: bool,
    last_use: u64,
    used_at: Instant,
    /// Who lets go of it once it is idle, and its path; none if it stays held.
    let_go: Option<LetGo>,
}

type LetGo = (ThreadId, PathBuf);

impl Held {
    /// Notes a use of a folder that is held. False: it is not.
    fn touch(&mut self, place: Place) -> bool {
        self.uses += 1;
        let Some(held) = self.folders.get_mut(&place) else { return false };
        (held.last_use, held.used_at) = (self.uses, Instant::now());
        true
    }

    /// What stood there before, to be dropped without the lock.
    fn insert(
        &mut self,
        place: Place,
        lock: Option<Arc<HeldFolder>>,
        is_marked: bool,
        let_go: Option<LetGo>,
    ) -> Option<HeldClaims> {
        self.uses += 1;
        let held = HeldClaims { lock, is_marked, last_use: self.uses, used_at: Instant::now(), let_go };
        self.folders.insert(place, held)
    }

    /// Those that this thread is to let go of and that were idle so long, to be dropped without the lock; and whether it has more.
    fn take_idle(&mut self, by: ThreadId, idle: Duration) -> (Vec<HeldClaims>, bool) {
        let is_own = |held: &HeldClaims| held.let_go.as_ref().is_some_and(|(thread, _)| *thread == by);
        let is_idle = |_: &Place, held: &mut HeldClaims| is_own(held) && held.used_at.elapsed() >= idle;
        let taken = self.folders.extract_if(is_idle).map(|(_, held)| held).collect();
        (taken, self.folders.values().any(is_own))
    }

    /// Lets go of what was idle longest until there is a place for one more; what was let go, to be dropped without the lock.
    fn make_place(&mut self, most: usize) -> Vec<HeldClaims> {
        let mut let_go = Vec::new();
        while self.folders.len() >= most.max(1) {
            let idle = self.folders.iter().min_by_key(|(_, held)| held.last_use).map(|(place, _)| *place);
            let Some(held) = idle.and_then(|idle| self.folders.remove(&idle)) else { break };
            let_go.push(held);
        }
        let_go
    }
}

/// Why a claim folder is not ours.
enum Refusal {
    /// Another process has it.
    Taken(Trouble),
    /// It cannot be made or locked now, or is not the service's own.
    OutOfReach(Trouble),
}

impl From<FsError> for Refusal {
    fn from(error: FsError) -> Self {
        Self::OutOfReach(error.into())
    }
}

impl ClaimFolders {
    /// Makes a claim folder, if need be, and takes it for this process, unless that was done before.
    pub(super) fn hold(&self, folder: &Path) -> Result<FolderIdentity, Trouble> {
        self.take(folder).map_err(|refusal| match refusal {
            Refusal::Taken(trouble) | Refusal::OutOfReach(trouble) => trouble,
        })
    }

    /// Takes those of these claim folders that can be, so that a second service refuses to start; which are ours.
    ///
    /// A folder that is out of reach now does not keep the others from being watched: it is taken with its first claim.
    pub(super) fn hold_known(&self, folders: &[PathBuf]) -> Result<Vec<PathBuf>, Trouble> {
        let mut ours = Vec::new();
        for folder in folders {
            match self.take(folder) {
                Ok(_) => ours.push(folder.clone()),
                Err(Refusal::Taken(trouble)) => return Err(trouble),
                Err(Refusal::OutOfReach(trouble)) => {
                    // Of a claim folder elsewhere it is not known here from where files come into it.
                    let landing =
                        Some(durable_fs::parent_of(folder)).filter(|_| folder.ends_with(CLAIM_FOLDER));
                    let hint = landing.and_then(|landing| durable_fs::what_to_claim(landing, folder));
                    let hint = hint.or(trouble.error.hint).unwrap_or_default();
                    let folder = OsText::from(folder.as_path());
                    tracing::warn!(%folder, error = trouble.error.message, hint, "this claim folder cannot be used: its files wait");
                }
            }
        }
        Ok(ours)
    }

    /// Lets go of what this thread took and nobody used for so long. Whether it took more.
    pub(super) fn let_go_idle(&self, idle: Duration) -> bool {
        let (taken, has_more) = lock(&self.held).take_idle(thread::current().id(), idle);
        for held in taken {
            if let Some((_, folder)) = &held.let_go {
                durable_fs::note_place(folder);
            }
            drop(held); // closes a file
        }
        durable_fs::leave_place();
        has_more
    }

    /// The nodes of a cluster have them in turns: only who is of none is kept out.
    pub(super) fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// From now on this mark is left in each folder that is taken, also where it is held already.
    pub(super) fn set_mark(&self, mark: Mark) {
        *lock(&self.mark) = Some(mark);
    }

    /// The map is locked for moments only: what is asked of the folder's file system may hang.
    fn take(&self, folder: &Path) -> Result<FolderIdentity, Refusal> {
        let found = if let Some(found) = durable_fs::own_folder(folder)? {
            found
        } else {
            // Where it lies beside the sources, their folder is not made: it may be away.
            let theirs = folder.parent().filter(|_| folder.ends_with(CLAIM_FOLDER));
            match theirs {
                Some(theirs) => durable_fs::make_folder_within(theirs, folder, OpenTo::Owner)?,
                None => durable_fs::make_folder(folder, OpenTo::Owner)?,
            }
            let gone = || FsError::new("use the folder", folder, std::io::ErrorKind::NotFound.into());
            durable_fs::own_folder(folder)?.ok_or_else(gone)?
        };
        let place = (found.device, found.inode);
        if self.held(place).is_some_and(|held| held.is_marked) {
            return Ok(found);
        }
        let _entered = self.taking.enter(place);
        let mark = lock(&self.mark).clone();
        let (ours, let_go) = match self.held(place) {
            Some(held) if held.is_marked || mark.is_none() => return Ok(found), // another thread was faster
            Some(held) => (held.lock, held.let_go),
            None => self.hold_anew(folder)?,
        };
        if let Some(mark) = &mark {
            marks::leave_mark(folder, mark).map_err(Refusal::OutOfReach)?;
        }
        let before = lock(&self.held).insert(place, ours, mark.is_some(), let_go);
        drop(before);
        Ok(found)
    }

    /// The lock, if the file system has locks, and who lets go of it.
    fn hold_anew(&self, folder: &Path) -> Result<(Option<Arc<HeldFolder>>, Option<LetGo>), Refusal> {
        let idle = lock(&self.held).make_place(limits::claim_folders_max());
        drop(idle); // closes files
        let sign = self.sign.get_or_init(RunningSign::new).as_ref();
        let sign = sign.filter(|_| durable_fs::is_of_this_machine(folder));
        if self.is_shared.load(Ordering::Relaxed) {
            return Ok((None, None));
        }
        match durable_fs::hold_folder(folder, sign)? {
            Hold::Ours(ours) => {
                // What `check` tried there, and was killed.
                [folder, durable_fs::parent_of(folder)].into_iter().for_each(durable_fs::clear_probe);
                let let_go = sign.map(|_| (thread::current().id(), folder.to_owned()));
                Ok((Some(Arc::new(ours)), let_go))
            }
            Hold::Theirs(holder) => Err(Refusal::Taken(taken_by(folder, &holder))),
            Hold::NoLocks(error) => {
                if !self.warned_of_no_locks.swap(true, Ordering::Relaxed) {
                    let folder = OsText::from(folder);
                    tracing::warn!(%folder, %error, "the file system has no locks: a second service on this folder would not be noticed");
                }
                Ok((None, None))
            }
        }
    }

    /// A folder that is held; notes its use.
    fn held(&self, place: Place) -> Option<HeldClaims> {
        let held = lock(&self.held).folders.get(&place).cloned()?;
        if held.lock.as_ref().is_some_and(|ours| !ours.has_name()) {
            return None;
        }
        lock(&self.held).touch(place).then_some(held)
    }
}

fn taken_by(folder: &Path, holder: &durable_fs::Holder) -> Trouble {
    let watched = if folder.ends_with(CLAIM_FOLDER) { durable_fs::parent_of(folder) } else { folder };
    Trouble::new(
        FaultKind::Transient,
        format!("the files of {} are claimed by {holder}", OsText::from(watched)),
        Some("stop that process first, or give the rules of one of them other folders"),
    )
}

/// The claim folders of these rules that do not depend on which files come: where the patterns have no wildcards in their folders.
pub(super) fn known_claim_folders(rules: &[Arc<Rule>]) -> Vec<PathBuf> {
    let renames = |rule: &&Arc<Rule>| rule.mode == Mode::Live && rule.source.on_success != OnSuccess::Keep;
    let of_pattern = |rule: &Rule, (text, pattern): (&String, &Result<Pattern, _>)| {
        let folder = Path::new(text).parent()?;
        durable_fs::note_place(folder);
        let is_there = pattern.as_ref().ok()?.fixed_folder() == folder && folder.is_dir();
        is_there.then(|| claim_folder(rule, &folder.join("any")))
    };
    let mut known = Vec::new();
    for rule in rules.iter().filter(renames) {
        known.extend(rule.paths.iter().zip(rule.paths.judged()).filter_map(|it| of_pattern(rule, it)));
    }
    known.sort();
    known.dedup();
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_folder_is_taken_once_and_refused_to_others_with_the_holders_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let claims = folder.path().join(CLAIM_FOLDER);
        let (first, second) = (ClaimFolders::default(), ClaimFolders::default());
        first.hold(&claims).expect("nobody has it");
        first.hold(&claims).expect("it is ours already");
        let refused = second.hold(&claims).expect_err("it is taken").error.message;
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(!refused.contains(CLAIM_FOLDER), "the operator knows the watched folder: {refused}");
        drop(first);
        second.hold(&claims).expect("the first let it go");
    }

    #[cfg(unix)]
    #[test]
    fn one_folder_under_two_names_is_ours_under_both() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).expect("makes");
        std::os::unix::fs::symlink(&real, &link).expect("links");
        let claims = ClaimFolders::default();
        claims.hold(&real.join(CLAIM_FOLDER)).expect("nobody has it");
        claims.hold(&link.join(CLAIM_FOLDER)).expect("it is ours");
    }

    /// Windows renames no folder in which somebody holds a file.
    #[cfg(unix)]
    #[test]
    fn a_folder_that_its_owner_renamed_is_still_ours() {
        let zone = tempfile::tempdir().expect("a folder");
        let (before, after) = (zone.path().join("acme"), zone.path().join("acme-corp"));
        let claims = ClaimFolders::default();
        std::fs::create_dir(&before).expect("makes");
        claims.hold(&before.join(CLAIM_FOLDER)).expect("nobody has it");
        durable_fs::rename_replace(&before, &after).expect("renamed");
        claims.hold(&after.join(CLAIM_FOLDER)).expect("it is ours");
        std::fs::create_dir(&before).expect("makes");
        claims.hold(&before.join(CLAIM_FOLDER)).expect("another one under the old name");
    }

    #[test]
    fn of_many_folders_the_one_that_was_idle_longest_is_let_go() {
        let mut held = Held::default();
        for inode in 0..4 {
            drop(held.make_place(3));
            held.insert((1, inode), None, true, None);
            assert!(held.touch((1, 0)), "it is used all the time");
        }
        let mut left: Vec<_> = held.folders.keys().map(|(_, inode)| *inode).collect();
        left.sort_unstable();
        assert_eq!(left, [0, 2, 3]);
    }

    /// Windows removes no folder in which somebody holds a file.
    #[cfg(unix)]
    #[test]
    fn a_claim_folder_that_was_removed_is_taken_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let claims = folder.path().join(CLAIM_FOLDER);
        let (first, second) = (ClaimFolders::default(), ClaimFolders::default());
        first.hold(&claims).expect("nobody has it");
        std::fs::remove_dir_all(&claims).expect("removes");
        first.hold(&claims).expect("it is made again");
        second.hold(&claims).expect_err("it is taken");
    }

    #[test]
    fn a_folder_that_was_taken_before_the_start_was_counted_is_marked_before_anything_is_claimed_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let claims = folder.path().join(CLAIM_FOLDER);
        let folders = ClaimFolders::default();
        folders.hold(&claims).expect("nobody has it");
        assert_eq!(marks::seen_mark(&claims), None);
        let mark = Mark { store: "a store".to_owned(), starts: 7 };
        folders.set_mark(mark.clone());
        folders.hold(&claims).expect("it is ours");
        assert_eq!(marks::seen_mark(&claims), Some(mark));
    }
}
