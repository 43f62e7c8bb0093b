//! What programs of steps do not reach unless their step says so: what the service keeps, takes and makes, and its keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::file_systems::{folders_of, watched_folders};
use crate::durable_fs::parent_of;
use crate::model::at_rest::KeysFrom;
use crate::model::hook::Hook;
use crate::model::rule::{Rule, Service, Settings};
use crate::model::template::{known_part, variables};
use crate::pipeline::Registry;

/// What the service keeps to itself, and which key names it.
pub(crate) struct Kept {
    pub key: String,
    pub path: PathBuf,
    /// It lets who reads it in elsewhere, or has others' data in it whatever rule it is of. Else it is a folder that files go through.
    pub is_secret: bool,
}

/// By names alone: no file system is asked.
pub(super) fn paths_of(service: &Service, rules: &[Rule]) -> Vec<PathBuf> {
    let kept = of_service(service).into_iter().chain(rules.iter().flat_map(of_rule));
    // The root has all in it that programs need: that what lies below is private is told by no name.
    kept.map(|kept| kept.path).filter(|path| path.parent().is_some()).collect()
}

/// Folders of files with rules: what lies beside those is the configuration, or was it.
pub(super) fn folders_closed(rules: &[Rule]) -> Vec<PathBuf> {
    let folders: BTreeSet<_> = rules.iter().map(|rule| rule.base_dir.clone()).collect();
    folders.into_iter().filter(|folder| folder.is_absolute()).collect()
}

/// All of it.
pub(crate) fn kept_by(settings: &Settings) -> Vec<Kept> {
    let hooks = settings.hooks.iter().filter_map(|hook| {
        Some(Kept::secret(format!("hook \"{}\"", hook.name), hook.secret_file()?.clone()))
    });
    let own = of_service(&settings.service).into_iter().chain(hooks);
    let file = Kept::secret("the configuration", settings.file.clone());
    own.chain([file]).chain(settings.rules.iter().flat_map(of_rule)).collect()
}

/// Programs of steps that this registry makes do not reach it, whoever starts them.
pub(crate) fn keep_private(registry: &Registry, settings: &Settings) {
    let paths = kept_by(settings).into_iter().map(|kept| kept.path).filter(|path| path.parent().is_some());
    let mut closed = folders_closed(&settings.rules);
    closed.push(parent_of(&settings.file).to_owned());
    registry.surroundings().keep_private("settings", paths.collect(), closed);
}

impl Kept {
    fn secret(key: impl Into<String>, path: PathBuf) -> Self {
        Self { key: key.into(), path, is_secret: true }
    }

    fn folder(key: &str, path: PathBuf) -> Self {
        Self { key: key.to_owned(), path, is_secret: false }
    }
}

fn of_service(service: &Service) -> Vec<Kept> {
    let mut kept = vec![Kept::secret("service.data_dir", service.data_dir.clone())];
    match &service.at_rest.keys {
        KeysFrom::File(file) => kept.push(Kept::secret("service.at_rest", file.clone())),
        KeysFrom::Command { command, folder } => {
            // What is no file by that name is no loss.
            let names = command.iter().skip(1).flat_map(|argument| names_in(argument));
            kept.extend(names.map(|name| Kept::secret("service.at_rest", folder.join(name))));
        }
        KeysFrom::Credential(_) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
            kept.extend(folder.map(|folder| Kept::secret("service.at_rest", folder.into())));
        }
        KeysFrom::DataFolder => {}
    }
    kept.extend(service.api.tls.iter().map(|tls| Kept::secret("service.tls", tls.key.clone())));
    let bearer = service.traces.iter().filter_map(|collector| collector.bearer_file.clone());
    kept.extend(bearer.map(|file| Kept::secret("service.traces", file)));
    kept
}

