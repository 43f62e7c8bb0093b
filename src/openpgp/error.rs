//! Why a message is not read, or not believed.

use std::io;
use std::path::PathBuf;

use pgp::errors::Error as PgpError;

/// What stands between a message and its content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// What it is read from, or whoever was asked for keys, says so.
    #[error(transparent)]
    Io(io::Error),
    #[error("it ends too early")]
    EndsEarly,
    /// What proves its content does not: it was cut, changed, or something follows it.
    #[error("it was cut or changed")]
    Unsealed,
    #[error("{0}")]
    Corrupt(String),
    #[error("there is other data after its end")]
    Garbage,
    #[error("{0}")]
    Refused(&'static str),
    /// More packets within each other than there may be.
    #[error("more packets lie within each other than may")]
    TooDeep,
    /// A passphrase does not open it, or something that was changed looks so.
    #[error("the passphrase does not open it")]
    Passphrase,
    /// What its passphrase is derived by takes 2^n KiB of memory.
    #[error("its passphrase has a work factor of {factor}")]
    WorkFactor { factor: u8 },
    /// `hint`: what the sender, or who names the signers, can do.
    #[error("{detail}")]
    Signature { detail: String, hint: &'static str },
    /// Signed by one of the signers, whose key does not count any more: somebody is to see to that file.
    #[error("{detail}")]
    SignerLapsed { file: PathBuf, detail: String },
}

/// Of a reader of the crate; what those below it say is kept apart (see `source`).
impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref();
        let is_tag = inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<pgp::crypto::aead::Error>);
        let of_crate = inner.and_then(|inner| inner.downcast_ref::<PgpError>());
        match error.kind() {
            _ if is_tag || matches!(of_crate, Some(PgpError::MdcError | PgpError::Aead { .. })) => {
                Self::Unsealed
            }
            io::ErrorKind::UnexpectedEof => Self::EndsEarly,
            // So the crate tells of a packet whose length promises more than there is.
            io::ErrorKind::Other if error.to_string() == SHORT => Self::EndsEarly,
            _ => Self::Corrupt(told(&error)),
        }
    }
}

const SHORT: &str = "Fixed chunk was shorter than expected";

impl From<PgpError> for Unread {
    fn from(error: PgpError) -> Self {
        match error {
            PgpError::IO { source, .. } => source.into(),
            PgpError::MdcError | PgpError::Aead { .. } => Self::Unsealed,
            other => Self::Corrupt(told(&other)),
        }
    }
}

/// The first line: what the crate adds below may be long.
fn told(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

impl From<Unread> for io::Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
