//! COND: what `filter` and `route` ask of a record.
//!
//! A bound that is a number is compared by worth, digit by digit (`1.0` equals `1`, no precision is lost); a bound that is
//! a text is compared byte by byte, which is the right order for ISO dates. Where a number is asked for and the column holds
//! none, the test is false; `not_equals` is the plain opposite of `equals` and so is true. A missing column is an empty text.
//! `matches` searches: anchor it (`^…$`) to mean the whole value. Lengths are counted in characters.

use std::cmp::Ordering;

use regex::bytes::Regex;
use serde_json::{Map, Value as Json};

use crate::format::characters;
use crate::model::step::{Record, RecordError, Value};
use crate::pipeline::decimal::{Bound, Decimal};
use crate::pipeline::params::Params;
use crate::pipeline::problem::PipelineProblem;

/// Tables within tables at most.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// A test of a column, or of the whole record.
    Test(Option<usize>, Test),
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Equals(Wanted),
    NotEquals(Wanted),
    OneOf(Vec<Wanted>),
    Matches(Regex),
    /// `less_than`, `at_most`, `greater_than`, `at_least`: the orders that hold.
    Ordered(Wanted, &'static [Ordering]),
    LengthBelow(usize),
    LengthAbove(usize),
    Empty(bool),
}

#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// By worth.
    Number(Bound),
    /// Byte by byte.
    Text(String),
}

impl Wanted {
    fn from_value(value: &Json) -> Option<Self> {
        match value {
            Json::String(text) => Some(Self::Text(text.clone())),
            Json::Bool(flag) => Some(Self::Text(flag.to_string())),
            number => Bound::from_value(number).map(Self::Number),
        }
    }

    /// How `value` compares; none where a number is wanted and it is none.
    pub(super) fn compare(&self, value: &Value<'_>) -> Option<Ordering> {
        match self {
            Self::Number(bound) => bound.compared_with(&number_of(value)?),
            Self::Text(text) => Some(value.bytes().cmp(text.as_bytes())),
        }
    }

    fn equals(&self, value: &Value<'_>) -> bool {
        match self {
            Self::Number(_) => self.compare(value) == Some(Ordering::Equal),
            // Most differ in length.
            Self::Text(text) => value.bytes() == text.as_bytes(),
        }
    }
}

/// The number that a value is; exponents only where the record's format has numbers of its own.
pub(super) fn number_of<'v>(value: &'v Value<'_>) -> Option<Decimal<'v>> {
    match value {
        Value::Missing => None,
        Value::Text(text) => Decimal::parse(text, false),
        Value::Json(json) => Decimal::parse(json, true),
    }
}

impl Test {
    fn holds(&self, value: &Value<'_>) -> bool {
        match self {
            Self::Equals(wanted) => wanted.equals(value),
            Self::NotEquals(wanted) => !wanted.equals(value),
            Self::OneOf(list) => list.iter().any(|wanted| wanted.equals(value)),
            Self::Matches(regex) => regex.is_match(value.bytes()),
            Self::Ordered(bound, orders) => bound.compare(value).is_some_and(|order| orders.contains(&order)),
            Self::LengthBelow(length) => characters(value.bytes()) < *length,
            Self::LengthAbove(length) => characters(value.bytes()) > *length,
            Self::Empty(wanted) => value.bytes().is_empty() == *wanted,
        }
    }
}

