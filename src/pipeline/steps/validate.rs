//! `validate`: sends records that do not conform to another category, with the reason counted.
//!
//! The first check that fails is the reason: first whether it is csv or JSON at all, then the number of fields, then the columns by name. Of an empty (or
//! missing) value only `required` judges. A decimal has a sign, digits and a point, no blanks, no exponent and no
//! separators; an integer no point; a boolean is `true` or `false` in any case. In jsonl numbers and booleans may be
//! JSON's own or texts that are such. A key that stands twice does not conform. `min` and `max` are numbers, or ISO dates for date and datetime. `matches`
//! searches: anchor it (`^…$`) to mean the whole value.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::Date;
use regex::bytes::Regex;
use serde_json::{Map, Value as Json};

use super::Planned;
use super::condition::{Wanted, is_one_of, number_of, regex, wanted_list};
use super::dates::DateFormat;
use crate::format::characters;
use crate::model::nearest::nearest;
use crate::model::step::{CategoryId, Outcome, Reason, Record, RecordError, Step, StepPlan, Value};
use crate::pipeline::context::StepContext;
use crate::pipeline::decimal::Bound;
use crate::pipeline::params::Params;
use crate::pipeline::problem::PipelineProblem;

const TYPES: &[&str] = &["string", "integer", "decimal", "boolean", "date", "datetime"];

#[derive(Clone)]
struct Validate {
    columns: Vec<Check>,
    fields_exact: bool,
    to: CategoryId,
    too_few: Option<(usize, Reason)>,
    too_many: Option<(usize, Reason)>,
    too_wide: Option<Reason>,
    unreadable: Reason,
}

#[derive(Clone)]
struct Check {
    missing: Option<Reason>,
    twice: Reason,
    kind: Kind,
    not_of_kind: Reason,
    one_of: Option<(Vec<Wanted>, Reason)>,
    matches: Option<(Regex, Reason)>,
    /// In characters.
    length: Range<usize>,
}

#[derive(Clone)]
enum Kind {
    Any,
    String,
    Integer(Range<Bound>),
    Decimal(Range<Bound>),
    Boolean,
    Date(DateFormat, Range<Date>),
    DateTime(DateFormat, Range<Timestamp>),
}

#[derive(Clone)]
struct Range<T> {
    min: Option<(T, Reason)>,
    max: Option<(T, Reason)>,
}

pub(crate) fn plan(table: &Map<String, Json>, context: &StepContext<'_>) -> Planned {
    let mut params = Params::new(table);
    let (names, columns) = checks(&mut params);
    let fields_exact = params.flag("fields_exact");
    let too_wide = context.format.fields_past_max();
    let is_csv = too_wide.is_some();
    if fields_exact.is_some() && !is_csv {
        params.problem("fields_exact", "`fields_exact` is for csv only".into(), Some("leave it out".into()));
    }
    if !context.format.has_columns() {
        let hint = "set `records.format`, or use `filter` or `route` on the whole record";
        params.problem("columns", "records of the lines format have no columns".into(), Some(hint.into()));
    }
    let name = params.text("to").unwrap_or("invalid");
    let to = context.category_of(&mut params, "to", name);
    let validate = params.finish(to.map(|to| Validate {
        columns,
        fields_exact: is_csv && fields_exact.unwrap_or(true),
        to,
        too_few: None,
        too_many: None,
        too_wide: too_wide.as_deref().map(Reason::new),
        unreadable: Reason::new(context.format.unreadable()),
    }))?;
    let to = validate.to;
    Ok(StepPlan::new(move |_| validate.clone()).reading(names).sending_to([to]))
}

fn checks(params: &mut Params<'_>) -> (Vec<String>, Vec<Check>) {
    let (mut names, mut checks) = (Vec::new(), Vec::new());
    for (name, value) in params.table("columns").into_iter().flatten() {
        let mut path = params.path_of("columns");
        path.push(name.clone());
        let Some(table) = value.as_object() else {
            let hint = Some(format!("write it like {name} = {{ type = \"decimal\" }}"));
            let message = "the checks of a column must be a table".to_owned();
            params.problem_at(path, message, hint);
            continue;
        };
        if let Some(check) = params.accept(check(name, Params::nested(table, path))) {
            names.push(name.clone());
            checks.push(check);
        }
    }
    (names, checks)
}

