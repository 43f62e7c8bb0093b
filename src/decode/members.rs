//! Members of archives: their names, and which of them a rule takes.
//!
//! A member of an archive within an archive is named `outer.zip/inner.csv`. A pattern without a `/` is held against the file
//! name, whatever the folder; one with a `/` against the whole path. Patterns hold at every level: an archive or a
//! compressed file within an archive is opened only if its own name matches.

use std::ffi::OsString;

use glob::{MatchOptions, Pattern};

use super::DecodeError;
use crate::model::os_text::{OsText, escaped};

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: !cfg!(windows),
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A file within an archive.
pub(super) struct Member {
    /// Its path within the source, as it stands there.
    pub name: OsText,
    /// The same, escaped.
    pub shown: String,
    /// The same with `/` for every separator and without a leading `./`, for patterns.
    path: String,
}

impl Member {
    /// `outer` is the escaped path of the archive it lies in, empty for the outermost.
    pub fn within(outer: &str, name: &[u8]) -> Self {
        let own = os_string(name);
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
        Self { name: OsText::new(joined), shown, path }
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

/// `decode.entries`.
pub(super) struct Patterns(Vec<(Pattern, bool)>);

impl Patterns {
    pub fn new(patterns: &[String]) -> Result<Self, DecodeError> {
        let parse = |text: &String| {
            let pattern = Pattern::new(text).map_err(|error| DecodeError::Rule {
                detail: format!("`decode.entries`: \"{text}\" is not a pattern: {}", error.msg),
            })?;
            Ok((pattern, text.contains('/')))
        };
        patterns.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    pub fn take(&self, member: &Member) -> bool {
        let file_name = member.path.rsplit('/').next().unwrap_or_default();
        let matches = |(pattern, whole): &(Pattern, bool)| {
            pattern.matches_with(if *whole { &member.path } else { file_name }, OPTIONS)
        };
        self.0.is_empty() || self.0.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, name: &str) -> bool {
        Patterns::new(&[pattern.to_owned()]).expect("a pattern").take(&Member::within("", name.as_bytes()))
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
}
