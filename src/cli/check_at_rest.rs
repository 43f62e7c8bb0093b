//! What `landfall check` says of encryption at rest (`service.at_rest`).

use super::check_about::{Finding, Level};
use crate::at_rest;
use crate::config::{self, Places};
use crate::model::at_rest::{AtRest, Encrypt, KeysFrom, OWN_KEY_FILE};
use crate::model::fault::JobError;
use crate::model::os_text::escaped_path;
use crate::model::rule::Settings;

/// Where the key lies beside what it encrypts; where it cannot be had; where nothing is encrypted although it could be expected.
pub(super) fn find(settings: &Settings, places: &Places) -> Option<Finding> {
    let AtRest { encrypt, keys } = &settings.service.at_rest;
    let found = |level, message: String, hint: &str| {
        Some(Finding { level, problem: places.of_service("at_rest", message, hint) })
    };
    match (encrypt, keys) {
        // A program is not run, and systemd gives its credentials to the service alone.
        (Encrypt::AsItIs, _) | (Encrypt::Yes, KeysFrom::Command { .. } | KeysFrom::Credential(_)) => None,
        (Encrypt::No, _) => {
            let as_default = AtRest { encrypt: Encrypt::AsItIs, keys: keys.clone() };
            let is_wanted = config::resolved(&as_default, &settings.rules).encrypt == Encrypt::Yes;
            let message = "what a rule decrypts lies in the data folder in clear".to_owned();
            let hint = "take `encrypt = false` out: then it is encrypted there";
            is_wanted.then(|| found(Level::Warning, message, hint)).flatten()
        }
        (Encrypt::Yes, KeysFrom::DataFolder) => {
            let key = escaped_path(&settings.service.data_dir.join(OWN_KEY_FILE));
            let message = format!(
                "the data folder is encrypted by a key that lies in it, {key}: whoever takes the whole data folder has both"
            );
            let hint = "name a key that lies elsewhere: `at_rest = { key_file = \"…\" }`, `key_command` or `key_credential`";
            found(Level::Note, message, hint)
        }
        (Encrypt::Yes, KeysFrom::File(file)) => {
            let ring = match at_rest::load(keys, &settings.service.data_dir) {
                Ok(ring) => ring,
                Err(error) => {
                    let JobError { message, hint, .. } = JobError::from_fault(&error);
                    return found(Level::Warning, message, hint.as_deref().unwrap_or_default());
                }
            };
            // One that was made before a file was named.
            let made = at_rest::load(&KeysFrom::DataFolder, &settings.service.data_dir).ok()?;
            let made_in = escaped_path(&settings.service.data_dir.join(OWN_KEY_FILE));
            let (file, is_there) = (escaped_path(file), ring.has(made.recipient()));
            let message =
                format!("what {made_in} encrypted does not open by {file}: it does not hold that key");
            let hint = format!(
                "append it, behind the key that is to encrypt: `cat {made_in} >> {file}`; or remove it, once the log said that it is needed no more"
            );
            (!is_there).then(|| found(Level::Warning, message, &hint)).flatten()
        }
    }
}
