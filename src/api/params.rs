//! What a route takes: checked here, for every route alike, and told by the OpenAPI document from the same words.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use crate::model::account::RecordBytes;
use crate::model::hash_sought::HashSought;
use crate::model::pace::PaceChange;
use crate::model::reason::{REASON_CHARS_MAX, Reason};
use crate::model::settling::Chosen;

/// Of names and ids: what a path can have.
const TEXT_CHARS_MAX: usize = 4096;
/// Of a key: a UUID has 36.
const KEY_CHARS_MAX: usize = 255;
/// More than blanks.
const REASON: &str = "^[^\\u0000]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000]*$";

/// What [`Chosen`] is read from.
const RECORDS: &str = "^(all|[1-9][0-9]{0,8}(-[1-9][0-9]{0,8})?(,[1-9][0-9]{0,8}(-[1-9][0-9]{0,8})?)*)$";

/// What [`HashSought`] is read from.
const HASH: &str = "^((blake3|sha256):)?[0-9a-fA-F]{1,64}$";

/// Its last letters have bits that say nothing, and are zeros.
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
/// A limit of the configuration.
const DEFAULT: &str = "default";

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the path: always there.
    Path,
    Query,
    /// In the JSON object of the body.
    Body,
    /// In the head.
    Header,
}

/// What it may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    /// [`Reason`]: words for a history.
    Reason,
    /// A path of the service's machine, absolute.
    FilePath,
    Word(&'static [&'static str]),
    Integer(u64, u64),
    Bool,
    /// RFC 3339.
    Time,
    /// Of failed records; or all of them.
    Records,
    /// An integer up to this, or `default`.
    Limit(u64),
    /// See [`HashSought`].
    Hash,
    /// In Base64.
    Bytes,
    /// By which whoever asks knows what he asked for.
    Key,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) about: &'static str,
}

