//! Which rules use the same file systems: where one hangs, the rules of others go on.
//!
//! Told by the names of a rule's folders and the system's list of mounts: to ask a file system where it is could hang.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable_fs::Mounts;
use crate::model::rule::Rule;
use crate::model::template::fixed_folder;
use crate::pipeline::steps::exec;

/// Rules that are watched by one thread, and the folders below which their files lie.
#[derive(Debug)]
pub(super) struct WatchedTogether {
    pub rules: Vec<Arc<Rule>>,
    pub folders: Vec<PathBuf>,
}

/// Each rule's name with a name of all file systems that it uses: jobs of rules with the same ones are finished together.
pub(super) fn groups<'r>(
    rules: impl IntoIterator<Item = &'r Arc<Rule>>,
    mounts: &Mounts,
) -> HashMap<Arc<str>, Arc<str>> {
    let mut used: HashMap<Arc<str>, BTreeSet<PathBuf>> = HashMap::new();
    for rule in rules {
        // Those of its overrides, too.
        used.entry(Arc::from(rule.name.as_str())).or_default().extend(used_by(rule, mounts));
    }
    used.into_iter().map(|(name, used)| (name, named(&used))).collect()
}

/// A name of all file systems that a rule uses. What lies below its mount is on that, also while it is away.
pub(super) fn group_of(rule: &Rule, mounts: &Mounts) -> Arc<str> {
    named(&used_by(rule, mounts))
}

/// The mounts of all folders that a rule uses.
pub(super) fn used_by(rule: &Rule, mounts: &Mounts) -> BTreeSet<PathBuf> {
    let of = |folder: PathBuf| match &rule.publish.mount {
        Some(mount) if folder.starts_with(mount) => mount.clone(),
        _ => mounts.of(&folder),
    };
    watched_folders(rule).into_iter().chain(folders_of(rule)).map(of).collect()
}

/// Where the programs of a rule's steps may lie, and the folder that they are started in. Its files lie elsewhere: no other job waits there.
pub(super) fn program_places(rule: &Rule) -> Vec<PathBuf> {
    let programs = rule.pipeline.iter().filter_map(|step| exec::program_of(step, &rule.base_dir));
    let mut places: Vec<_> = programs.flat_map(|program| exec::places_of(&program)).collect();
    if !places.is_empty() {
        places.push(rule.base_dir.clone());
    }
    places
}

/// A name of the file systems that these folders lie on.
pub(super) fn name_of<'p>(folders: impl IntoIterator<Item = &'p Path>, mounts: &Mounts) -> Arc<str> {
    named(&folders.into_iter().map(|folder| mounts.of(folder)).collect())
}

fn named(used: &BTreeSet<PathBuf>) -> Arc<str> {
    Arc::from(used.iter().map(|mount| mount.to_string_lossy()).collect::<Vec<_>>().join("\n"))
}

/// The folders of a rule that files are written to, as far as they are spelled out before the first variable.
pub(crate) fn folders_of(rule: &Rule) -> Vec<PathBuf> {
    let outputs = rule.outputs.values().map(|output| fixed_folder(&output.path));
    let signals = [&rule.publish.marker, &rule.publish.manifest].into_iter().flatten();
    let archive = rule.source.archive_dir.as_ref().map(|folder| fixed_folder(&format!("{folder}/")));
    let own = [&rule.source.claim_dir, &rule.source.quarantine_dir].into_iter().flatten().cloned();
    let all = outputs.chain(signals.map(|path| fixed_folder(path))).chain(archive).chain(own);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The mounts of all that these rules and the data folder use, each with one of their folders on it; mounts are told by names alone.
pub(crate) fn disks_of(rules: &[Rule], data_dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mounts = Mounts::now();
    let mut disks = BTreeMap::from([(mounts.of(data_dir), data_dir.to_owned())]);
    for folder in rules.iter().flat_map(|rule| watched_folders(rule).into_iter().chain(folders_of(rule))) {
        disks.entry(mounts.of(&folder)).or_insert(folder);
    }
    disks.into_iter().collect()
}

/// Rules whose folders lie on one file system, or in each other, are watched together: a file that two of them match is one candidate.
/// Their order stays.
pub(super) fn watched_together(rules: Vec<Arc<Rule>>, mounts: &Mounts) -> Vec<WatchedTogether> {
    // Each with the places of its rules in the configuration, and their folders.
    let mut together: Vec<(Vec<usize>, Vec<PathBuf>)> = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| rules.get(before));
        if before.is_some_and(|before| (&before.name, &before.paths) == (&rule.name, &rule.paths)) {
            // The rule of an override that has just been placed, or another override of it.
            let with_it = together.iter_mut().find(|(places, _)| places.last() == Some(&(place - 1)));
            if let Some((places, _)) = with_it {
                places.push(place);
                continue;
            }
        }
        let folders = watched_folders(rule);
        let (meets, others) = together.into_iter().partition(|(_, other)| meet(other, &folders, mounts));
        together = others;
        let joined = meets.into_iter().chain([(vec![place], folders)]);
        together.push(joined.reduce(join).unwrap_or_default());
    }
    together.sort();
    let mut rules: Vec<_> = rules.into_iter().map(Some).collect();
    let mut take = |place: usize| rules.get_mut(place).and_then(Option::take);
    let watched = |(places, folders): (Vec<usize>, _)| WatchedTogether {
        rules: places.into_iter().filter_map(&mut take).collect(),
        folders,
    };
    together.into_iter().map(watched).collect()
}

