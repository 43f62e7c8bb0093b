//! Why keys cannot be had, and why a value does not open. No key is ever in a message.

use std::io;
use std::path::PathBuf;

use crate::model::fault::{Fault, FaultKind};
use crate::model::os_text::escaped_path;

/// The keys of `service.at_rest` cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("the key file {} of `service.at_rest` cannot be read", escaped_path(path))]
    Read { path: PathBuf, source: io::Error },
    #[cfg(unix)]
    #[error("the key file {} of `service.at_rest` may be {by} (mode {mode:o})", escaped_path(path))]
    Open { path: PathBuf, by: &'static str, mode: u32 },
    #[error("the key file {} of `service.at_rest` cannot be made", escaped_path(path))]
    Make { path: PathBuf, source: io::Error },
    #[error("{from} holds no key")]
    Empty { from: String },
    #[error("line {line} of {from} is no age identity")]
    NoIdentity { from: String, line: usize },
    #[error("{from} is itself encrypted")]
    Encrypted { from: String },
    #[error("`service.at_rest.key_credential` names {name}, but there is no $CREDENTIALS_DIRECTORY")]
    NoCredentials { name: String },
    #[error("`service.at_rest.key_command` gives no key: {detail}")]
    Command { detail: String },
}

impl Fault for KeysError {
    fn kind(&self) -> FaultKind {
        FaultKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => {
                "put the file back, or let the service's user read it; nothing was changed, and nothing is lost while it is away".to_owned()
            }
            #[cfg(unix)]
            Self::Open { path, .. } => {
                format!(
                    "`chmod 600 {}`: it is for the service's user alone, who owns it (`chown`), or root does (its group may read it)",
                    escaped_path(path)
                )
            }
            Self::Make { .. } => "check that the service's user may write into the data folder".to_owned(),
            Self::Empty { .. } | Self::NoIdentity { .. } => {
                "one age identity a line (`AGE-SECRET-KEY-1…`), the one that encrypts first: `age-keygen -o FILE` makes one".to_owned()
            }
            Self::Encrypted { .. } => "a service needs its keys in clear, readable for it alone".to_owned(),
            Self::NoCredentials { name } => format!(
                "systemd gives it to the service alone: `LoadCredentialEncrypted={name}:…` in its unit; a command asks the running service"
            ),
            Self::Command { .. } => {
                "run it by hand as the service's user: it is to print age identities, and to end with 0 within 30 s".to_owned()
            }
        })
    }
}

/// A value cannot be opened, or sealed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unopened {
    #[error("it is sealed by a key that {from} does not hold")]
    NoKey { from: String },
    #[error("it is encrypted, and was changed, cut, or moved from another place")]
    Changed,
    #[error("it is too long to be encrypted")]
    TooLong,
    #[error("the system gives no random numbers: {detail}")]
    NoRandom { detail: String },
}
