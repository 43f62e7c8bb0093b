//! Where keys come from: a file, a program, systemd's credentials, or the data folder.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use age::secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::command::{self, KEYS_BYTES_MAX};
use super::{KeyRing, KeysError};
use crate::durable_fs;
use crate::key_file::{self, Rights, Unusable};
use crate::model::at_rest::{KeysFrom, OWN_KEY_FILE};
use crate::model::os_text::escaped_path;

/// Of a file that we write; both keys have less than 80.
const OWN_BYTES_MAX: usize = 256;
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The keys, which must be there.
pub(crate) fn load(keys: &KeysFrom, data_dir: &Path) -> Result<KeyRing, KeysError> {
    let judged = || Rights::Judged { service_user: key_file::service_user(data_dir) };
    match keys {
        KeysFrom::DataFolder => read(&data_dir.join(OWN_KEY_FILE), judged()),
        KeysFrom::File(path) => read(path, judged()),
        KeysFrom::Credential(name) => {
            let folder = std::env::var_os(CREDENTIALS).filter(|folder| !folder.is_empty());
            let folder = folder.ok_or_else(|| KeysError::NoCredentials { name: name.clone() })?;
            // systemd sees to it who may read there.
            read(&PathBuf::from(folder).join(name), Rights::AsTheyAre)
        }
        KeysFrom::Command { command, folder } => {
            let text = command::run(command, folder).map_err(|detail| KeysError::Command { detail })?;
            parse(&text, "what `service.at_rest.key_command` prints".to_owned())
        }
    }
}

/// The keys of a store that has none yet: where none are named, one is made in the data folder.
pub(crate) fn load_or_make(keys: &KeysFrom, data_dir: &Path) -> Result<KeyRing, KeysError> {
    if let Some(ring) = load_if_made(keys, data_dir)? {
        return Ok(ring);
    }
    make(&data_dir.join(OWN_KEY_FILE))?;
    load(keys, data_dir)
}

/// The same, without making one; none: one would be made.
pub(crate) fn load_if_made(keys: &KeysFrom, data_dir: &Path) -> Result<Option<KeyRing>, KeysError> {
    if *keys == KeysFrom::DataFolder {
        let path = data_dir.join(OWN_KEY_FILE);
        match durable_fs::kind_at(&path) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(source) => return Err(KeysError::Read { path, source }),
        }
    }
    load(keys, data_dir).map(Some)
}

/// Durable before anything is sealed by it.
fn make(path: &Path) -> Result<(), KeysError> {
    let identity = age::x25519::Identity::generate();
    let public = identity.to_public().to_string();
    let secret = identity.to_string();
    // Never grown: no copy is left behind.
    let mut text = Zeroizing::new(String::with_capacity(OWN_BYTES_MAX));
    for part in ["# public key: ", &public, "\n", secret.expose_secret(), "\n"] {
        text.push_str(part);
    }
    durable_fs::write_secret(path, text.as_bytes())
        .map_err(|error| KeysError::Make { path: path.to_owned(), source: error.source })?;
    tracing::info!(
        path = escaped_path(path),
        key = public,
        "a key was made by which the store is encrypted: who has the whole data folder has it too"
    );
    Ok(())
}

fn read(path: &Path, rights: Rights) -> Result<KeyRing, KeysError> {
    let failed = |source| KeysError::Read { path: path.to_owned(), source };
    let bytes = key_file::read(path, KEYS_BYTES_MAX, rights).map_err(|unusable| match unusable {
        Unusable::Read(source) => failed(source),
        #[cfg(unix)]
        Unusable::Open { by, mode } => KeysError::Open { path: path.to_owned(), by, mode },
    })?;
    let text = key_file::text_of(&bytes).map_err(failed)?;
    parse(&text, format!("the key file {}", escaped_path(path)))
}

fn parse(text: &str, from: String) -> Result<KeyRing, KeysError> {
    if key_file::is_encrypted(text) {
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
        let too_long = format!("{script}; head -c 65536 /dev/zero | tr '\\0' '#'");
        let said = load(&keys(&too_long), folder.path()).expect_err("is too long").to_string();
        assert!(said.contains("more than 64 KiB"), "{said}");
        let said = load(&keys(&format!("{script} >&2; exit 1")), folder.path())
            .expect_err("ends with 1")
            .to_string();
        assert!(!said.to_uppercase().contains("AGE-SECRET"), "{said}");
    }
}
