//! One output while it is being written.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::codec::{Compression, EncodedChunk};
use super::destination::{Destination, Durable, Hidden, Upload};
use super::entry::EntryName;
use super::error::OutputError;
use super::intent::FinishedOutput;
use super::plan::PlannedOutput;
use super::recipients::{Encryption, Recipient};
use super::renaming::Renaming;
use super::sink::{Sink, UploadSink};
use crate::model::category::Category;
use crate::model::job::PublishedOutput;
use crate::model::os_text::OsText;

const READ_BYTES: usize = 256 << 10;

/// Where a partial stood at a checkpoint: everything needed to cut it back and go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialState {
    /// Its category.
    pub category: Category,
    /// Its entry, where the template has `{entry}`.
    pub entry: Option<EntryName>,
    /// Where it lies.
    pub hidden: Hidden,
    /// Synced bytes.
    pub length: u64,
    /// Records in them.
    pub records: u64,
    /// gzip: the CRC of the raw bytes so far.
    pub crc: u32,
    /// gzip: how many those are.
    pub raw_length: u64,
    /// The header that the output begins with, if it has one.
    pub header: Option<HeaderState>,
    /// Whether the output is complete (its entry has ended).
    pub ended: bool,
}

/// The header of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderState {
    /// The entry that it came from.
    pub entry: EntryName,
    /// BLAKE3, hexadecimal: enough to tell another entry's apart.
    pub hash: String,
}

impl HeaderState {
    pub(super) fn new(entry: &EntryName, header: &[u8]) -> Self {
        Self { entry: entry.clone(), hash: blake3::hash(header).to_hex().to_string() }
    }
}

pub(super) struct Partial {
    pub entry: Option<EntryName>,
    pub hidden: Hidden,
    pub final_path: PathBuf,
    pub header: Option<HeaderState>,
    category: Category,
    records: u64,
    /// Its bytes, as far as they were flushed.
    length: u64,
    compression: Compression,
    state: State,
}

enum State {
    Open {
        upload: Arc<dyn Upload>,
        sink: Sink,
    },
    /// Complete, not yet synced.
    Ended(Arc<dyn Upload>),
    /// Complete, synced and closed.
    Synced,
}

pub(super) struct Place {
    pub entry: Option<EntryName>,
    pub final_path: PathBuf,
}

impl Partial {
    /// Over what its destination has created.
    pub(super) fn create(
        planned: &PlannedOutput,
        place: Place,
        created: (Hidden, Arc<dyn Upload>),
        own_key: &[Recipient],
    ) -> Result<Self, OutputError> {
        let counts = Counts { records: 0, length: 0, header: None };
        if planned.is_sealed && own_key.is_empty() {
            return Err(OutputError::NoOwnKey { category: planned.category.clone() }); // never in clear
        }
        Self::over(planned, place, created, planned.codec.begin(), counts, own_key)
    }

    /// Cut back to a checkpoint.
    pub(super) fn resume(
        planned: &PlannedOutput,
        state: &PartialState,
        final_path: PathBuf,
        destination: &mut dyn Destination,
    ) -> Result<Self, OutputError> {
        let resumed = destination.resume(&state.hidden, state.length)?;
        let compression = Compression::resume(planned.codec, state.length, state.crc, state.raw_length);
        let place = Place { entry: state.entry.clone(), final_path };
        let counts = Counts { records: state.records, length: state.length, header: state.header.clone() };
        let mut partial = Self::over(planned, place, resumed, compression, counts, &[])?;
        if state.ended {
            partial.state = State::Synced;
        }
        Ok(partial)
    }

    fn over(
        planned: &PlannedOutput,
        place: Place,
        (hidden, upload): (Hidden, Arc<dyn Upload>),
        compression: Compression,
        counts: Counts,
        own_key: &[Recipient],
    ) -> Result<Self, OutputError> {
        let file = UploadSink::at(Arc::clone(&upload), counts.length);
        let sink = match &planned.encryption {
            Encryption::None if planned.is_sealed => Sink::to_age(file, own_key),
            Encryption::None => Ok(Sink::Open(file)),
            Encryption::Age(recipients) => Sink::to_age(file, recipients),
            Encryption::OpenPgp(to) => {
                to.check()?; // it may have expired since the rule was read
                Sink::to_openpgp(file, to)
            }
        };
        let sink = sink.map_err(|e| failed(hidden.path.as_path(), e))?;
        Ok(Self {
            entry: place.entry,
            hidden,
            final_path: place.final_path,
            header: counts.header,
            category: planned.category.clone(),
            records: counts.records,
            length: counts.length,
            compression,
            state: State::Open { upload, sink },
        })
    }

