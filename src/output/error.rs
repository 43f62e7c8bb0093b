//! What can go wrong with outputs, by what is done about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::durable_fs::{FsError, parent_of};
use crate::model::category::Category;
use crate::model::fault::{Fault, FaultKind, JobError, WaitsFor};
use crate::model::mistake::Mistake;
use crate::model::os_text::{OsText, escaped_path};

/// An output cannot be written or published.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A path template is wrong, or cannot be filled in for this job.
    #[error("{place}: {source}")]
    Template { place: String, source: Mistake },
    #[error("category `{category}` has no output")]
    NoOutput { category: Category },
    #[error("output.{category}.path ends in `.{suffix}`, but there are no recipients")]
    NoRecipients { category: Category, suffix: &'static str },
    #[error("output.{category} is kept encrypted in the data folder, and no key of that is there")]
    NoOwnKey { category: Category },
    #[error(
        "output.{category} has recipients, but its path does not end in `.age`, `.pgp`, `.gpg` or `.asc`"
    )]
    NotNamedAge { category: Category },
    #[error("output.{category}: `{recipient}` is no age recipient: {reason}")]
    BadRecipient { category: Category, recipient: String, reason: String },
    #[error("cannot read the recipients in {}", escaped_path(path))]
    RecipientsFile { path: PathBuf, source: io::Error },
    /// A key of `OpenPGP` that nothing can be encrypted to.
    #[error("cannot encrypt to the recipients in {}: {detail}", escaped_path(path))]
    RecipientKey { path: PathBuf, detail: String },
    /// A file of recipients in which a secret key lies.
    #[error("the recipients file {} holds a secret key", escaped_path(path))]
    SecretRecipient { path: PathBuf },
    /// The compressor or age refused to go on.
    #[error("cannot encode {}", escaped_path(path))]
    Encode { path: PathBuf, source: io::Error },
    #[error("output.{category}: the header of entry `{entry}` differs from that of entry `{first}`")]
    HeaderDiffers { category: Category, first: OsText, entry: OsText },
    #[error("entries `{first}` and `{second}` both go to {}", escaped_path(path))]
    EntriesMeet { first: OsText, second: OsText, path: PathBuf },
    #[error("output.{first} and output.{second} both go to {}", escaped_path(path))]
    OutputsMeet { first: Category, second: Category, path: PathBuf },
    /// `on_exists = "fail"` and something is there.
    #[error("{} exists", escaped_path(path))]
    Exists { path: PathBuf },
    /// `on_exists = "fail"`, and another file took the name after the intent was made.
    #[error("another file appeared at {} while the job was publishing", escaped_path(path))]
    TakenMeanwhile { path: PathBuf },
    #[error("{} and {tried} numbered names beside it are taken", escaped_path(path))]
    NoFreeName { path: PathBuf, tried: u64 },
    /// A partial is shorter than its checkpoint says: synced bytes are gone.
    #[error("{} has {found} bytes, but its checkpoint says {recorded}", escaped_path(path))]
    PartialShort { path: PathBuf, found: u64, recorded: u64 },
    #[error("{} is gone, but its checkpoint says that it has {recorded} bytes", escaped_path(path))]
    PartialGone { path: PathBuf, recorded: u64 },
    #[error("{} has {found} bytes, but {written} were written", escaped_path(path))]
    NotAsWritten { path: PathBuf, found: u64, written: u64 },
    #[error(
        "the folder {} is not the one the outputs were written to (is its file system mounted?)",
        escaped_path(folder)
    )]
    OtherFolder { folder: PathBuf },
    /// A finished partial was not renamed, and is not what it was.
    #[error(
        "the hidden file {} was removed or replaced before it became {}",
        escaped_path(partial),
        escaped_path(path)
    )]
    PartialRemoved { partial: PathBuf, path: PathBuf },
    #[error("no file system is mounted at {} (`publish.mount`)", escaped_path(mount))]
    NotMounted { mount: PathBuf },
    #[error("the outputs were given up after an error: {}", _0.message)]
    Broken(JobError),
    /// The checkpoint does not fit the plan or the order of calls.
    #[error("{0}")]
    Misuse(&'static str),
}

impl OutputError {
    /// Whether a checkpoint names bytes of a partial that are not there though its folder is: the job can only start over.
    pub fn is_lost_partial(&self) -> bool {
        matches!(self, Self::PartialShort { .. } | Self::PartialGone { .. })
    }

    /// Whether an fsync failed: the service must stop instead of trying again.
    pub fn is_failed_sync(&self) -> bool {
        matches!(self, Self::Fs(error) if error.is_failed_sync())
    }

    pub(super) fn template(place: impl Into<String>, source: Mistake) -> Self {
        Self::Template { place: place.into(), source }
    }

    pub(super) fn other_folder(path: &Path) -> Self {
        Self::OtherFolder { folder: parent_of(path).to_owned() }
    }

    pub(super) fn fs(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Fs(FsError::new(action, path, source))
    }
}

