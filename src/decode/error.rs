//! What stands between a source and its records, sorted by reaction.
//!
//! Reading the source itself is `Storage` (the disk must answer again) and holds the job, never quarantines; so are keys
//! (`Config`). Everything else is the content's fault.

use std::io;
use std::path::{Path, PathBuf};

use crate::allowance::{Refusal, size};
use crate::durable_fs::{self, Need};
use crate::model::fault::{Fault, FaultKind, WaitsFor};
use crate::model::os_text::escaped_path;
use crate::openpgp::{NO_MESSAGE, UNPROTECTED};

/// What stands between a source and its records.
///
/// `place` is the source's path and, within archives, the member, both escaped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum DecodeError {
    #[error("cannot read {}", escaped_path(path))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot spool an archive into {}", escaped_path(dir))]
    Spool { dir: PathBuf, source: io::Error },
    #[error("{place}: the {layer} data ends too early, after byte {offset}")]
    EndedEarly { place: String, layer: &'static str, offset: u64 },
    /// The last part of an encrypted layer does not verify; which of the three it is cannot be told.
    #[error(
        "{place}: the {layer} data ends too early, or was changed near its end, or other data follows it; {offset} bytes were read"
    )]
    Unsealed { place: String, layer: &'static str, offset: u64 },
    #[error("{place}: the {layer} data is corrupt near byte {offset}: {detail}")]
    Corrupt { place: String, layer: &'static str, offset: u64, detail: String },
    #[error("{place}: there is other data after the end of the {layer} data, at byte {offset}")]
    Garbage { place: String, layer: &'static str, offset: u64 },
    #[error("{place}: {layer} data begins at byte {offset}, behind white space or a byte order mark")]
    Disguised { place: String, layer: &'static str, offset: u64 },
    #[error("{place}: `decode.layers` expects {expected} here, found {found}")]
    Mismatch { place: String, expected: &'static str, found: &'static str },
    #[error("{place}: this is {what}, which is not supported")]
    Refused { place: String, what: &'static str },
    #[error("{place}: {}, and `decode.require` asks for an encrypted source", if *is_empty { "the file is empty" } else { "the source is not encrypted" })]
    NotEncrypted { place: String, is_empty: bool },
    #[error("{place}: {}", no_entry(*members, *skipped))]
    NoEntry { place: String, members: u64, skipped: u64 },
    #[error("{place}: {detail}")]
    Entry { place: String, detail: String },
    #[error("{place}: more than `decode.entries_max` = {limit} members")]
    TooManyEntries { place: String, limit: u64 },
    #[error("{place}: more than `decode.depth_max` = {limit} archives and layers within each other")]
    TooDeep { place: String, limit: u32 },
    #[error("{place}: expands past `decode.expanded_max` = {limit} bytes")]
    TooLarge { place: String, limit: u64 },
    #[error("{place}: expands to more than `decode.ratio_max` = {limit} times its stored size")]
    RatioTooHigh { place: String, limit: u64 },
    /// More memory or time than there is for it, or it is to stop.
    #[error("{place}: {refusal}")]
    NotAllowed { place: String, refusal: Refusal },
    #[error(
        "{place}: its passphrase has a work factor of {factor}, which takes {} of memory, more than `decode.work_factor_max` = {limit}",
        size(1024_u64.checked_shl(u32::from(*factor)).unwrap_or(u64::MAX))
    )]
    WorkFactor { place: String, factor: u8, limit: u8 },
    #[error("{place}: not valid {encoding} at byte {offset}")]
    BadText { place: String, encoding: &'static str, offset: u64 },
    #[error("{place}: a NUL byte at byte {offset} of its text")]
    Nul { place: String, offset: u64 },
    /// UTF-16 without a byte order mark, read as something else: at best one record of nonsense, as long as the file.
    #[error("{place}: its text looks like {likely} without a byte order mark, and is read as {encoding}")]
    Wide { place: String, encoding: &'static str, likely: &'static str },
    /// The rule cannot be followed: an encoding or a pattern that nobody knows.
    #[error("{detail}")]
    Rule { detail: String },
    #[error("cannot use the key file {}: {detail}", escaped_path(file))]
    KeyFile { file: PathBuf, detail: String },
    #[error("{place}: {detail}")]
    Key { place: String, detail: &'static str },
    #[error(
        "{place}: it is encrypted with key version {version}, which `decode.symmetric_encryption` does not have"
    )]
    NoSymmetricKey { place: String, version: u8 },
    /// A file that begins as an `.enc` file does, and is none that can be read.
    #[error("{place}: it begins with @EnC, as an encrypted `.enc` file does, and {detail}")]
    NoEncHeader { place: String, detail: String },
    #[error("{place}: it is encrypted to {wanted}, and no key of OpenPGP in `decode.identities` opens it")]
    NoPgpKey { place: String, wanted: String },
    /// `is_hopeless`: nothing else that could be added opens it.
    #[error("{place}: it is encrypted by {algorithm}, which is not supported")]
    Unsupported { place: String, algorithm: String, is_hopeless: bool },
    #[error("{place}: {}, and `decode.require` asks for a signed source", if *is_empty { "the file is empty" } else { "the source is not signed" })]
    NotSigned { place: String, is_empty: bool },
    #[error("{place}: {detail}")]
    Signature { place: String, detail: String, hint: &'static str },
    #[error("{place}: an entry was left before its end")]
    EntryLeft { place: String },
}

impl Fault for DecodeError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read { .. } | Self::Spool { .. } => FaultKind::Storage,
            Self::KeyFile { .. }
            | Self::Key { .. }
            | Self::NoPgpKey { .. }
            | Self::Unsupported { is_hopeless: false, .. }
            | Self::NoSymmetricKey { .. }
            | Self::Rule { .. } => FaultKind::Config,
            Self::EntryLeft { .. } => FaultKind::Bug,
            Self::NotAllowed { refusal: Refusal::Busy { .. } | Refusal::Stopped, .. } => FaultKind::Transient,
            _ => FaultKind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::EndedEarly { .. } | Self::Unsealed { .. } => "ask the sender for the whole file",
            Self::Corrupt { .. }
            | Self::NotEncrypted { is_empty: true, .. }
            | Self::NotSigned { is_empty: true, .. } => "ask the sender for the file again",
            Self::Garbage { .. } => "remove what follows the end, or ask the sender for a clean file",
            Self::Mismatch { .. } => {
                "correct `decode.layers`, or leave it out to recognise layers by content"
            }
            Self::Disguised { .. } => "ask the sender for the file without what stands before it",
            Self::Refused { what, .. } => return Some(refusal_hint(what)),
            Self::NotEncrypted { .. } => "ask the sender to encrypt with age, or OpenPGP, to your recipient",
            Self::NotSigned { .. } => "ask the sender to sign it: `gpg --sign --encrypt -r RECIPIENT FILE`",
            Self::Signature { hint, .. } => hint,
            Self::NoEntry { members: 0, .. } => "ask the sender for an archive with files in it",
            Self::NoEntry { members, skipped, .. } if members == skipped => {
                "ask the sender for files; hidden ones are taken where `decode.entries` spells them out"
            }
            Self::NoEntry { .. } => {
                "widen `decode.entries`; a pattern without `/` matches a member's file name"
            }
            Self::Entry { .. } => {
                "ask the sender for an archive without it, or leave it out with `decode.entries`"
            }
            Self::TooManyEntries { .. } => "raise `decode.entries_max` if so many members are expected",
            Self::TooDeep { .. } => "raise `decode.depth_max` if this nesting is expected",
            Self::TooLarge { .. } => "raise `decode.expanded_max` if this size is expected",
            Self::RatioTooHigh { .. } => "raise `decode.ratio_max` if such data is expected",
            Self::NotAllowed { refusal, .. } => return refusal.hint(),
            Self::WorkFactor { limit, .. } => {
                return Some(format!(
                    "ask the sender for a work factor of {limit} at most, or to encrypt to your recipient; or raise `decode.work_factor_max`"
                ));
            }
            Self::BadText { .. } => {
                "set `decode.encoding` to what the sender writes, or `decode.on_bad_encoding` to \"replace\""
            }
            Self::Nul { .. } => {
                "this looks binary; if NUL ends its records, set `records.separator = \"\\u0000\"`"
            }
            Self::Wide { likely, .. } => {
                return Some(format!("set `decode.encoding = \"{likely}\"`"));
            }
            Self::Rule { .. } => "correct the rule's `decode` table",
            Self::KeyFile { file, .. } => {
                if let Some(refusal) = durable_fs::refusal(file, Need::Read) {
                    return Some(format!("{refusal}; the job goes on by itself"));
                }
                "make the file of `decode.identities`, `decode.passphrase_file`, `decode.signers` or `decode.symmetric_encryption` valid and readable for the service; the job goes on by itself"
            }
            Self::Key { .. } => {
                "add the key's file to `decode.identities` (or set `decode.passphrase_file`); the job goes on by itself"
            }
            Self::NoEncHeader { .. } => {
                "ask the sender for the file again, and by which program it was encrypted; a text that begins so is for a rule that has neither keys of `decode.symmetric_encryption` nor `require = [\"encrypted\"]`"
            }
            Self::NoPgpKey { .. } => {
                "add the secret key's file (`gpg --export-secret-keys --armor KEY`) to `decode.identities`; the job goes on by itself"
            }
            Self::Unsupported { is_hopeless: true, .. } => {
                "make a key of another kind (`gpg --quick-generate-key NAME default default`: X25519, NIST curves and RSA can be used), and ask the sender to encrypt to it"
            }
            Self::Unsupported { .. } => {
                "add the secret key of another recipient, or the passphrase, to `decode`, and the job goes on by itself; or ask the sender to encrypt to a key of another kind (X25519, NIST curves and RSA can be used)"
            }
            Self::NoSymmetricKey { version, .. } => {
                return Some(format!(
                    "add `{{ version = {version}, key_file = \"…\" }}` to its `keys`; the job goes on by itself"
                ));
            }
            Self::Read { path, source } => {
                return Some(durable_fs::hint_at(path, Need::Read, source));
            }
            Self::Spool { dir, source } => return Some(durable_fs::hint_at(dir, Need::Write, source)),
            Self::EntryLeft { .. } => return None,
        };
        Some(hint.to_owned())
    }

    fn waits_for(&self) -> WaitsFor {
        match self {
            Self::KeyFile { .. }
            | Self::Key { .. }
            | Self::NoPgpKey { .. }
            | Self::Unsupported { is_hopeless: false, .. } => WaitsFor::Key,
            Self::Rule { .. } => WaitsFor::Config,
            Self::Read { source, .. } | Self::Spool { source, .. } => durable_fs::waits_for(source),
            _ => WaitsFor::Retry,
        }
    }
}

