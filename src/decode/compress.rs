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
use async_compression::zstd::DParameter;
use futures_io::{AsyncBufRead, AsyncRead};

use super::context::{Bytes, Context, Metered, refused};
use super::error::{DecodeError, UNKNOWN_XZ_CHECK, in_layer, unwrap};
use super::peek::PeekReader;
use super::sniff::layer_name;
use super::zip_memory;
use crate::allowance::{Permit, Refusal};
use crate::model::rule::Layer;

/// Bytes at the beginning of a stream, frame or member that tell what it needs: a header and an xz block's.
const HEAD_BYTES: usize = zip_memory::HEAD_BYTES as usize;

/// The largest that the library takes.
const WINDOW_LOG_MAX: u32 = 31;

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
    /// `memory`: what was taken for it.
    fn new(layer: Layer, inner: Blocking<'a>, memory: u64) -> Self {
        match layer {
            Layer::Zstd => {
                // Its window was counted; the library's own limit is not asked.
                let window = DParameter::window_log_max(WINDOW_LOG_MAX);
                Self::Zstd(ZstdDecoder::with_params(inner, &[window]))
            }
            Layer::Bzip2 => Self::Bzip2(BzDecoder::new(inner)),
            Layer::Xz => Self::Xz(XzDecoder::with_mem_limit(inner, memory)),
            Layer::Gzip | Layer::Age | Layer::Enc | Layer::Pgp | Layer::Zip | Layer::Tar => {
                Self::Gzip(GzipMember::new(inner))
            }
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

struct Decompressed<'a> {
    layer: Layer,
    /// None before the first member, and once the end was met or an error told.
    codec: Option<Codec<'a>>,
    /// Where the next member begins, until its decoder is made.
    next: Option<Blocking<'a>>,
    /// What the decoder holds.
    memory: Option<Permit>,
    context: Arc<Context>,
    place: Arc<str>,
}

pub(super) fn decompress<'a>(
    layer: Layer,
    inner: PeekReader<Bytes<'a>>,
    context: &Arc<Context>,
    depth: u32,
    place: &Arc<str>,
) -> Bytes<'a> {
    let inner = decompressed(layer, inner, context, place);
    Box::new(Metered { inner, context: Arc::clone(context), depth, place: Arc::clone(place) })
}

/// Likewise, for who counts what comes out.
pub(super) fn decompressed<'a>(
    layer: Layer,
    inner: PeekReader<Bytes<'a>>,
    context: &Arc<Context>,
    place: &Arc<str>,
) -> impl Read + Send + use<'a> {
    let next = Some(Blocking { inner, offset: 0 });
    Decompressed {
        layer,
        codec: None,
        next,
        memory: None,
        context: Arc::clone(context),
        place: Arc::clone(place),
    }
}

impl Read for Decompressed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut task = TaskContext::from_waker(Waker::noop());
        loop {
            if let Some(next) = self.next.take() {
                self.begin(next)?;
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
    /// The next member, stream or frame: first of all the memory that it says it needs.
    fn begin(&mut self, mut inner: Blocking<'a>) -> io::Result<()> {
        self.memory = None; // the last one's decoder is gone
        let head = inner.inner.peek(HEAD_BYTES)?;
        if self.layer == Layer::Xz && !xz_check_is_known(head) {
            let (place, what) = (self.place.to_string(), UNKNOWN_XZ_CHECK);
            return Err(DecodeError::Refused { place, what }.into());
        }
        let memory = memory_of(self.layer, head);
        if memory > 0 {
            self.memory = Some(self.context.take_memory(what_of(self.layer), memory, &self.place)?);
        }
        self.codec = Some(Codec::new(self.layer, inner, memory));
        Ok(())
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
        if let (Layer::Xz, Some(memory)) = (self.layer, &self.memory)
            && error.to_string().contains("memory limit")
        {
            let refusal = Refusal::MoreThanTold { what: what_of(self.layer), told: memory.bytes() };
            return refused(&self.place, refusal).into();
        }
        in_layer(error, &self.place, layer_name(self.layer), offset).into()
    }
}

/// The kinds of check that liblzma verifies; any other it passes over without a word (the .xz file format, 2.1.1.2).
fn xz_check_is_known(head: &[u8]) -> bool {
    let Some(flags) = head.get(6..8) else { return true };
    !head.starts_with(b"\xfd7zXZ\0") || flags[0] != 0 || matches!(flags[1], 0 | 1 | 4 | 10)
}

/// Bytes that unpacking takes, as the first bytes tell; small constants aside.
pub(super) fn memory_of(layer: Layer, head: &[u8]) -> u64 {
    match layer {
        // The window, and blocks of 128 KiB on both sides of it.
        Layer::Zstd => zstd_window(head).map_or(0, |window| window.saturating_add(512 << 10)),
        // bzip2(1): 100 KiB, and four times the block.
        Layer::Bzip2 => {
            let blocks = head.get(3).filter(|level| level.is_ascii_digit()).map_or(0, |level| level - b'0');
            (100 << 10) + 400_000 * u64::from(blocks)
        }
        // xz(1): about the dictionary.
        Layer::Xz => zip_memory::xz_dictionary(head).unwrap_or(0).saturating_add(1 << 20),
        Layer::Gzip | Layer::Age | Layer::Enc | Layer::Pgp | Layer::Zip | Layer::Tar => 0,
    }
}

/// The window of a zstd frame (RFC 8878, 3.1.1.1); none of a frame to be skipped, or where it does not say.
fn zstd_window(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(b"\x28\xb5\x2f\xfd")?;
    let (&descriptor, rest) = rest.split_first()?;
    let is_single = descriptor & 0x20 != 0;
    if !is_single {
        let byte = *rest.first()?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + (base >> 3) * u64::from(byte & 7));
    }
    let id_bytes = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?;
    let size_bytes = 1_usize << (descriptor >> 6); // a single segment tells its size in a byte at least
    let size = rest.get(id_bytes..id_bytes + size_bytes)?;
    let number = size.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Some(if size_bytes == 2 { number + 256 } else { number })
}

fn what_of(layer: Layer) -> &'static str {
    match layer {
        Layer::Zstd => "the windows of its zstd data",
        Layer::Xz => "the dictionaries of its xz data",
        _ => "the blocks of its bzip2 data",
    }
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