impl Fault for OutputError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Broken(first) if matches!(first.kind, FaultKind::Input | FaultKind::Config) => first.kind,
            Self::Fs(_)
            | Self::PartialShort { .. }
            | Self::PartialGone { .. }
            | Self::NotAsWritten { .. }
            | Self::OtherFolder { .. }
            | Self::PartialRemoved { .. }
            | Self::NotMounted { .. }
            | Self::Broken(_) => FaultKind::Storage,
            Self::Template { .. }
            | Self::NoOutput { .. }
            | Self::NoRecipients { .. }
            | Self::NotNamedAge { .. }
            | Self::NoOwnKey { .. }
            | Self::BadRecipient { .. }
            | Self::RecipientsFile { .. }
            | Self::RecipientKey { .. }
            | Self::SecretRecipient { .. }
            | Self::OutputsMeet { .. } => FaultKind::Config,
            Self::HeaderDiffers { .. }
            | Self::EntriesMeet { .. }
            | Self::Exists { .. }
            | Self::NoFreeName { .. } => FaultKind::Input,
            Self::TakenMeanwhile { .. } => FaultKind::Transient,
            Self::Encode { .. } | Self::Misuse(_) => FaultKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Fs(error) => return error.hint(),
            Self::Broken(first) => return first.hint.clone(),
            Self::Template { source, .. } => return source.hint.clone(),
            Self::NoOutput { category } => {
                return Some(format!("add `[rule.output.{category}]` with a `path`"));
            }
            Self::NoRecipients { suffix: "age", .. } => {
                "add `recipients` or `recipients_file`, or take `.age` off the path"
            }
            Self::NoRecipients { .. } => {
                "add a `recipients_file` with keys of OpenPGP, or take the suffix off the path"
            }
            Self::RecipientKey { .. } => {
                "ask the recipient for the renewed key, or one of another kind (`gpg --export --armor KEY`), and put it into that file; the job goes on by itself"
            }
            Self::SecretRecipient { .. } => {
                "put the public key there in its place (`age-keygen -y KEYFILE` shows it; `gpg --export --armor KEY`), and make a new pair if others could read this one; the job goes on by itself"
            }
            Self::NoOwnKey { .. } => {
                "name the key again (`service.at_rest`) and restart the service: the job goes on by itself"
            }
            Self::NotNamedAge { .. } => {
                "end the path in `.age` (in `.pgp`, `.gpg` or `.asc` for OpenPGP), or take the recipients out"
            }
            Self::BadRecipient { .. } => "give a public key: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`",
            Self::RecipientsFile { .. } => "let the service's user read that file; the job goes on by itself",
            Self::HeaderDiffers { .. } => "put `{entry}` in the output's path: one file per entry",
            Self::EntriesMeet { .. } => {
                "put `{entry}` in the output's path in place of `{entry_stem}`, or narrow `decode.entries`"
            }
            Self::OutputsMeet { .. } => "put `{category}` in the paths, or give each its own folder",
            Self::Exists { .. } => {
                "take that file away and retry the job, or set `on_exists` to `number` or `replace`"
            }
            Self::TakenMeanwhile { .. } => "take that file away; the job goes on by itself",
            Self::NoFreeName { .. } => "clear the folder, or put `{job}` or `{date}` in the path",
            Self::PartialShort { .. } | Self::PartialGone { .. } => {
                "check the disk and its file system; the job starts from the source again"
            }
            Self::NotAsWritten { .. } => {
                "look for another program that writes hidden files of this folder; the job goes on by itself"
            }
            Self::OtherFolder { .. } => {
                "mount the file system, or put the folder back with its hidden `.landfall-…` files, and the job goes on by itself; where they are gone for good: \
                 a held job is taken from its source again by `landfall abort` and then `landfall retry`; a publishing one by `landfall retry`, if nothing of it \
                 is published yet; else `landfall retry --accept-missing` goes on without them"
            }
            Self::PartialRemoved { .. } => {
                "put it back as it was, and the job goes on; or `landfall retry` takes the job from its source again, where nothing of it is published yet; or `landfall retry --accept-missing` goes on without it"
            }
            Self::NotMounted { .. } => "mount it; everything goes on by itself",
            Self::Encode { .. } | Self::Misuse(_) => return None,
        };
        Some(hint.to_owned())
    }

    fn waits_for(&self) -> WaitsFor {
        match (self, self.kind()) {
            (Self::Fs(error), _) => error.waits_for(),
            (
                Self::RecipientsFile { .. }
                | Self::RecipientKey { .. }
                | Self::SecretRecipient { .. }
                | Self::BadRecipient { .. },
                _,
            ) => WaitsFor::Key,
            (Self::NotMounted { .. }, _) => WaitsFor::Mount,
            (Self::PartialRemoved { .. }, _) => WaitsFor::Settling,
            (_, FaultKind::Storage) => WaitsFor::Disk,
            (_, FaultKind::Config) => WaitsFor::Config,
            _ => WaitsFor::Retry,
        }
    }
}
