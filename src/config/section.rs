//! A table of the configuration while it is read: it knows its key path, what was asked for, and reports what is wrong.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::belonging::Kind;
use super::problem::{Problem, did_you_mean};
use super::raw::{Layer, Node, Place, Table, Value, parse_value};
use super::report::Report;
use super::{paths, units};
use crate::model::amount;
use crate::model::rule::Limit;

static EMPTY: Table = Table::new();

/// A table being read. Every key that is asked for is known; [`Self::finish`] refuses the others.
pub(super) struct Section<'a> {
    table: &'a Table,
    place: &'a Place,
    owner: &'a str,
    path: String,
    report: &'a Report,
    /// Only part of what is needed may be here (`[defaults]`, files with errors): nothing is missed.
    partial: bool,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// A whole table; `owner` begins its key paths: `service`, `rule "payments"`.
    pub(super) fn new(node: &'a Node, owner: &'a str, partial: bool, report: &'a Report) -> Self {
        let section = Self {
            table: &EMPTY,
            place: &node.place,
            owner,
            path: String::new(),
            report,
            partial,
            asked: RefCell::default(),
        };
        section.within(node, String::new())
    }

    fn within(&self, node: &'a Node, path: String) -> Self {
        let table = match &node.value {
            Value::Table(table) => table,
            other => {
                self.report.add(
                    &node.place,
                    self.key_path(&path, &node.place),
                    format!("this is {}, not a table", other.type_name()),
                    None,
                );
                &EMPTY
            }
        };
        Section { table, place: &node.place, path, asked: RefCell::default(), ..*self }
    }

    /// The keys that are there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a String> + use<'a> {
        self.table.keys()
    }

    /// A key's value as written; the key is known from now on.
    pub(super) fn get(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Whether this key is there, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the table stands.
    pub(super) fn place(&self) -> &'a Place {
        self.place
    }

    /// A value as written, by a name that the user chose.
    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        self.table.get(key)
    }

    /// Whether the rule itself says this key, rather than `[defaults]`.
    pub(super) fn says(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|node| !node.place.layer.is_inherited())
    }

    /// The inner table of this name; an empty one if there is none.
    pub(super) fn section(&self, key: &'static str) -> Self {
        match self.get(key) {
            Some(node) => self.within(node, self.path_of(key)),
            None => Section { table: &EMPTY, path: self.path_of(key), asked: RefCell::default(), ..*self },
        }
    }

    /// The inner table of a name that the user chose.
    pub(super) fn named_section(&self, key: &str) -> Option<Self> {
        self.table.get(key).map(|node| self.within(node, self.path_of(key)))
    }

    /// The tables of an array of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Self> {
        if let Some(node) = self.get(key).filter(|node| matches!(node.value, Value::Table(_))) {
            let names = [self.kind().unwrap_or_default(), vec![key.to_owned()]].concat();
            let hint = format!("write [[{}]], with two brackets", names.join("."));
            self.wrong_type(key, node, "an array of tables", Some(hint));
            return Vec::new();
        }
        let items = self.array(key).unwrap_or_default();
        items
            .iter()
            .enumerate()
            .map(|(i, node)| self.within(node, format!("{}[{}]", self.path_of(key), i + 1)))
            .collect()
    }

    /// Text.
    pub(super) fn text(&self, key: &'static str) -> Option<&'a str> {
        let node = self.get(key)?;
        self.text_of(node, &self.path_of(key))
    }

    /// An integer within bounds.
    pub(super) fn integer(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let node = self.get(key)?;
        let number = match &node.value {
            Value::Integer(number) => Some(i128::from(*number)),
            Value::Float(number) if number.fract() == 0.0 => Some(*number as i128),
            Value::Text(text) if node.place.in_environment() => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong_type(key, node, "an integer", None);
            return None;
        };
        let fitting = u64::try_from(number).ok().filter(|n| bounds.contains(n));
        if fitting.is_none() {
            let hint = format!("write a number from {} to {}", bounds.start(), bounds.end());
            self.problem(key, format!("{number} is out of range"), Some(hint));
        }
        fitting
    }

    /// True or false.
    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let node = self.get(key)?;
        let flag = match &node.value {
            Value::Boolean(flag) => Some(*flag),
            Value::Text(text) if node.place.in_environment() => text.trim().to_ascii_lowercase().parse().ok(),
            _ => None,
        };
        if flag.is_none() {
            self.wrong_type(key, node, "true or false", None);
        }
        flag
    }

    /// A size in bytes within bounds.
    pub(super) fn size(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let bytes = self.unit(key, "a size", units::SIZE_HINT, amount::size)?;
        if bounds.contains(&bytes) {
            return Some(bytes);
        }
        let hint = format!("from {} to {} bytes are possible", bounds.start(), bounds.end());
        self.problem(key, format!("{bytes} bytes are out of range"), Some(hint));
        None
    }

    /// A duration of at least `min`.
    pub(super) fn duration(&self, key: &'static str, min: Duration) -> Option<Duration> {
        let node = self.get(key)?;
        let Value::Text(text) = &node.value else {
            self.wrong_type(key, node, "a duration", Some(units::DURATION_HINT.into()));
            return None;
        };
        let Some(duration) = amount::duration(text) else {
            self.problem(key, format!("\"{text}\" is not a duration"), Some(units::DURATION_HINT.into()));
            return None;
        };
        if duration < min {
            self.problem(key, format!("\"{text}\" is too short"), Some(format!("the shortest is {min:?}")));
            return None;
        }
        Some(duration)
    }

    /// A duration of at least `min`; none also for `word`, which says that there is no end.
    pub(super) fn duration_unless(&self, key: &'static str, word: &str, min: Duration) -> Option<Duration> {
        match &self.get(key)?.value {
            Value::Text(text) if text == word => None,
            Value::Text(text) if amount::duration(text).is_none() => {
                let hint = format!("write \"{word}\" or a duration like \"30d\"");
                self.problem(key, format!("\"{text}\" is not a duration"), Some(hint));
                None
            }
            _ => self.duration(key, min),
        }
    }

    /// A share or a count.
    pub(super) fn limit(&self, key: &'static str) -> Option<Limit> {
        self.unit(key, "a share or a count", units::LIMIT_HINT, units::limit)
    }

    /// Permissions of a file.
    pub(super) fn mode(&self, key: &'static str) -> Option<u32> {
        let node = self.get(key)?;
        let Value::Text(text) = &node.value else {
            self.wrong_type(key, node, "text", Some(units::MODE_HINT.into()));
            return None;
        };
        let mode = units::mode(text);
        if mode.is_none() {
            self.problem(key, format!("\"{text}\" is not a file mode"), Some(units::MODE_HINT.into()));
        }
        mode
    }

    /// One of several words; `later` are those that this version does not know yet.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&'static str, T)],
        later: &[&str],
    ) -> Option<T> {
        let node = self.get(key)?;
        let text = self.text_of(node, &self.path_of(key))?;
        self.word(&node.place, &self.path_of(key), text, words, later)
    }

    /// Several of several words.
    pub(super) fn choices<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&'static str, T)],
        later: &[&str],
    ) -> Vec<T> {
        let texts = self.texts(key).unwrap_or_default();
        texts.iter().filter_map(|item| self.word(item.place, &item.path, item.text, words, later)).collect()
    }

    /// An array of texts, each with its own place; none if the key is not there.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Item<'a>>> {
        let nodes = self.array(key)?;
        let items = nodes.iter().enumerate().filter_map(|(i, node)| {
            let path = format!("{}[{}]", self.path_of(key), i + 1);
            let text = self.text_of(node, &path)?;
            Some(Item { text, place: &node.place, path })
        });
        Some(items.collect())
    }

    /// An array as written.
    fn array(&self, key: &'static str) -> Option<&'a [Node]> {
        let node = self.get(key)?;
        if let Value::Array(items) = &node.value {
            return Some(items);
        }
        let hint = node.place.in_environment().then(|| "write a TOML array, like [\"a\", \"b\"]".to_owned());
        self.wrong_type(key, node, "an array", hint);
        None
    }

    fn word<T: Copy>(
        &self,
        place: &Place,
        path: &str,
        text: &str,
        words: &[(&'static str, T)],
        later: &[&str],
    ) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = if later.contains(&text) {
            format!("\"{text}\" is not available yet")
        } else {
            format!("unknown value \"{text}\"")
        };
        let nearest = if later.contains(&text) { None } else { did_you_mean(text, known.iter().copied()) };
        let hint = nearest.unwrap_or_else(|| format!("one of: {}", known.join(", ")));
        self.report.add(place, self.key_path(path, place), message, Some(hint));
        None
    }

    fn unit<T>(&self, key: &'static str, what: &str, hint: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
        let node = self.get(key)?;
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            _ => {
                self.wrong_type(key, node, what, Some(hint.to_owned()));
                return None;
            }
        };
        let value = parse(&text);
        if value.is_none() {
            self.problem(key, format!("`{text}` is not {what}"), Some(hint.to_owned()));
        }
        value
    }

    fn text_of(&self, node: &'a Node, path: &str) -> Option<&'a str> {
        match &node.value {
            Value::Text(text) => Some(text),
            other => {
                let message = format!("this is {}, not text", other.type_name());
                let hint = Some("put it in quotes".to_owned());
                self.report.add(&node.place, self.key_path(path, &node.place), message, hint);
                None
            }
        }
    }

    fn wrong_type(&self, key: &str, node: &Node, wanted: &str, hint: Option<String>) {
        let message = match &node.value {
            Value::Text(text) => format!("\"{text}\" is not {wanted}"),
            other => format!("this is {}, not {wanted}", other.type_name()),
        };
        self.problem(key, message, hint);
    }

    /// Something is wrong with this key's value, or with its absence.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>, hint: Option<String>) {
        let place = self.table.get(key).map_or(self.place, |node| &node.place);
        self.report.add(place, self.key_path(&self.path_of(key), place), message, hint);
    }

    /// Something is wrong with an item of an array.
    pub(super) fn item_problem(&self, item: &Item<'_>, message: impl Into<String>, hint: Option<String>) {
        self.report.add(item.place, self.key_path(&item.path, item.place), message, hint);
    }

    /// A key that has no default is not there.
    pub(super) fn missing(&self, key: &str, what: &str, hint: &str) {
        // A value of the wrong type has been reported already.
        if !self.partial && !self.table.contains_key(key) {
            let layer = match self.place.layer {
                Layer::Override(position) => Layer::Override(position),
                _ => Layer::Own,
            };
            let inherited_nothing = Place { layer, ..self.place.clone() };
            let path = self.key_path(&self.path_of(key), &inherited_nothing);
            self.report.add(&inherited_nothing, path, format!("missing: {what}"), Some(hint.to_owned()));
        }
    }

    /// Refuses every key that was not asked for; `later` are those that this version does not know yet.
    pub(super) fn finish(&self, later: &[&str]) {
        let asked = self.asked.borrow();
        let kind = self.kind();
        if let Some(kind) = kind.clone() {
            self.report.know(kind, &asked);
        }
        for key in self.table.keys().filter(|key| !asked.contains(&key.as_str())) {
            if later.contains(&key.as_str()) {
                let hint = "this version of landfall does not know it; take it out".to_owned();
                self.problem(key, "this key is not available yet", Some(hint));
            } else {
                let near = did_you_mean(key, asked.iter().copied());
                let is_near = near.is_some();
                let hint = near.unwrap_or_else(|| {
                    let mut known: Vec<&str> = asked.clone();
                    known.sort_unstable();
                    known.dedup();
                    format!("known keys here: {}", known.join(", "))
                });
                let place = self.table.get(key).map_or(self.place, |node| &node.place);
                let path = self.key_path(&self.path_of(key), place);
                let problem = Problem::at(place, path, "unknown key".to_owned(), Some(hint));
                self.report.add_stranger(key, kind.clone(), problem, is_near);
            }
        }
    }

    /// What kind of table this is; none for those of tests, whose keys are like others.
    fn kind(&self) -> Option<Kind> {
        let top = match self.owner {
            "" => None,
            "service" => Some("service"),
            _ => Some("rule"),
        };
        let names: Vec<&str> =
            top.into_iter().chain(self.path.split('.').filter(|name| !name.is_empty())).collect();
        let is_test = self.path.starts_with("test") || self.path.contains('[');
        let shown = |(position, name): (usize, &&str)| {
            let is_category = position == 2 && names.get(1) == Some(&"output");
            if is_category { "CATEGORY".to_owned() } else { (*name).to_owned() }
        };
        (!is_test).then(|| names.iter().enumerate().map(shown).collect())
    }

    /// Refuses keys that mean nothing here, unless they were inherited.
    pub(super) fn refuse(&self, keys: &[&'static str], message: &str, hint: &str) {
        for key in keys {
            self.asked.borrow_mut().push(key);
            if self.says(key) {
                self.problem(key, message, Some(hint.to_owned()));
            }
        }
    }

    /// The path of a key from the owner on.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn key_path(&self, path: &str, place: &Place) -> String {
        key_path(self.owner, path, place)
    }
}

