//! The making of a new store: it is there whole, or not at all.
//!
//! The engine writes its settings and its first segment without any order that would outlast a power cut, and half of them is damage to
//! it, for ever. So they are made under another name, made durable, and only then get their own:
//!
//! ```text
//! remove `store.new` | make it, open, write, close | sync its files, then its folder | rename to `store` | sync the data folder
//! ```
//!
//! A crash before the rename leaves a `store.new` that the next start removes: nothing was ever stored in it. One after it leaves either
//! name, each on a whole store.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Instant;

use super::{errors, opening};
use crate::store::error::StoreError;
use crate::store::folder::{self, failed};

const UNFINISHED: &str = "store.new";

/// Makes the store's folder, if there is none; called by the process that holds the data folder.
pub(super) fn make_missing(data_dir: &Path, store: &Path) -> Result<(), StoreError> {
    let unfinished = data_dir.join(UNFINISHED);
    folder::remove_all(&unfinished)?;
    match fs::metadata(store) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", store, error)),
    }
    folder::make_private(&unfinished)?;
    opening::guarded(&unfinished, || {
        let (db, table) = super::open_table(&unfinished)?;
        super::flush::flush(&db).map_err(|error| errors::failed("flush its log", &unfinished, error))?;
        drop((table, db));
        Ok(())
    })?;
    sync_files(&unfinished)?;
    folder::sync_names(&unfinished)?;
    let begun = Instant::now();
    loop {
        match folder::rename(&unfinished, store) {
            Ok(()) => break,
            // The engine's threads let go of its files a moment after its handle, and Windows renames no folder in which one is open.
            Err(_) if cfg!(windows) && begun.elapsed() < opening::REOPEN_PATIENCE => {
                std::thread::sleep(opening::REOPEN_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    folder::sync_names(data_dir)
}

fn sync_files(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(|error| failed("list", folder, error))? {
        let path = entry.map_err(|error| failed("list", folder, error))?.path();
        if path.is_dir() {
            folder::sync_names(&path)?;
            continue;
        }
        let file = File::options().read(true).write(true).open(&path);
        file.and_then(|file| file.sync_all()).map_err(|error| failed("sync", &path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    /// The files of a store that was just made, as a power cut may have left them: each cut off anywhere, or gone.
    #[test]
    fn a_crash_while_the_store_is_made_does_not_keep_the_service_from_starting() {
        let made = tempfile::tempdir().expect("a folder");
        drop(Store::open(made.path()).expect("is made"));
        let files: Vec<_> = fs::read_dir(made.path().join("store"))
            .expect("listed")
            .map(|entry| entry.expect("listed").path())
            .filter(|path| path.is_file())
            .map(|path| (path.file_name().expect("a name").to_owned(), fs::read(&path).expect("read")))
            .collect();
        assert!(files.len() >= 2, "settings and log");
        for (cut, bytes) in &files {
            let edges = [0, 1, bytes.len() / 3, bytes.len().saturating_sub(1)];
            for kept in edges.map(Some).into_iter().chain([None]) {
                let folder = tempfile::tempdir().expect("a folder");
                let unfinished = folder.path().join(UNFINISHED);
                fs::create_dir(&unfinished).expect("a folder");
                for (name, bytes) in &files {
                    let length = if name == cut { kept } else { Some(bytes.len()) };
                    if let Some(length) = length {
                        fs::write(unfinished.join(name), &bytes[..length]).expect("written");
                    }
                }
                let store = Store::open(folder.path());
                let store = store.unwrap_or_else(|error| panic!("{cut:?} cut to {kept:?}: {error}"));
                assert_eq!(store.count_start(0).expect("counted").starts, 1);
                assert!(!unfinished.try_exists().expect("can be looked at"));
            }
        }
    }

    #[test]
    fn an_existing_store_is_not_made_anew_and_a_leftover_beside_it_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = Store::open(folder.path()).expect("is made").count_start(0).expect("counted");
        fs::create_dir(folder.path().join(UNFINISHED)).expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.mark().expect("read"), Some(mark));
        assert!(!folder.path().join(UNFINISHED).try_exists().expect("can be looked at"));
    }
}
