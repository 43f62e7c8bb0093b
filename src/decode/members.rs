//! Members of archives: their names, and which of them a rule takes.
//!
//! A member of an archive within an archive is named `outer.zip/inner.csv`. A pattern without a `/` is held against the file
//! name, whatever the folder; one with a `/` against the whole path. Patterns hold at every level: an archive or a
//! compressed file within an archive is opened only if its own name matches.
//!
//! Hidden members (a component that begins with a dot, and all of `__MACOSX`, where macOS keeps what is no content) are taken only
//! where a pattern spells them out, as in folders.

use std::ffi::OsString;

use glob::{MatchOptions, Pattern};

use super::error::DecodeError;
use crate::model::os_text::{OsText, escaped};

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: !cfg!(windows),
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Nothing that can be extracted has a longer name (`PATH_MAX`).
pub(super) const NAME_BYTES_MAX: usize = 4096;

pub(super) struct Member {
    /// Its path within the source, as it stands there.
    pub name: OsText,
    /// The same, escaped.
    pub shown: String,
    /// The same with `/` for every separator and without a leading `./`, for patterns.
    path: String,
    /// Whether its file name, or a folder in its own archive, is hidden.
    hidden: Hidden,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    No,
    /// Its own name alone.
    Name,
    Folder,
}

/// A name within an archive, told by its hash, so that many long names take little memory.
pub(super) type NameKey = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Taken,
    /// Only for its being hidden it is not.
    Hidden,
    NotMatched,
}

impl Member {
    /// `outer` is the escaped path of the archive it lies in, empty for the outermost.
    pub(super) fn within(outer: &str, name: &[u8]) -> Self {
        let own = os_string(name);
        let hidden = hidden(&own.to_string_lossy());
        let joined = if outer.is_empty() {
            own
        } else {
            let mut joined = OsString::from(outer);
            joined.push("/");
            joined.push(own);
            joined
        };
        let shown = escaped(&joined);
        let path = joined.to_string_lossy().replace('\\', "/");
        let path = path.trim_start_matches("./").to_owned();
        Self { name: OsText::new(joined), shown, path, hidden }
    }

    /// Tells it from the other members.
    pub(super) fn key(&self) -> NameKey {
        key_of(self.path.as_bytes())
    }
}

pub(super) fn key_of(name: &[u8]) -> NameKey {
    let mut key = NameKey::default();
    key.copy_from_slice(&blake3::hash(name).as_bytes()[..16]);
    key
}

fn hidden(path: &str) -> Hidden {
    let is_hidden = |part: &str| part.starts_with('.') && part != "." && part != "..";
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    if folders.split('/').any(|folder| is_hidden(folder) || folder == "__MACOSX") {
        Hidden::Folder
    } else if is_hidden(name) {
        Hidden::Name
    } else {
        Hidden::No
    }
}

#[cfg(unix)]
fn os_string(name: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(name.to_vec())
}

#[cfg(not(unix))]
fn os_string(name: &[u8]) -> OsString {
    OsString::from(String::from_utf8_lossy(name).into_owned())
}

pub(super) struct Patterns(Vec<(Pattern, bool)>);

impl Patterns {
    pub(super) fn new(patterns: &[String]) -> Result<Self, DecodeError> {
        let parse = |text: &String| {
            let pattern = Pattern::new(text).map_err(|error| DecodeError::Rule {
                detail: format!("`decode.entries`: \"{text}\" is not a pattern: {}", error.msg),
            })?;
            Ok((pattern, text.contains('/')))
        };
        patterns.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn choose(&self, member: &Member) -> Choice {
        let file_name = member.path.rsplit('/').next().unwrap_or_default();
        let matches = |(pattern, whole): &(Pattern, bool)| {
            pattern.matches_with(if *whole { &member.path } else { file_name }, OPTIONS)
        };
        let spells_out = |found: &(Pattern, bool)| {
            // A wildcard matches no hidden component: what matches all the same has its dot in the pattern.
            matches(found) && (found.1 || file_name.starts_with('.'))
        };
        if member.hidden == Hidden::No {
            let is_taken = self.0.is_empty() || self.0.iter().any(matches);
            return if is_taken { Choice::Taken } else { Choice::NotMatched };
        }
        if self.0.iter().any(spells_out) {
            Choice::Taken
        } else if self.0.is_empty() || (member.hidden == Hidden::Folder && self.0.iter().any(matches)) {
            Choice::Hidden
        } else {
            Choice::NotMatched
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(patterns: &[&str], name: &str) -> Choice {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Patterns::new(&patterns).expect("patterns").choose(&Member::within("", name.as_bytes()))
    }

    fn takes(pattern: &str, name: &str) -> bool {
        choose(&[pattern], name) == Choice::Taken
    }

    #[test]
    fn a_pattern_without_a_separator_matches_the_file_name_in_any_folder() {
        assert!(takes("*.csv", "a.csv"));
        assert!(takes("*.csv", "./in/a.csv"));
        assert!(!takes("*.csv", "in/a.txt"));
        assert!(!takes("*.csv", "in/.a.csv"));
    }

    #[test]
    fn a_pattern_with_a_separator_matches_the_whole_path() {
        assert!(takes("in/*.csv", "in/a.csv"));
        assert!(takes("in/*.csv", "in\\a.csv") || cfg!(unix));
        assert!(!takes("in/*.csv", "in/deep/a.csv"));
        assert!(takes("**/*.csv", "in/deep/a.csv"));
    }

    #[test]
    fn hidden_members_are_taken_only_where_a_pattern_spells_them_out() {
        for name in [".DS_Store", "__MACOSX/._a.csv", "in/.git/a.csv", "./.a.csv"] {
            assert_eq!(choose(&[], name), Choice::Hidden, "{name}");
        }
        for name in ["./a.csv", "../a.csv", "a.csv", "in/a.b"] {
            assert_eq!(choose(&[], name), Choice::Taken, "{name}");
        }
        assert_eq!(choose(&["*.csv"], "in/.git/a.csv"), Choice::Hidden);
        assert_eq!(choose(&["*.csv"], "__MACOSX/._a.csv"), Choice::NotMatched);
        assert!(takes("._*", "__MACOSX/._a.csv"));
        assert!(takes(".git/*.csv", ".git/a.csv"));
        assert!(takes("__MACOSX/*", "__MACOSX/a.csv"));
    }
}
