//! tar, as a stream: ustar, GNU long names, pax.
//!
//! The headers are the `tar` crate's; its archive lends its entries, which cannot outlive a call here, so blocks are followed by
//! hand. Only files are members: folders, links and devices have no content of their own and are passed over. Sparse
//! members are refused. After the end marker only zeros may follow; an archive without the marker was cut.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use tar::{EntryType, Header, PaxExtensions};

use super::DecodeError;
use super::context::{Bytes, Context};
use super::error::unwrap;
use super::layers::Position;
use super::members::Member;
use super::peek::PeekReader;
use super::sniff::tar_checksum_is_right;

const BLOCK: usize = 512;
/// Long names and pax headers are read into memory.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// An open tar.
pub(super) struct TarLayer {
    blocks: Arc<Mutex<Blocks>>,
    /// The place of the archive itself.
    pub position: Position,
}

struct Blocks {
    input: PeekReader<Bytes<'static>>,
    place: String,
    offset: u64,
    /// Of the current member.
    left: u64,
    padding: u64,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

/// The content of the current member.
pub(super) struct TarMember(Arc<Mutex<Blocks>>);

impl TarLayer {
    pub fn open(input: PeekReader<Bytes<'static>>, position: Position, context: &Context) -> Self {
        let place = context.place(&position.member);
        let blocks = Blocks { input, place, offset: 0, left: 0, padding: 0 };
        Self { blocks: Arc::new(Mutex::new(blocks)), position }
    }

    /// The next file; what is left of the one before is passed over.
    pub fn next_file(&mut self) -> Result<Option<Member>, DecodeError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let path = blocks.next_file().map_err(|error| blocks.explain(error))?;
        Ok(path.map(|path| Member::within(&self.position.member, &path)))
    }

    /// The content of the file that `next_file` told of.
    pub fn open_file(&self) -> TarMember {
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
        let (place, layer, offset) = (self.place.clone(), "tar", self.offset);
        match unwrap(error) {
            Ok(inner) => inner,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                DecodeError::EndedEarly { place, layer, offset }
            }
            Err(error) => DecodeError::Corrupt { place, layer, offset, detail: error.to_string() },
        }
    }

    fn next_file(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.left.saturating_add(self.padding))?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            let size = header.entry_size()?;
            if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
                let data = self.extension(size)?;
                extensions.learn(kind, &data)?;
                continue;
            }
            let size = extensions.size.unwrap_or(size);
            (self.left, self.padding) = (size, padding_of(size));
            if kind.is_pax_global_extensions() || kind.is_gnu_longlink() {
                continue;
            }
            let known = std::mem::take(&mut extensions);
            let path = known.path.unwrap_or_else(|| header.path_bytes().into_owned());
            if kind.is_gnu_sparse() || known.sparse {
                return Err(self.refuse(&path, "it is a sparse file, which is not supported"));
            }
            // Before POSIX a folder was a file whose name ends in a slash.
            if (kind.is_file() || kind.is_contiguous()) && !path.ends_with(b"/") {
                return Ok(Some(path));
            }
        }
    }

    fn refuse(&self, path: &[u8], detail: &str) -> io::Error {
        let name = Member::within("", path).shown;
        DecodeError::Entry { place: format!("{}: {name}", self.place), detail: detail.to_owned() }.into()
    }

    /// The next header, or none after the end marker, when only zeros follow.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        self.read_all(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.read_end()?;
            return Ok(None);
        }
        if !tar_checksum_is_right(header.as_bytes()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// After the first block of zeros: all that is left must be zeros.
    fn read_end(&mut self) -> io::Result<()> {
        let mut block = [0; 16 * BLOCK];
        loop {
            let n = self.input.read(&mut block)?;
            if n == 0 {
                return Ok(());
            }
            if let Some(at) = block[..n].iter().position(|byte| *byte != 0) {
                let offset = self.offset.saturating_add(at as u64);
                return Err(DecodeError::Garbage { place: self.place.clone(), layer: "tar", offset }.into());
            }
            self.offset = self.offset.saturating_add(n as u64);
        }
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > EXTENSION_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a name or extended header is too long"));
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

impl Extensions {
    fn learn(&mut self, kind: EntryType, data: &[u8]) -> io::Result<()> {
        if kind.is_gnu_longname() {
            let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
            self.path = Some(data[..end].to_vec());
            return Ok(());
        }
        for extension in PaxExtensions::new(data) {
            let extension = extension?;
            match extension.key_bytes() {
                b"path" => self.path = Some(extension.value_bytes().to_vec()),
                b"size" => {
                    let size = extension.value().ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or_else(|| {
                        io::Error::new(io::ErrorKind::InvalidData, "an extended header's size is no number")
                    })?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn padding_of(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}
