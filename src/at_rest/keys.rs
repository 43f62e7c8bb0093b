//! Where keys come from: a file, a program, systemd's credentials, or the data folder.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use age::secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::command::{self, KEYS_BYTES_MAX};
use super::{KeyRing, KeysError};
use crate::durable_fs;
use crate::model::at_rest::{KeysFrom, OWN_KEY_FILE};
use crate::model::os_text::escaped_path;

const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The keys, which must be there.
pub(crate) fn load(keys: &KeysFrom, data_dir: &Path) -> Result<KeyRing, KeysError> {
    match keys {
        KeysFrom::DataFolder => read(&data_dir.join(OWN_KEY_FILE), true),
        KeysFrom::File(path) => read(path, true),
        KeysFrom::Credential(name) => {
            let folder = std::env::var_os(CREDENTIALS).filter(|folder| !folder.is_empty());
            let folder = folder.ok_or_else(|| KeysError::NoCredentials { name: name.clone() })?;
            // systemd sees to it who may read there.
            read(&PathBuf::from(folder).join(name), false)
        }
        KeysFrom::Command { command, folder } => {
            let text = command::run(command, folder).map_err(|detail| KeysError::Command { detail })?;
            parse(&text, "what `service.at_rest.key_command` prints".to_owned())
        }
    }
}

/// The keys of a store that has none yet: where none are named, one is made in the data folder.
pub(crate) fn load_or_make(keys: &KeysFrom, data_dir: &Path) -> Result<KeyRing, KeysError> {
    if *keys == KeysFrom::DataFolder {
        let path = data_dir.join(OWN_KEY_FILE);
        match durable_fs::kind_at(&path) {
            Ok(Some(_)) => {}
            Ok(None) => make(&path)?,
            Err(source) => return Err(KeysError::Read { path, source }),
        }
    }
    load(keys, data_dir)
}

/// Durable before anything is sealed by it.
fn make(path: &Path) -> Result<(), KeysError> {
    let identity = age::x25519::Identity::generate();
    let public = identity.to_public();
    let secret = identity.to_string();
    let text = Zeroizing::new(format!("# public key: {public}\n{}\n", secret.expose_secret()));
    durable_fs::write_secret(path, text.as_bytes())
        .map_err(|error| KeysError::Make { path: path.to_owned(), source: error.source })?;
    tracing::info!(path = escaped_path(path), key = %public, "a key was made by which the store is encrypted: who has the whole data folder has it too");
    Ok(())
}

fn read(path: &Path, is_checked: bool) -> Result<KeyRing, KeysError> {
    let failed = |source| KeysError::Read { path: path.to_owned(), source };
    let file = durable_fs::open_named(path).map_err(failed)?;
    if is_checked {
        check_mode(path, &file)?;
    }
    let mut text = Zeroizing::new(String::with_capacity(4 << 10));
    file.take(KEYS_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > KEYS_BYTES_MAX {
        return Err(failed(io::Error::other("it is too long for a file of keys")));
    }
    parse(&text, format!("the key file {}", escaped_path(path)))
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), KeysError> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = file.metadata().map_err(|source| KeysError::Read { path: path.to_owned(), source })?;
    let mode = found.permissions().mode() & 0o7777;
    // A shell's pipe (`/dev/fd/63`) is whose process it is.
    let by = match mode {
        _ if !found.is_file() => return Ok(()),
        mode if mode & 0o007 != 0 => "read or changed by every user",
        mode if mode & 0o020 != 0 => "changed by its group",
        _ => return Ok(()),
    };
    Err(KeysError::Open { path: path.to_owned(), by, mode })
}

/// Who may read it there is in its list of rights, which is not looked at.
#[cfg(not(unix))]
fn check_mode(_: &Path, _: &File) -> Result<(), KeysError> {
    Ok(())
}

fn parse(text: &str, from: String) -> Result<KeyRing, KeysError> {
    if text.trim_start().starts_with("age-encryption.org/") || text.contains("BEGIN AGE ENCRYPTED FILE") {
        return Err(KeysError::Encrypted { from });
    }
    let mut identities = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        // What the crate complains of may have a part of the key in it.
        let Ok(identity) = age::x25519::Identity::from_str(text) else {
            return Err(KeysError::NoIdentity { from, line });
        };
        identities.push(identity);
    }
    KeyRing::new(identities, from.clone()).ok_or(KeysError::Empty { from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_for_its_user_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        load(&KeysFrom::DataFolder, folder.path()).expect_err("there is none yet");
        let made = load_or_make(&KeysFrom::DataFolder, folder.path()).expect("is made");
        let again = load_or_make(&KeysFrom::DataFolder, folder.path()).expect("is there");
        assert_eq!(made.recipient(), again.recipient());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = folder.path().join(OWN_KEY_FILE);
            assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
            for (mode, word) in [(0o604, "every user"), (0o660, "group")] {
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("changes");
                let error = load(&KeysFrom::DataFolder, folder.path()).expect_err("others may read it");
                assert!(error.to_string().contains(word), "{error}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_told_by_its_line_and_never_shown() {
        let from = || "the file".to_owned();
        let identity = age::x25519::Identity::generate();
        let good = identity.to_string();
        let damaged = good.expose_secret().to_lowercase().replace('1', "2");
        let error = parse(&format!("# one\n\n{damaged}\n"), from()).expect_err("is no key").to_string();
        assert_eq!(error, "line 3 of the file is no age identity");
        assert_eq!(parse("# none\n", from()).expect_err("none").to_string(), "the file holds no key");
        let ring = parse(&format!("{}\r\n", good.expose_secret()), from()).expect("is one");
        assert_eq!(ring.recipient(), identity.to_public().to_string());
    }

    #[cfg(unix)]
    #[test]
    fn a_command_prints_the_keys() {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = age::x25519::Identity::generate();
        let keys = |script: &str| KeysFrom::Command {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            folder: folder.path().to_owned(),
        };
        let script = format!("echo '{}'", identity.to_string().expose_secret());
        let ring = load(&keys(&script), folder.path()).expect("prints one");
        assert_eq!(ring.recipient(), identity.to_public().to_string());
        let error =
            load(&keys("echo the vault is sealed >&2; exit 3"), folder.path()).expect_err("ends with 3");
        let said = error.to_string();
        assert!(said.contains("the vault is sealed") && said.contains('3'), "{said}");
        let said = load(&keys(&format!("{script} >&2; exit 1")), folder.path())
            .expect_err("ends with 1")
            .to_string();
        assert!(!said.to_uppercase().contains("AGE-SECRET"), "{said}");
    }
}
