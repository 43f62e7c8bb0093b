//! What is wrong in a configuration, and which name was meant.

use std::fmt;
use std::path::PathBuf;

use super::raw::{Origin, Place};
use crate::model::configuration::ConfigurationProblem;
use crate::model::nearest;
use crate::model::os_text::escaped_path;

/// One thing that is wrong in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The file, or none for the environment.
    pub file: Option<PathBuf>,
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// `rule "payments": output.invalid.path`; the variable's name for the environment; empty for a file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The source line with a caret below the column, where only that shows what is meant.
    pub excerpt: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub(super) fn at(place: &Place, key: String, message: String, hint: Option<String>) -> Self {
        let told = Self { message, hint, ..Self::default() };
        match &place.origin {
            Origin::File { shown, .. } => {
                let file = Some(shown.to_path_buf());
                Self { file, line: Some(place.line), column: Some(place.column), key, ..told }
            }
            Origin::Environment { variable, .. } => Self { key: variable.to_string(), ..told },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => f.write_str(&escaped_path(file))?,
            None => f.write_str("environment")?,
        }
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let (Some(column), true) = (self.column, self.excerpt.is_some()) {
                write!(f, ":{column}")?;
            }
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

/// Every problem of a configuration, by file and line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl Problems {
    /// As they are told to those who do not read the configuration themselves.
    pub(crate) fn told(&self) -> Vec<ConfigurationProblem> {
        let told = |problem: &Problem| ConfigurationProblem {
            file: problem.file.as_deref().map(Into::into),
            line: problem.line,
            column: problem.column,
            key: problem.key.clone(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
            text: problem.to_string(),
        };
        self.0.iter().map(told).collect()
    }
}

impl crate::model::fault::Fault for Problems {
    fn kind(&self) -> crate::model::fault::FaultKind {
        crate::model::fault::FaultKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some("mend the configuration; `landfall check` shows every problem".into())
    }
}

/// What is called otherwise elsewhere, such as by a file's suffix.
const OTHER_NAMES: [(&str, &str); 5] =
    [("gz", "gzip"), ("bz2", "bzip2"), ("zst", "zstd"), ("ndjson", "jsonl"), ("json", "jsonl")];

/// The known name nearest to an unknown one, if any is near enough to be meant.
pub(super) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let lower = unknown.to_lowercase();
    let meant = OTHER_NAMES.iter().find(|(other, _)| *other == lower).map(|(_, name)| *name);
    let other = known.iter().copied().find(|name| Some(*name) == meant);
    other.or_else(|| nearest::nearest(unknown, known))
}

/// "did you mean …", where a known name is near.
pub(super) fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(unknown, known).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_means_its_format_whatever_is_spelt_alike() {
        let known = ["xz", "gzip", "zstd", "bzip2"];
        assert_eq!(nearest("gz", known), Some("gzip"));
        assert_eq!(nearest("zst", known), Some("zstd"));
    }
}
