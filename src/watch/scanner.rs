//! The truth: a walk over every folder that can hold candidates, one entry at a time.
//!
//! Names are listed as a stream and never gathered, but for the folders that are still to be entered. Several walks take turns, so that a
//! folder with a million files holds up no other rule. Links are not followed here. Nothing here looks at a file: that is the table's work.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::PathBuf;

use super::rules::{Part, Place, RuleSet};
use crate::durable_fs::{self, Entry, Kind};

/// Walks that take turns; each has one folder open.
const WALKS_MAX: usize = 64;

type Listing = Box<dyn Iterator<Item = io::Result<Entry>> + Send>;

/// What one step of a scan came upon.
pub(super) enum Finding {
    /// This folder is listed next: it must be watched before, or a file that comes in between is seen by nobody.
    Entering(PathBuf),
    /// The folder was listed to its end.
    Listed(PathBuf),
    /// A file that belongs to a rule, or a marker.
    File(PathBuf, Part),
    /// A link in a folder where a rule may follow it.
    Link(PathBuf),
    /// A folder that cannot be listed.
    Unlistable(PathBuf, io::Error),
    /// Something that concerns no rule.
    Nothing,
}

/// The walks under way, and those to come.
#[derive(Default)]
pub(super) struct Scanner {
    walks: VecDeque<Walk>,
    waiting: VecDeque<PathBuf>,
    /// Folders that a walk, or one to come, is about to enter.
    to_enter: HashSet<PathBuf>,
}

/// One walk, from one folder down.
struct Walk {
    folders: Vec<PathBuf>,
    entering: Option<PathBuf>,
    listing: Option<(PathBuf, Place, Listing)>,
}

impl Scanner {
    pub(super) fn is_idle(&self) -> bool {
        self.walks.is_empty() && self.waiting.is_empty()
    }

    /// Walks from this folder down, unless a walk is just about to.
    pub(super) fn walk(&mut self, folder: PathBuf) {
        if self.to_enter.insert(folder.clone()) {
            self.waiting.push_back(folder);
        }
    }

    /// Lets the next walk go on.
    pub(super) fn take_turns(&mut self) {
        if !self.walks.is_empty() {
            self.walks.rotate_left(1);
        }
    }

    /// One step of the walk whose turn it is; none when all walks are done.
    pub(super) fn step(&mut self, rules: &RuleSet) -> Option<Finding> {
        loop {
            while self.walks.len() < WALKS_MAX
                && let Some(folder) = self.waiting.pop_front()
            {
                self.walks.push_back(Walk { folders: vec![folder], entering: None, listing: None });
            }
            if let Some(finding) = self.walks.front_mut()?.step(rules, &mut self.to_enter) {
                return Some(finding);
            }
            self.walks.pop_front();
        }
    }
}

impl Walk {
    fn step(&mut self, rules: &RuleSet, to_enter: &mut HashSet<PathBuf>) -> Option<Finding> {
        if let Some(folder) = self.entering.take() {
            return Some(match durable_fs::list(&folder) {
                Ok(listing) => {
                    let place = rules.place(&folder);
                    self.listing = Some((folder, place, Box::new(listing)));
                    Finding::Nothing
                }
                Err(error) => Finding::Unlistable(folder, error),
            });
        }
        if let Some((folder, place, mut listing)) = self.listing.take() {
            return Some(match listing.next() {
                None => Finding::Listed(folder),
                Some(Err(error)) => Finding::Unlistable(folder, error),
                Some(Ok(entry)) => {
                    let finding = self.sort(entry, &place, rules, to_enter);
                    self.listing = Some((folder, place, listing));
                    finding
                }
            });
        }
        let folder = self.folders.pop()?;
        to_enter.remove(&folder);
        self.entering = Some(folder.clone());
        Some(Finding::Entering(folder))
    }

    fn sort(
        &mut self,
        Entry { path, kind }: Entry,
        place: &Place,
        rules: &RuleSet,
        to_enter: &mut HashSet<PathBuf>,
    ) -> Finding {
        if kind == Kind::Folder && rules.could_match_below(&path) {
            if to_enter.insert(path.clone()) {
                self.folders.push(path);
            }
            return Finding::Nothing;
        }
        if kind == Kind::Link && !rules.names_followed(&path).is_empty() {
            return Finding::Link(path);
        }
        if kind != Kind::File {
            return Finding::Nothing;
        }
        match rules.part_in(place, &path) {
            Part::Stranger => Finding::Nothing,
            part => Finding::File(path, part),
        }
    }
}
