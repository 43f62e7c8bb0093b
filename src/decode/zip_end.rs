//! A zip's end record and its directory, which is the truth: the record tells the number of members modulo 65,536 where an old writer
//! had more, or one too few. The directory is read until it ends where the record stands, and the `zip` crate, which believes the record,
//! is given one that is right.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::context::{ReadSeek, sought};
use super::error::DecodeError;
use super::members::{NAME_BYTES_MAX, NameKey, key_of};
use super::sniff::{SNIFF_BYTES, blank_lead};

const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: u64 = u16::MAX as u64;
const HEADER_BYTES: usize = 46;
const BLOCK: u64 = 64 << 10;

/// Where a zip's directory lies, and what it holds.
pub(super) struct Directory {
    /// Names that it has several times, and how often more than once.
    pub again: HashMap<NameKey, u64>,
    /// The offset of the directory as the archive counts it: less what stands before the archive.
    told_offset: u64,
    pub start: u64,
    end: u64,
    members: u64,
}

struct End {
    /// Where it stands, or the one of zip64 before it.
    at: u64,
    size: u64,
    offset: u64,
}

/// Reads the directory. What it refuses is told with `place`.
pub(super) fn directory(
    input: &mut Box<dyn ReadSeek>,
    members_max: u64,
    place: &str,
) -> io::Result<Directory> {
    let end = find_end(input, place)?;
    let start = directory_start(input, &end)?;
    let mut directory =
        Directory { again: HashMap::new(), told_offset: end.offset, start, end: end.at, members: 0 };
    if start < end.offset {
        return Err(corrupt(place, start, "its beginning is missing"));
    }
    input.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::with_capacity(BLOCK as usize, input);
    let mut names = HashSet::new();
    let mut at = start;
    while at < end.at {
        let mut header = [0; HEADER_BYTES];
        let left = end.at - at;
        if left < header.len() as u64 {
            return is_signature(&mut reader, left, place, at).map(|()| directory);
        }
        reader.read_exact(&mut header)?;
        if header.starts_with(b"PK\x05\x05") {
            return Ok(directory);
        }
        if !header.starts_with(b"PK\x01\x02") {
            return Err(corrupt(place, at, "its directory does not end where the end record says"));
        }
        let [name, extra, comment] = [28, 30, 32].map(|field| u64::from(u16_at(&header, field)));
        if header.len() as u64 + name + extra + comment > left {
            return Err(corrupt(place, at, "its directory runs over its end"));
        }
        if name > NAME_BYTES_MAX as u64 {
            return Err(corrupt(place, at, "a member's name is too long"));
        }
        directory.members += 1;
        if directory.members > members_max {
            let error = DecodeError::TooManyEntries { place: place.to_owned(), limit: members_max };
            return Err(error.into());
        }
        let mut bytes = vec![0; name as usize];
        reader.read_exact(&mut bytes)?;
        let key = key_of(&bytes);
        if !names.insert(key) {
            *directory.again.entry(key).or_default() += 1;
        }
        reader.seek_relative((extra + comment).cast_signed())?;
        at += header.len() as u64 + name + extra + comment;
    }
    Ok(directory)
}

/// A digital signature may stand between the directory and its end record.
fn is_signature(reader: &mut impl Read, bytes: u64, place: &str, at: u64) -> io::Result<()> {
    let mut rest = Vec::new();
    reader.take(bytes).read_to_end(&mut rest)?;
    if rest.starts_with(b"PK\x05\x05") {
        return Ok(());
    }
    Err(corrupt(place, at, "its directory does not end where the end record says"))
}

