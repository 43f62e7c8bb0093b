//! What the files of a configuration say: as they lie on the disk, or as they lay when the configuration was right last.
//!
//! Each file is read once, and all that is made of a configuration is made of these bytes: so what is kept is what was judged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::rule_test::TEST_FILE_END;
use crate::durable_fs;
use crate::model::configuration::KeptConfiguration;

/// A longer file is no configuration.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The files that a configuration was read from, whole; by their absolute paths.
pub(crate) type Texts = BTreeMap<PathBuf, Vec<u8>>;

/// Where files are read from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shelf<'a> {
    Disk,
    /// Nothing but these is there.
    Kept(&'a Texts),
}

/// Reads files and keeps what they said.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    shelf: Shelf<'a>,
    read: RefCell<Texts>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(shelf: Shelf<'a>) -> Self {
        Self { shelf, read: RefCell::default() }
    }

    pub(super) fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let bytes = match self.shelf {
            Shelf::Disk => read_bounded(file)?,
            Shelf::Kept(texts) => texts.get(file).cloned().ok_or(io::ErrorKind::NotFound)?,
        };
        self.read.borrow_mut().insert(file.to_owned(), bytes.clone());
        Ok(bytes)
    }

    /// The names of the TOML files of a folder that are wanted, in order.
    pub(super) fn names(&self, folder: &Path, wanted: fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
        match self.shelf {
            Shelf::Disk => toml_names(folder, wanted),
            Shelf::Kept(texts) => {
                let inside = texts.keys().filter(|file| file.parent() == Some(folder));
                let names = inside.filter_map(|file| file.file_name()).map(PathBuf::from);
                Ok(names.filter(|name| is_toml(name) && wanted(name)).collect())
            }
        }
    }

    /// All that was read.
    pub(super) fn into_texts(self) -> Texts {
        self.read.into_inner()
    }
}

/// To be kept; none where a file is no text.
pub(crate) fn keep(main: &Path, texts: &Texts, taken_at: Timestamp) -> Option<KeptConfiguration> {
    let text = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        Some((path.as_path().into(), String::from_utf8(bytes.clone()).ok()?))
    };
    let files = texts.iter().map(text).collect::<Option<_>>()?;
    Some(KeptConfiguration { main: main.into(), taken_at, files, rules_mount: None })
}

/// What was kept.
pub(crate) fn texts_of(kept: &KeptConfiguration) -> Texts {
    let bytes = |(path, text): &(_, String)| {
        let path: &crate::model::os_text::OsText = path;
        (path.as_path().to_owned(), text.clone().into_bytes())
    };
    kept.files.iter().map(bytes).collect()
}

/// Whether a file holds tests only.
pub(super) fn is_test_file(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().ends_with(TEST_FILE_END.as_bytes())
}

/// The names of the TOML files of a folder that are wanted, in order.
pub(super) fn toml_names(folder: &Path, wanted: fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        if is_toml(&name) && wanted(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Hidden files are what editors leave and copies in the making.
fn is_toml(name: &Path) -> bool {
    let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
    !hidden && name.extension().is_some_and(|extension| extension == "toml")
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = durable_fs::open_named(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_as_what_was_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["b.toml", "a.toml", ".hidden.toml", "a.test.toml", "a.toml~"] {
            std::fs::write(path(name), name).expect("writes");
        }
        let every = |_: &Path| true;
        let disk = Reader::new(Shelf::Disk);
        let names = disk.names(folder.path(), |name| !is_test_file(name)).expect("lists");
        assert_eq!(names, [PathBuf::from("a.toml"), PathBuf::from("b.toml")]);
        for name in &names {
            disk.read(&folder.path().join(name)).expect("reads");
        }
        let kept = keep(&path("a.toml"), &disk.into_texts(), Timestamp::UNIX_EPOCH).expect("is text");
        let texts = texts_of(&kept);
        let again = Reader::new(Shelf::Kept(&texts));
        assert_eq!(again.names(folder.path(), every).expect("lists"), names);
        assert_eq!(again.read(&path("b.toml")).expect("reads"), b"b.toml");
        assert_eq!(again.read(&path("c.toml")).expect_err("is not there").kind(), io::ErrorKind::NotFound);
    }
}
