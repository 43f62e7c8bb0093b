//! How a service sees the files that come.

use serde::{Deserialize, Serialize};

/// Counts since the service started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WatchCounts {
    /// Folders that are watched now.
    pub folders: u64,
    /// Those of them that have no events: only the scans see what comes there.
    pub folders_without_events: u64,
    /// Scans of all folders that are done.
    pub scans: u64,
    /// How often events were lost, each time an unknown number of them; a scan followed.
    pub events_lost: u64,
    /// Files of whose coming an event should have told, and a scan did.
    pub found_by_scan: u64,
    /// Files that found no room among the candidates, as often as they did; a scan finds them again.
    pub passed_over: u64,
}

impl WatchCounts {
    /// Both together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            folders: self.folders + other.folders,
            folders_without_events: self.folders_without_events + other.folders_without_events,
            scans: self.scans + other.scans,
            events_lost: self.events_lost + other.events_lost,
            found_by_scan: self.found_by_scan + other.found_by_scan,
            passed_over: self.passed_over + other.passed_over,
        }
    }

    /// What is out of the ordinary; none where all is well. A scan may find a file just before its event does.
    pub(crate) fn told(&self) -> Option<String> {
        let Self { folders, folders_without_events, events_lost, found_by_scan, passed_over, .. } = *self;
        if folders_without_events + events_lost + passed_over == 0 {
            return None;
        }
        let parts = [
            ("folders without events, where only scans see what comes", folders_without_events),
            ("times that events were lost, each followed by a scan", events_lost),
            ("files that a scan found and no event had told of", found_by_scan),
            ("files that found no room in view, until a later scan", passed_over),
        ];
        let parts = parts.iter().filter(|(_, count)| *count > 0);
        let told: Vec<_> = parts.map(|(what, count)| format!("\n  {what}: {count}")).collect();
        Some(format!("{folders} folders are watched; since the service started:{}", told.concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_out_of_the_ordinary_is_told() {
        let usual = WatchCounts { folders: 3, scans: 7, found_by_scan: 2, ..WatchCounts::default() };
        assert_eq!(usual.told(), None);
        let told = WatchCounts { folders_without_events: 2, events_lost: 1, ..usual }.told();
        let expected = "\
3 folders are watched; since the service started:
  folders without events, where only scans see what comes: 2
  times that events were lost, each followed by a scan: 1
  files that a scan found and no event had told of: 2";
        assert_eq!(told.as_deref(), Some(expected));
    }
}
