//! What stands between an output and whoever reads it.

use std::io;
use std::path::{Path, PathBuf};

use crate::decode::DecodeError;
use crate::model::fault::{Fault, FaultKind};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::record::CutError;

/// What stands between an output and whoever reads it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ReadError {
    #[error("{} is not there any more", escaped_path(path))]
    Gone { path: PathBuf },
    #[error("{} is not what was published: it has {found} bytes, and had {published}", escaped_path(path))]
    Changed { path: PathBuf, found: u64, published: u64 },
    #[error("{} is not what was published: it has the same size, and another sha256", escaped_path(path))]
    Replaced { path: PathBuf },
    #[error("cannot read {}: {source}", escaped_path(path))]
    Read { path: PathBuf, source: io::Error },
    #[error("there is nothing in {}", escaped_path(path))]
    Empty { path: PathBuf },
    #[error("{} has records without ends to tell them by", escaped_path(path))]
    NoEnds { path: PathBuf },
    #[error("{} has {records} records", escaped_path(path))]
    TooFew { path: PathBuf, records: u64 },
    #[error("job {job} is {state}: {} of it is published", if *state == JobState::Publishing { "not all" } else { "nothing" })]
    NotPublished { job: JobId, state: JobState },
    #[error("job {job} has no such output")]
    NoSuchOutput { job: JobId, entry_is_wrong: bool, there: Vec<String> },
    #[error("job {job} has several outputs, and one is asked for at a time")]
    Several { job: JobId, there: Vec<String> },
    #[error("{} ended before it was read to its end", escaped_path(path))]
    BrokeOff { path: PathBuf },
    #[error("{} has {found} records, and had {published}", escaped_path(path))]
    Miscounted { path: PathBuf, found: u64, published: u64 },
    #[error("what was read cannot be passed on: {0}")]
    Print(#[source] io::Error),
    #[error("the job's rule has no output `{category}`")]
    NoOutput { category: String },
    #[error(transparent)]
    Decode(Box<DecodeError>),
    #[error(transparent)]
    Cut(#[from] CutError),
    #[error("the keys cannot be had by which it is kept encrypted")]
    OwnKeys { hint: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("there is no folder for temporary files: {source}")]
    Scratch { source: io::Error },
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
