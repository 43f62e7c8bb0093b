//! zip: by the central directory, from a source that can be read from anywhere.
//!
//! Members come in the directory's order. Folders are passed over; links and other special members are listed with what they are. An
//! encrypted member or an unknown method is refused when the rule takes that member.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::compress::decompressed;
use super::context::{Bytes, Context, Metered, ReadSeek};
use super::error::{DecodeError, in_layer, unwrap};
use super::layers::Position;
use super::members::{Member, NameKey, key_of};
use super::peek::{BUFFER_BYTES, PeekReader};
use super::zip_deflated::{Checked, inflated};
use super::zip_end::{Repaired, directory};
use super::zip_memory;
use crate::allowance::Permit;
use crate::model::rule::Layer;

type Archive = ZipArchive<BufReader<Repaired>>;

pub(super) struct ZipLayer {
    archive: Archive,
    /// Of its directory.
    start: u64,
    next: usize,
    /// The crate has one member for a name that the directory has several times.
    again: HashMap<NameKey, u64>,
    /// The place of the archive itself.
    pub position: Position,
    /// For its directory.
    _memory: Permit,
}

/// A member that is no folder.
pub(super) struct ZipItem {
    pub index: usize,
    pub member: Member,
    /// What it is if it is no file.
    pub special: Option<&'static str>,
}

impl ZipLayer {
    pub(super) fn open(
        mut input: Box<dyn ReadSeek>,
        position: Position,
        context: &Context,
    ) -> Result<Self, DecodeError> {
        let place = context.place(&position.member);
        // Before the crate reads it into memory.
        let directory = directory(&mut input, context.decode.entries_max, &place)
            .map_err(|error| explain_io(error, &place, 0))?;
        let memory = context.take_memory("the members of its directory", directory.memory(), &place)?;
        let input = BufReader::with_capacity(BUFFER_BYTES, directory.repaired(input));
        let archive = ZipArchive::new(input).map_err(|error| explain(error, &place, directory.start))?;
        Ok(Self {
            archive,
            start: directory.start,
            next: 0,
            again: directory.again,
            position,
            _memory: memory,
        })
    }

    pub(super) fn next_member(&mut self, context: &Context) -> Result<Option<ZipItem>, DecodeError> {
        while self.next < self.archive.len() {
            let index = self.next;
            let place = context.place(&self.position.member);
            let entry =
                self.archive.by_index_data(index).map_err(|error| explain(error, &place, self.start))?;
            // Told as often as it is there.
            match self.again.get_mut(&key_of(entry.name_raw())) {
                Some(more) if *more > 0 => *more -= 1,
                _ => self.next += 1,
            }
            let special = special(entry.unix_mode(), entry.size());
            let special = special.or((entry.is_dir() && entry.size() > 0).then_some("folder with content"));
            if entry.is_dir() && special.is_none() {
                continue;
            }
            let name = match entry.name() {
                Ok(name) => name.into_owned().into_bytes(),
                Err(_) => entry.name_raw().to_vec(),
            };
            let member = Member::within(&self.position.member, &name);
            return Ok(Some(ZipItem { index, member, special }));
        }
        Ok(None)
    }

    /// Opens a member for reading; it can be opened again.
    pub(super) fn open_file(
        &mut self,
        index: usize,
        member: &Member,
        context: &Arc<Context>,
    ) -> Result<Bytes<'_>, DecodeError> {
        let place = context.place(&member.shown);
        let entry = self.archive.by_index_data(index).map_err(|error| explain(error, &place, self.start))?;
        if entry.encrypted() {
            let detail = "it is encrypted with a zip password, which is not supported".to_owned();
            return Err(DecodeError::Entry { place, detail });
        }
        let (method, size, crc) = (entry.compression(), entry.size(), entry.crc32());
        let at = entry.header_start();
        let place: Arc<str> = place.into();
        let memory = self.take_memory(index, method, context, &place, at)?;
        let stored_at = Arc::new(AtomicU64::new(at));
        let inner: Bytes<'_> = if let Some(layer) = layer_of(method) {
            let raw = self.archive.by_index_raw(index).map_err(|error| explain(error, &place, at))?;
            let raw = PeekReader::new(Box::new(raw) as Bytes<'_>);
            Box::new(Checked::new(decompressed(layer, raw, context, &place), crc))
        } else if method == CompressionMethod::Deflated {
            let raw = self.archive.by_index_raw(index).map_err(|error| explain(error, &place, at))?;
            stored_at.store(raw.data_start().unwrap_or(at), Relaxed);
            Box::new(inflated(raw, crc, Arc::clone(&stored_at)))
        } else {
            let member = self.archive.by_index(index).map_err(|error| explain(error, &place, at))?;
            stored_at.store(member.data_start().unwrap_or(at), Relaxed);
            Box::new(member)
        };
        let inner = ZipMember { inner, size, read: 0, stored_at, place: Arc::clone(&place), _memory: memory };
        Ok(Box::new(Metered { inner, context: Arc::clone(context), depth: self.position.depth, place }))
    }
}

