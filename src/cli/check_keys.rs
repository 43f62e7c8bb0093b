//! What `landfall check` says of the keys that rules name: those that a source or an output would be refused for, judged as the service does.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::check_about::{About, Finding, Level};
use super::check_rights;
use crate::api::judge_tls;
use crate::config::Places;
use crate::decode::{KeyUse, SecretKeyPassphrase, judge_key_file};
use crate::durable_fs;
use crate::listing::keys::{FILES_MAX, files_of};
use crate::model::api::Listen;
use crate::model::fault::{Fault, JobError};
use crate::model::rule::{Output, Settings};
use crate::model::template::{known_part, variables};
use crate::output::{OutputError, OutputPlan};

/// The key of the control API, and its certificate: without them the service does not start.
pub(super) fn of_api(settings: &Settings, places: &Places) -> Option<Finding> {
    let api = &settings.service.api;
    let tls = api.tls.as_ref().filter(|_| matches!(api.listen, Listen::Port(_)))?;
    let error = judge_tls(tls).err()?;
    let level = level_of(settings);
    let JobError { message, hint, .. } = JobError::from_fault(&error);
    Some(Finding { level, problem: places.of_service("tls", message, hint.as_deref().unwrap_or_default()) })
}

/// Another user's rights say nothing of what the service may read.
fn level_of(settings: &Settings) -> Level {
    if check_rights::tell_of_keys(&settings.service.data_dir) { Level::Problem } else { Level::Warning }
}

impl About<'_> {
    /// Those that open its sources, and those of the signers that count.
    pub(super) fn keys_that_open_nothing(&mut self) {
        let decode = &self.rule.decode;
        let passphrase_file = decode.passphrase_file.as_deref().map(known_part).unwrap_or_default();
        // Which one a sender's key goes with is not known before his file.
        let passphrase = match decode.passphrase_file.as_deref() {
            None => SecretKeyPassphrase::NotSet,
            Some(text) if variables(text).is_empty() => SecretKeyPassphrase::File(&passphrase_file),
            Some(_) => SecretKeyPassphrase::Varies,
        };
        for (position, text) in decode.identities.iter().enumerate() {
            let is_one = variables(text).is_empty();
            let passphrase = if is_one { passphrase } else { SecretKeyPassphrase::Varies };
            let position = position.to_string();
            self.judge_all(&["decode", "identities", &position], text, KeyUse::Identity(passphrase));
        }
        if let Some(text) = &decode.passphrase_file {
            self.judge_all(&["decode", "passphrase_file"], text, KeyUse::Passphrase);
        }
        for (position, text) in decode.signers.iter().enumerate() {
            self.judge_all(&["decode", "signers", &position.to_string()], text, KeyUse::Signer);
        }
        for (position, key) in decode.symmetric_encryption.iter().enumerate() {
            let place = ["decode", "symmetric_encryption", "keys", &position.to_string(), "key_file"];
            self.judge(&place, &key.key_file, KeyUse::Symmetric);
        }
    }

    /// Of a path with variables, the files that are there.
    fn judge_all(&mut self, place: &[&str], template: &str, key_use: KeyUse<'_>) {
        let files = files_of(template);
        if files.len() >= FILES_MAX {
            let message = format!("more than {FILES_MAX} files may be meant: only so many are looked at");
            self.note(place, message, "the others are judged when a source needs them");
        }
        for file in files {
            self.judge(place, &file, key_use);
        }
    }

    /// One that is not there, or not for this user to read, is told by itself.
    fn judge(&mut self, place: &[&str], file: &Path, key_use: KeyUse<'_>) {
        if !is_readable(file) {
            return;
        }
        if let Err(error) = judge_key_file(file, key_use) {
            self.refused(place, &error);
        }
    }

    /// Those that its outputs are encrypted to; the keys of the configuration of which something is told.
    pub(super) fn recipients_refused(&mut self) -> BTreeSet<Vec<String>> {
        let mut told = BTreeSet::new();
        for (category, output) in &self.rule.outputs {
            let Output { recipients_file: Some(file), .. } = output else { continue };
            let mut alone = self.rule.clone();
            alone.outputs.retain(|name, _| name == category);
            match OutputPlan::build(&alone, std::slice::from_ref(category)).err() {
                None => {}
                Some(OutputError::RecipientsFile { .. }) if !is_readable(file) => {}
                Some(error) => {
                    let place = ["output", category.as_str(), "recipients_file"];
                    self.refused(&place, &error);
                    told.insert(place.map(str::to_owned).to_vec());
                }
            }
        }
        told
    }

    fn refused(&mut self, place: &[&str], error: &dyn Fault) {
        let level = level_of(self.settings);
        let JobError { message, hint, .. } = JobError::from_fault(error);
        self.tell(level, place, message, hint.as_deref().unwrap_or_default());
    }
}

/// Whether it is there, and this user may read it; else that is told by itself.
fn is_readable(file: &Path) -> bool {
    // What is no regular file is refused by who uses it.
    let told = [ErrorKind::NotFound, ErrorKind::PermissionDenied];
    durable_fs::open_named(file).map_or_else(|error| !told.contains(&error.kind()), |_| true)
}
