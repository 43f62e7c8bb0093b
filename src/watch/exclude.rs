//! What is never a candidate, whatever the patterns say.

use std::path::Path;

use crate::model::mistake::Mistake;
use crate::model::pattern::os_chars::to_chars;
use crate::model::pattern::{Pattern, Segment};

/// Endings of names that uploads have while they run.
const UNFINISHED: [&str; 6] = [".part", ".filepart", ".tmp", ".partial", ".crdownload", "~"];

/// A rule's exclusions: hidden files, unfinished uploads, and its own patterns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excludes {
    names: Vec<Segment>,
    paths: Vec<Pattern>,
}

impl Excludes {
    /// Parses a rule's `exclude`: without a separator a pattern is for the file's name, else for the whole path.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, Mistake> {
        let mut excludes = Self::default();
        for text in texts {
            if text.contains(std::path::is_separator) {
                excludes.paths.push(Pattern::parse(text)?);
            } else {
                excludes.names.push(Segment::parse(text)?);
            }
        }
        Ok(excludes)
    }

    /// Whether this file is no candidate.
    pub(crate) fn excludes(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().map(to_chars) else { return true };
        is_unfinished(&name)
            || self.names.iter().any(|pattern| pattern.is_match(&name))
            || self.paths.iter().any(|pattern| pattern.matches(path).is_some())
    }
}

/// Whether no rule takes a file of this name, whatever its patterns say.
pub(super) fn is_unfinished(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name.starts_with('.') || UNFINISHED.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_unfinished_files_are_excluded_by_default() {
        let excludes = Excludes::default();
        for name in [".a", "a.part", "a.filepart", "a.tmp", "a.partial", "a.crdownload", "a~", "A.TMP"] {
            assert!(excludes.excludes(&Path::new("/in").join(name)), "{name}");
        }
        for name in ["a", "a.part.csv", "part", "tmp.csv"] {
            assert!(!excludes.excludes(&Path::new("/in").join(name)), "{name}");
        }
    }

    #[test]
    fn a_pattern_without_a_separator_is_for_the_name_and_one_with_it_for_the_path() {
        let excludes = Excludes::parse(&["test-*".into(), "/in/old/*".into()]).expect("both are good");
        assert!(excludes.excludes(Path::new("/in/deep/test-1")));
        assert!(excludes.excludes(Path::new("/in/old/a")));
        assert!(!excludes.excludes(Path::new("/in/older/a")));
        assert!(!excludes.excludes(Path::new("/in/old/deep/a")));
    }
}
