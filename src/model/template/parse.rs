//! What a template's variables mean.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::outline::{Outline, Piece};
use super::{Segment, Variable};
use crate::model::built_in::BUILT_IN;
use crate::model::mistake::Mistake;
use crate::model::nearest::nearest;

const DATE_FORMAT: &str = "%Y-%m-%d";
const TIME_FORMAT: &str = "%H%M%S";
const FORMAT_HINT: &str = "use strftime, such as `{date:%Y%m%d}`";

pub(super) fn segments(outline: &Outline, known: &BTreeSet<String>) -> Result<Vec<Segment>, Mistake> {
    let meant = |piece: &Piece| match piece {
        Piece::Text(text) => Ok(Segment::Text(text.clone())),
        Piece::Variable { name, format } => {
            let variable = variable(name, format.as_deref(), known)?;
            Ok(Segment::Variable { name: name.clone(), variable })
        }
    };
    outline.pieces().iter().map(meant).collect()
}

fn variable(name: &str, format: Option<&str>, known: &BTreeSet<String>) -> Result<Variable, Mistake> {
    Ok(match (name, format) {
        ("date", format) => Variable::Moment(checked_format(format.unwrap_or(DATE_FORMAT))?),
        ("time", format) => Variable::Moment(checked_format(format.unwrap_or(TIME_FORMAT))?),
        (_, Some(format)) => {
            let hint = "only `{date:…}` and `{time:…}` take a format";
            return Err(Mistake::new(format!("`{{{name}:{format}}}` cannot be formatted"), hint));
        }
        ("rule", _) => Variable::Rule,
        ("name", _) => Variable::Name,
        ("stem", _) => Variable::Stem,
        ("ext", _) => Variable::Ext,
        ("job", _) => Variable::Job,
        ("category", _) => Variable::Category,
        ("entry", _) => Variable::Entry,
        ("entry_stem", _) => Variable::EntryStem,
        ("parent", _) => Variable::Parent,
        ("grandparent", _) => Variable::Grandparent,
        ("revision", _) => Variable::Revision,
        _ if known.contains(name) => Variable::Wildcard,
        _ => return Err(unknown(name, known)),
    })
}

fn unknown(name: &str, known: &BTreeSet<String>) -> Mistake {
    let names = BUILT_IN.iter().copied().chain(known.iter().map(String::as_str));
    let hint = match nearest(name, names) {
        Some(candidate) => format!("did you mean `{{{candidate}}}`?"),
        None => format!("use one of {}, or a named wildcard of the rule's `paths`", BUILT_IN.join(", ")),
    };
    Mistake::new(format!("unknown variable `{{{name}}}`"), hint)
}

/// Tried out on some moment: what cannot be formatted is found by `check`, not by the first file.
fn checked_format(format: &str) -> Result<String, Mistake> {
    let sample = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match jiff::fmt::strtime::format(format, &sample) {
        Ok(text) if text.is_empty() => Err(Mistake::new("a date's format is empty", FORMAT_HINT)),
        Ok(_) => Ok(format.to_owned()),
        Err(error) => Err(bad_format(format, &error)),
    }
}

pub(super) fn bad_format(format: &str, error: &jiff::Error) -> Mistake {
    Mistake::new(format!("`{format}` is no date format: {error}"), FORMAT_HINT)
}
