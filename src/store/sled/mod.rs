//! sled 0.34 as the store's backend, and all that stands around it so that it keeps a [`Backend`]'s promises.
//!
//! Durable is what was applied before a [`Backend::sync`] that came back. The engine's `flush` alone is not: on Linux it ends in
//! `sync_file_range`, so that the log file is fsynced here as well. No value is longer than 64 KiB: the engine would put its page into a file
//! that it never fsyncs.

mod errors;
mod flush;
mod leftovers;
mod log_check;
mod making;
mod opening;
mod pending;
mod quiet;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backend::{self, Applied, Backend, Batch, KeyRange, Row, Rows, Snapshot, Value};
use super::error::StoreError;
use super::folder;
use super::poison::Poison;
use crate::durable_fs;
use crate::group_sync::{Failure as _, GroupSync};

use pending::Pending;
use quiet::Closing;

const FOLDER: &str = "store";
/// The table of all rows.
const TABLE: &str = "meta";
/// One that the engine always has.
const DEFAULT_TABLE: &str = "__sled__default";

/// The engine, opened in a data folder that this process holds.
pub(super) struct Sled {
    table: sled::Tree,
    db: Closing<sled::Db>,
    /// Of the engine's files.
    path: PathBuf,
    /// The engine's log, for our own fsync.
    log: File,
    commits: GroupSync<Poison>,
    /// Rows that the engine does not have yet.
    pending: RwLock<Pending>,
    /// Batches that are durable, of those that were put here.
    durable: AtomicU64,
}

/// Whether there is a store in a data folder.
pub(super) fn is_there(data_dir: &Path) -> std::io::Result<bool> {
    data_dir.join(FOLDER).try_exists()
}

impl Sled {
    /// Opens the engine, or makes it whole.
    pub(super) fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FOLDER);
        making::make_missing(data_dir, &path)?;
        leftovers::remove(&path)?;
        log_check::refuse_lost_log(&path)?;
        // Dropped from the right: where a step below fails, it is the handle that closes the engine, and a close that fails is told.
        let (db, table) =
            opening::guarded(&path, || open_table(&path)).map(|(db, table)| (Closing::new(db), table))?;
        let log_path = path.join(leftovers::LOG);
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&log_path)
            .map_err(|error| folder::failed("open", &log_path, error))?;
        leftovers::sync_settings(&path)?;
        folder::sync_names(&path)?;
        folder::sync_names(data_dir)?;
        let (commits, pending, durable) = Default::default();
        Ok(Self { table, db, path, log, commits, pending, durable })
    }

    /// An engine's write that failed ends all writing.
    fn written<T>(&self, action: &'static str, result: sled::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = errors::failed(action, &self.path, error);
            self.commits.end_by(Poison::of(&error));
            error
        })
    }

    /// As after a write that failed.
    #[cfg(test)]
    pub(super) fn break_by(&self, error: &StoreError) {
        self.commits.end_by(Poison::of(error));
    }

    fn flush(&self) -> Result<(), StoreError> {
        flush::flush(&self.db).map_err(|error| errors::failed("flush its log", &self.path, error))
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        let applied = self.batches_put();
        self.give_rows()?;
        self.flush()?;
        self.log.sync_all().map_err(|error| errors::failed("sync its log", &self.path, error.into()))?;
        // What is durable in a file without a name nobody will read: nothing may be published on its word.
        if durable_fs::has_no_name(&self.log) {
            return Err(StoreError::Removed { path: self.path.clone() });
        }
        self.durable.fetch_max(applied, Ordering::AcqRel);
        Ok(())
    }
}

impl Backend for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        self.view().get(key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(self.view())
    }

    fn scan(&self, range: KeyRange) -> Rows {
        if backend::is_empty(&range) {
            return Box::new(std::iter::empty());
        }
        let refused = self.give_rows().err();
        Box::new(Scan { refused, rows: self.table.range(range), path: self.path.clone() })
    }

    fn applied_count(&self) -> Option<u64> {
        Some(self.batches_put())
    }

    fn apply(&self, batch: Batch) -> Result<Applied, StoreError> {
        self.commits.refuse()?;
        self.put_rows(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(self.commits.sync(|| self.make_durable())?)
    }

    fn has_unsynced(&self) -> bool {
        self.batches_put() != self.durable.load(Ordering::Acquire)
    }

    /// Everything since would be forgotten where the engine's log is no longer the file that was opened.
    fn check_there(&self) -> Result<(), StoreError> {
        let log = self.path.join(leftovers::LOG);
        let opened =
            durable_fs::identity(&self.log).map_err(|error| folder::failed("look at", &log, error))?;
        match durable_fs::identity_at(&log) {
            Ok(found) if !found.is_some_and(|found| found.same_file(&opened)) => {
                Err(StoreError::Removed { path: self.path.clone() })
            }
            // One that cannot be looked at may be there: the next write will tell.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn unknown_tables(&self) -> Vec<String> {
        let names = self.db.tree_names().into_iter();
        names
            .map(|name| name.escape_ascii().to_string())
            .filter(|name| ![TABLE, DEFAULT_TABLE].contains(&name.as_str()))
            .collect()
    }
}

/// Rows of the engine, which got before what waited.
struct Scan {
    /// It did not take it.
    refused: Option<StoreError>,
    rows: sled::Iter,
    path: PathBuf,
}

impl Scan {
    fn next_of(
        &mut self,
        next: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Option<Result<Row, StoreError>> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        let rows = &mut self.rows;
        let row = read(&self.path, || next(rows).transpose()).transpose();
        row.map(|row| row.map(|(key, value)| (key.to_vec(), Value::from_owner(value))))
    }
}

impl Iterator for Scan {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of(Iterator::next)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_of(DoubleEndedIterator::next_back)
    }
}

/// What damage makes the engine panic on is an error too.
fn read<T>(path: &Path, read: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    opening::guarded(path, || read().map_err(errors::engine("read its rows")))
}

/// Everything here reads what may be damaged.
fn open_table(path: &Path) -> Result<(sled::Db, sled::Tree), StoreError> {
    let db = opening::open_engine(path)?;
    let table = db.open_tree(TABLE).map_err(errors::engine("open its tables"))?;
    Ok((db, table))
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
