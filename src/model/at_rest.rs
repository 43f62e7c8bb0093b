//! `service.at_rest`: whether what the service keeps is encrypted, and by which keys.

use std::path::PathBuf;

/// In the data folder: the key that is made where none is named.
pub(crate) const OWN_KEY_FILE: &str = "at_rest.key";

/// `service.at_rest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtRest {
    /// Whether.
    pub encrypt: Encrypt,
    /// Where its keys come from.
    pub keys: KeysFrom,
}

/// `service.at_rest.encrypt`, with what the rules ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encrypt {
    /// Nobody asks for it: a store that is encrypted stays so, and another stays in clear.
    #[default]
    AsItIs,
    /// It is written, or a rule asks for it.
    Yes,
    /// `encrypt = false`.
    No,
}

/// Where keys come from: age identities, the first of which encrypts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeysFrom {
    /// None is named: `at_rest.key` in the data folder, which is made where it is needed first.
    #[default]
    DataFolder,
    /// `key_file`, absolute.
    File(PathBuf),
    /// `key_command`: it prints them.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// Where it is run: the folder of the configuration.
        folder: PathBuf,
    },
    /// `key_credential`: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}
