//! Claims that a power cut could still undo: their folders are synced before anything comes of them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::lock;
use super::trouble::Trouble;
use crate::durable_fs;
use crate::model::job::Job;

/// Folders with claims that no sync has covered yet, as far as is known.
#[derive(Default)]
pub(super) struct UnsyncedClaims(Mutex<Doubts>);

/// Each folder with the number of its latest doubt.
#[derive(Default)]
struct Doubts {
    folders: BTreeMap<PathBuf, u64>,
    count: u64,
}

impl UnsyncedClaims {
    /// The sync of a folder that a claim changed has failed.
    pub(super) fn doubt_folder(&self, folder: PathBuf) {
        lock(&self.0).doubt(folder);
    }

    /// A crash, or a failure, may have come between this job's claim and the sync of its folders.
    pub(super) fn doubt(&self, job: &Job) {
        let mut doubts = lock(&self.0);
        claim_places(job).for_each(|folder| doubts.doubt(folder.to_owned()));
    }

    /// Makes a job's claim durable, if that is not known: else a power cut could bring the file back when its outputs are there already.
    pub(super) fn sync(&self, job: &Job) -> Result<(), Trouble> {
        for folder in claim_places(job) {
            let doubt = lock(&self.0).folders.get(folder).copied();
            let Some(doubt) = doubt else { continue };
            match durable_fs::sync_folder(folder) {
                // With its folder gone there is nothing that could come back.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
                synced => synced?,
            }
            lock(&self.0).synced(folder, doubt);
        }
        Ok(())
    }
}

impl Doubts {
    fn doubt(&mut self, folder: PathBuf) {
        self.count += 1;
        self.folders.insert(folder, self.count);
    }

    /// The folder was synced, begun when this was its latest doubt: what came into doubt since may not be covered.
    fn synced(&mut self, folder: &Path, doubt: u64) {
        if self.folders.get(folder) == Some(&doubt) {
            self.folders.remove(folder);
        }
    }
}

/// The folders that a claim changed.
fn claim_places(job: &Job) -> impl Iterator<Item = &Path> {
    let claimed = job.source.claimed.as_ref();
    claimed.into_iter().flat_map(|claimed| {
        [durable_fs::parent_of(job.source.path.as_path()), durable_fs::parent_of(claimed.as_path())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::FileIdentity;
    use crate::model::job::Source;
    use crate::model::job_id::JobId;

    fn job(path: &Path, claimed: &Path) -> Job {
        let identity = FileIdentity { device: 1, inode: 1, size: 1, mtime_ns: 1, ctime_ns: 1 };
        let source = Source { claimed: Some(claimed.into()), ..Source::found(path, identity) };
        Job::queued(JobId::from_parts(1, 1), "rule", "hash", source, crate::clock::now())
    }

    #[test]
    fn a_claim_in_doubt_has_both_its_folders_synced_and_is_in_doubt_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let claims = folder.path().join("claims");
        std::fs::create_dir(&claims).expect("makes");
        let job = job(&folder.path().join("pay"), &claims.join("pay"));
        let unsynced = UnsyncedClaims::default();
        unsynced.doubt(&job);
        assert_eq!(lock(&unsynced.0).folders.len(), 2);
        unsynced.sync(&job).expect("the folders are there");
        assert!(lock(&unsynced.0).folders.is_empty());
    }

    #[test]
    fn a_folder_that_is_gone_brings_nothing_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let gone = folder.path().join("gone");
        let unsynced = UnsyncedClaims::default();
        unsynced.doubt_folder(gone.clone());
        unsynced.sync(&job(&gone.join("pay"), &gone.join("claimed"))).expect("nothing is there to sync");
        assert!(lock(&unsynced.0).folders.is_empty());
    }

    #[test]
    fn a_claim_that_comes_into_doubt_during_a_sync_of_its_folder_stays_in_doubt() {
        let folder = Path::new("in");
        let mut unsynced = Doubts::default();
        unsynced.doubt(folder.into());
        let first = unsynced.folders[folder];
        unsynced.doubt(folder.into()); // while the sync is under way
        unsynced.synced(folder, first);
        let second = unsynced.folders[folder];
        unsynced.synced(folder, second);
        assert!(unsynced.folders.is_empty());
        unsynced.doubt(folder.into());
        unsynced.synced(folder, second); // of a sync that was slower than all of that
        assert_eq!(unsynced.folders.len(), 1);
    }
}
