//! From any other encoding to UTF-8.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use encoding_rs::{Decoder, DecoderResult, Encoding};

use super::entry::Entry;
use super::wide;
use crate::model::rule::OnBadEncoding;

const INPUT_BYTES: usize = 64 << 10;
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Decodes block by block; a character split between blocks is held by the decoder.
pub(super) struct Transcoder {
    encoding: &'static Encoding,
    decoder: Decoder,
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the entry before `start`.
    offset: u64,
    finished: bool,
}

impl Transcoder {
    pub(super) fn new(encoding: &'static Encoding, offset: u64) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self { encoding, decoder, input: vec![0; INPUT_BYTES], start: 0, end: 0, offset, finished: false }
    }

    pub(super) fn read(&mut self, entry: &mut Entry<'_>, buf: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written == 0 && !self.finished {
            if self.start == self.end {
                self.start = 0;
                self.end = entry.read(&mut self.input)?;
            }
            written = self.decode(entry, buf)?;
        }
        Ok(written)
    }

    fn decode(&mut self, entry: &Entry<'_>, buf: &mut [u8]) -> io::Result<usize> {
        // Room for a replacement is kept back.
        let room = buf.len().saturating_sub(REPLACEMENT.len());
        // Half a UTF-16 unit may be held by the decoder; the text that comes out begins before it.
        let held = if self.is_utf16() { self.offset % 2 } else { 0 };
        let from = self.offset - held;
        let input = &self.input[self.start..self.end];
        let (result, read, mut written) =
            self.decoder.decode_to_utf8_without_replacement(input, &mut buf[..room], entry.ended);
        self.start += read;
        self.offset = self.offset.saturating_add(read as u64);
        if let Some(at) = entry.find_nul(&buf[..written]) {
            return Err(entry.nul(from.saturating_add(self.stored_len(&buf[..at]))));
        }
        if self.is_utf16() && wide::is_exchanged(&buf[..written]) {
            return Err(entry.wide(self.encoding, wide::other_order(self.encoding)));
        }
        match result {
            DecoderResult::InputEmpty => self.finished = entry.ended,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(bad, after) => {
                if entry.context.decode.on_bad_encoding == OnBadEncoding::Fail {
                    let offset = self.offset.saturating_sub(u64::from(bad) + u64::from(after));
                    return Err(entry.bad_text(self.encoding, offset));
                }
                buf[written..written + REPLACEMENT.len()].copy_from_slice(REPLACEMENT);
                written += REPLACEMENT.len();
                entry.context.replaced.fetch_add(1, Relaxed);
            }
        }
        Ok(written)
    }

    fn is_utf16(&self) -> bool {
        wide::is_utf16(self.encoding)
    }

    /// How many bytes of the entry a decoded text came from; near enough where characters have several lengths.
    fn stored_len(&self, text: &[u8]) -> u64 {
        let text = String::from_utf8_lossy(text);
        if self.is_utf16() { text.encode_utf16().count() as u64 * 2 } else { text.chars().count() as u64 }
    }
}
