//! Template text to segments.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Segment, TemplateError, Variable};

const BUILT_IN: [&str; 13] = [
    "rule",
    "name",
    "stem",
    "ext",
    "date",
    "time",
    "job",
    "category",
    "entry",
    "entry_stem",
    "parent",
    "grandparent",
    "revision",
];
const DATE_FORMAT: &str = "%Y-%m-%d";
const TIME_FORMAT: &str = "%H%M%S";
/// Below it a name is not near enough to be suggested.
const SIMILARITY_MIN: f64 = 0.7;

pub(super) fn segments(text: &str, known: &BTreeSet<String>) -> Result<Vec<Segment>, TemplateError> {
    if text.contains('\0') {
        return Err(TemplateError::new("a path cannot hold a NUL character".to_owned(), None));
    }
    let mut segments = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(place) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(place);
        literal.push_str(before);
        if let Some(after) = from_brace.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = from_brace.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else if let Some(after) = from_brace.strip_prefix('{') {
            let Some((inside, after)) = after.split_once('}') else {
                return Err(TemplateError::new(format!("a brace is not closed in `{text}`"), brace_hint()));
            };
            if !literal.is_empty() {
                segments.push(Segment::Text(std::mem::take(&mut literal)));
            }
            segments.push(variable(inside, known)?);
            rest = after;
        } else {
            return Err(TemplateError::new(format!("a `}}` without its `{{` in `{text}`"), brace_hint()));
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        segments.push(Segment::Text(literal));
    }
    Ok(segments)
}

fn brace_hint() -> String {
    "write `{{` and `}}` for braces that are part of the name".to_owned()
}

fn variable(inside: &str, known: &BTreeSet<String>) -> Result<Segment, TemplateError> {
    let (name, format) = match inside.split_once(':') {
        Some((name, format)) => (name, Some(format)),
        None => (inside, None),
    };
    let variable = match name {
        "date" => Variable::Moment(checked_format(format.unwrap_or(DATE_FORMAT))?),
        "time" => Variable::Moment(checked_format(format.unwrap_or(TIME_FORMAT))?),
        _ if format.is_some() => {
            let hint = "only `{date:…}` and `{time:…}` take a format".to_owned();
            return Err(TemplateError::new(format!("`{{{inside}}}` cannot be formatted"), hint));
        }
        "rule" => Variable::Rule,
        "name" => Variable::Name,
        "stem" => Variable::Stem,
        "ext" => Variable::Ext,
        "job" => Variable::Job,
        "category" => Variable::Category,
        "entry" => Variable::Entry,
        "entry_stem" => Variable::EntryStem,
        "parent" => Variable::Parent,
        "grandparent" => Variable::Grandparent,
        "revision" => Variable::Revision,
        _ if known.contains(name) => Variable::Wildcard,
        _ => return Err(unknown(name, known)),
    };
    Ok(Segment::Variable { name: name.to_owned(), variable })
}

fn unknown(name: &str, known: &BTreeSet<String>) -> TemplateError {
    let names = BUILT_IN.iter().copied().chain(known.iter().map(String::as_str));
    let nearest = names
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((_, candidate)) => format!("did you mean `{{{candidate}}}`?"),
        None => format!("use one of {}, or a named wildcard of the rule's `paths`", BUILT_IN.join(", ")),
    };
    TemplateError::new(format!("unknown variable `{{{name}}}`"), hint)
}

/// Tried out on some moment: what cannot be formatted is found by `check`, not by the first file.
fn checked_format(format: &str) -> Result<String, TemplateError> {
    let sample = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match jiff::fmt::strtime::format(format, &sample) {
        Ok(text) if text.is_empty() => {
            Err(TemplateError::new("a date's format is empty".to_owned(), format_hint()))
        }
        Ok(_) => Ok(format.to_owned()),
        Err(error) => Err(bad_format(format, &error)),
    }
}

pub(super) fn bad_format(format: &str, error: &jiff::Error) -> TemplateError {
    TemplateError::new(format!("`{format}` is no date format: {error}"), format_hint())
}

fn format_hint() -> String {
    "use strftime, such as `{date:%Y%m%d}`".to_owned()
}

/// How much of the first literal text is the fixed folder with its last separator.
pub(super) fn fixed_length(segments: &[Segment]) -> usize {
    match segments.first() {
        Some(Segment::Text(text)) => text.rfind(std::path::is_separator).map_or(0, |place| place + 1),
        _ => 0,
    }
}

pub(super) fn fixed_folder(segments: &[Segment]) -> PathBuf {
    match segments.first() {
        Some(Segment::Text(text)) => PathBuf::from(text.get(..fixed_length(segments)).unwrap_or_default()),
        _ => PathBuf::new(),
    }
}
