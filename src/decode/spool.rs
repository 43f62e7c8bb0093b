//! A bounded place on disk for an archive that lies where one cannot seek (a zip in a gzip): encrypted with a key that only
//! this process knows for as long as it reads, and without a name while it is open.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use super::age::open_spool;
use super::context::{Context, ReadSeek};
use super::error::{DecodeError, unwrap};
use super::peek::BUFFER_BYTES;

/// Copies a stream to where it can be read from anywhere. What expands is bounded by its own layer's limits.
pub(super) fn spool(input: &mut dyn Read, context: &Context) -> Result<Box<dyn ReadSeek>, DecodeError> {
    let dir = context.spool_dir.clone();
    let failed = |source| DecodeError::Spool { dir: dir.clone(), source };
    let identity = age::x25519::Identity::generate();
    // Private, and gone with the last descriptor, on Windows too.
    let mut file = tempfile::tempfile_in(&dir).map_err(failed)?;
    let recipient = identity.to_public();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
    let encryptor = encryptor.map_err(|error| failed(io::Error::other(error)))?;
    let sink = BufWriter::with_capacity(BUFFER_BYTES, &mut file);
    let mut sink = encryptor.wrap_output(sink).map_err(failed)?;
    let mut block = vec![0; BUFFER_BYTES];
    loop {
        let n = match input.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => return Err(unwrap(error).unwrap_or_else(failed)),
        };
        sink.write_all(&block[..n]).map_err(failed)?;
    }
    sink.finish().and_then(|mut rest| rest.flush()).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let reader = BufReader::with_capacity(BUFFER_BYTES, SpoolFile { file, dir: dir.clone() });
    open_spool(reader, &identity).map_err(|error| unwrap(error).unwrap_or_else(failed))
}

/// Says whose error it is.
struct SpoolFile {
    file: File,
    dir: std::path::PathBuf,
}

impl SpoolFile {
    fn explain(&self, source: io::Error) -> io::Error {
        DecodeError::Spool { dir: self.dir.clone(), source }.into()
    }
}

impl Read for SpoolFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf).map_err(|error| self.explain(error))
    }
}

impl Seek for SpoolFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to).map_err(|error| self.explain(error))
    }
}
