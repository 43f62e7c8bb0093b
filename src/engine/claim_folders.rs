//! The claim folders that this process has for itself: two services that watch one folder would take files from each other.
//!
//! A claim folder is taken before the first file is renamed into it, and kept for the engine's life: one descriptor for each.
//! `keep` rules and `ingest` without `--retire` rename nothing and need none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use super::claim::{CLAIM_FOLDER, claim_folder};
use super::trouble::Trouble;
use super::{lock, restored};
use crate::durable_fs::{self, FsError, HeldFolder, Hold};
use crate::model::fault::FaultKind;
use crate::model::os_text::OsText;
use crate::model::rule::{Mode, OnSuccess, Rule};
use crate::store::Mark;
use crate::watch::pattern::Pattern;

#[derive(Debug, Default)]
pub(super) struct ClaimFolders {
    /// By every name that was asked for; the lock stands under the real one, if the file system has locks.
    held: Mutex<HashMap<PathBuf, Option<HeldFolder>>>,
    warned_of_no_locks: AtomicBool,
    /// What is left in each folder before anything is claimed there; set once at the start.
    mark: OnceLock<Mark>,
}

fn is_a_link(folder: &Path) -> Trouble {
    let message = format!("the claim folder {} is a symbolic link", OsText::from(folder));
    Trouble::new(FaultKind::Transient, message, Some("remove the link; the folder is made when it is needed"))
}

/// Why a claim folder is not ours.
enum Refusal {
    /// Another process has it.
    Taken(Trouble),
    /// It cannot be made or locked now.
    OutOfReach(Trouble),
}

impl ClaimFolders {
    /// Makes a claim folder, if need be, and takes it for this process, unless that was done before.
    pub(super) fn hold(&self, folder: &Path) -> Result<(), Trouble> {
        self.take(folder).map_err(|refusal| match refusal {
            Refusal::Taken(trouble) | Refusal::OutOfReach(trouble) => trouble,
        })
    }

    /// Takes every claim folder that can be told before a file is there, so that a second service refuses to start.
    ///
    /// A folder that is out of reach now does not keep the others from being watched: it is taken with its first claim.
    pub(super) fn hold_known(&self, rules: &[Rule]) -> Result<(), Trouble> {
        for folder in rules.iter().flat_map(known_claim_folders) {
            match self.take(&folder) {
                Ok(()) => {}
                Err(Refusal::Taken(trouble)) => return Err(trouble),
                Err(Refusal::OutOfReach(trouble)) => {
                    let folder = OsText::from(folder);
                    tracing::warn!(%folder, error = %trouble.error, "this claim folder cannot be used yet");
                }
            }
        }
        Ok(())
    }

    /// The claim folders that can be told before a file is there.
    pub(super) fn known(&self, rules: &[Rule]) -> Vec<PathBuf> {
        let held = lock(&self.held);
        rules.iter().flat_map(known_claim_folders).chain(held.keys().cloned()).collect()
    }

    /// Leaves the store's mark in every folder that is held, and from now on in each that is taken. A folder where it cannot be left
    /// is let go: it is taken again with its first claim.
    pub(super) fn leave_marks(&self, mark: Mark) {
        let mark = self.mark.get_or_init(|| mark);
        lock(&self.held).retain(|folder, _| match restored::leave_mark(folder, mark) {
            Ok(()) => true,
            Err(trouble) => {
                let folder = OsText::from(folder.as_path());
                tracing::warn!(%folder, error = %trouble.error, "this claim folder cannot be used yet");
                false
            }
        });
    }

    fn take(&self, folder: &Path) -> Result<(), Refusal> {
        let mut held = lock(&self.held);
        let is_there = folder.is_dir();
        if is_there && held.contains_key(folder) {
            return Ok(());
        }
        let out_of_reach = |error| Refusal::OutOfReach(Trouble::from(error));
        // Who can write into a watched folder could lead claimed files anywhere.
        if folder.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(Refusal::OutOfReach(is_a_link(folder)));
        }
        durable_fs::make_folder(folder, true).map_err(out_of_reach)?;
        // Patterns may come to one folder by several names; taking it twice would refuse ourselves.
        let named =
            folder.canonicalize().map_err(|error| out_of_reach(FsError::new("find", folder, error)))?;
        if is_there && held.contains_key(&named) {
            held.insert(folder.to_owned(), None);
            return Ok(());
        }
        let ours = match durable_fs::hold_folder(folder).map_err(out_of_reach)? {
            Hold::Ours(ours) => Some(ours),
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
            restored::leave_mark(folder, mark).map_err(Refusal::OutOfReach)?;
        }
        held.insert(folder.to_owned(), None);
        held.insert(named, ours);
        Ok(())
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
