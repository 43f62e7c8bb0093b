//! Files that the marker of their folder stood for before they were taken, or that were given back since: known across restarts, however
//! often their names elsewhere or their rights changed meanwhile. Likewise, under the path of a file that stays where it lies, the totals
//! and the checksum that it came with.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::{Store, keys};
use crate::durable_fs;
use crate::model::identity::FileIdentity;
use crate::model::os_text::OsText;

/// What is known of such a file. Its path, size and time are in the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marked {
    /// The file as it was.
    pub(super) identity: FileIdentity,
    at: Timestamp,
    /// A job took it and gave it back: it needs no marker again.
    pub was_given_back: bool,
}

impl Marked {
    /// Found just now, and not taken yet.
    pub(crate) fn new(identity: FileIdentity, at: Timestamp) -> Self {
        Self { identity, at, was_given_back: false }
    }
}

impl Store {
    /// What is known of a file that lies at a path, if the marker of its folder stood for it as it is.
    pub(crate) fn marked(
        &self,
        path: &OsText,
        identity: &FileIdentity,
    ) -> Result<Option<Marked>, StoreError> {
        if !self.inner.knows_marked.load(Ordering::Acquire) {
            return Ok(None);
        }
        let row: Option<Marked> = self.row("marked file", &keys::marked(path, identity))?;
        Ok(row.filter(|row| durable_fs::is_same_content(path.as_path(), identity, &row.identity)))
    }

    /// Forgets files that were marked before then, at most `max`: their senders took them away, or wrote them anew.
    pub(crate) fn forget_marked(&self, before: Timestamp, max: usize) -> Result<(), StoreError> {
        let mut old = Vec::new();
        for key in self.keys_beginning_with(&[keys::MARKED]) {
            let key = key?;
            let row: Option<Marked> = self.row("marked file", &key)?;
            if row.is_some_and(|row| row.at < before) {
                old.push(key);
            }
            if old.len() == max {
                break;
            }
        }
        let mut changes = self.change();
        for key in old {
            changes.remove(key);
        }
        changes.apply()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::job::{Job, Source};
    use crate::model::job_id::JobId;
    use crate::store::{LedgerOutcome, LedgerRow};

    const FILE: FileIdentity = FileIdentity { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };

    fn known(store: &Store, identity: FileIdentity) -> Option<bool> {
        let marked = store.marked(&OsText::from("/in/a.txt"), &identity).expect("reads");
        marked.map(|marked| marked.was_given_back)
    }

    fn mark(store: &Store) {
        let marked = Marked::new(FILE, Timestamp::UNIX_EPOCH);
        store.change().marked(&OsText::from("/in/a.txt"), &marked).apply().expect("writes");
    }

    #[test]
    fn a_file_is_known_whatever_is_done_to_its_names_and_rights_until_it_has_its_end() {
        let store = Store::in_memory();
        let source = Source::found(Path::new("/in/a.txt"), FILE);
        let job = Job::queued(JobId::from_parts(1, 1), "rule", "hash", source, Timestamp::UNIX_EPOCH);
        let becomes = |outcome| {
            store.change().ledger(&LedgerRow::of(&job, outcome), false).apply().expect("writes");
        };
        becomes(LedgerOutcome::GivenBack);
        assert_eq!(known(&store, FILE), None, "no marker stood for it");
        mark(&store);
        assert_eq!(known(&store, FileIdentity { ctime_ns: 6, device: 7, ..FILE }), Some(false));
        for other in [
            FileIdentity { inode: 8, ..FILE },
            FileIdentity { size: 8, ..FILE },
            FileIdentity { mtime_ns: 8, ..FILE },
        ] {
            assert_eq!(known(&store, other), None, "{other:?}");
        }
        becomes(LedgerOutcome::Claimed);
        assert_eq!(known(&store, FILE), Some(false));
        becomes(LedgerOutcome::GivenBack);
        assert_eq!(known(&store, FILE), Some(true));
        becomes(LedgerOutcome::Completed);
        assert_eq!(known(&store, FILE), None);
    }

    #[test]
    fn files_that_their_senders_took_away_are_forgotten_in_the_end() {
        let store = Store::in_memory();
        mark(&store);
        store.forget_marked(Timestamp::UNIX_EPOCH, 10).expect("looks");
        assert_eq!(known(&store, FILE), Some(false));
        store.forget_marked(Timestamp::MAX, 10).expect("looks");
        assert_eq!(known(&store, FILE), None);
    }
}
