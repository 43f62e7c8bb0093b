//! Files that the old system wrote and a shadow would not have: listed first, then those of ours taken out, then listed again.
//!
//! Of each file that may be one a hash of its path is kept, and no path.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::durable_fs;
use crate::model::os_text::escaped_path;
use crate::model::rule::Rule;
use crate::service::shadow::unpacked_name;
use crate::watch::exclude::Excludes;

/// Files below a folder that may be outputs of the old system, as far as none of ours is to be compared with them.
pub(super) struct Theirs {
    folder: PathBuf,
    left: HashSet<[u8; 16]>,
    /// What could not be looked at, and why.
    pub unread: Vec<String>,
}

impl Theirs {
    /// Those that were changed since then, and are called as an output of one of these rules may be.
    pub(super) fn list<'r>(folder: &Path, rules: impl Iterator<Item = &'r Rule>, since: Timestamp) -> Self {
        let outputs = rules.flat_map(|rule| rule.outputs.values());
        let shapes: Vec<Vec<String>> = outputs.map(|output| shape_of(Path::new(&output.path))).collect();
        let unfinished = Excludes::default();
        let (mut left, mut unread) = (HashSet::new(), Vec::new());
        let is_called_so = |path: &Path| {
            let name = unpacked_name(path);
            let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            !unfinished.excludes(path) && shapes.iter().any(|shape| fits(shape, &name))
        };
        let found = walk(folder, |path| {
            if is_called_so(path) {
                let changed = durable_fs::identity_at(path)?.map(|found| found.mtime_ns);
                if changed.is_some_and(|at| at >= since.as_nanosecond()) {
                    left.insert(hash_of(path));
                }
            }
            Ok(())
        });
        for (path, error) in found {
            unread.push(format!("{}: {error}", escaped_path(&path)));
        }
        Self { folder: folder.to_owned(), left, unread }
    }

    /// One of ours is to be compared with this file.
    pub(super) fn have(&mut self, path: &Path) {
        if !self.left.is_empty() {
            self.left.remove(&hash_of(path));
        }
    }

    /// Tells of those that are left, and still there.
    pub(super) fn tell_left<E>(&self, mut tell: impl FnMut(&Path) -> Result<(), E>) -> Result<(), E> {
        let mut failed = Ok(());
        if !self.left.is_empty() {
            walk(&self.folder, |path| {
                if failed.is_ok() && self.left.contains(&hash_of(path)) {
                    failed = tell(path);
                }
                Ok(())
            });
        }
        failed
    }
}

/// Looks at each regular file below a folder, whatever order they come in; what could not be looked at.
fn walk(folder: &Path, mut look: impl FnMut(&Path) -> io::Result<()>) -> Vec<(PathBuf, io::Error)> {
    let (mut unread, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        let entries = match std::fs::read_dir(&at) {
            Ok(entries) => entries,
            // One that was removed meanwhile has nothing in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && at != folder => continue,
            Err(error) => {
                unread.push((at, error));
                continue;
            }
        };
        for entry in entries {
            let looked = entry.and_then(|entry| {
                let (path, kind) = (entry.path(), entry.file_type()?);
                if kind.is_dir() {
                    folders.push(path);
                    return Ok(());
                }
                if kind.is_file() { look(&path) } else { Ok(()) }
            });
            match looked {
                Err(error) if error.kind() != io::ErrorKind::NotFound => unread.push((at.clone(), error)),
                _ => {}
            }
        }
    }
    unread
}

/// Of the path as its parts say it.
fn hash_of(path: &Path) -> [u8; 16] {
    let path: PathBuf = path.components().collect();
    let hash = blake3::hash(path.as_os_str().as_encoded_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// What an output's file name spells out, between its variables.
fn shape_of(template: &Path) -> Vec<String> {
    let unpacked = unpacked_name(template);
    let name = unpacked.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (mut shape, mut text) = (Vec::new(), String::new());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let is_doubled = chars.peek() == Some(&c);
        match c {
            '{' | '}' if is_doubled => text.extend(chars.next()),
            '{' => {
                shape.push(std::mem::take(&mut text));
                chars.by_ref().find(|c| *c == '}');
            }
            c => text.push(c),
        }
    }
    shape.push(text);
    shape
}

fn fits(shape: &[String], name: &str) -> bool {
    let [first, middle @ .., last] = shape else { return shape.first().is_some_and(|whole| whole == name) };
    let inner = name.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
    let Some(mut rest) = inner else { return false };
    for text in middle {
        let Some((_, behind)) = rest.split_once(text.as_str()) else { return false };
        rest = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_are_the_files_that_none_of_ours_is_to_be_compared_with_and_what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let mut theirs = Theirs { folder: path(""), left: HashSet::new(), unread: Vec::new() };
        std::fs::create_dir(path("sub")).expect("makes");
        for name in ["a.csv", "sub/b.csv", "later.csv"] {
            std::fs::write(path(name), "").expect("writes");
        }
        theirs.left.extend(["a.csv", "sub/b.csv", "removed.csv"].map(|name| hash_of(&path(name))));
        theirs.have(&path("sub").join(".").join("b.csv"));
        let mut told = Vec::new();
        theirs
            .tell_left(|path| {
                told.push(path.to_owned());
                Ok::<_, io::Error>(())
            })
            .expect("tells");
        assert_eq!(told, [path("a.csv")]);
        let away = Theirs::list(&path("none"), std::iter::empty(), Timestamp::UNIX_EPOCH);
        assert!(away.unread.len() == 1 && away.unread[0].contains("none"), "{:?}", away.unread);
    }

    #[test]
    fn a_name_fits_a_template_where_it_has_what_that_spells_out() {
        let shape = shape_of(Path::new("out/{sender}/pay-{stem}-{date:%Y}.csv.gz"));
        assert_eq!(shape, ["pay-", "-", ".csv"]);
        assert!(fits(&shape, "pay-a-2026.csv"));
        assert!(!fits(&shape, "pay-a.csv") && !fits(&shape, "receipt-a-2026.csv"));
        assert!(fits(&shape_of(Path::new("out/all.csv")), "all.csv"));
        assert!(!fits(&shape_of(Path::new("out/all.csv")), "any.csv"));
        assert_eq!(shape_of(Path::new("out/{{x}}.csv")), ["{x}.csv"]);
    }
}
