//! Path templates: `/data/out/{rule}/{sender}/{date}/{stem}.csv.gz`.
//!
//! A template is literal text with variables; `{{` and `}}` are literal braces. Literal text and formatted dates are the operator's and
//! may hold separators; every other value comes from file names, entry names or patterns and fills a part of one
//! component, made harmless (see `harmless`). Nothing rendered leaves the folder spelled out before the first variable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::category::Category;
use super::job::Job;
use super::job_id::JobId;
use super::mistake::Mistake;
use super::os_text::OsText;
use super::rule::Rule;

mod harmless;
mod names;
mod outline;
mod parse;

use harmless::ComponentBuilder;
pub(crate) use names::{marked, numbered, stem, unencrypted, without_known_suffixes_before};
pub(crate) use outline::{Outline, escaped, fixed_folder, known_part, variables};

/// A parsed path template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    segments: Vec<Segment>,
    /// The folder before the first variable, with its last separator.
    fixed_text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Text(String),
    Variable { name: String, variable: Variable },
}

#[derive(Clone, Debug, PartialEq)]
enum Variable {
    Rule,
    Name,
    Stem,
    Ext,
    /// With its strftime format.
    Moment(String),
    Job,
    Category,
    Entry,
    EntryStem,
    Parent,
    Grandparent,
    Revision,
    Wildcard,
}

/// What a template's variables stand for, for one job.
#[derive(Clone, Debug)]
pub(crate) struct Variables<'a> {
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
    /// `{entry} {entry_stem}`: the member's raw name in its archive, in output paths. A plain file's entry has no name: its own
    /// stands in, without the suffixes of what was unpacked.
    pub entry: Option<&'a OsText>,
    /// `{revision}`: known once the source was read; 1 until then.
    pub revision: u64,
    /// The rule's named wildcards.
    pub vars: &'a BTreeMap<String, OsText>,
}

impl<'a> Variables<'a> {
    /// What a job gives to the templates of its rule, outputs aside.
    pub(crate) fn of(rule: &'a Rule, job: &'a Job) -> Self {
        Self {
            rule: &rule.name,
            source: job.source.path.as_path(),
            claimed_at: job.created_at,
            timezone: &rule.timezone,
            job: job.id,
            category: None,
            entry: None,
            revision: job.delivery.revision,
            vars: &job.vars,
        }
    }
}

/// What fills a place of a template.
enum Value {
    /// The operator's own text: separators count.
    Trusted(String),
    /// From outside, as bytes (Unix) or UTF-8 (Windows).
    Foreign(Vec<u8>),
}

impl Template {
    /// Parses; `known` are the rule's named wildcards; unknown variables are refused with the nearest known name.
    pub(crate) fn parse(text: &str, known: &BTreeSet<String>) -> Result<Self, Mistake> {
        if text.contains('\0') {
            return Err(Mistake { message: "a path cannot hold a NUL character".to_owned(), hint: None });
        }
        let outline = Outline::parse(text)?;
        let segments = parse::segments(&outline, known)?;
        if Path::new(&outline.filled(|_| "x".into())).components().any(|c| c == Component::ParentDir) {
            let hint = "spell the path out without `..`";
            return Err(Mistake::new(format!("the path `{text}` goes up with `..`"), hint));
        }
        Ok(Self { segments, fixed_text: outline.fixed_text().to_owned() })
    }

    /// Parses, for a job that has its named wildcards.
    pub(crate) fn of_job(text: &str, job: &Job) -> Result<Self, Mistake> {
        Self::parse(text, &job.vars.keys().cloned().collect())
    }

    /// Whether a variable is used, e.g. `entry`.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Variable { name, .. } if name == variable))
    }

    /// The folder spelled out before the first variable: nothing rendered ever leaves it.
    pub(crate) fn fixed_folder(&self) -> &Path {
        Path::new(&self.fixed_text).components().as_path()
    }

    /// The literal text after the last variable; the whole text where there is none.
    pub(crate) fn literal_end(&self) -> &str {
        match self.segments.last() {
            Some(Segment::Text(text)) => text,
            _ => "",
        }
    }

    /// The path; components from outside are made harmless and the result is checked to lie inside [`Self::fixed_folder`].
    pub(crate) fn render(&self, variables: &Variables<'_>) -> Result<PathBuf, Mistake> {
        let mut path = self.fixed_folder().to_owned();
        let mut component = ComponentBuilder::default();
        let mut fixed_left = self.fixed_text.len();
        for segment in &self.segments {
            match value(segment, variables)? {
                Value::Foreign(bytes) => component.push_foreign(&bytes),
                Value::Trusted(text) => {
                    let rest = text.get(fixed_left..).unwrap_or(&text);
                    for (position, part) in rest.split(std::path::is_separator).enumerate() {
                        if position > 0 {
                            component.finish_into(&mut path);
                        }
                        component.push_trusted(part);
                    }
                }
            }
            fixed_left = 0;
        }
        component.finish_into(&mut path);
        self.check_inside(path)
    }

    /// Whether the rendered path lies in [`Self::fixed_folder`] itself, whatever the variables stand for.
    pub(crate) fn has_one_folder(&self) -> bool {
        let is_text = |segment: &&Segment| matches!(segment, Segment::Text(_));
        !self.segments.iter().skip_while(is_text).any(Segment::has_separator)
    }

    /// The folder of the rendered path as far as it can be told before the source is read, and whether that is all of it.
    pub(crate) fn known_folder(&self, variables: &Variables<'_>) -> Result<(PathBuf, bool), Mistake> {
        let known = self.segments.iter().take_while(|segment| !segment.is_told_by_content()).count();
        let (known, open) = self.segments.split_at(known);
        let is_whole = !open.iter().any(Segment::has_separator);
        // What is not known yet is a part of the name of something: what lies above that is known.
        let name = Segment::Text("x".to_owned());
        let segments = known.iter().cloned().chain([name]).collect();
        let path = Self { segments, fixed_text: self.fixed_text.clone() }.render(variables)?;
        Ok((path.parent().unwrap_or(&path).to_owned(), is_whole))
    }

    /// The text as it stands, not a path: nothing is made harmless.
    pub(crate) fn render_text(&self, variables: &Variables<'_>) -> Result<OsText, Mistake> {
        let mut bytes = Vec::new();
        for segment in &self.segments {
            match value(segment, variables)? {
                Value::Foreign(name) => bytes.extend(name),
                Value::Trusted(text) => bytes.extend(text.into_bytes()),
            }
        }
        Ok(OsText::new(harmless::name_of(bytes)))
    }

    fn check_inside(&self, path: PathBuf) -> Result<PathBuf, Mistake> {
        let inside = path.strip_prefix(self.fixed_folder()).is_ok_and(|rest| {
            rest.components().next().is_some() && rest.components().all(|c| matches!(c, Component::Normal(_)))
        });
        if inside {
            return Ok(path);
        }
        let folder = super::os_text::escaped_path(self.fixed_folder());
        let message = format!("the path `{}` does not lie in {folder}", super::os_text::escaped_path(&path));
        Err(Mistake::new(message, "end the path with a file name"))
    }
}

