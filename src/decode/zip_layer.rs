//! zip: by the central directory, from a source that can be read from anywhere.
//!
//! Members come in the directory's order. Folders and links are no files and are passed over. An encrypted member or an unknown
//! method is refused when the rule takes that member.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::DecodeError;
use super::compress::DECODER_MEMORY_BYTES_MAX;
use super::context::{Bytes, Context, Metered, ReadSeek};
use super::error::unwrap;
use super::layers::Position;
use super::members::Member;
use super::peek::BUFFER_BYTES;
use super::zip_deflated::Deflated;
use super::zip_memory;

const END_BYTES: u64 = 22;
const COMMENT_BYTES_MAX: u64 = u16::MAX as u64;
const MANY: u64 = u16::MAX as u64;

type Archive = ZipArchive<BufReader<Box<dyn ReadSeek>>>;

/// An open zip.
pub(super) struct ZipLayer {
    archive: Archive,
    next: usize,
    /// The place of the archive itself.
    pub position: Position,
}

impl ZipLayer {
    pub fn open(
        mut input: Box<dyn ReadSeek>,
        position: Position,
        context: &Context,
    ) -> Result<Self, DecodeError> {
        let place = context.place(&position.member);
        let members = check_end(&mut input, &place).map_err(|error| explain_io(error, &place, 0))?;
        // Before the directory is read into memory.
        let limit = context.decode.entries_max;
        if members > limit {
            return Err(DecodeError::TooManyEntries { place, limit });
        }
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        let archive = ZipArchive::new(input).map_err(|error| explain(error, &place))?;
        if archive.has_duplicate_names() || archive.len() as u64 != members {
            let detail = "several members have one name, or the directory contradicts itself".to_owned();
            return Err(DecodeError::Entry { place, detail });
        }
        Ok(Self { archive, next: 0, position })
    }

    /// The next file in the directory.
    pub fn next_file(&mut self, context: &Context) -> Result<Option<(usize, Member)>, DecodeError> {
        while self.next < self.archive.len() {
            let index = self.next;
            self.next += 1;
            let place = context.place(&self.position.member);
            let entry = self.archive.by_index_data(index).map_err(|error| explain(error, &place))?;
            if entry.is_dir() || entry.is_symlink() {
                continue;
            }
            let name = match entry.name() {
                Ok(name) => name.into_owned().into_bytes(),
                Err(_) => entry.name_raw().to_vec(),
            };
            return Ok(Some((index, Member::within(&self.position.member, &name))));
        }
        Ok(None)
    }

    /// Opens a member for reading; it can be opened again.
    pub fn open_file(
        &mut self,
        index: usize,
        member: &Member,
        context: &Arc<Context>,
    ) -> Result<Bytes<'_>, DecodeError> {
        let place = context.place(&member.shown);
        let entry = self.archive.by_index_data(index).map_err(|error| explain(error, &place))?;
        if entry.encrypted() {
            let detail = "it is encrypted with a zip password, which is not supported".to_owned();
            return Err(DecodeError::Entry { place, detail });
        }
        let (method, size, crc) = (entry.compression(), entry.size(), entry.crc32());
        if zip_memory::is_named_by(method) {
            self.check_memory(index, method, &place)?;
        }
        let inner: Bytes<'_> = if method == CompressionMethod::Deflated {
            let raw = self.archive.by_index_raw(index).map_err(|error| explain(error, &place))?;
            Box::new(Deflated::new(raw, crc))
        } else {
            Box::new(self.archive.by_index(index).map_err(|error| explain(error, &place))?)
        };
        let place: Arc<str> = place.into();
        let inner = ZipMember { inner, size, read: 0, place: Arc::clone(&place) };
        Ok(Box::new(Metered { inner, context: Arc::clone(context), depth: self.position.depth, place }))
    }
}

impl ZipLayer {
    fn check_memory(
        &mut self,
        index: usize,
        method: CompressionMethod,
        place: &str,
    ) -> Result<(), DecodeError> {
        let raw = self.archive.by_index_raw(index).map_err(|error| explain(error, place))?;
        let mut head = Vec::new();
        raw.take(zip_memory::HEAD_BYTES)
            .read_to_end(&mut head)
            .map_err(|error| explain_io(error, place, 0))?;
        let asked = zip_memory::asked(method, &head);
        if asked > DECODER_MEMORY_BYTES_MAX {
            let detail = format!(
                "unpacking it asks for {} MiB of memory, more than {}",
                asked >> 20,
                DECODER_MEMORY_BYTES_MAX >> 20
            );
            return Err(DecodeError::Entry { place: place.to_owned(), detail });
        }
        Ok(())
    }
}