fn no_entry(members: u64, skipped: u64) -> String {
    match members {
        0 => "there is no file in it".to_owned(),
        _ if members == skipped => format!("each of its {members} members is hidden or no file"),
        _ => format!("none of the {members} files in it is taken by `decode.entries`"),
    }
}

/// An xz whose content cannot be verified.
pub(super) const UNKNOWN_XZ_CHECK: &str = "xz with a check of an unknown kind";

/// What a file begins with whose blocks were promised and never written.
pub(super) const NUL_BYTES: &str = "a run of NUL bytes instead of content";

/// A text in clear that is signed below.
pub(super) const SIGNED_TEXT: &str = "an OpenPGP text signed in clear";
pub(super) const WIDE_PGP: &str = "OpenPGP armor in UTF-16";

fn refusal_hint(what: &str) -> String {
    let instead = match what {
        "a spreadsheet or office document"
        | "Parquet"
        | "Arrow"
        | "Avro"
        | "ORC"
        | "PDF"
        | "an SQLite database" => "ask for CSV or JSON lines",
        UNPROTECTED => "ask the sender to encrypt with a program that is not from before 2001, or with age",
        SIGNED_TEXT => "ask the sender for `gpg --sign` in place of `--clearsign`",
        NO_MESSAGE => {
            "ask the sender for the message: `gpg --encrypt`, or `gpg --sign` without `--detach-sign`"
        }
        WIDE_PGP => "ask the sender to write it with `gpg -o FILE`: the shell's `>` re-encodes it",
        "PKCS #7 (S/MIME)" | "an Ansible vault" | "data that `openssl enc` encrypted" => {
            "ask the sender to encrypt with age or OpenPGP"
        }
        "age armor in UTF-16" => {
            "ask the sender to write it with `age -o FILE`: the shell's `>` re-encodes it"
        }
        "a part of a split zip" => "ask the sender for one zip in one file",
        "a self-extracting zip" => "ask the sender for a plain zip",
        NUL_BYTES => "ask the sender for the file again: its content was lost, or never written",
        "7z" | "RAR" | "a cabinet file (.cab)" | "an ar archive" | "ARJ" | "xar" | "cpio" => {
            "ask the sender for zip or tar"
        }
        UNKNOWN_XZ_CHECK => "ask the sender for `xz --check=crc64`, which is its default",
        _ => "ask the sender for gzip, zstd, bzip2 or xz",
    };
    instead.to_owned()
}

