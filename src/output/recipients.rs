//! To whom an output is encrypted: age recipients, which are X25519 (`age1…`) and SSH public keys, or public keys of `OpenPGP`.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use age::stream::StreamWriter;

use super::error::OutputError;
use crate::clock;
use crate::key_file;
use crate::model::category::Category;
use crate::model::rule::Output;
use crate::openpgp::{self, Certificate, Lasts, Purpose};

/// Of a file of recipients.
const FILE_BYTES_MAX: usize = 1 << 20;

pub(super) enum Recipient {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// How an output is encrypted, as its path ends.
pub(super) enum Encryption {
    /// Not, or to the data folder's own key.
    None,
    Age(Vec<Recipient>),
    OpenPgp(OpenPgp),
}

/// Keys of one file, and how what is encrypted to them is written.
pub(super) struct OpenPgp {
    pub(super) keys: Vec<Certificate>,
    pub(super) is_armored: bool,
    file: PathBuf,
}

impl OpenPgp {
    /// Whether each of the keys can be encrypted to now.
    pub(super) fn check(&self) -> Result<(), OutputError> {
        let now = clock::now();
        let lack = |key: &Certificate| match key.lasts(Purpose::Encrypt, now) {
            Lasts::Ever | Lasts::Until(_) => None,
            Lasts::Lapsed(end) => {
                Some(format!("the key {} in it expired on {}", key.name(), end.strftime("%F")))
            }
            Lasts::Revoked => Some(format!("the key {} in it is revoked", key.name())),
            Lasts::Unfit => Some(match key.unsupported(Purpose::Encrypt) {
                Some(algorithm) => {
                    format!("the key {} in it is of {algorithm}, which is not supported", key.name())
                }
                None => format!("the key {} in it has no part that can be encrypted to", key.name()),
            }),
        };
        let Some(detail) = self.keys.iter().find_map(lack) else { return Ok(()) };
        Err(OutputError::RecipientKey { path: self.file.clone(), detail })
    }
}

/// How an output is encrypted whose path ends so, in lower case; and that end without the suffix that says so.
pub(super) fn of<'e>(
    category: &Category,
    output: &Output,
    end: &'e str,
) -> Result<(Encryption, &'e str), OutputError> {
    let has_some = !output.recipients.is_empty() || output.recipients_file.is_some();
    let category = || category.clone();
    if let Some(rest) = end.strip_suffix(".age") {
        if !has_some && !output.is_sealed {
            return Err(OutputError::NoRecipients { category: category(), suffix: "age" });
        }
        let recipients = read(&category(), output)?;
        // Those of a file without any.
        return match recipients.is_empty() && !output.is_sealed {
            true => Err(OutputError::NoRecipients { category: category(), suffix: "age" }),
            false if output.is_sealed => Ok((Encryption::None, rest)),
            false => Ok((Encryption::Age(recipients), rest)),
        };
    }
    let pgp =
        [".pgp", ".gpg", ".asc"].into_iter().find_map(|suffix| Some((suffix, end.strip_suffix(suffix)?)));
    match (pgp, &output.recipients_file) {
        // A text may well be called so.
        (Some((".asc", _)), None) if !has_some => Ok((Encryption::None, end)),
        (Some((suffix, rest)), Some(file)) => {
            let is_armored = suffix == ".asc";
            let keys = OpenPgp { keys: keys_of(file)?, is_armored, file: file.clone() };
            keys.check()?;
            Ok((Encryption::OpenPgp(keys), rest))
        }
        (Some((suffix, _)), None) => {
            let suffix = suffix.strip_prefix('.').unwrap_or(suffix);
            Err(OutputError::NoRecipients { category: category(), suffix })
        }
        (None, _) if has_some || output.is_sealed => Err(OutputError::NotNamedAge { category: category() }),
        (None, _) => Ok((Encryption::None, end)),
    }
}

fn keys_of(file: &Path) -> Result<Vec<Certificate>, OutputError> {
    let failed = |source| OutputError::RecipientsFile { path: file.to_owned(), source };
    let bytes = key_file::bytes(file, FILE_BYTES_MAX).map_err(failed)?;
    refuse_secret(file, &bytes)?;
    openpgp::certificates(&bytes)
        .map_err(|detail| OutputError::RecipientKey { path: file.to_owned(), detail: detail.to_owned() })
}

/// A secret key has no business where files are encrypted: whoever has it reads them all. Of age, SSH or `OpenPGP`, whatever the path ends in.
fn refuse_secret(file: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    const OF_AGE: &[u8] = b"AGE-SECRET-KEY-";
    const PEM: &[u8] = b"PRIVATE KEY-----";
    let is_of_age = bytes.windows(OF_AGE.len()).any(|word| word.eq_ignore_ascii_case(OF_AGE));
    let is_secret = is_of_age || memchr::memmem::find(bytes, PEM).is_some() || openpgp::has_secret_key(bytes);
    if is_secret { Err(OutputError::SecretRecipient { path: file.to_owned() }) } else { Ok(()) }
}

/// All age recipients of an output, from its table and its file.
fn read(category: &Category, output: &Output) -> Result<Vec<Recipient>, OutputError> {
    let mut lines = output.recipients.clone();
    if let Some(path) = &output.recipients_file {
        let failed = |source| OutputError::RecipientsFile { path: path.clone(), source };
        let bytes = key_file::bytes(path, FILE_BYTES_MAX).map_err(failed)?;
        refuse_secret(path, &bytes)?;
        let text = key_file::text_of(&bytes).map_err(failed)?;
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.extend(keys.map(str::to_owned));
    }
    lines.iter().map(|line| parse(category, line)).collect()
}

/// The data folder's own key.
pub(super) fn own(public: &str) -> Result<Recipient, OutputError> {
    let parsed = age::x25519::Recipient::from_str(public);
    parsed
        .map(Recipient::X25519)
        .map_err(|_| OutputError::Misuse("the data folder's own key is no recipient"))
}

fn parse(category: &Category, text: &str) -> Result<Recipient, OutputError> {
    let text = text.trim();
    let refuse = |reason: String| OutputError::BadRecipient {
        category: category.clone(),
        // A private key pasted here by mistake must not reach a log.
        recipient: if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY") {
            "AGE-SECRET-KEY-…"
        } else {
            text
        }
        .to_owned(),
        reason,
    };
    if text.starts_with("ssh-") {
        let parsed = age::ssh::Recipient::from_str(text);
        return parsed.map(Recipient::Ssh).map_err(|e| refuse(format!("{e:?}").to_lowercase()));
    }
    age::x25519::Recipient::from_str(text)
        .map(Recipient::X25519)
        .map_err(|reason| refuse(reason.to_lowercase()))
}

pub(super) fn encrypt<W: io::Write>(recipients: &[Recipient], inner: W) -> io::Result<StreamWriter<W>> {
    let recipients = recipients.iter().map(|recipient| match recipient {
        Recipient::X25519(key) => key as &dyn age::Recipient,
        Recipient::Ssh(key) => key as &dyn age::Recipient,
    });
    age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?.wrap_output(inner)
}
