//! Slices on their way that find no room in memory: first in, first out, in files that grow at their end.
//!
//! ```text
//! data/slices/PID-NUMBER      slice slice slice …      of one job
//! ```
//!
//! A file goes with the last slice in it; one that has none left is written from its beginning again. Where in which file a slice lies, and its
//! checksum, is kept in memory alone.
//!
//! Where the store is encrypted each slice is, by a key that this process has in memory alone and nobody after it needs. It is bound to its file
//! and its place there.
//!
//! Nothing here is durable, nor need it be: slices are cut again from their source. What a kill leaves is removed at the start. After a failure
//! the job breaks off as for any trouble with a disk and goes on from its checkpoint; neither other jobs nor rows have a part in it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::error::StoreError;
use super::{folder, value};
use crate::at_rest::{PassingKey, PassingSeal, Unopened};
use crate::durable_fs::{self, FsError};

const FOLDER: &str = "slices";
/// Bytes after which a job's next file begins, at least and at most.
const FILE_BYTES_MIN: u64 = if cfg!(test) { 1 << 20 } else { 16 << 20 };
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Files of a job that has as much stored as it may have, besides the one that is being read: each is an open one.
const FILES_WANTED: u64 = 8;
/// Room on the disk that slices leave to the rows: where there is less, loading waits instead of running ahead.
const RESERVED_BYTES: u64 = 64 << 20;
/// Bytes that are stored before the disk is looked at again.
const UNLOOKED_BYTES: u64 = 8 << 20;

/// Where slices of all jobs lie, while any do.
pub(super) struct Spool {
    data_dir: PathBuf,
    folder: PathBuf,
    /// Files so far: no two have one name.
    files: AtomicU64,
    reserved: AtomicU64,
    /// Bytes that may still be stored before the disk is looked at again.
    unlooked: AtomicU64,
    /// None: slices lie in clear.
    key: OnceLock<Arc<PassingKey>>,
}

/// The end of a job's line in the spool.
pub(super) struct Writer {
    spool: Arc<Spool>,
    file_bytes_max: u64,
    file: Option<Arc<SpoolFile>>,
    end: u64,
}

/// A slice in the spool; its place is free once it is dropped.
pub(super) struct Spooled {
    file: Arc<SpoolFile>,
    at: u64,
    length: usize,
    check: Check,
}

/// By what a slice is known to be what was written.
enum Check {
    Checksum(u32),
    Sealed(Arc<PassingKey>, PassingSeal),
}

struct SpoolFile {
    file: File,
    path: PathBuf,
    number: u64,
}

impl SpoolFile {
    /// What a slice at this offset is bound to.
    fn place(&self, at: u64) -> [u8; 16] {
        let mut place = [0; 16];
        place[..8].copy_from_slice(&self.number.to_be_bytes());
        place[8..].copy_from_slice(&at.to_be_bytes());
        place
    }
}

impl Spool {
    /// Removes what a kill left there; by the process that holds the data folder.
    pub(super) fn begin(data_dir: &Path) -> Arc<Self> {
        let folder = data_dir.join(FOLDER);
        if let Err(error) = folder::remove_all(&folder) {
            tracing::warn!(%error, "slices of an earlier start stay on the disk");
        }
        let (files, reserved, unlooked) =
            (AtomicU64::new(0), AtomicU64::new(RESERVED_BYTES), AtomicU64::new(0));
        let key = OnceLock::new();
        Arc::new(Self { data_dir: data_dir.to_owned(), folder, files, reserved, unlooked, key })
    }

    /// Slices are encrypted from now on.
    pub(super) fn seal(&self) -> Result<(), StoreError> {
        if self.key.get().is_none() {
            let key = PassingKey::new().map_err(|error| failed("encrypted", &self.folder, sealing(error)))?;
            self.key.set(key).ok(); // somebody else did
        }
        Ok(())
    }

