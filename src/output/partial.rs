//! One output file while it is being written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::codec::{Compression, EncodedChunk};
use super::entry::EntryName;
use super::error::OutputError;
use super::intent::FinishedOutput;
use super::plan::PlannedOutput;
use super::renaming::Renaming;
use super::sink::{FileSink, Sink};
use crate::durable_fs;
use crate::model::category::Category;
use crate::model::identity::{FileIdentity, FolderIdentity};
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
    /// The partial's own path.
    pub partial: OsText,
    /// Of the folder that it lies in.
    pub folder: FolderIdentity,
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
    pub path: PathBuf,
    pub final_path: PathBuf,
    pub header: Option<HeaderState>,
    category: Category,
    folder: FolderIdentity,
    records: u64,
    /// Bytes in the file, as far as they were flushed.
    length: u64,
    compression: Compression,
    state: State,
}

enum State {
    Open {
        file: Arc<File>,
        sink: Sink,
    },
    /// Complete, not yet synced.
    Ended(Arc<File>),
    /// Complete, synced and closed.
    Synced,
}

/// Where a new partial belongs.
pub(super) struct Place {
    pub entry: Option<EntryName>,
    pub path: PathBuf,
    pub final_path: PathBuf,
}

impl Partial {
    /// A new file; what a crash left under its name is emptied.
    pub(super) fn create(planned: &PlannedOutput, place: Place) -> Result<Self, OutputError> {
        let file = Arc::new(durable_fs::create_private(&place.path)?);
        let compression = planned.codec.begin();
        let state = Counts { records: 0, length: 0, header: None };
        Self::over(planned, place, file, compression, state)
    }

