//! A member of a zip that we unpack ourselves. A deflated one is inflated in large pieces: the crate's own reader takes 8 KiB at a time,
//! which costs a tenth of the speed. Of others the memory is counted frame by frame.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crc32fast::Hasher;
use flate2::bufread::DeflateDecoder;

use super::compress::piece_bytes;
use super::peek::PeekReader;

/// What is unpacked, held against its checksum at its end.
pub(super) struct Checked<R> {
    inner: R,
    found: Hasher,
    expected: u32,
}

impl<R: Read> Checked<R> {
    pub(super) fn new(inner: R, expected: u32) -> Self {
        Self { inner, found: Hasher::new(), expected }
    }
}

/// What is deflated within `raw`; `stored_at` begins where that does, and is moved on.
pub(super) fn inflated<R: Read>(
    raw: R,
    expected: u32,
    stored_at: Arc<AtomicU64>,
) -> Checked<impl Read + use<R>> {
    Checked::new(DeflateDecoder::new(Pieces { inner: PeekReader::new(raw), taken: 0, stored_at }), expected)
}

/// Tells how far it was read.
struct Pieces<R> {
    inner: PeekReader<R>,
    taken: u64,
    stored_at: Arc<AtomicU64>,
}

impl<R: Read> Read for Pieces<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Pieces<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let piece = piece_bytes(self.taken);
        self.inner.fill_buf().map(|block| &block[..block.len().min(piece)])
    }

    fn consume(&mut self, bytes: usize) {
        self.inner.consume(bytes);
        self.taken += bytes as u64;
        self.stored_at.fetch_add(bytes as u64, Relaxed);
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.found.update(buf.get(..n).unwrap_or_default());
        if n == 0 && !buf.is_empty() && self.found.clone().finalize() != self.expected {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its checksum is not the one that the directory has",
            ));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    #[test]
    fn all_of_it_comes_out_only_if_its_checksum_is_right() {
        let text = "one record, and another\n".repeat(50_000);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).expect("a vector takes all");
        let packed = encoder.finish().expect("a vector takes all");
        let crc = crc32fast::hash(text.as_bytes());
        let read = |bytes: &[u8], crc| {
            let mut found = String::new();
            inflated(bytes, crc, Arc::default()).read_to_string(&mut found).map(|_| found)
        };
        assert_eq!(read(&packed, crc).expect("it is whole"), text);
        let wrong = read(&packed, crc ^ 1).expect_err("it is another");
        assert_eq!(wrong.kind(), io::ErrorKind::InvalidData);
        let cut_off = read(packed.split_at(packed.len() / 2).0, crc).expect_err("it is cut off");
        assert_eq!(cut_off.kind(), io::ErrorKind::UnexpectedEof);
    }
}
