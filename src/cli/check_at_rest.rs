//! What `landfall check` says of encryption at rest (`service.at_rest`).

use std::path::Path;

use super::check_about::{Finding, Level};
use super::check_rights;
use crate::at_rest::{self, KeysError};
use crate::config::{self, Places};
use crate::control;
use crate::model::at_rest::{AtRest, Encrypt, KeysFrom, OWN_KEY_FILE};
use crate::model::fault::JobError;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Mode, Service, Settings};
use crate::service::shadow::settings_aside;
use crate::store::{self, StoreError};

/// Where the key lies beside what it encrypts; where a start would refuse the keys; where nothing is encrypted although it could be expected.
pub(super) fn find(settings: &Settings, places: &Places) -> Vec<Finding> {
    let about = About { settings, places };
    let mut findings: Vec<Finding> = about.in_clear().into_iter().collect();
    findings.extend(about.key_beside());
    findings.extend(about.refused_keys());
    findings
}

struct About<'a> {
    settings: &'a Settings,
    places: &'a Places,
}

impl About<'_> {
    fn found(&self, level: Level, message: String, hint: &str) -> Finding {
        Finding { level, problem: self.places.of_service("at_rest", message, hint) }
    }

    fn in_clear(&self) -> Option<Finding> {
        let AtRest { encrypt, keys } = &self.settings.service.at_rest;
        let as_default = AtRest { encrypt: Encrypt::AsItIs, keys: keys.clone() };
        let is_wanted = config::resolved(&as_default, &self.settings.rules).encrypt == Encrypt::Yes;
        let message = "what a rule decrypts lies in the data folder in clear".to_owned();
        let hint = "take `encrypt = false` out: then it is encrypted there";
        (*encrypt == Encrypt::No && is_wanted).then(|| self.found(Level::Warning, message, hint))
    }

    fn key_beside(&self) -> Option<Finding> {
        let Service { at_rest, data_dir, .. } = &self.settings.service;
        if *at_rest != (AtRest { encrypt: Encrypt::Yes, keys: KeysFrom::DataFolder }) {
            return None;
        }
        let key = escaped_path(&data_dir.join(OWN_KEY_FILE));
        let message = format!(
            "the data folder is encrypted by a key that lies in it, {key}: whoever takes the whole data folder has both"
        );
        let hint = "name a key that lies elsewhere: `at_rest = { key_file = \"…\" }`, `key_command` or `key_credential`";
        Some(self.found(Level::Note, message, hint))
    }

    /// Judged as a start judges them, from the same list of keys. Shadow rules have a store of their own.
    fn refused_keys(&self) -> Option<Finding> {
        let service = &self.settings.service;
        let is_run = matches!(service.at_rest.keys, KeysFrom::Command { .. });
        // What the service's user may have written is not run by another, least of all by root.
        if is_run && !check_rights::runs_programs(&service.data_dir) {
            let message =
                "`key_command` is not run, and its keys are not judged: this is not the service's user";
            let hint = "ask as the user who owns the data folder: it is run for him";
            return Some(self.found(Level::Note, message.to_owned(), hint));
        }
        if let Some(refused) = self.refused_by(service, "") {
            return Some(refused);
        }
        let has_shadows = self.settings.rules.iter().any(|rule| rule.mode == Mode::Shadow);
        let aside = has_shadows.then(|| settings_aside(self.settings).service)?;
        let refused = self.refused_by(&aside, "shadow rules would not be watched: ")?;
        Some(Finding { level: Level::Warning, ..refused }) // the others are
    }

    fn refused_by(&self, service: &Service, what: &str) -> Option<Finding> {
        let Service { data_dir, at_rest, .. } = service;
        let needed = control::keys_needed(service);
        let judged = store::judge_keys(needed.as_deref().unwrap_or_default(), at_rest, data_dir);
        let error = match judged {
            Err(error) => error,
            Ok(()) if needed.is_some() => return None,
            Ok(()) => {
                let other = self.not_the_one_made(at_rest, data_dir);
                return other.or_else(|| self.not_looked_up(at_rest, data_dir));
            }
        };
        if let StoreError::NoKey { key, .. } = &error
            && let Some((message, hint)) = lacks_made(at_rest, data_dir, |made| made.has(key))
        {
            return Some(self.found(Level::Problem, format!("{what}{message}"), &hint));
        }
        let level = match &error {
            StoreError::Keys { source, .. } => level_of(source.downcast_ref(), data_dir),
            _ => Level::Problem,
        };
        let JobError { message, hint, .. } = JobError::from_fault(&error);
        Some(self.found(level, format!("{what}{message}"), hint.as_deref().unwrap_or_default()))
    }

    /// Whose store it is has the list of its keys, and what he may read is not what this user may.
    fn not_looked_up(&self, at_rest: &AtRest, data_dir: &Path) -> Option<Finding> {
        if at_rest.encrypt != Encrypt::Yes || check_rights::are_the_services(data_dir) {
            return None;
        }
        let user = check_rights::user_word(check_rights::service_user(data_dir));
        let message =
            format!("whether these keys open the store is not looked up: the data folder is of user {user}");
        let hint = format!(
            "`sudo -u {} landfall check` judges them as a start does; so does a running service that is asked",
            check_rights::sudo_word(&user)
        );
        Some(self.found(Level::Note, message, &hint))
    }

    /// Nobody says which keys are needed: one that was made before a file was named may be.
    fn not_the_one_made(&self, at_rest: &AtRest, data_dir: &Path) -> Option<Finding> {
        if at_rest.encrypt != Encrypt::Yes || !matches!(at_rest.keys, KeysFrom::File(_)) {
            return None;
        }
        let ring = at_rest::load(&at_rest.keys, data_dir).ok()?;
        let (message, hint) = lacks_made(at_rest, data_dir, |made| !ring.has(made.recipient()))?;
        Some(self.found(Level::Warning, message, &hint))
    }
}

/// What is said where the key that was made in the data folder lacks in the named file.
fn lacks_made(
    at_rest: &AtRest,
    data_dir: &Path,
    lacks: impl Fn(&at_rest::KeyRing) -> bool,
) -> Option<(String, String)> {
    let KeysFrom::File(file) = &at_rest.keys else { return None };
    let made = at_rest::load(&KeysFrom::DataFolder, data_dir).ok()?;
    let (made_in, file) = (escaped_path(&data_dir.join(OWN_KEY_FILE)), escaped_path(file));
    let message = format!("what {made_in} encrypted does not open by {file}: it does not hold that key");
    let hint = format!(
        "append it, behind the key that is to encrypt: `cat {made_in} >> {file}`; or remove it, once the log said that it is needed no more"
    );
    lacks(&made).then_some((message, hint))
}

/// Where systemd gives a key to the service alone, or this user's rights say nothing, a start may find what is not found here.
fn level_of(error: Option<&KeysError>, data_dir: &Path) -> Level {
    match error {
        Some(KeysError::NoCredentials { .. }) => Level::Warning,
        _ if !check_rights::tell_of_keys(data_dir) => Level::Warning,
        _ => Level::Problem,
    }
}
