//! tar, as a stream.
//!
//! The `tar` crate's archive lends its entries, which cannot outlive a call here, refuses what GNU tar and bsdtar read (empty numbers,
//! values of pax with a line end) and hands out links as they stand, so blocks are followed by hand. Types that have no content have none,
//! whatever size their header tells, or they would swallow the members behind them. An archive without its end marker was cut.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use tar::Header;

use super::context::{Bytes, Context};
use super::error::{DecodeError, in_layer};
use super::layers::Position;
use super::members::{Member, NAME_BYTES_MAX};
use super::peek::PeekReader;
use super::tar_header::{Extensions, Kind, bad, checksum_is_right, is_header, number, padding_of};

const BLOCK: usize = 512;
/// tar writes so many bytes at a time unless it is told otherwise.
const RECORD: u64 = 20 * BLOCK as u64;
/// Long names and pax headers are read into memory.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

pub(super) struct TarLayer {
    blocks: Arc<Mutex<Blocks>>,
    /// The place of the archive itself.
    pub position: Position,
    /// Members met.
    pub met: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Its content follows.
    File,
    /// The name of an earlier member, whose content it has.
    HardLink(Vec<u8>),
    /// Neither file nor folder.
    Special(&'static str),
}

struct Blocks {
    input: PeekReader<Bytes<'static>>,
    place: String,
    offset: u64,
    /// Of the current member.
    left: u64,
    padding: u64,
}

pub(super) struct TarMember(Arc<Mutex<Blocks>>);

impl TarLayer {
    pub(super) fn open(input: PeekReader<Bytes<'static>>, position: Position, context: &Context) -> Self {
        let place = context.place(&position.member);
        let blocks = Blocks { input, place, offset: 0, left: 0, padding: 0 };
        Self { blocks: Arc::new(Mutex::new(blocks)), position, met: 0 }
    }

    /// The next member that is no folder; what is left of the one before is passed over.
    pub(super) fn next_member(&mut self) -> Result<Option<(Member, Item)>, DecodeError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let found = blocks.next_member().map_err(|error| blocks.explain(error))?;
        self.met += 1;
        Ok(found.map(|(path, item)| (Member::within(&self.position.member, &path), item)))
    }

    /// The content of the file that `next_member` told of.
    pub(super) fn open_file(&self) -> TarMember {
        TarMember(Arc::clone(&self.blocks))
    }
}

impl Read for TarMember {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.read_member(buf).map_err(|error| blocks.explain(error).into())
    }
}

impl Blocks {
    fn explain(&self, error: io::Error) -> DecodeError {
        in_layer(error, &self.place, "tar", self.offset)
    }

    fn next_member(&mut self) -> io::Result<Option<(Vec<u8>, Item)>> {
        let mut known = Extensions::default();
        loop {
            self.skip(self.left.saturating_add(self.padding))?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = known.kind(header.as_bytes());
            if matches!(kind, Kind::LongName | Kind::LongLink | Kind::Extended | Kind::Global) {
                let size = number(&header.as_bytes()[124..136]).ok_or_else(|| bad("a size is no number"))?;
                let data = self.extension(size)?;
                known.learn(kind, &data)?;
                continue;
            }
            if let Some(found) = self.member(&header, kind, &mut known)? {
                return Ok(Some(found));
            }
            known = Extensions::default();
        }
    }

    /// What the header begins, or none if that is no member.
    fn member(
        &mut self,
        header: &Header,
        kind: Kind,
        known: &mut Extensions,
    ) -> io::Result<Option<(Vec<u8>, Item)>> {
        let path = known.path(header);
        if path.len() > NAME_BYTES_MAX {
            return Err(bad("a member's name is too long"));
        }
        let has_content = match kind {
            Kind::Folder | Kind::Special(_) => false,
            Kind::HardLink => self.link_has_content(header)?,
            _ => true,
        };
        let size = if has_content { known.size(header)? } else { 0 };
        (self.left, self.padding) = (size, padding_of(size));
        let item = match kind {
            Kind::Unreadable(detail) => return Err(self.refuse(&path, detail)),
            Kind::Special(what) => Item::Special(what),
            Kind::HardLink if size == 0 => Item::HardLink(known.link(header)),
            // Before POSIX a folder was a file whose name ends in a slash.
            Kind::File if path.ends_with(b"/") && size > 0 => Item::Special("folder with content"),
            Kind::File if path.ends_with(b"/") => return Ok(None),
            Kind::File | Kind::HardLink => Item::File,
            _ => return Ok(None),
        };
        Ok(Some((path, item)))
    }

