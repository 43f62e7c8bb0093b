//! What stands between an output and whoever reads it.

use std::io;
use std::path::{Path, PathBuf};

use crate::decode::DecodeError;
use crate::model::fault::{Fault, FaultKind};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::record::CutError;

/// What stands between an output and whoever reads it. As a [`LandfallError`](crate::LandfallError) it has a hint.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum ReadError {
    /// It is not there any more.
    #[error("{} is not there any more", escaped_path(path))]
    Gone { path: PathBuf },
    /// It has another size, in bytes, than it had when it was published.
    #[error("{} is not what was published: it has {found} bytes, and had {published}", escaped_path(path))]
    Changed { path: PathBuf, found: u64, published: u64 },
    /// It has the same size and another hash.
    #[error("{} is not what was published: it has the same size, and another sha256", escaped_path(path))]
    Replaced { path: PathBuf },
    /// It cannot be read, or what was read cannot be written.
    #[error("cannot read {}: {source}", escaped_path(path))]
    Read { path: PathBuf, source: io::Error },
    /// Nothing is in it.
    #[error("there is nothing in {}", escaped_path(path))]
    Empty { path: PathBuf },
    /// Its records have no ends, so that single ones cannot be told.
    #[error("{} has records without ends to tell them by", escaped_path(path))]
    NoEnds { path: PathBuf },
    /// It has fewer records than were asked for.
    #[error("{} has {records} records", escaped_path(path))]
    TooFew { path: PathBuf, records: u64 },
    /// The job has published nothing, or not all yet.
    #[error("job {job} is {state}: {} of it is published", if *state == JobState::Publishing { "not all" } else { "nothing" })]
    NotPublished { job: JobId, state: JobState },
    /// The job has no output of this category and entry; those that it has.
    #[error("job {job} has no such output")]
    NoSuchOutput { job: JobId, entry_is_wrong: bool, there: Vec<String> },
    /// The job has several, where one must be chosen.
    #[error("job {job} has several outputs, and one is asked for at a time")]
    Several { job: JobId, there: Vec<String> },
    /// Whoever reads it broke off: a bug of this program.
    #[error("{} ended before it was read to its end", escaped_path(path))]
    BrokeOff { path: PathBuf },
    /// It has another number of records than were published.
    #[error("{} has {found} records, and had {published}", escaped_path(path))]
    Miscounted { path: PathBuf, found: u64, published: u64 },
    /// What was read cannot be passed on.
    #[error("what was read cannot be passed on: {0}")]
    Print(#[source] io::Error),
    /// The rule has no such output: a bug of this program.
    #[error("the job's rule has no output `{category}`")]
    NoOutput { category: String },
    /// It cannot be decrypted or unpacked.
    #[error(transparent)]
    Decode(Box<DecodeError>),
    /// It cannot be cut into records.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// The keys of the data folder cannot be had (`service.at_rest`).
    #[error("the keys cannot be had by which it is kept encrypted")]
    OwnKeys { hint: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// There is no folder for temporary files.
    #[error("there is no folder for temporary files: {source}")]
    Scratch { source: io::Error },
    /// No thread can be started that reads it.
    #[error("no thread can be started that reads it: {source}")]
    Thread { source: io::Error },
}

impl ReadError {
    /// Of reading what comes out of a file: a layer's error stands within.
    pub(crate) fn of(path: &Path, error: io::Error) -> Self {
        if matches!(error.get_ref(), Some(inner) if inner.is::<DecodeError>()) {
            return Self::from(DecodeError::from_io(error, path));
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone { path: path.to_owned() },
            _ => Self::Read { path: path.to_owned(), source: error },
        }
    }
}

impl ReadError {
    /// Whether it is encrypted, and none of the keys opens it.
    pub(crate) fn needs_key(&self) -> bool {
        matches!(self, Self::Decode(error) if matches!(**error, DecodeError::Key { .. } | DecodeError::NoPgpKey { .. } | DecodeError::KeyFile { .. }))
    }
}

impl From<DecodeError> for ReadError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(Box::new(error))
    }
}

impl Fault for ReadError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Decode(error) => error.kind(),
            Self::Cut(error) => error.kind(),
            Self::Read { .. } | Self::Scratch { .. } | Self::Thread { .. } | Self::Print(_) => {
                FaultKind::Storage
            }
            Self::OwnKeys { .. } => FaultKind::Config,
            Self::NoOutput { .. } | Self::BrokeOff { .. } => FaultKind::Bug,
            Self::Gone { .. }
            | Self::Miscounted { .. }
            | Self::Changed { .. }
            | Self::Replaced { .. }
            | Self::Empty { .. }
            | Self::NoEnds { .. }
            | Self::TooFew { .. }
            | Self::NotPublished { .. }
            | Self::NoSuchOutput { .. }
            | Self::Several { .. } => FaultKind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Decode(_) if self.needs_key() => {
                "give a file of an identity that it is encrypted to: `landfall output --identity`, or `OutputFile::with_identity`".into()
            }
            Self::Decode(error) if error.kind() != FaultKind::Input => return error.hint(),
            Self::Decode(_) | Self::Cut(_) => {
                "it is not as it was published: see whether its disk is sound; `landfall rerun` makes it again from the archive".into()
            }
            Self::Gone { .. }
            | Self::Changed { .. }
            | Self::Replaced { .. }
            | Self::Miscounted { .. }
            | Self::Empty { .. } => {
                "ask whoever takes outputs from there; `landfall rerun` makes them again from the archive"
                    .into()
            }
            Self::NoEnds { .. } => "read it whole, without asking for single records".into(),
            Self::Read { .. } => "look at the file's rights, and whether its disk answers".into(),
            Self::OwnKeys { hint, .. } => hint.clone(),
            Self::Scratch { .. } => "make one, or set `TMPDIR`".into(),
            Self::Thread { .. } => "let this process have more threads".into(),
            Self::TooFew { .. } => "ask for records that it has".into(),
            Self::NotPublished { job, .. } => format!("`landfall show {job}` says why"),
            Self::NoSuchOutput { there, entry_is_wrong: true, .. } if there.is_empty() => {
                "its outputs hold all entries: leave the entry out".into()
            }
            Self::NoSuchOutput { there, entry_is_wrong: true, .. } => {
                format!("there are outputs of these entries: {}", there.join(", "))
            }
            Self::NoSuchOutput { there, .. } if there.is_empty() => {
                "no record went to an output; `landfall show` has the account".into()
            }
            Self::Several { there, .. } => {
                format!("choose one by `category` and `entry`; there are: {}", there.join(", "))
            }
            Self::NoSuchOutput { there, .. } => format!("there are: {}", there.join(", ")),
            Self::BrokeOff { .. } => "read it again; the log may say why, please report it".into(),
            Self::NoOutput { .. } | Self::Print(_) => return None,
        })
    }
}
