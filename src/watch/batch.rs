//! One marker for all files of a folder (`ready.marker_for = "folder"`): the files that it stands for, and the last of them.
//!
//! It stands for what came to its folder before it: no time of the file is later than the marker's, neither that of its content, which
//! senders can set, nor that of its last change, which they cannot. What comes later waits for the next marker. So a marker that
//! still lies there, for whatever reason, lets nothing in early.
//!
//! The last file that it stands for takes it along:
//!
//! ```text
//! a, b, c offered ---- taken, taken -------------------------- nothing but d left in the folder? ---- d offered, with the marker
//!                      (a crash: b, c, d and the marker lie there, and go on)
//! d held: others are offered, and may come back
//! ```
//!
//! What waits for good, as another name of a file whose job ended, or as a file that another rule kept, is not one of them.
//!
//! A file that a marker stood for is remembered, across restarts: what changes its ctime then (other rights, another name elsewhere, our own
//! renames) is nothing that its sender did. One that is given back needs no marker again as long as it is the same.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::candidate::{Phase, Reason};
use super::kept::Standing;
use super::ready::{MarkerSeen, Stood};
use super::rules::{Part, WatchedRule};
use super::watcher::Watcher;
use crate::durable_fs::{self, Kind};
use crate::model::identity::FileIdentity;

const IS_LAST: Reason =
    Cow::Borrowed("the last file of its folder goes with the marker, once the others are claimed");

/// More files than these that wait for one marker are not looked at all at once.
const AT_ONCE_MAX: usize = 16;

/// A marker, as it was when it was judged.
type Marker = (PathBuf, FileIdentity);

impl Watcher {
    /// Judges the marker of a candidate.
    pub(super) fn judge_marker(
        &mut self,
        path: &Path,
        marker: Option<FileIdentity>,
        file: &FileIdentity,
    ) -> MarkerSeen {
        let Some(candidate) = self.table.get(path) else { return MarkerSeen::Missing };
        if !candidate.companions.is_of_folder {
            return MarkerSeen::judge(marker, file);
        }
        let was_given_back = candidate.distrusted == Some((file.device, file.inode));
        let row = (self.links.known.was_marked)(path, file);
        let stood = match row.or_else(|| self.table.was_marked(file).then_some(false)) {
            None => Stood::Never,
            Some(given_back) if given_back || was_given_back => Stood::UntilTaken,
            Some(_) => Stood::Before,
        };
        let seen = MarkerSeen::judge_of_folder(marker, file, stood);
        if seen == MarkerSeen::Valid {
            self.table.remember_marked(*file); // by any name
            if row.is_none() {
                (self.links.known.mark)(path, file);
            }
        }
        seen
    }

    /// A marker came, changed or went away.
    pub(super) fn marker_changed(&mut self, marker: &Path, now: Instant) {
        let files: Vec<_> = self.table.waiting_for(marker).cloned().collect();
        for file in &files {
            if files.len() <= AT_ONCE_MAX {
                self.evaluate(file, now);
            } else if let Some(candidate) = self.table.get(file).filter(|it| it.phase == Phase::Waiting) {
                let reason = candidate.reason.clone();
                self.table.wait(file, now, reason);
            }
        }
    }

    /// The marker of its folder that a file takes along which is about to be offered: the last one that it stands for does. None: it is
    /// not offered yet.
    #[allow(clippy::option_option, reason = "whether it is offered, and with what")]
    pub(super) fn folder_marker_for(&mut self, path: &Arc<Path>, now: Instant) -> Option<Option<Marker>> {
        let Some(candidate) = self.table.get(path).filter(|it| it.companions.is_of_folder) else {
            return Some(None);
        };
        let Some(place) = candidate.companions.marker.clone() else { return Some(None) };
        if self.rules.get(candidate.rule).is_none_or(WatchedRule::keeps) {
            return Some(None);
        }
        let Ok(Some(marker)) = durable_fs::identity_at(&place) else { return Some(None) };
        let mut are_offered = false;
        for other in self.table.waiting_for(&place).filter(|other| *other != path) {
            let Some(it) = self.table.get(other) else { continue };
            match it.phase {
                Phase::Offered(_) => are_offered = true,
                Phase::Waiting | Phase::Ready(_)
                    if !it.is_kept_elsewhere
                        && self.stands_for(&marker, other, &it.seen)
                        && !self.is_name_of_done(other, &it.seen) =>
                {
                    return Some(None);
                }
                Phase::Waiting | Phase::Ready(_) => {}
            }
        }
        if are_offered {
            self.table.wait(path, now + self.scan_every, IS_LAST);
            self.held_for_marker.push(Arc::clone(path));
            return None;
        }
        // What is no candidate (yet) is only in the folder. That may be very long; but mostly there is none, or one comes soon.
        Some((!self.has_unseen_files(path, &place, &marker)).then_some((place, marker)))
    }

    fn stands_for(&self, marker: &FileIdentity, path: &Path, file: &FileIdentity) -> bool {
        let stands = |stood| MarkerSeen::judge_of_folder(Some(*marker), file, stood) == MarkerSeen::Valid;
        let was_marked =
            || self.table.was_marked(file) || (self.links.known.was_marked)(path, file).is_some();
        stands(Stood::Never) || stands(Stood::Before) && was_marked()
    }

    /// Whether a folder has files of a marker that are no candidates; also where it cannot be listed.
    fn has_unseen_files(&mut self, path: &Path, place: &Path, marker: &FileIdentity) -> bool {
        let folder = path.parent().unwrap_or(path);
        let Ok(listing) = durable_fs::list(folder) else { return true };
        let at = self.rules.place(folder);
        for entry in listing {
            let Ok(entry) = entry else { return true };
            if entry.kind != Kind::File || self.table.get(&entry.path).is_some() {
                continue;
            }
            let Part::Candidate(rule_at, _) = self.rules.part_in(&at, &entry.path) else { continue };
            let Some(rule) = self.rules.get(rule_at) else { continue };
            if rule.folder_marker_of(&entry.path).as_deref() != Some(place) {
                continue;
            }
            let leaves_empty = rule.leaves_empty();
            let Ok(found) = durable_fs::identity_at(&entry.path) else { return true };
            let is_one = |file: &FileIdentity| {
                self.stands_for(marker, &entry.path, file) && !(leaves_empty && file.size == 0)
            };
            if let Some(file) = found.filter(is_one)
                && self.standing(&entry.path, &file, rule_at) == Standing::Free
                && !self.is_name_of_done(&entry.path, &file)
            {
                return true;
            }
        }
        false
    }

    /// Looks again at those that waited for the answers to others.
    pub(super) fn let_the_last_go(&mut self) {
        let now = Instant::now();
        for path in std::mem::take(&mut self.held_for_marker) {
            self.evaluate(&path, now);
        }
    }
}
