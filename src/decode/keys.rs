//! Keys from files: read when a source needs them, never kept, never shown.

use std::io;
use std::path::Path;

use age::secrecy::SecretString;
use zeroize::Zeroizing;

use super::context::Context;
use super::derivation::Derivation;
use super::enc;
use super::error::DecodeError;
use crate::key_file::{self, Secret};
use crate::openpgp::{self, Certificate, SecretKeys, Unlocks};

const KEY_FILE_BYTES_MAX: usize = 1 << 20;

type Identities = Vec<Box<dyn age::Identity>>;

/// What may open a source.
pub(super) struct Keys {
    pub identities: Identities,
    /// The first key file that could not be used: if none of the others opens it, this one is to be mended.
    pub unusable: Option<DecodeError>,
}

/// The keys for a source: one from the passphrase, or those of all identity files.
pub(super) fn keys(context: &Context, scrypt: bool, place: &str) -> Result<Keys, DecodeError> {
    if scrypt {
        return Ok(Keys { identities: passphrase(context, place)?, unusable: None });
    }
    let mut keys = Keys { identities: Vec::new(), unusable: None };
    let own = context.own_keys.iter().flat_map(|ring| ring.identities());
    keys.identities.extend(own.map(|(_, identity)| Box::new(identity.clone()) as Box<dyn age::Identity>));
    if context.identities.is_empty() && keys.identities.is_empty() {
        let detail = "it is encrypted, and `decode.identities` names no key file";
        return Err(DecodeError::Key { place: place.to_owned(), detail });
    }
    for file in &context.identities {
        match read_identities(file) {
            Ok(identities) => keys.identities.extend(identities),
            Err(error) => keys.unusable = keys.unusable.or(Some(error)),
        }
    }
    Ok(keys)
}

fn passphrase(context: &Context, place: &str) -> Result<Identities, DecodeError> {
    let line = passphrase_line(context)?.ok_or_else(|| no_passphrase(place))?;
    let mut identity = age::scrypt::Identity::new(SecretString::from(line.as_str().to_owned()));
    identity.set_max_work_factor(context.decode.work_factor_max);
    Ok(vec![Box::new(Derivation::new(identity, &line, context, place))])
}

pub(super) fn no_passphrase(place: &str) -> DecodeError {
    let detail = "it is encrypted with a passphrase, and `decode.passphrase_file` is not set";
    DecodeError::Key { place: place.to_owned(), detail }
}

/// What is in `decode.passphrase_file`, without the end of its line; none where it is not set.
pub(super) fn passphrase_line(context: &Context) -> Result<Option<Zeroizing<String>>, DecodeError> {
    context.passphrase_file.as_deref().map(line_of).transpose()
}

