//! The watching threads: one for the rules of each file system, so that one that hangs keeps only its own files from being seen.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::watch::{Answer, Watch};

/// All of them.
#[derive(Default)]
pub(super) struct Watches {
    all: Vec<(Watch, Vec<PathBuf>)>,
}

impl Watches {
    /// `folders`: below which the files of its rules lie.
    pub(super) fn add(&mut self, watch: Watch, folders: Vec<PathBuf>) {
        self.all.push((watch, folders));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Watch> {
        self.all.iter().map(|(watch, _)| watch)
    }

    /// Tells the watch that sees this file what became of it.
    pub(super) fn answer(&self, path: &Path, answer: Answer) {
        let depth = |folders: &[PathBuf]| {
            let above = folders.iter().filter(|folder| path.starts_with(folder));
            above.map(|folder| folder.components().count()).max()
        };
        let nearest = self.all.iter().filter_map(|(watch, folders)| Some((depth(folders)?, watch)));
        if let Some((_, watch)) = nearest.max_by_key(|(depth, _)| *depth) {
            watch.answer(path, answer);
        }
    }

    /// Offers what was answered with [`Answer::Later`] again, now.
    pub(super) fn hasten(&self) {
        self.iter().for_each(Watch::hasten);
    }

    /// See [`Watch::waiting`]; `patience` is for all together.
    pub(super) fn waiting(&self, patience: Duration) -> Vec<(PathBuf, String)> {
        let until = Instant::now() + patience;
        let ask = |watch: &Watch| watch.waiting(until.saturating_duration_since(Instant::now()));
        let mut waiting: Vec<_> = self.iter().flat_map(ask).collect();
        waiting.sort();
        waiting
    }
}
