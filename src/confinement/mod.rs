//! What a process may reach of the file system: what is named to it, and nothing else (Landlock, on Linux).
//!
//! A [`Fence`] is made by who still may reach everything, and entered by who then may not: a child between fork and exec, or the service at
//! its start. It holds for the thread that enters it and for all that this starts, and cannot be left again. A fence within a fence narrows
//! it further.
//!
//! Which paths these are is decided by whoever asks. It knows nothing of rules and steps, and never widens what it is given.

#[cfg(target_os = "linux")]
mod landlock;
#[cfg(not(target_os = "linux"))]
mod nowhere;

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
pub(crate) use self::landlock::{Fence, is_known, moves_are_known};
#[cfg(not(target_os = "linux"))]
pub(crate) use self::nowhere::{Fence, is_known, moves_are_known};
use crate::durable_fs::{self, Entry, Kind};

/// What programs, their libraries and interpreters need to be read on any system. What is not there is left out.
pub(crate) const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/etc",
    "/nix/store",
    "/gnu/store",
    "/snap",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/var/lib/ca-certificates",
];
/// What may be read and written by anybody. Not a terminal: who has it may type into it for whoever sits there.
#[cfg(target_os = "linux")]
pub(crate) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// A folder with more entries is not looked through for what in it may be read.
const ENTRIES_MAX: usize = 4096;

/// Folders that are everybody's, or somebody's home: who starts a program there does not mean all that lies beside it.
const WIDE: &[&str] =
    &["/data", "/home", "/media", "/mnt", "/root", "/run", "/srv", "/tmp", "/var", "/var/lib", "/var/tmp"];

/// Whether a folder is one of those of which no part is meant by naming it: the root, what lies right below it, a home.
pub(crate) fn is_wide(folder: &Path) -> bool {
    let is_home = std::env::var_os("HOME").is_some_and(|home| folder == Path::new(&home));
    let is_somebodys = folder.parent() == Some(Path::new("/home"));
    folder.parent().is_none() || is_home || is_somebodys || WIDE.iter().any(|wide| folder == Path::new(wide))
}

/// What may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// To be read, and started: files, and folders with all below them.
    pub read: Vec<PathBuf>,
    /// To be written, made and removed as well.
    pub write: Vec<PathBuf>,
    /// The same where they are there.
    pub write_if_there: Vec<PathBuf>,
    /// To be read where they are there.
    pub read_if_there: Vec<PathBuf>,
    /// Whether who is within may send signals to processes that are not.
    pub signals_others: bool,
}

/// A path that cannot be allowed.
#[derive(Debug, thiserror::Error)]
#[error("cannot allow {}: {error}", crate::model::os_text::escaped_path(path))]
pub(crate) struct CannotAllow {
    pub path: PathBuf,
    pub error: io::Error,
}

/// Paths that are nobody's to reach who is only allowed what lies around them.
#[derive(Debug, Default)]
pub(crate) struct Private {
    paths: BTreeSet<PathBuf>,
    /// Folders of which no entry is anybody's, but for folders in them.
    closed: BTreeSet<PathBuf>,
}

impl Private {
    /// These paths, and the files in folders that are closed; all without links.
    pub(crate) fn of(
        paths: impl IntoIterator<Item = PathBuf>,
        closed: impl IntoIterator<Item = PathBuf>,
    ) -> Self {
        Self { paths: paths.into_iter().collect(), closed: closed.into_iter().collect() }
    }

    /// Whether a path is one of them, lies in one, or has one in it; or is a closed folder, or has one in it.
    fn touches(&self, path: &Path) -> bool {
        has_within(&self.paths, path) || has_within(&self.closed, path) || self.has(path)
    }

    /// Whether a path is one of them or lies in one.
    fn has(&self, path: &Path) -> bool {
        path.ancestors().any(|ancestor| self.paths.contains(ancestor))
    }

    /// A folder without links, if nothing that is private lies in it.
    pub(crate) fn whole(&self, path: &Path) -> Option<PathBuf> {
        durable_fs::real_path(path).ok().filter(|folder| !self.touches(folder))
    }