fn join(
    (mut places, mut folders): (Vec<usize>, Vec<PathBuf>),
    other: (Vec<usize>, Vec<PathBuf>),
) -> (Vec<usize>, Vec<PathBuf>) {
    places.extend(other.0);
    places.sort_unstable();
    folders.extend(other.1);
    (places, folders)
}

pub(crate) fn watched_folders(rule: &Rule) -> Vec<PathBuf> {
    rule.paths.good().map(|pattern| pattern.fixed_folder().to_owned()).collect()
}

/// Whether some of these folders lie on the same file system, or in each other.
pub(super) fn meet(some: &[PathBuf], others: &[PathBuf], mounts: &Mounts) -> bool {
    let meet = |one: &Path, other: &Path| {
        mounts.of(one) == mounts.of(other) || one.starts_with(other) || other.starts_with(one)
    };
    some.iter().any(|one| others.iter().any(|other| meet(one, other)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::config;
    use crate::pipeline::Registry;

    /// Rules with these watched folders and outputs.
    fn rules(folders: &[(&str, &str)]) -> Vec<Arc<Rule>> {
        let rule = |(number, (watched, output)): (usize, &(&str, &str))| {
            format!(
                "[[rule]]\nname = \"{number}\"\npaths = [\"{watched}/*\"]\nrecords = {{ format = \"lines\" }}\n\
                 output = {{ main = {{ path = \"{output}/{{stem}}\" }} }}\nsource = {{ on_success = \"delete\" }}\n"
            )
        };
        let rules: String = folders.iter().enumerate().map(rule).collect();
        let text = format!("config_version = 1\n[service]\ndata_dir = \"/data\"\n{rules}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("landfall.toml");
        std::fs::write(&file, text).expect("writes");
        let settings = config::load(&file, &Registry::default()).expect("it is right");
        settings.rules.into_iter().map(Arc::new).collect()
    }

    fn names(together: &[WatchedTogether]) -> Vec<Vec<&str>> {
        together.iter().map(|group| group.rules.iter().map(|rule| rule.name.as_str()).collect()).collect()
    }

    #[test]
    fn rules_are_watched_by_file_system_and_those_that_lie_in_each_other_together() {
        let mounts = Mounts::at(&["/", "/mnt/a", "/mnt/b", "/mnt/b/deep"]);
        let rules = rules(&[
            ("/in", "/out"),
            ("/mnt/a/in", "/out"),
            ("/mnt/b/in", "/out"),
            ("/srv", "/out"),
            ("/mnt/b", "/out"),
            ("/mnt/b/deep/in", "/out"),
        ]);
        assert_eq!(
            names(&watched_together(rules, &mounts)),
            [vec!["0", "3"], vec!["1"], vec!["2", "4", "5"]]
        );
    }

    #[test]
    fn rules_that_use_the_same_file_systems_are_one_group() {
        let mounts = Mounts::at(&["/", "/mnt/a"]);
        let groups = groups(
            &rules(&[("/in", "/out"), ("/in2", "/out2"), ("/in3", "/mnt/a/out"), ("/mnt/a/in", "/out")]),
            &mounts,
        );
        let of = |name: &str| groups[name].clone();
        assert_eq!(of("0"), of("1"));
        assert_eq!(of("2"), of("3"));
        assert_ne!(of("0"), of("2"));
    }
}
