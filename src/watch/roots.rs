//! Which folder each name that a pattern begins with leads to: it may be moved, made anew, mounted over, or a link that points elsewhere now,
//! and of most of that no event tells.
//!
//! They are looked at in turns, so many at a time, twice a second: a thousand of them within a second, ten thousand within ten. So is the
//! system's list of mounts, which tells of those below them, and of those that are far away.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::folder_mark::FolderMark;
use crate::durable_fs::{self, MountChanges};

/// Pause between two turns.
const PAUSE: Duration = Duration::from_millis(500);
/// Folders that are looked at in a turn at most.
const LOOKS_MAX: usize = 500;

/// The folders, and what was found under each name the last time.
pub(super) struct Roots {
    folders: Vec<(PathBuf, Option<FolderMark>)>,
    next: usize,
    mounts: MountChanges,
    next_turn: Instant,
}

impl Roots {
    pub(super) fn new(now: Instant) -> Self {
        Self { folders: Vec::new(), next: 0, mounts: MountChanges::begin(), next_turn: now + PAUSE }
    }

    /// Has these looked at, and no other any more. `is_near`: whether asking costs little; what is far away is left to the scans.
    pub(super) fn exchange(&mut self, folders: &[PathBuf], is_near: impl Fn(&PathBuf) -> bool) {
        let known: HashMap<_, _> = std::mem::take(&mut self.folders).into_iter().collect();
        let looked_at = folders.iter().filter(|folder| is_near(folder));
        // What a new one leads to is seen by the scan that follows.
        let with_mark =
            |folder: &PathBuf| (folder.clone(), known.get(folder).copied().unwrap_or_else(|| mark(folder)));
        self.folders = looked_at.map(with_mark).collect();
    }

    pub(super) fn next_turn(&self) -> Instant {
        self.next_turn
    }

    /// Whether it is time for a turn; it is taken then.
    pub(super) fn takes_turn(&mut self, now: Instant) -> bool {
        let is_due = self.next_turn <= now;
        if is_due {
            self.next_turn = now + PAUSE;
        }
        is_due
    }

    /// Where mounts came or went since the last turn: at points that folders to be watched lie below, or lie in such a folder.
    pub(super) fn mounted(&mut self, matters: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        self.mounts.look(matters)
    }

    /// Which of these matter from now on.
    pub(super) fn learn_mounts(&mut self, matters: impl Fn(&Path) -> bool) {
        self.mounts.learn(matters);
    }

    /// Those of this turn that lead elsewhere now, or nowhere, or somewhere again.
    pub(super) fn changed(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for _ in 0..LOOKS_MAX.min(self.folders.len()) {
            self.next %= self.folders.len();
            let Some((folder, known)) = self.folders.get_mut(self.next) else { break };
            self.next += 1;
            let found = mark(folder);
            if *known != found {
                *known = found;
                changed.push(folder.clone());
            }
        }
        changed
    }
}

/// None where no folder is found.
fn mark(folder: &Path) -> Option<FolderMark> {
    durable_fs::note_place(folder);
    FolderMark::of(folder).ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn each_name_that_leads_elsewhere_is_told_once_and_many_take_turns() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: usize| folder.path().join(name.to_string());
        let all: Vec<_> = (0..LOOKS_MAX + 10).map(path).collect();
        std::fs::create_dir(path(3)).expect("makes");
        std::os::unix::fs::symlink(path(3), path(4)).expect("links");
        let now = Instant::now();
        let mut roots = Roots::new(now);
        assert!(!roots.takes_turn(now) && roots.takes_turn(now + PAUSE) && !roots.takes_turn(now + PAUSE));
        roots.exchange(&all, |_| true);
        let turn = Roots::changed;
        assert_eq!((turn(&mut roots), turn(&mut roots)), (vec![], vec![]));
        std::fs::create_dir(path(LOOKS_MAX + 5)).expect("makes");
        std::fs::remove_dir(path(3)).expect("removes");
        let mut told = [turn(&mut roots), turn(&mut roots), turn(&mut roots), turn(&mut roots)].concat();
        told.sort();
        assert_eq!(told, [path(3), path(4), path(LOOKS_MAX + 5)]);
    }
}