fn check(name: &str, mut params: Params<'_>) -> Result<Check, Vec<PipelineProblem>> {
    let reason = |text: &str| Reason::new(&format!("{name}: {text}"));
    let missing = params.flag("required").unwrap_or(false).then(|| reason("missing"));
    let kind_name = params.text("type").unwrap_or("");
    let kind = kind(name, kind_name, &mut params);
    let article = if kind_name == "integer" { "an" } else { "a" };
    let one_of = wanted_list(&mut params, "one_of").map(|list| (list, reason("not one of those allowed")));
    let matches = regex(&mut params, "matches").map(|regex| (regex, reason("does not match")));
    let shortest =
        params.count("length_min").map(|min| (min as usize, reason(&format!("shorter than {min}"))));
    let longest = params.count("length_max").map(|max| (max as usize, reason(&format!("longer than {max}"))));
    if let (Some((min, _)), Some((max, _))) = (&shortest, &longest)
        && min > max
    {
        params.problem("length_min", "`length_min` is above `length_max`: no value can pass".into(), None);
    }
    let not_of_kind = reason(&format!("not {article} {kind_name}"));
    let twice = reason("stands twice");
    let length = Range { min: shortest, max: longest };
    params.finish(kind.map(|kind| Check { missing, twice, kind, not_of_kind, one_of, matches, length }))
}

fn kind(name: &str, kind: &str, params: &mut Params<'_>) -> Option<Kind> {
    if !matches!(kind, "date" | "datetime") && params.get("format").is_some() {
        params.problem("format", "`format` goes with type date or datetime".into(), None);
    }
    let bounded = matches!(kind, "integer" | "decimal" | "date" | "datetime");
    for key in ["min", "max"] {
        if !bounded && params.get(key).is_some() {
            let hint = "for the length of a text there are `length_min` and `length_max`";
            params.problem(key, format!("`{key}` goes with a number, date or datetime"), Some(hint.into()));
        }
    }
    match kind {
        "" => Some(Kind::Any),
        "string" => Some(Kind::String),
        "boolean" => Some(Kind::Boolean),
        "integer" => Some(Kind::Integer(range(name, params, "a number", Bound::from_value, Bound::compare))),
        "decimal" => Some(Kind::Decimal(range(name, params, "a number", Bound::from_value, Bound::compare))),
        "date" => {
            let format = date_format(params, false);
            let read = |value: &Json| DateFormat::iso().date(value.as_str()?.as_bytes());
            let range = range(name, params, "a date like 2026-01-31", read, Date::cmp);
            Some(Kind::Date(format?, range))
        }
        "datetime" => {
            let format = date_format(params, true);
            let read = |value: &Json| moment(value.as_str()?);
            let range = range(name, params, "a date like 2026-01-31T12:00:00Z", read, Timestamp::cmp);
            Some(Kind::DateTime(format?, range))
        }
        unknown => {
            let hint = match nearest(unknown, TYPES.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are: {}", TYPES.join(", ")),
            };
            params.problem("type", format!("unknown type `{unknown}`"), Some(hint));
            None
        }
    }
}

/// A bound may be a whole day.
fn moment(text: &str) -> Option<Timestamp> {
    let iso = DateFormat::iso();
    iso.date_time(text).or_else(|| iso.date_time(&format!("{text}T00:00:00Z")))
}

fn date_format(params: &mut Params<'_>, with_time: bool) -> Option<DateFormat> {
    let Some(format) = params.text("format") else { return Some(DateFormat::iso()) };
    match DateFormat::new(format, with_time) {
        Ok(format) => Some(format),
        Err(why) => {
            let hint = "strftime: %Y-%m-%d, %d.%m.%Y, %Y%m%d %H:%M:%S";
            let message = format!("`{format}` is no usable date format: {why}");
            params.problem("format", message, Some(hint.into()));
            None
        }
    }
}

fn range<T>(
    name: &str,
    params: &mut Params<'_>,
    expected: &str,
    read: impl Fn(&Json) -> Option<T>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Range<T> {
    let mut bound = |key: &'static str, text: &str| {
        let value = params.get(key)?;
        let shown = value.as_str().map_or_else(|| shown_number(value), str::to_owned);
        let Some(bound) = read(value) else {
            params.problem(key, format!("`{key}` must be {expected}"), None);
            return None;
        };
        Some((bound, Reason::new(&format!("{name}: {text} {shown}"))))
    };
    let (min, max) = (bound("min", "below"), bound("max", "above"));
    if let (Some((low, _)), Some((high, _))) = (&min, &max)
        && compare(low, high) == Ordering::Greater
    {
        params.problem("min", "`min` is above `max`: no value can pass".into(), None);
    }
    Range { min, max }
}