fn line_of(file: &Path) -> Result<Zeroizing<String>, DecodeError> {
    let text = key_file::text(file, KEY_FILE_BYTES_MAX).map_err(|error| unusable(file, &error))?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(wrong(file, "it is empty"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// What a key file is named for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyUse<'a> {
    /// `decode.identities`, with the passphrase file where that is one and the same for each of them.
    Identity(SecretKeyPassphrase<'a>),
    /// `decode.passphrase_file`.
    Passphrase,
    /// `decode.signers`.
    Signer,
    /// `decode.symmetric_encryption`.
    Symmetric,
}

/// What unlocks secret keys of `OpenPGP` that are protected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SecretKeyPassphrase<'a> {
    NotSet,
    File(&'a Path),
    /// It goes by the source.
    Varies,
}

/// What a source that needs this file would be told of it.
pub(crate) fn judge(file: &Path, key_use: KeyUse<'_>) -> Result<(), DecodeError> {
    match key_use {
        KeyUse::Identity(passphrase) => judge_identities(file, passphrase),
        KeyUse::Passphrase => line_of(file).map(drop),
        KeyUse::Signer => certificates(file).map(drop),
        KeyUse::Symmetric => enc::read_key(file).map(drop),
    }
}

fn judge_identities(file: &Path, passphrase: SecretKeyPassphrase<'_>) -> Result<(), DecodeError> {
    let bytes = read(file)?;
    if !openpgp::holds_keys(&bytes) {
        return read_identities(file).map(drop);
    }
    if !openpgp::holds_secret_keys(&bytes) {
        return Err(wrong(
            file,
            "it holds public keys alone, and what is encrypted to them opens by the secret ones",
        ));
    }
    let keys = SecretKeys::read(&bytes).map_err(|detail| wrong(file, detail))?;
    let line = match passphrase {
        SecretKeyPassphrase::Varies => return Ok(()),
        SecretKeyPassphrase::NotSet => None,
        // What is wrong with that one is told of it.
        SecretKeyPassphrase::File(file) => line_of(file).ok(),
    };
    match keys.unlocks(line.as_ref().map(|line| line.as_bytes())) {
        Unlocks::Some => Ok(()),
        Unlocks::None => Err(wrong(file, locked(!matches!(passphrase, SecretKeyPassphrase::NotSet)))),
        Unlocks::Unsupported(algorithm) => {
            Err(wrong(file, &format!("its keys are of {algorithm}, which is not supported")))
        }
    }
}

/// Of a key that is itself protected.
pub(super) fn locked(has_passphrase: bool) -> &'static str {
    if has_passphrase {
        "its key is protected by a passphrase, which is another than that in `decode.passphrase_file`"
    } else {
        "its key is protected by a passphrase, and `decode.passphrase_file` is not set"
    }
}

/// Whose signatures count, by a file of `decode.signers`.
pub(super) fn certificates(file: &Path) -> Result<Vec<Certificate>, DecodeError> {
    openpgp::certificates(&read(file)?).map_err(|detail| wrong(file, detail))
}

fn wrong(file: &Path, detail: &str) -> DecodeError {
    DecodeError::KeyFile { file: file.to_owned(), detail: detail.to_owned() }
}

/// All of a key file, whatever it holds.
pub(super) fn read(file: &Path) -> Result<Secret, DecodeError> {
    key_file::bytes(file, KEY_FILE_BYTES_MAX).map_err(|error| unusable(file, &error))
}

fn unusable(file: &Path, error: &io::Error) -> DecodeError {
    DecodeError::KeyFile { file: file.to_owned(), detail: error.to_string() }
}

fn read_identities(file: &Path) -> Result<Identities, DecodeError> {
    let bytes = read(file)?;
    // Those open other sources.
    if openpgp::holds_keys(&bytes) {
        return Ok(Vec::new());
    }
    let text = key_file::text_of(&bytes).map_err(|error| unusable(file, &error))?;
    let wrong = |detail: &str| wrong(file, detail);
    if key_file::is_encrypted(&text) {
        return Err(wrong(
            "it is itself encrypted with a passphrase; a service needs it in clear, readable for it alone",
        ));
    }
    if text.contains("-----BEGIN ") {
        return ssh_identity(&text).map_err(wrong);
    }
    let text = Zeroizing::new(text.replace('\r', ""));
    let parsed = age::IdentityFile::from_buffer(text.as_bytes());
    let identities = parsed.map_err(|error| unusable(file, &error))?.into_identities();
    let identities = identities.map_err(|_| wrong("its identities cannot be used"))?;
    if identities.is_empty() {
        return Err(wrong("it holds no identity"));
    }
    Ok(identities.into_iter().map(|identity| identity as Box<dyn age::Identity>).collect())
}

fn ssh_identity(text: &str) -> Result<Identities, &'static str> {
    let text = Zeroizing::new(text.replace('\r', ""));
    match age::ssh::Identity::from_buffer(text.as_bytes(), None) {
        Ok(identity @ age::ssh::Identity::Unencrypted(_)) => Ok(vec![Box::new(identity)]),
        Ok(age::ssh::Identity::Encrypted(_)) => {
            Err("the SSH key is protected by a passphrase; a service needs it without")
        }
        Ok(age::ssh::Identity::Unsupported(_)) => {
            Err("SSH keys of this type cannot decrypt; use ed25519 or RSA")
        }
        Err(_) => Err("it is not a valid SSH key"),
    }
}
