//! A buffered reader that can look ahead, for sniffing.

use std::io::{self, BufRead, Read};

/// Large, so that one read of the source feeds many blocks.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// A buffered reader whose first bytes can be looked at without taking them.
pub(super) struct PeekReader<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> PeekReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// At least `want` bytes, unless the end comes first.
    pub(super) fn peek(&mut self, want: usize) -> io::Result<&[u8]> {
        let want = want.min(BUFFER_BYTES);
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        if self.start > 0 && self.end - self.start < want {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < want {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }
}

impl<R: Read> Read for PeekReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            // Nothing looked at is left: straight into the caller's buffer.
            return self.inner.read(buf);
        }
        let n = buf.len().min(self.end - self.start);
        buf[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.start += n;
        Ok(n)
    }
}

impl<R: Read> BufRead for PeekReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            if self.buffer.len() < BUFFER_BYTES {
                self.buffer.resize(BUFFER_BYTES, 0);
            }
            self.start = 0;
            self.end = 0;
            self.end = self.inner.read(&mut self.buffer)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start.saturating_add(bytes));
    }
}
