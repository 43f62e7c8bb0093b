//! What all readers of one source share: its rule, its counters and its limits.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::error::{DecodeError, unwrap};
use super::hash::ContentHasher;
use super::request::{DecodeRequest, Progress};
use crate::allowance::{Allowance, Permit, Refusal};
use crate::at_rest::KeyRing;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Decode, OnBadEncoding};

/// Ratios mean little for small files.
const RATIO_FREE_BYTES: u64 = 16 << 20;

pub(super) type Bytes<'a> = Box<dyn Read + Send + 'a>;

/// A source of bytes that can be read from anywhere.
pub(super) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// The position that a seek asks for, in so many bytes.
pub(super) fn sought(to: SeekFrom, position: u64, length: u64) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(offset) => Some(offset),
        SeekFrom::End(offset) => length.checked_add_signed(offset),
        SeekFrom::Current(offset) => position.checked_add_signed(offset),
    };
    target.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

pub(super) struct Context {
    pub path: PathBuf,
    pub decode: Decode,
    pub identities: Vec<PathBuf>,
    pub passphrase_file: Option<PathBuf>,
    pub signers: Vec<PathBuf>,
    /// Those of the data folder, for what lies there.
    pub own_keys: Option<Arc<KeyRing>>,
    pub spool_dir: PathBuf,
    pub progress: Arc<Progress>,
    pub allowance: Arc<Allowance>,
    /// Records are cut from bytes: nothing is decoded and no BOM looked for.
    pub binary: bool,
    /// NUL bytes end records: then they are no sign of something else than text.
    pub nul_separates: bool,
    /// Bytes that came out at each depth.
    expanded: Vec<AtomicU64>,
    members: AtomicU64,
    pub replaced: AtomicU64,
    pub entry_open: AtomicBool,
    pub hasher: Mutex<ContentHasher>,
}

impl Context {
    pub(super) fn new(request: &DecodeRequest<'_>, own_keys: Option<Arc<KeyRing>>) -> Arc<Self> {
        let layers = request.decode.layers.len().max(request.decode.depth_max as usize).min(64);
        Arc::new(Self {
            path: request.shown_path.to_owned(),
            decode: request.decode.clone(),
            identities: request.identities.to_vec(),
            passphrase_file: request.passphrase_file.map(ToOwned::to_owned),
            signers: request.signers.to_vec(),
            own_keys,
            spool_dir: request.spool_dir.to_owned(),
            progress: Arc::clone(&request.progress),
            allowance: Arc::clone(&request.allowance),
            binary: request.records.record_length().is_some(),
            nul_separates: request.records.separator.as_ref().is_some_and(|text| text.contains('\0')),
            expanded: (0..=layers).map(|_| AtomicU64::new(0)).collect(),
            members: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            entry_open: AtomicBool::new(false),
            hasher: Mutex::new(ContentHasher::default()),
        })
    }

    /// For reading the same source once more from its start, beside this reading: with counters and limits of its own.
    pub(super) fn for_another_reading(&self) -> Arc<Self> {
        Arc::new(Self {
            path: self.path.clone(),
            decode: self.decode.clone(),
            identities: self.identities.clone(),
            passphrase_file: self.passphrase_file.clone(),
            signers: self.signers.clone(),
            own_keys: self.own_keys.clone(),
            spool_dir: self.spool_dir.clone(),
            progress: Arc::default(),
            allowance: Arc::clone(&self.allowance),
            binary: self.binary,
            nul_separates: self.nul_separates,
            expanded: self.expanded.iter().map(|_| AtomicU64::new(0)).collect(),
            members: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            entry_open: AtomicBool::new(false),
            hasher: Mutex::default(),
        })
    }

    /// The source, escaped, and the member within it.
    pub(super) fn place(&self, member: &str) -> String {
        let path = escaped_path(&self.path);
        if member.is_empty() { path } else { format!("{path} (member {member})") }
    }

    /// What an error of a reader is: one of decoding that went through it, or of the source's file.
    pub(super) fn to_decode(&self, error: io::Error) -> DecodeError {
        unwrap(error).unwrap_or_else(|source| DecodeError::Read { path: self.path.clone(), source })
    }

    pub(super) fn raw(&self) -> bool {
        self.decode.on_bad_encoding == OnBadEncoding::Raw
    }

    pub(super) fn count_member(&self, place: &str) -> Result<(), DecodeError> {
        let limit = self.decode.entries_max;
        if self.members.fetch_add(1, Relaxed) >= limit {
            return Err(DecodeError::TooManyEntries { place: place.to_owned(), limit });
        }
        Ok(())
    }

    pub(super) fn members(&self) -> u64 {
        self.members.load(Relaxed)
    }

    /// Memory for unpacking, before it is allocated.
    pub(super) fn take_memory(
        &self,
        what: &'static str,
        bytes: u64,
        place: &str,
    ) -> Result<Permit, DecodeError> {
        self.allowance.take(what, bytes).map_err(|refusal| refused(place, refusal))
    }

    pub(super) fn depth_limit(&self) -> u32 {
        // Layers spelled out are expected, whatever the limit for recognised ones.
        self.decode.depth_max.max(self.decode.layers.len() as u32)
    }

    /// Counts bytes that came out at a depth, and holds the limits.
    pub(super) fn count_expanded(&self, depth: u32, bytes: u64, place: &str) -> Result<(), DecodeError> {
        self.allowance.step().map_err(|refusal| refused(place, refusal))?;
        let index = (depth as usize).min(self.expanded.len().saturating_sub(1));
        let Some(counter) = self.expanded.get(index) else { return Ok(()) };
        let total = counter.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if total > self.decode.expanded_max {
            return Err(DecodeError::TooLarge { place: place.to_owned(), limit: self.decode.expanded_max });
        }
        let stored = self.progress.bytes_read.load(Relaxed).max(1);
        if total > RATIO_FREE_BYTES && total / stored > self.decode.ratio_max {
            return Err(DecodeError::RatioTooHigh { place: place.to_owned(), limit: self.decode.ratio_max });
        }
        Ok(())
    }
}

pub(super) fn refused(place: &str, refusal: Refusal) -> DecodeError {
    DecodeError::NotAllowed { place: place.to_owned(), refusal }
}

/// Counts what comes out of an expanding layer.
pub(super) struct Metered<R> {
    pub inner: R,
    pub context: Arc<Context>,
    pub depth: u32,
    pub place: Arc<str>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.context.count_expanded(self.depth, n as u64, &self.place)?;
        Ok(n)
    }
}

/// The source's file: counts what is read, and says whose error it is.
pub(super) struct SourceFile {
    pub file: std::fs::File,
    /// Its size when it was opened.
    pub length: u64,
    /// Bytes read so far, some of them twice.
    pub read: u64,
    pub context: Arc<Context>,
}

impl SourceFile {
    fn explain(&self, source: io::Error) -> io::Error {
        DecodeError::Read { path: self.context.path.clone(), source }.into()
    }
}

impl Read for SourceFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.context.allowance.step().map_err(|refusal| refused(&self.context.place(""), refusal))?;
        loop {
            match self.file.read(buf) {
                Ok(n) => {
                    self.read = self.read.saturating_add(n as u64);
                    // Looking ahead and seeking read some bytes twice: never tell more than there are.
                    self.context.progress.bytes_read.store(self.read.min(self.length), Relaxed);
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.explain(error)),
            }
        }
    }
}

impl Seek for SourceFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to).map_err(|error| self.explain(error))
    }
}
