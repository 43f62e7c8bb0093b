//! One sync of each folder for many changes.
//!
//! Many jobs are taken on together: each renames, then each makes its folders durable. Whoever comes first to a folder syncs it, and all
//! share what came out. A round must begin after the last change that it is to cover.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::error::{Failure, FsError};
use super::folder_sync::sync_folder;

/// The folders that were synced since the round began, each with what came of it.
#[derive(Debug, Default)]
pub struct FolderRound {
    synced: HashMap<PathBuf, Result<(), Failure>>,
}

impl FolderRound {
    /// Makes the names in a folder durable as they were when the round began.
    pub fn sync(&mut self, folder: &Path) -> Result<(), FsError> {
        if let Some(synced) = self.synced.get(folder) {
            return synced.map_err(|failure| failure.tell(folder));
        }
        let synced = sync_folder(folder);
        // Whatever else went wrong may be over for the next job.
        if synced.as_ref().map_or_else(FsError::is_failed_sync, |()| true) {
            self.synced.insert(folder.to_owned(), synced.as_ref().map_err(Failure::of).copied());
        }
        synced
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_synced_once_a_round_and_tried_again_where_that_was_not_possible() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("away");
        let mut round = FolderRound::default();
        round.sync(&folder).expect_err("it is not there");
        std::fs::create_dir(&folder).expect("makes");
        round.sync(&folder).expect("it is there now");
        std::fs::remove_dir(&folder).expect("removes");
        round.sync(&folder).expect("it was synced in this round");
        FolderRound::default().sync(&folder).expect_err("the next round looks");
    }
}
