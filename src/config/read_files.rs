//! The files that a configuration was read from, and whether they still are what they were: the service reads them at its start only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::rule_test::TEST_FILE_END;

/// How a file was found; none: it could not be looked at.
type Found = Option<(SystemTime, u64)>;

/// The files of a configuration as they were when it was read.
#[derive(Clone, Debug)]
pub struct ReadFiles {
    main: PathBuf,
    rules_dir: PathBuf,
    found: BTreeMap<PathBuf, Found>,
}

impl ReadFiles {
    /// Looks at the files now.
    pub(super) fn new(main: &Path, rules_dir: &Path) -> Self {
        Self { main: main.to_owned(), rules_dir: rules_dir.to_owned(), found: look(main, rules_dir) }
    }

    /// A file that was changed, added or removed since then.
    pub fn changed(&self) -> Option<PathBuf> {
        let now = look(&self.main, &self.rules_dir);
        let differs =
            |(file, found): (&PathBuf, &Found)| (self.found.get(file) != Some(found)).then(|| file.clone());
        let removed = || self.found.keys().find(|file| !now.contains_key(*file)).cloned();
        now.iter().find_map(differs).or_else(removed)
    }
}

fn look(main: &Path, rules_dir: &Path) -> BTreeMap<PathBuf, Found> {
    // A folder that is not there has no files.
    let names = toml_names(rules_dir, |name| !is_test_file(name)).unwrap_or_default();
    let files = names.iter().map(|name| rules_dir.join(name)).chain([main.to_owned()]);
    let found = |file: &Path| {
        let found = std::fs::metadata(file).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    files.map(|file| (file.clone(), found(&file))).collect()
}

/// Whether a file holds tests only.
pub(super) fn is_test_file(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().ends_with(TEST_FILE_END.as_bytes())
}

/// The names of the TOML files of a folder that are wanted, in order.
pub(super) fn toml_names(folder: &Path, wanted: fn(&Path) -> bool) -> std::io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
        if !hidden && wanted(&name) && name.extension().is_some_and(|extension| extension == "toml") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_change_of_the_files_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (main, rules_dir) = (folder.path().join("landfall.toml"), folder.path().join("rules.d"));
        let look = || ReadFiles::new(&main, &rules_dir);
        fs::write(&main, "a").expect("writes");
        let read = look();
        assert_eq!(read.changed(), None);
        fs::write(&main, "ab").expect("writes");
        assert_eq!(read.changed(), Some(main.clone()));
        let read = look();
        fs::create_dir(&rules_dir).expect("makes the folder");
        fs::write(rules_dir.join("a.test.toml"), "no rule").expect("writes");
        assert_eq!(read.changed(), None);
        fs::write(rules_dir.join("a.toml"), "").expect("writes");
        assert_eq!(read.changed(), Some(rules_dir.join("a.toml")));
        let read = look();
        crate::durable_fs::remove_file(&rules_dir.join("a.toml")).expect("removes");
        assert_eq!(read.changed(), Some(rules_dir.join("a.toml")));
    }
}
