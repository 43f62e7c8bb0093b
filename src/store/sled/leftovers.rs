//! What a kill while the engine was opened or made leaves behind, and would keep it from ever opening again.
//!
//! sled 0.34 writes a snapshot of its page table under `snap.X.generating`, syncs it and renames it, but takes every name that
//! begins with `snap.` for a finished snapshot (`config.rs`, `get_snapshot_files`; `pagecache/snapshot.rs`): half of one is read as
//! damage. Such a file is never needed, since the log and the snapshot before it are still there. Its settings file `conf` is not
//! synced, and half of it is damage too.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::durable_fs;
use crate::store::error::StoreError;
use crate::store::folder::failed;

pub(super) const SNAPSHOT: &str = "snap.";
const UNFINISHED_SNAPSHOT: &str = ".generating";
const SETTINGS: &str = "conf";
pub(super) const LOG: &str = "db";

/// Removes what a kill left half-written, and lets the kernel forget what it only remembers: after a failed fsync its memory may hold
/// what the disk does not, and the engine would build upon it. Called before the engine is opened, by the process that holds the data
/// folder.
pub(super) fn remove(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(|error| failed("list", folder, error))? {
        let path = entry.map_err(|error| failed("list", folder, error))?.path();
        if path.to_string_lossy().ends_with(UNFINISHED_SNAPSHOT) {
            remove_file(&path)?;
        } else if let Ok(file) = File::open(&path) {
            durable_fs::forget_cached(&file);
        }
    }
    // Without a log nothing was ever stored. A store of today is made under another name first (see `making`); earlier versions left half
    // of one under its own.
    let log_bytes = length(&folder.join(LOG))?;
    if log_bytes == 0 { remove_file(&folder.join(SETTINGS)) } else { Ok(()) }
}

/// Makes the settings durable, which the engine does not.
pub(super) fn sync_settings(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(SETTINGS);
    let file = File::options().write(true).open(&path);
    file.and_then(|file| file.sync_all()).map_err(|error| failed("sync", &path, error))
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    durable_fs::remove_file(path).map_err(|error| failed("remove", path, error.source))
}

fn length(path: &Path) -> Result<u64, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(failed("look at", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Store;

    #[test]
    fn a_kill_while_the_engine_wrote_a_snapshot_does_not_keep_the_store_from_opening() {
        for half in [&b""[..], b"0123456789", &[7; 4000]] {
            let folder = tempfile::tempdir().expect("a folder");
            drop(Store::open(folder.path()).expect("is made"));
            let snapshot = folder.path().join("store").join("snap.7FFFFFFFFFFFFFFF.generating");
            std::fs::write(&snapshot, half).expect("a leftover");
            Store::open(folder.path()).expect("opens again");
            assert!(!snapshot.try_exists().expect("can be looked at"));
        }
    }

    #[test]
    fn a_kill_while_the_store_was_first_made_does_not_keep_it_from_being_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("store");
        std::fs::create_dir(&store).expect("a folder");
        std::fs::write(store.join("conf"), "segment_size: 83886").expect("half of the settings");
        std::fs::write(store.join("db"), "").expect("an empty log");
        Store::open(folder.path()).expect("is made");
    }
}