/// One text of an array.
#[derive(Clone)]
pub(super) struct Item<'a> {
    pub text: &'a str,
    pub place: &'a Place,
    /// From the owner on: `paths[0]`.
    pub path: String,
}

/// A key's whole path, as problems show it.
pub(super) fn key_path(owner: &str, path: &str, place: &Place) -> String {
    let owner = if place.layer == Layer::Defaults { "defaults" } else { owner };
    let path = match place.layer {
        Layer::Override(position) if path.is_empty() => &format!("override[{}]", position + 1),
        Layer::Override(position) => &format!("override[{}].{path}", position + 1),
        _ => path,
    };
    let mut whole = owner.to_owned();
    if !path.is_empty() {
        let separator = match (owner.is_empty(), owner.starts_with("rule ")) {
            (true, _) => "",
            (false, true) => ": ",
            (false, false) => ".",
        };
        // Writing to a string cannot fail.
        write!(whole, "{separator}{path}").ok();
    }
    whole
}

/// Values from the environment are text; where they spell a TOML array or inline table they are read as one.
pub(super) fn structured(node: Node) -> Node {
    match &node.value {
        Value::Text(text) if text.trim_start().starts_with(['[', '{']) => {
            parse_value(text, &node.place).unwrap_or(node)
        }
        _ => node,
    }
}

/// Letters, digits, `-` and `_`: safe in every file name.
pub(super) fn is_plain_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=100).contains(&name.len()) && name.bytes().all(plain)
}

/// An item's absolute form; what is wrong with it is reported.
pub(super) fn absolute_item(section: &Section<'_>, item: &Item<'_>, kind: paths::Kind) -> Option<String> {
    paths::absolute(item.text, item.place.folder(), kind)
        .inspect_err(|bad| section.item_problem(item, bad.message, Some(bad.hint.to_owned())))
        .ok()
}
