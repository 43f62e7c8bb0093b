//! gzip, zstd, bzip2 and xz: every member, stream and frame, driven on the reading thread.
//!
//! `async-compression` decodes one member after another over a reader that is never pending, so polling it is an ordinary
//! call. Members are counted here and not left to the crate: where one ends, what follows either begins another or is
//! garbage whose exact place can be told.

use std::io::{self, BufRead, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

#[allow(
    clippy::disallowed_types,
    reason = "members are counted here: what follows one is read or refused"
)]
use async_compression::futures::bufread::{self, BzDecoder, XzDecoder, ZstdDecoder};
use futures_io::{AsyncBufRead, AsyncRead};

use super::DecodeError;
use super::context::{Bytes, Context, Metered};
use super::error::{UNKNOWN_XZ_CHECK, unwrap};
use super::peek::PeekReader;
use super::sniff::layer_name;
use crate::model::rule::Layer;

/// Memory that one stream or member may ask for: `xz -9` needs 65 MiB.
pub(super) const DECODER_MEMORY_BYTES_MAX: u64 = 192 << 20;

#[allow(clippy::disallowed_types, reason = "members are counted here: what follows one is read or refused")]
type GzipMember<R> = bufread::GzipDecoder<R>;

/// A blocking reader for an asynchronous decoder; it counts what was taken.
struct Blocking<'a> {
    inner: PeekReader<Bytes<'a>>,
    offset: u64,
}

impl AsyncRead for Blocking<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut TaskContext<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let read = this.inner.read(buf);
        if let Ok(n) = &read {
            this.offset += *n as u64;
        }
        Poll::Ready(read)
    }
}

impl AsyncBufRead for Blocking<'_> {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        let piece = piece_bytes(this.offset);
        Poll::Ready(this.inner.fill_buf().map(|block| &block[..block.len().min(piece)]))
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        let this = self.get_mut();
        this.inner.consume(bytes);
        this.offset += bytes as u64;
    }
}

/// A decoder does not say where in a piece its error lies, so pieces are a small part of what was taken before them.
pub(super) fn piece_bytes(offset: u64) -> usize {
    (offset / 16).max(256) as usize
}

enum Codec<'a> {
    Gzip(GzipMember<Blocking<'a>>),
    Zstd(ZstdDecoder<Blocking<'a>>),
    Bzip2(BzDecoder<Blocking<'a>>),
    Xz(XzDecoder<Blocking<'a>>),
}

impl<'a> Codec<'a> {
    fn new(layer: Layer, inner: Blocking<'a>) -> Self {
        match layer {
            Layer::Zstd => Self::Zstd(ZstdDecoder::new(inner)),
            Layer::Bzip2 => Self::Bzip2(BzDecoder::new(inner)),
            Layer::Xz => Self::Xz(XzDecoder::with_mem_limit(inner, DECODER_MEMORY_BYTES_MAX)),
            Layer::Gzip | Layer::Age | Layer::Zip | Layer::Tar => Self::Gzip(GzipMember::new(inner)),
        }
    }

    fn poll(&mut self, task: &mut TaskContext<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Gzip(decoder) => Pin::new(decoder).poll_read(task, buf),
            Self::Zstd(decoder) => Pin::new(decoder).poll_read(task, buf),
            Self::Bzip2(decoder) => Pin::new(decoder).poll_read(task, buf),
            Self::Xz(decoder) => Pin::new(decoder).poll_read(task, buf),
        }
    }

    fn offset(&self) -> u64 {
        match self {
            Self::Gzip(decoder) => decoder.get_ref().offset,
            Self::Zstd(decoder) => decoder.get_ref().offset,
            Self::Bzip2(decoder) => decoder.get_ref().offset,
            Self::Xz(decoder) => decoder.get_ref().offset,
        }
    }

    fn into_inner(self) -> Blocking<'a> {
        match self {
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.into_inner(),
            Self::Bzip2(decoder) => decoder.into_inner(),
            Self::Xz(decoder) => decoder.into_inner(),
        }
    }
}

/// The decoded bytes of all members.
struct Decompressed<'a> {
    layer: Layer,
    /// Where a member begins.
    next: Option<Blocking<'a>>,
    /// None before the first member, and once the end was met or an error told.
    codec: Option<Codec<'a>>,
    place: Arc<str>,
}

