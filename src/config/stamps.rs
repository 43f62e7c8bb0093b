//! How the files of a configuration lie on the disk: whether they still are what they were. It reads none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::texts::{is_test_file, toml_names};

/// Which files count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// The main file, absolute.
    pub main: PathBuf,
    /// Where further rules lie. Several where the main file is wrong: what it said before, and what it seems to say now.
    pub rules_dirs: BTreeSet<PathBuf>,
    /// What is read with the rules beside them: files of recipients.
    pub others: BTreeSet<PathBuf>,
}

/// Every file of a configuration as it lay there; none: it could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    /// Which folders those of further rules are: their device and number, elsewhere the time of their making.
    folders: BTreeMap<PathBuf, Option<(u64, u64, i128)>>,
}

/// What changes when a file does: by whatever way an editor saves it, and where a clock is coarse or is set back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Device, inode, ctime; elsewhere the time of its creation.
    identity: (u64, u64, i128),
}

impl Files {
    /// Looks at the files now; links are followed.
    pub(crate) fn look(&self) -> Stamps {
        let rules = self.rules_dirs.iter().flat_map(|folder| {
            // A folder that is not there has no files.
            let names = toml_names(folder, |name| !is_test_file(name)).unwrap_or_default();
            names.into_iter().map(move |name| folder.join(name))
        });
        let files = rules.chain([self.main.clone()]).chain(self.others.iter().cloned());
        let stamp = |file: PathBuf| {
            let stamp = std::fs::metadata(&file).and_then(|found| Stamp::of(&found)).ok();
            (file, stamp)
        };
        let folder = |folder: &PathBuf| {
            let found = std::fs::metadata(folder).and_then(|found| identity(&found));
            // What is put into it changes its time.
            let identity =
                found.map(|(device, number, time)| (device, number, if cfg!(unix) { 0 } else { time }));
            (folder.clone(), identity.ok())
        };
        Stamps { files: files.map(stamp).collect(), folders: self.rules_dirs.iter().map(folder).collect() }
    }

    /// Counts these, too.
    pub(crate) fn include(&mut self, others: &Self) {
        self.main.clone_from(&others.main);
        self.rules_dirs.extend(others.rules_dirs.iter().cloned());
        self.others.extend(others.others.iter().cloned());
    }

    /// What a look at more files told of these.
    pub(crate) fn only(&self, stamps: &Stamps) -> Stamps {
        let counts = |file: &Path| {
            let is_rules = file.parent().is_some_and(|folder| self.rules_dirs.contains(folder));
            is_rules || file == self.main || self.others.contains(file)
        };
        let mut counted = stamps.clone();
        counted.files.retain(|file, _| counts(file));
        counted.folders.retain(|folder, _| self.rules_dirs.contains(folder));
        counted
    }

    /// The folders whose events may tell of a change: those of the files, and of what links lead to.
    pub(crate) fn folders(&self) -> BTreeSet<PathBuf> {
        let of_file = |file: &Path| {
            let real = file.canonicalize().ok();
            let parent = |file: &Path| file.parent().map(Path::to_owned);
            [parent(file), real.as_deref().and_then(parent)].into_iter().flatten()
        };
        let stamps = self.look();
        stamps.files.keys().flat_map(|file| of_file(file)).chain(self.rules_dirs.iter().cloned()).collect()
    }
}

impl Stamp {
    fn of(found: &Metadata) -> io::Result<Self> {
        Ok(Self { length: found.len(), modified: found.modified().ok(), identity: identity(found)? })
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn identity(found: &Metadata) -> io::Result<(u64, u64, i128)> {
    use std::os::unix::fs::MetadataExt as _;
    let changed = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
    Ok((found.dev(), found.ino(), changed))
}

#[cfg(windows)]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn identity(found: &Metadata) -> io::Result<(u64, u64, i128)> {
    use std::os::windows::fs::MetadataExt as _;
    Ok((0, 0, i128::from(found.creation_time())))
}

impl Stamps {
    /// Files that lie there otherwise than before, or are new or gone.
    pub(crate) fn differing<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Path> {
        let new = self.files.iter().filter(|(file, stamp)| before.files.get(*file) != Some(*stamp));
        let gone = before.files.keys().filter(|file| !self.files.contains_key(*file));
        new.map(|(file, _)| file.as_path()).chain(gone.map(PathBuf::as_path))
    }

    /// Whether this file lies there otherwise than before.
    pub(crate) fn differs(&self, before: &Self, file: &Path) -> bool {
        self.files.get(file) != before.files.get(file)
    }

    /// Whether a file is gone or shorter than before: so it would look, too, while somebody is about to write it.
    pub(crate) fn lose(&self, before: &Self) -> bool {
        let length = |stamps: &Self, file: &Path| {
            stamps.files.get(file).and_then(Option::as_ref).map_or(0, |stamp| stamp.length)
        };
        before.files.keys().any(|file| length(self, file) < length(before, file))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_change_of_the_files_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (main, rules_dir) = (folder.path().join("landfall.toml"), folder.path().join("rules.d"));
        let files = Files {
            main: main.clone(),
            rules_dirs: BTreeSet::from([rules_dir.clone()]),
            others: BTreeSet::new(),
        };
        let differing =
            |before: &Stamps| files.look().differing(before).map(Path::to_owned).collect::<Vec<_>>();
        fs::write(&main, "a").expect("writes");
        let before = files.look();
        assert!(differing(&before).is_empty());
        fs::write(&main, "ab").expect("writes");
        assert_eq!(differing(&before), std::slice::from_ref(&main));
        assert!(!files.look().lose(&before) && before.lose(&files.look()));
        let before = files.look();
        fs::create_dir(&rules_dir).expect("makes the folder");
        fs::write(rules_dir.join("a.test.toml"), "no rule").expect("writes");
        assert!(differing(&before).is_empty());
        fs::write(rules_dir.join("a.toml"), "x").expect("writes");
        assert_eq!(differing(&before), [rules_dir.join("a.toml")]);
        let before = files.look();
        crate::durable_fs::remove_file(&rules_dir.join("a.toml")).expect("removes");
        assert_eq!(differing(&before), [rules_dir.join("a.toml")]);
        assert!(files.look().lose(&before), "a file that is gone has lost all that it said");
        let before = files.look();
        fs::remove_dir_all(&rules_dir).expect("has no rules any more");
        assert_ne!(files.look(), before, "a folder that is gone is not one without files");
    }

    /// As `mv` and most editors save: the size, and with `-p` the time, may be the same.
    #[cfg(unix)]
    #[test]
    fn another_file_of_the_same_size_and_time_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let files = Files { main: path("a"), ..Files::default() };
        fs::write(path("a"), "1").expect("writes");
        let before = files.look();
        let time = fs::metadata(path("a")).and_then(|found| found.modified()).expect("has one");
        fs::write(path("b"), "2").expect("writes");
        fs::File::options().write(true).open(path("b")).expect("opens").set_modified(time).expect("sets");
        crate::durable_fs::rename_replace(&path("b"), &path("a")).expect("renames");
        assert!(files.look().differs(&before, &path("a")));
    }
}
