//! Names and what they stand for, apart from how a system tells it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What became of a rename that must not replace anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renamed {
    Done,
    /// The new name is taken; nothing happened.
    NameTaken,
    /// There is no file under the old name; nothing happened.
    Missing,
}

/// What a name in a folder stands for; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Link,
    /// A pipe, a socket or a device.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::Other => "a pipe, a socket or a device",
        })
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// The folder as it was named, with the name.
    pub path: PathBuf,
    /// What it stands for.
    pub kind: Kind,
}

/// Who may list a folder that is made, and read what lies in it. Its owner alone writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OpenTo {
    /// The service's user.
    Owner,
    /// And its group.
    #[default]
    Group,
    All,
}

/// How others can still change a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(windows, allow(dead_code, reason = "a file that is open for writing is not renamed there"))]
pub(crate) enum Reach {
    None,
    /// They could open it for writing until now, and may have it open.
    Open,
    /// By another name that it has.
    Named,
    /// It is theirs, and this user may not take it.
    Owned,
}

/// What a process wants to do at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "elsewhere rights are not told apart"))]
pub(crate) enum Need {
    /// Go through a folder.
    Enter,
    /// List a folder.
    List,
    /// Make files in a folder.
    Write,
    /// Take the files of others from a folder.
    Take,
    /// Read a file.
    Read,
}

/// Why the system refuses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What refuses: the path itself, or the first folder on the way that does.
    pub at: PathBuf,
    /// Who may not do what where, whose it is, and its mode.
    pub what: String,
    /// What grants it: commands, or what else is to be done.
    pub how: String,
}

/// What a file is to have in a folder.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(windows, allow(dead_code, reason = "there what is moved keeps the rights of its folder"))]
pub(crate) struct Wanted {
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub mode: u32,
}

/// What a file does not have there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(windows, allow(dead_code, reason = "there only times are asked for"))]
pub(crate) enum Unkept {
    User,
    Group,
    /// It has this one.
    Mode(u32),
    Time,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.how)
    }
}

pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The path itself where it is a folder, else the nearest folder above it that exists.
pub(super) fn nearest_existing(path: &Path) -> io::Result<&Path> {
    for ancestor in path.ancestors() {
        let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match fs::metadata(ancestor) {
            Ok(found) if found.is_dir() => return Ok(ancestor),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// A hidden name beside `path`, the same for the same `key`: a leftover of a crash is found again instead of
/// piling up.
pub(super) fn hidden_sibling(path: &Path, key: &Path, suffix: &str) -> PathBuf {
    let hash = blake3::hash(key.as_os_str().as_encoded_bytes()).to_hex();
    parent_of(path).join(format!(".landfall-{}-{suffix}", &hash.as_str()[..16]))
}
