//! age recipients: X25519 (`age1…`) and SSH public keys.

use std::io;
use std::str::FromStr as _;

use age::stream::StreamWriter;

use super::error::OutputError;
use crate::durable_fs;
use crate::model::category::Category;
use crate::model::rule::Output;

pub(super) enum Recipient {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// All recipients of an output, from its table and its file.
pub(super) fn read(category: &Category, output: &Output) -> Result<Vec<Recipient>, OutputError> {
    let mut lines = output.recipients.clone();
    if let Some(path) = &output.recipients_file {
        let text = durable_fs::open_named(path)
            .and_then(io::read_to_string)
            .map_err(|source| OutputError::RecipientsFile { path: path.clone(), source })?;
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