/// One member: its checksum is verified below, its size here.
struct ZipMember<R> {
    inner: R,
    size: u64,
    read: u64,
    place: Arc<str>,
}

impl<R: Read> Read for ZipMember<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf).map_err(|error| explain_io(error, &self.place, self.read))?;
        self.read = self.read.saturating_add(n as u64);
        if self.read > self.size || (n == 0 && !buf.is_empty() && self.read < self.size) {
            let detail = format!("the directory says {} bytes, the member has {}", self.size, self.read);
            return Err(DecodeError::Entry { place: self.place.to_string(), detail }.into());
        }
        Ok(n)
    }
}

fn explain_io(error: io::Error, place: &str, offset: u64) -> DecodeError {
    let error = match unwrap(error) {
        Ok(inner) => return inner,
        Err(error) => error,
    };
    match error.downcast::<ZipError>() {
        Ok(inner) => explain(inner, place),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            DecodeError::EndedEarly { place: place.to_owned(), layer: "zip", offset }
        }
        Err(error) => {
            DecodeError::Corrupt { place: place.to_owned(), layer: "zip", offset, detail: error.to_string() }
        }
    }
}

fn explain(error: ZipError, place: &str) -> DecodeError {
    let detail = match error {
        ZipError::Io(error) => return explain_io(error, place, 0),
        ZipError::CompressionMethodNotSupported(method) => {
            format!("it is compressed with method {method}, which is not supported")
        }
        ZipError::UnsupportedArchive(what) => format!("it is not supported: {what}"),
        other => {
            return DecodeError::Corrupt {
                place: place.to_owned(),
                layer: "zip",
                offset: 0,
                detail: other.to_string(),
            };
        }
    };
    DecodeError::Entry { place: place.to_owned(), detail }
}

/// Finds the end of the central directory, which must be the end of the archive; returns the number of members it tells.
fn check_end(input: &mut Box<dyn ReadSeek>, place: &str) -> io::Result<u64> {
    let length = input.seek(SeekFrom::End(0))?;
    let tail_bytes = length.min(END_BYTES + COMMENT_BYTES_MAX);
    let tail_start = length - tail_bytes;
    input.seek(SeekFrom::Start(tail_start))?;
    let mut tail = vec![0; tail_bytes as usize];
    input.read_exact(&mut tail)?;
    let ended_early = || DecodeError::EndedEarly { place: place.to_owned(), layer: "zip", offset: length };
    let mut found_other = None;
    for at in memchr::memmem::rfind_iter(&tail, b"PK\x05\x06") {
        let Some(end) = tail.get(at..at + END_BYTES as usize) else { continue };
        let told_end = at + END_BYTES as usize + usize::from(u16_at(end, 20));
        if told_end == tail.len() {
            let members = u64::from(u16_at(end, 10));
            let directory_end = tail_start + at as u64;
            let members = if members == MANY {
                zip64_members(input, directory_end)?.unwrap_or(members)
            } else {
                members
            };
            input.seek(SeekFrom::Start(0))?;
            return Ok(members);
        }
        if told_end < tail.len() {
            found_other = found_other.or(Some(tail_start + told_end as u64));
        }
    }
    match found_other {
        Some(offset) => Err(DecodeError::Garbage { place: place.to_owned(), layer: "zip", offset }.into()),
        None => Err(ended_early().into()),
    }
}

/// The number of members in a zip64 end record, whose locator stands before the ordinary one.
fn zip64_members(input: &mut Box<dyn ReadSeek>, directory_end: u64) -> io::Result<Option<u64>> {
    let Some(locator_at) = directory_end.checked_sub(20) else { return Ok(None) };
    let mut locator = [0; 20];
    input.seek(SeekFrom::Start(locator_at))?;
    input.read_exact(&mut locator)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let mut record = [0; 56];
    input.seek(SeekFrom::Start(u64_at(&locator, 8)))?;
    input.read_exact(&mut record)?;
    Ok(record.starts_with(b"PK\x06\x06").then(|| u64_at(&record, 32)))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_le_bytes(*b))
}