    /// Bytes that are not known to be on the disk, at most.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        if matches!(self.state, State::Synced) { 0 } else { self.length }
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn write_header(
        &mut self,
        planned: &PlannedOutput,
        header: &[u8],
        state: HeaderState,
    ) -> Result<(), OutputError> {
        self.append(planned.codec.encode(header.to_vec(), 0))?;
        self.header = Some(state);
        Ok(())
    }

    pub(super) fn append(&mut self, chunk: EncodedChunk) -> Result<(), OutputError> {
        let State::Open { sink, .. } = &mut self.state else {
            return Err(OutputError::Misuse("records for an output that has ended"));
        };
        let records = chunk.records;
        self.compression.append(chunk, sink).map_err(|e| failed(self.hidden.path.as_path(), e))?;
        self.records += records;
        Ok(())
    }

    /// Ends the frame and writes everything out; the state counts once what is returned was synced (none: it is).
    pub(super) fn checkpoint(&mut self) -> Result<(PartialState, Option<Arc<dyn Durable>>), OutputError> {
        let mut unsynced: Option<Arc<dyn Durable>> = None;
        match &mut self.state {
            State::Open { upload, sink } => {
                let ended = self.compression.end_frame(sink).and_then(|()| sink.flushed_length());
                self.length = ended.map_err(|e| failed(self.hidden.path.as_path(), e))?;
                unsynced = Some(Arc::clone(upload) as _);
            }
            State::Ended(upload) => unsynced = Some(Arc::clone(upload) as _),
            State::Synced => {}
        }
        let (crc, raw_length) = self.compression.crc_and_length();
        let state = PartialState {
            category: self.category.clone(),
            entry: self.entry.clone(),
            hidden: self.hidden.clone(),
            length: self.length,
            records: self.records,
            crc,
            raw_length,
            header: self.header.clone(),
            ended: !matches!(self.state, State::Open { .. }),
        };
        Ok((state, unsynced))
    }

    /// Ends the file, whose last bytes begin their way to the disk; nothing to do where that is done.
    pub(super) fn end(&mut self, planned: &PlannedOutput) -> Result<(), OutputError> {
        let State::Open { upload, sink } = &mut self.state else { return Ok(()) };
        let ended = self.compression.finish(sink).and_then(|()| sink.finish());
        self.length = ended.map_err(|e| failed(self.hidden.path.as_path(), e))?;
        upload.end(self.length, planned.mode)?;
        self.state = State::Ended(Arc::clone(upload));
        Ok(())
    }

    /// Makes an ended file durable and closes it; nothing to do where that is done.
    pub(super) fn sync(&mut self) -> Result<(), OutputError> {
        if let State::Ended(upload) = &self.state {
            upload.complete()?;
            self.state = State::Synced;
        }
        Ok(())
    }

    /// What an ended partial is to become.
    pub(super) fn finished(
        &self,
        sha256: bool,
        destination: &dyn Destination,
    ) -> Result<FinishedOutput, OutputError> {
        if !matches!(self.state, State::Synced) {
            return Err(OutputError::Misuse("an output is published only once it is durable"));
        }
        let hidden = destination.identified(&self.hidden, self.length)?;
        let sha256 = sha256
            .then(|| destination.read(&hidden).and_then(|mut content| sha256_of(&mut content)))
            .transpose();
        let output = PublishedOutput {
            category: self.category.clone(),
            entry: self.entry.as_ref().map(|entry| entry.name.to_string()),
            path: OsText::from(self.final_path.as_path()),
            records: self.records,
            bytes: self.length,
            sha256: sha256.map_err(|e| OutputError::fs("read", hidden.path.as_path(), e))?,
        };
        let (wanted, renaming) = (output.path.clone(), Renaming::NotYet);
        Ok(FinishedOutput { hidden, wanted, output, number: 0, renaming })
    }
}

struct Counts {
    records: u64,
    length: u64,
    header: Option<HeaderState>,
}

/// A disk's error has a code of the operating system; what has none comes from an encoder.
fn failed(path: &Path, error: io::Error) -> OutputError {
    if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::WriteZero {
        OutputError::fs("write", path, error)
    } else {
        OutputError::Encode { path: path.to_owned(), source: error }
    }
}

/// Read back: what is told is what lies there, also after a resume.
pub(crate) fn sha256_of(content: &mut impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hexadecimal(&hasher.finalize()))
}

/// In lower case.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
