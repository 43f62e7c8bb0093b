//! What lies under a partial: large writes, early writeback, a known length.

use std::io::{self, Write};
use std::sync::Arc;

use age::stream::StreamWriter;

use super::destination::Upload;
use super::recipients::{self, OpenPgp, Recipient};
use crate::clock;
use crate::openpgp::Sealer;

/// Slices' chunks are some 50 KiB: too small for a write each.
const BUFFER_BYTES: usize = 512 << 10;
/// Begun early, so that the last sync does not wait for a whole file.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// A buffered upload that knows its length.
pub(super) struct UploadSink {
    upload: Arc<dyn Upload>,
    buffer: Vec<u8>,
    /// Bytes uploaded, the buffer's not counted.
    written: u64,
    writeback_from: u64,
    /// The code of a failed write (of an error without one: none) and its kind: what lies in the file is not known any more.
    failed: Option<(Option<i32>, io::ErrorKind)>,
}

impl UploadSink {
    /// Over an upload that ends at `length`.
    pub(super) fn at(upload: Arc<dyn Upload>, length: u64) -> Self {
        Self { upload, buffer: Vec::new(), written: length, writeback_from: length, failed: None }
    }

    fn check(&self) -> io::Result<()> {
        match self.failed {
            None => Ok(()),
            Some((Some(code), _)) => Err(io::Error::from_raw_os_error(code)),
            Some((None, kind)) => Err(kind.into()),
        }
    }

    fn write_through(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.upload.append(bytes) {
            self.failed = Some((error.raw_os_error(), error.kind()));
            return Err(error);
        }
        self.written += bytes.len() as u64;
        let waiting = self.written - self.writeback_from;
        if waiting >= WRITEBACK_BYTES {
            self.upload.hasten(self.writeback_from, waiting);
            self.writeback_from = self.written;
        }
        Ok(())
    }

    fn empty_buffer(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write_through(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for UploadSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.empty_buffer()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.write_through(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check()?;
        self.empty_buffer()
    }
}

/// Where compressed bytes go: into the file, or encrypted into it.
pub(super) enum Sink {
    Open(UploadSink),
    Age(StreamWriter<UploadSink>),
    OpenPgp(Box<Sealer<UploadSink>>),
    /// An error or the end left nothing to write to.
    Ended,
}

impl Sink {
    pub(super) fn to_age(file: UploadSink, recipients: &[Recipient]) -> io::Result<Self> {
        Ok(Self::Age(recipients::encrypt(recipients, file)?))
    }

    pub(super) fn to_openpgp(file: UploadSink, to: &OpenPgp) -> io::Result<Self> {
        Ok(Self::OpenPgp(Box::new(Sealer::new(&to.keys, to.is_armored, file, clock::now())?)))
    }

    /// Ends what is encrypted, and empties the buffer; the length of the file.
    pub(super) fn finish(&mut self) -> io::Result<u64> {
        let mut file = match std::mem::replace(self, Self::Ended) {
            Self::Open(file) => file,
            Self::Age(stream) => stream.finish()?,
            Self::OpenPgp(message) => message.finish()?,
            Self::Ended => return Err(ended()),
        };
        file.flush()?;
        Ok(file.written)
    }

    /// Empties the buffer of a file that is not encrypted; the length of the file.
    pub(super) fn flushed_length(&mut self) -> io::Result<u64> {
        match self {
            Self::Open(file) => file.flush().map(|()| file.written),
            Self::Age(_) | Self::OpenPgp(_) | Self::Ended => Err(ended()),
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the output has ended, or cannot be continued")
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(file) => file.write(bytes),
            Self::Age(stream) => stream.write(bytes),
            Self::OpenPgp(message) => message.write(bytes),
            Self::Ended => Err(ended()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::output::folder::opened;

    #[test]
    fn after_a_failed_write_nothing_is_taken_and_no_length_is_told() {
        let full = opened(Path::new("/dev/full")).expect("opens");
        let mut sink = Sink::Open(UploadSink::at(full, 0));
        sink.write_all(b"buffered").expect("a buffer takes it");
        for _ in 0..3 {
            let error = sink.flushed_length().expect_err("the disk is full");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(sink.write(b"more").expect_err("refuses").kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(sink.finish().expect_err("refuses").kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_large_write_that_failed_is_remembered_too() {
        let full = opened(Path::new("/dev/full")).expect("opens");
        let mut sink = Sink::Open(UploadSink::at(full, 0));
        sink.write_all(&vec![0; BUFFER_BYTES]).expect_err("the disk is full");
        assert_eq!(sink.flushed_length().expect_err("refuses").kind(), io::ErrorKind::StorageFull);
    }
}