impl Segment {
    /// Whether nobody knows what it stands for before the source was read.
    fn is_told_by_content(&self) -> bool {
        use Variable::{Category, Entry, EntryStem, Revision};
        matches!(self, Self::Variable { variable: Category | Entry | EntryStem | Revision, .. })
    }

    fn has_separator(&self) -> bool {
        match self {
            Self::Text(text) | Self::Variable { variable: Variable::Moment(text), .. } => {
                text.contains(std::path::is_separator)
            }
            Self::Variable { .. } => false,
        }
    }
}

fn value(segment: &Segment, variables: &Variables<'_>) -> Result<Value, Mistake> {
    let (name, variable) = match segment {
        Segment::Text(text) => return Ok(Value::Trusted(text.clone())),
        Segment::Variable { name, variable } => (name, variable),
    };
    let source = variables.source;
    let foreign = |name: &std::ffi::OsStr| Value::Foreign(harmless::bytes_of(name));
    let file_name = || harmless::bytes_of(source.file_name().unwrap_or_default());
    let folder = |path: Option<&Path>| foreign(path.and_then(Path::file_name).unwrap_or_default());
    Ok(match variable {
        Variable::Rule => Value::Foreign(variables.rule.as_bytes().to_vec()),
        Variable::Job => Value::Foreign(variables.job.to_string().into_bytes()),
        Variable::Name => Value::Foreign(file_name()),
        Variable::Stem => Value::Foreign(names::split(&file_name()).stem.to_vec()),
        Variable::Ext => Value::Foreign(names::split(&file_name()).ext.to_vec()),
        Variable::Parent => folder(source.parent()),
        Variable::Grandparent => folder(source.parent().and_then(Path::parent)),
        Variable::Revision => Value::Foreign(variables.revision.to_string().into_bytes()),
        Variable::Moment(format) => Value::Trusted(moment(format, variables)?),
        Variable::Category => {
            let category = variables.category.ok_or_else(|| out_of_place(name))?;
            Value::Foreign(category.as_str().as_bytes().to_vec())
        }
        Variable::Entry | Variable::EntryStem => {
            let entry = variables.entry.ok_or_else(|| out_of_place(name))?;
            Value::Foreign(entry_value(entry, &file_name(), *variable == Variable::EntryStem))
        }
        Variable::Wildcard => {
            let value = variables.vars.get(name).ok_or_else(|| Mistake {
                message: format!("`{{{name}}}` has no value for this source"),
                hint: None,
            })?;
            foreign(value.as_os_str())
        }
    })
}

fn entry_value(entry: &OsText, source_name: &[u8], stem_only: bool) -> Vec<u8> {
    let member = harmless::flattened(&harmless::bytes_of(entry.as_os_str()));
    let name = if member.is_empty() { source_name } else { member.as_slice() };
    let split = names::split(name);
    if stem_only {
        return split.stem.to_vec();
    }
    match (member.is_empty(), split.ext) {
        (false, _) => member,
        (true, []) => split.stem.to_vec(),
        (true, ext) => [split.stem, b".", ext].concat(),
    }
}

fn out_of_place(name: &str) -> Mistake {
    let hint = "use it in `output.*.path` only";
    Mistake::new(format!("`{{{name}}}` has no meaning in this path"), hint)
}

fn moment(format: &str, variables: &Variables<'_>) -> Result<String, Mistake> {
    let zone = TimeZone::get(variables.timezone).map_err(|error| {
        let message = format!("the time zone `{}` is not known: {error}", variables.timezone);
        Mistake::new(message, "give an IANA name such as `Europe/Berlin` in `service.timezone`")
    })?;
    let at = variables.claimed_at.to_zoned(zone);
    jiff::fmt::strtime::format(format, &at).map_err(|error| parse::bad_format(format, &error))
}

#[cfg(test)]
mod tests;