fn shown_number(value: &Json) -> String {
    Bound::from_value(value).map_or_else(|| value.to_string(), |bound| bound.to_string())
}

impl<T> Range<T> {
    /// The reason why a value is outside; `order` compares the value with a bound.
    fn judge(&self, order: impl Fn(&T) -> Option<Ordering>) -> Option<&Reason> {
        if let Some((min, reason)) = &self.min
            && order(min) == Some(Ordering::Less)
        {
            return Some(reason);
        }
        match &self.max {
            Some((max, reason)) if order(max) == Some(Ordering::Greater) => Some(reason),
            _ => None,
        }
    }
}

impl Check {
    /// The reason why the value does not conform; none if it does.
    fn judge(&self, value: &Value<'_>) -> Option<&Reason> {
        let bytes = value.bytes();
        if bytes.is_empty() {
            return self.missing.as_ref();
        }
        if let Some(reason) = self.judge_kind(value) {
            return Some(reason);
        }
        if let Some((list, reason)) = &self.one_of
            && !is_one_of(list, value)
        {
            return Some(reason);
        }
        if let Some((regex, reason)) = &self.matches
            && !regex.is_match(bytes)
        {
            return Some(reason);
        }
        self.length.judge(|bound| Some(characters(bytes).cmp(bound)))
    }

    fn judge_kind(&self, value: &Value<'_>) -> Option<&Reason> {
        let wrong = Some(&self.not_of_kind);
        match &self.kind {
            Kind::Any => None,
            Kind::String => match value {
                // Asked first: the short values that most are take several times as long otherwise.
                Value::Text(text) if text.is_ascii() || std::str::from_utf8(text).is_ok() => None,
                _ => wrong,
            },
            Kind::Integer(range) => match number_of(value) {
                Some(number) if number.is_integer() => range.judge(|bound| bound.compared_with(&number)),
                _ => wrong,
            },
            Kind::Decimal(range) => match number_of(value) {
                Some(number) => range.judge(|bound| bound.compared_with(&number)),
                None => wrong,
            },
            Kind::Boolean => {
                let bytes = value.bytes();
                let known = bytes.eq_ignore_ascii_case(b"true") || bytes.eq_ignore_ascii_case(b"false");
                if known { None } else { wrong }
            }
            Kind::Date(format, range) => match text_of(value).and_then(|text| format.date(text)) {
                Some(date) => range.judge(|bound| Some(date.cmp(bound))),
                None => wrong,
            },
            Kind::DateTime(format, range) => match moment_of(value, format) {
                Some(moment) => range.judge(|bound| Some(moment.cmp(bound))),
                None => wrong,
            },
        }
    }
}

fn text_of<'v>(value: &'v Value<'_>) -> Option<&'v [u8]> {
    match value {
        Value::Text(text) => Some(text),
        Value::Missing | Value::Json(_) => None,
    }
}

fn moment_of(value: &Value<'_>, format: &DateFormat) -> Option<Timestamp> {
    format.date_time(std::str::from_utf8(text_of(value)?).ok()?)
}

impl Validate {
    fn judge(&mut self, record: &mut Record<'_>) -> Option<Reason> {
        if let Err(error) = record.check() {
            let too_wide = self.too_wide.as_ref().filter(|_| error.is_too_wide());
            return Some(too_wide.unwrap_or(&self.unreadable).clone());
        }
        if self.fields_exact {
            let expected = record.column_names().len();
            let count = record.field_count();
            if expected > 0 && count != expected {
                return Some(self.wrong_count(count < expected, expected));
            }
        }
        for (index, check) in self.columns.iter().enumerate() {
            // It could be read as a whole.
            let Ok(value) = record.column(index) else { return Some(check.twice.clone()) };
            if let Some(reason) = check.judge(&value) {
                return Some(reason.clone());
            }
        }
        None
    }

    fn wrong_count(&mut self, too_few: bool, expected: usize) -> Reason {
        let (kept, word) = if too_few { (&mut self.too_few, "fewer") } else { (&mut self.too_many, "more") };
        match kept {
            Some((known, reason)) if *known == expected => reason.clone(),
            _ => {
                let reason = Reason::new(&format!("{word} than {expected} fields"));
                *kept = Some((expected, reason.clone()));
                reason
            }
        }
    }
}

impl Step for Validate {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        Ok(match self.judge(record) {
            None => Outcome::On,
            Some(reason) => Outcome::To { category: self.to, reason: Some(reason) },
        })
    }
}
