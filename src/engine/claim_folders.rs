//! The claim folders that this process has for itself: two services that watch one folder would take files from each other.
//!
//! A claim folder is taken before a file is renamed into it: it must be the service's own, and its lock ours. A folder is known by device
//! and inode: one that was renamed, or is mounted a second time, is ours under its new name. Each lock costs a descriptor, so
//! that the one which was idle longest is let go where there are many. `keep` rules and `ingest` without `--retire` rename nothing
//! and need none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::claim_names::claim_folder;
use super::one_at_a_time::OneAtATime;
use super::trouble::Trouble;
use super::{limits, lock, marks};
use crate::durable_fs::{self, CLAIM_FOLDER, FsError, HeldFolder, Hold};
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
    /// What is left in each folder before anything is claimed there; set once at the start.
    mark: OnceLock<Mark>,
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

#[derive(Debug)]
struct HeldClaims {
    /// As it was named last.
    path: PathBuf,
    /// None where the file system has no locks.
    lock: Option<Arc<HeldFolder>>,
    last_use: u64,
}

impl Held {
    /// Notes a use of a folder that is held. False: it is not.
    fn touch(&mut self, place: Place, path: &Path) -> bool {
        self.uses += 1;
        let Some(held) = self.folders.get_mut(&place) else { return false };
        held.last_use = self.uses;
        if held.path != path {
            path.clone_into(&mut held.path);
        }
        true
    }

    /// What stood there before, to be dropped without the lock.
    fn insert(&mut self, place: Place, path: &Path, lock: Option<Arc<HeldFolder>>) -> Option<HeldClaims> {
        self.uses += 1;
        let held = HeldClaims { path: path.to_owned(), lock, last_use: self.uses };
        self.folders.insert(place, held)
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

    /// Takes every claim folder that can be told before a file is there, so that a second service refuses to start.
    ///
    /// A folder that is out of reach now does not keep the others from being watched: it is taken with its first claim.
    pub(super) fn hold_known<'r>(&self, rules: impl Iterator<Item = &'r Arc<Rule>>) -> Result<(), Trouble> {
        for folder in rules.flat_map(|rule| known_claim_folders(rule)) {
            match self.take(&folder) {
                Ok(_) => {}
                Err(Refusal::Taken(trouble)) => return Err(trouble),
                Err(Refusal::OutOfReach(trouble)) => {
                    let hint = trouble.error.hint.unwrap_or_default();
                    let folder = OsText::from(folder);
                    tracing::warn!(%folder, error = trouble.error.message, hint, "this claim folder cannot be used: its files wait");
                }
            }
        }
        Ok(())
    }

    /// The claim folders that can be told before a file is there.
    pub(super) fn known<'r>(&self, rules: impl Iterator<Item = &'r Arc<Rule>>) -> Vec<PathBuf> {
        let held = lock(&self.held);
        let held = held.folders.values().map(|held| held.path.clone());
        rules.flat_map(|rule| known_claim_folders(rule)).chain(held).collect()
    }

    /// Leaves the store's mark in every folder that is held, and from now on in each that is taken. A folder where it cannot be left
    /// is let go: it is taken again with its first claim.
    pub(super) fn leave_marks(&self, mark: Mark) {
        let mark = self.mark.get_or_init(|| mark);
        lock(&self.held).folders.retain(|_, held| match marks::leave_mark(&held.path, mark) {
            Ok(()) => true,
            Err(trouble) => {
                let folder = OsText::from(held.path.as_path());
                tracing::warn!(%folder, error = %trouble.error, "this claim folder cannot be used yet");
                false
            }
        });
    }

    /// The map is locked for moments only: what is asked of the folder's file system may hang.
    fn take(&self, folder: &Path) -> Result<FolderIdentity, Refusal> {
        let found = if let Some(found) = durable_fs::own_folder(folder)? {
            found
        } else {
            durable_fs::make_folder(folder, true)?;
            let gone = || FsError::new("use the folder", folder, std::io::ErrorKind::NotFound.into());
            durable_fs::own_folder(folder)?.ok_or_else(gone)?
        };
        let place = (found.device, found.inode);
        if self.is_held(place, folder) {
            return Ok(found);
        }
        let _entered = self.taking.enter(place);
        if self.is_held(place, folder) {
            return Ok(found); // another thread was faster
        }
        let idle = lock(&self.held).make_place(limits::claim_folders_max());
        drop(idle); // closes files
        let ours = match durable_fs::hold_folder(folder)? {
            Hold::Ours(ours) => Some(Arc::new(ours)),
            Hold::Theirs(holder) => return Err(Refusal::Taken(taken_by(folder, &holder))),
            Hold::NoLocks(error) => {
                if !self.warned_of_no_locks.swap(true, Ordering::Relaxed) {
                    let folder = OsText::from(folder);
                    tracing::warn!(%folder, %error, "the file system has no locks: a second service on this folder would not be noticed");
                }
                None
            }
        };
        if let Some(mark) = self.mark.get() {
            marks::leave_mark(folder, mark).map_err(Refusal::OutOfReach)?;
        }
        let before = lock(&self.held).insert(place, folder, ours);
        drop(before);
        Ok(found)
    }

    /// Whether a folder is held; notes its use.
    fn is_held(&self, place: Place, path: &Path) -> bool {
        let Some(ours) = lock(&self.held).folders.get(&place).map(|held| held.lock.clone()) else {
            return false;
        };
        if ours.is_some_and(|ours| !ours.has_name()) {
            return false;
        }
        lock(&self.held).touch(place, path)
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

/// The claim folders of a rule that do not depend on which files come: where the patterns have no wildcards in their folders.
fn known_claim_folders(rule: &Rule) -> Vec<PathBuf> {
    if rule.mode != Mode::Live || rule.source.on_success == OnSuccess::Keep {
        return Vec::new();
    }
    let literal = |pattern: &String| {
        let folder = Path::new(pattern).parent()?.to_owned();
        durable_fs::note_place(&folder);
        (Pattern::parse(pattern).ok()?.fixed_folder() == folder && folder.is_dir()).then_some(folder)
    };
    let folders = rule.paths.iter().filter_map(literal);
    let mut known: Vec<_> = folders.map(|folder| claim_folder(rule, &folder.join("any"))).collect();
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
        claims.hold(&before.join(CLAIM_FOLDER)).expect("nobody has it");
        durable_fs::rename_replace(&before, &after).expect("renamed");
        claims.hold(&after.join(CLAIM_FOLDER)).expect("it is ours");
        claims.hold(&before.join(CLAIM_FOLDER)).expect("another one under the old name");
    }

    #[test]
    fn of_many_folders_the_one_that_was_idle_longest_is_let_go() {
        let mut held = Held::default();
        for inode in 0..4 {
            drop(held.make_place(3));
            held.insert((1, inode), Path::new("any"), None);
            assert!(held.touch((1, 0), Path::new("any")), "it is used all the time");
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
}
