//! The files that wait to be taken: one by one, and as numbers that are known without asking who watches them.

use serde::{Deserialize, Serialize};

use super::os_text::OsText;

/// A file or folder that waits to be taken, as the running service sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FileWaiting {
    /// Where it lies.
    pub path: OsText,
    /// Why it is not taken yet, in a sentence.
    pub reason: String,
}

/// All of them as numbers, with one of each kind that somebody should look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilesInView {
    /// Files that are seen and not taken.
    pub waiting: u64,
    /// The folders are looked through for the first time: there may be more.
    pub is_first_look: bool,
    /// Files of the last scan that found no room among them.
    pub out_of_view: u64,
    /// Those of the waiting ones that wait for longer than their rule has it.
    pub late: u64,
    /// Those that cannot be read.
    pub unreadable: u64,
    /// The first late one.
    pub one_late: Option<FileWaiting>,
    /// The first one that cannot be read.
    pub one_unreadable: Option<FileWaiting>,
    /// What is told of folders.
    pub folders: Vec<FileWaiting>,
}

impl FilesInView {
    /// Both together.
    #[must_use]
    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.folders.extend(other.folders);
        self.folders.sort();
        Self {
            waiting: self.waiting + other.waiting,
            is_first_look: self.is_first_look || other.is_first_look,
            out_of_view: self.out_of_view + other.out_of_view,
            late: self.late + other.late,
            unreadable: self.unreadable + other.unreadable,
            one_late: first(self.one_late, other.one_late),
            one_unreadable: first(self.one_unreadable, other.one_unreadable),
            folders: self.folders,
        }
    }
}

fn first(one: Option<FileWaiting>, other: Option<FileWaiting>) -> Option<FileWaiting> {
    one.into_iter().chain(other).min()
}
