//! The decoded bytes of one entry, before its characters are decoded.

use std::io::{self, Read as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use encoding_rs::Encoding;

use super::context::{Bytes, Context};
use super::error::DecodeError;
use super::peek::PeekReader;
use super::wide;
use crate::model::os_text::OsText;

/// An entry's decoded bytes: hashed and counted as they pass.
pub(super) struct Entry<'a> {
    pub inner: PeekReader<Bytes<'a>>,
    pub context: Arc<Context>,
    pub place: String,
    /// Its name in the archive; empty for a plain file.
    pub name: OsText,
    /// Bytes that passed.
    pub offset: u64,
    pub ended: bool,
}

impl Entry<'_> {
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let n = self.inner.read(buf)?;
        let mut hasher = self.context.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.update(&buf[..n]);
        if n == 0 && !buf.is_empty() {
            self.ended = true;
            let name = self.name.as_os_str().as_encoded_bytes();
            // `tar c .` puts it before every name.
            hasher.end_entry(name.strip_prefix(b"./").unwrap_or(name));
        }
        drop(hasher);
        self.context.progress.bytes_decoded.fetch_add(n as u64, Relaxed);
        self.offset = self.offset.saturating_add(n as u64);
        Ok(n)
    }

    pub(super) fn bad_text(&self, encoding: &'static Encoding, offset: u64) -> io::Error {
        DecodeError::BadText { place: self.place.clone(), encoding: encoding.name(), offset }.into()
    }

    /// A NUL byte where text has none.
    pub(super) fn find_nul(&self, text: &[u8]) -> Option<usize> {
        if self.context.nul_separates { None } else { memchr::memchr(0, text) }
    }

    pub(super) fn nul(&self, offset: u64) -> io::Error {
        DecodeError::Nul { place: self.place.clone(), offset }.into()
    }

    /// It is UTF-16, and read as something else.
    pub(super) fn wide(&self, encoding: &'static Encoding, likely: &'static Encoding) -> io::Error {
        let (encoding, likely) = (encoding.name(), wide::label(likely));
        DecodeError::Wide { place: self.place.clone(), encoding, likely }.into()
    }
}