    /// Cut back to a checkpoint.
    pub(super) fn resume(
        planned: &PlannedOutput,
        state: &PartialState,
        final_path: PathBuf,
    ) -> Result<Self, OutputError> {
        let path = state.partial.as_path().to_owned();
        let opening = |e| OutputError::fs("open", &path, e);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone(state, &path)),
            opened => opened.map_err(opening)?,
        };
        let found = file.metadata().map_err(opening)?.len();
        if found < state.length {
            return Err(OutputError::PartialShort { path, found, recorded: state.length });
        }
        file.set_len(state.length).map_err(|e| OutputError::fs("cut back", &path, e))?;
        let compression = Compression::resume(planned.codec, state.length, state.crc, state.raw_length);
        let place = Place { entry: state.entry.clone(), path, final_path };
        let counts = Counts { records: state.records, length: state.length, header: state.header.clone() };
        let mut partial = Self::over(planned, place, Arc::new(file), compression, counts)?;
        if state.ended {
            partial.state = State::Synced;
        }
        Ok(partial)
    }

    fn over(
        planned: &PlannedOutput,
        place: Place,
        file: Arc<File>,
        compression: Compression,
        counts: Counts,
    ) -> Result<Self, OutputError> {
        let folder = folder_of(&place.path)?;
        let writing = |e| OutputError::fs("write", &place.path, e);
        let sink = FileSink::at(Arc::clone(&file), counts.length).map_err(writing)?;
        let sink = Sink::new(sink, &planned.recipients).map_err(|e| failed(&place.path, e))?;
        Ok(Self {
            entry: place.entry,
            path: place.path,
            final_path: place.final_path,
            header: counts.header,
            category: planned.category.clone(),
            folder,
            records: counts.records,
            length: counts.length,
            compression,
            state: State::Open { file, sink },
        })
    }

    /// Bytes that are not known to be on the disk, at most.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        if matches!(self.state, State::Synced) { 0 } else { self.length }
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Writes the header at the top of the file.
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
        durable_fs::note_place(&self.path);
        let records = chunk.records;
        self.compression.append(chunk, sink).map_err(|e| failed(&self.path, e))?;
        self.records += records;
        Ok(())
    }

    /// Ends the frame and writes everything out; the state counts once the returned file was synced (none: it is).
    pub(super) fn checkpoint(&mut self) -> Result<(PartialState, Option<Arc<File>>), OutputError> {
        durable_fs::note_place(&self.path);
        let mut unsynced = None;
        match &mut self.state {
            State::Open { file, sink } => {
                let ended = self.compression.end_frame(sink).and_then(|()| sink.flushed_length());
                self.length = ended.map_err(|e| failed(&self.path, e))?;
                unsynced = Some(Arc::clone(file));
            }
            State::Ended(file) => unsynced = Some(Arc::clone(file)),
            State::Synced => {}
        }
        let (crc, raw_length) = self.compression.crc_and_length();
        let state = PartialState {
            category: self.category.clone(),
            entry: self.entry.clone(),
            partial: OsText::from(self.path.as_path()),
            folder: self.folder,
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
        let State::Open { file, sink } = &mut self.state else { return Ok(()) };
        durable_fs::note_place(&self.path);
        let ended = self.compression.finish(sink).and_then(|()| sink.finish());
        self.length = ended.map_err(|e| failed(&self.path, e))?;
        durable_fs::set_mode(file, &self.path, planned.mode)?;
        // Of many small files the disk gets all before the first sync: that one waits for them, and the rest hardly at all.
        durable_fs::start_writeback(file, 0, self.length);
        self.state = State::Ended(Arc::clone(file));
        Ok(())
    }

    /// Makes an ended file durable and closes it; nothing to do where that is done.
    pub(super) fn sync(&mut self) -> Result<(), OutputError> {
        if let State::Ended(file) = &self.state {
            durable_fs::sync_all(file, &self.path)?;
            self.state = State::Synced;
        }
        Ok(())
    }

    /// What an ended partial is to become.
    pub(super) fn finished(&self, sha256: bool) -> Result<FinishedOutput, OutputError> {
        if !matches!(self.state, State::Synced) {
            return Err(OutputError::Misuse("an output is published only once it is durable"));
        }
        let (identity, folder) = self.whereabouts()?;
        let sha256 = sha256.then(|| sha256_of(&self.path)).transpose();
        let output = PublishedOutput {
            category: self.category.clone(),
            entry: self.entry.as_ref().map(|entry| entry.name.to_string()),
            path: OsText::from(self.final_path.as_path()),
            records: self.records,
            bytes: self.length,
            sha256: sha256.map_err(|e| OutputError::fs("read", &self.path, e))?,
        };
        let partial = OsText::from(self.path.as_path());
        let (wanted, renaming) = (output.path.clone(), Renaming::NotYet);
        Ok(FinishedOutput { partial, wanted, output, number: 0, identity, folder, renaming })
    }

    /// What tells this file and its folder from others of the same name, now and after a crash.
    fn whereabouts(&self) -> Result<(FileIdentity, FolderIdentity), OutputError> {
        let folder = folder_of(&self.path)?;
        if !self.folder.is_same(&folder) {
            return Err(other_folder(&self.path));
        }
        let identity = durable_fs::identity_at(&self.path)
            .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|e| OutputError::fs("look at", &self.path, e))?;
        if identity.size != self.length {
            let (found, written) = (identity.size, self.length);
            return Err(OutputError::NotAsWritten { path: self.path.clone(), found, written });
        }
        Ok((identity, folder))
    }
}

/// The partial of a checkpoint is not there: lost, unless its folder is away or on another file system, which then is not mounted.
fn gone(state: &PartialState, path: &Path) -> OutputError {
    match folder_of(path) {
        Ok(found) if found.is_same(&state.folder) || found.device == state.folder.device => {
            OutputError::PartialGone { path: path.to_owned(), recorded: state.length }
        }
        Ok(_) => other_folder(path),
        Err(error) => error,
    }
}

fn other_folder(path: &Path) -> OutputError {
    OutputError::OtherFolder { folder: durable_fs::parent_of(path).to_owned() }
}

fn folder_of(path: &Path) -> Result<FolderIdentity, OutputError> {
    let folder = durable_fs::parent_of(path);
    durable_fs::folder_identity(folder)
        .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(|e| OutputError::fs("look at", folder, e))
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
fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
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
