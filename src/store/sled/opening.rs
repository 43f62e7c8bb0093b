//! Opening the engine, whatever lies there: a damaged log is an error with advice, never a panic.
//!
//! sled 0.34 checks its log as it reads it, but asserts some things that damage can break. What it panics on while it is opened is
//! caught here; the data folder is let go, and nothing was written that a copy of the folder would not have.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{errors, quiet::quietly};
use crate::store::backend;
use crate::store::error::StoreError;

const CACHE_BYTES: u64 = 16 << 20;
pub(super) const SEGMENT_BYTES: usize = 8 << 20;
/// Values on one leaf page at most: the engine splits above 16 and merges a page of less than 4 into its neighbour.
const PAGE_VALUES_MAX: usize = 24;
/// A page above a quarter of a segment becomes a file of its own, which the engine never fsyncs.
const _: () = assert!(PAGE_VALUES_MAX * backend::VALUE_BYTES_MAX < SEGMENT_BYTES / 4);
/// The engine's threads may hold its file a moment longer than its handle after a close in the same process.
pub(super) const REOPEN_PATIENCE: Duration = Duration::from_secs(5);
pub(super) const REOPEN_PAUSE: Duration = Duration::from_millis(10);

/// Does what reads the engine's files; a panic in it, or damage that it finds, is [`StoreError::Damaged`] at `path`.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let damaged = |detail| StoreError::Damaged { path: path.to_owned(), detail };
    match quietly(work) {
        Ok(Err(error)) if errors::is_damage(&error) => {
            // The engine is built without backtraces, and says so.
            Err(damaged(error.chain().replace(" backtrace ()", "")))
        }
        Ok(done) => done,
        // It unwraps errors of the system too, when it is closed after a failure: those are no damage.
        Err(said) if said.contains("Os { code") => {
            Err(StoreError::Failed { action: "be opened", path: path.to_owned(), source: said.into() })
        }
        Err(said) => Err(damaged(said)),
    }
}

pub(super) fn open_engine(path: &Path) -> Result<sled::Db, StoreError> {
    let config = config(path);
    let begun = Instant::now();
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // The data folder is ours: a former handle of this process may hold the engine's file, for a moment.
            Err(error) if is_locked(&error) && begun.elapsed() < REOPEN_PATIENCE => {
                std::thread::sleep(REOPEN_PAUSE);
            }
            // Or a service whose lock file somebody removed.
            Err(error) if is_locked(&error) => {
                let data_dir = path.parent().unwrap_or(path).to_owned();
                let holder = "a process whose lock file was removed".to_owned();
                return Err(StoreError::InUse { data_dir, pid: None, holder });
            }
            Err(error) => return Err(errors::failed("be opened", path, error)),
        }
    }
}

fn config(path: &Path) -> sled::Config {
    sled::Config::new()
        .path(path)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        // `Store::sync` flushes; the engine's own timer would only log its errors.
        .flush_every_ms(None)
}

/// sled tells a held lock only by its text.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}
