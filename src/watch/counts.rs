//! What a watch counts, for whoever asks how it sees its files; read without asking its thread, which may hang.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::files_in_view::FilesInView;
use crate::model::watch_counts::WatchCounts;

/// The counts of one watch.
#[derive(Debug, Default)]
pub(super) struct Counts {
    scans: AtomicU64,
    /// Scans behind which no file was left that only its bytes tell from a kept one.
    rounds: AtomicU64,
    /// How often events were lost.
    losses: AtomicU64,
    found_by_scan: AtomicU64,
    passed_over: AtomicU64,
    folders: AtomicU64,
    without_events: AtomicU64,
    /// As its last turn left them. Nobody holds the lock while he asks a file system.
    in_view: Mutex<FilesInView>,
    /// Turns of its thread, and whether that waits for something to do.
    turns: AtomicU64,
    waits: AtomicBool,
}

impl Counts {
    pub(super) fn scan_ended(&self) {
        self.scans.fetch_add(1, Ordering::Release);
    }

    pub(super) fn round_ended(&self) {
        self.rounds.fetch_add(1, Ordering::Release);
    }

    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Acquire)
    }

    pub(super) fn events_lost(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// A file of whose coming an event should have told.
    pub(super) fn found_by_scan(&self) {
        self.found_by_scan.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn passed_over(&self, files: u64) {
        self.passed_over.fetch_add(files, Ordering::Relaxed);
    }

    /// How many folders are seen, and how many of them by scans alone.
    pub(super) fn folders(&self, all: usize, without_events: usize) {
        self.folders.store(all as u64, Ordering::Relaxed);
        self.without_events.store(without_events as u64, Ordering::Relaxed);
    }

    pub(super) fn set_in_view(&self, files: FilesInView) {
        *self.in_view.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    pub(super) fn in_view(&self) -> FilesInView {
        self.in_view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The thread begins to wait for something to do, or has it.
    pub(super) fn waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Release);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn turns(&self) -> (u64, bool) {
        (self.turns.load(Ordering::Relaxed), self.waits.load(Ordering::Acquire))
    }

    #[cfg(all(test, unix))]
    pub(super) fn scans(&self) -> u64 {
        self.scans.load(Ordering::Acquire)
    }

    pub(super) fn now(&self) -> WatchCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WatchCounts {
            scans: of(&self.scans),
            events_lost: of(&self.losses),
            found_by_scan: of(&self.found_by_scan),
            passed_over: of(&self.passed_over),
            folders: of(&self.folders),
            folders_without_events: of(&self.without_events),
        }
    }
}
