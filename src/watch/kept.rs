//! Files that stay where they lie, as the watch meets them: those that are as their job took them are no candidates.
//!
//! One that was moved into the folder of another rule, or of another sender, is one that waits for good: somebody put it where files are
//! taken, so it is listed, with the command that has it taken there. By itself nothing takes it: its records are out.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::kept_reader::Kept;
use super::message::Sign;
use super::watcher::Watcher;
use crate::model::file_known::TakenBefore;
use crate::model::halts::sender_of;
use crate::model::identity::FileIdentity;

/// What a file is to the rule that has its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Free,
    /// It stays, and is told to nobody.
    Kept,
    /// The same, but under another rule or as another sender's: why it is not taken here.
    KeptElsewhere(String),
}

impl Watcher {
    pub(super) fn standing(&mut self, path: &Path, identity: &FileIdentity, rule: usize) -> Standing {
        if self.table.is_kept(path, identity, self.scan) {
            return Standing::Kept;
        }
        if self.read_as_another.as_ref().is_some_and(|(other, it)| other == path && it == identity) {
            return Standing::Free;
        }
        let told = match self.kept_reader.look_up(path, identity) {
            Kept::Yes => None,
            Kept::ByOtherName(before) => self.kept_elsewhere(path, rule, &before),
            Kept::ForNow => return Standing::Kept,
            // As long as it is not known to be another, it is not offered.
            Kept::ByItsBytes if self.kept_reader.ask(path, identity) => return Standing::Kept,
            Kept::No | Kept::ByItsBytes => return Standing::Free,
        };
        if let Some(reason) = told {
            return Standing::KeptElsewhere(reason);
        }
        self.table.remember_kept(path, *identity, self.scan);
        Standing::Kept
    }

    /// Why a rule does not take a file that was taken by another name: none where that is one of its own, of the same sender. The rule may
    /// have had another name then, or other patterns.
    fn kept_elsewhere(&self, path: &Path, rule: usize, before: &TakenBefore) -> Option<String> {
        let rule = &self.rules.get(rule)?.rule;
        let lay = before.path.as_path();
        let has_its_name = |at: usize| self.rules.get(at).is_some_and(|it| it.rule.name == rule.name);
        let is_its_own =
            before.rule == rule.name || self.rules.assign(lay).is_some_and(|(at, _)| has_its_name(at));
        let (then, now) = (rule.paths.values_of(lay), rule.paths.values_of(path));
        let senders = then.as_ref().and_then(sender_of).zip(now.as_ref().and_then(sender_of));
        let is_anothers = senders.is_some_and(|(then, now)| then != now);
        (!is_its_own || is_anothers).then(|| before.told(path, &rule.name))
    }

    /// Whether a candidate stays where it lies: it is told why, or is none any more.
    pub(super) fn stays(&mut self, path: &Arc<Path>, now: Instant) -> bool {
        let Some((rule, seen)) = self.table.get(path).map(|it| (it.rule, it.seen)) else { return false };
        match self.standing(path, &seen, rule) {
            Standing::Free => {
                if let Some(candidate) = self.table.get_mut(path) {
                    candidate.is_kept_elsewhere = false;
                }
                return false;
            }
            Standing::Kept => drop(self.table.remove(path)),
            Standing::KeptElsewhere(reason) => self.wait_elsewhere(path, reason, now),
        }
        true
    }

    pub(super) fn wait_elsewhere(&mut self, path: &Arc<Path>, reason: String, now: Instant) {
        if let Some(candidate) = self.table.get_mut(path) {
            candidate.is_kept_elsewhere = true;
        }
        self.wait_for_good(path, reason, now);
    }

    /// A file that may be kept was read.
    pub(super) fn was_read(&mut self, path: &Path, identity: FileIdentity, is_kept: bool) {
        if self.kept_reader.answered(path, &identity) {
            self.request_scan();
        }
        self.take_read(path, identity, is_kept);
        self.note_round();
    }

    fn take_read(&mut self, path: &Path, identity: FileIdentity, is_kept: bool) {
        match self.kept_reader.look_up(path, &identity) {
            Kept::Yes if is_kept => return self.table.remember_kept(path, identity, self.scan),
            Kept::ByOtherName(_) if is_kept => return self.hint(path, Sign::Appeared),
            // The next scan asks again: its job may let go of it.
            Kept::ForNow | Kept::ByItsBytes if is_kept => return,
            _ => {}
        }
        self.read_as_another = Some((path.to_owned(), identity));
        self.hint(path, Sign::Appeared);
        self.read_as_another = None;
    }
}
