//! The first phase: TOML as written, each value with the place where it stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Environment variables by name.
pub(super) type Variables = BTreeMap<String, String>;

/// A value as written, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub value: Value,
    pub place: Place,
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// Wide enough for every integer that a file can mean; a wider one is kept as the float it rounds to.
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date or time, as text.
    Date(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A table's values by key.
pub(super) type Table = BTreeMap<String, Node>;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub origin: Origin,
    /// From 1; 0 in the environment.
    pub line: usize,
    /// From 1, in characters; 0 in the environment.
    pub column: usize,
    pub layer: Layer,
}

/// Which table says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// The one that is read.
    Own,
    /// `[defaults]`: it is shown as such.
    Defaults,
    /// The rule that an override changes.
    Overridden,
    /// An override, by its position in the rule.
    Override(usize),
}

impl Layer {
    /// Whether it may be of no use to a table that inherits it.
    pub(super) fn is_inherited(self) -> bool {
        matches!(self, Self::Defaults | Self::Overridden)
    }
}

/// Who says it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// A file: as it is shown, and the absolute folder that relative paths start from.
    File { shown: Arc<Path>, folder: Arc<Path> },
    /// An environment variable: its name, and the working folder.
    Environment { variable: Arc<str>, folder: Arc<Path> },
}

impl Place {
    /// The folder that relative paths start from.
    pub(super) fn folder(&self) -> &Path {
        match &self.origin {
            Origin::File { folder, .. } | Origin::Environment { folder, .. } => folder,
        }
    }

    /// Whether an environment variable says it: then it is text, whatever is meant.
    pub(super) fn in_environment(&self) -> bool {
        matches!(self.origin, Origin::Environment { .. })
    }
}

impl Value {
    /// The type, as messages name it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a decimal number",
            Self::Boolean(_) => "true or false",
            Self::Date(_) => "a date or time",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// A file's text could not be parsed to its end.
#[derive(Debug)]
pub(super) struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

/// A file as far as it could be parsed.
#[derive(Debug)]
pub(super) struct Parsed {
    pub root: Node,
    pub error: Option<SyntaxError>,
}

/// Parses a file's text; after an error the rest is a best effort.
pub(super) fn parse(text: &str, origin: &Origin) -> Parsed {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let reader = Reader { text, lines: &lines, origin };
    let root = Node { value: Value::Table(reader.table(table.into_inner())), place: reader.place(0) };
    let error = errors.into_iter().next().map(|error| {
        let offset = error.span().map_or(text.len(), |span| span.start);
        let message = error.message().replace('\n', " ");
        SyntaxError { line: lines.line_at(offset), column: lines.column_at(text, offset), message }
    });
    Parsed { root, error }
}

/// Parses one value as an environment variable holds it, e.g. an array.
pub(super) fn parse_value(text: &str, place: &Place) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let lines = Lines::of(text);
    let reader = Reader { text, lines: &lines, origin: &place.origin };
    Some(Node { value: reader.value(value.into_inner()), place: place.clone() })
}

struct Reader<'a> {
    text: &'a str,
    lines: &'a Lines,
    origin: &'a Origin,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        Place {
            origin: self.origin.clone(),
            line: self.lines.line_at(offset),
            column: self.lines.column_at(self.text, offset),
            layer: Layer::Own,
        }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        table.into_iter().map(|(key, value)| self.entry(&key, value)).collect()
    }

    fn entry(&self, key: &Spanned<std::borrow::Cow<'_, str>>, value: Spanned<DeValue<'_>>) -> (String, Node) {
        let node = Node { value: self.value(value.into_inner()), place: self.place(key.span().start) };
        (key.get_ref().clone().into_owned(), node)
    }

    fn value(&self, value: DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => integer(number.as_str(), number.radix()),
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Boolean(flag),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(items) => Value::Array(items.into_iter().map(|item| self.item(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }

    fn item(&self, item: Spanned<DeValue<'_>>) -> Node {
        let place = self.place(item.span().start);
        Node { value: self.value(item.into_inner()), place }
    }
}

fn integer(digits: &str, radix: u32) -> Value {
    match i64::from_str_radix(digits, radix) {
        Ok(number) => Value::Integer(number),
        Err(_) => Value::Float(digits.parse().unwrap_or(f64::INFINITY)),
    }
}

/// Where the lines of a text begin.
#[derive(Debug)]
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1).collect())
    }

    /// The line of a byte, from 1.
    fn line_at(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|start| *start <= offset)
    }

    /// The column of a byte, from 1, in characters.
    fn column_at(&self, text: &str, offset: usize) -> usize {
        let before = self.0.partition_point(|start| *start <= offset);
        let start = before.checked_sub(1).and_then(|line| self.0.get(line)).copied().unwrap_or(0);
        1 + text.get(start..offset.min(text.len())).unwrap_or_default().chars().count()
    }
}

impl Origin {
    /// A file: `shown` as the user named it, `absolute` as it is.
    pub(super) fn file(shown: &Path, absolute: &Path) -> Self {
        let folder = absolute.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        Self::File { shown: shown.into(), folder: folder.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Parsed {
        parse(text, &Origin::file(Path::new("a.toml"), Path::new("/etc/a.toml")))
    }

    fn table(node: &Node) -> &Table {
        match &node.value {
            Value::Table(table) => table,
            other => panic!("{other:?} is no table"),
        }
    }

    #[test]
    fn every_value_knows_the_line_of_its_key_and_every_array_item_its_own() {
        let file = parsed(
            "a = 1\n\n[[rule]]\nname = 'x'\n[rule.output.main]\npath = 'p'\n[[rule]]\nlist = [\n 1,\n 2]\n",
        );
        assert!(file.error.is_none());
        let root = table(&file.root);
        let Value::Array(rules) = &root["rule"].value else { panic!("an array of rules") };
        assert_eq!((root["a"].place.line, rules[0].place.line, rules[1].place.line), (1, 3, 7));
        let main = &table(&table(&rules[0])["output"])["main"];
        assert_eq!((main.place.line, table(main)["path"].place.line), (5, 6));
        let Value::Array(list) = &table(&rules[1])["list"].value else { panic!("a list") };
        assert_eq!((list[0].place.line, list[1].place.line), (9, 10));
    }

    #[test]
    fn a_syntax_error_is_told_with_its_line_and_the_rest_is_kept() {
        let file = parsed("a = 1\nb = \nc = 3\n");
        let error = file.error.expect("line 2 is wrong");
        assert_eq!(error.line, 2);
        assert!(table(&file.root).contains_key("a"));
    }

    #[test]
    fn numbers_keep_their_value() {
        let file =
            parsed("a = 0o640\nb = 9_223_372_036_854_775_807\nc = -5\nd = 1e6\ne = 99999999999999999999\n");
        let root = table(&file.root);
        assert_eq!(root["a"].value, Value::Integer(0o640));
        assert_eq!(root["b"].value, Value::Integer(i64::MAX));
        assert_eq!(root["c"].value, Value::Integer(-5));
        assert_eq!(root["d"].value, Value::Float(1e6));
        assert_eq!(root["e"].value, Value::Float(1e20));
    }
}
