//! Paths, patterns and templates as written: made absolute against the file that names them.

use std::path::{Path, PathBuf};

use crate::model::{pattern, template};

/// Why a path cannot be used as written, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadPath {
    pub message: &'static str,
    pub hint: &'static str,
}

/// What a path may hold besides names; decides how the folder that is put before a relative one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// Variables: a folder's own braces stand for themselves.
    Template,
    /// Wildcards: a folder's own `*`, `?` and brackets stand for themselves.
    Pattern,
}

/// The absolute form of `text`; `folder` is absolute.
///
/// `.` and leading `..` are resolved by name; a later `..` is refused, since what stands before it is not known to exist.
pub(super) fn absolute(text: &str, folder: &Path, kind: Kind) -> Result<String, BadPath> {
    if text.trim().is_empty() {
        return Err(BadPath { message: "this path is empty", hint: "name a file or folder" });
    }
    if text.contains('\0') {
        return Err(BadPath { message: "this path holds a NUL character", hint: "take it out" });
    }
    if kind == Kind::Pattern && text.ends_with(is_separator) {
        return Err(BadPath {
            message: "this pattern names a folder, not files",
            hint: "add a file pattern such as `*`, or `**` for the folders in it too",
        });
    }
    if text == "~" || text.starts_with("~/") {
        return Err(BadPath { message: "`~` is not expanded", hint: "write the home folder out" });
    }
    if is_drive_relative(text) {
        return Err(BadPath {
            message: "this path has a drive but no root",
            hint: "write `\\` after the drive's colon",
        });
    }
    let (mut base, rest) = split_root(text, folder);
    let mut names: Vec<&str> = Vec::new();
    for name in rest.split(is_separator) {
        match name {
            "" | "." => {}
            ".." if names.is_empty() => {
                base.pop();
            }
            ".." => {
                return Err(BadPath {
                    message: "`..` can only stand at the beginning",
                    hint: "write the path without it",
                });
            }
            name => names.push(name),
        }
    }
    let mut whole = written(&base, kind).ok_or(BadPath {
        message: "the folder that this path starts from has a name that is not Unicode",
        hint: "move the configuration, or write an absolute path",
    })?;
    for name in names {
        if !whole.ends_with(is_separator) {
            whole.push(std::path::MAIN_SEPARATOR);
        }
        whole.push_str(name);
    }
    Ok(whole)
}

/// Like [`absolute`], for a path without variables or wildcards.
pub(super) fn absolute_path(text: &str, folder: &Path) -> Result<PathBuf, BadPath> {
    absolute(text, folder, Kind::Plain).map(PathBuf::from)
}

/// The root that a path starts from, and what follows it.
fn split_root<'t>(text: &'t str, folder: &Path) -> (PathBuf, &'t str) {
    if !starts_at_root(text) {
        return (folder.to_path_buf(), text);
    }
    let root: PathBuf = {
        use std::path::Component::{Prefix, RootDir};
        let joined = folder.join(text);
        joined.components().take_while(|part| matches!(part, Prefix(_) | RootDir)).collect()
    };
    // `//server/share` keeps the slashes that it is written with.
    #[cfg(windows)]
    let root = root.to_str().map(|root| PathBuf::from(root.replace('/', r"\"))).unwrap_or(root);
    let written = Path::new(text).components().next().map_or(0, |part| match part {
        std::path::Component::Prefix(prefix) => prefix.as_os_str().len(),
        _ => 0,
    });
    (root, text.get(written..).unwrap_or_default())
}

fn starts_at_root(text: &str) -> bool {
    // On Windows `\data` has a root but no drive: it is on the configuration's.
    let path = Path::new(text);
    path.is_absolute() || path.has_root()
}

/// `C:data`: relative to wherever the process last was on that drive.
fn is_drive_relative(text: &str) -> bool {
    let path = Path::new(text);
    matches!(path.components().next(), Some(std::path::Component::Prefix(_))) && !path.has_root()
}

fn written(base: &Path, kind: Kind) -> Option<String> {
    let text = base.to_str()?;
    match kind {
        Kind::Plain => Some(text.to_owned()),
        Kind::Template => Some(template::escaped(text)),
        Kind::Pattern => Some(pattern::escaped(text)),
    }
}

/// Whether a character parts folders.
pub(super) fn is_separator(c: char) -> bool {
    std::path::is_separator(c)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::model::pattern::Pattern;

    fn at_etc(text: &str) -> Result<String, &'static str> {
        absolute(text, Path::new("/etc/landfall"), Kind::Template).map_err(|bad| bad.message)
    }

    #[test]
    fn relative_paths_start_from_the_folder_of_their_file() {
        assert_eq!(at_etc("in/*.csv"), Ok("/etc/landfall/in/*.csv".into()));
        assert_eq!(at_etc("./in"), Ok("/etc/landfall/in".into()));
        assert_eq!(at_etc("../../srv/x"), Ok("/srv/x".into()));
        assert_eq!(at_etc("../../../../x"), Ok("/x".into()));
        assert_eq!(at_etc("/srv//a/./b/"), Ok("/srv/a/b".into()));
        assert_eq!(at_etc("/"), Ok("/".into()));
    }

    #[test]
    fn what_cannot_be_made_absolute_is_refused() {
        assert!(at_etc("").is_err());
        assert!(at_etc("~/in").is_err());
        assert!(at_etc("in/../../x").is_err());
    }

    #[test]
    fn a_folder_with_wildcards_in_its_name_stands_for_itself() {
        let pattern = absolute("*.csv", Path::new("/srv/[a]{b}"), Kind::Pattern);
        let pattern = Pattern::parse(&pattern.expect("a pattern")).expect("it is right");
        assert_eq!(pattern.fixed_folder(), Path::new("/srv/[a]{b}"));
    }

    #[test]
    fn a_pattern_that_names_a_folder_is_refused() {
        assert!(absolute("in/", Path::new("/etc"), Kind::Pattern).is_err());
        assert!(absolute("in/", Path::new("/etc"), Kind::Plain).is_ok());
    }
}

#[cfg(all(test, windows))]
mod tests {
    use super::*;

    fn at_data(text: &str, kind: Kind) -> Result<String, &'static str> {
        absolute(text, Path::new(r"C:\ProgramData\Landfall"), kind).map_err(|bad| bad.message)
    }

    #[test]
    fn drives_shares_and_both_slashes_name_what_they_name() {
        let cases = [
            (r"in\*.csv", r"C:\ProgramData\Landfall\in\*.csv"),
            (r"..\other\x", r"C:\ProgramData\other\x"),
            (r"D:\in\*.csv", r"D:\in\*.csv"),
            ("D:/in//acme/*.csv", r"D:\in\acme\*.csv"),
            (r"\\server\share\in\*.csv", r"\\server\share\in\*.csv"),
            ("//server/share/in/*.csv", r"\\server\share\in\*.csv"),
            (r"\data\x", r"C:\data\x"),
        ];
        for (text, meant) in cases {
            for kind in [Kind::Template, Kind::Pattern] {
                assert_eq!(at_data(text, kind).as_deref(), Ok(meant), "{text}");
            }
        }
    }

    #[test]
    fn a_drive_without_a_root_is_refused() {
        assert_eq!(at_data("D:in", Kind::Plain), Err("this path has a drive but no root"));
    }
}
