//! The store's own mark: which store it is, and how often an engine was started on it.
//!
//! The engine leaves a copy in the claim folders, durable before anything is claimed there. A store that is behind the mark in a
//! claim folder is an older copy of itself: somebody restored a backup, and what was done since is unknown to it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::{Store, keys};

/// Which store, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Of this store and its copies alone.
    pub store: String,
    /// Starts of an engine on it.
    pub starts: u64,
}

impl Store {
    /// The mark as it is; none before the first start.
    pub(crate) fn mark(&self) -> Result<Option<Mark>, StoreError> {
        self.row("mark", keys::MARK)
    }

    /// Counts a start, durably, past `behind` where a claim folder has seen a later one. The mark from now on.
    pub(crate) fn count_start(&self, behind: u64) -> Result<Mark, StoreError> {
        let old = self.mark()?.unwrap_or_else(|| Mark { store: new_name(), starts: 0 });
        let mark = Mark { starts: old.starts.max(behind) + 1, ..old };
        self.change().put("mark", keys::MARK.to_vec(), &mark).apply()?;
        self.sync()?;
        Ok(mark)
    }
}

/// std's hasher keys come from the operating system's generator: names need to differ, not to be secret.
fn new_name() -> String {
    let half = |round| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u32(round);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(0), half(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_counted_over_reopenings_and_past_what_others_saw() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.mark().expect("read"), None);
        let first = store.count_start(0).expect("counted");
        assert_eq!(first.starts, 1);
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        let second = store.count_start(0).expect("counted");
        assert_eq!((second.store == first.store, second.starts), (true, 2));
        assert_eq!(store.count_start(9).expect("counted").starts, 10);
        assert_eq!(store.mark().expect("read").map(|mark| mark.starts), Some(10));
        let other = tempfile::tempdir().expect("a folder");
        let other = Store::open(other.path()).expect("opens").count_start(0).expect("counted");
        assert_ne!(other.store, first.store);
    }
}
