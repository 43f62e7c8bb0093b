//! Folders that cannot be listed, and files that cannot be looked at: told once, shown, and tried again with back-off.

use std::collections::HashMap;
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

/// All folders that cannot be listed now.
#[derive(Default)]
pub(super) struct Troubles(HashMap<PathBuf, Trouble>);

impl Troubles {
    /// Takes note of a folder; warns only when it is news.
    pub(super) fn note(&mut self, folder: PathBuf, error: &io::Error, now: Instant) {
        let reason = format!("cannot be read: {error}");
        if let Some(known) = self.0.get_mut(&folder) {
            known.failures = known.failures.saturating_add(1);
            known.due = now + pause(known.failures);
            known.reason = reason;
            return;
        }
        tracing::warn!(path = escaped_path(&folder), error = %error, "this cannot be read; trying again");
        if self.0.len() < TROUBLES_MAX {
            self.0.insert(folder, Trouble { reason, failures: 1, due: now + FIRST_PAUSE });
        }
    }

    /// The folder was listed, or is not there to be listed.
    pub(super) fn clear(&mut self, folder: &Path) {
        if !self.0.is_empty() && self.0.remove(folder).is_some() {
            tracing::info!(path = escaped_path(folder), "this can be read again, or is gone");
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|trouble| trouble.due).min()
    }

    /// The folders whose time has come; each is next due after its pause, whatever comes of it.
    pub(super) fn due(&mut self, now: Instant) -> Vec<PathBuf> {
        let due = self.0.iter_mut().filter(|(_, trouble)| trouble.due <= now);
        due.map(|(folder, trouble)| {
            trouble.due = now + pause(trouble.failures);
            folder.clone()
        })
        .collect()
    }

    pub(super) fn list(&self) -> impl Iterator<Item = (PathBuf, String)> {
        self.0.iter().map(|(folder, trouble)| (folder.clone(), trouble.reason.clone()))
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
