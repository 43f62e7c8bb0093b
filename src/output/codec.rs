//! Codecs: how an output's bytes are compressed, on the workers and at the partial.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_compression::Level;
use async_compression::futures::write::{BzEncoder, XzEncoder, ZstdEncoder};
use crc32fast::Hasher;
use futures_io::AsyncWrite;

use super::gzip;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Codec {
    /// By the suffix of a path whose `.age` was taken off.
    pub(super) fn of_path(path: &str) -> Self {
        let suffix =
            Path::new(path).extension().and_then(|s| s.to_str()).unwrap_or_default().to_ascii_lowercase();
        match suffix.as_str() {
            "gz" => Self::Gzip,
            "zst" => Self::Zstd,
            "bz2" => Self::Bzip2,
            "xz" => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// What a worker can do by itself; its errors are faults of the compressor and kept for the partial to report.
    pub(super) fn encode(self, raw: Vec<u8>, records: u64) -> EncodedChunk {
        if self != Self::Gzip {
            return EncodedChunk { bytes: Ok(raw), crc: None, records };
        }
        let mut crc = Hasher::new();
        crc.update(&raw);
        EncodedChunk { bytes: gzip::deflate(&raw), crc: Some(crc), records }
    }

    pub(super) fn begin(self) -> Compression {
        match self {
            Self::Plain => Compression::Plain,
            Self::Gzip => Compression::Gzip { crc: Hasher::new(), begun: false },
            Self::Zstd | Self::Bzip2 | Self::Xz => {
                Compression::Stream { codec: self, encoder: None, begun: false }
            }
        }
    }

    fn encoder(self) -> Encoder {
        match self {
            Self::Zstd => Encoder::Zstd(Box::new(ZstdEncoder::with_quality(Vec::new(), Level::Precise(3)))),
            Self::Bzip2 => Encoder::Bzip2(Box::new(BzEncoder::with_quality(Vec::new(), Level::Precise(9)))),
            Self::Xz | Self::Plain | Self::Gzip => {
                Encoder::Xz(Box::new(XzEncoder::with_quality(Vec::new(), Level::Precise(6))))
            }
        }
    }
}

/// What a worker hands to the partials.
#[derive(Debug)]
pub struct EncodedChunk {
    /// Deflate blocks for gzip, else the records as they are.
    pub(super) bytes: io::Result<Vec<u8>>,
    /// gzip: of the records.
    pub(super) crc: Option<Hasher>,
    pub(super) records: u64,
}

impl EncodedChunk {
    /// Bytes of memory it holds.
    pub fn memory_bytes(&self) -> u64 {
        (self.bytes.as_ref().map_or(0, Vec::capacity) + size_of::<Self>()) as u64
    }
}

/// The compression of one partial, between its raw chunks and its bytes.
pub(super) enum Compression {
    Plain,
    Gzip {
        crc: Hasher,
        begun: bool,
    },
    Stream {
        codec: Codec,
        encoder: Option<Encoder>,
        /// Whether the file has a frame or stream.
        begun: bool,
    },
}

pub(super) enum Encoder {
    Zstd(Box<ZstdEncoder<Vec<u8>>>),
    Bzip2(Box<BzEncoder<Vec<u8>>>),
    Xz(Box<XzEncoder<Vec<u8>>>),
}

impl Compression {
    /// Goes on where a checkpoint stood: `length` bytes are in the file.
    pub(super) fn resume(codec: Codec, length: u64, crc: u32, raw_length: u64) -> Self {
        match codec {
            Codec::Plain => Self::Plain,
            Codec::Gzip => {
                Self::Gzip { crc: Hasher::new_with_initial_len(crc, raw_length), begun: length > 0 }
            }
            Codec::Zstd | Codec::Bzip2 | Codec::Xz => {
                Self::Stream { codec, encoder: None, begun: length > 0 }
            }
        }
    }

    /// CRC and length of the raw bytes so far, for a checkpoint; zeros where a resume needs none.
    pub(super) fn crc_and_length(&self) -> (u32, u64) {
        match self {
            Self::Gzip { crc, .. } => (crc.clone().finalize(), crc.total_len()),
            Self::Plain | Self::Stream { .. } => (0, 0),
        }
    }

    pub(super) fn append(&mut self, chunk: EncodedChunk, out: &mut dyn io::Write) -> io::Result<()> {
        let bytes = chunk.bytes?;
        if bytes.is_empty() {
            return Ok(());
        }
        match self {
            Self::Plain => out.write_all(&bytes),
            Self::Gzip { crc, begun } => {
                let Some(part) = chunk.crc else { return Err(io::Error::other("a chunk without its CRC")) };
                begin_gzip(begun, out)?;
                crc.combine(&part);
                out.write_all(&bytes)
            }
            Self::Stream { codec, encoder, begun } => {
                *begun = true;
                let encoder = encoder.get_or_insert_with(|| codec.encoder());
                encoder.write_all(&bytes)?;
                encoder.drain(out)
            }
        }
    }

    /// Ends the frame or stream, so that what follows can be written by a new encoder.
    pub(super) fn end_frame(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        if let Self::Stream { encoder, .. } = self
            && let Some(mut encoder) = encoder.take()
        {
            encoder.close()?;
            encoder.drain(out)?;
        }
        Ok(())
    }

    /// Ends the file; one without content becomes what its tool makes of an empty file.
    pub(super) fn finish(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        match self {
            Self::Plain => Ok(()),
            Self::Gzip { crc, begun } => {
                begin_gzip(begun, out)?;
                let length = crc.total_len();
                out.write_all(&gzip::trailer(crc.clone().finalize(), length))
            }
            Self::Stream { codec, encoder, begun } => {
                if !*begun {
                    *encoder = Some(codec.encoder());
                    *begun = true;
                }
                self.end_frame(out)
            }
        }
    }
}

fn begin_gzip(begun: &mut bool, out: &mut dyn io::Write) -> io::Result<()> {
    if !*begun {
        out.write_all(&gzip::HEADER)?;
        *begun = true;
    }
    Ok(())
}

/// Over a `Vec` an encoder is always ready: async in form only.
impl Encoder {
    fn writer(&mut self) -> &mut (dyn AsyncWrite + Unpin) {
        match self {
            Self::Zstd(encoder) => encoder.as_mut(),
            Self::Bzip2(encoder) => encoder.as_mut(),
            Self::Xz(encoder) => encoder.as_mut(),
        }
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Bzip2(encoder) => encoder.get_mut(),
            Self::Xz(encoder) => encoder.get_mut(),
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = ready(|context| Pin::new(self.writer()).poll_write(context, bytes))?;
            match bytes.get(count..) {
                Some(rest) if count > 0 => bytes = rest,
                _ => return Err(io::ErrorKind::WriteZero.into()),
            }
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        ready(|context| Pin::new(self.writer()).poll_close(context))
    }

    fn drain(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(self.buffer())?;
        self.buffer().clear();
        Ok(())
    }
}

fn ready<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::Error::other("an encoder over memory was not ready")),
    }
}
