//! Folders that cannot be listed, and files that cannot be looked at: told once, shown, and tried again with back-off.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::os_text::escaped_path;

/// Folders in trouble that are remembered at most; others are tried again by each scan.
const TROUBLES_MAX: usize = 1024;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The pause after so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
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
}

impl Troubles {
    /// Takes note of a folder; warns only when it is news.
    pub(super) fn note(&mut self, folder: PathBuf, error: &io::Error, now: Instant) {
        let reason = format!("cannot be read: {error}");
        if let Some(known) = self.unlisted.get_mut(&folder) {
            known.failures = known.failures.saturating_add(1);
            known.due = now + pause(known.failures);
            known.reason = reason;
            return;
        }
        tracing::warn!(path = escaped_path(&folder), error = %error, "this cannot be read; trying again");
        if self.unlisted.len() < TROUBLES_MAX {
            self.unlisted.insert(folder, Trouble { reason, failures: 1, due: now + FIRST_PAUSE });
        }
    }

    /// Takes note of a folder where only the quiet time tells that an upload has ended; warns when it is news.
    pub(super) fn note_blind(&mut self, folder: &Path) {
        if self.blind.contains(folder) || self.blind.len() >= TROUBLES_MAX {
            return;
        }
        tracing::warn!(path = escaped_path(folder), "{}", super::BLIND);
        self.blind.insert(folder.to_owned());
    }

    /// The folder was listed, or is not there to be listed.
    pub(super) fn clear(&mut self, folder: &Path) {
        if !self.unlisted.is_empty() && self.unlisted.remove(folder).is_some() {
            tracing::info!(path = escaped_path(folder), "this can be read again, or is gone");
        }
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
        troubles.chain(self.blind.iter().map(|folder| (folder.clone(), super::BLIND.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_a_second_to_five_minutes() {
        let pauses: Vec<_> = [1, 2, 3, 9, 10, u32::MAX].into_iter().map(|n| pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 256, 300, 300]);
    }
}