    /// Only POSIX of 2001 lets a hard link have its content with it; others tell its size and do not write it. Nothing in the archive says
    /// which it is, except what comes next (as bsdtar finds it out, too).
    fn link_has_content(&mut self, header: &Header) -> io::Result<bool> {
        if !header.as_bytes()[257..].starts_with(b"ustar\0") {
            return Ok(false);
        }
        let next = self.input.peek(BLOCK)?;
        let ends = next.iter().take(BLOCK).all(|byte| *byte == 0);
        Ok(!ends && !is_header(next))
    }

    fn refuse(&self, path: &[u8], detail: &str) -> io::Error {
        let name = Member::within("", path).shown;
        DecodeError::Entry { place: format!("{}: {name}", self.place), detail: detail.to_owned() }.into()
    }

    /// The next header, or none after the end marker, when nothing more follows.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        self.read_all(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.read_end()?;
            return Ok(None);
        }
        if !checksum_is_right(header.as_bytes()) {
            self.offset -= BLOCK as u64;
            return Err(bad("a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// After the first block of zeros: zeros. Some writers (Ant, Plexus, AIX) leave in the rest of the last record what they wrote before;
    /// tar(1) does not look at it. Another archive behind the first is not passed over.
    fn read_end(&mut self) -> io::Result<()> {
        let begun = self.offset;
        let wanted = (RECORD - begun % RECORD) % RECORD;
        let mut rest = Vec::new();
        self.input.by_ref().take(wanted).read_to_end(&mut rest)?;
        self.offset += rest.len() as u64;
        let left_over = rest.iter().position(|byte| *byte != 0);
        let end = self.read_zeros()?;
        if let Some(at) = left_over {
            let is_record = rest.len() as u64 == wanted && end.is_none();
            if !is_record || holds_archive(&rest) {
                return Err(self.garbage(begun + at as u64));
            }
        }
        end.map_or(Ok(()), |offset| Err(self.garbage(offset)))
    }

    /// Reads to the end, or tells where something else than zeros is.
    fn read_zeros(&mut self) -> io::Result<Option<u64>> {
        let mut block = [0; 16 * BLOCK];
        loop {
            let n = self.input.read(&mut block)?;
            if n == 0 {
                return Ok(None);
            }
            if let Some(at) = block[..n].iter().position(|byte| *byte != 0) {
                return Ok(Some(self.offset.saturating_add(at as u64)));
            }
            self.offset = self.offset.saturating_add(n as u64);
        }
    }

    fn garbage(&self, offset: u64) -> io::Error {
        DecodeError::Garbage { place: self.place.clone(), layer: "tar", offset }.into()
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > EXTENSION_BYTES_MAX {
            return Err(bad("a name or extended header is too long"));
        }
        let mut data = vec![0; size as usize];
        self.read_all(&mut data)?;
        self.skip(padding_of(size))?;
        Ok(data)
    }

    fn read_all(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(buf)?;
        self.offset = self.offset.saturating_add(buf.len() as u64);
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink())?;
        self.offset = self.offset.saturating_add(skipped);
        if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn read_member(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let n = self.input.read(&mut buf[..wanted])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        self.offset = self.offset.saturating_add(n as u64);
        Ok(n)
    }
}

/// Whether these blocks are members up to an end marker: what a writer left over from a full record has no end marker.
fn holds_archive(blocks: &[u8]) -> bool {
    let is_zeros = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let Some(first) = blocks.chunks(BLOCK).position(|block| !is_zeros(block)) else { return false };
    let mut at = first * BLOCK;
    while let Some(block) = blocks.get(at..at.saturating_add(BLOCK)) {
        if is_zeros(block) {
            return true;
        }
        if !is_header(block) {
            return false;
        }
        let size = number(&block[124..136]).unwrap_or(0);
        at = at.saturating_add(size.saturating_add(padding_of(size)) as usize).saturating_add(BLOCK);
    }
    false
}
