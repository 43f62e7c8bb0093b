//! What a job published, as slices and records.
//!
//! A thread unpacks and cuts, and is a few slices ahead of whoever takes them; it ends with its iterator.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use crate::at_rest::KeyRing;
use crate::control::Reading;
use crate::model::category::Category;
use crate::model::job::PublishedOutput;
use crate::model::rule::Rule;
use crate::model::slice::Slice;
use crate::published::{self, Keys, ReadError};

/// Slices that are cut before they are asked for.
const AHEAD: usize = 2;

/// One output of a job.
#[derive(Clone, Debug)]
pub struct OutputFile {
    output: PublishedOutput,
    rule: Arc<Rule>,
    identities: Vec<PathBuf>,
    /// As long as it is there its job is not destroyed.
    _reading: Option<Arc<Reading>>,
    own: Option<Arc<KeyRing>>,
}

impl OutputFile {
    pub(super) fn new(
        output: PublishedOutput,
        rule: Arc<Rule>,
        reading: Option<Arc<Reading>>,
        own: Option<Arc<KeyRing>>,
    ) -> Self {
        Self { output, rule, identities: Vec::new(), _reading: reading, own }
    }

    /// Where it was published, of which category, and how many records it has.
    pub fn published(&self) -> &PublishedOutput {
        &self.output
    }

    /// Its category.
    pub fn category(&self) -> &Category {
        &self.output.category
    }

    /// Reads an encrypted output by the age identities in this file; several may be given. The file is read with the output: one that is
    /// not there is an error of that.
    #[must_use]
    pub fn with_identity(mut self, file: impl Into<PathBuf>) -> Self {
        self.identities.push(file.into());
        self
    }

    /// Its records, slice by slice; the header is none. For many records this is faster than [`OutputFile::records`].
    ///
    /// An item is an error where the output is not as it was published, cannot be decrypted, or a disk fails; it is the last one.
    pub fn slices(&self) -> OutputSlices {
        let (give, taken) = sync_channel(AHEAD);
        let (file, give_error) = (self.clone(), give.clone());
        let begun = Builder::new().name("output".into()).spawn(move || {
            let end = file.give_slices(&give).map(|()| None);
            drop(file); // from the end on nobody reads it here
            give.send(end).ok(); // nobody asks any more
        });
        if let Err(source) = begun {
            give_error.send(Err(ReadError::Thread { source })).ok(); // there is room
        }
        OutputSlices { taken, path: self.output.path.as_path().to_owned(), has_ended: false }
    }

    /// Its records, one by one, without their line ends; the header is none. Errors are as for [`OutputFile::slices`].
    pub fn records(&self) -> OutputRecords {
        OutputRecords { slices: self.slices(), slice: None, next: 0 }
    }

    /// Writes all of it, header included, unpacked and decrypted, and says how many bytes that were.
    ///
    /// # Errors
    ///
    /// It is not there any more ([`ReadError::Gone`]), is not what was published ([`ReadError::Changed`], [`ReadError::Replaced`]), cannot
    /// be decrypted or unpacked ([`ReadError::Decode`]); or it cannot be read or written ([`ReadError::Read`], [`ReadError::Scratch`]).
    /// What came before an error is written.
    pub fn copy_to(&self, to: &mut impl Write) -> Result<u64, ReadError> {
        let path = self.output.path.as_path();
        self.with_text(|text| io::copy(text, to).map_err(|error| ReadError::of(path, error)))
    }

    fn with_text<T>(&self, take: impl FnOnce(&mut dyn Read) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let scratch = published::scratch()?;
        let keys = Keys { identities: &self.identities, own: self.own.clone(), scratch: scratch.path() };
        published::with_text(self.output.path.as_path(), Some(&self.output), &self.rule, &keys, take)
    }

    fn give_slices(&self, give: &SyncSender<Given>) -> Result<(), ReadError> {
        let path: &Path = self.output.path.as_path();
        self.with_text(|text| {
            let (mut cutter, _) = published::cut(text, path, &self.rule, &self.output.category)?;
            let mut found = 0;
            while let Some(slice) = cutter.next_slice()? {
                found += slice.records.len() as u64;
                if give.send(Ok(Some(OutputSlice { slice }))).is_err() {
                    return Ok(()); // nobody asks any more
                }
            }
            let published = self.output.records;
            if found != published {
                return Err(ReadError::Miscounted { path: path.to_owned(), found, published });
            }
            Ok(())
        })
    }
}

/// A slice, or the end: a thread that is gone without a word did not come to it.
type Given = Result<Option<OutputSlice>, ReadError>;

/// The slices of an output, from [`OutputFile::slices`]. A thread reads ahead; it ends when this is dropped.
#[derive(Debug)]
pub struct OutputSlices {
    taken: Receiver<Given>,
    path: PathBuf,
    has_ended: bool,
}

impl Iterator for OutputSlices {
    type Item = Result<OutputSlice, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let given = self.taken.recv();
        let next = given.unwrap_or_else(|_| Err(ReadError::BrokeOff { path: self.path.clone() })).transpose();
        self.has_ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Records of an output that stand one behind another.
#[derive(Debug)]
pub struct OutputSlice {
    slice: Slice,
}

impl OutputSlice {
    /// The number of its first record within the output, from 1.
    pub fn first_record(&self) -> u64 {
        self.slice.first_record
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.slice.records.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.slice.records.is_empty()
    }

    /// Its records, without their line ends.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|at| self.record(at))
    }

    fn record(&self, at: usize) -> Option<&[u8]> {
        let span = self.slice.records.get(at)?;
        self.slice.bytes.get(span.start as usize..span.end as usize)
    }
}

/// The records of an output, from [`OutputFile::records`].
#[derive(Debug)]
pub struct OutputRecords {
    slices: OutputSlices,
    slice: Option<OutputSlice>,
    next: usize,
}

impl Iterator for OutputRecords {
    type Item = Result<Vec<u8>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.slice.as_ref().and_then(|slice| slice.record(self.next)) {
                self.next += 1;
                return Some(Ok(record.to_vec()));
            }
            match self.slices.next()? {
                Ok(slice) => (self.slice, self.next) = (Some(slice), 0),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