fn directory_start(input: &mut Box<dyn ReadSeek>, end: &End) -> io::Result<u64> {
    if end.size == 0 {
        return Ok(end.at);
    }
    // By its size, since something may stand before the archive; by its offset where the size is wrong.
    for start in [end.at.checked_sub(end.size), Some(end.offset)].into_iter().flatten() {
        let mut magic = [0; 4];
        input.seek(SeekFrom::Start(start))?;
        if start >= end.at {
            continue;
        }
        match input.read_exact(&mut magic) {
            Ok(()) if &magic == b"PK\x01\x02" => return Ok(start),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(end.at.saturating_sub(end.size))
}

/// Refuses what ends as a zip does and begins otherwise: the last part of a split one, or one behind a program that extracts it. The
/// input stands at its beginning again.
pub(super) fn refuse_hidden(
    input: &mut (impl Read + Seek),
    length: u64,
    is_named_zip: bool,
    place: &str,
) -> io::Result<()> {
    let judged = judge_end(input, length, is_named_zip, place);
    input.seek(SeekFrom::Start(0))?;
    judged
}

fn judge_end(input: &mut (impl Read + Seek), length: u64, is_named_zip: bool, place: &str) -> io::Result<()> {
    let Some(at) = length.checked_sub(END_BYTES as u64) else { return Ok(()) };
    let mut end = [0; END_BYTES];
    input.seek(SeekFrom::Start(at))?;
    input.read_exact(&mut end)?;
    if !end.starts_with(b"PK\x05\x06") {
        return Ok(());
    }
    if is_named_zip {
        refuse_part(&end, place)?;
    }
    // The directory stands right before it, whatever was put in front of the archive.
    let size = u64::from(u32_at(&end, 12));
    let Some(directory) = at.checked_sub(size).filter(|_| size > 0) else { return Ok(()) };
    let mut magic = [0; 4];
    input.seek(SeekFrom::Start(directory))?;
    input.read_exact(&mut magic)?;
    let mut head = Vec::new();
    input.seek(SeekFrom::Start(0))?;
    input.take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
    // One behind blanks has an error of its own.
    let behind_blanks = head.get(blank_lead(&head)..).unwrap_or_default();
    if &magic != b"PK\x01\x02" || behind_blanks.is_empty() || behind_blanks.starts_with(b"PK") {
        return Ok(());
    }
    refuse_part(&end, place)?;
    Err(DecodeError::Refused { place: place.to_owned(), what: "a self-extracting zip" }.into())
}

fn refuse_part(end: &[u8], place: &str) -> io::Result<()> {
    let disk = u16_at(end, 4);
    if disk == 0 || disk == u16::MAX {
        return Ok(());
    }
    Err(DecodeError::Refused { place: place.to_owned(), what: "a part of a split zip" }.into())
}

/// Finds the end record. Behind it, and its comment, only zeros may follow.
fn find_end(input: &mut Box<dyn ReadSeek>, place: &str) -> io::Result<End> {
    let length = input.seek(SeekFrom::End(0))?;
    let content_end = end_of_content(input, length)?;
    let tail_start = content_end.saturating_sub(END_BYTES as u64 + COMMENT_BYTES_MAX);
    let tail_end = length.min(content_end + END_BYTES as u64 + COMMENT_BYTES_MAX);
    input.seek(SeekFrom::Start(tail_start))?;
    let mut tail = vec![0; (tail_end - tail_start) as usize];
    input.read_exact(&mut tail)?;
    let mut behind = None;
    for at in memchr::memmem::rfind_iter(&tail, b"PK\x05\x06") {
        let Some(end) = tail.get(at..at + END_BYTES) else { continue };
        let told_end = tail_start + (at + END_BYTES) as u64 + u64::from(u16_at(end, 20));
        if told_end > length {
            continue;
        }
        if told_end < content_end {
            behind = behind.or(Some(told_end));
            continue;
        }
        refuse_part(end, place)?;
        let end_at = tail_start + at as u64;
        if let Some(end) = zip64_end(input, end_at)? {
            return Ok(end);
        }
        let [size, offset] = [12, 16].map(|field| u64::from(u32_at(end, field)));
        return Ok(End { at: end_at, size, offset });
    }
    let (place, layer) = (place.to_owned(), "zip");
    Err(match behind {
        Some(offset) => DecodeError::Garbage { place, layer, offset }.into(),
        None => DecodeError::EndedEarly { place, layer, offset: length }.into(),
    })
}

/// Where the last byte is that is not zero; tapes and block devices fill up with zeros.
fn end_of_content(input: &mut Box<dyn ReadSeek>, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.resize((end - start) as usize, 0);
        input.seek(SeekFrom::Start(start))?;
        input.read_exact(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The end record of zip64, whose locator stands before the ordinary one.
fn zip64_end(input: &mut Box<dyn ReadSeek>, end_at: u64) -> io::Result<Option<End>> {
    let Some(locator_at) = end_at.checked_sub(20) else { return Ok(None) };
    let mut locator = [0; 20];
    input.seek(SeekFrom::Start(locator_at))?;
    input.read_exact(&mut locator)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    // Where the locator says, or right before it if something stands before the archive.
    for at in [Some(u64_at(&locator, 8)), locator_at.checked_sub(56)].into_iter().flatten() {
        let mut record = [0; 56];
        if at.checked_add(56).is_none_or(|record_end| record_end > locator_at) {
            continue;
        }
        input.seek(SeekFrom::Start(at))?;
        input.read_exact(&mut record)?;
        if record.starts_with(b"PK\x06\x06") {
            return Ok(Some(End { at, size: u64_at(&record, 40), offset: u64_at(&record, 48) }));
        }
    }
    Ok(None)
}

fn corrupt(place: &str, offset: u64, detail: &str) -> io::Error {
    DecodeError::Corrupt { place: place.to_owned(), layer: "zip", offset, detail: detail.to_owned() }.into()
}

impl Directory {
    /// What the crate needs for it: names twice, and what else it knows of a member.
    pub(super) fn memory(&self) -> u64 {
        2 * (self.end - self.start) + 512 * self.members
    }

    /// The archive up to the end of its directory, and an end record that is right.
    pub(super) fn repaired(&self, input: Box<dyn ReadSeek>) -> Repaired {
        Repaired { inner: input, length: self.end, tail: self.end_record(), position: 0 }
    }

    fn end_record(&self) -> Vec<u8> {
        let size = self.end - self.start;
        let mut tail = Vec::new();
        let small = |value: u64, bytes: usize| {
            let all = u64::MAX >> (64 - 8 * bytes);
            value.min(all).to_le_bytes()[..bytes].to_vec()
        };
        let needs_zip64 = self.members >= 0xffff || size.max(self.told_offset) >= 0xffff_ffff;
        if needs_zip64 {
            tail.extend_from_slice(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
            for value in [self.members, self.members, size, self.told_offset] {
                tail.extend_from_slice(&value.to_le_bytes());
            }
            tail.extend_from_slice(b"PK\x06\x07\0\0\0\0");
            // As the archive counts, like every offset in it.
            tail.extend_from_slice(&(self.told_offset + size).to_le_bytes());
            tail.extend_from_slice(&1_u32.to_le_bytes());
        }
        tail.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        for (value, bytes) in [(self.members, 2), (self.members, 2), (size, 4), (self.told_offset, 4)] {
            tail.extend_from_slice(&small(value, bytes));
        }
        tail.extend_from_slice(&[0, 0]);
        tail
    }
}

/// The beginning of one reader, and some bytes behind it.
pub(super) struct Repaired {
    inner: Box<dyn ReadSeek>,
    length: u64,
    tail: Vec<u8>,
    position: u64,
}

impl Read for Repaired {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = if self.position < self.length {
            let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
            let wanted = buf.len().min(left);
            self.inner.read(&mut buf[..wanted])?
        } else {
            let at = usize::try_from(self.position - self.length).unwrap_or(usize::MAX);
            let mut rest = self.tail.get(at..).unwrap_or_default();
            rest.read(buf)?
        };
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Repaired {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let all = self.length + self.tail.len() as u64;
        let target = sought(to, self.position, all)?;
        if target < self.length {
            self.inner.seek(SeekFrom::Start(target))?;
        }
        self.position = target;
        Ok(target)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_le_bytes(*b))
}
