//! Path templates: SKELETON, owned by the output helper.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::category::Category;
use super::job_id::JobId;
use super::os_text::OsText;

/// A parsed path template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template;

/// What a template's variables stand for, for one job.
#[derive(Clone, Debug)]
pub struct Variables<'a> {
    /// `{rule}`.
    pub rule: &'a str,
    /// The source's original path: `{name} {stem} {ext} {parent} {grandparent}`.
    pub source: &'a Path,
    /// The claim's time: `{date} {time}`.
    pub claimed_at: Timestamp,
    /// IANA time zone of dates and times.
    pub timezone: &'a str,
    /// `{job}`.
    pub job: JobId,
    /// `{category}`, in output paths.
    pub category: Option<&'a Category>,
    /// `{entry} {entry_stem}`: the member's raw name in its archive, in output paths.
    pub entry: Option<&'a OsText>,
    /// The rule's named wildcards.
    pub vars: &'a BTreeMap<String, OsText>,
}

/// The template is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong, with the variable's name.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Template {
    /// Parses; `known` are the rule's named wildcards; unknown variables are refused with the nearest known name.
    pub fn parse(text: &str, known: &BTreeSet<String>) -> Result<Self, TemplateError> { let _ = (text, known); unimplemented!() }
    /// Whether a variable is used, e.g. `entry`.
    pub fn uses(&self, variable: &str) -> bool { let _ = variable; unimplemented!() }
    /// The folder spelled out before the first variable: nothing rendered ever leaves it.
    pub fn fixed_folder(&self) -> &Path { unimplemented!() }
    /// The path; components from outside are made harmless and the result is checked to lie inside [`Self::fixed_folder`].
    pub fn render(&self, variables: &Variables<'_>) -> Result<PathBuf, TemplateError> { let _ = variables; unimplemented!() }
}
