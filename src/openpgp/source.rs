//! Where packets are read from: the file, or what is within a packet that lies in it.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, Mutex, PoisonError};

use pgp::composed::{CompressedDataReader, SymEncryptedProtectedDataReader};

use super::error::Unread;

/// What those say whom the crate reads from or who count for us: it wraps, replaces and loses errors.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(Arc<Mutex<Option<io::Error>>>);

impl Said {
    fn keep(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        kind.into()
    }

    /// What an error of the crate's means: the first word of those below goes before it.
    pub(super) fn means(&self, error: impl Into<Unread>) -> Unread {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        said.map_or_else(|| error.into(), Unread::Io)
    }
}

/// Counts what compressed packets expand to, and says when it is too much.
pub(crate) type Expanding<'a> = Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync + 'a>;

pub(super) enum Source<'a> {
    Raw(Box<dyn BufRead + Send + 'a>, Said),
    Encrypted(Box<SymEncryptedProtectedDataReader<Source<'a>>>),
    Compressed(Box<CompressedDataReader<Source<'a>>>, Metered<'a>),
}

#[derive(Clone)]
pub(super) struct Metered<'a> {
    pub(super) expanding: Expanding<'a>,
    pub(super) said: Said,
    /// Taken, and not counted yet.
    pub(super) taken: u64,
}

impl Metered<'_> {
    pub(super) fn count(&mut self) -> io::Result<()> {
        let taken = std::mem::take(&mut self.taken);
        if taken == 0 { Ok(()) } else { (self.expanding)(taken).map_err(|error| self.said.keep(error)) }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packets")
    }
}

impl Source<'_> {
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        self.fill_buf().map(<[u8]>::is_empty)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Raw(inner, said) => loop {
                // Twice, for the compiler: what is filled is not filled again.
                match inner.fill_buf().map(<[u8]>::is_empty) {
                    Ok(_) => return inner.fill_buf().map_err(|error| said.keep(error)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(said.keep(error)),
                }
            },
            Self::Encrypted(inner) => inner.fill_buf(),
            Self::Compressed(inner, metered) => {
                metered.count()?;
                inner.fill_buf()
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        match self {
            Self::Raw(inner, _) => inner.consume(bytes),
            Self::Encrypted(inner) => inner.consume(bytes),
            Self::Compressed(inner, metered) => {
                metered.taken += bytes as u64;
                inner.consume(bytes);
            }
        }
    }
}

/// `Read::read` of whoever has a buffer.
pub(super) fn read_buffered(from: &mut impl BufRead, buf: &mut [u8]) -> io::Result<usize> {
    let filled = from.fill_buf()?;
    let n = filled.len().min(buf.len());
    buf[..n].copy_from_slice(&filled[..n]);
    from.consume(n);
    Ok(n)
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buf)
    }
}
