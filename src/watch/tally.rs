//! The numbers of the files in view, as they were told last.

use crate::model::files_in_view::{FileWaiting, FilesInView};

/// What the numbers need beside the candidates.
#[derive(Default)]
pub(super) struct Tally {
    /// Files that the scan under way met, and that are candidates or would be if there were room.
    pub(super) met: u64,
    /// How often one of them, or another in its place, found no room.
    pub(super) passed_over: u64,
    /// What is told of folders has changed.
    pub(super) has_changed: bool,
    pub(super) out_of_view: u64,
    /// Files that cannot be looked at, which are no candidates, and the first of them.
    pub(super) unseen: (u64, Option<FileWaiting>),
    pub(super) told: FilesInView,
}

impl Tally {
    pub(super) fn scan_begins(&mut self) {
        (self.met, self.passed_over) = (0, 0);
    }

    /// How many files of the scan that ended are none of these candidates. Those that were taken meanwhile found room; one that made room for
    /// another may have found some again.
    pub(super) fn scan_ended(&mut self, candidates: usize) {
        self.out_of_view = self.passed_over.min(self.met.saturating_sub(candidates as u64));
    }
}