    /// Whether the disk has room for so many bytes besides what is left to the rows. Looked at now and then, and at each call while there is
    /// none; a disk that does not tell is asked by writing.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let unlooked = self.unlooked.load(Ordering::Relaxed);
        if unlooked >= bytes {
            self.unlooked.store(unlooked - bytes, Ordering::Relaxed);
            return true;
        }
        let reserved = self.reserved.load(Ordering::Relaxed);
        let has_room = match durable_fs::space_at(&self.data_dir) {
            Ok(room) if room.total > 0 => {
                room.free.saturating_sub(reserved) >= bytes.saturating_add(UNLOOKED_BYTES)
            }
            _ => true,
        };
        self.unlooked.store(if has_room { UNLOOKED_BYTES } else { 0 }, Ordering::Relaxed);
        has_room
    }

    /// For a job of which at most `bytes_max` are stored at once.
    pub(super) fn writer(self: &Arc<Self>, bytes_max: u64) -> Writer {
        let file_bytes_max = (bytes_max / FILES_WANTED).clamp(FILE_BYTES_MIN, FILE_BYTES_MAX);
        Writer { spool: Arc::clone(self), file_bytes_max, file: None, end: 0 }
    }

    /// As if so many bytes had to be left on the disk.
    #[cfg(test)]
    pub(super) fn reserve(&self, bytes: u64) {
        self.reserved.store(bytes, Ordering::Relaxed);
        self.unlooked.store(0, Ordering::Relaxed);
    }

    fn create(&self) -> Result<Arc<SpoolFile>, StoreError> {
        folder::make_passing(&self.folder).map_err(|error| failed("made", &self.folder, error))?;
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let path = self.folder.join(name);
        match durable_fs::create_private(&path) {
            Ok(file) => Ok(Arc::new(SpoolFile { file, path, number })),
            Err(FsError { source, .. }) => Err(failed("made", &path, source)),
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Each writer holds us, and each slice has gone with its queue: it is empty.
        std::fs::remove_dir(&self.folder).ok();
    }
}

impl Writer {
    /// Stores a slice's bytes, as they were packed.
    pub(super) fn put(&mut self, packed: &[u8]) -> Result<Spooled, StoreError> {
        let file = match &self.file {
            // Only ours: no slice is left in it, and only we could put one there.
            Some(file) if Arc::strong_count(file) == 1 => {
                self.end = 0;
                Arc::clone(file)
            }
            Some(file) if self.end < self.file_bytes_max => Arc::clone(file),
            _ => {
                self.end = 0;
                Arc::clone(self.file.insert(self.spool.create()?))
            }
        };
        let at = self.end;
        let (stored, check) = match self.spool.key.get() {
            None => {
                let stored = value::seal(&[packed]);
                let checksum = crc32fast::hash(&stored);
                (stored, Check::Checksum(checksum))
            }
            Some(key) => {
                let mut stored = value::seal_to_change(&[packed]);
                let seal = key.seal(&file.place(at), &mut stored);
                let seal = seal.map_err(|error| failed("encrypted", &file.path, sealing(error)))?;
                (stored.into(), Check::Sealed(Arc::clone(key), seal))
            }
        };
        let written = durable_fs::write_at(&file.file, at, &stored);
        written.map_err(|error| failed("written", &file.path, error))?;
        self.end += stored.len() as u64;
        Ok(Spooled { file, at, length: stored.len(), check })
    }
}

impl Spooled {
    pub(super) fn bytes(&self) -> u64 {
        self.length as u64
    }

    /// The slice's bytes, read by `unpack`.
    pub(super) fn read<T>(
        &self,
        unpack: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut stored = vec![0; self.length];
        let read = durable_fs::read_at(&self.file.file, self.at, &mut stored);
        read.map_err(|error| failed("read", &self.file.path, error))?;
        let is_whole = match &self.check {
            Check::Checksum(checksum) => crc32fast::hash(&stored) == *checksum,
            Check::Sealed(key, seal) => key.open(&self.file.place(self.at), seal, &mut stored).is_ok(),
        };
        if !is_whole {
            let changed = io::Error::new(io::ErrorKind::InvalidData, "they are not what was written");
            return Err(failed("read", &self.file.path, changed));
        }
        unpack(value::unseal("slice", &stored)?)
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if let Err(error) = durable_fs::remove_file(&self.path) {
            tracing::warn!(%error, "slices that are through stay on the disk until the next start");
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn sealing(error: Unopened) -> io::Error {
    io::Error::other(error.to_string())
}

fn failed(action: &'static str, path: &Path, error: io::Error) -> StoreError {
    StoreError::Slices { action, path: path.to_owned(), source: error.into() }
}
