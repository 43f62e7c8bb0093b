//! Folders that cannot be listed, and files that cannot be looked at: told once, shown, and tried again with back-off.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::look::BLIND;
use crate::durable_fs::{self, Need};
use crate::model::os_text::escaped_path;

/// What is wanted of something that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// To read it.
    Read,
    /// Of a folder: to take the files in it. Of a file: to take it.
    Take,
}

/// Why a file is not seen, and what to do.
pub(super) fn told(what: &str, file: &Path, want: Want, error: &io::Error) -> String {
    let hint = match want {
        Want::Read => durable_fs::hint_at(file, Need::Read, error),
        Want::Take => durable_fs::hint_to_take(file, error),
    };
    format!("{what}: {error} (hint: {hint})")
}

/// Folders in trouble that are remembered at most; others are tried again by each scan.
const TROUBLES_MAX: usize = 1024;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The pause after so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

/// A folder's files that cannot be taken are told one by one no more often.
const FILE_TOLD_EVERY: Duration = Duration::from_mins(1);

/// A folder of which a file that cannot be taken was told.
struct Told {
    at: Instant,
    /// Files since then that were not.
    untold: u64,
}

struct Trouble {
    reason: String,
    failures: u32,
    due: Instant,
}

/// All folders that cannot be listed now, and those where nothing tells who still writes.
#[derive(Default)]
pub(super) struct Troubles {
    unlisted: HashMap<PathBuf, Trouble>,
    blind: HashSet<PathBuf>,
    files_told: HashMap<PathBuf, Told>,
    /// What is listed is another since that was asked last.
    has_changed: bool,
}

impl Troubles {
    /// Whether the list is another one; asked once.
    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Takes note of a folder; warns only when it is news.
    pub(super) fn note(
        &mut self,
        folder: PathBuf,
        (what, want): (&str, Want),
        error: &io::Error,
        now: Instant,
    ) {
        let need = if want == Want::Take { Need::Take } else { Need::Read };
        let hint = durable_fs::hint_at(&folder, need, error);
        let reason = format!("{what}: {error} (hint: {hint})");
        self.has_changed = true;
        if let Some(known) = self.unlisted.get_mut(&folder) {
            known.failures = known.failures.saturating_add(1);
            known.due = now + pause(known.failures);
            known.reason = reason;
            return;
        }
        tracing::warn!(path = escaped_path(&folder), error = %error, hint, "this cannot be read; trying again");
        if self.unlisted.len() < TROUBLES_MAX {
            self.unlisted.insert(folder, Trouble { reason, failures: 1, due: now + FIRST_PAUSE });
        }
    }

    /// Takes note of a folder where only the quiet time tells that an upload has ended; warns when it is news.
    pub(super) fn note_blind(&mut self, folder: &Path) {
        if self.blind.contains(folder) || self.blind.len() >= TROUBLES_MAX {
            return;
        }
        tracing::warn!(path = escaped_path(folder), "{}", BLIND);
        self.has_changed = true;
        self.blind.insert(folder.to_owned());
    }

    /// A file cannot be taken: whether that is to be told, and of how many others in its folder it was not since the last time. Whoever owns a
    /// folder may make any number of such files; `jobs` has them all.
    pub(super) fn note_file(&mut self, file: &Path, now: Instant) -> Option<u64> {
        let folder = file.parent().unwrap_or(file);
        if let Some(told) = self.files_told.get_mut(folder) {
            if now.saturating_duration_since(told.at) < FILE_TOLD_EVERY {
                told.untold += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.untold));
        }
        if self.files_told.len() >= TROUBLES_MAX {
            self.files_told.retain(|_, told| now.saturating_duration_since(told.at) < FILE_TOLD_EVERY);
        }
        if self.files_told.len() >= TROUBLES_MAX {
            return None;
        }
        self.files_told.insert(folder.to_owned(), Told { at: now, untold: 0 });
        Some(0)
    }

    /// The folder was listed, or is not there to be listed.
    pub(super) fn clear(&mut self, folder: &Path) {
        if !self.unlisted.is_empty() && self.unlisted.remove(folder).is_some() {
            self.has_changed = true;
            tracing::info!(path = escaped_path(folder), "this can be read again, or is gone");
        }
    }

    /// Only what concerns somebody is tried again, and shown.
    pub(super) fn retain(&mut self, concerns: impl Fn(&Path) -> bool) {
        self.has_changed = true;
        self.unlisted.retain(|path, _| concerns(path));
        self.blind.retain(|folder| concerns(folder));
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.unlisted.values().map(|trouble| trouble.due).min()
    }

    /// The folders whose time has come; each is next due after its pause, whatever comes of it.
    pub(super) fn due(&mut self, now: Instant) -> Vec<PathBuf> {
        let due = self.unlisted.iter_mut().filter(|(_, trouble)| trouble.due <= now);
        due.map(|(folder, trouble)| {
            trouble.due = now + pause(trouble.failures);
            folder.clone()
        })
        .collect()
    }

    pub(super) fn list(&self) -> impl Iterator<Item = (PathBuf, String)> {
        let troubles = self.unlisted.iter().map(|(folder, trouble)| (folder.clone(), trouble.reason.clone()));
        troubles.chain(self.blind.iter().map(|folder| (folder.clone(), BLIND.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_taken_are_told_once_a_minute_for_each_folder_with_their_number() {
        let (mut troubles, begun) = (Troubles::default(), Instant::now());
        let mut told =
            |file: &str, seconds| troubles.note_file(Path::new(file), begun + Duration::from_secs(seconds));
        assert_eq!(told("/in/a/1", 0), Some(0));
        let untold = (0..1000).filter(|number| told(&format!("/in/a/{number}"), 59).is_none()).count();
        assert_eq!(untold, 1000);
        assert_eq!(told("/in/b/1", 59), Some(0), "another sender's folder");
        assert_eq!((told("/in/a/1", 60), told("/in/a/1", 61)), (Some(1000), None));
        for number in 0..5000 {
            told(&format!("/in/{number}/file"), 62);
        }
        assert!(troubles.files_told.len() <= TROUBLES_MAX);
    }

    #[test]
    fn the_pause_doubles_from_a_second_to_five_minutes() {
        let pauses: Vec<_> = [1, 2, 3, 9, 10, u32::MAX].into_iter().map(|n| pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 256, 300, 300]);
    }
}