impl DecodeError {
    /// More than a source may take.
    pub fn not_allowed(path: &Path, refusal: Refusal) -> Self {
        Self::NotAllowed { place: escaped_path(path), refusal }
    }

    /// Whether the source ended too early: it may still be growing, and is given back once before it is quarantined.
    pub fn ended_early(&self) -> bool {
        matches!(self, Self::EndedEarly { .. } | Self::Unsealed { .. })
    }

    /// The decode error inside an I/O error of an entry's `text`, or a read error of `path`.
    pub fn from_io(error: io::Error, path: &Path) -> Self {
        let source = match unwrap(error) {
            Ok(inner) => return inner,
            Err(source) => source,
        };
        match source.downcast::<Refusal>() {
            Ok(refusal) => Self::NotAllowed { place: escaped_path(path), refusal },
            Err(source) => Self::Read { path: path.to_owned(), source },
        }
    }
}

impl From<DecodeError> for io::Error {
    fn from(error: DecodeError) -> Self {
        let kind =
            if error.ended_early() { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData };
        io::Error::new(kind, error)
    }
}

/// What an I/O error in the midst of a layer's data says: an error of ours, that it ends too early, or that it is damaged.
pub(super) fn in_layer(error: io::Error, place: &str, layer: &'static str, offset: u64) -> DecodeError {
    let place = place.to_owned();
    match unwrap(error) {
        Ok(inner) => inner,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            DecodeError::EndedEarly { place, layer, offset }
        }
        Err(error) => DecodeError::Corrupt { place, layer, offset, detail: error.to_string() },
    }
}

