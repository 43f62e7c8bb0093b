//! The text of one entry: UTF-8 without a BOM, whatever it was written in.
//!
//! UTF-8 is checked where it lies in the caller's buffer and never copied; everything else goes through `encoding_rs`.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::context::{Bytes, Context};
use super::entry::Entry;
use super::error::DecodeError;
use super::peek::PeekReader;
use super::sniff::SNIFF_BYTES;
use super::transcode::Transcoder;
use super::wide;
use crate::model::os_text::OsText;
use crate::model::rule::OnBadEncoding;

/// Below it a buffer cannot take a sequence that was split between two reads.
const BUFFER_BYTES_MIN: usize = 64;

enum Mode {
    /// Bytes pass as they are.
    Raw,
    Utf8(Utf8),
    Other(Box<Transcoder>),
}

#[derive(Default)]
struct Utf8 {
    /// The beginning of a sequence whose end was not read yet.
    split: [u8; 4],
    split_len: usize,
}

pub(super) struct TextReader<'a> {
    input: Entry<'a>,
    mode: Mode,
    /// Text that did not fit into the caller's buffer.
    ready: Vec<u8>,
    ready_at: usize,
    failed: bool,
}

pub(super) fn encoding_for(label: &str) -> Result<&'static Encoding, DecodeError> {
    let known = Encoding::for_label_no_replacement(label.as_bytes());
    known.ok_or_else(|| DecodeError::Rule {
        detail: format!("`decode.encoding`: no encoding is called \"{label}\""),
    })
}

impl<'a> TextReader<'a> {
    pub(super) fn new(
        mut inner: PeekReader<Bytes<'a>>,
        context: &Arc<Context>,
        name: &OsText,
        member: &str,
        encoding: &'static Encoding,
    ) -> io::Result<Self> {
        let place = context.place(member);
        // No more than was looked at already.
        let head = inner.peek(SNIFF_BYTES)?;
        let (found, bom_len) = if context.binary { (None, 0) } else { bom(head) };
        let likely = if found.is_some() { None } else { wide::recognise(head) };
        let name = name.clone();
        let mut input = Entry { inner, context: Arc::clone(context), place, name, offset: 0, ended: false };
        let raw = context.binary || context.raw();
        let skipped = if raw && found != Some(UTF_8) { 0 } else { bom_len };
        let mut bytes = [0; 3];
        let mut taken = 0;
        while taken < skipped {
            taken += input.read(&mut bytes[taken..skipped])?;
        }
        let takes_nul = raw || context.nul_separates;
        if let Some(likely) = likely.filter(|likely| *likely != encoding && !takes_nul) {
            return Err(input.wide(encoding, likely));
        }
        let mode = match found.unwrap_or(encoding) {
            _ if raw => Mode::Raw,
            found if found == UTF_8 => Mode::Utf8(Utf8::default()),
            found => Mode::Other(Box::new(Transcoder::new(found, input.offset))),
        };
        context.entry_open.store(true, Relaxed);
        Ok(Self { input, mode, ready: Vec::new(), ready_at: 0, failed: false })
    }

    fn fill(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.mode {
            Mode::Raw => self.input.read(buf),
            Mode::Utf8(utf8) => utf8.read(&mut self.input, buf, &mut self.ready),
            Mode::Other(transcoder) => transcoder.read(&mut self.input, buf),
        }
    }

    fn take_ready(&mut self, buf: &mut [u8]) -> usize {
        let n = buf.len().min(self.ready.len() - self.ready_at);
        buf[..n].copy_from_slice(&self.ready[self.ready_at..self.ready_at + n]);
        self.ready_at += n;
        if self.ready_at == self.ready.len() {
            self.ready.clear();
            self.ready_at = 0;
        }
        n
    }
}

impl Read for TextReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.failed {
            // Never an end: whoever asks again after an error must not take it for one.
            return Err(DecodeError::EntryLeft { place: self.input.place.clone() }.into());
        }
        if self.ready.is_empty() {
            let read = if buf.len() >= BUFFER_BYTES_MIN {
                self.fill(buf)
            } else {
                let mut own = [0; 4 << 10];
                let read = self.fill(&mut own);
                // Replacements may have gone to `ready` already; then nothing was left in `own`.
                if let Ok(n) = read {
                    self.ready.extend_from_slice(&own[..n]);
                }
                read.map(|_| 0)
            };
            let n = read.inspect_err(|_| self.failed = true)?;
            if n > 0 {
                return Ok(n);
            }
        }
        let n = self.take_ready(buf);
        if n == 0 {
            self.input.context.entry_open.store(false, Relaxed);
        }
        Ok(n)
    }
}

impl Utf8 {
    /// Fills the buffer; under `replace`, a block with bad bytes goes to `ready` instead and 0 is returned.
    fn read(&mut self, input: &mut Entry<'_>, buf: &mut [u8], ready: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            let carried = self.split_len;
            buf[..carried].copy_from_slice(&self.split[..carried]);
            let start = input.offset.saturating_sub(carried as u64);
            let n = input.read(&mut buf[carried..])?;
            let filled = carried + n;
            if filled == 0 {
                return Ok(0);
            }
            self.split_len = 0;
            let whole = match std::str::from_utf8(&buf[..filled]) {
                Ok(_) => filled,
                Err(error) if error.error_len().is_none() && n > 0 => {
                    let valid = error.valid_up_to();
                    self.keep(&buf[valid..filled]);
                    valid
                }
                Err(error) if input.context.decode.on_bad_encoding == OnBadEncoding::Fail => {
                    return Err(input.bad_text(UTF_8, start.saturating_add(error.valid_up_to() as u64)));
                }
                Err(_) => {
                    self.replace(&buf[..filled], n == 0, input, ready);
                    if let Some(at) = input.find_nul(ready) {
                        return Err(input.nul(start.saturating_add(at as u64)));
                    }
                    if ready.is_empty() {
                        continue;
                    }
                    return Ok(0);
                }
            };
            if let Some(at) = input.find_nul(&buf[..whole]) {
                return Err(input.nul(start.saturating_add(at as u64)));
            }
            if whole > 0 {
                return Ok(whole);
            }
        }
    }

    fn keep(&mut self, tail: &[u8]) {
        let len = tail.len().min(self.split.len());
        self.split[..len].copy_from_slice(&tail[..len]);
        self.split_len = len;
    }

    /// U+FFFD for each bad sequence; a sequence that the next read may complete is kept.
    fn replace(&mut self, bytes: &[u8], at_end: bool, input: &Entry<'_>, ready: &mut Vec<u8>) {
        let mut rest = bytes;
        loop {
            match std::str::from_utf8(rest) {
                Ok(_) => return ready.extend_from_slice(rest),
                Err(error) => {
                    let (valid, bad) = rest.split_at(error.valid_up_to());
                    ready.extend_from_slice(valid);
                    match error.error_len() {
                        None if !at_end => return self.keep(bad),
                        len => {
                            ready.extend_from_slice("\u{fffd}".as_bytes());
                            input.context.replaced.fetch_add(1, Relaxed);
                            rest = &bad[len.unwrap_or(bad.len())..];
                        }
                    }
                }
            }
        }
    }
}

fn bom(head: &[u8]) -> (Option<&'static Encoding>, usize) {
    match head {
        [0xef, 0xbb, 0xbf, ..] => (Some(UTF_8), 3),
        [0xff, 0xfe, ..] => (Some(UTF_16LE), 2),
        [0xfe, 0xff, ..] => (Some(UTF_16BE), 2),
        _ => (None, 0),
    }
}
