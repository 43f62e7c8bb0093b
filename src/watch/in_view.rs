//! What is told of the files in view: a list for who asks the watching thread, and numbers that anybody may read without it.
//!
//! The numbers are brought up to date at the end of each turn of the thread. One that is busy, or hangs, leaves them as they were.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::candidate::Candidate;
use super::look::{MISSING, is_unreadable};
use super::watcher::Watcher;
use crate::model::files_in_view::{FileWaiting, FilesInView};

/// What is said of a file that may be kept.
const IS_READ: &str =
    "it was changed, though not in size and time: it is read, to see whether it is the one that was taken";

impl Watcher {
    /// Candidates that are seen but not offered or not taken, at most so many, the first by path; and what is told of folders.
    pub(super) fn waiting(&self, files_max: Option<usize>) -> Vec<(PathBuf, String)> {
        let files = self.table.iter().map(|(path, candidate)| (&**path, Some(candidate)));
        let to_read = self.kept_reader.asked().map(|path| (path.as_path(), None));
        let mut files: Vec<(&Path, Option<&Candidate>)> = files.chain(to_read).collect();
        if let Some(max) = files_max.filter(|max| *max < files.len()) {
            files.select_nth_unstable_by_key(max, |(path, _)| *path);
            files.truncate(max);
        }
        let told = |(path, candidate): (&Path, Option<&Candidate>)| {
            (path.to_owned(), candidate.map_or_else(|| IS_READ.to_owned(), Candidate::told_reason))
        };
        let missing = self.missing.iter().map(|folder| (folder.clone(), MISSING.to_owned()));
        let mut list: Vec<_> =
            files.into_iter().map(told).chain(missing).chain(self.troubles.list()).collect();
        list.sort();
        list
    }

    /// Brings the numbers up to date that are read without this thread.
    pub(super) fn tell_numbers(&mut self) {
        let folders_changed = self.troubles.take_change() | std::mem::take(&mut self.tally.has_changed);
        if folders_changed {
            self.tell_folders();
        }
        let told_of = |(path, it): (&Arc<Path>, &Candidate)| FileWaiting {
            path: (&**path).into(),
            reason: it.told_reason(),
        };
        let (late, one_late) = self.table.late();
        let (unopened, one_unopened) = self.table.unopened();
        let (unseen, one_unseen) = &self.tally.unseen;
        let next = FilesInView {
            waiting: (self.table.len() + self.kept_reader.asked().count()) as u64 + unseen,
            is_first_look: false,
            out_of_view: self.tally.out_of_view,
            late: late as u64,
            one_late: one_late.map(told_of),
            unreadable: unseen + unopened as u64,
            one_unreadable: one_unseen.clone().or_else(|| one_unopened.map(told_of)),
            folders: Vec::new(),
        };
        let told = &self.tally.told;
        let is_same = (next.waiting, next.out_of_view, next.late, &next.one_late)
            == (told.waiting, told.out_of_view, told.late, &told.one_late)
            && (next.unreadable, &next.one_unreadable) == (told.unreadable, &told.one_unreadable);
        if is_same && !folders_changed {
            return;
        }
        let told = std::mem::take(&mut self.tally.told);
        self.tally.told = FilesInView { folders: told.folders, ..next };
        self.flags.counts.set_in_view(self.tally.told.clone());
    }

    fn tell_folders(&mut self) {
        let missing = self.missing.iter().map(|folder| (folder.clone(), MISSING.to_owned()));
        let told = missing.chain(self.troubles.list());
        let told = told.map(|(path, reason)| FileWaiting { path: path.into(), reason });
        let (mut unreadable, mut folders): (Vec<_>, Vec<_>) = told.partition(|it| is_unreadable(&it.reason));
        unreadable.sort();
        folders.sort();
        self.tally.told.folders = folders;
        self.tally.unseen = (unreadable.len() as u64, unreadable.into_iter().next());
    }
}
