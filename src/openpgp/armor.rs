//! Armor: the same message in lines of text.

use std::io::{self, BufRead, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::Unread;
use super::source::read_buffered;

/// Lines of 64 to 76 characters are usual.
const LINE_BYTES_MAX: usize = 1 << 10;
/// Before the first line of data.
const HEADER_LINES_MAX: usize = 100;
pub(super) const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
pub(super) const END: &[u8] = b"-----END PGP MESSAGE-----";
/// Decoded before they are handed on.
const BUFFER_BYTES: usize = 32 << 10;

/// The packets in an armored message, up to its end line, behind which nothing but white space may stand.
pub(crate) struct Dearmored<R> {
    inner: R,
    state: State,
    line: Vec<u8>,
    /// Characters that make no whole byte yet.
    left: Vec<u8>,
    decoded: Vec<u8>,
    given: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Body,
    /// Behind the padding only a checksum may come.
    Padded,
    Ended,
}

impl<R: BufRead> Dearmored<R> {
    pub(crate) fn new(inner: R) -> Self {
        let (line, left, decoded) = (Vec::new(), Vec::new(), Vec::new());
        Self { inner, state: State::Header, line, left, decoded, given: 0 }
    }

    /// The next line without the white space around it.
    fn next_line(&mut self) -> io::Result<()> {
        self.line.clear();
        (&mut self.inner).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Err(Unread::EndsEarly.into());
        }
        if self.line.len() >= LINE_BYTES_MAX && !self.line.ends_with(b"\n") {
            return Err(bad("a line of its armor is too long"));
        }
        Ok(())
    }

    fn skip_header(&mut self) -> io::Result<()> {
        self.next_line()?;
        if !self.line.ends_with(b"\n") && BEGIN.starts_with(self.line.trim_ascii()) {
            return Err(Unread::EndsEarly.into());
        }
        if self.line.trim_ascii() != BEGIN {
            return Err(bad("its armor does not begin as that of a message"));
        }
        for _ in 0..HEADER_LINES_MAX {
            self.next_line()?;
            if self.line.trim_ascii().is_empty() {
                self.state = State::Body;
                return Ok(());
            }
        }
        Err(bad("no empty line follows the header of its armor"))
    }

    fn take_line(&mut self) -> io::Result<()> {
        self.next_line()?;
        let line = self.line.trim_ascii();
        if line == END {
            return if self.left.is_empty() { self.end() } else { Err(Unread::EndsEarly.into()) };
        }
        if !self.line.ends_with(b"\n") && END.starts_with(line) {
            return Err(Unread::EndsEarly.into());
        }
        // A checksum (CRC-24). It is not compared: nobody may refuse a message for it (RFC 9580, 6.1), anybody could make it fit, and what
        // was encrypted or signed proves more of itself.
        if self.left.is_empty() && line.len() == 5 && line.starts_with(b"=") {
            self.state = State::Padded;
            return Ok(());
        }
        if line.is_empty() {
            return Ok(());
        }
        if self.state == State::Padded {
            return Err(bad("other lines follow the end of its armor's data"));
        }
        self.left.extend_from_slice(line);
        let whole = self.left.len() / 4 * 4;
        let decoded = STANDARD.decode(self.left.get(..whole).unwrap_or_default());
        let decoded = decoded.map_err(|_| bad("a line of its armor is no Base64"))?;
        if self.left.get(..whole).is_some_and(|text| text.ends_with(b"=")) {
            self.state = State::Padded;
        }
        self.left.drain(..whole);
        self.decoded.extend_from_slice(&decoded);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.state = State::Ended;
        loop {
            let rest = self.inner.fill_buf()?;
            if rest.is_empty() {
                return Ok(());
            }
            if rest.iter().any(|byte| !byte.is_ascii_whitespace() && *byte != 0) {
                return Err(Unread::Garbage.into());
            }
            let length = rest.len();
            self.inner.consume(length);
        }
    }
}

fn bad(what: &str) -> io::Error {
    Unread::Corrupt(what.to_owned()).into()
}

impl<R: BufRead> BufRead for Dearmored<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given == self.decoded.len() {
            self.decoded.clear();
            self.given = 0;
            if self.state == State::Header {
                self.skip_header()?;
            }
            while self.state != State::Ended && self.decoded.len() < BUFFER_BYTES {
                self.take_line()?;
            }
        }
        Ok(self.decoded.get(self.given..).unwrap_or_default())
    }

    fn consume(&mut self, bytes: usize) {
        self.given = self.decoded.len().min(self.given + bytes);
    }
}

impl<R: BufRead> Read for Dearmored<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Dearmored::new(text.as_bytes()).read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn armor_is_read_with_any_line_ends_and_nothing_may_follow_it() {
        let armored = "-----BEGIN PGP MESSAGE-----\nVersion: 1\n\naGVsbG8g\nd29ybGQ=\n=AAAA\n-----END PGP MESSAGE-----\n";
        assert_eq!(read(armored).expect("is read"), b"hello world");
        assert_eq!(read(&armored.replace('\n', " \r\n")).expect("is read"), b"hello world");
        assert_eq!(read(&armored.replace("=AAAA\n", "")).expect("is read"), b"hello world");
        assert_eq!(read(&armored.replace("G8g\nd29", "G8gd\n29")).expect("is read"), b"hello world");
        assert_eq!(read(&format!("{armored}\n\0\0")).expect("is read"), b"hello world");
        for bad in [&format!("{armored}x"), &armored.replace("d29", "d%9"), &armored.replace("=AAAA", "AAAA")]
        {
            read(bad).expect_err("is none");
        }
        for cut in 0..armored.len() - 2 {
            read(&armored[..cut]).expect_err("is cut");
        }
    }
}
