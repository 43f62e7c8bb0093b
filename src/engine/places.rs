//! The mounts that files of a rule went to before, and that must be there before more goes there.
//!
//! A folder whose mount is away looks like one that is to be made: an archive would be begun anew in the bare mount point, out of sight once
//! the mount is back. So it is remembered on which mount each folder of a rule lay when a job ended (decision 0063). Where nothing is
//! mounted there now, jobs and files wait as for `publish.mount`, until it is mounted again or an operator says that it is right as it is
//! (`landfall resume --rule`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;
use super::operator::Kept;
use super::rule_book::ReadyRule;
use crate::durable_fs::Mounts;
use crate::model::os_text::OsText;
use crate::model::places::Places;
use crate::store::{Store, StoreError};

/// Where a folder lies is looked at again after so long.
const LOOK_LASTS: Duration = Duration::from_mins(1);

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct KnownPlaces {
    pub known: Kept<Places>,
    looked: Mutex<HashMap<PathBuf, Instant>>,
}

/// What is said of a mount that is not there.
pub(super) struct Away {
    pub message: String,
    pub hint: String,
}

pub(super) fn words(rule: &str, folder: &Path, mount: &Path) -> Away {
    let (folder, mount) = (OsText::from(folder), OsText::from(mount));
    Away {
        message: format!("no file system is mounted at {mount}, where files for {folder} went before"),
        hint: format!(
            "mount it; everything goes on by itself. If they are to go there as it is now, `landfall resume --rule {rule}`"
        ),
    }
}

impl KnownPlaces {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self { known: Kept::load(store)?, looked: Mutex::default() })
    }

    /// Notes on which mounts the folders of a rule lie, to which files of a job went just now.
    pub(super) fn learn(&self, store: &Store, rule: &ReadyRule) -> Result<(), StoreError> {
        let due = self.take_due(&rule.folders, Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        let mounts = Mounts::now();
        let found = due.into_iter().filter_map(|folder| Some((mounts.of_folder(folder)?, folder)));
        let found: Vec<_> = found.collect();
        let learn =
            |places: &mut Places| found.iter().for_each(|(mount, folder)| places.learn(folder, mount));
        self.known.change(store, learn, |_| ())
    }

    fn take_due<'f>(&self, folders: &'f [PathBuf], now: Instant) -> Vec<&'f PathBuf> {
        let mut looked = lock(&self.looked);
        let is_due = |folder: &&PathBuf| {
            let is_due =
                looked.get(*folder).is_none_or(|at| now.saturating_duration_since(*at) >= LOOK_LASTS);
            if is_due {
                looked.insert((*folder).clone(), now);
            }
            is_due
        };
        folders.iter().filter(is_due).collect()
    }

    pub(super) fn forget(
        &self,
        store: &Store,
        folders: &[PathBuf],
        is_away: impl Fn(&Path) -> bool,
    ) -> Result<bool, StoreError> {
        self.known.change(store, |places| places.forget(folders, is_away), |_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn a_folder_is_looked_at_once_a_minute_and_what_is_forgotten_is_asked_for_no_more() {
        let (world, places) = (World::new(), KnownPlaces::default());
        let (store, folders) = (&world.shared.store, vec![PathBuf::from("/mnt/ar/x")]);
        let now = Instant::now();
        assert_eq!(places.take_due(&folders, now).len(), 1);
        assert!(places.take_due(&folders, now).is_empty());
        assert_eq!(places.take_due(&folders, now + LOOK_LASTS).len(), 1);
        let learn = |places: &mut Places| places.learn(&folders[0], Path::new("/mnt/ar"));
        places.known.change(store, learn, |_| ()).expect("writes");
        let loaded = KnownPlaces::load(store).expect("reads");
        assert_eq!(loaded.known.now().mount_of(&folders[0]), Some(Path::new("/mnt/ar")));
        assert!(!loaded.forget(store, &folders, |_| false).expect("writes"), "it is mounted");
        assert!(loaded.forget(store, &folders, |_| true).expect("writes"));
        let loaded = KnownPlaces::load(store).expect("reads");
        assert_eq!(*loaded.known.now(), Places::default());
    }
}