    /// What may be allowed of a folder or file: all of it, or where private paths lie in it, its entries that are none and have none in
    /// them. Links in such a folder count if they lead to a file.
    pub(crate) fn leave_out(&self, path: &Path) -> Vec<PathBuf> {
        let Ok(folder) = durable_fs::real_path(path) else { return Vec::new() };
        if !self.touches(&folder) {
            return vec![folder];
        }
        if self.has(&folder) || self.closed.contains(&folder) {
            return Vec::new();
        }
        let Ok(entries) = durable_fs::list(&folder) else { return Vec::new() };
        let entries: Vec<_> = entries.flatten().take(ENTRIES_MAX + 1).collect();
        if entries.len() > ENTRIES_MAX {
            return Vec::new();
        }
        entries.into_iter().filter_map(|entry| self.allowed_entry(entry)).collect()
    }

    fn allowed_entry(&self, entry: Entry) -> Option<PathBuf> {
        let real = match entry.kind {
            Kind::Link => {
                let real = durable_fs::real_path(&entry.path).ok()?;
                matches!(durable_fs::kind_at(&real), Ok(Some(Kind::File))).then_some(real)?
            }
            Kind::File | Kind::Folder | Kind::Other => entry.path,
        };
        (!self.touches(&real)).then_some(real)
    }
}

/// Whether one of these is this path or lies in it.
fn has_within(paths: &BTreeSet<PathBuf>, path: &Path) -> bool {
    // What lies in a folder comes right behind it.
    let next = paths.range::<Path, _>((Bound::Included(path), Bound::Unbounded)).next();
    next.is_some_and(|private| private.starts_with(path))
}

/// A path without links. Of what is not there, where it will be.
pub(crate) fn real_of(path: &Path) -> Option<PathBuf> {
    let mut ancestors = path.ancestors();
    ancestors.find_map(|there| Some(durable_fs::real_path(there).ok()?.join(path.strip_prefix(there).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_left_out_of_the_folder_around_it_and_the_rest_is_not() {
        let world = tempfile::tempdir().expect("a folder");
        let root = world.path().canonicalize().expect("is there");
        for folder in ["tool/lib", "data/store", "etc", "rules/tool"] {
            std::fs::create_dir_all(root.join(folder)).expect("makes");
        }
        for file in ["tool/run", "etc/site.key", "etc/hosts", "rules/pay.toml"] {
            std::fs::write(root.join(file), "").expect("writes");
        }
        let private = [root.join("data"), root.join("etc/site.key"), root.join("etc/later/key")];
        let private = Private::of(private, [root.join("rules")]);
        let left = |path: &str| {
            let mut left = private.leave_out(&root.join(path));
            left.sort();
            left
        };
        assert_eq!(left("tool"), [root.join("tool")]);
        assert_eq!(left("etc"), [root.join("etc/hosts")]);
        assert_eq!(left(""), [root.join("tool")]);
        assert!(left("rules").is_empty());
        assert_eq!(left("rules/tool"), [root.join("rules/tool")]);
        assert_eq!(private.whole(&root.join("tool")), Some(root.join("tool")));
        assert_eq!(
            ["", "etc", "rules", "data"].map(|path| private.whole(&root.join(path))),
            [const { None }; 4]
        );
        assert!(left("data").is_empty() && left("data/store").is_empty());
        assert!(left("etc/site.key").is_empty() && left("etc/missing").is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn the_root_and_homes_are_wide_and_what_lies_in_them_is_not() {
        let home = PathBuf::from("/home").join("alice");
        let judged =
            ["/".into(), "/srv".into(), home.clone(), home.join("tool"), "/srv/tool".into(), "/app".into()];
        assert_eq!(judged.map(|folder: PathBuf| is_wide(&folder)), [true, true, true, false, false, false]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_beside_what_is_private_allows_a_file_and_never_a_folder_or_what_is_private() {
        let world = tempfile::tempdir().expect("a folder");
        let root = world.path().canonicalize().expect("is there");
        std::fs::create_dir_all(root.join("etc/data")).expect("makes");
        std::fs::create_dir_all(root.join("elsewhere")).expect("makes");
        std::fs::write(root.join("elsewhere/file"), "").expect("writes");
        std::fs::write(root.join("key"), "").expect("writes");
        for (link, to) in
            [("all", "/"), ("file", "../elsewhere/file"), ("key", "../key"), ("gone", "nothing")]
        {
            std::os::unix::fs::symlink(to, root.join("etc").join(link)).expect("links");
        }
        let private = [root.join("etc/data"), root.join("key")];
        let private = Private::of(private, []);
        assert_eq!(private.leave_out(&root.join("etc")), [root.join("elsewhere/file")]);
    }
}