/// The decode error that an I/O error carries, however deep foreign readers wrapped it.
pub(super) fn unwrap(error: io::Error) -> Result<DecodeError, io::Error> {
    match error.downcast::<DecodeError>() {
        Ok(inner) => Ok(inner),
        // Some readers wrap an I/O error in another one.
        Err(other) => other.downcast::<io::Error>().and_then(unwrap),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Every limit: what is needed where that is known, what is allowed, and the key that raises it, in words that blame nobody.
    #[test]
    fn every_limit_names_its_key_and_its_value_and_says_what_to_do() {
        let place = || "in/a".to_owned();
        let not_allowed = |refusal| DecodeError::NotAllowed { place: place(), refusal };
        let too_much = Refusal::TooMuch { what: "windows", need: 1537 << 20, held: 0, limit: 96 << 20 };
        let limits = [
            (DecodeError::TooManyEntries { place: place(), limit: 7 }, "decode.entries_max", "7"),
            (DecodeError::TooDeep { place: place(), limit: 7 }, "decode.depth_max", "7"),
            (DecodeError::TooLarge { place: place(), limit: 7 }, "decode.expanded_max", "7"),
            (DecodeError::RatioTooHigh { place: place(), limit: 7 }, "decode.ratio_max", "7"),
            (
                DecodeError::WorkFactor { place: place(), factor: 20, limit: 7 },
                "decode.work_factor_max",
                "20, which takes 1024 MiB",
            ),
            (not_allowed(too_much), "service.memory_max", "1537 MiB"),
            (not_allowed(Refusal::TooLong { limit: Duration::from_secs(7) }), "decode.time_max", "7s"),
        ];
        for (error, key, value) in limits {
            let (said, hint) = (error.to_string(), error.hint().unwrap_or_default());
            assert!(said.contains(key) && said.contains(value), "{said}");
            assert!(hint.contains(key), "{hint}");
            assert!(!said.contains("corrupt"), "{said}");
            assert_eq!(error.kind(), FaultKind::Input, "{said}");
        }
    }
}
