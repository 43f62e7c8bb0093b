//! What a layer takes from the one below: counted, and its end noted.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What was taken.
pub(super) struct Taken {
    bytes: AtomicU64,
    is_at_end: AtomicBool,
    bytes_max: AtomicU64,
}

impl Default for Taken {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            is_at_end: AtomicBool::new(false),
            bytes_max: AtomicU64::new(u64::MAX),
        }
    }
}

impl Taken {
    /// Where a header may have so many bytes, give or take a buffer.
    pub(super) fn within(bytes_max: u64) -> Self {
        Self { bytes_max: bytes_max.into(), ..Self::default() }
    }

    pub(super) fn has_header(&self) {
        self.bytes_max.store(u64::MAX, Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Whether the layer below ended.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end.load(Relaxed)
    }
}

/// Reads through.
pub(super) struct Tap<R> {
    inner: R,
    taken: Arc<Taken>,
}

impl<R> Tap<R> {
    pub(super) fn new(inner: R, taken: &Arc<Taken>) -> Self {
        Self { inner, taken: Arc::clone(taken) }
    }
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        let before = self.taken.bytes.fetch_add(n as u64, Relaxed);
        if n == 0 && !buf.is_empty() {
            self.taken.is_at_end.store(true, Relaxed);
        }
        if before > self.taken.bytes_max.load(Relaxed) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its header is too long"));
        }
        Ok(n)
    }
}

impl<R: Seek> Seek for Tap<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