/// Names of files in an argument: itself, and whole paths within it, as an option has them (`-i/keys/main`, `--identity=/keys/main`) and a
/// shell's script. Where programs lie no key does; and a folder right below the root (`cd /etc`) is not what is meant by it.
fn names_in(argument: &str) -> Vec<&str> {
    const PROGRAMS: &[&str] = &["/bin", "/sbin", "/usr", "/lib"];
    let is_mark = |c: char| c.is_whitespace() || "'\"`=:,;|&<>(){}".contains(c);
    // `secret/landfall` is no path, but what a vault calls it.
    let begins = |word: &&str| word.starts_with('/') || word.starts_with('-');
    let words = argument.split(is_mark).filter(begins);
    let paths = words.filter_map(|word| word.get(word.find('/')?..));
    let is_deep = |path: &&str| Path::new(path).components().count() > 2;
    let is_program = |path: &str| PROGRAMS.iter().any(|folder| Path::new(path).starts_with(folder));
    let whole = (!argument.starts_with('-')).then_some(argument);
    paths.filter(|path| is_deep(path) && !is_program(path)).chain(whole).collect()
}

fn of_rule(rule: &Rule) -> Vec<Kept> {
    let key = |of: &str| format!("{of} of rule \"{}\"", rule.name);
    let keys = keys_of(rule).map(|found| Kept::secret(key("decode"), found.path));
    let watched = watched_folders(rule).into_iter().map(|folder| Kept::folder(&key("paths"), folder));
    let made = folders_of(rule).into_iter().map(|folder| Kept::folder(&key("outputs and archives"), folder));
    let theirs = rule.compare.iter().map(|folder| Kept::folder(&key("compare"), folder.clone()));
    keys.chain(watched).chain(made).chain(theirs).collect()
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
    fn a_key_that_a_command_names_is_found_wherever_it_stands_and_nothing_else_is_taken_for_one() {
        for (argument, names) in [
            ("/keys/main", &["/keys/main", "/keys/main"][..]),
            ("at_rest.age", &["at_rest.age"]),
            ("--identity=/keys/main", &["/keys/main"]),
            ("-i/keys/main", &["/keys/main"]),
            ("-field=key", &[]),
            ("kv/etc", &["kv/etc"]),
            ("https://vault/etc/x", &["//vault/etc/x", "https://vault/etc/x"]),
            ("cd /etc && cat '/keys/a b' /k/c", &["/keys/a", "/k/c", "cd /etc && cat '/keys/a b' /k/c"]),
            ("/usr/bin/age -d </k/x", &["/k/x", "/usr/bin/age -d </k/x"]),
        ] {
            assert_eq!(names_in(argument), names, "{argument}");
        }
    }

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
        let option = format!("--identity={}", text("keys/main"));
        let script = format!("/usr/bin/age -d -i{} '{}'", text("keys/other"), text("keys/third"));
        let command = ["age", "-d", &option, "at_rest.age", &script].map(str::to_owned).to_vec();
        service.at_rest.keys = KeysFrom::Command { command, folder: world.path("conf") };
        let paths = paths_of(&service, &[]);
        let in_options: &[&str] = if cfg!(unix) { &["keys/main", "keys/other", "keys/third"] } else { &[] };
        for path in in_options.iter().chain(&["conf/at_rest.age"]) {
            assert!(paths.contains(&world.path(path)), "{path}: {paths:#?}");
        }
        assert!(!paths.contains(&"/usr/bin/age".into()));
        rule.outputs.values_mut().for_each(|output| output.path = "/{sender}/{stem}".into());
        rule.compare = Some(world.path("theirs"));
        let paths = paths_of(&service, std::slice::from_ref(&rule));
        assert!(!paths.contains(&PathBuf::from("/")), "all that programs need lies there");
        assert!(paths.contains(&world.path("theirs")) && paths.contains(&world.path("archive")));
        let folders: Vec<bool> = keys_of(&rule).map(|key| key.is_folder).collect();
        assert_eq!(folders, [false, true, false]);
    }
}