impl Param {
    pub(super) const fn query(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, place: Place::Query, kind, required: false, about }
    }

    pub(super) const fn path(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, place: Place::Path, kind, required: true, about }
    }

    pub(super) const fn body(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, place: Place::Body, kind, required: true, about }
    }

    /// Its name has `_` for `-`.
    pub(super) const fn header(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, place: Place::Header, kind, required: false, about }
    }

    /// As it is written where it stands.
    pub(super) fn written(&self) -> String {
        if self.place != Place::Header {
            return self.name.to_owned();
        }
        let words = self.name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
        words.collect::<Vec<_>>().join("-")
    }

    pub(super) const fn optional(self) -> Self {
        Self { required: false, ..self }
    }

    pub(super) fn schema(&self) -> Value {
        match self.kind {
            Kind::Text => {
                json!({ "type": "string", "pattern": "^[^\\u0000]+$", "maxLength": TEXT_CHARS_MAX })
            }
            Kind::Reason => json!({ "type": "string", "pattern": REASON, "maxLength": REASON_CHARS_MAX }),
            Kind::FilePath => json!({ "type": "string", "pattern": "^(/|[A-Za-z]:[/\\\\])[^\\u0000]*$" }),
            Kind::Word(words) => json!({ "type": "string", "enum": words }),
            Kind::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Time => json!({ "type": "string", "format": "date-time" }),
            Kind::Records => json!({ "type": "string", "pattern": RECORDS }),
            Kind::Hash => json!({ "type": "string", "pattern": HASH }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64", "pattern": BASE64 }),
            Kind::Key => json!({ "type": "string", "pattern": "^[!-~]+$", "maxLength": KEY_CHARS_MAX }),
            Kind::Limit(max) => json!({ "oneOf": [
                { "type": "integer", "minimum": 0, "maximum": max },
                { "type": "string", "const": DEFAULT },
            ] }),
        }
    }

    /// A value as it stands in a path or a query.
    fn read(&self, text: &str) -> Result<Value, Problem> {
        match self.kind {
            Kind::Integer(..) => self.check(text.parse::<u64>().map_or(Value::Null, Value::from)),
            Kind::Bool => self.check(text.parse::<bool>().map_or(Value::Null, Value::from)),
            _ => self.check(text.into()),
        }
    }

    fn check(&self, value: Value) -> Result<Value, Problem> {
        let value = self.as_integer(value);
        let fits = match (self.kind, &value) {
            (Kind::Text, Value::String(text)) => {
                !text.is_empty() && !text.contains('\0') && text.chars().count() <= TEXT_CHARS_MAX
            }
            (Kind::Key, Value::String(text)) => {
                (1..=KEY_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
            }
            (Kind::Reason, Value::String(text)) => !text.contains('\0') && text.parse::<Reason>().is_ok(),
            (Kind::FilePath, Value::String(text)) => {
                std::path::Path::new(text).is_absolute() && !text.contains('\0')
            }
            (Kind::Word(words), Value::String(text)) => words.contains(&text.as_str()),
            (Kind::Integer(min, max), Value::Number(number)) => {
                number.as_u64().is_some_and(|number| (min..=max).contains(&number))
            }
            (Kind::Bool, Value::Bool(_)) => true,
            (Kind::Time, Value::String(text)) => text.parse::<jiff::Timestamp>().is_ok(),
            (Kind::Records, Value::String(text)) => Chosen::try_from(text.clone()).is_ok(),
            (Kind::Hash, Value::String(text)) => text.parse::<HashSought>().is_ok(),
            (Kind::Bytes, Value::String(_)) => serde_json::from_value::<RecordBytes>(value.clone()).is_ok(),
            (Kind::Limit(_), Value::String(text)) => text == DEFAULT,
            (Kind::Limit(max), Value::Number(number)) => number.as_u64().is_some_and(|number| number <= max),
            _ => false,
        };
        if fits { Ok(value) } else { Err(self.misfit()) }
    }

    /// `49.0` is an integer, as JSON has it.
    fn as_integer(&self, value: Value) -> Value {
        let is_asked_for = matches!(self.kind, Kind::Integer(..) | Kind::Limit(_)) && value.is_f64();
        let text = value.as_f64().filter(|_| is_asked_for).map(|number| number.to_string());
        text.and_then(|text| text.parse::<u64>().ok()).map_or(value, Value::from)
    }

    fn misfit(&self) -> Problem {
        let wanted = match self.kind {
            Kind::Text => format!("a text of 1 to {TEXT_CHARS_MAX} characters"),
            Kind::Reason => format!("in 1 to {REASON_CHARS_MAX} characters why, and not blanks alone"),
            Kind::FilePath => "an absolute path on the service's machine".to_owned(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Integer(min, max) => format!("an integer from {min} to {max}"),
            Kind::Bool => "true or false".to_owned(),
            Kind::Time => "a time like 2026-01-31T13:45:00Z".to_owned(),
            Kind::Records => "`all`, or numbers of failed records like 3,5-9".to_owned(),
            Kind::Hash => {
                "1 to 64 digits of a hash, 0-9 and a-f, perhaps behind `blake3:` or `sha256:`".to_owned()
            }
            Kind::Bytes => "bytes in Base64, with its padding".to_owned(),
            Kind::Limit(max) => format!("an integer from 0 to {max}, or \"default\""),
            Kind::Key => format!("1 to {KEY_CHARS_MAX} characters of ASCII without blanks, like a UUID"),
        };
        let detail = format!("`{}` is not what it must be", self.written());
        Problem::bad_request(detail, &format!("give {wanted}"))
    }
}

/// What was asked, checked against what the route takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(BTreeMap<&'static str, Value>);

impl Asked {
    pub(super) fn read<'q>(
        params: &[Param],
        path: impl Iterator<Item = (&'q str, &'q str)>,
        query: &[(String, String)],
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let mut asked = Self::default();
        let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let written = path.map(|it| (Place::Path, it)).chain(query.map(|it| (Place::Query, it)));
        for (place, (name, text)) in written {
            let param = known(params, place, name)?;
            let value = param.read(text)?;
            asked.put(param, value)?;
        }
        // Others are for whoever stands between.
        for param in params.iter().filter(|param| param.place == Place::Header) {
            for value in headers.get_all(param.written()) {
                let value = param.check(value.to_str().map_or(Value::Null, Value::from))?;
                asked.put(param, value)?;
            }
        }
        for (name, value) in object(body)? {
            let param = known(params, Place::Body, &name)?;
            let value = param.check(value)?;
            asked.put(param, value)?;
        }
        match params.iter().find(|param| param.required && !asked.0.contains_key(param.name)) {
            None => Ok(asked),
            Some(param) => {
                let detail = format!("`{}` is missing", param.name);
                Err(Problem::bad_request(detail, &format!("give it: {}", param.about)))
            }
        }
    }

    fn put(&mut self, param: &Param, value: Value) -> Result<(), Problem> {
        if self.0.insert(param.name, value).is_some() {
            let detail = format!("`{}` is given twice", param.written());
            return Err(Problem::bad_request(detail, "give it once"));
        }
        Ok(())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    /// What is said of a limit, if something is.
    pub(super) fn limit(&self, name: &str) -> Option<PaceChange> {
        let value = self.0.get(name)?;
        Some(value.as_u64().map_or(PaceChange::Default, PaceChange::To))
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| *value == Value::Bool(true))
    }

    /// A value in the type of the model.
    pub(super) fn get<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.0.get(name)?.clone()).ok()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

fn known<'p>(params: &'p [Param], place: Place, name: &str) -> Result<&'p Param, Problem> {
    let here = || params.iter().filter(|param| param.place == place);
    here().find(|param| param.name == name).ok_or_else(|| {
        let names: Vec<_> = here().map(|param| param.name).collect();
        let hint = match names.as_slice() {
            [] => "leave it out".to_owned(),
            names => format!("known here: {}", names.join(", ")),
        };
        let shown: String = name.chars().take(60).collect();
        Problem::bad_request(format!("`{shown}` is not known here"), &hint)
    })
}

/// The body; an empty one is an object of nothing.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(
            format!("the body is no JSON object: {error}"),
            "send one, like {\"priority\": 10}",
        )
    })
}
