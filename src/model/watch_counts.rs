//! How a service sees the files that come.

use serde::{Deserialize, Serialize};

/// Counts since the service started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchCounts {
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
    pub fn plus(self, other: Self) -> Self {
        Self {
            folders: self.folders + other.folders,
            folders_without_events: self.folders_without_events + other.folders_without_events,
            scans: self.scans + other.scans,
            events_lost: self.events_lost + other.events_lost,
            found_by_scan: self.found_by_scan + other.found_by_scan,
            passed_over: self.passed_over + other.passed_over,
        }
    }
}