impl Condition {
    /// Whether it holds for this record; an error where a column cannot be read.
    pub(super) fn holds(&self, record: &mut Record<'_>) -> Result<bool, RecordError> {
        match self {
            Self::All(conditions) => {
                for condition in conditions {
                    if !condition.holds(record)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(conditions) => {
                for condition in conditions {
                    if condition.holds(record)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(condition) => Ok(!condition.holds(record)?),
            Self::Test(Some(column), test) => Ok(test.holds(&record.column(*column)?)),
            Self::Test(None, test) => Ok(test.holds(&Value::Text(record.bytes().into()))),
        }
    }

    /// Reads a condition where a value should be one; see [`Self::parse`].
    pub(super) fn from_value(
        value: &Json,
        path: Vec<String>,
        columns: &mut Vec<String>,
    ) -> Result<Self, Vec<PipelineProblem>> {
        if let Some(table) = value.as_object() {
            return Self::parse(table, path, columns);
        }
        let hint = Some("write it like { column = \"status\", equals = \"CLOSED\" }".to_owned());
        let message = "a condition must be a table".to_owned();
        Err(vec![PipelineProblem { key: path, message, hint }])
    }

    /// Reads a condition; columns that it names are added to `columns`, and its tests hold their positions there.
    pub(super) fn parse(
        table: &Map<String, Json>,
        path: Vec<String>,
        columns: &mut Vec<String>,
    ) -> Result<Self, Vec<PipelineProblem>> {
        let mut params = Params::nested(table, path);
        if params.path_of("").len() > DEPTH_MAX {
            params.problem_here(format!("conditions are nested more than {DEPTH_MAX} deep"), None);
            return params.finish(None);
        }
        let mut found = Vec::new();
        found.extend(group(&mut params, "all", columns, Self::All));
        found.extend(group(&mut params, "any", columns, Self::Any));
        if let Some(inner) = params.table("not") {
            let inner = Self::parse(inner, params.path_of("not"), columns);
            found.extend(params.accept(inner).map(|inner| Self::Not(Box::new(inner))));
        }
        let groups = table.keys().filter(|key| matches!(key.as_str(), "all" | "any" | "not")).count();
        let column = params.text("column");
        let tests = tests(&mut params);
        let column = column.map(|name| position_of(name, columns));
        if groups > 0 && column.is_some() {
            params.problem("column", "`column` does not go with `all`, `any` or `not`".into(), None);
        }
        let tests_given = table.keys().filter(|key| TESTS.contains(&key.as_str())).count();
        found.extend(tests.into_iter().map(|test| Self::Test(column, test)));
        match groups + tests_given {
            1 => {}
            0 => params.problem_here(
                "a condition without a test".into(),
                Some(format!("give it one of: {}, all, any, not", TESTS.join(", "))),
            ),
            _ => params.problem_here(
                "a condition with more than one test".into(),
                Some("put several in `all = [ … ]` or `any = [ … ]`".into()),
            ),
        }
        let condition = found.pop();
        params.finish(condition)
    }
}

/// The position of a column among those named so far; a new one is added.
pub(super) fn position_of(name: &str, columns: &mut Vec<String>) -> usize {
    columns.iter().position(|known| known == name).unwrap_or_else(|| {
        columns.push(name.to_owned());
        columns.len() - 1
    })
}

const TESTS: &[&str] = &[
    "equals",
    "not_equals",
    "one_of",
    "matches",
    "less_than",
    "at_most",
    "greater_than",
    "at_least",
    "length_below",
    "length_above",
    "empty",
];

fn group(
    params: &mut Params<'_>,
    key: &'static str,
    columns: &mut Vec<String>,
    make: fn(Vec<Condition>) -> Condition,
) -> Option<Condition> {
    let list = params.list(key)?;
    if list.is_empty() {
        params.problem(key, format!("`{key}` is empty"), None);
    }
    let mut conditions = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let mut path = params.path_of(key);
        path.push(index.to_string());
        conditions.extend(params.accept(Condition::from_value(value, path, columns)));
    }
    Some(make(conditions))
}

fn tests(params: &mut Params<'_>) -> Vec<Test> {
    use Ordering::{Equal, Greater, Less};
    let mut tests = Vec::new();
    tests.extend(wanted(params, "equals").map(Test::Equals));
    tests.extend(wanted(params, "not_equals").map(Test::NotEquals));
    tests.extend(wanted(params, "less_than").map(|bound| Test::Ordered(bound, &[Less])));
    tests.extend(wanted(params, "at_most").map(|bound| Test::Ordered(bound, &[Less, Equal])));
    tests.extend(wanted(params, "greater_than").map(|bound| Test::Ordered(bound, &[Greater])));
    tests.extend(wanted(params, "at_least").map(|bound| Test::Ordered(bound, &[Greater, Equal])));
    tests.extend(wanted_list(params, "one_of").map(Test::OneOf));
    tests.extend(regex(params, "matches").map(Test::Matches));
    tests.extend(params.count("length_below").map(|length| Test::LengthBelow(length as usize)));
    tests.extend(params.count("length_above").map(|length| Test::LengthAbove(length as usize)));
    tests.extend(params.flag("empty").map(Test::Empty));
    tests
}

fn wanted(params: &mut Params<'_>, key: &'static str) -> Option<Wanted> {
    let value = params.get(key)?;
    let wanted = Wanted::from_value(value);
    if wanted.is_none() {
        params.problem(key, format!("`{key}` must be a text, a number, true or false"), None);
    }
    wanted
}

/// A list of values to compare with, not empty.
pub(super) fn wanted_list(params: &mut Params<'_>, key: &'static str) -> Option<Vec<Wanted>> {
    let list = params.list(key)?;
    let wanted: Option<Vec<Wanted>> = list.iter().map(Wanted::from_value).collect();
    if list.is_empty() || wanted.is_none() {
        params.problem(key, format!("`{key}` must list texts or numbers, at least one"), None);
        return None;
    }
    wanted
}

pub(super) fn is_one_of(list: &[Wanted], value: &Value<'_>) -> bool {
    list.iter().any(|wanted| wanted.equals(value))
}

pub(super) fn regex(params: &mut Params<'_>, key: &'static str) -> Option<Regex> {
    let pattern = params.text(key)?;
    match Regex::new(pattern) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            params.problem(key, format!("`{key}` is no regular expression: {why}"), None);
            None
        }
    }
}
