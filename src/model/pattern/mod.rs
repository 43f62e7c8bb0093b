//! Patterns of files: the glob crate's, matched component by component, with named wildcards.
//!
//! `*` never crosses a separator and takes no leading dot; `**` is a whole component and stands for any number of folders that are
//! not hidden (at the end: any file below). `{sender}` is like `*`, but takes at least one character and keeps it. Names that are not
//! Unicode match too, each byte that is none counting as one character. On Windows case does not count.

use std::path::{Component, Path, PathBuf};

use super::mistake::Mistake;

mod name_index;
pub(crate) mod os_chars;
mod patterns;
mod segment;
mod sought;
#[cfg(all(test, unix))]
mod tests;
mod tree;

pub(crate) use name_index::NameIndex;
use os_chars::to_chars;
pub(crate) use patterns::Patterns;
pub(crate) use segment::{Segment, Values};
pub(crate) use sought::PathSought;
pub(crate) use tree::{Nodes, PatternTree};

/// A parsed pattern.
///
/// Invariant: the last part is a segment, which the file's name must match.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    folder: PathBuf,
    parts: Vec<Part>,
    names: Vec<String>,
}

#[derive(Clone, Debug)]
enum Part {
    /// `**`
    Folders,
    One(Segment),
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        if !Path::new(text).is_absolute() {
            return Err(Mistake::new(
                format!("the pattern `{text}` is not absolute"),
                "spell out its folder from the root",
            ));
        }
        if text.ends_with(std::path::is_separator) {
            return Err(Mistake::new(
                format!("the pattern `{text}` names a folder, not files"),
                "add `*` for every file in it",
            ));
        }
        let (folder, rest) = split_folder(text)?;
        let mut parts = rest.iter().map(|part| parse_part(part)).collect::<Result<Vec<_>, _>>()?;
        if matches!(parts.last(), Some(Part::Folders)) {
            parts.push(Part::One(Segment::parse("*")?));
        }
        let names = collect_names(&parts)?;
        Ok(Self { folder, parts, names })
    }

    /// The folder spelled out before the first wildcard.
    pub(crate) fn fixed_folder(&self) -> &Path {
        &self.folder
    }

    /// The one file that it can take, where no wildcard is in it.
    pub(crate) fn only_file(&self) -> Option<PathBuf> {
        match self.parts.as_slice() {
            [Part::One(segment)] => Some(self.folder.join(segment.only_name()?)),
            _ => None,
        }
    }

    /// What the file's own name must match.
    pub(crate) fn name(&self) -> Option<&Segment> {
        match self.parts.last()? {
            Part::One(segment) => Some(segment),
            Part::Folders => None,
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The named wildcards' values if the path matches; paths need not be UTF-8.
    pub(crate) fn matches(&self, path: &Path) -> Option<Values> {
        let below = below(&self.folder, path)?;
        let mut values = Values::new();
        self.fits(0, &below, &mut Vec::new(), &mut values).then_some(values)
    }

    /// Whether some file directly in this folder could match (for refusing loops).
    pub(crate) fn could_match_in(&self, folder: &Path) -> bool {
        let Some(below) = below(&self.folder, folder) else { return false };
        self.positions(&below).last().copied().unwrap_or(false)
    }

    /// Whether some file in this folder or in one below it could match.
    pub(crate) fn could_match_below(&self, folder: &Path) -> bool {
        match below(&self.folder, folder) {
            Some(below) => self.positions(&below).contains(&true),
            None => below(folder, &self.folder).is_some(),
        }
    }

    /// Which parts could come next behind these folders.
    fn positions(&self, folders: &[String]) -> Vec<bool> {
        let mut now = vec![false; self.parts.len()];
        if let Some(first) = now.first_mut() {
            *first = true;
        }
        self.skip_empty(&mut now);
        for folder in folders {
            let mut next = vec![false; self.parts.len()];
            for (at, part) in self.parts.iter().enumerate().filter(|(at, _)| now.get(*at) == Some(&true)) {
                let (target, fits) = match part {
                    Part::Folders => (at, !folder.starts_with('.')),
                    Part::One(segment) => (at + 1, segment.is_match(folder)),
                };
                if let Some(slot) = next.get_mut(target) {
                    *slot |= fits;
                }
            }
            self.skip_empty(&mut next);
            now = next;
        }
        now
    }

    /// `**` also stands for no folder at all.
    fn skip_empty(&self, positions: &mut [bool]) {
        for at in 1..self.parts.len() {
            let before =
                positions.get(at - 1) == Some(&true) && matches!(self.parts.get(at - 1), Some(Part::Folders));
            if before && let Some(slot) = positions.get_mut(at) {
                *slot = true;
            }
        }
    }

    /// Whether the parts from `at` on match these components; `failed` keeps several `**` from trying the same again and again.
    fn fits(
        &self,
        at: usize,
        names: &[String],
        failed: &mut Vec<(usize, usize)>,
        values: &mut Values,
    ) -> bool {
        let (Some(part), Some((name, rest))) = (self.parts.get(at), names.split_first()) else {
            return at == self.parts.len() && names.is_empty();
        };
        let here = (at, names.len());
        if failed.contains(&here) {
            return false;
        }
        let found = match part {
            Part::Folders => {
                self.fits(at + 1, names, failed, values)
                    || (!name.starts_with('.') && self.fits(at, rest, failed, values))
            }
            Part::One(segment) => {
                segment.is_match(name)
                    && self.fits(at + 1, rest, failed, values)
                    && segment.capture(name, values)
            }
        };
        if !found {
            failed.push(here);
        }
        found
    }
}

/// The pattern that stands for this text alone.
pub(crate) fn escaped(text: &str) -> String {
    let is_plain = |c: char| segment::literal(c.encode_utf8(&mut [0; 4])).is_some();
    text.chars().map(|c| if is_plain(c) { c.to_string() } else { format!("[{c}]") }).collect()
}

/// The components of `path` below `folder`; none where it does not lie there.
fn below(folder: &Path, path: &Path) -> Option<Vec<String>> {
    let mut rest = path.components();
    for expected in folder.components() {
        if !same_component(&rest.next()?, &expected) {
            return None;
        }
    }
    rest.map(|component| match component {
        Component::Normal(name) => Some(to_chars(name)),
        _ => None,
    })
    .collect()
}

fn same_component(a: &Component<'_>, b: &Component<'_>) -> bool {
    a == b
        || (cfg!(windows) && to_chars(a.as_os_str()).to_lowercase() == to_chars(b.as_os_str()).to_lowercase())
}

/// The folder before the first wildcard, and the components behind it; at least the file's.
fn split_folder(text: &str) -> Result<(PathBuf, Vec<String>), Mistake> {
    let mut folder = PathBuf::new();
    let mut rest: Vec<String> = Vec::new();
    let mut components = Path::new(text).components().peekable();
    while let Some(component) = components.next() {
        let part = match component {
            Component::Prefix(_) | Component::RootDir => {
                folder.push(component);
                continue;
            }
            Component::CurDir => continue,
            Component::ParentDir => {
                return Err(Mistake::new(
                    format!("`..` in the pattern `{text}`"),
                    "spell out the folder that is meant",
                ));
            }
            Component::Normal(part) => part.to_str().unwrap_or_default(),
        };
        match segment::literal(part) {
            Some(name) if rest.is_empty() && components.peek().is_some() => folder.push(name),
            _ => rest.push(part.to_owned()),
        }
    }
    if rest.is_empty() {
        return Err(Mistake::new(
            format!("the pattern `{text}` names no file"),
            "add `*` for every file in the folder",
        ));
    }
    Ok((folder, rest))
}

fn parse_part(text: &str) -> Result<Part, Mistake> {
    // The pattern's text is matched against names in the same spelling.
    let text = to_chars(text.as_ref());
    if text == "**" { Ok(Part::Folders) } else { Segment::parse(&text).map(Part::One) }
}

fn collect_names(parts: &[Part]) -> Result<Vec<String>, Mistake> {
    let mut names = Vec::new();
    for part in parts {
        let Part::One(segment) = part else { continue };
        for name in segment.names() {
            if names.contains(name) {
                return Err(Mistake::new(
                    format!("`{{{name}}}` stands twice in one pattern"),
                    "give each wildcard a name of its own",
                ));
            }
            names.push(name.clone());
        }
    }
    Ok(names)
}

#[cfg(all(test, windows))]
mod windows_tests {
    use super::*;

    #[test]
    fn case_and_the_kind_of_separator_do_not_count() {
        let pattern = Pattern::parse(r"C:\In/{sender}\*.CSV").expect("the pattern is good");
        assert!(pattern.matches(Path::new(r"c:\in\acme\a.csv")).is_some());
        assert!(pattern.matches(Path::new(r"c:\in\acme\b\a.csv")).is_none());
        assert!(pattern.could_match_in(Path::new(r"C:\IN\x")));
        assert!(Pattern::parse(r"in\*.csv").is_err());
    }
}
