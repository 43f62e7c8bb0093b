//! What programs of steps do not reach unless their step says so: what the service keeps, takes and makes, and its keys.

use std::path::PathBuf;

use super::file_systems::{folders_of, watched_folders};
use crate::model::at_rest::KeysFrom;
use crate::model::hook::Hook;
use crate::model::rule::{Rule, Service};
use crate::model::template::{known_part, variables};

/// By names alone: no file system is asked.
pub(super) fn paths_of(service: &Service, rules: &[Rule]) -> Vec<PathBuf> {
    let mut paths = vec![service.data_dir.clone()];
    if let KeysFrom::File(file) = &service.at_rest.keys {
        paths.push(file.clone());
    }
    paths.extend(service.api.tls.iter().map(|tls| tls.key.clone()));
    paths.extend(service.traces.iter().filter_map(|collector| collector.bearer_file.clone()));
    for rule in rules {
        paths.extend(keys_of(rule).map(|key| key.path));
        paths.extend(watched_folders(rule).into_iter().chain(folders_of(rule)));
    }
    paths
}

/// Files of tokens.
pub(super) fn paths_of_hooks(hooks: &[Hook]) -> Vec<PathBuf> {
    hooks.iter().filter_map(Hook::secret_file).cloned().collect()
}

/// Where keys are read.
pub(crate) struct KeyPath {
    pub path: PathBuf,
    /// The file's name has a variable: it is one in this folder.
    pub is_folder: bool,
}

/// Of a rule that decrypts.
pub(crate) fn keys_of(rule: &Rule) -> impl Iterator<Item = KeyPath> + use<'_> {
    let decode = &rule.decode;
    let named = decode.identities.iter().chain(&decode.passphrase_file).chain(&decode.signers);
    let named = named.map(|text| KeyPath { path: known_part(text), is_folder: !variables(text).is_empty() });
    let files = decode.symmetric_encryption.iter().map(|key| key.key_file.clone());
    named.chain(files.map(|path| KeyPath { path, is_folder: false }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn what_the_service_keeps_takes_and_makes_is_private_and_so_are_its_keys() {
        let world = World::with(r#"source = { on_success = "archive", archive_dir = "archive/{date}" }"#);
        let mut rule = Rule::clone(&world.rule());
        let text = |name: &str| world.path(name).display().to_string();
        rule.decode.identities = vec![text("one.key"), text("keys/{sender}.key")];
        rule.decode.passphrase_file = Some(text("words"));
        let mut service = world.shared.service.clone();
        service.at_rest.keys = KeysFrom::File(world.path("at_rest.keys"));
        let paths = paths_of(&service, std::slice::from_ref(&rule));
        for path in ["data", "in", "out", "archive", "one.key", "keys", "words", "at_rest.keys"] {
            assert!(paths.contains(&world.path(path)), "{path}: {paths:#?}");
        }
        let folders: Vec<bool> = keys_of(&rule).map(|key| key.is_folder).collect();
        assert_eq!(folders, [false, true, false]);
    }
}