/// Takes a compression off.
pub(super) fn decompress<'a>(
    layer: Layer,
    inner: PeekReader<Bytes<'a>>,
    context: &Arc<Context>,
    depth: u32,
    place: &Arc<str>,
) -> Bytes<'a> {
    let next = Some(Blocking { inner, offset: 0 });
    let inner = Decompressed { layer, next, codec: None, place: Arc::clone(place) };
    Box::new(Metered { inner, context: Arc::clone(context), depth, place: Arc::clone(place) })
}

impl Read for Decompressed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut task = TaskContext::from_waker(Waker::noop());
        loop {
            if let Some(member) = self.next.take() {
                self.codec = Some(self.begin(member)?);
            }
            let Some(codec) = &mut self.codec else { return Ok(0) };
            match codec.poll(&mut task, buf) {
                Poll::Ready(Ok(0)) => self.next_member()?,
                Poll::Ready(Ok(n)) => return Ok(n),
                Poll::Ready(Err(error)) => return Err(self.explain(error)),
                // The reader below blocks and is never pending.
                Poll::Pending => return Err(io::Error::other("a blocking reader was pending")),
            }
        }
    }
}

impl<'a> Decompressed<'a> {
    fn begin(&self, mut member: Blocking<'a>) -> io::Result<Codec<'a>> {
        if self.layer == Layer::Xz && !xz_check_is_known(member.inner.peek(8)?) {
            let (place, what) = (self.place.to_string(), UNKNOWN_XZ_CHECK);
            return Err(DecodeError::Refused { place, what }.into());
        }
        Ok(Codec::new(self.layer, member))
    }

    /// After a member's end: another one, the end of all, or garbage. Tapes, block devices and tools that write in blocks fill up with
    /// zeros, which gzip(1) and others take. Only to the end: another member after them is garbage, except between xz streams.
    fn next_member(&mut self) -> io::Result<()> {
        let Some(codec) = self.codec.take() else { return Ok(()) };
        let mut inner = codec.into_inner();
        let begun = inner.offset;
        skip_zeros(&mut inner)?;
        let zeros = inner.offset - begun;
        let head = inner.inner.peek(4)?;
        if head.is_empty() {
            return Ok(());
        }
        let may_follow = zeros == 0 || (self.layer == Layer::Xz && zeros % 4 == 0);
        if !may_follow || !begins_member(self.layer, head) {
            let offset = inner.offset;
            let (place, layer) = (self.place.to_string(), layer_name(self.layer));
            return Err(DecodeError::Garbage { place, layer, offset }.into());
        }
        self.next = Some(inner);
        Ok(())
    }

    fn explain(&mut self, error: io::Error) -> io::Error {
        let offset = self.codec.take().map_or(0, |codec| codec.offset());
        let error = match unwrap(error) {
            Ok(inner) => return inner.into(),
            Err(error) => error,
        };
        let (place, layer) = (self.place.to_string(), layer_name(self.layer));
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return DecodeError::EndedEarly { place, layer, offset }.into();
        }
        DecodeError::Corrupt { place, layer, offset, detail: error.to_string() }.into()
    }
}

/// The kinds of check that liblzma verifies; any other it passes over without a word (the .xz file format, 2.1.1.2).
fn xz_check_is_known(head: &[u8]) -> bool {
    let Some(flags) = head.get(6..8) else { return true };
    !head.starts_with(b"\xfd7zXZ\0") || flags[0] != 0 || matches!(flags[1], 0 | 1 | 4 | 10)
}

fn skip_zeros(inner: &mut Blocking<'_>) -> io::Result<()> {
    loop {
        let block = inner.inner.fill_buf()?;
        let zeros = block.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(());
        }
        inner.inner.consume(zeros);
        inner.offset += zeros as u64;
    }
}

/// Whether these bytes begin another member; a cut-off beginning does, and ends too early then.
fn begins_member(layer: Layer, head: &[u8]) -> bool {
    let begins = |magic: &[u8]| head.starts_with(magic) || magic.starts_with(head);
    match layer {
        Layer::Zstd => begins(b"\x28\xb5\x2f\xfd") || matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]),
        Layer::Bzip2 => begins(b"BZh"),
        Layer::Xz => begins(b"\xfd7zX"),
        _ => begins(b"\x1f\x8b\x08"),
    }
}