impl ZipLayer {
    /// Memory that only the member's first bytes tell of.
    fn take_memory(
        &mut self,
        index: usize,
        method: CompressionMethod,
        context: &Context,
        place: &str,
        at: u64,
    ) -> Result<Option<Permit>, DecodeError> {
        if !zip_memory::is_named_by(method) {
            return Ok(None);
        }
        let raw = self.archive.by_index_raw(index).map_err(|error| explain(error, place, at))?;
        let mut head = Vec::new();
        raw.take(zip_memory::HEAD_BYTES)
            .read_to_end(&mut head)
            .map_err(|error| explain_io(error, place, at))?;
        context.take_memory("the dictionary of its data", zip_memory::asked(method, &head), place).map(Some)
    }
}

/// Methods whose data is a layer like any other.
fn layer_of(method: CompressionMethod) -> Option<Layer> {
    match method {
        CompressionMethod::Zstd => Some(Layer::Zstd),
        CompressionMethod::Bzip2 => Some(Layer::Bzip2),
        CompressionMethod::Xz => Some(Layer::Xz),
        _ => None,
    }
}

/// One member: its checksum is verified below, its size here.
struct ZipMember<R> {
    inner: R,
    size: u64,
    read: u64,
    /// How far into the archive it was taken; where it begins, if its reader does not tell.
    stored_at: Arc<AtomicU64>,
    place: Arc<str>,
    /// What its decoder holds.
    _memory: Option<Permit>,
}

impl<R: Read> Read for ZipMember<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let explained = |error| explain_io(error, &self.place, self.stored_at.load(Relaxed));
        let n = self.inner.read(buf).map_err(explained)?;
        self.read = self.read.saturating_add(n as u64);
        if self.read > self.size || (n == 0 && !buf.is_empty() && self.read < self.size) {
            let detail = format!("the directory says {} bytes, the member has {}", self.size, self.read);
            return Err(DecodeError::Entry { place: self.place.to_string(), detail }.into());
        }
        Ok(n)
    }
}

/// What a member is that is neither file nor folder, by its type in the mode that Unix writers store. A FIFO is a file: so zip(1) stores
/// what it reads from a pipe.
fn special(mode: Option<u32>, size: u64) -> Option<&'static str> {
    match (mode? & 0o170_000, size) {
        (0o120_000, _) => Some("symbolic link"),
        (0o020_000, 0) => Some("character device"),
        (0o060_000, 0) => Some("block device"),
        (0o140_000, 0) => Some("socket"),
        _ => None,
    }
}

fn explain_io(error: io::Error, place: &str, offset: u64) -> DecodeError {
    let error = match unwrap(error) {
        Ok(inner) => return inner,
        Err(error) => error,
    };
    match error.downcast::<ZipError>() {
        Ok(inner) => explain(inner, place, offset),
        Err(error) => in_layer(error, place, "zip", offset),
    }
}

fn explain(error: ZipError, place: &str, offset: u64) -> DecodeError {
    let detail = match error {
        ZipError::Io(error) => return explain_io(error, place, offset),
        ZipError::CompressionMethodNotSupported(method) => {
            format!("it is compressed with method {method}, which is not supported")
        }
        ZipError::UnsupportedArchive(what) => format!("it is not supported: {what}"),
        other => return in_layer(io::Error::other(other), place, "zip", offset),
    };
    DecodeError::Entry { place: place.to_owned(), detail }
}
